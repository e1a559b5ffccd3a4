use serde_json::json;

use super::fake::{Conn, Fake, SECRET, Seen};
use super::tool_names;
use crate::config::EraChoice;
use crate::exchange::CallError;
use crate::protocol::version::Era;
use crate::supervisor::Supervisor;
use crate::upstream::fixture::{call_of, client, tool_route};
use crate::upstream::http::HttpTransport;
use crate::upstream::transport::Transport;

const HTML: &str = "content-type: text/html\r\n";

/// Answers a probe with a raw status, headers and body, and everything else as a legacy server does.
async fn probed_with(status: u16, headers: &'static str, body: &'static str) -> Fake {
    Fake::start(move |seen, mut conn| async move {
        match seen.method() {
            "server/discover" => conn.status(status, headers, body).await,
            _ => legacy(&seen, &mut conn).await,
        }
    })
    .await
}

async fn legacy(seen: &Seen, conn: &mut Conn) {
    match (seen.verb.as_str(), seen.method()) {
        ("GET", _) => conn.status(405, "", "").await,
        (_, "initialize") => {
            let result = json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}});
            conn.result(seen, result).await;
        }
        (_, "tools/list") => {
            let tool = json!({"name": "t", "inputSchema": {"type": "object"}});
            conn.result(seen, json!({"tools": [tool]})).await;
        }
        (_, "tools/call") => conn.result(seen, json!({})).await,
        _ => conn.status(202, "", "").await,
    }
}

#[tokio::test]
async fn what_a_legacy_server_answers_leads_to_initialize() {
    const JSON: &str = "content-type: application/json\r\n";
    for (status, headers, body) in [
        (404, HTML, "<html>"),
        (405, "", ""),
        (400, "", ""),
        (
            406,
            JSON,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"x"}}"#,
        ),
        (
            400,
            JSON,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Unsupported protocol version"}}"#,
        ),
        (
            400,
            JSON,
            r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32602,"message":"x"}}"#,
        ),
        (
            200,
            JSON,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"x"}}"#,
        ),
        (200, HTML, "<html>"),
        (202, "", ""),
        (200, JSON, "{}"),
        (
            400,
            JSON,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"x","data":{"supported":["2025-06-18"]}}}"#,
        ),
    ] {
        let fake = probed_with(status, headers, body).await;
        let transport = fake.transport();
        let listing = transport.list().await;
        assert_eq!(tool_names(&listing.unwrap()), ["t"], "{status} {body}");
        assert_eq!(transport.era(), Some(Era::Legacy));
        assert_eq!(
            fake.of("POST tools/list")[0].header("mcp-protocol-version"),
            Some("2025-06-18")
        );
        assert_eq!(fake.of("POST server/discover").len(), 1);
    }
}

#[tokio::test]
async fn refusals_and_faults_never_make_an_upstream_legacy() {
    const UNKNOWN: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"x","data":{"supported":["2031-01-01"]}}}"#;
    const MISMATCH: &str =
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"a hop changed it"}}"#;
    for (status, headers, body) in [
        (401, "www-authenticate: Bearer realm=x\r\n", ""),
        (403, "", ""),
        (500, HTML, "<p>"),
        (502, "", ""),
        (503, "", ""),
        (429, "", ""),
        (301, "location: https://u:p@elsewhere.example/mcp?token=1\r\n", ""),
        (307, "", ""),
        (400, "content-type: application/json\r\n", UNKNOWN),
        (400, "content-type: application/json\r\n", MISMATCH),
        (
            200,
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
            "x",
        ),
    ] {
        let fake = probed_with(status, headers, body).await;
        let transport = fake.transport();
        for attempt in 1..=2 {
            let error = transport.list().await.unwrap_err();
            assert!(!error.0.contains("secret"), "{error}");
            assert_eq!(
                fake.titles(),
                vec!["POST server/discover"; attempt],
                "{status}: {error}"
            );
        }
        assert_eq!(transport.era(), None);
    }
}

