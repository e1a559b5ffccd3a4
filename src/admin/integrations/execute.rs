//! One tool of a toolkit, executed for a user: as a `tools/call` through the same door as `/mcp`. A tool that stands in
//! the list is called by its name there; any other through the gateway's multi-execute tool, with it as the only part.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::{fault, one_project};
use crate::admin::calls::{self, Heard};
use crate::admin::query::{Query, bad};
use crate::admin::{Caller, Parts, answer};
use crate::catalog::listing::Kind;
use crate::clock;
use crate::exchange::Answer;
use crate::identity::Principal;
use crate::integrations::Project;
use crate::limits::NAME_BYTES_MAX;
use crate::protocol::json::Raw;
use crate::protocol::message::Outcome;
use crate::web::Problem;

/// Executes others.
const MULTI_EXECUTE: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Executed {
    successful: bool,
    data: Value,
    error: Option<String>,
    /// Where the user goes when the toolkit has to be connected first.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_url: Option<String>,
}

/// What came of it, with what `/api/executions` has of it; `None`: nothing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    execution_id: Option<String>,
    #[serde(flatten)]
    executed: Executed,
}

/// Executes a tool with the body as its arguments.
pub(in crate::admin) async fn execute(
    State(parts): State<Arc<Parts>>,
    mut caller: Caller,
    Path((toolkit, tool)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["userId", "gateway", "accountId"])?;
    caller.principal = caller.speaking_for(query.get("userId"))?;
    let project = one_project(&parts, &caller.principal, query.get("gateway"), &toolkit)?;
    if tool.len() > NAME_BYTES_MAX || !project.options().tool_prefixes.may_be_of(&tool, &toolkit) {
        return Err(no_tool(&tool, &toolkit));
    }
    let arguments = calls::arguments(&parts, &headers, body).await?;
    let door = door(&parts, &caller.principal, &project, &tool).ok_or_else(|| no_tool(&tool, &toolkit))?;
    let account = match query.get("accountId") {
        Some(account) => Some(account.to_owned()),
        None => chosen(&parts, &project, &caller.principal, &toolkit).await?,
    };
    let request = match &door {
        Door::Own(name) => calls::request(name, &arguments)?,
        Door::Multi(name) => calls::request(name, &part(&tool, &arguments, account.as_deref())?)?,
    };
    let at_most = parts.limits.in_flight_per_user_max;
    let Some(_place) = parts.proxy.places().take(caller.principal.user(), at_most) else {
        parts.metrics.limit_hit("in_flight_per_user");
        return Err(crate::admin::fault::too_many_calls(at_most));
    };
    let (started, mut heard) = (clock::now(), Heard::default());
    let (came, recorded) = calls::call_recorded(&parts, &caller, request, &mut heard).await;
    match came {
        Ok(came) => answer(&Recorded {
            execution_id: recorded.map(|id| id.to_string()),
            executed: executed(&came, matches!(door, Door::Multi(_))),
        }),
        Err(error) => Err(calls::failed(
            &parts,
            &caller,
            &error,
            project.gateway(),
            started.elapsed(),
        )),
    }
}

/// By which exposed name a tool is reached.
enum Door {
    Own(String),
    Multi(String),
}

fn door(parts: &Parts, principal: &Principal, project: &Project, tool: &str) -> Option<Door> {
    let view = parts.proxy.view(principal);
    let named = |own: &str| {
        let mut found = view
            .entries(Kind::Tool)
            .filter(|entry| entry.route.gateway == *project.gateway() && *entry.route.own == *own);
        found.next().map(|entry| entry.route.exposed.to_string())
    };
    named(tool)
        .map(Door::Own)
        .or_else(|| named(MULTI_EXECUTE).map(Door::Multi))
}

/// The account that a user chose of several.
async fn chosen(
    parts: &Parts,
    project: &Project,
    principal: &Principal,
    toolkit: &str,
) -> Result<Option<String>, Problem> {
    if project.options().multi_account.is_none() {
        return Ok(None);
    }
    let chosen = parts.connections.chosen(project, principal.user()).await;
    let chosen = chosen.map_err(|error| fault::problem(&error, toolkit))?;
    let its = chosen.into_iter().find(|one| one.place.toolkit == toolkit);
    Ok(its.map(|one| one.account))
}

