//! `/tools`: the actions of the toolkits, and executing one for a user without a session.

use serde_json::{Value, json};

use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::catalog::{self, Tool, Toolkit, VERSION};
use super::executions::{Ran, Run, run};
use super::exposed;
use super::pages::{cut, page};
use super::world::{World, id, uuid};
use super::{grants, ledger};

/// What v3 takes when no version is named.
const BASE_VERSION: &str = "00000000_00";

pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Outcome {
    match (asked.method.as_str(), rest) {
        ("GET", []) => list(asked),
        ("GET", ["enum"]) => {
            let slugs: Vec<&str> = catalog::every_tool().map(|(_, tool)| tool.slug).collect();
            Ok(Reply::ok(json!(slugs)))
        }
        ("GET", [slug]) => {
            let (toolkit, tool) = known(slug)?;
            Ok(Reply::ok(exposed::object(toolkit, tool, version(asked)?)))
        }
        ("POST", ["execute", "proxy"]) => proxy(world, asked),
        ("POST", ["execute", slug]) => execute(world, asked, slug),
        _ => Err(Reply::empty(405)),
    }
}

pub(super) fn known(slug: &str) -> Result<(&'static Toolkit, &'static Tool), Reply> {
    let unknown = || Reply::not_found(&format!("Tool {slug}"), "Tool_ToolNotFound");
    catalog::tool(slug).ok_or_else(unknown)
}

/// The version that is served: `latest` in v3.1, the base version in v3 unless another is asked for.
fn version(asked: &Asked) -> Result<&'static str, Reply> {
    let older = asked.path.starts_with("/api/v3/");
    match asked.query("version").or(asked.query("toolkit_versions")) {
        None if older => Ok(BASE_VERSION),
        None | Some("latest" | VERSION) => Ok(VERSION),
        Some(BASE_VERSION) => Ok(BASE_VERSION),
        Some(other) => Err(Reply::not_found(
            &format!("Version {other}"),
            "Tool_ToolVersionNotFound",
        )),
    }
}

fn list(asked: &Asked) -> Outcome {
    let version = version(asked).unwrap_or(VERSION);
    let query = asked.query("query").or(asked.query("search"));
    let query = query.unwrap_or_default().to_lowercase();
    let slugs = asked.list("tool_slugs");
    let found = |(toolkit, tool): &(&Toolkit, &Tool)| {
        if let Some(slugs) = &slugs {
            return slugs.iter().any(|slug| slug == tool.slug);
        }
        let text = format!("{} {}", tool.slug, tool.about).to_lowercase();
        let tagged = asked
            .list("tags")
            .is_none_or(|tags| tags.iter().any(|tag| tool.tags.contains(&tag.as_str())));
        asked.lists("toolkit_slug", toolkit.slug) && tagged && text.contains(&query)
    };
    let found = catalog::every_tool().filter(found);
    let items: Vec<Value> = found
        .map(|(toolkit, tool)| exposed::object(toolkit, tool, version))
        .collect();
    Ok(Reply::ok(page(asked, &items, cut(20, 1000))?))
}

/// Which account a call without a session uses: the one that is named, else the user's newest ACTIVE one.
fn account_of(world: &World, asked: &Asked, toolkit: &str) -> Result<(String, String), Reply> {
    let missing = || {
        Reply::error(
            400,
            1803,
            "ConnectedAccount_NotFound",
            "No connected account found",
        )
    };
    let user = asked.text("user_id");
    if let Some(named) = asked.text("connected_account_id") {
        let account = world.accounts.get(named).filter(|account| {
            account.usable() && account.toolkit == toolkit && user.is_none_or(|user| user == account.user_id)
        });
        let account = account.ok_or_else(missing)?;
        return Ok((account.id.clone(), account.user_id.clone()));
    }
    let fault = || Reply::bad_payload(&["Error in payload.user_id: Required".to_owned()]);
    let user = user.filter(|user| !user.is_empty()).ok_or_else(fault)?;
    let account = grants::active(world, user, toolkit)
        .into_iter()
        .next()
        .ok_or_else(missing)?;
    Ok((account.id.clone(), user.to_owned()))
}

fn execute(world: &mut World, asked: &Asked, slug: &str) -> Outcome {
    let (toolkit, tool) = known(slug)?;
    let both = asked.body.get("arguments").is_some() && asked.body.get("text").is_some();
    if both
        || asked
            .body
            .get("arguments")
            .is_some_and(|arguments| !arguments.is_object())
    {
        let fault = "Error in payload.arguments: Invalid input".to_owned();
        return Err(Reply::bad_payload(&[fault]));
    }
    let (account, user) = if toolkit.no_auth() {
        (None, asked.text("user_id").unwrap_or_default().to_owned())
    } else {
        let (account, user) = account_of(world, asked, toolkit.slug)?;
        (Some(account), user)
    };
    let arguments = asked.body.get("arguments").cloned().unwrap_or_else(|| json!({}));
    let Ran { data, error } = run(
        world,
        Run {
            tool,
            session: None,
            user: &user,
            account,
            arguments: &arguments,
            via: "tools_execute",
        },
    );
    Ok(Reply::ok(json!({
        "data": data, "error": error, "successful": error.is_none(), "log_id": id("log_"), "session_info": null,
    })))
}

/// `POST /tools/execute/proxy`: a request with the account's token, to wherever its toolkit is.
fn proxy(world: &mut World, asked: &Asked) -> Outcome {
    let endpoint = asked.text("endpoint");
    let method = asked.text("method");
    let (Some(endpoint), Some(method)) = (endpoint, method) else {
        return Err(Reply::bad_payload(&[
            "Error in payload.endpoint: Required".to_owned()
        ]));
    };
    let named = asked.text("connected_account_id").unwrap_or_default();
    let account = world.accounts.get(named).filter(|account| account.usable());
    let missing = || {
        Reply::error(
            400,
            1803,
            "ConnectedAccount_NotFound",
            "No connected account found",
        )
    };
    let account = account.ok_or_else(missing)?.clone();
    let at_ms = world.now_ms();
    world.ledger.executed(ledger::Execution {
        seq: 0,
        at_ms,
        session_id: None,
        user_id: account.user_id.clone(),
        account_id: Some(account.id.clone()),
        account_user_id: Some(account.user_id.clone()),
        tool: format!("{method} {endpoint}"),
        arguments_sha256: ledger::digest(&asked.body["body"]),
        via: "proxy_execute".to_owned(),
        successful: true,
    });
    let data = json!({ "login": account.user_id, "request": uuid() });
    Ok(Reply::ok(
        json!({ "status": 200, "data": data, "headers": { "content-type": "application/json" } }),
    ))
}
