//! The record of calls from outside: the program itself, killed and started again, with a store in a file.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection;

use super::admin::{Slow, upstream};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, serving. Dropped, it is killed.
struct House {
    process: Child,
    base: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
    slow: tokio::sync::mpsc::Receiver<Slow>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.kill();
    }
}

impl House {
    async fn start(executions: &str) -> Self {
        let (upstream, slow) = upstream().await;
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("toolgate.db");
        let text = format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            store = "sqlite://{}"
            [auth]
            keys = [
              {{ user = "alice", key = "alice-key-0123456789" }},
              {{ user = "bob", key = "bob-key-0123456789" }},
            ]
            [executions]
            {executions}
            [gateways.up]
            url = "http://{upstream}/mcp"
            required = true
            "#,
            store.display()
        );
        std::fs::write(folder.path().join("gateways.toml"), text).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (process, base) = serve(&folder);
        let house = Self {
            process,
            base,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            folder,
            slow,
        };
        house.ready().await;
        house
    }

    /// SIGKILL: no chance to write anything.
    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    async fn start_again(&mut self) {
        (self.process, self.base) = serve(&self.folder);
        self.ready().await;
    }

    async fn ready(&self) {
        let ready = async {
            let url = format!("{}/readyz", self.base);
            while self
                .http
                .get(&url)
                .send()
                .await
                .is_ok_and(|got| got.status() != 200)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("it is ready");
    }

    /// Sends a message to `/mcp`, with these headers.
    fn mcp(&self, key: &str, headers: &[(&'static str, &str)], message: &Value) -> reqwest::RequestBuilder {
        let request = self
            .http
            .post(format!("{}/mcp", self.base))
            .bearer_auth(format!("{key}-key-0123456789"));
        let request = request.header("content-type", "application/json");
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(message.to_string())
    }

    fn modern(&self, key: &str, tool: &str) -> reqwest::RequestBuilder {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({"name": tool, "arguments": {"n": 1}, "_meta": meta});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let headers = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ];
        self.mcp(key, &headers, &message)
    }

    async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = tokio::time::timeout(PATIENCE, request.send())
            .await
            .unwrap()
            .unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text:?}")),
        )
    }

    async fn get(&self, key: &str, path: &str) -> Value {
        let request = self
            .http
            .get(format!("{}{path}", self.base))
            .bearer_auth(format!("{key}-key-0123456789"));
        let (status, json) = Self::answer(request).await;
        assert_eq!(status, 200, "{json}");
        json
    }

    async fn records(&self, key: &str) -> Vec<Value> {
        let page = self.get(key, "/api/executions").await;
        page["items"].as_array().unwrap().clone()
    }
}

/// Starts the program and waits until it says where it listens.
fn serve(folder: &tempfile::TempDir) -> (Child, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_toolgate"))
        .args(["serve", "--config", "gateways.toml"])
        .current_dir(folder.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(process.stdout.take().unwrap()).lines();
    let url = said.map_while(Result::ok).find_map(|line| {
        let url = line.strip_prefix("listening on ")?;
        url.strip_suffix("/mcp").map(ToOwned::to_owned)
    });
    (process, url.expect("it says where it listens"))
}

fn status(record: &Value) -> (&str, &str) {
    (
        record["tool"].as_str().unwrap(),
        record["status"].as_str().unwrap(),
    )
}

#[tokio::test]
async fn calls_of_either_era_and_of_rest_are_recorded_for_their_user_alone() {
    let house = House::start("").await;
    let (_, answer) = House::answer(house.modern("alice", "echo")).await;
    assert!(answer["result"].is_object(), "{answer}");
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
    }});
    let opened = house.mcp("bob", &[], &initialize).send().await.unwrap();
    let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo"}});
    let headers = [("mcp-session-id", session.as_str()), ("x-request-id", "r-7")];
    for _ in 0..2 {
        House::answer(house.mcp("bob", &headers, &call)).await;
    }
    let unknown = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "nothing"}});
    let (_, refused) = House::answer(house.mcp("bob", &headers, &unknown)).await;
    assert!(refused["error"].is_object(), "{refused}");
    let path = format!("{}/api/tools/echo/test", house.base);
    House::answer(house.http.post(path).bearer_auth("alice-key-0123456789")).await;

    let (of_alice, of_bob) = (house.records("alice").await, house.records("bob").await);
    assert_eq!(
        (of_alice.len(), of_bob.len()),
        (2, 2),
        "a call of no tool is none of a tool"
    );
    for record in of_alice.iter().chain(&of_bob) {
        assert_eq!(status(record), ("echo", "SUCCESS"));
        assert_eq!(record["gateway"], "up");
    }
    assert!(
        of_alice
            .iter()
            .all(|record| record["userId"] == "alice" && record["sessionId"].is_null())
    );
    assert!(
        of_bob
            .iter()
            .all(|record| record["userId"] == "bob" && record["requestId"] == "r-7")
    );
    let digest = of_bob[0]["sessionId"].as_str().unwrap();
    assert!(
        digest.len() == 16 && !session.contains(digest),
        "no id of a session: {digest}"
    );
    assert_eq!(of_bob[0]["sessionId"], of_bob[1]["sessionId"]);
    assert_eq!(house.get("alice", "/api/stats").await["total"]["calls"], 2);
}

