//! Nothing that is secret is written anywhere: the program itself, at its most verbose, through a whole life with
//! Composio (sessions, calls, connects, webhooks, refusals, a kill) and with plain gateways of either era. Then its log,
//! its metrics and its spans are searched for everything that must not be there; and what clients were told is searched
//! for what is not theirs.

mod search;

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::{Agent, Era};
use crate::connect::{
    BACKEND, PATIENCE, TOOLKITS, WEBHOOK_SECRET, client, consent, file, key, look, rest, send_webhook,
};
use crate::fake::{CONTROL, Fake, KEY, error_body, odd};
use crate::honest::Caller;
use crate::process::{Process, written};

use self::search::{Secrets, collector};

const WHO: &str = "GITHUB_GET_THE_AUTHENTICATED_USER";
const MULTI: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";
/// Stands in the arguments of every call, which the fake's tools give back in their results.
const ARGUMENT: &str = "argument-of-a-call-5c1e";
/// What a tool says that fails.
const SAID: &str = "said-by-the-app-77a0";
/// In the URL, the headers and the results of the plain gateway.
const QUERY: &str = "query-of-the-operator-91d2";
const HEADER: &str = "header-of-the-operator-ab04";
/// A key and a state that nobody has given out.
const GUESSED_KEY: &str = "key-that-is-guessed-0a0b0c";
/// Nothing secret, and written by whoever writes what it is sent: searched for, to see that searching finds.
const REQUEST_ID: &str = "request-id-of-the-test-3f";

/// A run: what is known of it so far.
struct Run {
    fake: Fake,
    gateway: Process,
    secrets: Secrets,
    /// What clients were told.
    told: String,
}

impl Run {
    async fn rest(&mut self, user: &str, method: Method, path: &str, body: Option<Value>) -> Value {
        let (_, answer) = rest(&client(), &self.gateway.url, user, method, path, body).await;
        self.told.push_str(&answer.to_string());
        answer
    }

    /// Sends a request that nobody else sends.
    async fn send(&mut self, request: reqwest::RequestBuilder) -> u16 {
        let answer = request.header("x-request-id", REQUEST_ID).send().await.unwrap();
        let status = answer.status().as_u16();
        self.told.push_str(&answer.text().await.unwrap());
        status
    }

    fn http(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        client().request(method, format!("{}{path}", self.gateway.url))
    }

    async fn agent(&mut self, user: &str, era: Era, url: bool) -> Agent {
        let agent = Agent::at(&self.gateway.url, user, era, url).await;
        if let Some(id) = agent.session() {
            self.secrets.add("Mcp-Session-Id", id);
        }
        agent
    }

    async fn call(&mut self, agent: &Agent, tool: &str, arguments: Value) -> Value {
        let went = agent.call(tool, arguments, |_| async { "decline" }).await;
        let links = went.asked.iter().map(|asked| asked["url"].clone());
        let links: Vec<Value> = links
            .chain([went.end["result"]["_meta"]["toolgate/connect"][0]["url"].clone()])
            .collect();
        for link in links {
            if let Some(token) = link.as_str().and_then(|url| url.rsplit('/').next()) {
                self.secrets.add("OAuth link", token);
            }
        }
        self.told.push_str(&went.end.to_string());
        went.end
    }

    /// Begins to connect; returns where the user goes.
    async fn begin(&mut self, user: &str, toolkit: &str) -> String {
        let path = format!("/api/integrations/{toolkit}/connect");
        let begun = self.rest(user, Method::POST, &path, Some(json!({}))).await;
        let url = begun["authUrl"].as_str().unwrap_or_else(|| panic!("{begun}"));
        self.secrets.add("OAuth link", url.rsplit('/').next().unwrap());
        self.secrets.add("state", begun["state"].as_str().unwrap());
        url.to_owned()
    }

    fn fails_next(&self) {
        let command = json!({ "do": "fail_tool", "tool": WHO, "message": SAID });
        self.fake.control(&command);
    }

    /// Composio's session ids are noted as they come and go.
    fn note_sessions(&mut self) {
        for id in self.fake.sessions().into_keys() {
            self.secrets.add("Composio session", &id);
        }
    }
}

fn multi(tool: &str) -> Value {
    let part = json!({ "tool_slug": tool, "arguments": { "text": ARGUMENT } });
    json!({ "tools": [part], "sync_response_to_workbench": false })
}