#[tokio::test]
async fn an_error_says_what_to_change_in_the_configuration() {
    for (status, headers, said) in [
        (
            308,
            "location: https://u:p@elsewhere.example/mcp?token=1\r\n",
            "it redirects (HTTP 308 Permanent Redirect) to https://elsewhere.example/mcp; set the gateway's `url`",
        ),
        (
            401,
            "",
            "it refused our credentials (HTTP 401 Unauthorized); set the ones it wants in the gateway's `headers`",
        ),
    ] {
        let fake = probed_with(status, headers, "").await;
        let error = fake.transport().list().await.unwrap_err();
        assert!(error.0.starts_with(said), "{error}");
        assert!(!error.0.contains(SECRET) && !error.0.contains("token") && !error.0.contains("hidden"));
    }
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_unavailable_and_probed_again_later() {
    let fake = probed_with(400, "", "").await;
    let mut settings = fake.settings();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    settings
        .url
        .set_port(Some(listener.local_addr().unwrap().port()))
        .unwrap();
    drop(listener);
    let transport = HttpTransport::new(settings, &Supervisor::new()).unwrap();
    let (call, _events) = call_of(client("{}"), 1);
    let error = transport.call(&tool_route("t", "t"), call).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Unavailable { reason, .. } if reason.contains("refused")),
        "{error}"
    );
    assert_eq!(transport.era(), None);
}

#[tokio::test]
async fn a_configured_era_is_not_probed() {
    let fake = probed_with(500, "", "").await;
    for (era, titles) in [
        (
            EraChoice::Legacy,
            vec![
                "POST initialize",
                "POST notifications/initialized",
                "POST tools/call",
            ],
        ),
        (EraChoice::Modern, vec!["POST tools/call"]),
    ] {
        let before = fake.titles().len();
        let mut settings = fake.settings();
        settings.era = era;
        let transport = HttpTransport::new(settings, &fake.supervisor).unwrap();
        let (call, _events) = call_of(client("{}"), 1);
        transport.call(&tool_route("t", "t"), call).await.unwrap();
        assert_eq!(fake.titles()[before..], titles);
    }
}

#[tokio::test]
async fn the_transport_of_2024_is_recognised() {
    let fake = Fake::start(|seen, mut conn| async move {
        if seen.verb == "GET" {
            conn.events().await;
            conn.raw(b"event: endpoint\ndata: /messages?session=1\n\n").await;
            conn.hung_up().await;
        } else {
            conn.status(405, "", "").await;
        }
    })
    .await;
    let transport = fake.transport();
    assert!(!transport.speaks_old_sse());
    let error = transport.list().await.unwrap_err();
    assert!(error.0.contains("transport = \"sse\""), "{error}");
    assert!(transport.speaks_old_sse());
}

#[tokio::test]
async fn one_probe_serves_all_who_wait() {
    let fake = probed_with(400, "", "").await;
    let transport = fake.transport();
    let route = tool_route("t", "t");
    let calls = (0..8).map(|_| transport.call(&route, call_of(client("{}"), 1).0));
    assert!(
        futures_util::future::join_all(calls)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(fake.of("POST server/discover").len(), 1);
    assert_eq!(fake.of("POST initialize").len(), 1);
}

#[tokio::test]
async fn an_upstream_that_changes_its_era_is_probed_again_and_the_call_sent_once_more() {
    let upgraded = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let now = std::sync::Arc::clone(&upgraded);
    let fake = Fake::start(move |seen, mut conn| {
        let modern = !now.load(std::sync::atomic::Ordering::SeqCst);
        async move {
            match (seen.method(), modern) {
                ("server/discover", true) => {
                    let result = json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}});
                    conn.result(&seen, result).await;
                }
                ("tools/call", true) => conn.result(&seen, json!({"resultType": "complete"})).await,
                ("server/discover", false) => conn.error(400, &seen, -32000).await,
                ("tools/call", false) if seen.header("mcp-method").is_some() => {
                    conn.error(400, &seen, -32000).await;
                }
                _ => legacy(&seen, &mut conn).await,
            }
        }
    })
    .await;
    let transport = fake.transport();
    let route = tool_route("t", "t");
    let first = transport.call(&route, call_of(client("{}"), 1).0).await.unwrap();
    assert_eq!(first.era, Era::Modern);
    upgraded.store(true, std::sync::atomic::Ordering::SeqCst);
    let second = transport.call(&route, call_of(client("{}"), 1).0).await.unwrap();
    assert_eq!((second.era, transport.era()), (Era::Legacy, Some(Era::Legacy)));
    assert_eq!(fake.of("POST tools/call").len(), 3);
}
