//! Sessions: made, looked at, changed in place, deleted. Each create makes another one; none ends by time.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::ledger::Made;
use super::pages::{cut, page};
use super::world::{World, id, iso};
use super::{meta, session_blocks, session_rules};

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) user_id: String,
    /// The blocks as requests have them (`enable`).
    pub(super) blocks: Map<String, Value>,
    pub(super) version: u64,
    created_ms: u64,
    /// Versions before this one: number, time, configuration as answers have it.
    history: Vec<(u64, u64, Value)>,
    /// When the present version came about.
    changed_ms: u64,
}

impl Session {
    /// A flag of a block.
    pub(super) fn flag(&self, block: &str, key: &str, usual: bool) -> bool {
        let found = self.blocks.get(block).and_then(|block| block.get(key));
        found.and_then(Value::as_bool).unwrap_or(usual)
    }

    pub(super) fn multi_account(&self) -> bool {
        self.flag("multi_account", "enable", false)
    }

    /// What a map of the configuration says of a toolkit.
    pub(super) fn of_toolkit(&self, map: &str, toolkit: &str) -> Option<&Value> {
        self.blocks.get(map)?.get(toolkit)
    }

    pub(super) fn callback_url(&self) -> Option<&str> {
        self.blocks
            .get("manage_connections")?
            .get("callback_url")?
            .as_str()
    }
}

impl World {
    /// Returns a session, or the 404 that everything about a deleted, foreign or unknown one gets.
    pub(super) fn session(&self, id: &str) -> Result<&Session, Reply> {
        self.sessions.get(id).ok_or_else(|| {
            let message = format!("Tool router session with ID {id} not found");
            let code = self.switches.session_not_found_code;
            Reply::error(404, code, "ToolRouterV2_SessionNotFound", &message)
        })
    }

    pub(super) fn delete_session(&mut self, id: &str) {
        self.sessions.remove(id);
        self.dirty = true;
    }
}

pub(super) fn create(world: &mut World, asked: &Asked) -> Outcome {
    let faults = session_blocks::faults(&asked.body, false, &world.switches);
    if !faults.is_empty() {
        return Err(Reply::bad_payload(&faults));
    }
    let user = asked.text("user_id").unwrap_or_default().to_owned();
    let mut blocks = asked.body.as_object().cloned().unwrap_or_default();
    blocks.remove("user_id");
    blocks.retain(|_, block| !block.is_null());
    if world.switches.waiting_is_there {
        let managed = blocks.entry("manage_connections").or_insert_with(|| json!({}));
        managed["enable_wait_for_connections"] = json!(true);
    }
    session_rules::check(world, &user, &blocks)?;
    let now = world.now_ms();
    let session = Session {
        id: id("trs_"),
        user_id: user,
        blocks,
        version: 1,
        created_ms: now,
        history: Vec::new(),
        changed_ms: now,
    };
    world.next();
    world.ledger.session_made(Made {
        seq: 0,
        at_ms: now,
        session_id: session.id.clone(),
        user_id: session.user_id.clone(),
        toolkits: asked.body["toolkits"].clone(),
    });
    let mut told = shown(world, &session);
    let prompt = "Search for tools with COMPOSIO_SEARCH_TOOLS before you execute any.";
    told["experimental"] = json!({ "assistive_prompt": prompt });
    world.sessions.insert(session.id.clone(), session);
    // It was made; whoever asked does not hear of it.
    match world.failing.take_create() {
        Some("cut") => Ok(Reply::cut()),
        Some(_) => Err(Reply::error(
            500,
            10500,
            "ToolRouterV2_InternalServerError",
            "Internal error",
        )),
        None => Ok(Reply::json(201, told)),
    }
}

pub(super) fn one(world: &mut World, asked: &Asked, id: &str) -> Outcome {
    let session = world.session(id)?.clone();
    match asked.method.as_str() {
        "GET" => Ok(Reply::ok(shown(world, &session))),
        "PATCH" => patch(world, asked, session),
        "DELETE" => {
            world.delete_session(id);
            Ok(Reply::ok(json!({ "session_id": id, "deleted": true })))
        }
        _ => Err(Reply::empty(405)),
    }
}

fn patch(world: &mut World, asked: &Asked, mut session: Session) -> Outcome {
    let faults = session_blocks::faults(&asked.body, true, &world.switches);
    if !faults.is_empty() {
        return Err(Reply::bad_payload(&faults));
    }
    let mut wanted = asked.body.as_object().cloned().unwrap_or_default();
    if let Some(expected) = wanted.remove("expected_config_version")
        && expected.as_u64() != Some(session.version)
    {
        let message = format!("The configuration is at version {}", session.version);
        // Its number and slug are not known. [I]
        return Err(Reply::error(
            409,
            10409,
            "ToolRouterV2_ConfigVersionConflict",
            &message,
        ));
    }
    let mut blocks = session.blocks.clone();
    session_blocks::merge(&mut blocks, wanted);
    session_rules::check(world, &session.user_id, &blocks)?;
    let before = session_blocks::shown(&session.user_id, &session.blocks);
    session
        .history
        .push((session.version, session.changed_ms, before));
    session.blocks = blocks;
    session.version += 1;
    session.changed_ms = world.now_ms();
    world.dirty = true;
    let told = shown(world, &session);
    world.sessions.insert(session.id.clone(), session);
    Ok(Reply::ok(told))
}

/// `GET …/config_history`: the newest first.
pub(super) fn history(asked: &Asked, session: &Session) -> Outcome {
    let item = |version: u64, at_ms: u64, config: &Value, current: bool| json!({ "version": version, "created_at": iso(at_ms), "config": config, "is_current": current });
    let now = session_blocks::shown(&session.user_id, &session.blocks);
    let mut items = vec![item(session.version, session.changed_ms, &now, true)];
    let before = session.history.iter().rev();
    items.extend(before.map(|(version, at, config)| item(*version, *at, config, false)));
    Ok(Reply::ok(page(asked, &items, cut(20, 100))?))
}

/// The payload of a session. It carries no headers for its MCP endpoint.
pub(super) fn shown(world: &World, session: &Session) -> Value {
    let origin = world.mcp_origin.as_ref().unwrap_or(&world.origin);
    let mut warnings = Vec::new();
    if session_rules::preloaded(session).len() > 20 {
        let message = "Many tools are preloaded; they take much of a model's context.";
        warnings.push(json!({ "code": "PRELOAD_TOOLS_HIGH_CONTEXT_USAGE", "message": message }));
    }
    json!({
        "session_id": session.id,
        "mcp": { "type": "http", "url": format!("{origin}/tool_router/{}/mcp", session.id) },
        "tool_router_tools": meta::names(session),
        "config": session_blocks::shown(&session.user_id, &session.blocks),
        "config_version": session.version,
        "warnings": warnings,
    })
}
