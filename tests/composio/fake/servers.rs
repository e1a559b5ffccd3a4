//! The older MCP servers: a server from auth configs and allowed tools, a URL for each user. Sessions replace them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::catalog::{self, Tool, Toolkit};
use super::pages::{cut, numbered};
use super::world::{World, iso, uuid};

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Server {
    id: String,
    name: String,
    pub(super) auth_configs: Vec<String>,
    allowed_tools: Vec<String>,
    toolkits: Vec<String>,
    managed: bool,
    /// Users that were made an instance of it: user, time, id.
    instances: Vec<(String, u64, String)>,
    made: u64,
    created_ms: u64,
    updated_ms: u64,
}

impl Server {
    /// The tools that it lists: those of its toolkits and auth configs, cut to what is allowed.
    pub(super) fn tools(&self, world: &World) -> Vec<(&'static Toolkit, &'static Tool)> {
        let of_config = |id: &String| world.auth_configs.get(id).map(|config| config.toolkit.clone());
        let mut toolkits: Vec<String> = self.auth_configs.iter().filter_map(of_config).collect();
        toolkits.extend(self.toolkits.iter().cloned());
        catalog::every_tool()
            .filter(|(toolkit, tool)| {
                let allowed = self.allowed_tools.iter().any(|slug| slug == tool.slug);
                toolkits.iter().any(|slug| slug == toolkit.slug) && (self.allowed_tools.is_empty() || allowed)
            })
            .collect()
    }
}

/// `/mcp/…`.
pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Outcome {
    match (asked.method.as_str(), rest) {
        ("GET", ["servers"]) => list(world, asked, None),
        ("GET", ["app", toolkit]) => list(world, asked, Some(toolkit)),
        ("POST", ["servers"]) => create(world, asked, true),
        ("POST", ["servers", "custom"]) => create(world, asked, false),
        ("POST", ["servers", "generate"]) => generate(world, asked),
        ("GET", ["servers", id, "instances"]) => {
            let server = found(world, id)?;
            let item = |(user, at, own): &(String, u64, String)| instance(server, user, *at, own);
            let items: Vec<Value> = server.instances.iter().map(item).collect();
            let mut said = numbered(asked, &items, cut(20, 100))?;
            said["instances"] = said["items"].take();
            said["server_id"] = json!(server.id);
            said["server_name"] = json!(server.name);
            if let Some(said) = said.as_object_mut() {
                said.remove("items");
            }
            Ok(Reply::ok(said))
        }
        ("POST", ["servers", id, "instances"]) => add_instance(world, asked, id),
        ("DELETE", ["servers", id, "instances", user]) => remove_instance(world, id, user),
        ("GET", [id]) => Ok(Reply::ok(shown_with(world, found(world, id)?, false))),
        ("PATCH", [id]) => {
            let mut server = found(world, id)?.clone();
            wanted(world, asked, &mut server)?;
            server.updated_ms = world.now_ms();
            let said = shown_with(world, &server, false);
            world.servers.insert(server.id.clone(), server);
            world.dirty = true;
            Ok(Reply::ok(said))
        }
        ("DELETE", [id]) => {
            found(world, id)?;
            world.servers.remove(*id);
            world.dirty = true;
            Ok(Reply::ok(json!({ "id": id, "deleted": true })))
        }
        _ => Err(Reply::empty(405)),
    }
}

pub(super) fn found<'w>(world: &'w World, id: &str) -> Result<&'w Server, Reply> {
    let unknown = || Reply::not_found(&format!("MCP server {id}"), "MCP_ServerNotFound");
    world.servers.get(id).ok_or_else(unknown)
}

fn url(world: &World, server: &Server) -> String {
    format!("{}/v3/mcp/{}", world.origin, server.id)
}

fn commands(world: &World, server: &Server) -> Value {
    let command = |client: &str| {
        format!(
            "npx @composio/mcp@latest setup \"{}\" --client {client}",
            url(world, server)
        )
    };
    json!({ "cursor": command("cursor"), "claude": command("claude"), "windsurf": command("windsurf") })
}

