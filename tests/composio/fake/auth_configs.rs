//! Auth configs: with whose app accounts of a toolkit are authorised.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::catalog::{self, Toolkit};
use super::pages::{cut, page};
use super::world::{World, id, iso, uuid};

const SCHEMES: [&str; 15] = [
    "OAUTH2",
    "OAUTH1",
    "API_KEY",
    "BASIC",
    "BEARER_TOKEN",
    "NO_AUTH",
    "GOOGLE_SERVICE_ACCOUNT",
    "SERVICE_ACCOUNT",
    "BASIC_WITH_JWT",
    "DCR_OAUTH",
    "S2S_OAUTH2",
    "SAML",
    "BILLCOM_AUTH",
    "CALCOM_AUTH",
    "CIMD_OAUTH",
];

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct AuthConfig {
    pub(super) id: String,
    uuid: String,
    name: String,
    pub(super) toolkit: String,
    pub(super) scheme: String,
    pub(super) managed: bool,
    pub(super) enabled: bool,
    tool_access: Value,
    made: u64,
    created_ms: u64,
    updated_ms: u64,
}

/// Adds one.
pub(super) fn add(
    world: &mut World,
    toolkit: &str,
    scheme: &str,
    managed: bool,
    name: Option<&str>,
) -> String {
    let (made, now) = (world.next(), world.now_ms());
    let config = AuthConfig {
        id: id("ac_"),
        uuid: uuid(),
        name: name.map_or_else(|| format!("{toolkit}-{made}"), str::to_owned),
        toolkit: toolkit.to_owned(),
        scheme: scheme.to_owned(),
        managed,
        enabled: true,
        tool_access: json!({}),
        made,
        created_ms: now,
        updated_ms: now,
    };
    let id = config.id.clone();
    world.auth_configs.insert(id.clone(), config);
    id
}

/// The auth config that a toolkit's accounts get where none is named: the oldest that is enabled.
pub(super) fn usual(world: &World, toolkit: &str) -> Option<String> {
    let of = world
        .auth_configs
        .values()
        .filter(|config| config.toolkit == toolkit && config.enabled);
    of.min_by_key(|config| config.made)
        .map(|config| config.id.clone())
}

pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Outcome {
    match (asked.method.as_str(), rest) {
        ("GET", []) => list(world, asked),
        ("POST", []) => create(world, asked),
        ("GET", [id]) => Ok(Reply::ok(shown(world, found(world, id)?))),
        ("PATCH", [id]) => {
            found(world, id)?;
            let now = world.now_ms();
            if let Some(config) = world.auth_configs.get_mut(*id) {
                let access = asked.body.get("tool_access_config");
                config.tool_access = access.cloned().unwrap_or_else(|| json!({}));
                config.updated_ms = now;
            }
            world.dirty = true;
            Ok(Reply::ok(json!({ "success": true })))
        }
        ("DELETE", [id]) => {
            found(world, id)?;
            world.auth_configs.remove(*id);
            // Its accounts go with it. [I]
            if world.switches.auth_config_takes_its_accounts {
                world.accounts.retain(|_, account| account.auth_config_id != *id);
            }
            world.dirty = true;
            Ok(Reply::ok(
                json!({ "success": true, "message": "The auth config was deleted" }),
            ))
        }
        ("PATCH", [id, status @ ("ENABLED" | "DISABLED")]) => {
            found(world, id)?;
            if let Some(config) = world.auth_configs.get_mut(*id) {
                config.enabled = *status == "ENABLED";
            }
            world.dirty = true;
            Ok(Reply::ok(
                json!({ "success": true, "message": "The auth config was changed" }),
            ))
        }
        _ => Err(Reply::empty(405)),
    }
}

fn found<'w>(world: &'w World, id: &str) -> Result<&'w AuthConfig, Reply> {
    let unknown = || Reply::not_found(&format!("Auth config {id}"), "AuthConfig_NotFound");
    world.auth_configs.get(id).ok_or_else(unknown)
}

