//! A tool as others see it: the API's tool object, and MCP's.

use serde_json::{Value, json};

use super::catalog::{self, Tool, Toolkit};
use super::meta::Meta;

/// The tool object of the API.
pub(super) fn object(toolkit: &Toolkit, tool: &Tool, version: &str) -> Value {
    described(
        tool.slug,
        &catalog::title(tool.slug),
        tool.about,
        (toolkit.slug, toolkit.name),
        &catalog::input_schema(tool),
        tool.tags,
        toolkit.no_auth(),
        version,
    )
}

/// The tool object of a meta tool.
pub(super) fn meta_object(meta: &Meta) -> Value {
    described(
        meta.slug,
        &catalog::title(meta.slug),
        meta.about,
        ("composio", "Composio"),
        &(meta.schema)(),
        meta.tags,
        true,
        catalog::VERSION,
    )
}

#[allow(clippy::too_many_arguments, reason = "each is a field of the object")]
fn described(
    slug: &str,
    name: &str,
    about: &str,
    (toolkit, toolkit_name): (&str, &str),
    input: &Value,
    tags: &[&str],
    no_auth: bool,
    version: &str,
) -> Value {
    json!({
        "slug": slug, "name": name, "description": about, "human_description": about,
        "toolkit": { "slug": toolkit, "name": toolkit_name, "logo": catalog::logo(toolkit) },
        "input_parameters": input, "output_parameters": catalog::output_schema(),
        "no_auth": no_auth, "version": version, "available_versions": [version],
        "scopes": [], "scope_requirements": null, "tags": tags, "is_deprecated": false,
        "deprecated": {
            "available_versions": [version], "displayName": name, "is_deprecated": false,
            "toolkit": { "logo": catalog::logo(toolkit) }, "version": version,
        },
    })
}

/// MCP's tool: its name is the slug, its annotations follow the tags.
pub(super) fn of_mcp(slug: &str, about: &str, schema: &Value, tags: &[&str]) -> Value {
    let has = |tag: &str| tags.contains(&tag);
    json!({
        "name": slug, "description": about, "inputSchema": schema,
        "annotations": {
            "title": catalog::title(slug), "readOnlyHint": has("readOnlyHint"),
            "destructiveHint": has("destructiveHint"), "idempotentHint": has("idempotentHint"),
            "openWorldHint": has("openWorldHint"),
        },
    })
}