/// An older server of Composio is a plain gateway to whoever has its URL.
async fn plain_gateway(fake: &Fake) -> String {
    fake.connect("plain", "github");
    let config = fake.accounts_of("plain")[0]["auth_config"]["id"].clone();
    let body = json!({ "name": "plain", "auth_config_ids": [config], "allowed_tools": [WHO] });
    let server = Caller::of(fake).post("/mcp/servers/custom", body).await;
    let id = server.body["id"].as_str().unwrap();
    format!(
        "[gateways.plain]\nurl = '{}/v3/mcp/{id}?user_id=plain&token={QUERY}'\nprefix = 'always'\n\
         headers = {{ x-api-key = '{KEY}', authorization = 'Bearer {HEADER}' }}\n",
        fake.origin
    )
}

async fn until_listed(gateway: &Process) {
    let listed = async {
        loop {
            let (_, tools) = rest(&client(), &gateway.url, "alice", Method::GET, "/api/tools", None).await;
            let text = tools.to_string();
            if text.contains(MULTI) && text.contains("plain__") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listed).await.expect("it lists");
}

async fn start(folder: &Path, text: &str, log: &[(&str, &str)]) -> Process {
    let gateway = Process::start(folder, text, log).await;
    until_listed(&gateway).await;
    gateway
}

/// Sessions, their URLs, and who tries to get in.
async fn sessions(run: &mut Run) {
    let body = json!({ "userId": "carol", "toolkits": ["github"] });
    let path = "/api/tool-router/create-session";
    let made = run.rest(BACKEND, Method::POST, path, Some(body)).await;
    let url = made["sessionUrl"].as_str().unwrap_or_else(|| panic!("{made}"));
    let token = url.rsplit('/').next().unwrap().to_owned();
    run.secrets.add("token of a session's URL", &token);
    run.note_sessions();
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    for (path, bearer) in [
        (format!("/mcp/s/{token}"), None),
        (format!("/mcp/s/{token}/"), None),
        (format!("/mcp/s/{token}?x={token}"), None),
        (format!("/mcp/s/{token}0"), None),
        ("/mcp".to_owned(), Some(token.clone())),
        ("/mcp".to_owned(), Some(GUESSED_KEY.to_owned())),
        (format!("/mcp/s/{GUESSED_KEY}"), None),
        ("/mcp".to_owned(), Some(key("alice"))),
    ] {
        let request = run
            .http(Method::POST, &path)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(list.to_string());
        let request = match bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        };
        run.send(request).await;
    }
    let id = made["sessionId"].as_str().unwrap();
    let one = format!("/api/tool-router/sessions/{id}");
    let change = json!({ "userId": "carol", "toolkits": ["gmail"] });
    run.rest(BACKEND, Method::PATCH, &one, Some(change)).await;
    run.rest(BACKEND, Method::GET, &format!("{one}?userId=carol"), None)
        .await;
    run.rest(BACKEND, Method::DELETE, &format!("{one}?userId=carol"), None)
        .await;
}

/// Flows that are gone through, refused, left and made up.
async fn connects(run: &mut Run) {
    let denied = run.begin("alice", "slack").await;
    run.told
        .push_str(&look(&consent(&denied, "deny").await).await.html);
    run.begin("alice", "notion").await;
    let allowed = run.begin("alice", "gmail").await;
    let back = consent(&allowed, "allow").await;
    let foreign = back.replace("connected_account_id=", "connected_account_id=ca_of_another");
    for page in [&back, &foreign] {
        run.told.push_str(&look(page).await.html);
    }
    let made_up = "TWFkZS11cC1zdGF0ZS1vZi0zMi1ieXRlcy1leGFjdGx5";
    run.secrets.add("state that is made up", made_up);
    for query in [
        format!("state={made_up}"),
        format!("state={made_up}%00&status=success"),
    ] {
        let request = run.http(Method::GET, &format!("/api/integrations/callback?{query}"));
        run.send(request).await;
    }
    let complete = "/api/integrations/gmail/complete";
    let body = json!({ "state": made_up });
    run.rest("alice", Method::POST, complete, Some(body)).await;
    let path = format!("/api/integrations/gmail/tools/GMAIL_GET_PROFILE?x={ARGUMENT}");
    run.rest("alice", Method::POST, &path, Some(json!({ "text": ARGUMENT })))
        .await;
    let path = "/api/integrations/gmail/tools/GMAIL_GET_PROFILE";
    run.rest("alice", Method::POST, path, Some(json!({ "text": ARGUMENT })))
        .await;
    run.rest("alice", Method::GET, "/api/integrations", None).await;
}

