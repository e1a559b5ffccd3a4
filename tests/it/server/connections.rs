//! What a connection may cost: time, bytes, places.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::kit::{BODY_BYTES_MAX, Running, Wanted, start};
use toolgate::limits;
use toolgate::server::{Bounds, Timeouts};

const SOON: Duration = Duration::from_millis(200);

fn impatient(timeouts: Timeouts) -> Wanted {
    Wanted {
        bounds: Bounds {
            timeouts,
            ..Wanted::default().bounds
        },
        ..Wanted::default()
    }
}

async fn lives(server: &Running) {
    assert_eq!(server.ask("GET /livez", &[]).await.status, 200);
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_while_others_are_served() {
    let server = start(impatient(Timeouts {
        header_read: SOON,
        ..Timeouts::default()
    }))
    .await;
    let mut slow = server.connect().await;
    let head =
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: and so on, and so on, and so on, and so on";
    let mut cut = false;
    for byte in head.iter().cycle().take(1_000) {
        if slow.stream.write_all(&[*byte]).await.is_err() {
            cut = true;
            break;
        }
        lives(&server).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(cut, "a thousand drips were taken");
    server
        .metric(r#"toolgate_limit_hits_total{limit="header_read_timeout"} 1"#)
        .await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = start(impatient(Timeouts {
        header_read: SOON,
        ..Timeouts::default()
    }))
    .await;
    let took = server.connect().await.closed().await;
    assert!(took >= SOON / 2, "{took:?}");
    lives(&server).await;
}

#[tokio::test]
async fn a_kept_connection_may_idle_longer_than_a_head_may_take() {
    let timeouts = Timeouts {
        header_read: SOON,
        idle: 4 * SOON,
        ..Timeouts::default()
    };
    let server = start(impatient(timeouts)).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        client
            .send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(client.reply().await.status, 200);
        tokio::time::sleep(2 * SOON).await;
    }
    client
        .send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status, 200);
    let took = client.closed().await;
    assert!(took >= 3 * SOON, "{took:?}");
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_order() {
    let server = start(Wanted::default()).await;
    let mut client = server.connect().await;
    let request = |id: &str| format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {id}\r\n\r\n");
    client
        .send(&(request("one") + &request("two") + &request("three")))
        .await;
    for id in ["one", "two", "three"] {
        assert_eq!(client.reply().await.header("x-request-id"), Some(id));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_counted() {
    let server = start(impatient(Timeouts {
        slow_reader: SOON,
        ..Timeouts::default()
    }))
    .await;
    let mut client = server.connect().await;
    client
        .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Do: flood\r\nContent-Length: 0\r\n\r\n")
        .await;
    server.metric("toolgate_slow_readers_dropped_total 1").await;
    server.metric("toolgate_in_flight 0").await;
    client.closed().await;
}

#[tokio::test]
async fn connections_over_the_cap_are_closed_and_a_place_that_falls_free_is_taken() {
    const CAP: usize = 8;
    let server = start(Wanted {
        bounds: Bounds {
            connections_max: CAP,
            ..Wanted::default().bounds
        },
        ..Wanted::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..CAP {
        held.push(server.connect().await);
    }
    server.metric("toolgate_connections 8").await;
    for _ in 0..40 {
        server.connect().await.closed().await;
    }
    server
        .metric(r#"toolgate_limit_hits_total{limit="connections_max"} 40"#)
        .await;
    server.metric("toolgate_connections 8").await;
    for client in &mut held {
        client
            .send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(client.reply().await.status, 200);
    }
    held.pop();
    server.metric("toolgate_connections 7").await;
    lives(&server).await;
}

#[tokio::test]
async fn heads_that_are_too_long_or_have_too_many_lines_are_431_and_the_client_reads_it() {
    let server = start(Wanted::default()).await;
    let filler = |bytes: usize| format!("X-Filler: {}", "x".repeat(bytes));
    let fits = server
        .ask("GET /livez", &[&filler(limits::HEADER_BYTES_MAX - 200)])
        .await;
    assert_eq!(fits.status, 200);
    for bytes in [limits::HEADER_BYTES_MAX, 10 * limits::HEADER_BYTES_MAX] {
        assert_eq!(
            server.ask("GET /livez", &[&filler(bytes)]).await.status,
            431,
            "{bytes}"
        );
    }
    let lines = vec!["X-Line: 1"; limits::HEADER_COUNT_MAX];
    assert_eq!(server.ask("GET /livez", &lines[1..]).await.status, 200);
    assert_eq!(server.ask("GET /livez", &lines).await.status, 431);
}

#[tokio::test]
async fn what_is_not_http_is_400() {
    let server = start(Wanted::default()).await;
    for bytes in [
        "\u{16}\u{3}\u{1}hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(bytes).await;
        assert_eq!(client.reply().await.status, 400, "{bytes:?}");
    }
    lives(&server).await;
}

#[tokio::test]
async fn a_body_over_the_cap_is_413_even_for_a_client_that_goes_on_sending() {
    let server = start(Wanted::default()).await;
    let mut client = server.connect().await;
    let bytes = 8 * limits::MIB;
    client
        .send(&format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n"
        ))
        .await;
    client.stream.write_all(&vec![b'x'; bytes]).await.unwrap();
    assert_eq!(client.reply().await.status, 413);
}

#[tokio::test]
async fn a_chunked_body_is_413_as_soon_as_it_passes_the_cap() {
    let server = start(Wanted::default()).await;
    let mut client = server.connect().await;
    client
        .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("{BODY_BYTES_MAX:x}\r\n{}\r\n", "x".repeat(BODY_BYTES_MAX));
    client.send(&chunk).await;
    client.send("1\r\nx\r\n").await;
    assert_eq!(client.reply().await.status, 413);
}

#[tokio::test]
async fn a_body_of_the_cap_passes_in_either_form() {
    let server = start(Wanted::default()).await;
    let body = "x".repeat(BODY_BYTES_MAX);
    let plain = format!("Content-Length: {BODY_BYTES_MAX}\r\n\r\n{body}");
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{BODY_BYTES_MAX:x}\r\n{body}\r\n0\r\n\r\n");
    for rest in [plain, chunked] {
        let mut client = server.connect().await;
        client
            .send(&format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{rest}"))
            .await;
        assert_eq!(client.reply().await.body, format!("local {BODY_BYTES_MAX}"));
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_and_frees_its_place() {
    let server = start(Wanted::default()).await;
    let mut client = server.connect().await;
    client
        .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 408);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    server.metric("toolgate_in_flight 0").await;
    client.closed().await;
}
