//! What every request passes before it reaches a mount.

use super::kit::{Reply, Wanted, start};
use toolgate::server::Bounds;

fn with_keys() -> Wanted {
    Wanted {
        auth: true,
        ..Wanted::default()
    }
}

const ALICE: &str = "Authorization: Bearer alice-key";
const BACKEND: &str = "X-API-Key: backend-key";

fn is_problem(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json"),
        "{reply:?}"
    );
    let problem = reply.json();
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["status"], status);
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty())
    );
    let id = reply.header("x-request-id").unwrap();
    assert_eq!(problem["requestId"], id);
    assert_eq!(problem["instance"], format!("urn:request:{id}"));
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let server = start(Wanted::default()).await;
    let kept = server.ask("GET /nowhere", &["X-Request-Id: mine-1"]).await;
    assert_eq!(kept.header("x-request-id"), Some("mine-1"));
    is_problem(&kept, 404);
    let made = server.ask("GET /livez", &["X-Request-Id: two words"]).await;
    assert_eq!(made.header("x-request-id").unwrap().len(), 32);
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems() {
    let server = start(Wanted::default()).await;
    for path in [
        "/",
        "/nowhere",
        "/mcp/x",
        "/api/nowhere",
        "/api",
        "/MCP",
        "/livez/",
    ] {
        is_problem(&server.ask(&format!("GET {path}"), &[]).await, 404);
    }
    for path in ["/livez", "/readyz", "/metrics", "/api/tools"] {
        let reply = server.ask(&format!("POST {path}"), &["Content-Length: 0"]).await;
        is_problem(&reply, 405);
        assert_eq!(reply.header("allow"), Some("GET,HEAD"), "{path}");
    }
}

#[tokio::test]
async fn the_mounts_are_reached_by_whoever_has_a_key() {
    let server = start(with_keys()).await;
    for (path, lines, body) in [
        ("/mcp", &[ALICE][..], "alice 0"),
        ("/mcp/", &[ALICE], "alice 0"),
        ("/mcp", &[BACKEND], "backend 0"),
        ("/mcp", &[BACKEND, "X-User-Id: carol"], "carol 0"),
        ("/api/tools", &[ALICE], "tools"),
    ] {
        let reply = server.ask(&format!("GET {path}"), lines).await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, body),
            "{path} {lines:?}"
        );
    }
}

