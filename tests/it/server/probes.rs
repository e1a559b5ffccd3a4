//! Liveness and readiness.

use std::time::Duration;

use super::kit::{Wanted, start};
use toolgate::clock;
use toolgate::ids::GatewayId;
use toolgate::server::{GatewayReadiness, Readiness};

fn gateway(name: &str, required: bool, looked: bool, up: bool) -> GatewayReadiness {
    GatewayReadiness {
        name: GatewayId::new(name),
        required,
        looked,
        up,
        since: clock::now(),
    }
}

#[tokio::test]
async fn probes_need_no_key_and_no_host_of_ours() {
    let server = start(Wanted {
        auth: true,
        ..Wanted::default()
    })
    .await;
    for path in ["/livez", "/health", "/healthz"] {
        for lines in [
            &["Host: 10.1.2.3:8080"][..],
            &["Host: evil.example", "Origin: null"],
            &["Host: localhost", "Authorization: Bearer wrong"],
        ] {
            let reply = server.ask_exactly(&format!("GET {path}"), lines).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"status":"live"}"#));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
    }
    let mut client = server.connect().await;
    client.send("HEAD /readyz HTTP/1.0\r\n\r\n").await;
    assert!(client.rest().await.starts_with("HTTP/1.0 200 OK\r\n"));
}

#[tokio::test]
async fn ready_is_when_every_required_gateway_has_been_looked_at_once() {
    let server = start(Wanted::default()).await;
    for (gateways, status, word) in [
        (vec![], 200, "ready"),
        (
            vec![gateway("a", true, false, false), gateway("b", true, true, true)],
            503,
            "starting",
        ),
        (
            vec![gateway("a", true, true, true), gateway("b", true, true, true)],
            200,
            "ready",
        ),
        (
            vec![gateway("a", true, true, false), gateway("b", false, false, false)],
            200,
            "ready",
        ),
    ] {
        *server.readiness.lock().unwrap() = Readiness {
            generation: 1,
            gateways,
        };
        let reply = server.ask("GET /readyz", &[]).await;
        assert_eq!(
            (reply.status, reply.json()["status"].as_str()),
            (status, Some(word))
        );
        assert_eq!(server.ask("GET /livez", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn the_verbose_form_lists_the_gateways_and_the_short_one_names_none() {
    let server = start(Wanted::default()).await;
    let mut brave = gateway("brave", true, true, false);
    brave.since -= Duration::from_secs(7);
    *server.readiness.lock().unwrap() = Readiness {
        generation: 3,
        gateways: vec![brave],
    };
    for path in ["/readyz?verbose", "/readyz?x=1&verbose=true"] {
        assert_eq!(
            server.ask(&format!("GET {path}"), &[]).await.json(),
            serde_json::json!({
                "status": "ready",
                "generation": 3,
                "gateways": [{ "name": "brave", "required": true, "looked": true, "up": false, "for_s": 7 }],
            })
        );
    }
    for path in ["/readyz", "/readyz?notverbose"] {
        assert_eq!(
            server.ask(&format!("GET {path}"), &[]).await.body,
            r#"{"status":"ready"}"#
        );
    }
}
