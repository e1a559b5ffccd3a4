//! Bounds and bad input.

use super::*;

#[tokio::test]
async fn lists_come_in_pages_with_cursors_of_ones_own() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let list = |cursor: Option<&str>| {
        let params = cursor.map_or(json!({}), |cursor| json!({"cursor": cursor}));
        request(1, "tools/list", params)
    };
    let first = rig.legacy("alice", None, list(None)).await.json().await;
    assert_eq!(first["result"]["tools"].as_array().unwrap().len(), 2);
    let cursor = first["result"]["nextCursor"].as_str().unwrap().to_owned();
    let second = rig.legacy("alice", None, list(Some(&cursor))).await.json().await;
    assert_eq!(second["result"]["tools"][0]["name"], "far");
    assert!(second["result"].get("nextCursor").is_none());
    for (key, cursor) in [("bob", &*cursor), ("alice", "rubbish"), ("alice", "")] {
        let refused = rig.legacy(key, None, list(Some(cursor))).await.json().await;
        assert_eq!(refused["error"]["code"], -32602, "{key} {cursor}");
    }
    let other = request(1, "prompts/list", json!({"cursor": cursor}));
    assert_eq!(
        rig.legacy("alice", None, other).await.json().await["error"]["code"],
        -32602
    );
}

#[tokio::test]
async fn one_user_cannot_take_every_place() {
    let rig = rig(|call| async move {
        let _ = call.events.send(progress()).await;
        std::future::pending().await
    })
    .await;
    let call = |id: u64| request(id, "tools/call", json!({"name": "echo"}));
    let mut open = Vec::new();
    for id in 0..3 {
        open.push(rig.legacy("alice", None, call(id)).await);
    }
    let refused = rig.legacy("alice", None, call(4)).await.json().await;
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("Too many calls"),
        "{refused}"
    );
    assert_eq!(rig.legacy("bob", None, call(1)).await.kind(), "text/event-stream");
}

#[tokio::test]
async fn bad_bodies_get_their_status_and_code() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let rows: [(&str, u16, Option<i64>); 5] = [
        ("{", 400, Some(-32700)),
        ("\u{feff}{}", 400, Some(-32700)),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#,
            400,
            Some(-32600),
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            400,
            Some(-32600),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"nope"}"#, 200, Some(-32601)),
    ];
    for (text, status, code) in rows {
        let got = rig.send("POST", "alice", &[], text).await;
        assert_eq!(got.status, status, "{text}");
        let body = got.json().await;
        assert_eq!(body["error"]["code"].as_i64(), code, "{text}");
        assert_eq!(body["error"]["data"]["requestId"], "rq", "{text}");
    }
    let large = "x".repeat(rig.service.0.parts.limits.request_body_bytes_max + 1);
    assert_eq!(rig.send("POST", "alice", &[], large).await.status, 413);
    assert_eq!(
        rig.send("POST", "alice", &[("accept", "text/html")], "{}")
            .await
            .status,
        406
    );
    assert_eq!(rig.send("PUT", "alice", &[], "").await.status, 405);
}

#[tokio::test]
async fn a_gateway_that_fails_is_named() {
    let rig = rig(|_| async move {
        Err(CallError::Unavailable {
            gateway: crate::ids::GatewayId::new("g"),
            reason: "connection refused".to_owned(),
        })
    })
    .await;
    let got = rig
        .legacy("alice", None, request(1, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    assert_eq!(
        got["error"]["message"],
        "gateway g is not available: connection refused"
    );
    assert_eq!(got["error"]["data"], json!({"gateway": "g", "requestId": "rq"}));
}

#[tokio::test]
async fn too_many_sessions_end_the_one_that_idles_longest() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(rig.initialize("alice").await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ping = || request(1, "ping", json!({}));
    rig.legacy("alice", Some(&ids[0]), ping()).await;
    rig.initialize("alice").await;
    let mut alive = Vec::new();
    for id in &ids {
        alive.push(rig.legacy("alice", Some(id), ping()).await.status);
    }
    assert_eq!(alive, [200, 404, 200]);
}
