//! Connected accounts: what a user has consented to.
//! INITIALIZING → INITIATED (the link was opened) → ACTIVE | FAILED | EXPIRED (nobody finished within ten minutes);
//! ACTIVE ⇄ INACTIVE; ACTIVE → REVOKED | EXPIRED (its tokens are dead).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::auth_configs::AuthConfig;
use super::pages::{cut, page};
use super::world::{World, iso};
use super::{grants, links};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Status {
    Initializing,
    Initiated,
    Active,
    Failed,
    Expired,
    Inactive,
    Revoked,
}

impl Status {
    pub(super) fn named(name: &str) -> Option<Self> {
        serde_json::from_value(json!(name)).ok()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Initializing => "INITIALIZING",
            Self::Initiated => "INITIATED",
            Self::Active => "ACTIVE",
            Self::Failed => "FAILED",
            Self::Expired => "EXPIRED",
            Self::Inactive => "INACTIVE",
            Self::Revoked => "REVOKED",
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) word_id: String,
    pub(super) alias: Option<String>,
    pub(super) user_id: String,
    pub(super) toolkit: String,
    pub(super) auth_config_id: String,
    pub(super) scheme: String,
    pub(super) managed: bool,
    pub(super) status: Status,
    pub(super) status_reason: Option<String>,
    /// Where its link is, while there is one.
    pub(super) redirect_url: Option<String>,
    pub(super) callback_url: Option<String>,
    pub(super) shared: bool,
    /// The order in which accounts were made.
    pub(super) made: u64,
    pub(super) begun_ms: u64,
    pub(super) updated_ms: u64,
    /// The order in which accounts became ACTIVE.
    pub(super) connected: u64,
}

impl Account {
    pub(super) fn become_(&mut self, status: Status, reason: Option<&str>, now_ms: u64) {
        self.status = status;
        self.status_reason = reason.map(str::to_owned);
        self.updated_ms = now_ms;
    }

    pub(super) fn disabled(&self) -> bool {
        self.status == Status::Inactive
    }

    /// Whether tools can run with it.
    pub(super) fn usable(&self) -> bool {
        self.status == Status::Active
    }

    /// Whether a selector means it: its id, its word id or its alias.
    pub(super) fn is_called(&self, selector: &str) -> bool {
        self.id == selector || self.word_id == selector || self.alias.as_deref() == Some(selector)
    }
}

pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Outcome {
    match (asked.method.as_str(), rest) {
        ("GET", []) => list(world, asked),
        ("POST", []) => initiate(world, asked),
        ("POST", ["link"]) => links::create(world, asked),
        ("POST", ["complete_auth"]) => links::complete_auth(world, asked),
        ("GET", [id]) => Ok(Reply::ok(shown(world, found(world, id)?))),
        ("PATCH", [id]) => rename(world, asked, id),
        ("DELETE", [id]) => {
            let account = found(world, id)?.clone();
            world.accounts.remove(*id);
            world.dirty = true;
            let mut said = json!({ "success": true });
            if asked.query("revoke_on_delete") == Some("true") && account.usable() {
                said["revoke_job_id"] = json!(super::world::uuid());
            }
            Ok(Reply::ok(said))
        }
        ("PATCH", [id, "status"]) => set_enabled(world, asked, id),
        ("POST", [id, "revoke"]) => revoke(world, id),
        ("POST", [id, "refresh"]) => links::refresh(world, asked, id),
        _ => Err(Reply::empty(405)),
    }
}

pub(super) fn found<'w>(world: &'w World, id: &str) -> Result<&'w Account, Reply> {
    let unknown = || {
        let message = format!("Connected account {id} not found");
        Reply::error(404, 1801, "ConnectedAccount_NotFound", &message)
    };
    world.accounts.get(id).ok_or_else(unknown)
}

