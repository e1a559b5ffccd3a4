//! `toolgate tools`: every page of the list.

use http::HeaderMap;

use super::args::Tools;
use super::client::{Client, ClientError};
use super::in_process::start_in_process;
use super::output::{harmless, print};
use super::table::Table;
use super::target::Target;
use super::{Failure, output};
use crate::limits;
use crate::protocol::json::{Object, Raw};

/// Longer descriptions are cut in the table.
const DESCRIPTION_CHARS_MAX: usize = 90;

pub(super) async fn run(tools: &Tools, target: Target) -> Result<(), Failure> {
    let (_, list) = connected(target, async |client| list(client).await).await?;
    if tools.json {
        let items: Vec<&str> = list.iter().map(Raw::as_str).collect();
        return print(&format!("[{}]\n", items.join(",\n")));
    }
    let mut table = Table::new(&["TOOL", "DESCRIPTION"]);
    for tool in list.iter().filter_map(|tool| tool.object().ok()) {
        table.row(vec![
            harmless(&tool.string("name").unwrap_or_default()),
            summary(&tool),
        ]);
    }
    print(&table.text())?;
    output::say(&format!("{} tools", list.len()));
    Ok(())
}

/// Does something with the Toolgate at the target, or with one that is started for it when nobody listens there.
pub(super) async fn connected<T>(
    target: Target,
    work: impl AsyncFn(&Client) -> Result<T, ClientError>,
) -> Result<(Client, T), Failure> {
    let client = Client::new(target.url, target.key).map_err(|error| failure(&error))?;
    match (work(&client).await, target.config) {
        (Err(ClientError::NobodyThere(url)), Some(config)) => {
            output::say(&format!(
                "nothing answers at {url}; starting the gateways for this command"
            ));
            let own = start_in_process(config).await?;
            let client = Client::new(own.url.clone(), own.key.clone()).map_err(|error| failure(&error))?;
            let result = work(&client).await;
            own.stop().await;
            Ok((client, result.map_err(|error| failure(&error))?))
        }
        (result, _) => Ok((client, result.map_err(|error| failure(&error))?)),
    }
}

/// Returns every entry of `tools/list`.
pub(super) async fn list(client: &Client) -> Result<Vec<Raw>, ClientError> {
    let mut tools = Vec::new();
    let mut params = String::new();
    for _ in 0..limits::LIST_PAGES_MAX {
        let page = client
            .request("tools/list", None, &params, &HeaderMap::new())
            .await?;
        tools.extend(
            page.get("tools")
                .and_then(|tools| tools.array())
                .into_iter()
                .flatten(),
        );
        match page.get("nextCursor") {
            Some(cursor) if !cursor.is_null() => params = format!(r#""cursor":{}"#, cursor.as_str()),
            _ => break,
        }
    }
    Ok(tools)
}

fn failure(error: &ClientError) -> Failure {
    Failure::Failed(harmless(&error.to_string()))
}

fn summary(tool: &Object) -> String {
    let text = tool
        .string("description")
        .or_else(|| tool.string("title"))
        .unwrap_or_default();
    let line = harmless(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    if line.chars().count() <= DESCRIPTION_CHARS_MAX {
        return line;
    }
    let cut: String = line.chars().take(DESCRIPTION_CHARS_MAX - 1).collect();
    format!("{}…", cut.trim_end())
}
