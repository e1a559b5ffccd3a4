//! A fake of the part of Composio that the gateway uses: sessions of the API, and each session's MCP endpoint.
//! What Composio's documents and captured exchanges say it does; where they say nothing the line is marked `[I]`.
//! It keeps a ledger of whatever it is asked, and answers oddly only where a test says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(super) const KEY: &str = "ak_s3cret-project-key";

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    /// `create`, `session` (the API) or `mcp`.
    pub(super) place: &'static str,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
    /// Whose session it was about.
    pub(super) user: Option<String>,
}

/// An answer that a test wants in the place of the honest one.
#[derive(Clone)]
pub(super) struct Odd {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: String,
}

#[derive(Default)]
struct World {
    origin: String,
    key: String,
    /// Session id to user.
    sessions: BTreeMap<String, String>,
    made: usize,
    seen: Vec<Seen>,
    /// What the next creates, and the next messages to a session's endpoint, get instead.
    odd_creates: VecDeque<Odd>,
    odd_mcp: VecDeque<Odd>,
    /// What the endpoint of a deleted session answers; its form is not known. `[I]`
    gone: Option<Odd>,
    /// Whether the endpoint gives `Mcp-Session-Id`; not known. `[I]`
    gives_ids: bool,
    mcp_origin: Option<String>,
}

#[derive(Clone)]
pub(super) struct Fake {
    world: Arc<Mutex<World>>,
    pub(super) origin: String,
}

impl Fake {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self {
            world: Arc::new(Mutex::new(World {
                origin: origin.clone(),
                key: KEY.to_owned(),
                ..World::default()
            })),
            origin,
        };
        let mut routes = Router::new().route("/tool_router/{id}/mcp", any(mcp));
        for version in ["v3", "v3.1"] {
            let at = format!("/api/{version}/tool_router/session");
            routes = routes
                .route(&at, post(create))
                .route(&format!("{at}/{{id}}"), any(session));
        }
        let routes = routes.with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        fake
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(super) fn sessions(&self) -> BTreeMap<String, String> {
        self.world().sessions.clone()
    }

    /// Deletes the sessions of a user, as somebody at Composio would.
    pub(super) fn delete_sessions_of(&self, user: &str) {
        self.world().sessions.retain(|_, of| of != user);
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    pub(super) fn creates_of(&self, user: &str) -> usize {
        let of = |seen: &&Seen| seen.place == "create" && seen.body["user_id"] == user;
        self.seen().iter().filter(of).count()
    }

    /// Returns the tool calls that a user's sessions were sent.
    pub(super) fn calls_of(&self, user: &str) -> usize {
        let of = |seen: &&Seen| seen.body["method"] == "tools/call" && seen.user.as_deref() == Some(user);
        self.seen().iter().filter(of).count()
    }

    pub(super) fn change_key(&self, key: &str) {
        key.clone_into(&mut self.world().key);
    }

    pub(super) fn next_create(&self, odd: Odd) {
        self.world().odd_creates.push_back(odd);
    }

    pub(super) fn next_mcp(&self, odd: Odd) {
        self.world().odd_mcp.push_back(odd);
    }

    pub(super) fn gone_is(&self, odd: Odd) {
        self.world().gone = Some(odd);
    }

    pub(super) fn gives_ids(&self) {
        self.world().gives_ids = true;
    }

    pub(super) fn puts_mcp_on(&self, origin: &str) {
        self.world().mcp_origin = Some(origin.to_owned());
    }
}

pub(super) fn odd(status: u16, body: &Value) -> Odd {
    Odd {
        status,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

pub(super) fn error_body(status: u16, code: i64, slug: &str, message: &str) -> Value {
    json!({ "error": { "message": message, "code": code, "slug": slug, "status": status,
        "request_id": "req_1", "suggested_fix": "Look at the documentation." } })
}

fn error(status: u16, code: i64, slug: &str, message: &str, errors: &[&str]) -> Response {
    let mut body = error_body(status, code, slug, message);
    if !errors.is_empty() {
        body["error"]["errors"] = json!(errors);
    }
    answer(status, &body)
}

fn answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, body.to_string()).into_response()
}

impl IntoResponse for Odd {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap();
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (status, kind, self.body).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }
}

/// One key, and exactly one.
fn refused(world: &World, headers: &HeaderMap) -> Option<Response> {
    let kinds = ["x-api-key", "x-user-api-key", "x-org-api-key"];
    if kinds.iter().filter(|kind| headers.contains_key(**kind)).count() > 1 {
        let message = "Multiple authentication modes were given";
        return Some(error(401, 10401, "HTTP_Unauthorized", message, &[]));
    }
    let right = headers
        .get("x-api-key")
        .is_some_and(|key| key == world.key.as_str());
    (!right).then(|| error(401, 801, "APIKey_InvalidAPIKey", "Invalid API key: ak_s3c…", &[]))
}

