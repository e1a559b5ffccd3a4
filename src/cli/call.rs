//! `toolgate call`: one call of one tool.

use std::io::Read as _;

use bytes::Bytes;
use http::HeaderMap;

use super::Failure;
use super::args::Call;
use super::client::{Client, ClientError};
use super::output::{harmless, print, say};
use super::target::Target;
use super::tools::{connected, list};
use crate::limits;
use crate::protocol::json::{Object, Raw};
use crate::protocol::param_headers;

/// `HeaderMismatch` (2026-07-28): the tool wants arguments repeated in headers, which its schema names.
const HEADER_MISMATCH: i64 = -32020;

pub(super) async fn run(call: &Call, target: Target) -> Result<(), Failure> {
    let arguments = arguments(call)?;
    let (_, result) = connected(target, async |client| send(client, &call.tool, &arguments).await).await?;
    let failed = result.get("isError").and_then(|failed| failed.bool()) == Some(true);
    if call.json {
        print(&format!("{}\n", result.raw().as_str()))?;
    } else {
        show(&result)?;
    }
    if result.string("resultType").as_deref() == Some("input_required") {
        let text = "the tool asks for input, which this command cannot give; call it from a client that can";
        return Err(Failure::Failed(text.to_owned()));
    }
    if failed { Err(Failure::Said) } else { Ok(()) }
}

async fn send(client: &Client, tool: &str, arguments: &Raw) -> Result<Object, ClientError> {
    let name = Raw::of(&tool);
    let params = format!(r#""name":{},"arguments":{}"#, name.as_str(), arguments.as_str());
    let request = async |extra: &HeaderMap| client.request("tools/call", Some(tool), &params, extra).await;
    match request(&HeaderMap::new()).await {
        // Refused before anything ran, so it may be sent again.
        Err(ClientError::Rpc {
            code: HEADER_MISMATCH,
            ..
        }) => request(&headers_of(client, tool, arguments).await?).await,
        other => other,
    }
}

/// Returns the headers that the tool's schema asks for.
async fn headers_of(client: &Client, tool: &str, arguments: &Raw) -> Result<HeaderMap, ClientError> {
    let tools = list(client).await?;
    let schema = tools
        .iter()
        .filter_map(|entry| entry.object().ok())
        .find(|entry| entry.string("name").as_deref() == Some(tool))
        .and_then(|entry| entry.get("inputSchema"));
    let annotated = schema.and_then(|schema| param_headers::annotated(&schema).ok());
    let headers = annotated.unwrap_or_default();
    Ok(headers
        .iter()
        .filter_map(|header| header.value(arguments))
        .collect())
}

/// Prints the texts of a result, and one line for everything else in it.
fn show(result: &Object) -> Result<(), Failure> {
    let content = result
        .get("content")
        .and_then(|content| content.array())
        .map(Iterator::collect::<Vec<_>>)
        .unwrap_or_default();
    let mut shown = String::new();
    for block in content.iter().filter_map(|block| block.object().ok()) {
        match block.string("type").as_deref() {
            Some("text") => shown.push_str(&harmless(&block.string("text").unwrap_or_default())),
            Some(kind) => {
                let what = block
                    .string("mimeType")
                    .or_else(|| block.string("uri"))
                    .unwrap_or_default();
                say(&harmless(&format!("[{kind} {what}] (--json prints it)")));
                continue;
            }
            None => continue,
        }
        if !shown.ends_with('\n') {
            shown.push('\n');
        }
    }
    if content.is_empty()
        && let Some(structured) = result.get("structuredContent")
    {
        shown = format!("{}\n", structured.as_str());
    }
    print(&shown)
}

/// Puts the arguments together: the object of `--args` or stdin, and KEY=VALUE over it. Numbers stay as written.
fn arguments(call: &Call) -> Result<Raw, Failure> {
    let mut pairs = call.arguments.as_slice();
    let mut object = call.args.clone();
    if let [one] = pairs
        && one == "-"
    {
        pairs = &[];
        object = Some("-".to_owned());
    }
    let text = match object.as_deref() {
        Some("-") => stdin()?,
        Some(text) => text.to_owned(),
        None => "{}".to_owned(),
    };
    let wrong = |_| {
        Failure::Usage(
            "the arguments must be a JSON object, such as {\"url\": \"https://example.com\"}".to_owned(),
        )
    };
    let given = Raw::parse(&Bytes::from(text))
        .and_then(|raw| raw.object())
        .map_err(wrong)?;
    let mut members: Vec<(String, Raw)> = given
        .entries()
        .map(|(key, value)| (key.into_owned(), value))
        .collect();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let text =
                format!("{pair:?} is no argument; write KEY=VALUE, or `-` alone to read JSON from stdin");
            return Err(Failure::Usage(text));
        };
        let value = Raw::parse(&Bytes::copy_from_slice(value.as_bytes())).unwrap_or_else(|_| Raw::of(&value));
        members.retain(|(other, _)| other != key);
        members.push((key.to_owned(), value));
    }
    let members: Vec<String> = members
        .iter()
        .map(|(key, value)| format!("{}:{}", Raw::of(key).as_str(), value.as_str()))
        .collect();
    Raw::parse(&Bytes::from(format!("{{{}}}", members.join(",")))).map_err(wrong)
}

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let max = limits::REQUEST_BODY_BYTES_MAX as u64;
    std::io::stdin().lock().take(max).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::{Arguments, Command};
    use super::*;

    fn parsed(words: &[&str]) -> Result<String, Failure> {
        let words = ["toolgate", "call", "x"].iter().chain(words);
        let Command::Call(call) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("call");
        };
        arguments(&call).map(|raw| raw.as_str().to_owned())
    }

    #[test]
    fn values_are_json_when_they_parse_and_text_otherwise() {
        for (words, right) in [
            (vec![], "{}"),
            (vec!["q=rust"], r#"{"q":"rust"}"#),
            (vec!["n=5", "b=true", "z=null"], r#"{"n":5,"b":true,"z":null}"#),
            (
                vec!["big=123456789012345678901234567890"],
                r#"{"big":123456789012345678901234567890}"#,
            ),
            (vec!["zip=01234"], r#"{"zip":"01234"}"#),
            (vec!["zip=\"5\""], r#"{"zip":"5"}"#),
            (vec!["list=[1,2]"], r#"{"list":[1,2]}"#),
            (vec!["url=https://h/?a=b&c=d"], r#"{"url":"https://h/?a=b&c=d"}"#),
            (vec!["empty="], r#"{"empty":""}"#),
            (vec!["say \"hi\"=x"], r#"{"say \"hi\"":"x"}"#),
            (vec!["--args", r#"{"a":1,"b":2}"#, "b=3"], r#"{"a":1,"b":3}"#),
        ] {
            assert_eq!(parsed(&words).unwrap(), right, "{words:?}");
        }
    }

    #[test]
    fn what_is_no_argument_is_refused() {
        for words in [
            vec!["word"],
            vec!["=x"],
            vec!["--args", "[1]"],
            vec!["--args", "{"],
        ] {
            assert!(matches!(parsed(&words), Err(Failure::Usage(_))), "{words:?}");
        }
    }
}