/// Calls of either era, to Composio and to the plain gateway, that work, fail, and need a connection.
async fn calls(run: &mut Run) {
    for era in [Era::Legacy, Era::Modern] {
        for (user, asks) in [("bob", false), ("alice", true), ("alice", false)] {
            let agent = run.agent(user, era, asks).await;
            run.call(&agent, MULTI, multi(WHO)).await;
            let search = json!({ "queries": [{ "use_case": ARGUMENT }] });
            run.call(&agent, "COMPOSIO_SEARCH_TOOLS", search).await;
            let manage = json!({ "toolkits": ["github"] });
            run.call(&agent, "COMPOSIO_MANAGE_CONNECTIONS", manage).await;
            let plain = format!("plain__{WHO}");
            let answer = run.call(&agent, &plain, json!({ "text": ARGUMENT })).await;
            assert!(answer.to_string().contains(ARGUMENT), "{answer}");
            run.call(&agent, "no_such_tool", json!({ "text": ARGUMENT }))
                .await;
            run.fails_next();
            run.call(&agent, &plain, json!({ "text": ARGUMENT })).await;
        }
    }
    run.note_sessions();
}

/// What Composio refuses, with secrets in its words.
async fn refusals(run: &mut Run) {
    run.note_sessions();
    let session = run.fake.sessions().into_iter().find(|(_, user)| user == "bob");
    let (session, _) = session.unwrap();
    let url = format!("{}/tool_router/{session}/mcp", run.fake.origin);
    let text = format!("Invalid API key: {KEY}; Tool router session with ID {session} not found at {url}");
    let bob = run.agent("bob", Era::Modern, false).await;
    run.fails_next();
    run.call(&bob, MULTI, multi(WHO)).await;
    for status in [400, 401, 404, 429, 500] {
        let body = error_body(status, 1, "APIKey_InvalidAPIKey", &text);
        // These are tried once more.
        for _ in 0..(if matches!(status, 401 | 404) { 2 } else { 1 }) {
            run.fake.next_mcp(odd(status, &body));
        }
        run.call(&bob, MULTI, multi(WHO)).await;
    }
    let rpc = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32001, "message": text } });
    run.fake.next_mcp(odd(404, &rpc));
    run.call(&bob, MULTI, multi(WHO)).await;
    for (number, status) in [400, 401, 403, 429, 500, 503].into_iter().enumerate() {
        let body = error_body(status, 1, "HTTP_BadRequest", &text);
        run.fake.next_create(odd(status, &body));
        let user = format!("late-{number}");
        let body = json!({ "userId": user });
        run.rest(
            BACKEND,
            Method::POST,
            "/api/tool-router/create-session",
            Some(body),
        )
        .await;
        let body = error_body(status, 1, "HTTP_BadRequest", &text);
        run.fake.next("link", odd(status, &body));
        let path = "/api/integrations/slack/connect";
        run.rest("bob", Method::POST, path, Some(json!({}))).await;
    }
    run.note_sessions();
    // Deleted there: another is made.
    run.fake.delete_sessions_of("bob");
    run.call(&bob, MULTI, multi(WHO)).await;
    run.note_sessions();
    run.fake.change_key("ak_another");
    run.call(&bob, MULTI, multi(WHO)).await;
    run.rest("alice", Method::GET, "/api/integrations", None).await;
    run.fake.change_key(KEY);
    run.fake.is_down(true);
    run.call(&bob, MULTI, multi(WHO)).await;
    run.fake.is_down(false);
}

/// Webhooks that are right, old, forged, and changed on their way.
async fn webhooks(run: &mut Run) {
    let id = run.fake.accounts_of("alice")[0]["id"].clone();
    let url = format!("{}/api/webhooks/composio", run.gateway.url);
    for more in [
        json!({ "type": "composio.connected_account.expired", "account": id }),
        json!({ "secret": "whsec_of_another" }),
        json!({ "tamper": true }),
        json!({ "timestamp": 1_700_000_000 }),
        json!({ "data": { "text": ARGUMENT } }),
    ] {
        let mut command = json!({ "type": "composio.trigger.message", "url": url, "secret": WEBHOOK_SECRET });
        command
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        send_webhook(&run.fake, &command).await;
    }
}