fn note(
    world: &mut World,
    method: &Method,
    place: &'static str,
    headers: &HeaderMap,
    body: &Value,
    user: Option<&String>,
) {
    world.seen.push(Seen {
        method: method.clone(),
        place,
        headers: headers.clone(),
        body: body.clone(),
        user: user.cloned(),
    });
}

async fn create(State(fake): State<Fake>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let mut world = fake.world();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    note(&mut world, &method, "create", &headers, &body, None);
    if let Some(refused) = refused(&world, &headers) {
        return refused;
    }
    if let Some(odd) = world.odd_creates.pop_front() {
        return odd.into_response();
    }
    if let Some(wrong) = wrong(&body) {
        return error(400, 10400, "HTTP_BadRequest", "Invalid request", &[&wrong]);
    }
    world.made += 1;
    let id = format!("trs_{:012}", world.made);
    let user = body["user_id"].as_str().unwrap().to_owned();
    world.sessions.insert(id.clone(), user);
    answer(201, &described(&world, &id, &body["toolkits"]))
}

/// What is wrong with the body of a create.
fn wrong(body: &Value) -> Option<String> {
    const KNOWN: [&str; 16] = [
        "user_id",
        "toolkits",
        "tools",
        "tags",
        "auth_configs",
        "connected_accounts",
        "manage_connections",
        "workbench",
        "multi_account",
        "preload",
        "search",
        "execute",
        "proxy_execute",
        "hooks",
        "instant",
        "experimental",
    ];
    let body = body.as_object()?;
    if let Some(key) = body.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Some(format!("Error in payload: Unrecognized key: {key}"));
    }
    if body
        .get("user_id")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return Some("Error in payload.user_id: Required".to_owned());
    }
    let known = |block: &Value, keys: &[&str]| {
        let block = block.as_object();
        block.is_some_and(|block| block.keys().all(|key| keys.contains(&key.as_str())))
    };
    let toolkits = body.get("toolkits");
    if toolkits.is_some_and(|block| !known(block, &["enable", "disable", "require_approval"])) {
        return Some("Error in payload.toolkits: Invalid input".to_owned());
    }
    let connections = [
        "enable",
        "callback_url",
        "enable_wait_for_connections",
        "enable_connection_removal",
    ];
    let block = body.get("manage_connections");
    if block.is_some_and(|block| !known(block, &connections)) {
        return Some("Error in payload.manage_connections: Invalid input".to_owned());
    }
    None
}

/// The payload of a session. A request says `enable`, an answer `enabled`.
fn described(world: &World, id: &str, toolkits: &Value) -> Value {
    let origin = world.mcp_origin.as_ref().unwrap_or(&world.origin);
    let mut config = json!({
        "user_id": world.sessions[id], "manage_connections": { "enabled": true }, "preload": { "tools": [] },
        "workbench": { "enable": true, "proxy_execution_enabled": true },
        "search": { "enable": true }, "execute": { "enable_multi_execute": true }, "instant": {},
    });
    if let Some(enabled) = toolkits.get("enable") {
        config["toolkits"] = json!({ "enabled": enabled });
    }
    json!({
        "session_id": id,
        "mcp": { "type": "http", "url": format!("{origin}/tool_router/{id}/mcp") },
        "tool_router_tools": TOOLS.map(|tool| tool.0),
        "config": config,
        "config_version": 1,
        "warnings": [],
    })
}

async fn session(
    State(fake): State<Fake>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let mut world = fake.world();
    let user = world.sessions.get(&id).cloned();
    note(
        &mut world,
        &method,
        "session",
        &headers,
        &Value::Null,
        user.as_ref(),
    );
    if let Some(refused) = refused(&world, &headers) {
        return refused;
    }
    if user.is_none() {
        let message = format!("Tool router session with ID {id} not found");
        // The number is not known. [I]
        return error(404, 4304, "ToolRouterV2_SessionNotFound", &message, &[]);
    }
    match method {
        Method::GET => answer(200, &described(&world, &id, &Value::Null)),
        Method::DELETE => {
            world.sessions.remove(&id);
            answer(200, &json!({ "session_id": id, "deleted": true }))
        }
        _ => answer(405, &Value::Null),
    }
}

