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

fn call_of(id: u64, name: &str) -> Value {
    request(
        id,
        "tools/call",
        json!({"name": name, "arguments": {"region": "eu"}}),
    )
}

#[tokio::test]
async fn a_hidden_tool_with_mirrored_arguments_is_as_unknown_as_any() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let call = |name: &str| {
        stateless(
            1,
            "tools/call",
            json!({"name": name, "arguments": {"region": "eu"}}),
        )
    };
    let hidden = rig.modern("narrow", call("far")).await;
    assert_eq!(hidden.status, 200);
    let unknown = rig.modern("narrow", call("fur")).await.text().await;
    assert_eq!(hidden.text().await.replace("far", "fur"), unknown);
}

#[tokio::test]
async fn a_session_has_the_rights_that_its_key_has_now() {
    let mut rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let session = rig.initialize("alice").await;
    let narrowed = FILE.replace(
        r#"key = "alice-key-0123456789""#,
        r#"key = "alice-key-0123456789", tools = ["other"]"#,
    );
    rig.identity = Identity::new(config_of(&narrowed).auth.as_ref()).unwrap();
    let refused = rig.legacy("alice", Some(&session), call_of(1, "echo")).await;
    assert_eq!(refused.json().await["error"]["code"], -32602);
    let other = rig.legacy("alice", Some(&session), call_of(1, "other")).await;
    assert!(other.json().await["result"].is_object());
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_kept_only_within_bounds() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let mut huge = initialize("2025-11-25");
    huge["params"]["clientInfo"]["name"] = json!("x".repeat(1 << 20));
    let got = rig.legacy("alice", None, huge).await;
    assert_eq!(got.json().await["error"]["code"], -32602);
    let mut padded = initialize("2025-11-25");
    padded["params"]["padding"] = json!("x".repeat(1 << 20));
    let body = Bytes::from(padded.to_string());
    let got = rig.send("POST", "alice", &[], body.clone()).await;
    let id = got.headers.get("mcp-session-id").unwrap().to_str().unwrap();
    let session = rig.service.0.sessions.get(&rig.principal("alice"), id).unwrap();
    let client = &session.client;
    for kept in [&client.capabilities, client.info.as_ref().unwrap()] {
        assert!(
            !body.as_ptr_range().contains(&kept.as_bytes().as_ptr()),
            "the whole body is kept"
        );
    }
}

#[tokio::test]
async fn what_needs_a_session_is_a_bad_request_without() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let got = rig
        .legacy(
            "alice",
            None,
            request(1, "resources/subscribe", json!({"uri": "test://a"})),
        )
        .await;
    assert_eq!(got.status, 400);
    assert_eq!(got.json().await["error"]["code"], -32000);
}

fn listen(id: u64, uris: &[&str]) -> Value {
    let filter = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": uris}});
    stateless(id, "subscriptions/listen", filter)
}

#[tokio::test]
async fn one_user_cannot_open_any_number_of_listen_streams() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let mut open = Vec::new();
    for id in 0..3 {
        open.push(rig.modern("alice", listen(id, &[])).await.events());
    }
    let refused = rig.modern("alice", listen(9, &[])).await.json().await;
    assert_eq!(refused["error"]["code"], -32603, "{refused}");
    drop(rig.modern("bob", listen(1, &[])).await.events());
    open.pop();
    open.push(rig.modern("alice", listen(10, &[])).await.events());
}

#[tokio::test]
async fn watching_takes_a_place_of_the_user() {
    let fake = Fake::new()
        .on_list(|_| std::future::ready(Ok(listing())))
        .on_watch(|_| std::future::pending());
    let rig = rig_of(FILE, fake).await;
    let session = rig.initialize("alice").await;
    let subscribe = |id: u64| request(id, "resources/subscribe", json!({"uri": "test://a"}));
    let mut open = Vec::new();
    for id in 0..3 {
        let mut waiting = Box::pin(rig.legacy("alice", Some(&session), subscribe(id)));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        open.push(waiting);
    }
    let refused = rig
        .legacy("alice", Some(&session), subscribe(9))
        .await
        .json()
        .await;
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("Too many"),
        "{refused}"
    );
    let refused = rig.modern("alice", listen(1, &["test://a"])).await.json().await;
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("Too many"),
        "{refused}"
    );
    drop(open);
    let mut waiting = Box::pin(rig.legacy("alice", Some(&session), subscribe(10)));
    assert!(futures_util::poll!(&mut waiting).is_pending());
}

#[tokio::test]
async fn a_listen_stream_leaves_nothing_upstream_even_when_nothing_could_be_watched() {
    let fake = Fake::new()
        .on_list(|_| std::future::ready(Ok(listing())))
        .on_watch(|_| std::future::ready(Err(crate::upstream::fake::broken("g"))));
    let rig = rig_of(FILE, fake).await;
    let mut events = rig.modern("alice", listen(1, &["test://a"])).await.events();
    let first = events.next().await.unwrap();
    assert_eq!(
        first["params"]["notifications"]["resourceSubscriptions"],
        json!([])
    );
    drop(events);
    tokio::task::yield_now().await;
    let tried = rig.fake.watchers.lock().unwrap()[0].scope.clone();
    assert_eq!(*rig.fake.ended.lock().unwrap(), [tried]);
}

