//! Real servers over HTTP: Brave (with its API faked on loopback), everything over Streamable HTTP and HTTP+SSE, and
//! the server of the Python SDK in both eras.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::drivers::{Client, Era, Script};
use crate::gateway::{self, Toolgate};
use crate::kit;
use crate::process::Process;
use crate::stdio_servers::sorted;
use crate::web::Web;
use crate::wire;

const START: Duration = Duration::from_secs(30);

/// A real server that listens.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a server and waits until its port answers HTTP at all.
    fn start(name: &str, port: u16, command: &mut Command, look: &str) -> Self {
        let mut process = Process::start(name, command);
        let url = format!("http://127.0.0.1:{port}{look}");
        process.until("listening", START, |_| wire::head(&url).then_some(()));
        Self { process, port }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// `server-everything`; `transport` is `streamableHttp` or `sse`.
pub(crate) fn everything(transport: &str, port: u16) -> Server {
    let mut command = Command::new(kit::npm("mcp-server-everything"));
    command.arg(transport).env("PORT", port.to_string());
    Server::start("server-everything", port, &mut command, "/")
}

/// The server of the Python SDK: both eras on `/mcp`.
pub(crate) fn dual() -> Server {
    let port = kit::free_port();
    let mut command = Command::new(kit::python("python"));
    command.arg(kit::file("servers/dual.py")).arg(port.to_string());
    Server::start("dual.py", port, &mut command, "/")
}

/// The conformance fixture; `eras` is `both`, `legacy` or `modern`.
pub(crate) fn fixture(eras: &str) -> Server {
    let port = kit::free_port();
    let mut command = Command::new("node");
    command
        .arg(kit::shared("conformance/fixture.mjs"))
        .env("PORT", port.to_string())
        .env("ERAS", eras);
    Server::start("fixture", port, &mut command, "/healthz")
}

pub(crate) const BRAVE_KEY: &str = "brave-key-of-the-test";

/// The part of Brave's API that a web search uses.
pub(crate) fn brave_api() -> Web {
    Web::start(|path| {
        if !path.starts_with("/res/v1/web/search?") {
            return (404, "application/json", "{}".to_owned());
        }
        let found = json!({ "title": "Canary found", "url": "https://example.com/canary", "description": "A canary in the index." });
        let answer = json!({ "type": "search", "query": { "original": "canary" }, "web": { "type": "search", "results": [found] } });
        (200, "application/json", answer.to_string())
    })
}

/// What must hold of Brave's server behind the gateway, whatever the transport.
pub(crate) fn brave_searches(toolgate: &Toolgate, api: &Web) {
    for client in [Client::Sdk1, Client::Client2(Era::Modern)] {
        let script = Script::new()
            .step("tools", json!({ "op": "tools" }))
            .call("search", "brave_web_search", json!({ "query": "canary" }))
            .call("no query", "brave_web_search", json!({}));
        let seen = client.play(&toolgate.mcp(), None, script);
        let tools = seen.names("tools");
        assert_eq!(tools.len(), 8, "{tools:?}");
        assert!(tools.iter().all(|t| t.starts_with("brave_")), "{tools:?}");
        let search = seen
            .value("tools")
            .as_array()
            .unwrap()
            .iter()
            .find(|t| t["name"] == "brave_web_search")
            .unwrap();
        assert_eq!(
            search["inputSchema"]["required"],
            json!(["query"]),
            "the schema must come through"
        );
        let found = seen.text("search");
        assert!(
            found.contains("Canary found") && found.contains("https://example.com/canary"),
            "{found}"
        );
        assert!(
            seen.tool_error("no query").contains("query"),
            "{}",
            seen.tool_error("no query")
        );
    }
    let requests = api.seen();
    assert_eq!(requests.len(), 2, "each search is sent once: {requests:#?}");
    for head in requests {
        let head = head.to_lowercase();
        assert!(
            head.contains(&format!("x-subscription-token: {BRAVE_KEY}")),
            "{head}"
        );
        assert!(head.contains("q=canary"), "{head}");
    }
}

#[test]
fn brave_searches_over_http_with_its_api_key() {
    let api = brave_api();
    let port = kit::free_port();
    let mut command = Command::new(kit::npm("brave-search-mcp-server"));
    command
        .args([
            "--transport",
            "http",
            "--port",
            &port.to_string(),
            "--brave-api-key",
            BRAVE_KEY,
        ])
        .env("BRAVE_API_FAKE", &api.url)
        .env(
            "NODE_OPTIONS",
            format!("--import={}", kit::file("servers/brave-api.mjs")),
        );
    let brave = Server::start("brave-search-mcp-server", port, &mut command, "/ping");
    let toolgate = Toolgate::start(&gateway::http("brave", &brave.url("/mcp"), ""));
    brave_searches(&toolgate, &api);
}

/// The tools that `server-everything` offers to any client.
const EVERYTHING_TOOLS: [&str; 13] = [
    "echo",
    "get-annotated-message",
    "get-env",
    "get-resource-links",
    "get-resource-reference",
    "get-structured-content",
    "get-sum",
    "get-tiny-image",
    "gzip-file-as-resource",
    "simulate-research-query",
    "toggle-simulated-logging",
    "toggle-subscriber-updates",
    "trigger-long-running-operation",
];

fn everything_script() -> Script {
    let call = |name: &str, arguments| json!({ "op": "call", "name": name, "arguments": arguments });
    let mut slow = call(
        "trigger-long-running-operation",
        json!({ "duration": 1, "steps": 4 }),
    );
    slow["progress"] = json!(true);
    let complete = |reference, name: &str, value: &str| json!({ "op": "complete", "ref": reference, "argument": { "name": name, "value": value } });
    let prompt = json!({ "type": "ref/prompt", "name": "completable-prompt" });
    let template = json!({ "type": "ref/resource", "uri": "demo://resource/dynamic/text/{resourceId}" });
    Script::new()
        .step("tools", json!({ "op": "tools" }))
        .step("tools again", json!({ "op": "tools" }))
        .step("echo", call("echo", json!({ "message": "canary é \u{1f426}" })))
        .step("sum", call("get-sum", json!({ "a": 2, "b": 40 })))
        .step("bad sum", call("get-sum", json!({ "a": 2, "b": "x" })))
        .step(
            "structured",
            call("get-structured-content", json!({ "location": "Chicago" })),
        )
        .step("image", call("get-tiny-image", json!({})))
        .step("slow", slow)
        .step("resources", json!({ "op": "resources" }))
        .step("templates", json!({ "op": "templates" }))
        .step(
            "read",
            json!({ "op": "read", "uri": "demo://resource/static/document/features.md" }),
        )
        .step(
            "read template",
            json!({ "op": "read", "uri": "demo://resource/dynamic/text/7" }),
        )
        .step("prompts", json!({ "op": "prompts" }))
        .step(
            "prompt",
            json!({ "op": "prompt", "name": "args-prompt", "arguments": { "city": "Oslo" } }),
        )
        .step("complete prompt", complete(prompt, "department", "E"))
        .step("complete uri", complete(template, "resourceId", "7"))
}

/// What must hold of `server-everything` behind the gateway, whatever the transport.
pub(crate) fn everything_works(toolgate: &Toolgate) {
    // The server adds tools after its handshake and announces them; the next look, a second later, finds them.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let clients = [
        Client::Sdk1,
        Client::Client2(Era::Modern),
        Client::PyMcp(Era::Legacy),
        Client::Rmcp(Era::Modern),
    ];
    for client in clients {
        let seen = client.play(&toolgate.mcp(), None, everything_script());
        let tools = seen.names("tools");
        for name in EVERYTHING_TOOLS {
            assert!(
                tools.iter().any(|t| t == name),
                "{client:?}: {name} is missing in {tools:?}"
            );
        }
        assert_eq!(
            seen.names("tools again"),
            tools,
            "{client:?}: the order of the list must not change"
        );
        assert_eq!(seen.text("echo"), "Echo: canary é \u{1f426}");
        assert_eq!(seen.text("sum"), "The sum of 2 and 40 is 42.");
        let error = seen.tool_error("bad sum");
        assert!(error.contains("expected number, received string"), "{error}");
        assert_eq!(seen.value("structured")["structuredContent"]["humidity"], 82);
        assert_eq!(seen.value("image")["content"][1]["mimeType"], "image/png");
        assert_eq!(
            seen.text("slow"),
            "Long running operation completed. Duration: 1 seconds, Steps: 4."
        );
        progress_is(seen.entry("slow"), &[1, 2, 3, 4]);
        assert_eq!(seen.names("resources").len(), 7, "{:?}", seen.names("resources"));
        assert_eq!(seen.names("templates").len(), 2, "{:?}", seen.names("templates"));
        let read = &seen.value("read")["contents"][0];
        assert_eq!(read["uri"], "demo://resource/static/document/features.md");
        assert!(
            read["text"]
                .as_str()
                .unwrap()
                .starts_with("# Everything Server - Features"),
            "{read}"
        );
        let read = seen.value("read template")["contents"][0]["text"]
            .as_str()
            .unwrap();
        assert!(read.starts_with("Resource 7: "), "{read}");
        let prompts = sorted(seen.names("prompts"));
        assert_eq!(
            prompts,
            [
                "args-prompt",
                "completable-prompt",
                "resource-prompt",
                "simple-prompt"
            ]
        );
        assert_eq!(
            seen.value("prompt")["messages"][0]["content"]["text"],
            "What's weather in Oslo?"
        );
        assert_eq!(
            seen.value("complete prompt")["completion"]["values"],
            json!(["Engineering"])
        );
        assert_eq!(seen.value("complete uri")["completion"]["values"], json!(["7"]));
    }
}

