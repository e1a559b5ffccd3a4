//! What clients send to break things, and what is left of it.

use super::*;

#[tokio::test]
async fn a_batch_that_is_no_json_is_a_parse_error_and_one_of_the_modern_era_is_refused_as_such() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    for text in ["[", "[1,", "[{\"jsonrpc\":}]"] {
        let got = rig.send("POST", "alice", &[], text).await;
        assert_eq!(got.status, 400, "{text}");
        assert_eq!(got.json().await["error"]["code"], -32700, "{text}");
    }
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-session-id", "unknown"),
    ];
    let got = rig.send("POST", "alice", &headers, "[]").await;
    assert_eq!(got.status, 400, "a modern client has no session");
    let many = format!("[{}0]", "0,".repeat(crate::limits::BATCH_MESSAGES_MAX));
    let got = rig.send("POST", "alice", &[], many).await;
    assert_eq!(
        got.json().await["error"]["message"],
        "Invalid request: too many messages in one batch"
    );
}
