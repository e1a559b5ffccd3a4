//! What a session offers beside its MCP endpoint: its toolkits and tools, links, a search, and executing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::catalog::{TOOLKITS, Toolkit};
use super::executions::{self, NoAccount, Ran, candidates, in_session};
use super::meta;
use super::meta_calls::{self, Called};
use super::pages::{cut, page};
use super::routes::Step;
use super::session_rules::{allows_toolkit, needs_approval};
use super::sessions::{self, Session};
use super::world::{World, id};
use super::{accounts, grants, ledger, links};

pub(super) fn answer(world: &mut World, asked: &Asked, id: &str, rest: &[&str]) -> Outcome {
    let session = world.session(id)?.clone();
    match (asked.method.as_str(), rest) {
        ("POST", ["attach"]) => {
            if let Some(body) = asked.body.as_object()
                && let Some(key) = body.keys().find(|key| *key != "experimental")
            {
                let fault = format!("Error in payload: Unrecognized key: '{key}'");
                return Err(Reply::bad_payload(&[fault]));
            }
            Ok(Reply::ok(sessions::shown(world, &session)))
        }
        ("GET", ["config_history"]) => sessions::history(asked, &session),
        ("GET", ["toolkits"]) => toolkits(world, asked, &session),
        ("GET", ["tools"]) => Ok(Reply::ok(page(asked, &meta::objects(&session), cut(500, 500))?)),
        ("POST", ["link"]) => link(world, asked, &session),
        ("POST", ["search"]) => search(world, asked, &session),
        ("POST", ["proxy_execute"]) => proxy(world, asked, &session),
        _ => Err(Reply::empty(405)),
    }
}

fn toolkits(world: &World, asked: &Asked, session: &Session) -> Outcome {
    let search = asked.query("search").unwrap_or_default().to_lowercase();
    let connected = asked.query("is_connected") == Some("true");
    let item = |toolkit: &Toolkit| {
        let account = candidates(world, session, toolkit.slug).first().map(|account| {
            let whole = accounts::shown(world, account);
            json!({
                "id": account.id, "user_id": account.user_id, "status": account.status.name(),
                "created_at": whole["created_at"], "auth_config": {
                    "id": account.auth_config_id, "auth_scheme": account.scheme,
                    "is_composio_managed": account.managed,
                },
            })
        });
        json!({
            "name": toolkit.name, "slug": toolkit.slug, "enabled": true, "is_no_auth": toolkit.no_auth(),
            "composio_managed_auth_schemes": if toolkit.managed { vec![toolkit.scheme] } else { Vec::new() },
            "meta": { "logo": super::catalog::logo(toolkit.slug), "description": toolkit.about },
            "connected_account": account,
        })
    };
    let items: Vec<Value> = TOOLKITS
        .iter()
        .filter(|toolkit| {
            allows_toolkit(&session.blocks, toolkit.slug)
                && asked.lists("toolkits", toolkit.slug)
                && (toolkit.slug.contains(&search) || toolkit.name.to_lowercase().contains(&search))
        })
        .map(item)
        .filter(|item| !connected || !item["connected_account"].is_null())
        .collect();
    Ok(Reply::ok(page(asked, &items, cut(20, 50))?))
}

/// A link that was made.
pub(super) struct Linked {
    token: String,
    pub(super) url: String,
    pub(super) account: String,
}

