//! Triggers: what an account's app shall tell of. They only lie there; `send_webhook` lets them fire.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::catalog;
use super::grants;
use super::pages::{cut, page};
use super::world::{World, id, iso};

const TYPES: [(&str, &str, &str); 2] = [
    ("GMAIL_NEW_GMAIL_MESSAGE", "gmail", "poll"),
    ("GITHUB_COMMIT_EVENT", "github", "webhook"),
];

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Trigger {
    id: String,
    slug: String,
    account: String,
    user: String,
    config: Value,
    egress_url: Option<String>,
    enabled: bool,
    updated_ms: u64,
}

/// `/trigger_instances/…`.
pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Outcome {
    match (asked.method.as_str(), rest) {
        ("GET", ["active"]) => {
            let shows_disabled = asked.query("show_disabled") == Some("true");
            let of = |one: &&Trigger| {
                (one.enabled || shows_disabled)
                    && asked.lists("connected_account_ids", &one.account)
                    && asked.lists("trigger_names", &one.slug)
                    && asked.lists("trigger_ids", &one.id)
            };
            let items: Vec<Value> = world.triggers.values().filter(of).map(shown).collect();
            Ok(Reply::ok(page(asked, &items, cut(20, 50))?))
        }
        ("POST", [slug, "upsert"]) => upsert(world, asked, slug),
        ("PATCH", ["manage", id]) => {
            found(world, id)?;
            let to = match asked.text("status") {
                Some("enable") => true,
                Some("disable") => false,
                _ => {
                    return Err(Reply::bad_payload(&[
                        "Error in payload.status: Invalid input".to_owned()
                    ]));
                }
            };
            let now = world.now_ms();
            if let Some(trigger) = world.triggers.get_mut(*id) {
                (trigger.enabled, trigger.updated_ms) = (to, now);
            }
            world.dirty = true;
            Ok(Reply::ok(json!({ "status": "success" })))
        }
        ("DELETE", ["manage", id]) => {
            found(world, id)?;
            world.triggers.remove(*id);
            world.dirty = true;
            Ok(Reply::ok(json!({ "trigger_id": id })))
        }
        _ => Err(Reply::empty(405)),
    }
}

/// `/triggers_types[/{slug}]`.
pub(super) fn types(asked: &Asked, rest: &[&str]) -> Outcome {
    let shown = |(slug, toolkit, kind): &(&str, &str, &str)| {
        let name = catalog::toolkit(toolkit).map_or(*toolkit, |toolkit| toolkit.name);
        json!({
            "slug": slug, "name": catalog::title(slug), "description": slug, "instructions": "", "type": kind,
            "toolkit": { "slug": toolkit, "name": name, "logo": catalog::logo(toolkit) },
            "config": { "type": "object", "properties": {} }, "payload": { "type": "object", "properties": {} },
            "version": catalog::VERSION,
        })
    };
    match rest {
        [] => {
            let of = |(_, toolkit, _): &&(&str, &str, &str)| asked.lists("toolkit_slugs", toolkit);
            let items: Vec<Value> = TYPES.iter().filter(of).map(shown).collect();
            Ok(Reply::ok(page(asked, &items, cut(20, 50))?))
        }
        [slug] => match TYPES.iter().find(|(of, ..)| of == slug) {
            Some(found) => Ok(Reply::ok(shown(found))),
            None => Err(unknown_type(slug)),
        },
        _ => Err(Reply::empty(405)),
    }
}

fn unknown_type(slug: &str) -> Reply {
    Reply::not_found(&format!("Trigger type {slug}"), "TriggerType_NotFound")
}

fn found<'w>(world: &'w World, id: &str) -> Result<&'w Trigger, Reply> {
    let unknown = || Reply::not_found(&format!("Trigger {id}"), "TriggerInstance_NotFound");
    world.triggers.get(id).ok_or_else(unknown)
}

/// Each field twice: as it is called now, and as it was called before.
fn shown(one: &Trigger) -> Value {
    let updated = iso(one.updated_ms);
    let disabled = (!one.enabled).then_some(&updated);
    json!({
        "id": one.id, "uuid": one.id, "user_id": one.user, "connected_account_uuid": one.account, "state": {},
        "version": catalog::VERSION, "egress_url": one.egress_url,
        "connected_account_id": one.account, "connectedAccountId": one.account,
        "trigger_name": one.slug, "triggerName": one.slug,
        "trigger_config": one.config, "triggerConfig": one.config,
        "disabled_at": disabled, "disabledAt": disabled, "updated_at": updated, "updatedAt": updated,
    })
}

fn upsert(world: &mut World, asked: &Asked, slug: &str) -> Outcome {
    let (slug, toolkit, _) = TYPES
        .iter()
        .find(|(of, ..)| *of == slug)
        .ok_or_else(|| unknown_type(slug))?;
    let missing = || {
        Reply::error(
            400,
            1803,
            "ConnectedAccount_NotFound",
            "No connected account found",
        )
    };
    let account = match (asked.text("connected_account_id"), asked.text("user_id")) {
        (Some(id), _) => world
            .accounts
            .get(id)
            .filter(|account| account.toolkit == *toolkit && account.usable()),
        (None, Some(user)) => grants::active(world, user, toolkit).into_iter().next(),
        (None, None) => None,
    };
    let (account, user) = account
        .map(|one| (one.id.clone(), one.user_id.clone()))
        .ok_or_else(missing)?;
    let config = asked
        .body
        .get("trigger_config")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let same = |one: &&Trigger| one.slug == *slug && one.account == account && one.config == config;
    let there = world.triggers.values().find(same).map(|one| one.id.clone());
    let status = if there.is_some() { 200 } else { 201 };
    let trigger = Trigger {
        id: there.unwrap_or_else(|| id("ti_")),
        slug: (*slug).to_owned(),
        account,
        user,
        config,
        egress_url: asked.text("egress_url").map(str::to_owned),
        enabled: true,
        updated_ms: world.now_ms(),
    };
    let said = json!({ "trigger_id": trigger.id });
    world.triggers.insert(trigger.id.clone(), trigger);
    world.dirty = true;
    Ok(Reply::json(status, said))
}