#[tokio::test]
async fn without_a_key_every_mount_is_401_and_names_no_authorization_server() {
    let server = start(with_keys()).await;
    for path in [
        "/mcp",
        "/mcp/",
        "/api",
        "/api/",
        "/api/tools",
        "/api/nowhere",
        "/mcp?key=alice-key",
        "/mcp?access_token=alice-key",
    ] {
        for lines in [
            &[][..],
            &["Authorization: Bearer wrong"],
            &["Cookie: key=alice-key"],
            &["Mcp-Session-Id: alice-key"],
        ] {
            let reply = server.ask(&format!("POST {path}"), lines).await;
            is_problem(&reply, 401);
            assert_eq!(
                reply.header("www-authenticate"),
                Some("Bearer"),
                "{path} {lines:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_credential_that_is_unclear_or_oversteps_is_refused_with_its_own_status() {
    let server = start(with_keys()).await;
    for (lines, status) in [
        (&["Authorization: Basic YWxpY2U6eA=="][..], 400),
        (&[ALICE, BACKEND], 400),
        (&[ALICE, "X-User-Id: bob"], 403),
        (&[BACKEND, "X-User-Id: two words"], 400),
        (&[BACKEND, "X-User-Id: a", "X-User-Id: b"], 400),
    ] {
        let reply = server.ask("POST /mcp", lines).await;
        is_problem(&reply, status);
        assert_eq!(reply.header("www-authenticate"), None);
    }
}

#[tokio::test]
async fn no_oauth_metadata_is_found_with_or_without_a_key() {
    let server = start(with_keys()).await;
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration",
        "/register",
        "/authorize",
        "/token",
    ] {
        is_problem(&server.ask(&format!("GET {path}"), &[]).await, 404);
        is_problem(&server.ask(&format!("GET {path}"), &[ALICE]).await, 404);
    }
}

#[tokio::test]
async fn metrics_are_open_to_this_machine_alone() {
    let local = start(with_keys()).await;
    let page = local.ask("GET /metrics", &[]).await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(page.body.contains("toolgate_build_info{version=") && page.body.ends_with("# EOF\n"));

    let published = start(Wanted {
        public_url: Some("https://tools.example.com"),
        ..with_keys()
    })
    .await;
    is_problem(&published.ask("GET /metrics", &[]).await, 401);
    assert_eq!(published.ask("GET /metrics", &[ALICE]).await.status, 200);
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_403_before_any_key_is_looked_at() {
    let server = start(with_keys()).await;
    for path in ["/mcp", "/api/tools", "/metrics", "/nowhere"] {
        for lines in [
            &["Host: evil.example"][..],
            &["Host: evil.example", ALICE],
            &["Host: localhost", "Origin: https://evil.example"],
            &["Host: localhost", "Origin: https://evil.example", ALICE],
            &["Host: localhost", "Origin: null", ALICE],
        ] {
            is_problem(&server.ask_exactly(&format!("GET {path}"), lines).await, 403);
        }
    }
    for lines in [&[ALICE][..], &["Host: localhost", "Host: localhost", ALICE]] {
        is_problem(&server.ask_exactly("GET /mcp", lines).await, 400);
    }
    let same = server
        .ask_exactly(
            "GET /mcp",
            &["Host: LOCALHOST.:1", "Origin: http://[::1]:9", ALICE],
        )
        .await;
    assert_eq!(same.status, 200);
}

#[tokio::test]
async fn a_panic_is_answered_in_the_words_of_the_path_and_hurts_nobody_else() {
    let server = start(Wanted::default()).await;
    let mut client = server.connect().await;
    client.send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Do: panic\r\nContent-Length: 0\r\nX-Request-Id: p-1\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 500);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(
        reply.json(),
        serde_json::json!({
            "jsonrpc": "2.0",
            "error": { "code": -32603, "message": "Internal error", "data": { "requestId": "p-1" } },
        })
    );
    client
        .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    assert_eq!(client.reply().await.body, "local 2");

    let reply = server.ask("GET /api/panic", &[]).await;
    is_problem(&reply, 500);
    assert!(!reply.body.contains("told to panic"));
    server.metric("toolgate_panics_total 2").await;
    server.metric("toolgate_in_flight 0").await;
}

#[tokio::test]
async fn over_the_cap_requests_are_shed_and_probes_are_not() {
    let server = start(Wanted {
        bounds: Bounds {
            in_flight_max: 2,
            ..Wanted::default().bounds
        },
        ..Wanted::default()
    })
    .await;
    let mut hanging = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect().await;
        client
            .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Do: hang\r\nContent-Length: 0\r\n\r\n")
            .await;
        hanging.push(client);
    }
    server.metric("toolgate_in_flight 2").await;
    let shed = server.ask("GET /api/tools", &[]).await;
    is_problem(&shed, 503);
    assert_eq!(shed.header("retry-after"), Some("1"));
    server.metric("toolgate_load_shed_total 1").await;
    for probe in ["/livez", "/readyz", "/health", "/healthz"] {
        assert_eq!(server.ask(&format!("GET {probe}"), &[]).await.status, 200);
    }
    hanging.pop();
    server.metric("toolgate_in_flight 1").await;
    assert_eq!(server.ask("GET /api/tools", &[]).await.status, 200);
}

#[tokio::test]
async fn a_stream_holds_its_place_until_it_ends_unless_it_mostly_waits() {
    let server = start(Wanted::default()).await;
    let mut streaming = server.connect().await;
    streaming
        .send("GET /mcp HTTP/1.1\r\nHost: localhost\r\nX-Do: stream\r\n\r\n")
        .await;
    assert_eq!(streaming.reply().await.status, 200);
    let mut listening = server.connect().await;
    listening
        .send("GET /mcp HTTP/1.1\r\nHost: localhost\r\nX-Do: listen\r\n\r\n")
        .await;
    assert_eq!(listening.reply().await.status, 200);
    server.metric("toolgate_connections 2").await;
    server.metric("toolgate_in_flight 1").await;
    drop(streaming);
    server.metric("toolgate_in_flight 0").await;
    server.metric("toolgate_connections 1").await;
}