/// Begins a flow for the session's user, also when one is connected already.
pub(super) fn link_for(
    world: &mut World,
    session: &Session,
    toolkit: &str,
    alias: Option<&str>,
    callback: Option<String>,
) -> Result<Linked, Reply> {
    let config = grants::config_for(world, session, toolkit)?;
    if world.switches.link_is_reused
        && let Some((token, account)) = links::pending(world, &session.user_id, toolkit)
    {
        let url = links::url(world, &token);
        return Ok(Linked { token, url, account });
    }
    let most = session
        .blocks
        .get("multi_account")
        .and_then(|block| block.get("max_accounts_per_toolkit"));
    let most = most.and_then(Value::as_u64).unwrap_or(5);
    let there = grants::active(world, &session.user_id, toolkit).len() as u64;
    if session.multi_account() && there >= most && world.switches.links_are_counted {
        // How it is refused is not known. [I]
        let message = format!("At most {most} {toolkit} accounts can be connected");
        return Err(Reply::bad_session(&message));
    }
    let callback = callback.or_else(|| session.callback_url().map(str::to_owned));
    let account = grants::begin(world, &session.user_id, &config, alias, callback)?;
    let token = links::open(world, &account);
    let url = links::url(world, &token);
    Ok(Linked { token, url, account })
}

fn link(world: &mut World, asked: &Asked, session: &Session) -> Outcome {
    const KNOWN: [&str; 4] = ["toolkit", "alias", "callback_url", "experimental"];
    let body = asked.body.as_object().cloned().unwrap_or_default();
    if let Some(key) = body.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        let fault = format!("Error in payload: Unrecognized key: '{key}'");
        return Err(Reply::bad_payload(&[fault]));
    }
    let fault = || Reply::bad_payload(&["Error in payload.toolkit: Required".to_owned()]);
    let toolkit = asked.text("toolkit").ok_or_else(fault)?;
    let callback = links::callback(asked)?;
    let linked = link_for(world, session, toolkit, asked.text("alias"), callback)?;
    Ok(Reply::json(
        201,
        json!({
            "link_token": linked.token, "redirect_url": linked.url, "connected_account_id": linked.account,
        }),
    ))
}

fn search(world: &mut World, asked: &Asked, session: &Session) -> Outcome {
    let queries = asked.body["queries"].as_array().cloned().unwrap_or_default();
    let good = |query: &Value| {
        let length = query["use_case"].as_str().unwrap_or_default().chars().count();
        (1..=1024).contains(&length)
    };
    if !((1..=7).contains(&queries.len()) && queries.iter().all(good)) {
        let fault = "Error in payload.queries: Invalid input".to_owned();
        return Err(Reply::bad_payload(&[fault]));
    }
    let mut data = meta_calls::search(world, session, &queries).data;
    data["success"] = json!(true);
    data["error"] = Value::Null;
    Ok(Reply::ok(data))
}

fn proxy(world: &mut World, asked: &Asked, session: &Session) -> Outcome {
    let missing = |key: &str| Reply::bad_payload(&[format!("Error in payload.{key}: Required")]);
    let toolkit = asked
        .text("toolkit_slug")
        .ok_or_else(|| missing("toolkit_slug"))?;
    let endpoint = asked.text("endpoint").ok_or_else(|| missing("endpoint"))?;
    let method = asked.text("method").ok_or_else(|| missing("method"))?;
    if !session.flag("proxy_execute", "enable", true) {
        let message = "Proxy execution is disabled for this session";
        return Err(Reply::bad_session(message));
    }
    let account = match executions::choose(world, session, toolkit, asked.text("account")) {
        Ok(account) => account.id.clone(),
        Err(none) => return Err(no_account(world, &none)),
    };
    let tool = format!("{method} {endpoint}");
    executions::note(
        world,
        &tool,
        Some(&session.id),
        &session.user_id,
        Some(&account),
        &asked.body["body"],
        "proxy_execute",
        true,
    );
    let data = json!({ "login": session.user_id, "connected_account_id": account });
    let mut said = json!({ "status": 200, "data": data, "headers": { "content-type": "application/json" } });
    if world.switches.result_type {
        said["result_type"] = json!("completed");
    }
    Ok(Reply::ok(said))
}

fn no_account(world: &World, none: &NoAccount) -> Reply {
    let (NoAccount::None(why) | NoAccount::Several(why)) = none;
    let status = world.switches.no_connection_status;
    Reply::error(status, 4302, "ToolRouterV2_NoActiveConnection", why)
}

