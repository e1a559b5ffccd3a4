//! The blocks of a session's configuration: what a body may hold, how a PATCH changes them, and how answers show them.
//! Requests say `enable`, answers `enabled`.

use serde_json::{Map, Value, json};

use super::switches::Switches;

/// The tags that tools carry.
pub(super) const TAGS: [&str; 6] = [
    "readOnlyHint",
    "createHint",
    "updateHint",
    "destructiveHint",
    "idempotentHint",
    "openWorldHint",
];

/// What a field may hold.
enum Kind {
    Bool,
    Text,
    Texts,
    Whole(u64, u64),
    Positive,
    OneOf(&'static [&'static str]),
    Any,
}

type Fields = &'static [(&'static str, Kind)];

/// Blocks with fields of their own.
const BLOCKS: [(&str, Fields); 7] = [
    (
        "manage_connections",
        &[
            ("enable", Kind::Bool),
            ("callback_url", Kind::Text),
            ("enable_wait_for_connections", Kind::Bool),
            ("enable_connection_removal", Kind::Bool),
        ],
    ),
    (
        "workbench",
        &[
            ("enable", Kind::Bool),
            ("enable_tool_execution", Kind::Bool),
            ("enable_proxy_execution", Kind::Bool),
            ("auto_offload_threshold", Kind::Positive),
            (
                "sandbox_size",
                Kind::OneOf(&["standard", "medium", "large", "xlarge"]),
            ),
        ],
    ),
    (
        "multi_account",
        &[
            ("enable", Kind::Bool),
            ("max_accounts_per_toolkit", Kind::Whole(2, 10)),
            ("require_explicit_selection", Kind::Bool),
        ],
    ),
    ("search", &[("enable", Kind::Bool)]),
    ("execute", &[("enable_multi_execute", Kind::Bool)]),
    ("proxy_execute", &[("enable", Kind::Bool)]),
    (
        "experimental",
        &[
            ("permissions", Kind::Any),
            ("link_url_overwrite", Kind::Text),
            ("session_config_id", Kind::Text),
            ("fast_mode", Kind::Any),
            ("submit_feedback", Kind::Any),
            ("no_elicitation_support_fallback", Kind::OneOf(&["deny", "allow"])),
            ("custom_tools", Kind::Any),
            ("custom_toolkits", Kind::Any),
            ("assistive_prompt_config", Kind::Any),
            ("restrict_egress_to_composio", Kind::Bool),
        ],
    ),
];

/// Blocks of other forms.
const OTHERS: [&str; 8] = [
    "toolkits",
    "tools",
    "tags",
    "auth_configs",
    "connected_accounts",
    "preload",
    "hooks",
    "instant",
];

/// Blocks of which a PATCH changes the fields that it names.
const MERGED: [&str; 3] = ["manage_connections", "workbench", "multi_account"];

/// What breaks the schema of a create's or a PATCH's body.
pub(super) fn faults(body: &Value, patch: bool, switches: &Switches) -> Vec<String> {
    let Some(body) = body.as_object() else {
        return vec!["Error in payload: Expected object".to_owned()];
    };
    let mut faults = Vec::new();
    for (key, block) in body {
        let known = match key.as_str() {
            "user_id" => !patch,
            "expected_config_version" => patch && switches.config_version_lock,
            key => OTHERS.contains(&key) || BLOCKS.iter().any(|(name, _)| *name == key),
        };
        if !known {
            faults.push(format!("Error in payload: Unrecognized key: '{key}'"));
        } else if !(well_formed(key, block, patch, switches) || (patch && block.is_null())) {
            faults.push(format!("Error in payload.{key}: Invalid input"));
        }
    }
    let user = body.get("user_id").and_then(Value::as_str).unwrap_or_default();
    if !patch && user.is_empty() && !faults.iter().any(|fault| fault.contains("user_id")) {
        faults.push("Error in payload.user_id: Required".to_owned());
    }
    faults
}

fn well_formed(key: &str, block: &Value, patch: bool, switches: &Switches) -> bool {
    if let Some((_, fields)) = BLOCKS.iter().find(|(name, _)| *name == key) {
        let merged = MERGED.contains(&key);
        return block.as_object().is_some_and(|block| {
            block
                .iter()
                .all(|(key, value)| match fields.iter().find(|(name, _)| name == key) {
                    // A PATCH removes one field by null.
                    Some((_, kind)) => fits(kind, value) || (patch && value.is_null() && merged),
                    None => !switches.strict_blocks,
                })
        });
    }
    let each = |test: &dyn Fn(&Value) -> bool| block.as_object().is_some_and(|map| map.values().all(test));
    match key {
        "user_id" => block.is_string(),
        "expected_config_version" => block.is_u64(),
        "toolkits" => choice(block, &|list| fits(&Kind::Texts, list)),
        "tags" => tags(block),
        "tools" => each(&|rule| {
            let alone =
                |tags_block: &Value| rule.as_object().is_some_and(|rule| rule.len() == 1) && tags(tags_block);
            rule.get("tags")
                .map_or_else(|| choice(rule, &|list| fits(&Kind::Texts, list)), alone)
        }),
        "auth_configs" => each(&Value::is_string),
        "connected_accounts" => each(&|ids| fits(&Kind::Texts, ids)),
        "preload" => {
            let one = block.as_object().is_some_and(|block| block.len() == 1);
            one && block
                .get("tools")
                .is_some_and(|tools| tools == "all" || fits(&Kind::Texts, tools))
        }
        "hooks" => block.is_object() || block.as_array().is_some_and(|hooks| hooks.len() <= 20),
        "instant" => block.is_object() || *block == json!(false),
        _ => false,
    }
}

