//! What the rest of the house sees of requests: places, metrics, spans, log lines.

use super::*;
use crate::web::MostlyWaits;

#[tokio::test]
async fn streams_that_wait_for_news_say_so_and_streams_of_calls_do_not() {
    let rig = rig(asking).await;
    let session = rig.initialize("alice").await;
    let accept = [("mcp-session-id", &*session), ("accept", "text/event-stream")];
    let get = rig.send("GET", "alice", &accept, "").await;
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let listen = rig
        .modern("alice", stateless("L", "subscriptions/listen", filter))
        .await;
    let call = request(5, "tools/call", json!({"name": "echo"}));
    let call = rig.legacy("alice", Some(&session), call).await;
    for (stream, waits) in [(get, true), (listen, true), (call, false)] {
        assert_eq!(stream.kind(), "text/event-stream");
        assert_eq!(stream.extensions.get::<MostlyWaits>().is_some(), waits);
    }
}