async fn life(format: &str) {
    let fake = Fake::start().await;
    fake.connect("bob", "github");
    let (collector, spans) = collector().await;
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite://{}/toolgate.db", folder.path().display());
    let more = format!(
        "{TOOLKITS}\nwebhook_secret = '{WEBHOOK_SECRET}'\n{}",
        plain_gateway(&fake).await
    );
    let text = format!(
        "{}\n[executions]\narguments = true\nresults = true\n",
        file(&fake, &store, &more)
    );
    let log = [
        ("TOOLGATE_LOG", "trace"),
        ("TOOLGATE_LOG_FORMAT", format),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector),
    ];
    let gateway = start(folder.path(), &text, &log).await;

    let mut secrets = Secrets::default();
    for user in ["alice", "bob", "default", BACKEND, "narrow"] {
        secrets.add("client's key", &key(user));
    }
    for (what, value) in [
        ("Composio's key", KEY),
        ("webhook secret", WEBHOOK_SECRET),
        ("any Composio session", "trs_"),
        ("any session's endpoint", "/tool_router/trs"),
        ("any OAuth link", "/link/lk_"),
        ("argument", ARGUMENT),
        ("what a tool said", SAID),
        ("query of a URL", QUERY),
        ("header", HEADER),
        ("guessed key", GUESSED_KEY),
        ("result", "connected_account_id"),
        ("the fake's own token", CONTROL),
    ] {
        if value.len() >= 8 {
            secrets.add(what, value);
        } else {
            secrets.0.push((what, value.to_owned()));
        }
    }
    let mut run = Run {
        fake,
        gateway,
        secrets,
        told: String::new(),
    };
    sessions(&mut run).await;
    calls(&mut run).await;
    connects(&mut run).await;
    webhooks(&mut run).await;
    refusals(&mut run).await;
    let mut metrics = run.rest("alice", Method::GET, "/metrics", None).await.to_string();

    // A client's session goes on after a kill.
    let bob = run.agent("bob", Era::Legacy, false).await;
    let port = run.gateway.url.rsplit(':').next().unwrap().to_owned();
    let text = text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    run.gateway.kill();
    run.gateway = start(folder.path(), &text, &log).await;
    let answer = run.call(&bob, MULTI, multi(WHO)).await;
    assert!(answer.to_string().contains("bob"), "{answer}");
    let before = run.told.len();
    run.rest("alice", Method::DELETE, "/api/integrations/gmail", None)
        .await;
    assert!(
        run.told[before..].contains("disconnected"),
        "{}",
        &run.told[before..]
    );
    run.rest("bob", Method::GET, "/api/executions", None).await;
    run.rest("bob", Method::GET, "/api/gateways", None).await;
    run.note_sessions();
    metrics += &run.rest("alice", Method::GET, "/metrics", None).await.to_string();
    assert_eq!(run.gateway.end().await, Some(0));

    let Run { secrets, told, .. } = run;
    let written = written(folder.path());
    let spans = String::from_utf8_lossy(&spans.lock().unwrap()).into_owned();
    // What is searched is what there was to write.
    let mut planted = secrets.clone();
    planted.add("planted", REQUEST_ID);
    assert_eq!(
        planted.found_in(&written.err).len() - secrets.found_in(&written.err).len(),
        1
    );
    for (place, text, part) in [
        ("log", &written.err, "a user connected a toolkit"),
        ("log", &written.err, "DEBUG"),
        ("stdout", &written.out, "listening on"),
        ("metrics", &metrics, MULTI),
        ("spans", &spans, MULTI),
    ] {
        assert!(text.contains(part), "no {part:?} in the {place}: {text}");
    }
    for (place, text) in [
        ("log", &written.err),
        ("stdout", &written.out),
        ("metrics", &metrics),
        ("spans", &spans),
    ] {
        let found = secrets.found_in(text);
        assert!(found.is_empty(), "the {place} holds {found:#?}");
    }
    // Clients are told their own states, links and URLs, and nothing of these.
    let not_theirs = [
        "Composio's key",
        "client's key",
        "webhook secret",
        "Composio session",
        "query of a URL",
        "header",
    ];
    let mut secrets = secrets;
    secrets
        .0
        .retain(|(what, _)| not_theirs.contains(what) || what.starts_with("any Composio"));
    let found = secrets.found_in(&told);
    assert!(found.is_empty(), "clients were told {found:#?}");
}

#[tokio::test]
async fn at_the_most_verbose_level_no_secret_is_in_logs_metrics_spans_or_answers() {
    life("json").await;
}

#[tokio::test]
async fn nor_in_the_lines_that_people_read() {
    life("pretty").await;
}
