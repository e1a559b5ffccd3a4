//! What a session may do: whether its configuration can be at all, and which toolkits and tools it reaches.

use serde_json::{Map, Value};

use super::answers::Reply;
use super::catalog::{self, Tool, Toolkit};
use super::sessions::Session;
use super::world::World;

/// Looks at a whole configuration as it would be.
pub(super) fn check(world: &World, user: &str, blocks: &Map<String, Value>) -> Result<(), Reply> {
    toolkits_exist(world, blocks)?;
    tools_exist(blocks)?;
    auth_configs_exist(world, blocks)?;
    pins_are_good(world, user, blocks)?;
    let field = |block: &str, key: &str| blocks.get(block).and_then(|block| block.get(key));
    let multi = field("multi_account", "enable").and_then(Value::as_bool);
    let more = ["max_accounts_per_toolkit", "require_explicit_selection"];
    let said = more
        .iter()
        .any(|key| field("multi_account", key).is_some_and(|value| *value != false));
    if multi == Some(false) && said {
        let message = "multi_account.enable is false, so it takes no maximum and no explicit selection";
        return Err(Reply::bad_session(message));
    }
    let off = |block: &str, key: &str| field(block, key) == Some(&Value::Bool(false));
    if off("proxy_execute", "enable")
        && field("workbench", "enable_proxy_execution") == Some(&Value::Bool(true))
    {
        let message = "workbench.enable_proxy_execution needs proxy_execute.enable";
        return Err(Reply::bad_session(message));
    }
    preload_fits(blocks, multi == Some(true))
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

fn toolkits_exist(world: &World, blocks: &Map<String, Value>) -> Result<(), Reply> {
    if !world.switches.unknown_toolkits_are_refused {
        return Ok(());
    }
    let Some(block) = blocks.get("toolkits") else {
        return Ok(());
    };
    for key in ["enable", "disable", "require_approval"] {
        for slug in texts(block.get(key)) {
            if catalog::toolkit(slug).is_none() {
                return Err(Reply::bad_session(&format!("Toolkit '{slug}' does not exist")));
            }
        }
    }
    Ok(())
}

fn tools_exist(blocks: &Map<String, Value>) -> Result<(), Reply> {
    let rules = blocks.get("tools").and_then(Value::as_object);
    for (toolkit, rule) in rules.into_iter().flatten() {
        for key in ["enable", "disable", "require_approval"] {
            for slug in texts(rule.get(key)) {
                if catalog::tool(slug).is_none_or(|(of, _)| of.slug != toolkit) {
                    let message = format!("Tool '{slug}' does not exist in toolkit '{toolkit}'");
                    return Err(Reply::bad_session(&message));
                }
            }
        }
    }
    Ok(())
}

fn auth_configs_exist(world: &World, blocks: &Map<String, Value>) -> Result<(), Reply> {
    let configs = blocks.get("auth_configs").and_then(Value::as_object);
    for (toolkit, id) in configs.into_iter().flatten() {
        let id = id.as_str().unwrap_or_default();
        let config = world.auth_configs.get(id);
        if config.is_none_or(|config| config.toolkit != *toolkit) {
            let message = format!("Auth config '{id}' does not exist for toolkit '{toolkit}'");
            return Err(Reply::bad_session(&message));
        }
    }
    Ok(())
}

/// Pins must exist, be enabled and belong to the session's user; one that does not fails the whole.
fn pins_are_good(world: &World, user: &str, blocks: &Map<String, Value>) -> Result<(), Reply> {
    let multi = blocks.get("multi_account").and_then(|block| block.get("enable"));
    let multi = multi.and_then(Value::as_bool).unwrap_or(false);
    let pins = blocks.get("connected_accounts").and_then(Value::as_object);
    for (toolkit, ids) in pins.into_iter().flatten() {
        let ids = texts(Some(ids));
        if ids.len() > 1 && !multi {
            let fault = format!(
                "Error in payload.connected_accounts.{toolkit}: at most one account without multi_account"
            );
            return Err(Reply::bad_payload(&[fault]));
        }
        for id in ids {
            let account = world.accounts.get(id);
            let good = account.is_some_and(|account| {
                account.user_id == user && account.toolkit == *toolkit && !account.disabled()
            });
            if !good {
                let message = format!("Invalid connected account ids for toolkit {toolkit}: {id}");
                let slug = "ToolRouterV2_InvalidConnectedAccountIds";
                return Err(Reply::error(400, 4306, slug, &message));
            }
        }
    }
    Ok(())
}

fn preload_fits(blocks: &Map<String, Value>, multi: bool) -> Result<(), Reply> {
    let Some(wanted) = blocks.get("preload").and_then(|block| block.get("tools")) else {
        return Ok(());
    };
    if wanted == "all" {
        let positive = |block: Option<&Value>| block.is_some_and(|block| block.get("enable").is_some());
        let by_tool = blocks.get("tools").and_then(Value::as_object);
        let tools = by_tool.is_some_and(|map| map.values().any(|rule| positive(Some(rule))));
        if !(positive(blocks.get("toolkits")) || tools) {
            let message = "preload.tools \"all\" needs a filter that enables toolkits or tools";
            return Err(Reply::bad_session(message));
        }
        if multi {
            let message = "preload.tools \"all\" does not go with multi_account.enable";
            return Err(Reply::bad_session(message));
        }
        return Ok(());
    }
    for slug in texts(Some(wanted)) {
        let inside = catalog::tool(slug).is_some_and(|(toolkit, tool)| allows(blocks, toolkit, tool));
        if !inside {
            let message = format!("Preloaded tool '{slug}' is not within the session's tools");
            return Err(Reply::bad_session(&message));
        }
    }
    Ok(())
}

/// Whether a configuration reaches a toolkit.
pub(super) fn allows_toolkit(blocks: &Map<String, Value>, slug: &str) -> bool {
    let Some(block) = blocks.get("toolkits") else {
        return true;
    };
    if block.get("enable").is_some() {
        return texts(block.get("enable")).contains(&slug);
    }
    !texts(block.get("disable")).contains(&slug)
}

fn tags_allow(rule: &Value, tool: &Tool) -> bool {
    let has = |list: Option<&Value>| texts(list).iter().any(|tag| tool.tags.contains(tag));
    if rule.is_array() {
        return has(Some(rule));
    }
    let wanted = rule.get("enable");
    (wanted.is_none() || has(wanted)) && !has(rule.get("disable"))
}

/// Whether a configuration reaches a tool.
pub(super) fn allows(blocks: &Map<String, Value>, toolkit: &Toolkit, tool: &Tool) -> bool {
    if !allows_toolkit(blocks, toolkit.slug) {
        return false;
    }
    if let Some(rule) = blocks.get("tools").and_then(|rules| rules.get(toolkit.slug)) {
        if let Some(tags) = rule.get("tags") {
            return tags_allow(tags, tool);
        }
        if rule.get("enable").is_some() {
            return texts(rule.get("enable")).contains(&tool.slug);
        }
        return !texts(rule.get("disable")).contains(&tool.slug);
    }
    blocks.get("tags").is_none_or(|rule| tags_allow(rule, tool))
}

/// Whether somebody has to approve a call of the tool.
pub(super) fn needs_approval(session: &Session, toolkit: &Toolkit, tool: &Tool) -> bool {
    let of = |block: Option<&Value>, what: &str| {
        texts(block.and_then(|block| block.get("require_approval"))).contains(&what)
    };
    let tags = session.blocks.get("tags");
    of(session.blocks.get("toolkits"), toolkit.slug)
        || of(session.of_toolkit("tools", toolkit.slug), tool.slug)
        || tool.tags.iter().any(|tag| of(tags, tag))
}

/// The app tools that stand in a session's list beside the meta tools, at most a thousand.
pub(super) fn preloaded(session: &Session) -> Vec<(&'static Toolkit, &'static Tool)> {
    let wanted = session.blocks.get("preload").and_then(|block| block.get("tools"));
    let Some(wanted) = wanted else { return Vec::new() };
    let listed = texts(Some(wanted));
    let all = wanted == "all";
    catalog::every_tool()
        .filter(|(toolkit, tool)| {
            (all || listed.contains(&tool.slug)) && allows(&session.blocks, toolkit, tool)
        })
        .take(1000)
        .collect()
}