fn shown(world: &World, server: &Server) -> Value {
    let mut toolkits: Vec<&str> = server
        .tools(world)
        .iter()
        .map(|(toolkit, _)| toolkit.slug)
        .collect();
    toolkits.dedup();
    let icon = |slug: &&str| ((*slug).to_owned(), json!(catalog::logo(slug)));
    json!({
        "id": server.id, "name": server.name, "auth_config_ids": server.auth_configs,
        "allowed_tools": server.allowed_tools, "toolkits": toolkits,
        "toolkit_icons": toolkits.iter().map(icon).collect::<Map<_, _>>(), "commands": commands(world, server),
        "mcp_url": url(world, server), "server_instance_count": server.instances.len(),
        "managed_auth_via_composio": server.managed,
        "created_at": iso(server.created_ms), "updated_at": iso(server.updated_ms),
    })
}

fn shown_with(world: &World, server: &Server, deleted: bool) -> Value {
    let mut said = shown(world, server);
    said["deleted"] = json!(deleted);
    said
}

fn list(world: &World, asked: &Asked, toolkit: Option<&str>) -> Outcome {
    let mut servers: Vec<&Server> = world
        .servers
        .values()
        .filter(|server| {
            let named = asked.query("name").is_none_or(|name| server.name.contains(name));
            let configs = asked.list("auth_config_ids");
            let of_config = |ids: &Vec<String>| ids.iter().any(|id| server.auth_configs.contains(id));
            let wanted = toolkit.map_or_else(|| asked.list("toolkits"), |slug| Some(vec![slug.to_owned()]));
            let has = |slugs: &Vec<String>| {
                let tools = server.tools(world);
                tools
                    .iter()
                    .any(|(of, _)| slugs.iter().any(|slug| slug == of.slug))
            };
            named && configs.as_ref().is_none_or(of_config) && wanted.as_ref().is_none_or(has)
        })
        .collect();
    servers.sort_by_key(|server| std::cmp::Reverse(server.made));
    let items: Vec<Value> = servers.into_iter().map(|server| shown(world, server)).collect();
    Ok(Reply::ok(numbered(asked, &items, cut(10, 100))?))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    serde_json::from_value(value.clone()).ok()
}

fn create(world: &mut World, asked: &Asked, whole: bool) -> Outcome {
    for key in ["name", "auth_config_ids"] {
        if asked.body.get(key).is_none() && (whole || key == "name") {
            return Err(Reply::bad_payload(&[format!("Error in payload.{key}: Required")]));
        }
    }
    let (made, now) = (world.next(), world.now_ms());
    let mut server = Server {
        id: uuid(),
        name: String::new(),
        auth_configs: Vec::new(),
        allowed_tools: Vec::new(),
        toolkits: Vec::new(),
        managed: asked.body["managed_auth_via_composio"] == true,
        instances: Vec::new(),
        made,
        created_ms: now,
        updated_ms: now,
    };
    wanted(world, asked, &mut server)?;
    let mut said = shown(world, &server);
    if !whole {
        let short = [
            "id",
            "name",
            "auth_config_ids",
            "allowed_tools",
            "mcp_url",
            "commands",
        ];
        if let Some(said) = said.as_object_mut() {
            said.retain(|key, _| short.contains(&key.as_str()));
        }
    }
    world.servers.insert(server.id.clone(), server);
    Ok(Reply::json(201, said))
}

