//! The crate rmcp as a client, in any era. Reads a job from stdin, prints a report: `../clients/driver.mjs` has the contract.
//! Everything that crosses the contract is JSON, so parameters and results go through serde instead of through builders.
#![expect(
    deprecated,
    reason = "sampling, roots and logging are deprecated by 2026-07-28 and still spoken"
)]

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, ErrorData, ListRootsResult, LoggingMessageNotificationParam,
    ProgressNotificationParam, ProtocolVersion, ResourceUpdatedNotificationParam,
};
use rmcp::service::{
    NotificationContext, PeerRequestOptions, RequestContext, RoleClient, RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type Running = RunningService<RoleClient, Handler>;

/// What arrived beside the answers.
#[derive(Default)]
struct Heard {
    questions: Vec<Value>,
    logs: Vec<Value>,
    updates: Vec<Value>,
    changed: Vec<Value>,
    progress: Vec<Value>,
}

struct Handler {
    answers: Value,
    heard: Arc<Mutex<Heard>>,
}

impl Handler {
    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().expect("no holder of this lock panics")
    }

    fn answer<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
        answer: Value,
    ) -> Result<T, ErrorData> {
        self.heard()
            .questions
            .push(json!({ "method": method, "params": params }));
        serde_json::from_value(answer).map_err(|e| ErrorData::internal_error(e.to_string(), None))
    }
}

impl ClientHandler for Handler {
    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let content = json!({ "type": "text", "text": self.answers["sampling"] });
        let answer = json!({ "role": "assistant", "model": "test", "content": content });
        self.answer("sampling/createMessage", plain(&params), answer)
    }

    async fn list_roots(&self, _context: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        self.answer(
            "roots/list",
            Value::Null,
            json!({ "roots": self.answers["roots"] }),
        )
    }

    async fn create_elicitation(
        &self,
        params: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.answer(
            "elicitation/create",
            plain(&params),
            self.answers["elicitation"].clone(),
        )
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.heard().progress.push(plain(&params));
    }

    async fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.heard().logs.push(plain(&params));
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.heard().updates.push(plain(&params));
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.heard().changed.push(json!("tools"));
    }

    async fn on_prompt_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.heard().changed.push(json!("prompts"));
    }

    async fn on_resource_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.heard().changed.push(json!("resources"));
    }

    fn get_info(&self) -> rmcp::model::ClientConfig {
        let mut capabilities = json!({});
        if !self.answers["elicitation"].is_null() {
            capabilities["elicitation"] = json!({ "form": {}, "url": {} });
        }
        if !self.answers["sampling"].is_null() {
            capabilities["sampling"] = json!({});
        }
        if !self.answers["roots"].is_null() {
            capabilities["roots"] = json!({});
        }
        let info = json!({ "name": "toolgate-test-rmcp", "version": "3" });
        serde_json::from_value(
            json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info }),
        )
        .expect("a literal")
    }
}

fn plain<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_else(|e| json!({ "unserialisable": e.to_string() }))
}

