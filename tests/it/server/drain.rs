//! The end: requests finish, idle connections close, what is left is cut.

use std::time::Duration;

use tokio::net::TcpStream;

use super::kit::{Wanted, start};
use toolgate::server::{Bounds, Drained};

const WAIT: &str = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Do: wait\r\nContent-Length: 0\r\n\r\n";
const HANG: &str = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Do: hang\r\nContent-Length: 0\r\n\r\n";

fn with_drain_timeout(drain_timeout: Duration) -> Wanted {
    Wanted {
        bounds: Bounds {
            drain_timeout,
            ..Wanted::default().bounds
        },
        ..Wanted::default()
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_idle_connections_close_and_new_ones_are_refused() {
    let server = start(Wanted::default()).await;
    let mut busy = server.connect().await;
    busy.send(WAIT).await;
    let mut idle = server.connect().await;
    idle.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.reply().await.status, 200);
    server.metric("toolgate_in_flight 1").await;

    let address = server.address;
    server.shutdown.begin();
    idle.closed().await;
    assert!(TcpStream::connect(address).await.is_err());
    let reply = busy.reply().await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "waited"));
    assert_eq!(reply.header("connection"), Some("close"));
    drop((busy, idle));
    assert_eq!(server.drained().await, Drained::Clean);
}

#[tokio::test]
async fn readiness_falls_as_soon_as_the_end_begins() {
    let server = start(Wanted::default()).await;
    let mut client = server.connect().await;
    // Half a head: the connection is busy with it when the end begins.
    client.send("GET /readyz HTTP/1.1\r\nHost: loc").await;
    server.metric("toolgate_connections 1").await;
    server.shutdown.begin();
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send("alhost\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (503, r#"{"status":"draining"}"#)
    );
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let server = start(with_drain_timeout(Duration::from_millis(200))).await;
    let mut hanging = server.connect().await;
    hanging.send(HANG).await;
    server.metric("toolgate_in_flight 1").await;
    server.shutdown.begin();
    let took = hanging.closed().await;
    assert!(took >= Duration::from_millis(150), "{took:?}");
    server.metric("toolgate_in_flight 0").await;
    assert_eq!(server.drained().await, Drained::Cut);
}

#[tokio::test]
async fn a_second_word_cuts_at_once() {
    let server = start(with_drain_timeout(Duration::from_mins(10))).await;
    let mut hanging = server.connect().await;
    hanging.send(HANG).await;
    server.metric("toolgate_in_flight 1").await;
    server.shutdown.begin();
    server.shutdown.cut();
    hanging.closed().await;
    assert_eq!(server.drained().await, Drained::Cut);
}