/// The progress of a step, in order and complete.
pub(crate) fn progress_is(entry: &serde_json::Value, wanted: &[u64]) {
    let heard: Vec<f64> = entry["progress"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["progress"].as_f64().unwrap())
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "small whole numbers")]
    let wanted: Vec<f64> = wanted.iter().map(|p| *p as f64).collect();
    assert_eq!(heard, wanted, "{entry:#}");
}

#[test]
fn everything_over_streamable_http_lists_calls_reads_and_completes() {
    let server = everything("streamableHttp", kit::free_port());
    everything_works(&Toolgate::start(&gateway::http(
        "everything",
        &server.url("/mcp"),
        "",
    )));
}

#[test]
fn everything_over_the_transport_of_2024_lists_calls_reads_and_completes() {
    let server = everything("sse", kit::free_port());
    everything_works(&Toolgate::start(&gateway::http(
        "everything",
        &server.url("/sse"),
        "transport = \"sse\"",
    )));
}

#[test]
fn http_server_of_both_eras_is_spoken_to_in_the_era_that_is_configured() {
    let server = dual();
    for (era, version) in [
        ("legacy", "2025-11-25"),
        ("modern", "2026-07-28"),
        ("auto", "2026-07-28"),
    ] {
        let toolgate = Toolgate::start(&gateway::http(
            "dual",
            &server.url("/mcp"),
            &format!("era = \"{era}\""),
        ));
        for client in [Client::Sdk1, Client::Client2(Era::Modern)] {
            let script = Script::new().call("version", "dual_version", json!({}));
            assert_eq!(
                client.play(&toolgate.mcp(), None, script).text("version"),
                version,
                "{client:?}, era = {era}"
            );
        }
    }
}

#[test]
fn upstream_sees_its_own_credential_and_never_that_of_the_client() {
    let server = dual();
    let more = "headers = { Authorization = \"Bearer of-the-gateway\", X-Tenant = \"canary\" }";
    let config = gateway::two_users() + &gateway::http("dual", &server.url("/mcp"), more);
    let toolgate = Toolgate::start(&config);
    for client in [Client::Sdk1, Client::Client2(Era::Modern)] {
        let script = Script::new().call("headers", "dual_headers", json!({}));
        let seen = client.play(&toolgate.mcp(), Some(gateway::ALICE), script);
        let headers = &seen.value("headers")["structuredContent"];
        assert_eq!(headers["authorization"], "Bearer of-the-gateway", "{headers:#}");
        assert_eq!(headers["x-tenant"], "canary", "{headers:#}");
        assert!(!headers.to_string().contains(gateway::ALICE), "{headers:#}");
    }
}
