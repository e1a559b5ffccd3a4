//! What the meta tools take. Composio promises nothing about these schemas; the ones here have its required fields,
//! and the unions with null that real ones have.

use serde_json::{Value, json};

fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

/// The short word of a workflow, from a search; not the id of the session.
fn workflow() -> Value {
    json!({ "type": ["string", "null"], "default": null, "title": "Session Id",
        "description": "The workflow's session id, as COMPOSIO_SEARCH_TOOLS returned it." })
}

fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({ "type": "object", "required": required });
    schema["properties"] = properties;
    schema
}

pub(super) fn search() -> Value {
    let query = object(
        json!({
            "use_case": { "type": "string", "minLength": 1, "maxLength": 1024, "description": "What shall be done." },
            "known_fields": { "type": ["string", "null"], "maxLength": 500 },
        }),
        &["use_case"],
    );
    object(
        json!({
            "queries": { "type": "array", "items": query, "minItems": 1, "maxItems": 7 },
            "session": { "type": ["object", "null"], "properties": {
                "id": { "type": ["string", "null"] }, "generate_id": { "type": ["boolean", "null"] } } },
            "session_id": workflow(),
            "model": { "type": ["string", "null"] },
        }),
        &["queries"],
    )
}

pub(super) fn schemas() -> Value {
    object(
        json!({
            "tool_slugs": { "type": "array", "items": text("A tool's slug."), "minItems": 1 },
            "include": { "type": "array", "items": { "type": "string", "enum": ["input_schema", "output_schema"] } },
            "session_id": workflow(),
        }),
        &["tool_slugs"],
    )
}

pub(super) fn multi_execute() -> Value {
    let item = object(
        json!({
            "tool_slug": text("A tool's slug, as the search returned it."),
            "arguments": { "type": "object", "additionalProperties": true },
            "account": { "type": ["string", "null"], "description": "Which account, where there are several." },
        }),
        &["tool_slug", "arguments"],
    );
    object(
        json!({
            "tools": { "type": "array", "items": item, "minItems": 1, "maxItems": 50 },
            "sync_response_to_workbench": { "type": "boolean" },
            "thought": { "type": ["string", "null"] },
            "current_step": { "type": ["string", "null"] },
            "current_step_metric": { "type": ["string", "null"] },
            "session_id": workflow(),
        }),
        &["tools", "sync_response_to_workbench"],
    )
}

pub(super) fn manage_connections() -> Value {
    object(
        json!({
            "toolkits": { "type": "array", "items": text("A toolkit's slug."), "minItems": 1 },
            "reinitiate_all": { "type": "boolean", "default": false },
            "session_id": workflow(),
        }),
        &["toolkits"],
    )
}

pub(super) fn wait() -> Value {
    object(
        json!({
            "toolkits": { "type": "array", "items": text("A toolkit's slug."), "minItems": 1 },
            "mode": { "type": "string", "enum": ["any", "all"], "default": "any" },
            "session_id": workflow(),
        }),
        &["toolkits"],
    )
}

pub(super) fn workbench() -> Value {
    object(
        json!({
            "code_to_execute": text("Python."), "thought": { "type": ["string", "null"] },
            "current_step": { "type": ["string", "null"] }, "session_id": workflow(),
        }),
        &["code_to_execute"],
    )
}

pub(super) fn bash() -> Value {
    object(
        json!({ "command": text("A command line."), "session_id": workflow() }),
        &["command"],
    )
}