/// `POST …/execute` and `…/execute_meta`: 200 also when the tool failed.
pub(super) fn execute(world: &mut World, asked: &Asked, id: &str, part: &str, began_ms: u64) -> Step {
    match try_execute(world, asked, id, part, began_ms) {
        Ok(Some(reply)) | Err(reply) => Step::Done(reply),
        Ok(None) => Step::Wait,
    }
}

fn try_execute(
    world: &mut World,
    asked: &Asked,
    id: &str,
    part: &str,
    began_ms: u64,
) -> Result<Option<Reply>, Reply> {
    let session = world.session(id)?.clone();
    let key = if part == "execute" { "tool_slug" } else { "slug" };
    let missing = || Reply::bad_payload(&[format!("Error in payload.{key}: Required")]);
    let slug = asked.text(key).ok_or_else(missing)?;
    let arguments = asked.body.get("arguments").cloned().unwrap_or_else(|| json!({}));
    if !arguments.is_object() {
        return Err(Reply::bad_payload(&[
            "Error in payload.arguments: Invalid input".to_owned()
        ]));
    }
    if let Some(meta) = meta::named(slug) {
        if !meta::has(&session, meta) {
            return Err(Reply::bad_session(&format!(
                "Tool {slug} is disabled for this session"
            )));
        }
        return match meta_calls::call(world, &session, slug, &arguments, began_ms) {
            Called::Ran(ran) => Ok(Some(told(world, &ran))),
            Called::Wait => Ok(None),
            Called::Invalid(fault) => Err(Reply::bad_payload(&[fault])),
        };
    }
    if part == "execute_meta" {
        return Err(Reply::bad_payload(&[
            "Error in payload.slug: Invalid enum value".to_owned()
        ]));
    }
    if let Ok((toolkit, tool)) = executions::reach(&session, slug)
        && needs_approval(&session, toolkit, tool)
        && let Some(reply) = approval(asked, slug, &arguments)?
    {
        return Ok(Some(reply));
    }
    match in_session(
        world,
        &session,
        slug,
        &arguments,
        asked.text("account"),
        "execute",
    ) {
        Ok(ran) => Ok(Some(told(world, &ran))),
        Err(NoAccount::Several(why)) => Ok(Some(told(world, &Ran::failed(why)))),
        Err(none) => Err(no_account(world, &none)),
    }
}

fn told(world: &World, ran: &Ran) -> Reply {
    let mut body = json!({ "data": ran.data, "error": ran.error, "log_id": id("log_") });
    if world.switches.result_type {
        body["result_type"] = json!(if body["error"].is_null() {
            "completed"
        } else {
            "failed"
        });
    }
    Reply::ok(body)
}

/// Asks somebody to approve the call; `None` once they have.
fn approval(asked: &Asked, slug: &str, arguments: &Value) -> Result<Option<Reply>, Reply> {
    let state = URL_SAFE_NO_PAD.encode(ledger::digest(&json!([slug, arguments])));
    let Some(answers) = asked.body.get("input_responses") else {
        let schema = json!({ "type": "object", "properties": { "approve": { "type": "boolean" } } });
        let request = json!({ "type": "elicitation", "mode": "form", "message": format!("Allow {slug}?"),
            "requested_schema": schema });
        let said = json!({ "result_type": "input_required", "input_requests": { "approval": request },
            "request_state": state });
        return Ok(Some(Reply::ok(said)));
    };
    if asked.text("request_state") != Some(&state) {
        return Err(Reply::bad_payload(&[
            "Error in payload.request_state: Invalid input".to_owned(),
        ]));
    }
    if answers["approval"]["action"] == "accept" {
        return Ok(None);
    }
    let error = format!("{slug} was not approved");
    let said = json!({ "result_type": "failed", "data": {}, "error": error, "log_id": id("log_") });
    Ok(Some(Reply::ok(said)))
}
