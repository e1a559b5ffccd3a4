//! The fake's own routes, below `/_fake/`: `GET ledger[?user=…]`, `GET world`, `POST control`. Guarded by a token of their
//! own in the header `x-fake-control`, so that Composio's key opens nothing here.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::{self, Status};
use super::answers::{Odd, Reply};
use super::asked::Asked;
use super::catalog;
use super::grants;
use super::switches::Switches;
use super::webhooks::{self, Letter};
use super::world::World;

/// What fails, and how slow things are.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Failing {
    /// How the next creates are answered after they were carried out: `500` or `cut`.
    creates: VecDeque<String>,
    /// The messages with which the next executions of a tool fail.
    tools: BTreeMap<String, VecDeque<String>>,
    /// How long whatever names a tool waits, in milliseconds.
    delays: BTreeMap<String, u64>,
    /// Answers to such a method and end of a path are held back once they were made, in milliseconds.
    held: Option<(String, String, u64)>,
}

impl Failing {
    pub(super) fn take_create(&mut self) -> Option<&'static str> {
        let how = self.creates.pop_front()?;
        Some(if how == "cut" { "cut" } else { "500" })
    }

    pub(super) fn take_tool(&mut self, slug: &str) -> Option<String> {
        self.tools.get_mut(slug)?.pop_front()
    }
}

/// How long a request waits before it is looked at.
pub(super) fn delay(world: &World, asked: &Asked) -> Option<Duration> {
    if world.failing.delays.is_empty() {
        return None;
    }
    let body = asked.body.to_string();
    let named = |(slug, ms): (&String, &u64)| body.contains(&format!("\"{slug}\"")).then_some(*ms);
    let most = world.failing.delays.iter().filter_map(named).max();
    most.map(Duration::from_millis)
}

/// How long an answer is held back after it was carried out.
pub(super) fn held(world: &World, asked: &Asked) -> Option<Duration> {
    let (method, end, ms) = world.failing.held.as_ref()?;
    let meant = asked.method == method.as_str() && asked.path.ends_with(end.as_str());
    meant.then_some(Duration::from_millis(*ms))
}

pub(super) enum Step {
    Done(Reply),
    /// Webhooks go out, and the answer tells what their receivers said.
    Send(Vec<Letter>),
}

pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Result<Step, Reply> {
    if asked.header("x-fake-control") != Some(&world.control) {
        let body = json!({ "error": "the header x-fake-control is missing or wrong" });
        return Err(Reply::json(401, body));
    }
    match (asked.method.as_str(), rest) {
        ("GET", ["ledger"]) => Ok(Step::Done(Reply::ok(world.ledger.shown(asked.query("user"))))),
        ("GET", ["world"]) => Ok(Step::Done(Reply::ok(shown(world)))),
        ("POST", ["control"]) if asked.body["do"] == "send_webhook" => {
            let letters = webhooks::letters(world, &asked.body);
            letters
                .map(Step::Send)
                .map_err(|why| Reply::json(400, json!({ "error": why })))
        }
        ("POST", ["control"]) => match carry_out(world, &asked.body) {
            Ok(done) => Ok(Step::Done(Reply::ok(done))),
            Err(why) => Err(Reply::json(400, json!({ "error": why }))),
        },
        _ => Err(Reply::empty(404)),
    }
}

/// Sends webhooks; returns what their receivers answered.
pub(super) async fn send(letters: Vec<Letter>) -> Reply {
    Reply::ok(webhooks::send(letters).await)
}

fn shown(world: &World) -> Value {
    let sessions = world.sessions.values().map(|session| {
        let of = json!({ "session_id": session.id, "user_id": session.user_id, "config_version": session.version });
        (session.id.clone(), of)
    });
    let accounts = world
        .accounts
        .values()
        .map(|account| accounts::shown(world, account));
    json!({
        "now_ms": world.now_ms(),
        "sessions": sessions.collect::<serde_json::Map<_, _>>(),
        "accounts": accounts.collect::<Vec<_>>(),
        "switches": world.switches,
    })
}

