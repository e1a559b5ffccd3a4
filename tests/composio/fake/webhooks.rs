//! Webhooks: subscriptions, and signed V3 envelopes that go out on command.
//! The signature is over `id.timestamp.body`, with the secret as the bytes that it is written in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts;
use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::hmac::hmac_sha256;
use super::pages::{cut, page};
use super::world::{World, id, iso, uuid};

const EVENTS: [&str; 3] = [
    "composio.trigger.message",
    "composio.connected_account.expired",
    "composio.trigger.disabled",
];

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Subscription {
    id: String,
    url: String,
    events: Vec<String>,
    version: String,
    secret: String,
    made_ms: u64,
    updated_ms: u64,
}

/// A webhook on its way.
pub(super) struct Letter {
    url: String,
    headers: [(&'static str, String); 3],
    body: String,
}

pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Outcome {
    match (asked.method.as_str(), rest) {
        ("GET", []) => {
            let items: Vec<Value> = world
                .subscriptions
                .values()
                .map(|one| shown(one, false))
                .collect();
            Ok(Reply::ok(page(asked, &items, cut(20, 100))?))
        }
        ("POST", []) => create(world, asked),
        ("GET", ["event_types"]) => {
            let item = |event: &&str| json!({ "event_type": event, "description": event, "supported_versions": ["V3"] });
            Ok(Reply::ok(
                json!({ "items": EVENTS.iter().map(item).collect::<Vec<_>>() }),
            ))
        }
        ("GET", [id]) => Ok(Reply::ok(shown(found(world, id)?, false))),
        ("PATCH", [id]) => {
            let mut one = found(world, id)?.clone();
            wanted(world, asked, &mut one)?;
            one.updated_ms = world.now_ms();
            let said = shown(&one, false);
            world.subscriptions.insert(one.id.clone(), one);
            world.dirty = true;
            Ok(Reply::ok(said))
        }
        ("DELETE", [id]) => {
            found(world, id)?;
            world.subscriptions.remove(*id);
            world.dirty = true;
            Ok(Reply::ok(json!({ "success": true })))
        }
        ("POST", [id, "rotate_secret"]) => {
            let mut one = found(world, id)?.clone();
            one.secret = uuid();
            let said = shown(&one, true);
            world.subscriptions.insert(one.id.clone(), one);
            world.dirty = true;
            Ok(Reply::ok(said))
        }
        _ => Err(Reply::empty(405)),
    }
}

fn found<'w>(world: &'w World, id: &str) -> Result<&'w Subscription, Reply> {
    let unknown = || {
        Reply::not_found(
            &format!("Webhook subscription {id}"),
            "WebhookSubscription_NotFound",
        )
    };
    world.subscriptions.get(id).ok_or_else(unknown)
}

/// A subscription as answers show it; the secret is there once.
fn shown(one: &Subscription, secret: bool) -> Value {
    let mut said = json!({
        "id": one.id, "webhook_url": one.url, "enabled_events": one.events, "version": one.version,
        "created_at": iso(one.made_ms), "updated_at": iso(one.updated_ms), "secret": "***",
    });
    if secret {
        said["secret"] = json!(one.secret);
    }
    said
}

fn create(world: &mut World, asked: &Asked) -> Outcome {
    for key in ["webhook_url", "enabled_events"] {
        if asked.body.get(key).is_none() {
            return Err(Reply::bad_payload(&[format!("Error in payload.{key}: Required")]));
        }
    }
    let now = world.now_ms();
    let mut one = Subscription {
        id: id("ws_"),
        url: String::new(),
        events: Vec::new(),
        version: "V3".to_owned(),
        secret: uuid(),
        made_ms: now,
        updated_ms: now,
    };
    wanted(world, asked, &mut one)?;
    let said = shown(&one, true);
    world.subscriptions.insert(one.id.clone(), one);
    world.dirty = true;
    Ok(Reply::json(201, said))
}