/// Two gateways list the same: `g` has its resource under another URI.
fn two_gateways() -> String {
    FILE.replace(
        "[gateways.g]",
        "[gateways.f]\nurl = \"http://127.0.0.1:8/mcp\"\n[gateways.g]",
    )
}

fn updated(uri: &str) -> crate::protocol::message::Notification {
    let text = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}});
    match Message::parse(Bytes::from(text.to_string())) {
        Ok(Message::Notification(notification)) => notification,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn updates_are_told_under_the_uri_that_the_client_watches() {
    let fake = Fake::new().on_list(|_| std::future::ready(Ok(listing())));
    let rig = rig_of(&two_gateways(), fake).await;
    let session = rig.initialize("alice").await;
    for uri in ["test://a", "gw-g+test://a"] {
        let subscribe = request(1, "resources/subscribe", json!({"uri": uri}));
        let got = rig.legacy("alice", Some(&session), subscribe).await.json().await;
        assert!(got["result"].is_object(), "{got}");
    }
    let accept = [("mcp-session-id", &*session), ("accept", "text/event-stream")];
    let mut get = rig.send("GET", "alice", &accept, "").await.events();
    let mut listening = rig
        .modern("alice", listen(1, &["test://a", "gw-g+test://a"]))
        .await
        .events();
    listening.next().await.unwrap();
    let watchers = rig.fake.watchers.lock().unwrap().clone();
    for watcher in [&watchers[0], watchers.last().unwrap()] {
        let outbox = watcher.outbox.as_ref().unwrap();
        // What upstreams hand over carries the exposed URI, or one below a watched resource.
        for uri in ["gw-g+test://a", "test://a", "test://a/below", "test://b"] {
            assert!(outbox.offer(updated(uri)));
        }
    }
    for uri in ["gw-g+test://a", "test://a", "test://a/below"] {
        assert_eq!(get.next().await.unwrap()["params"]["uri"], uri);
        assert_eq!(listening.next().await.unwrap()["params"]["uri"], uri);
    }
}

#[tokio::test]
async fn a_state_is_bound_to_arguments_that_no_number_type_holds() {
    let rig =
        rig(|_| async move { Ok(answer(r#"{"resultType":"input_required","requestState":"up-1"}"#)) }).await;
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
    ];
    let text = |n: &str, state: &str| {
        stateless(
            1,
            "tools/call",
            json!({"name": "echo", "arguments": {"n": "N"}, "requestState": "S"}),
        )
        .to_string()
        .replace("\"N\"", n)
        .replace(",\"requestState\":\"S\"", state)
    };
    let deep = |n: u8| format!("{}{n}{}", "[".repeat(200), "]".repeat(200));
    for (one, other) in [("1e400", "1e401"), (&*deep(1), &*deep(2))] {
        let first = rig
            .send("POST", "alice", &headers, text(one, ""))
            .await
            .json()
            .await;
        let state = first["result"]["requestState"].as_str().unwrap();
        let state = format!(",\"requestState\":\"{state}\"");
        let got = rig
            .send("POST", "alice", &headers, text(other, &state))
            .await
            .json()
            .await;
        assert_eq!(got["error"]["code"], -32602, "{one} {got}");
        let got = rig
            .send("POST", "alice", &headers, text(one, &state))
            .await
            .json()
            .await;
        assert_eq!(got["result"]["resultType"], "input_required", "{one} {got}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_call_waits_as_long_as_questions_may() {
    let file = FILE.replace("[limits]", "[limits]\nquestion_timeout_ms = 3600000");
    let fake = Fake::new()
        .on_call(asking)
        .on_list(|_| std::future::ready(Ok(listing())));
    let rig = rig_of(&file, fake).await;
    let params = || json!({"name": "echo"});
    let first = rig
        .modern("alice", stateless(1, "tools/call", params()))
        .await
        .json()
        .await;
    tokio::time::sleep(Duration::from_mins(50)).await;
    let mut again = params();
    again["requestState"] = first["result"]["requestState"].clone();
    again["inputResponses"] = json!({"q1": {"action": "decline"}});
    let done = rig
        .modern("alice", stateless(2, "tools/call", again))
        .await
        .json()
        .await;
    assert_eq!(done["result"]["told"]["action"], "decline", "{done}");
}

#[tokio::test]
async fn a_call_that_panics_is_answered() {
    let rig = rig(|call| async move {
        assert!(call.request.params.is_none(), "a mistake of ours");
        Ok(echo(&call))
    })
    .await;
    let session = rig.initialize("alice").await;
    let got = rig.legacy("alice", Some(&session), call_of(1, "echo")).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.json().await["error"]["code"], -32603);
}

#[tokio::test]
async fn a_small_batch_cannot_ask_for_any_number_of_bytes() {
    let rig = rig(|_| async move { Ok(answer(&format!(r#"{{"x":"{}"}}"#, "x".repeat(4 << 20)))) }).await;
    let calls: Vec<Value> = (0..64).map(|id| call_of(id, "echo")).collect();
    let got = rig.legacy("alice", None, json!(calls)).await;
    let text = got.text().await;
    assert!(text.len() < 64 << 20, "{}", text.len());
    let answers: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(answers.len(), 64);
    let last = answers.last().unwrap();
    assert!(
        last["error"]["message"].as_str().unwrap().contains("too large"),
        "{last}"
    );
}
