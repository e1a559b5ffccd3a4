//! Which request goes where, and what all of them have in common: the key, the budget, odd answers, the ledger.

use std::time::Duration;

use axum::http::Method;
use axum::response::{IntoResponse as _, Response};

use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::ledger::Seen;
use super::world::World;
use super::{
    Fake, accounts, auth_configs, control, links, mcp, server_mcp, servers, session_tools, sessions,
    toolkits, tools, triggers, webhooks,
};

/// How often something that blocks looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// What is done about a request.
pub(super) enum Step {
    Done(Reply),
    /// Nothing yet: it is asked again until this time, in milliseconds since 1970, has come.
    Wait,
}

/// Answers a request.
pub(super) async fn answer(fake: &Fake, asked: &Asked) -> Response {
    let segments = asked.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let ["_fake", rest @ ..] = &segments[..] {
        return by_hand(fake, asked, rest).await;
    }
    let place = place(&asked.method, &segments);
    let (began, headers, delay) = {
        let mut world = fake.world();
        world.settle();
        note(&mut world, asked, place, &segments);
        if world.down {
            return Reply::json(503, serde_json::json!({ "message": "Service Unavailable" })).into_response();
        }
        match admit(&mut world, asked, &segments) {
            Ok(headers) => (world.now_ms(), headers, control::delay(&world, asked)),
            Err(refused) => return refused.into_response(),
        }
    };
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    if let Some(odd) = next_odd(fake, asked, place) {
        return odd;
    }
    let reply = loop {
        {
            let mut world = fake.world();
            world.settle();
            let step = route(&mut world, asked, &segments, began);
            world.keep();
            if let Step::Done(reply) = step {
                break reply;
            }
        }
        tokio::time::sleep(LOOK).await;
    };
    let held = control::held(&fake.world(), asked);
    if let Some(held) = held {
        tokio::time::sleep(held).await;
    }
    let with = |reply: Reply, (name, value)| reply.with(name, value);
    headers.into_iter().fold(reply, with).into_response()
}

async fn by_hand(fake: &Fake, asked: &Asked, rest: &[&str]) -> Response {
    let step = {
        let mut world = fake.world();
        world.settle();
        let step = control::answer(&mut world, asked, rest);
        world.keep();
        step
    };
    match step {
        Ok(control::Step::Done(reply)) | Err(reply) => reply.into_response(),
        Ok(control::Step::Send(letters)) => control::send(letters).await.into_response(),
    }
}

/// Names what a request is about: `create`, `session`, `call` (a tool, at a session's endpoint), `mcp`, `server` (an
/// older MCP server's endpoint), `link` (a session's), `page` (a person's), or `api`.
pub(super) fn place(method: &Method, segments: &[&str]) -> &'static str {
    match segments {
        ["api", _, "tool_router", "session"] if *method == Method::POST => "create",
        ["api", _, "tool_router", "session", _] => "session",
        ["api", _, "tool_router", "session", _, "link"] => "link",
        ["tool_router", _, "mcp"] => "mcp",
        ["v3", "mcp", ..] => "server",
        ["link", ..] => "page",
        _ => "api",
    }
}

fn note(world: &mut World, asked: &Asked, place: &'static str, segments: &[&str]) {
    let session = match segments {
        ["api", _, "tool_router", "session", id, ..] | ["tool_router", id, "mcp"] => Some(*id),
        _ => None,
    };
    let user = session.and_then(|id| world.sessions.get(id));
    let user = user.map(|session| session.user_id.clone());
    world.ledger.came(Seen {
        method: asked.method.clone(),
        place,
        path: asked.path.clone(),
        headers: asked.headers.clone(),
        body: asked.body.clone(),
        user,
    });
}