/// The meta tools: name, whether it only reads, required arguments.
const TOOLS: [(&str, bool, &str); 6] = [
    ("COMPOSIO_SEARCH_TOOLS", true, "queries"),
    ("COMPOSIO_GET_TOOL_SCHEMAS", true, "tool_slugs"),
    ("COMPOSIO_MULTI_EXECUTE_TOOL", false, "tools"),
    ("COMPOSIO_MANAGE_CONNECTIONS", false, "toolkits"),
    ("COMPOSIO_REMOTE_WORKBENCH", false, "code_to_execute"),
    ("COMPOSIO_REMOTE_BASH_TOOL", false, "command"),
];

async fn mcp(
    State(fake): State<Fake>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut world = fake.world();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let user = world.sessions.get(&id).cloned();
    note(&mut world, &method, "mcp", &headers, &body, user.as_ref());
    if let Some(refused) = refused(&world, &headers) {
        return refused;
    }
    let Some(user) = user else {
        let gone = world.gone.clone();
        let said = error_body(
            404,
            4304,
            "ToolRouterV2_SessionNotFound",
            &format!("session {id} not found"),
        );
        return gone.unwrap_or_else(|| odd(404, &said)).into_response();
    };
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if body["method"] == "tools/call"
        && let Some(odd) = world.odd_mcp.pop_front()
    {
        return odd.into_response();
    }
    let accept = headers
        .get(header::ACCEPT)
        .map_or("", |accept| accept.to_str().unwrap());
    if !(accept.contains("application/json") && accept.contains("text/event-stream")) {
        let message = "Not Acceptable: Client must accept both application/json and text/event-stream";
        return answer(
            406,
            &json!({ "jsonrpc": "2.0", "error": { "code": -32000, "message": message }, "id": null }),
        );
    }
    if body.get("id").is_none() {
        return StatusCode::ACCEPTED.into_response();
    }
    let result = match body["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": body["params"]["protocolVersion"],
            "capabilities": { "tools": { "listChanged": true } },
            "serverInfo": { "name": "fake of tool_router", "version": "1" },
        }),
        "tools/list" => json!({ "tools": TOOLS.map(tool) }),
        "tools/call" => called(&user, &body["params"]),
        _ => {
            let said = json!({ "code": -32601, "message": "Method not found" });
            return events(&json!({ "jsonrpc": "2.0", "id": body["id"], "error": said }));
        }
    };
    let mut response = events(&json!({ "jsonrpc": "2.0", "id": body["id"], "result": result }));
    if world.gives_ids && body["method"] == "initialize" {
        response
            .headers_mut()
            .insert("mcp-session-id", "m1".parse().unwrap());
    }
    response
}

fn events(message: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, format!("event: message\ndata: {message}\n\n")).into_response()
}

fn tool((name, reads, needs): (&str, bool, &str)) -> Value {
    json!({
        "name": name,
        "description": format!("{name} of Composio"),
        "inputSchema": {
            "type": "object", "required": [needs],
            "properties": { needs: {}, "session_id": { "type": ["string", "null"] } },
        },
        "annotations": { "readOnlyHint": reads, "destructiveHint": !reads },
    })
}

/// The result of a tool: one text that is JSON. A tool that failed says so inside.
fn called(user: &str, params: &Value) -> Value {
    let arguments = &params["arguments"];
    let data = match params["name"].as_str().unwrap_or_default() {
        "COMPOSIO_SEARCH_TOOLS" => json!({
            "results": [{ "index": 1, "use_case": arguments["queries"][0]["use_case"],
                "primary_tool_slugs": ["GITHUB_GET_THE_AUTHENTICATED_USER"], "toolkits": ["github"] }],
            "toolkit_connection_statuses": [{ "toolkit": "github", "has_active_connection": true,
                "current_user_info": { "login": user } }],
        }),
        "COMPOSIO_MULTI_EXECUTE_TOOL" => {
            let tools = arguments["tools"].as_array().cloned().unwrap_or_default();
            let results: Vec<Value> = tools
                .iter()
                .enumerate()
                .map(|(index, tool)| {
                    json!({ "tool_slug": tool["tool_slug"], "index": index,
                        "response": { "successful": true, "data": { "login": user }, "error": null } })
                })
                .collect();
            json!({ "results": results, "total_count": tools.len(), "success_count": tools.len(), "error_count": 0 })
        }
        other => {
            let text = json!({ "successful": false, "data": {}, "error": format!("{other} is not faked") });
            return json!({ "content": [{ "type": "text", "text": text.to_string() }] });
        }
    };
    let text = json!({ "successful": true, "data": data, "error": null });
    json!({ "content": [{ "type": "text", "text": text.to_string() }] })
}
