//! The MCP endpoint of a session: Streamable HTTP, each POST by itself. Who its user is stands in the session.

use serde_json::{Value, json};

use super::answers::Reply;
use super::asked::Asked;
use super::executions::{NoAccount, Ran, in_session, reach};
use super::meta;
use super::meta_calls::{self, Called};
use super::routes::Step;
use super::session_rules::{needs_approval, preloaded};
use super::sessions::Session;
use super::world::World;

pub(super) fn answer(world: &mut World, asked: &Asked, id: &str, began_ms: u64) -> Step {
    let session = match world.session(id) {
        Ok(session) => session.clone(),
        // In which form the endpoint says so is not known. [I]
        Err(refused) => {
            let gone = world.gone.clone();
            return Step::Done(gone.map_or(refused, Reply::from));
        }
    };
    if let Some(refused) = refused(world, asked) {
        return Step::Done(refused);
    }
    let params = &asked.body["params"];
    let said = match asked.text("method").unwrap_or_default() {
        "tools/list" => Ok(json!({ "tools": meta::mcp_tools(&session) })),
        "tools/call" => match call(world, &session, params, began_ms) {
            Some(said) => said,
            None => return Step::Wait,
        },
        method => basics(world, method, params),
    };
    let mut reply = wrapped(world, asked, said);
    if world.switches.mcp_gives_session_ids && asked.body["method"] == "initialize" {
        reply = reply.with("mcp-session-id", "m1");
    }
    Step::Done(reply)
}

/// What every MCP endpoint of Composio refuses before it looks at a message, or takes without an answer.
pub(super) fn refused(world: &World, asked: &Asked) -> Option<Reply> {
    if asked.method != axum::http::Method::POST {
        // What GET and DELETE do at a stateless endpoint is not known. [I]
        return Some(Reply::empty(world.switches.mcp_other_methods_status));
    }
    let accept = asked.header("accept").unwrap_or_default();
    if !(accept.contains("application/json") && accept.contains("text/event-stream")) {
        let message = "Not Acceptable: Client must accept both application/json and text/event-stream";
        let error = json!({ "code": -32000, "message": message });
        return Some(Reply::json(
            406,
            json!({ "jsonrpc": "2.0", "error": error, "id": null }),
        ));
    }
    if !asked.body.is_object() {
        let error = json!({ "code": -32700, "message": "Parse error" });
        return Some(Reply::json(
            400,
            json!({ "jsonrpc": "2.0", "error": error, "id": null }),
        ));
    }
    asked.body.get("id").is_none().then(|| Reply::empty(202))
}

/// What needs no session: the handshake, and methods that there are not.
pub(super) fn basics(world: &World, method: &str, params: &Value) -> Result<Value, Value> {
    match method {
        "initialize" => {
            let asked = params["protocolVersion"].as_str().unwrap_or("2025-06-18");
            let version = world.switches.mcp_protocol_version.as_deref();
            Ok(json!({
                "protocolVersion": version.unwrap_or(asked),
                "capabilities": { "tools": { "listChanged": true } },
                "serverInfo": { "name": "fake of tool_router", "version": "1" },
            }))
        }
        "ping" => Ok(json!({})),
        _ => Err(json!({ "code": -32601, "message": "Method not found" })),
    }
}

/// The answer to a message: an event, or JSON where that is switched on.
pub(super) fn wrapped(world: &World, asked: &Asked, said: Result<Value, Value>) -> Reply {
    let mut message = json!({ "jsonrpc": "2.0", "id": asked.body["id"] });
    match said {
        Ok(result) => message["result"] = result,
        Err(error) => message["error"] = error,
    }
    if world.switches.mcp_answers_json {
        Reply::ok(message)
    } else {
        Reply::event(message)
    }
}

/// The result of a tool: a text that is JSON, in one block or several.
pub(super) fn result(world: &World, ran: &Ran) -> Value {
    let text = json!({ "successful": ran.error.is_none(), "data": ran.data, "error": ran.error }).to_string();
    let size = world.switches.mcp_block_bytes.unwrap_or(usize::MAX).max(4);
    let mut blocks = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (block, more) = rest.split_at(rest.floor_char_boundary(size));
        blocks.push(json!({ "type": "text", "text": block }));
        rest = more;
    }
    let mut result = json!({ "content": blocks });
    if world.switches.mcp_sets_is_error && ran.error.is_some() {
        result["isError"] = json!(true);
    }
    result
}

fn call(world: &mut World, session: &Session, params: &Value, began_ms: u64) -> Option<Result<Value, Value>> {
    let slug = params["name"].as_str().unwrap_or_default();
    let arguments = params.get("arguments").cloned().unwrap_or_else(|| json!({}));
    if let Some(meta) = meta::named(slug).filter(|meta| meta::has(session, meta)) {
        let ran = match meta_calls::call(world, session, meta.slug, &arguments, began_ms) {
            Called::Ran(ran) => ran,
            Called::Wait => return None,
            Called::Invalid(fault) => Ran::failed(fault),
        };
        return Some(Ok(result(world, &ran)));
    }
    let listed = preloaded(session).iter().any(|(_, tool)| tool.slug == slug);
    if !listed {
        // How a tool that is not there is refused is not known. [I]
        let message = format!("Tool {slug} not found");
        if !world.switches.mcp_unknown_tool_is_an_error {
            return Some(Ok(result(world, &Ran::failed(message))));
        }
        return Some(Err(json!({ "code": -32602, "message": message })));
    }
    let account = params["arguments"]["account"].as_str();
    if let Ok((toolkit, tool)) = reach(session, slug)
        && needs_approval(session, toolkit, tool)
        && !allows_without_asking(session)
    {
        let ran = Ran::failed(format!(
            "{slug} needs an approval, and the client supports no elicitation"
        ));
        return Some(Ok(result(world, &ran)));
    }
    let ran = in_session(world, session, slug, &arguments, account, "mcp");
    let ran = ran.unwrap_or_else(|(NoAccount::None(why) | NoAccount::Several(why))| Ran::failed(why));
    Some(Ok(result(world, &ran)))
}

/// Each POST stands by itself, so no client is known to support elicitation. [I]
fn allows_without_asking(session: &Session) -> bool {
    let fallback = session.of_toolkit("experimental", "no_elicitation_support_fallback");
    fallback.is_some_and(|fallback| fallback == "allow")
}
