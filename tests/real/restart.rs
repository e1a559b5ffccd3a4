//! Toolgate is killed and started again, with the same store: clients go on.

use reqwest::Method;
use serde_json::{Value, json};

use crate::gateway::{self, ALICE, BOB, Toolgate};
use crate::http_servers::{dual, everything};
use crate::kit;
use crate::wire::{JsonBody, Session, block_on, client};

const STORE: &str = "[server]\nstore = \"sqlite://{dir}/toolgate.db\"\n";

async fn status_of(session: &Session, key: &str, method: Method) -> u16 {
    let ping = json!({ "jsonrpc": "2.0", "id": 90, "method": "ping" });
    let request = session.request_as(key, method.clone());
    let request = if method == Method::POST {
        request.json_body(&ping)
    } else {
        request
    };
    request.send().await.unwrap().status().as_u16()
}

async fn ask(session: &Session, method: &str, params: Value) -> String {
    let body = json!({ "jsonrpc": "2.0", "id": 91, "method": method, "params": params });
    let request = session.request(Method::POST).json_body(&body);
    request.send().await.unwrap().text().await.unwrap()
}

async fn names(session: &Session) -> Vec<String> {
    let list: Value = serde_json::from_str(&ask(session, "tools/list", json!({})).await).unwrap();
    let tools = list["result"]["tools"].as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn sessions_outlive_a_kill_and_stay_with_their_user() {
    let server = dual();
    let toml = format!(
        "{STORE}\n{}{}",
        gateway::two_users(),
        gateway::http("dual", &server.url("/mcp"), "era = \"legacy\"")
    );
    let mut toolgate = Toolgate::start(&toml);
    let (mut kept, ended) = block_on(async {
        let kept = Session::open(client(), &toolgate.mcp(), ALICE).await;
        let ended = Session::open(client(), &toolgate.mcp(), ALICE).await;
        let said = kept.call(1, "dual_keep", json!({ "text": "before" }), None).await;
        assert_eq!(said.text(), Ok("kept"));
        assert_eq!(status_of(&ended, ALICE, Method::DELETE).await, 204);
        (kept, ended)
    });
    for round in 0..3 {
        toolgate.kill_and_start_again();
        kept.url = toolgate.mcp();
        block_on(async {
            assert_eq!(status_of(&kept, BOB, Method::POST).await, 404, "another user's");
            // The upstream's own session went down with the process; ours is the client's to end.
            let said = kept
                .call(2, "dual_count", json!({ "steps": 1, "delay_ms": 1 }), None)
                .await;
            assert_eq!(said.text(), Ok("counted to 1"), "round {round}");
        });
    }
    let mut ended = ended;
    ended.url = toolgate.mcp();
    block_on(async {
        assert_eq!(status_of(&ended, ALICE, Method::POST).await, 404, "it was ended");
        assert_eq!(status_of(&kept, ALICE, Method::DELETE).await, 204);
        assert_eq!(status_of(&kept, ALICE, Method::POST).await, 404);
    });
}

#[test]
fn a_watched_resource_is_watched_again_after_a_kill() {
    let server = everything("streamableHttp", kit::free_port());
    let toml = format!(
        "{STORE}\n{}",
        gateway::http("everything", &server.url("/mcp"), "")
    );
    let mut toolgate = Toolgate::start(&toml);
    let uri = "demo://resource/dynamic/text/1";
    let mut session = block_on(async {
        let session = Session::open(client(), &toolgate.mcp(), "").await;
        let done = ask(&session, "resources/subscribe", json!({ "uri": uri })).await;
        assert!(done.contains("\"result\""), "{done}");
        session
    });
    // Only the level and what is watched follow by themselves, without being waited for.
    block_on(async { ask(&session, "ping", json!({})).await });
    std::thread::sleep(std::time::Duration::from_millis(200));
    toolgate.kill_and_start_again();
    session.url = toolgate.mcp();
    let update = block_on(async {
        let stream = session.request(Method::GET).send().await.unwrap();
        let started = ask(
            &session,
            "tools/call",
            json!({ "name": "toggle-subscriber-updates", "arguments": {} }),
        );
        assert!(!started.await.contains("isError\":true"));
        updates(stream, uri).await
    });
    assert!(update, "the server's updates reach the client's stream");
}

/// Whether the stream tells of an update of a resource, within the patience of a test.
async fn updates(mut stream: reqwest::Response, uri: &str) -> bool {
    let mut seen = String::new();
    let wait = async {
        while let Ok(Some(chunk)) = stream.chunk().await {
            seen.push_str(&String::from_utf8_lossy(&chunk));
            if seen.contains("notifications/resources/updated") && seen.contains(uri) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(std::time::Duration::from_secs(40), wait)
        .await
        .unwrap_or(false)
}

#[test]
fn names_stay_with_their_gateway_when_the_first_one_is_away_after_a_restart() {
    let (first, second) = (kit::free_port(), kit::free_port());
    let (one, _two) = (
        everything("streamableHttp", first),
        everything("streamableHttp", second),
    );
    let url = |port: u16| format!("http://127.0.0.1:{port}/mcp");
    let toml = format!(
        "{STORE}\n[gateways.one]\nurl = \"{}\"\n[gateways.two]\nurl = \"{}\"\nrequired = true\n",
        url(first),
        url(second)
    );
    let mut toolgate = Toolgate::start(&toml);
    let before = block_on(async {
        let session = Session::open(client(), &toolgate.mcp(), "").await;
        let mut listed = Vec::new();
        for _ in 0..200 {
            listed = names(&session).await;
            if listed.iter().any(|name| name == "two__echo") && listed.iter().any(|name| name == "echo") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        listed
    });
    assert!(
        before.iter().any(|name| name == "echo") && before.iter().any(|name| name == "two__echo"),
        "{before:?}"
    );
    drop(one);
    toolgate.kill_and_start_again();
    let after = block_on(async {
        let session = Session::open(client(), &toolgate.mcp(), "").await;
        names(&session).await
    });
    assert!(after.iter().any(|name| name == "two__echo"), "{after:?}");
    assert!(
        !after.iter().any(|name| name == "echo"),
        "`echo` is the first gateway's, which is away: {after:?}"
    );
}
