//! Legacy clients: handshake, sessions, batches.

use super::*;

#[tokio::test]
async fn initialize_offers_the_nearest_version_and_opens_a_session() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    for (asked, given) in [
        ("2025-06-18", "2025-06-18"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let got = rig.legacy("alice", None, initialize(asked)).await;
        assert_eq!(got.status, 200);
        assert!(
            got.headers
                .get("mcp-session-id")
                .unwrap()
                .to_str()
                .unwrap()
                .bytes()
                .all(|b| b.is_ascii_graphic())
        );
        let result = &got.json().await["result"];
        assert_eq!(result["protocolVersion"], given);
        assert_eq!(result["capabilities"]["tools"]["listChanged"], true);
        assert_eq!(result["serverInfo"]["name"], "toolgate");
    }
}

#[tokio::test]
async fn a_session_belongs_to_its_user_alone() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let session = rig.initialize("alice").await;
    let ping = || request(1, "ping", json!({}));
    assert_eq!(rig.legacy("alice", Some(&session), ping()).await.status, 200);
    let foreign = rig.legacy("bob", Some(&session), ping()).await;
    let unknown = rig.legacy("bob", Some("nope"), ping()).await;
    assert_eq!((foreign.status, unknown.status), (404, 404));
    assert_eq!(foreign.text().await, unknown.text().await);
    let accept = [("mcp-session-id", &*session), ("accept", "text/event-stream")];
    assert_eq!(rig.send("GET", "bob", &accept, "").await.status, 404);
    assert_eq!(rig.send("DELETE", "bob", &accept, "").await.status, 404);
    assert_eq!(rig.send("DELETE", "alice", &accept, "").await.status, 204);
    assert_eq!(rig.legacy("alice", Some(&session), ping()).await.status, 404);
}

#[tokio::test]
async fn a_plain_call_is_answered_with_json_under_its_own_id_without_a_session() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let message = r#"{"jsonrpc":"2.0","id":"q-1","method":"tools/call","params":{"name":"echo","arguments":{"n":1e999}}}"#;
    let got = rig.send("POST", "alice", &[], message).await;
    assert_eq!((got.status, got.kind()), (200, "application/json"));
    assert_eq!(
        got.text().await,
        r#"{"jsonrpc":"2.0","id":"q-1","result":{"content":[],"x":{"n":1e999}}}"#
    );
}

#[tokio::test]
async fn refused_and_unknown_look_alike() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let call = |name: &str| request(1, "tools/call", json!({"name": name}));
    let refused = rig.legacy("narrow", None, call("echo")).await.text().await;
    let unknown = rig.legacy("narrow", None, call("ochi")).await.text().await;
    assert_eq!(refused.replace("echo", "ochi"), unknown);
    let list = rig
        .legacy("narrow", None, request(1, "tools/list", json!({})))
        .await
        .json()
        .await;
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn batches_are_for_the_one_revision_that_has_them() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let batch = json!([
        request(1, "ping", json!({})),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request(2, "tools/call", json!({"name": "echo"})),
        {"jsonrpc": "2.0", "id": 3},
    ]);
    let answers = rig.legacy("alice", None, batch.clone()).await.json().await;
    let ids: Vec<&Value> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["id"])
        .collect();
    assert_eq!(ids, [&json!(1), &json!(2), &json!(3)]);
    assert_eq!(answers[2]["error"]["code"], -32600);
    let session = rig.initialize("alice").await;
    let refused = rig.legacy("alice", Some(&session), batch).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json().await["error"]["code"], -32600);
    assert_eq!(rig.legacy("alice", None, json!([])).await.status, 400);
}