fn wanted(world: &World, asked: &Asked, one: &mut Subscription) -> Result<(), Reply> {
    let invalid = |key: &str| Reply::bad_payload(&[format!("Error in payload.{key}: Invalid input")]);
    if let Some(url) = asked.body.get("webhook_url") {
        let url = url.as_str().unwrap_or_default();
        let parsed = url::Url::parse(url).map_err(|_| invalid("webhook_url"))?;
        let here = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost"));
        let loopback = world.switches.webhooks_to_loopback && here;
        if url.len() > 2048 || !(parsed.scheme() == "https" || loopback) {
            return Err(invalid("webhook_url"));
        }
        url.clone_into(&mut one.url);
    }
    if let Some(events) = asked.body.get("enabled_events") {
        let list: Option<Vec<String>> = serde_json::from_value(events.clone()).ok();
        let known = |list: &Vec<String>| {
            !list.is_empty() && list.iter().all(|event| EVENTS.contains(&event.as_str()))
        };
        one.events = list.filter(known).ok_or_else(|| invalid("enabled_events"))?;
    }
    if let Some(version) = asked.text("version") {
        let known = ["V1", "V2", "V3"].contains(&version);
        known
            .then(|| version.clone_into(&mut one.version))
            .ok_or_else(|| invalid("version"))?;
    }
    Ok(())
}

/// Writes what `send_webhook` says: `{"type", "account"?, "data"?, "metadata"?}` to every subscription of the type, or
/// `{"url", "secret"}` alone. `"timestamp"` and `"id"` take the place of the true ones, `"tamper"` changes the body
/// after it was signed.
pub(super) fn letters(world: &World, command: &Value) -> Result<Vec<Letter>, String> {
    let kind = command["type"].as_str().ok_or("`type` is missing")?;
    let id = command["id"]
        .as_str()
        .map_or_else(|| format!("msg_{}", uuid()), str::to_owned);
    let seconds = command["timestamp"].as_u64().unwrap_or(world.now_ms() / 1000);
    let mut data = command.get("data").cloned().unwrap_or_else(|| json!({}));
    let mut metadata = json!({ "project_id": "pr_fake", "org_id": "org_fake" });
    if let Some(account) = command["account"].as_str() {
        let account = world.accounts.get(account).ok_or("there is no such account")?;
        if kind.starts_with("composio.connected_account.") {
            data = accounts::shown(world, account);
        } else {
            metadata["connected_account_id"] = json!(account.id);
            metadata["auth_config_id"] = json!(account.auth_config_id);
            metadata["user_id"] = json!(account.user_id);
        }
    }
    for (key, value) in command["metadata"].as_object().into_iter().flatten() {
        metadata[key] = value.clone();
    }
    let body = json!({ "id": id, "timestamp": iso(seconds * 1000), "type": kind, "metadata": metadata, "data": data });
    let body = body.to_string();
    let to: Vec<(String, String)> = if let Some(url) = command["url"].as_str() {
        let secret = command["secret"].as_str().ok_or("`secret` is missing")?;
        vec![(url.to_owned(), secret.to_owned())]
    } else {
        let of = |one: &&Subscription| one.events.iter().any(|event| event == kind);
        let of = world.subscriptions.values().filter(of);
        of.map(|one| (one.url.clone(), one.secret.clone())).collect()
    };
    let letter = |(url, secret): (String, String)| {
        let signed = hmac_sha256(secret.as_bytes(), format!("{id}.{seconds}.{body}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(signed));
        let tampered = command["tamper"] == true;
        Letter {
            url,
            headers: [
                ("webhook-id", id.clone()),
                ("webhook-timestamp", seconds.to_string()),
                ("webhook-signature", signature),
            ],
            body: if tampered {
                body.replace("\"type\"", "\"Type\"")
            } else {
                body.clone()
            },
        }
    };
    Ok(to.into_iter().map(letter).collect())
}

/// A client for this machine: no proxy, no certificates.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy();
    let client = builder.tls_certs_only(std::iter::empty()).build();
    client.unwrap_or_else(|error| panic!("no HTTP client can be made: {error}"))
}

pub(super) async fn send(letters: Vec<Letter>) -> Value {
    let client = client();
    let mut said = Vec::new();
    for letter in letters {
        let mut request = client
            .post(&letter.url)
            .header("content-type", "application/json");
        for (name, value) in letter.headers {
            request = request.header(name, value);
        }
        let answered = request.body(letter.body.clone()).send().await;
        let status = answered.as_ref().map_or(0, |answer| answer.status().as_u16());
        let text = match answered {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        said.push(json!({ "url": letter.url, "status": status, "answer": text, "sent": letter.body }));
    }
    json!({ "sent": said })
}