fn plain_error(error: &ServiceError) -> Value {
    match error {
        ServiceError::McpError(e) => {
            json!({ "code": e.code.0, "message": e.message, "data": e.data, "kind": "McpError" })
        }
        other => json!({ "message": other.to_string(), "kind": "ServiceError" }),
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Value> {
    serde_json::from_value(value).map_err(|e| json!({ "message": format!("bad step: {e}"), "kind": "job" }))
}

/// Leaves out what a step does not say, so that it is not sent as null.
fn params(step: &Value, keys: &[(&str, &str)]) -> Value {
    let pairs = keys.iter().filter(|(from, _)| !step[*from].is_null());
    Value::Object(
        pairs
            .map(|(from, to)| ((*to).to_owned(), step[*from].clone()))
            .collect(),
    )
}

async fn call(step: &Value, client: &Running, entry: &mut Value) -> Result<Value, Value> {
    let keys = [("name", "name"), ("arguments", "arguments"), ("meta", "_meta")];
    let wanted: CallToolRequestParams = typed(params(step, &keys))?;
    let Some(after) = step["cancel_after_ms"].as_u64() else {
        return client
            .call_tool(wanted)
            .await
            .map(|r| plain(&r))
            .map_err(|e| plain_error(&e));
    };
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(wanted));
    let mut handle = client
        .send_cancellable_request(request, PeerRequestOptions::no_options())
        .await
        .map_err(|e| plain_error(&e))?;
    match tokio::time::timeout(Duration::from_millis(after), &mut handle.rx).await {
        Ok(Ok(answer)) => answer.map(|r| plain(&r)).map_err(|e| plain_error(&e)),
        Ok(Err(_)) => Err(json!({ "message": "transport closed" })),
        Err(_) => {
            handle
                .cancel(Some("the test cancels".into()))
                .await
                .map_err(|e| plain_error(&e))?;
            entry["cancelled"] = json!(true);
            Err(json!({ "message": "the test cancels" }))
        }
    }
}

async fn play(
    step: &Value,
    client: &Running,
    heard: &Arc<Mutex<Heard>>,
    entry: &mut Value,
) -> Result<Value, Value> {
    let fault = |e: ServiceError| plain_error(&e);
    match step["op"].as_str().unwrap_or_default() {
        "tools" => Ok(plain(&client.list_all_tools().await.map_err(fault)?)),
        "resources" => Ok(plain(&client.list_all_resources().await.map_err(fault)?)),
        "templates" => Ok(plain(&client.list_all_resource_templates().await.map_err(fault)?)),
        "prompts" => Ok(plain(&client.list_all_prompts().await.map_err(fault)?)),
        "call" => call(step, client, entry).await,
        "read" => Ok(plain(
            &client
                .read_resource(typed(params(step, &[("uri", "uri")]))?)
                .await
                .map_err(fault)?,
        )),
        "prompt" => {
            let wanted = typed(params(step, &[("name", "name"), ("arguments", "arguments")]))?;
            Ok(plain(&client.get_prompt(wanted).await.map_err(fault)?))
        }
        "complete" => {
            let wanted = typed(params(step, &[("ref", "ref"), ("argument", "argument")]))?;
            Ok(plain(&client.complete(wanted).await.map_err(fault)?))
        }
        "log_level" => {
            client
                .set_level(typed(params(step, &[("level", "level")]))?)
                .await
                .map_err(fault)?;
            Ok(json!({}))
        }
        "ping" => {
            let ping = typed(json!({ "method": "ping" }))?;
            Ok(plain(
                &client
                    .send_request(ClientRequest::PingRequest(ping))
                    .await
                    .map_err(fault)?,
            ))
        }
        "subscribe" => {
            let wanted = typed(params(step, &[("uri", "uri")]))?;
            client.subscribe(wanted).await.map_err(fault)?;
            Ok(json!({}))
        }
        "listen" => listen(step, client, heard).await,
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(step["ms"].as_u64().unwrap_or(0))).await;
            Ok(Value::Null)
        }
        "wait" => wait(step, heard).await,
        other => Err(json!({ "message": format!("no such step: {other}") })),
    }
}

/// Opens a listen stream for the rest of the run.
async fn listen(step: &Value, client: &Running, heard: &Arc<Mutex<Heard>>) -> Result<Value, Value> {
    let mut stream = client
        .listen(typed(step["filter"].clone())?)
        .await
        .map_err(|e| plain_error(&e))?;
    let honoured = plain(stream.acknowledged());
    let heard = heard.clone();
    tokio::spawn(async move {
        while let Ok(Some(event)) = stream.next().await {
            let event = plain(&event);
            let mut heard = heard.lock().expect("no holder of this lock panics");
            match event["method"].as_str().unwrap_or_default() {
                "notifications/resources/updated" => heard.updates.push(event["params"].clone()),
                method => {
                    let what = method
                        .trim_start_matches("notifications/")
                        .trim_end_matches("/list_changed");
                    heard.changed.push(json!(what));
                }
            }
        }
    });
    Ok(honoured)
}