fn list(world: &World, asked: &Asked) -> Outcome {
    let disabled = asked.query("show_disabled") == Some("true");
    let search = asked.query("search").unwrap_or_default();
    let mut configs: Vec<&AuthConfig> = world
        .auth_configs
        .values()
        .filter(|config| {
            asked.lists("toolkit_slug", &config.toolkit)
                && asked
                    .query("is_composio_managed")
                    .is_none_or(|flag| (flag == "true") == config.managed)
                && (config.enabled || disabled)
                && config.name.contains(search)
        })
        .collect();
    configs.sort_by_key(|config| std::cmp::Reverse(config.made));
    let items: Vec<Value> = configs.into_iter().map(|config| shown(world, config)).collect();
    // 200 is what is advertised, 50 what comes.
    Ok(Reply::ok(page(asked, &items, cut(20, 50))?))
}

fn shown(world: &World, config: &AuthConfig) -> Value {
    let of = world
        .accounts
        .values()
        .filter(|account| account.auth_config_id == config.id);
    let credentials = if config.managed {
        json!({})
    } else {
        json!({ "client_secret": "REDACTED" })
    };
    json!({
        "id": config.id, "uuid": config.uuid, "type": if config.managed { "default" } else { "custom" },
        "name": config.name, "toolkit": { "slug": config.toolkit, "logo": catalog::logo(&config.toolkit) },
        "auth_scheme": config.scheme, "is_composio_managed": config.managed,
        "status": if config.enabled { "ENABLED" } else { "DISABLED" }, "no_of_connections": of.count(),
        "credentials": credentials, "expected_input_fields": [], "restrict_to_following_tools": [],
        "tool_access_config": config.tool_access, "is_enabled_for_tool_router": true, "proxy_config": null,
        "created_at": iso(config.created_ms), "last_updated_at": iso(config.updated_ms), "created_by": "fake",
        "deprecated_params": { "default_connector_id": config.uuid, "expected_input_fields": [],
            "member_uuid": config.uuid, "toolkit_id": config.toolkit },
    })
}

fn create(world: &mut World, asked: &Asked) -> Outcome {
    let invalid = |at: &str| Reply::bad_payload(&[format!("Error in payload.{at}: Invalid input")]);
    let slug = asked.body["toolkit"]["slug"]
        .as_str()
        .ok_or_else(|| invalid("toolkit.slug"))?;
    let unknown = || {
        Reply::error(
            400,
            10400,
            "AuthConfig_BadRequest",
            &format!("Toolkit {slug} not found"),
        )
    };
    let toolkit: &Toolkit = catalog::toolkit(slug).ok_or_else(unknown)?;
    let wanted = &asked.body["auth_config"];
    let name = wanted["name"].as_str();
    let id = match wanted["type"].as_str() {
        Some("use_composio_managed_auth") => {
            if !toolkit.managed {
                let message = format!("Default auth config not found for toolkit {slug}");
                return Err(Reply::error(
                    400,
                    306,
                    "Auth_Config_DefaultAuthConfigNotFound",
                    &message,
                ));
            }
            add(world, slug, toolkit.scheme, true, name)
        }
        Some("use_custom_auth") => {
            let scheme = wanted["authScheme"].as_str().or(wanted["auth_scheme"].as_str());
            let scheme = scheme.filter(|scheme| SCHEMES.contains(scheme));
            let scheme = scheme.ok_or_else(|| invalid("auth_config.authScheme"))?;
            add(world, slug, scheme, false, name)
        }
        _ => return Err(invalid("auth_config.type")),
    };
    let Some(config) = world.auth_configs.get_mut(&id) else {
        return Err(Reply::empty(500));
    };
    if let Some(access) = wanted.get("tool_access_config") {
        config.tool_access = access.clone();
    }
    Ok(Reply::json(
        201,
        json!({
            "toolkit": { "slug": slug },
            "auth_config": { "id": id, "auth_scheme": config.scheme, "is_composio_managed": config.managed },
        }),
    ))
}