fn list(world: &World, asked: &Asked) -> Outcome {
    let kind = asked.query("account_type").unwrap_or("PRIVATE");
    let mut accounts: Vec<&Account> = world
        .accounts
        .values()
        .filter(|account| {
            asked.lists("user_ids", &account.user_id)
                && asked.lists("toolkit_slugs", &account.toolkit)
                && asked.lists("statuses", account.status.name())
                && asked.lists("auth_config_ids", &account.auth_config_id)
                && asked.lists("connected_account_ids", &account.id)
                && (kind == "ALL" || (kind == "SHARED") == account.shared)
        })
        .collect();
    let by_update = asked.query("order_by") == Some("updated_at");
    accounts.sort_by_key(|account| {
        if by_update {
            account.updated_ms
        } else {
            account.made
        }
    });
    if asked.query("order_direction") != Some("asc") {
        accounts.reverse();
    }
    let items: Vec<Value> = accounts
        .into_iter()
        .map(|account| shown(world, account))
        .collect();
    Ok(Reply::ok(page(asked, &items, cut(20, 1000))?))
}

/// An account as answers show it; tokens are not in it.
pub(super) fn shown(world: &World, account: &Account) -> Value {
    let config = world.auth_configs.get(&account.auth_config_id);
    json!({
        "id": account.id, "word_id": account.word_id, "alias": account.alias, "user_id": account.user_id,
        "status": account.status.name(), "status_reason": account.status_reason,
        "is_disabled": account.disabled(), "toolkit": { "slug": account.toolkit },
        "auth_config": {
            "id": account.auth_config_id, "auth_scheme": account.scheme,
            "is_composio_managed": account.managed, "is_disabled": !config.is_some_and(|config| config.enabled),
        },
        "state": { "authScheme": account.scheme, "val": val(account) },
        "data": {}, "params": {}, "requested_scopes": [], "test_request_endpoint": "",
        "created_at": iso(account.begun_ms), "updated_at": iso(account.updated_ms),
    })
}

fn val(account: &Account) -> Value {
    let mut val = json!({ "status": account.status.name() });
    match account.status {
        Status::Initializing | Status::Initiated => {
            val["redirectUrl"] = json!(account.redirect_url);
            if let Some(callback) = &account.callback_url {
                val["callback_url"] = json!(callback);
            }
        }
        Status::Active | Status::Inactive if account.scheme == "API_KEY" => {
            val["generic_api_key"] = json!("REDACTED");
        }
        Status::Active | Status::Inactive => val["access_token"] = json!("REDACTED"),
        Status::Failed => {
            val["error"] = json!("access_denied");
            val["error_description"] = json!(account.status_reason);
        }
        Status::Expired => val["expired_at"] = json!(iso(account.updated_ms)),
        Status::Revoked => val["revoked_at"] = json!(iso(account.updated_ms)),
    }
    val
}

/// `POST /connected_accounts`: retired where Composio's own app is used, alive for API keys and one's own apps.
fn initiate(world: &mut World, asked: &Asked) -> Outcome {
    let required = |at: &str| Reply::bad_payload(&[format!("Error in payload.{at}: Required")]);
    let config = asked.body["auth_config"]["id"]
        .as_str()
        .ok_or_else(|| required("auth_config.id"))?;
    let wanted = &asked.body["connection"];
    let user = wanted["user_id"].as_str().unwrap_or("default").to_owned();
    let config: AuthConfig = config_of(world, config)?.clone();
    let oauth = matches!(config.scheme.as_str(), "OAUTH1" | "OAUTH2" | "DCR_OAUTH");
    if config.managed && oauth {
        let message = "This endpoint is no longer supported for Composio-managed OAuth auth configs. \
             Use POST /api/v3/connected_accounts/link instead";
        let slug = "ConnectedAccount_LegacyEndpointRetired";
        return Err(Reply::error(400, 10400, slug, message));
    }
    let callback = wanted["callback_url"].as_str().map(str::to_owned);
    let alias = wanted["alias"].as_str();
    let id = grants::begin(world, &user, &config.id, alias, callback)?;
    let url = if oauth {
        let token = links::open(world, &id);
        Some(links::url(world, &token))
    } else {
        grants::activate(world, &id);
        None
    };
    let account = found(world, &id)?;
    let state = json!({ "authScheme": account.scheme, "val": val(account) });
    Ok(Reply::json(
        201,
        json!({
            "id": id, "status": account.status.name(), "connectionData": state,
            "redirect_url": url, "redirect_uri": url,
            "deprecated": { "uuid": super::world::uuid(), "authConfigUuid": super::world::uuid() },
        }),
    ))
}