/// Looks at the key, exactly one, and takes from the budget.
fn admit(world: &mut World, asked: &Asked, segments: &[&str]) -> Result<Vec<(&'static str, String)>, Reply> {
    let open = match segments {
        ["link", ..] => true,
        ["v3", "mcp", ..] => !world.switches.require_mcp_api_key,
        _ => false,
    };
    if open {
        return Ok(Vec::new());
    }
    let kinds = ["x-api-key", "x-user-api-key", "x-org-api-key"];
    let given = kinds.iter().filter(|kind| asked.headers.contains_key(**kind));
    if given.count() > 1 {
        let message =
            "Multiple authentication modes were given; use one of x-api-key, x-user-api-key, x-org-api-key";
        return Err(Reply::error(401, 10401, "HTTP_Unauthorized", message));
    }
    let key = asked.header("x-api-key").unwrap_or_default();
    if key != world.key {
        let shown: String = key.chars().take(6).collect();
        let message = format!("Invalid API key: {shown}******");
        return Err(Reply::error(401, 801, "APIKey_InvalidAPIKey", &message));
    }
    let now = world.now_ms();
    world.rate.take(now).map(Vec::from)
}

fn next_odd(fake: &Fake, asked: &Asked, place: &str) -> Option<Response> {
    let mut world = fake.world();
    let mut take = |place: &str| world.odd.get_mut(place)?.pop_front();
    let calls = place == "mcp" && asked.body["method"] == "tools/call";
    let odd = if calls {
        take("call").or_else(|| take(place))
    } else {
        take(place)
    };
    odd.map(|odd| Reply::from(odd).into_response())
}

fn route(world: &mut World, asked: &Asked, segments: &[&str], began_ms: u64) -> Step {
    let outcome = match segments {
        ["api", "v3" | "v3.1", rest @ ..] => return api(world, asked, rest, began_ms),
        ["tool_router", id, "mcp"] => return mcp::answer(world, asked, id, began_ms),
        ["v3", "mcp", id] | ["v3", "mcp", id, "mcp"] => Ok(server_mcp::answer(world, asked, id)),
        ["link", token] => links::page(world, asked, token),
        _ => Err(Reply::not_found("Route", "HTTP_NotFound")),
    };
    Step::Done(outcome.unwrap_or_else(|refused| refused))
}

fn api(world: &mut World, asked: &Asked, rest: &[&str], began_ms: u64) -> Step {
    if asked.unreadable {
        let fault = "Error in payload: Unexpected token in JSON".to_owned();
        return Step::Done(Reply::bad_payload(&[fault]));
    }
    let method = asked.method.as_str();
    let done: Outcome = match rest {
        ["tool_router", "session"] if method == "POST" => sessions::create(world, asked),
        ["tool_router", "session", id] => sessions::one(world, asked, id),
        ["tool_router", "session", id, part @ ("execute" | "execute_meta")] if method == "POST" => {
            return session_tools::execute(world, asked, id, part, began_ms);
        }
        ["tool_router", "session", id, rest @ ..] => session_tools::answer(world, asked, id, rest),
        ["connected_accounts", rest @ ..] => accounts::answer(world, asked, rest),
        ["auth_configs", rest @ ..] => auth_configs::answer(world, asked, rest),
        ["toolkits", rest @ ..] => toolkits::answer(world, asked, rest),
        ["mcp", rest @ ..] => servers::answer(world, asked, rest),
        ["trigger_instances", rest @ ..] => triggers::answer(world, asked, rest),
        ["triggers_types", rest @ ..] => triggers::types(asked, rest),
        // Saved policies are not on every plan.
        ["session_configs", ..] => Err(Reply::error(
            403,
            10403,
            "HTTP_Forbidden",
            "Session configs are not enabled",
        )),
        ["org", "project", "config"] => Ok(project(world, asked)),
        ["webhook_subscriptions", rest @ ..] => webhooks::answer(world, asked, rest),
        ["tools", rest @ ..] => tools::answer(world, asked, rest),
        _ => Err(Reply::not_found("Route", "HTTP_NotFound")),
    };
    Step::Done(done.unwrap_or_else(|refused| refused))
}

/// The project's settings, as far as the fake has them.
fn project(world: &mut World, asked: &Asked) -> Reply {
    if asked.method == Method::PATCH {
        if let Some(flag) = asked.body["require_mcp_api_key"].as_bool() {
            world.switches.require_mcp_api_key = flag;
        }
        if let Some(url) = asked.body.get("oauth_callback_verifier_url") {
            world.callback_verifier = url.as_str().map(str::to_owned);
        }
        world.dirty = true;
    }
    Reply::ok(serde_json::json!({
        "require_mcp_api_key": world.switches.require_mcp_api_key,
        "oauth_callback_verifier_url": world.callback_verifier,
    }))
}