/// Takes over what a body says, once all of it is good.
fn wanted(world: &World, asked: &Asked, server: &mut Server) -> Result<(), Reply> {
    let invalid = |key: &str| Reply::bad_payload(&[format!("Error in payload.{key}: Invalid input")]);
    if let Some(name) = asked.body.get("name") {
        let name = name.as_str().unwrap_or_default();
        let good = |sign: char| sign.is_ascii_alphanumeric() || sign == '-' || sign == ' ';
        if !((4..=30).contains(&name.len()) && name.chars().all(good)) {
            return Err(invalid("name"));
        }
        let taken = world
            .servers
            .values()
            .any(|other| other.name == name && other.id != server.id);
        if taken && world.switches.server_names_are_unique {
            // That names are unique is inferred from the SDKs' messages. [I]
            let message = format!("An MCP server called '{name}' exists already");
            return Err(Reply::error(400, 1151, "MCP_DuplicateServerName", &message));
        }
        name.clone_into(&mut server.name);
    }
    if let Some(ids) = asked.body.get("auth_config_ids") {
        let ids = texts(ids).ok_or_else(|| invalid("auth_config_ids"))?;
        if let Some(id) = ids.iter().find(|id| !world.auth_configs.contains_key(*id)) {
            let message = format!("Auth config {id} not found");
            return Err(Reply::error(400, 10400, "MCP_AuthConfigNotFound", &message));
        }
        server.auth_configs = ids;
    }
    if let Some(slugs) = asked.body.get("toolkits") {
        let slugs = texts(slugs).ok_or_else(|| invalid("toolkits"))?;
        if slugs.iter().any(|slug| catalog::toolkit(slug).is_none()) {
            return Err(invalid("toolkits"));
        }
        server.toolkits = slugs;
    }
    if let Some(slugs) = asked.body.get("allowed_tools") {
        let slugs = texts(slugs).ok_or_else(|| invalid("allowed_tools"))?;
        if slugs.iter().any(|slug| catalog::tool(slug).is_none()) {
            return Err(invalid("allowed_tools"));
        }
        server.allowed_tools = slugs;
    }
    if let Some(managed) = asked.body["managed_auth_via_composio"].as_bool() {
        server.managed = managed;
    }
    Ok(())
}

fn generate(world: &World, asked: &Asked) -> Outcome {
    let missing = || Reply::bad_payload(&["Error in payload.mcp_server_id: Required".to_owned()]);
    let server = found(world, asked.text("mcp_server_id").ok_or_else(missing)?)?;
    let urls = |list: &str, query: &str| {
        let ids = texts(&asked.body[list]).unwrap_or_default().into_iter();
        let one = |id: String| {
            let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
            format!("{}?{query}={id}", url(world, server))
        };
        ids.map(one).collect::<Vec<_>>()
    };
    Ok(Reply::ok(json!({
        "mcp_url": url(world, server), "user_ids_url": urls("user_ids", "user_id"),
        "connected_account_urls": urls("connected_account_ids", "connected_account_id"),
    })))
}

fn instance(server: &Server, user: &str, at_ms: u64, id: &str) -> Value {
    json!({ "id": id, "instance_id": user, "mcp_server_id": server.id,
        "created_at": iso(at_ms), "updated_at": iso(at_ms) })
}

fn add_instance(world: &mut World, asked: &Asked, id: &str) -> Outcome {
    let now = world.now_ms();
    let missing = || Reply::bad_payload(&["Error in payload.user_id: Required".to_owned()]);
    let user = asked.text("user_id").ok_or_else(missing)?;
    found(world, id)?;
    let unknown = || Reply::empty(404);
    let server = world.servers.get_mut(id).ok_or_else(unknown)?;
    if server.instances.iter().any(|(of, ..)| of == user) {
        let message = format!("An instance for {user} exists already");
        return Err(Reply::error(409, 10409, "MCP_InstanceExists", &message));
    }
    let own = uuid();
    let said = instance(server, user, now, &own);
    server.instances.push((user.to_owned(), now, own));
    world.dirty = true;
    Ok(Reply::json(201, said))
}

/// Removes an instance, and the accounts that its user has for the server.
fn remove_instance(world: &mut World, id: &str, user: &str) -> Outcome {
    let configs = found(world, id)?.auth_configs.clone();
    let unknown = || Reply::not_found(&format!("Instance {user}"), "MCP_InstanceNotFound");
    let server = world.servers.get_mut(id).ok_or_else(unknown)?;
    let before = server.instances.len();
    server.instances.retain(|(of, ..)| of != user);
    if server.instances.len() == before {
        return Err(unknown());
    }
    let there = world.accounts.len();
    world
        .accounts
        .retain(|_, account| !(account.user_id == user && configs.contains(&account.auth_config_id)));
    world.dirty = true;
    let message = "The instance was deleted";
    Ok(Reply::ok(
        json!({ "message": message, "deleted_connected_accounts": there - world.accounts.len() }),
    ))
}