/// A list of tags, or a choice of them.
fn tags(block: &Value) -> bool {
    let known = |list: &Value| {
        let tags = list.as_array();
        tags.is_some_and(|tags| {
            tags.iter()
                .all(|tag| tag.as_str().is_some_and(|tag| TAGS.contains(&tag)))
        })
    };
    let keys = |block: &Map<String, Value>| {
        block.iter().all(|(key, list)| {
            ["enable", "disable", "require_approval"].contains(&key.as_str()) && known(list)
        })
    };
    known(block) || block.as_object().is_some_and(keys)
}

/// `enable` or `disable`, and `require_approval`, at least one of them.
fn choice(block: &Value, list: &dyn Fn(&Value) -> bool) -> bool {
    let Some(block) = block.as_object() else {
        return false;
    };
    let known = ["enable", "disable", "require_approval"];
    let fits = block
        .iter()
        .all(|(key, value)| known.contains(&key.as_str()) && list(value));
    let both = block.contains_key("enable") && block.contains_key("disable");
    fits && !both && !block.is_empty()
}

fn fits(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::Bool => value.is_boolean(),
        Kind::Text => value.is_string(),
        Kind::Texts => value
            .as_array()
            .is_some_and(|list| list.iter().all(Value::is_string)),
        Kind::Whole(least, most) => value.as_u64().is_some_and(|n| (*least..=*most).contains(&n)),
        Kind::Positive => value.as_f64().is_some_and(|n| n > 0.0),
        Kind::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Kind::Any => true,
    }
}

/// Carries out a PATCH: blocks are replaced whole, those of [`MERGED`] by field; null removes.
pub(super) fn merge(blocks: &mut Map<String, Value>, wanted: Map<String, Value>) {
    for (key, block) in wanted {
        match block {
            Value::Null => {
                blocks.remove(&key);
            }
            Value::Object(fields) if MERGED.contains(&key.as_str()) => {
                let kept = blocks.entry(key).or_insert_with(|| json!({}));
                for (name, value) in fields {
                    match kept.as_object_mut() {
                        Some(kept) if value.is_null() => drop(kept.remove(&name)),
                        Some(kept) => drop(kept.insert(name, value)),
                        None => {}
                    }
                }
            }
            block => drop(blocks.insert(key, block)),
        }
    }
}

/// `config` of an answer.
pub(super) fn shown(user: &str, blocks: &Map<String, Value>) -> Value {
    let flag = |block: &str, key: &str, usual: bool| {
        let found = blocks.get(block).and_then(|block| block.get(key));
        found.and_then(Value::as_bool).unwrap_or(usual)
    };
    let field = |block: &str, key: &str| blocks.get(block).and_then(|block| block.get(key)).cloned();
    let mut config = json!({
        "user_id": user,
        "manage_connections": { "enabled": flag("manage_connections", "enable", true) },
        "workbench": {
            "enable": flag("workbench", "enable", true),
            "tool_execution_enabled": flag("workbench", "enable_tool_execution", true),
            "proxy_execution_enabled": flag("workbench", "enable_proxy_execution", true),
        },
        "preload": { "tools": field("preload", "tools").unwrap_or_else(|| json!([])) },
        "search": { "enable": flag("search", "enable", true) },
        "execute": { "enable_multi_execute": flag("execute", "enable_multi_execute", true) },
        "instant": blocks.get("instant").cloned().unwrap_or(json!(false)),
    });
    for (block, keys) in [
        (
            "manage_connections",
            &[
                "callback_url",
                "enable_wait_for_connections",
                "enable_connection_removal",
            ][..],
        ),
        ("workbench", &["auto_offload_threshold", "sandbox_size"]),
    ] {
        for key in keys {
            if let Some(value) = field(block, key) {
                config[block][*key] = value;
            }
        }
    }
    for key in [
        "auth_configs",
        "connected_accounts",
        "multi_account",
        "proxy_execute",
    ] {
        if let Some(block) = blocks.get(key) {
            config[key] = block.clone();
        }
    }
    if let Some(toolkits) = blocks.get("toolkits") {
        config["toolkits"] = renamed(toolkits);
    }
    if let Some(tags) = blocks.get("tags") {
        config["tags"] = renamed_tags(tags);
    }
    if let Some(tools) = blocks.get("tools").and_then(Value::as_object) {
        let rule = |(toolkit, rule): (&String, &Value)| {
            let shown = match rule.get("tags") {
                Some(tags) => json!({ "tags": renamed_tags(tags) }),
                None => renamed(rule),
            };
            (toolkit.clone(), shown)
        };
        config["tools"] = tools.iter().map(rule).collect::<Map<_, _>>().into();
    }
    config
}

fn renamed_tags(tags: &Value) -> Value {
    if tags.is_array() {
        json!({ "enabled": tags })
    } else {
        renamed(tags)
    }
}

fn renamed(block: &Value) -> Value {
    let name = |key: &str| match key {
        "enable" => "enabled".to_owned(),
        "disable" => "disabled".to_owned(),
        key => key.to_owned(),
    };
    let block = block.as_object().into_iter().flatten();
    block
        .map(|(key, value)| (name(key), value.clone()))
        .collect::<Map<_, _>>()
        .into()
}