/// The arguments of a multi-execute with one part.
fn part(tool: &str, arguments: &Raw, account: Option<&str>) -> Result<Raw, Problem> {
    let account = account.map(|account| format!(r#","account":{}"#, Raw::from(account).as_str()));
    let text = format!(
        r#"{{"tools":[{{"tool_slug":{},"arguments":{}{}}}],"sync_response_to_workbench":false}}"#,
        Raw::from(tool).as_str(),
        arguments.as_str(),
        account.unwrap_or_default(),
    );
    Raw::parse(&text.into()).map_err(|error| bad(format!("the arguments are refused: {error}")))
}

fn no_tool(tool: &str, toolkit: &str) -> Problem {
    let (tool, toolkit): (String, String) = (
        tool.chars().take(100).collect(),
        toolkit.chars().take(100).collect(),
    );
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is no tool {tool:?} of {toolkit:?} that may be used here"),
    )
}

/// Reads what a tool said: Composio puts its answer as JSON into the text. What is no such thing is told as it is.
fn executed(came: &Answer, multi: bool) -> Executed {
    let failed = |error: String| Executed {
        successful: false,
        data: json!({}),
        error: Some(error),
        auth_url: None,
    };
    let result = match &came.response.outcome {
        Outcome::Result(result) => result.raw(),
        Outcome::Error(error) => return failed(error.message.clone()),
    };
    let Some(result) = result.read::<Value>() else {
        return failed("the tool's answer cannot be read".to_owned());
    };
    let auth_url = text(&result, "/_meta/toolgate~1connect/0/url").map(str::to_owned);
    let unmarked = result.get("isError") != Some(&Value::Bool(true));
    let (Some(whole), _) = said(&result) else {
        let (_, said) = said(&result);
        return Executed {
            successful: unmarked,
            data: if unmarked {
                json!({ "text": said })
            } else {
                json!({})
            },
            error: (!unmarked).then_some(said),
            auth_url,
        };
    };
    let item = whole
        .pointer("/data/results/0")
        .filter(|item| multi && item.is_object());
    let own = item.map_or(&whole, |item| item.get("response").unwrap_or(item));
    let error = text(own, "/error")
        .or_else(|| text(item?, "/error"))
        .or_else(|| text(&whole, "/error"));
    let says = own.get("successful").and_then(Value::as_bool);
    let successful = says.unwrap_or(error.is_none()) && unmarked;
    Executed {
        successful,
        data: own.get("data").cloned().unwrap_or_else(|| json!({})),
        error: error
            .map(str::to_owned)
            .or_else(|| (!successful).then(|| "the tool failed without saying why".to_owned())),
        auth_url,
    }
}

/// A text somewhere in a value.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

/// The JSON in a result's text, which may be split over several blocks, and the text itself.
fn said(result: &Value) -> (Option<Value>, String) {
    let blocks = result.get("content").and_then(Value::as_array);
    let (mut whole, mut found) = (String::new(), None);
    for block in blocks
        .into_iter()
        .flatten()
        .filter_map(|block| text(block, "/text"))
    {
        whole.push_str(block);
        if found.is_none() {
            found = serde_json::from_str::<Value>(&whole)
                .ok()
                .filter(Value::is_object);
        }
    }
    (found, whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::fake::answer as came;

    fn told(result: &Value, multi: bool) -> Value {
        let text: &'static str = Box::leak(result.to_string().into_boxed_str());
        serde_json::to_value(executed(&came(text), multi)).unwrap()
    }

    fn textual(value: &Value) -> Value {
        json!({ "content": [{ "type": "text", "text": value.to_string() }] })
    }

    #[test]
    fn the_part_of_a_multi_execute_is_told_as_if_it_stood_alone() {
        let response = json!({ "successful": true, "data": { "login": "a" }, "error": null });
        let whole = json!({ "successful": true, "data": { "results": [{ "index": 0, "response": response }] }, "error": null });
        assert_eq!(
            told(&textual(&whole), true),
            json!({ "successful": true, "data": { "login": "a" }, "error": null })
        );
        let whole = json!({ "successful": false, "data": { "results": [{ "index": 0, "error": "No active connected account found for toolkit: gmail" }] }, "error": "1 of 1 failed" });
        let told = told(&textual(&whole), true);
        assert_eq!((&told["successful"], &told["data"]), (&json!(false), &json!({})));
        assert!(told["error"].as_str().unwrap().ends_with("toolkit: gmail"));
    }

    #[test]
    fn a_tool_that_stands_alone_is_told_as_it_is_also_split_over_blocks_and_without_json() {
        let whole = json!({ "successful": true, "data": { "n": 1 }, "error": null });
        assert_eq!(told(&textual(&whole), false), whole);
        let split = whole.to_string();
        let (head, tail) = split.split_at(10);
        let result = json!({ "content": [{ "type": "text", "text": head }, { "type": "text", "text": tail }, { "type": "text", "text": "more" }] });
        assert_eq!(told(&result, false), whole);
        let plain = json!({ "content": [{ "type": "text", "text": "hello" }] });
        assert_eq!(told(&plain, false)["data"], json!({ "text": "hello" }));
        let failed = json!({ "content": [{ "type": "text", "text": "no" }], "isError": true });
        assert_eq!(told(&failed, false)["error"], "no");
    }

    #[test]
    fn where_the_user_has_to_go_is_told_beside_it() {
        let mut result = textual(&json!({ "successful": false, "data": {}, "error": "x" }));
        result["_meta"] =
            json!({ "toolgate/connect": [{ "toolkit": "gmail", "url": "https://c.example/l" }] });
        assert_eq!(told(&result, false)["authUrl"], "https://c.example/l");
    }
}