async fn wait(step: &Value, heard: &Arc<Mutex<Heard>>) -> Result<Value, Value> {
    let what = step["for"].as_str().unwrap_or_default();
    let wanted = step["count"].as_u64().unwrap_or(1) as usize;
    let end = Instant::now() + Duration::from_millis(step["ms"].as_u64().unwrap_or(10_000));
    loop {
        let count = {
            let heard = heard.lock().expect("no holder of this lock panics");
            match what {
                "logs" => heard.logs.len(),
                "updates" => heard.updates.len(),
                "changed" => heard.changed.len(),
                _ => heard.questions.len(),
            }
        };
        if count >= wanted {
            return Ok(json!(count));
        }
        if Instant::now() > end {
            return Err(json!({ "message": format!("only {count} of {wanted} {what} came") }));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn transport(job: &Value) -> StreamableHttpClientTransport<reqwest::Client> {
    let mut headers = HashMap::new();
    for (name, value) in job["headers"].as_object().into_iter().flatten() {
        let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        headers.insert(
            name,
            http::HeaderValue::from_str(value.as_str().unwrap_or_default()).expect("a header value"),
        );
    }
    let mut config = StreamableHttpClientTransportConfig::with_uri(job["url"].as_str().expect("a url"))
        .custom_headers(headers);
    if let Some(key) = job["key"].as_str() {
        config = config.auth_header(key);
    }
    StreamableHttpClientTransport::from_config(config)
}

fn lifecycle(era: &str) -> ClientLifecycleMode {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    match era {
        "legacy" => ClientLifecycleMode::Initialize,
        "modern" => ClientLifecycleMode::Discover { preferred_versions },
        _ => ClientLifecycleMode::Auto {
            preferred_versions,
            legacy_version: None,
        },
    }
}

async fn run(job: &Value, report: &mut Value) {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let handler = Handler {
        answers: job["answers"].clone(),
        heard: heard.clone(),
    };
    let era = lifecycle(job["era"].as_str().unwrap_or("legacy"));
    let client = match handler.serve_with_lifecycle(transport(job), era).await {
        Ok(client) => client,
        Err(e) => {
            report["connect_error"] = json!({ "message": e.to_string(), "kind": format!("{e:?}") });
            return;
        }
    };
    if let Some(server) = client.peer_info() {
        let server = plain(&*server);
        report["version"] = server["protocolVersion"].clone();
        report["server"] = server["serverInfo"].clone();
        report["capabilities"] = server["capabilities"].clone();
        report["instructions"] = server["instructions"].clone();
    }
    for step in job["steps"].as_array().into_iter().flatten() {
        let began = Instant::now();
        heard
            .lock()
            .expect("no holder of this lock panics")
            .progress
            .clear();
        let mut entry = json!({ "op": step["op"], "ok": true });
        let limit = Duration::from_millis(step["timeout_ms"].as_u64().unwrap_or(45_000));
        match tokio::time::timeout(limit, play(step, &client, &heard, &mut entry)).await {
            Ok(Ok(value)) => entry["value"] = value,
            Ok(Err(error)) => (entry["ok"], entry["error"]) = (json!(false), error),
            Err(_) => {
                (entry["ok"], entry["error"]) = (json!(false), json!({ "message": "no answer in time" }))
            }
        }
        entry["ms"] = json!(began.elapsed().as_millis() as u64);
        if step["progress"] == json!(true) {
            entry["progress"] = json!(heard.lock().expect("no holder of this lock panics").progress);
        }
        report["steps"].as_array_mut().expect("an array").push(entry);
    }
    let _ = client.cancel().await;
    let heard = heard.lock().expect("no holder of this lock panics");
    report["questions"] = json!(heard.questions);
    report["logs"] = json!(heard.logs);
    report["updates"] = json!(heard.updates);
    report["changed"] = json!(heard.changed);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .expect("a job on stdin");
    let job: Value = serde_json::from_str(&text).expect("a job is JSON");
    let mut report = json!({ "client": "rmcp", "steps": [] });
    let limit = Duration::from_millis(job["timeout_ms"].as_u64().unwrap_or(90_000));
    let hung = tokio::time::timeout(limit, run(&job, &mut report)).await.is_err();
    if hung {
        report["hung"] = json!(true);
    }
    println!("{report}");
    std::process::exit(if hung { 3 } else { 0 });
}