/// Carries out a command; returns what there is to say.
pub(super) fn carry_out(world: &mut World, command: &Value) -> Result<Value, String> {
    let text = |key: &str| command[key].as_str().ok_or(format!("`{key}` is missing"));
    let number = |key: &str| command[key].as_u64().ok_or(format!("`{key}` is missing"));
    let count = command["count"].as_u64().unwrap_or(1);
    world.dirty = true;
    match text("do")? {
        "advance" => {
            world.advanced_ms += number("ms")?;
            world.settle();
        }
        "switch" => {
            let mut all = serde_json::to_value(&world.switches).map_err(|error| error.to_string())?;
            all[text("name")?] = command["to"].clone();
            world.switches = serde_json::from_value::<Switches>(all).map_err(|error| error.to_string())?;
        }
        "key" => text("to")?.clone_into(&mut world.key),
        "rate_limit" => world.rate.limit = command["per_minute"].as_u64(),
        "callback_verifier" => world.callback_verifier = command["url"].as_str().map(str::to_owned),
        "connect" => {
            let toolkit = text("toolkit")?;
            catalog::toolkit(toolkit).ok_or(format!("there is no toolkit {toolkit}"))?;
            let id = grants::connect(world, text("user")?, toolkit, command["alias"].as_str());
            return Ok(json!({ "connected_account_id": id }));
        }
        "account" => set_account(world, text("id")?, text("status")?, command["reason"].as_str())?,
        "delete_account" => {
            world
                .accounts
                .remove(text("id")?)
                .ok_or("there is no such account")?;
        }
        "delete_session" => match command["user"].as_str() {
            Some(user) => world.sessions.retain(|_, session| session.user_id != user),
            None => world.delete_session(text("id")?),
        },
        "fail_creates" => {
            let how = command["how"].as_str().unwrap_or("500").to_owned();
            world.failing.creates.extend((0..count).map(|_| how.clone()));
        }
        "fail_tool" => {
            let message = command["message"]
                .as_str()
                .unwrap_or("The app says no")
                .to_owned();
            let queue = world.failing.tools.entry(text("tool")?.to_owned()).or_default();
            queue.extend((0..count).map(|_| message.clone()));
        }
        "delay" => {
            world
                .failing
                .delays
                .insert(text("tool")?.to_owned(), number("ms")?);
        }
        "hold" => {
            let how = (text("method")?.to_owned(), text("end")?.to_owned(), number("ms")?);
            world.failing.held = Some(how);
        }
        "let_go" => world.failing.held = None,
        "down" => world.down = command["to"].as_bool().unwrap_or(true),
        "gone" => world.gone = Some(odd(command)?),
        "odd" => {
            let odd = odd(command)?;
            let queue = world.odd.entry(text("place")?.to_owned()).or_default();
            queue.extend((0..count).map(|_| odd.clone()));
        }
        other => return Err(format!("`do`: {other} is nothing that the fake can do")),
    }
    Ok(json!({ "done": true }))
}

fn set_account(world: &mut World, id: &str, status: &str, reason: Option<&str>) -> Result<(), String> {
    let status = Status::named(status).ok_or(format!("{status} is no status"))?;
    let usual = match status {
        Status::Expired => Some("Permanent auth error during token refresh"),
        Status::Revoked => Some("Revoked via user-initiated revoke endpoint"),
        Status::Inactive => Some("Connection status updated by user"),
        Status::Failed => Some("OAuth callback failed during token exchange"),
        _ => None,
    };
    let now = world.now_ms();
    let account = world.accounts.get_mut(id).ok_or("there is no such account")?;
    account.become_(status, reason.or(usual), now);
    Ok(())
}

fn odd(command: &Value) -> Result<Odd, String> {
    let status = command["status"].as_u64().ok_or("`status` is missing")?;
    // Odd answers are few, and live as long as the fake.
    let kept = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let headers = command["headers"].as_object().into_iter().flatten();
    let headers = headers.filter_map(|(name, value)| Some((kept(name), kept(value.as_str()?))));
    let body = match &command["body"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        body => body.to_string(),
    };
    Ok(Odd {
        status: u16::try_from(status).map_err(|error| error.to_string())?,
        headers: headers.collect(),
        body,
    })
}