#[tokio::test]
async fn a_killed_gateway_keeps_its_records_and_what_it_was_doing_has_failed() {
    let mut house = House::start("").await;
    House::answer(house.modern("alice", "echo")).await;
    let slow = house.modern("alice", "slow");
    let waiting = tokio::time::timeout(PATIENCE, slow.send());
    let seen = async {
        assert_eq!(house.slow.recv().await, Some(Slow::Called));
    };
    let mut waiting = std::pin::pin!(waiting);
    tokio::select! {
        _ = &mut waiting => panic!("nobody answers"),
        () = seen => {}
    }
    let pending = async {
        loop {
            let records = house.records("alice").await;
            if records.len() == 2 {
                break records;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let before = tokio::select! {
        _ = &mut waiting => panic!("nobody answers"),
        records = pending => records,
    };
    assert_eq!(
        (status(&before[0]), status(&before[1])),
        (("slow", "PENDING"), ("echo", "SUCCESS"))
    );
    assert!(before[0]["durationMs"].is_null());
    house.kill();
    assert!(waiting.await.unwrap().is_err(), "the gateway is gone");
    house.start_again().await;
    let after = house.records("alice").await;
    assert_eq!(after[1], before[1]);
    assert_eq!(
        (&after[0]["id"], status(&after[0])),
        (&before[0]["id"], ("slow", "FAILED"))
    );
    assert!(
        after[0]["error"].as_str().unwrap().starts_with("interrupted"),
        "{}",
        after[0]
    );
    House::answer(house.modern("alice", "echo")).await;
    assert_eq!(house.records("alice").await.len(), 3);
}

#[tokio::test]
async fn calls_whose_record_is_required_are_refused_while_the_store_is_locked() {
    let mut house = House::start(r#"audit = "required""#).await;
    House::answer(house.modern("alice", "echo")).await;
    let path = house.folder.path().join("toolgate.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let locked = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let (_, refused) = House::answer(house.modern("alice", "slow")).await;
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("could not be recorded"), "{message}");
    let path = format!("{}/api/tools/slow/test", house.base);
    let by_hand = house.http.post(path).bearer_auth("alice-key-0123456789");
    let (code, problem) = House::answer(by_hand).await;
    assert_eq!((code, &problem["status"]), (503, &503.into()));
    assert!(house.slow.try_recv().is_err(), "nothing was sent");
    locked.rollback().await.unwrap();
    let again = async {
        while House::answer(house.modern("alice", "echo")).await.1["result"].is_null() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("calls go on");
    let records = house.records("alice").await;
    assert!(
        records
            .iter()
            .filter(|record| status(record) == ("echo", "SUCCESS"))
            .count()
            == 2
    );
    assert!(records.iter().all(|record| status(record) != ("slow", "SUCCESS")));
}