pub(super) fn config_of<'w>(world: &'w World, id: &str) -> Result<&'w AuthConfig, Reply> {
    let unknown = || {
        let message = format!("Auth config {id} not found");
        Reply::error(404, 10404, "AuthConfig_NotFound", &message)
    };
    world.auth_configs.get(id).ok_or_else(unknown)
}

fn rename(world: &mut World, asked: &Asked, id: &str) -> Outcome {
    let (user, toolkit) = {
        let account = found(world, id)?;
        (account.user_id.clone(), account.toolkit.clone())
    };
    if let Some(alias) = asked.text("alias") {
        let taken = world.accounts.values().any(|other| {
            other.id != id
                && other.user_id == user
                && other.toolkit == toolkit
                && other.alias.as_deref() == Some(alias)
        });
        if taken {
            let message = format!("The alias '{alias}' is taken");
            return Err(Reply::error(400, 10400, "ConnectedAccount_AliasTaken", &message));
        }
        if let Some(account) = world.accounts.get_mut(id) {
            account.alias = (!alias.is_empty()).then(|| alias.to_owned());
        }
        world.dirty = true;
    }
    let status = found(world, id)?.status.name();
    Ok(Reply::ok(json!({ "success": true, "id": id, "status": status })))
}

fn set_enabled(world: &mut World, asked: &Asked, id: &str) -> Outcome {
    let status = found(world, id)?.status;
    let fault = || Reply::bad_payload(&["Error in payload.enabled: Required".to_owned()]);
    let enabled = asked.body["enabled"].as_bool().ok_or_else(fault)?;
    if !matches!(status, Status::Active | Status::Inactive) && !world.switches.status_of_others_is_taken {
        let message = format!("An account that is {} has no such status", status.name());
        return Err(Reply::error(
            409,
            10409,
            "ConnectedAccount_StatusConflict",
            &message,
        ));
    }
    let to = match (status, enabled) {
        (Status::Active, false) => Status::Inactive,
        (Status::Inactive, true) => Status::Active,
        // What is said of the others is not known. [I]
        (status, _) => status,
    };
    let now = world.now_ms();
    if let Some(account) = world.accounts.get_mut(id)
        && to != status
    {
        let reason = (to == Status::Inactive).then_some("Connection status updated by user");
        account.become_(to, reason, now);
    }
    world.dirty = true;
    Ok(Reply::ok(json!({ "success": true })))
}

fn revoke(world: &mut World, id: &str) -> Outcome {
    let account = found(world, id)?.clone();
    if world.switches.not_revocable.contains(&account.toolkit) {
        let message = format!("Revoking is not supported for toolkit {}", account.toolkit);
        return Err(Reply::error(
            400,
            10400,
            "ConnectedAccount_RevokeNotSupported",
            &message,
        ));
    }
    if !matches!(account.status, Status::Active | Status::Revoked) {
        let message = format!("An account that is {} cannot be revoked", account.status.name());
        return Err(Reply::error(
            409,
            10409,
            "ConnectedAccount_NotRevocable",
            &message,
        ));
    }
    let now = world.now_ms();
    if let Some(account) = world.accounts.get_mut(id) {
        account.become_(
            Status::Revoked,
            Some("Revoked via user-initiated revoke endpoint"),
            now,
        );
    }
    world.dirty = true;
    let tokens = if account.scheme == "API_KEY" {
        json!(["credential"])
    } else {
        json!(["access_token", "refresh_token"])
    };
    let tokens = if account.status == Status::Revoked {
        json!([])
    } else {
        tokens
    };
    Ok(Reply::ok(
        json!({ "revoked_tokens": tokens, "connected_account": { "id": id, "status": "REVOKED" } }),
    ))
}
