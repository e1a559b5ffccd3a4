//! `/toolkits`: the apps that there are.

use serde_json::{Value, json};

use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::catalog::{self, TOOLKITS, Toolkit};
use super::pages::{cut, page};
use super::world::World;

pub(super) fn answer(_: &mut World, asked: &Asked, rest: &[&str]) -> Outcome {
    match (asked.method.as_str(), rest) {
        ("GET", []) => list(asked),
        ("GET", ["categories"]) => {
            let items = [json!({ "id": "productivity", "name": "Productivity" })];
            Ok(Reply::ok(page(asked, &items, cut(100, 1000))?))
        }
        ("GET", [slug]) => match catalog::toolkit(slug) {
            Some(toolkit) => Ok(Reply::ok(detail(toolkit))),
            None => Err(Reply::not_found(
                &format!("Toolkit {slug}"),
                "Toolkit_ToolkitNotFound",
            )),
        },
        ("POST", ["multi"]) => {
            let wanted = asked.body["toolkits"].as_array().cloned();
            let listed = |toolkit: &&Toolkit| {
                let of = |wanted: &Vec<Value>| wanted.iter().any(|slug| slug == toolkit.slug);
                wanted.as_ref().is_none_or(of)
            };
            let items: Vec<Value> = TOOLKITS.iter().filter(listed).map(item).collect();
            Ok(Reply::ok(page(asked, &items, cut(100, 1000))?))
        }
        _ => Err(Reply::empty(405)),
    }
}

fn list(asked: &Asked) -> Outcome {
    let search = asked.query("search").unwrap_or_default().to_lowercase();
    let found = |toolkit: &&Toolkit| {
        let named = toolkit.slug.contains(&search) || toolkit.name.to_lowercase().contains(&search);
        let of_type = asked.query("type").is_none_or(|kind| kind != "custom");
        let in_category = asked.query("category").is_none_or(|id| id == "productivity");
        named && of_type && in_category
    };
    let mut toolkits: Vec<&Toolkit> = TOOLKITS.iter().filter(found).collect();
    if asked.query("sort_by") == Some("alphabetically") {
        toolkits.sort_by_key(|toolkit| toolkit.slug);
    }
    let items: Vec<Value> = toolkits.into_iter().map(item).collect();
    Ok(Reply::ok(page(asked, &items, cut(20, 1000))?))
}

fn managed(toolkit: &Toolkit) -> Vec<&str> {
    if toolkit.managed {
        vec![toolkit.scheme]
    } else {
        Vec::new()
    }
}

fn meta(toolkit: &Toolkit) -> Value {
    json!({
        "description": toolkit.about, "logo": catalog::logo(toolkit.slug),
        "app_url": format!("https://{}.example", toolkit.slug),
        "categories": [{ "id": "productivity", "name": "Productivity" }],
        "tools_count": toolkit.tools.len(), "triggers_count": 1, "version": catalog::VERSION,
        "available_versions": [catalog::VERSION],
        "created_at": "2025-01-01T00:00:00.000Z", "updated_at": "2026-01-01T00:00:00.000Z",
    })
}

fn item(toolkit: &Toolkit) -> Value {
    json!({
        "slug": toolkit.slug, "name": toolkit.name, "type": "native", "auth_schemes": [toolkit.scheme],
        "composio_managed_auth_schemes": managed(toolkit), "no_auth": toolkit.no_auth(),
        "is_local_toolkit": false, "deprecated": { "toolkitId": toolkit.slug }, "meta": meta(toolkit),
    })
}

fn detail(toolkit: &Toolkit) -> Value {
    let field = |name: &str, secret: bool| {
        json!({ "name": name, "displayName": name, "type": "string", "description": name, "required": true,
            "default": null, "is_secret": secret, "user_visible": true })
    };
    let none = json!({ "required": [], "optional": [] });
    let fields = match toolkit.scheme {
        "API_KEY" => json!({
            "auth_config_creation": none,
            "connected_account_initiation": { "required": [field("generic_api_key", true)], "optional": [] },
        }),
        "NO_AUTH" => json!({ "auth_config_creation": none, "connected_account_initiation": none }),
        _ => json!({
            "auth_config_creation": {
                "required": [field("client_id", false), field("client_secret", true)], "optional": [],
            },
            "connected_account_initiation": none,
        }),
    };
    let mut meta = meta(toolkit);
    // The list calls it `id`, the detail `slug`.
    meta["categories"] = json!([{ "slug": "productivity", "name": "Productivity" }]);
    let scopes = |mode: &&str| json!({ "mode": mode, "scopes": { "available": [] } });
    json!({
        "slug": toolkit.slug, "name": toolkit.name, "type": "native", "enabled": true, "is_local_toolkit": false,
        "composio_managed_auth_schemes": managed(toolkit),
        "auth_config_details": [{ "mode": toolkit.scheme, "name": toolkit.slug, "fields": fields,
            "required_scopes": [] }],
        "composio_managed_auth": managed(toolkit).iter().map(scopes).collect::<Vec<_>>(),
        "base_url": format!("https://api.{}.example", toolkit.slug),
        "get_current_user_endpoint": format!("https://api.{}.example/me", toolkit.slug),
        "deprecated": { "toolkitId": toolkit.slug, "getCurrentUserEndpoint": "", "rawProxyInfoByAuthSchemes": [] },
        "meta": meta,
    })
}
