//! Streams: events and answers, GET and listen, resumption, cancellation.

use super::*;

#[tokio::test]
async fn events_come_before_the_answer_on_one_stream() {
    let rig = rig(|call| async move {
        for n in 0..100 {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"t","progress":{n}}}}}"#);
            let Ok(Message::Notification(notification)) = Message::parse(Bytes::from(text)) else { panic!() };
            call.events.send(Event::Notification(notification)).await.unwrap();
        }
        Ok(echo(&call))
    })
    .await;
    let mut events = rig
        .legacy("alice", None, request(5, "tools/call", json!({"name": "echo"})))
        .await
        .events();
    for n in 0..100 {
        assert_eq!(events.next().await.unwrap()["params"]["progress"], n);
    }
    assert_eq!(events.next().await.unwrap()["id"], 5);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_legacy_client_is_asked_on_its_stream_and_answers_by_post() {
    let rig = rig(asking).await;
    let session = rig.initialize("alice").await;
    let call = request(5, "tools/call", json!({"name": "echo"}));
    let mut events = rig.legacy("alice", Some(&session), call).await.events();
    let asked = events.next().await.unwrap();
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(asked["params"]["message"], "who?");
    let foreign = rig.initialize("bob").await;
    let reply =
        json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "content": {"n": 1}}});
    rig.legacy("bob", Some(&foreign), reply.clone()).await;
    assert_eq!(rig.legacy("alice", Some(&session), reply).await.status, 202);
    assert_eq!(events.next().await.unwrap()["result"]["told"]["content"]["n"], 1);
}

#[tokio::test]
async fn a_stream_of_a_session_is_taken_up_where_it_broke_off() {
    let rig = rig(|call| async move {
        for _ in 0..3 {
            call.events.send(progress()).await.unwrap();
        }
        tokio::task::yield_now().await;
        Ok(echo(&call))
    })
    .await;
    let session = rig.initialize("alice").await;
    let call = request(5, "tools/call", json!({"name": "echo"}));
    let mut events = rig.legacy("alice", Some(&session), call).await.events();
    assert_eq!(events.next().await.unwrap()["method"], "notifications/progress");
    assert!(events.primed);
    let last = events.last_id.clone().unwrap();
    drop(events);
    let accept = [
        ("mcp-session-id", &*session),
        ("accept", "text/event-stream"),
        ("last-event-id", &*last),
    ];
    let mut rest = rig.send("GET", "alice", &accept, "").await.events();
    for _ in 0..2 {
        assert_eq!(rest.next().await.unwrap()["method"], "notifications/progress");
    }
    assert_eq!(rest.next().await.unwrap()["id"], 5);
    assert!(rest.next().await.is_none());
    let foreign = rig.initialize("bob").await;
    let stolen = [
        ("mcp-session-id", &*foreign),
        ("accept", "text/event-stream"),
        ("last-event-id", &*last),
    ];
    rig.draining.cancel();
    let mut nothing = rig.send("GET", "bob", &stolen, "").await.events();
    assert!(
        nothing.next().await.is_none(),
        "an event id is good in its own session only"
    );
}

#[tokio::test]
async fn a_question_without_a_session_is_answered_by_nobody() {
    let rig = rig(asking).await;
    let got = rig
        .legacy("alice", None, request(5, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    assert_eq!(got["result"]["told"], "nobody");
}

#[tokio::test]
async fn a_legacy_client_cancels_by_notification() {
    let rig = rig(|call| async move {
        let _ = call.events.send(progress()).await;
        call.cancel.cancelled().await;
        Err(CallError::Cancelled)
    })
    .await;
    let session = rig.initialize("alice").await;
    let mut events = rig
        .legacy(
            "alice",
            Some(&session),
            request("x", "tools/call", json!({"name": "echo"})),
        )
        .await
        .events();
    events.next().await.unwrap();
    let again = rig
        .legacy(
            "alice",
            Some(&session),
            request("x", "tools/call", json!({"name": "echo"})),
        )
        .await
        .json()
        .await;
    assert_eq!(again["error"]["code"], -32600, "an id in use");
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "x"}});
    assert_eq!(rig.legacy("alice", Some(&session), cancel).await.status, 202);
    assert!(events.next().await.is_none(), "no answer follows a cancellation");
}

#[tokio::test]
async fn clients_hear_of_changed_lists_on_get_and_listen_streams() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let session = rig.initialize("alice").await;
    let accept = [("mcp-session-id", &*session), ("accept", "text/event-stream")];
    let mut get = rig.send("GET", "alice", &accept, "").await.events();
    let filter =
        json!({"notifications": {"toolsListChanged": true, "promptsListChanged": false, "unknown": true}});
    let mut listen = rig
        .modern("alice", stateless("L", "subscriptions/listen", filter))
        .await
        .events();
    let first = listen.next().await.unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"]["notifications"],
        json!({"toolsListChanged": true})
    );
    let tag = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(first["params"]["_meta"][tag], "L");
    let more = Listing {
        tools: vec![item(Kind::Tool, "new", "")],
        ..Listing::default()
    };
    rig.catalog.publish(&crate::ids::GatewayId::new("g"), more);
    let mut heard = [
        get.next().await.unwrap(),
        get.next().await.unwrap(),
        get.next().await.unwrap(),
    ];
    heard.sort_by_key(|message| message["method"].to_string());
    let methods: Vec<&str> = heard
        .iter()
        .map(|message| message["method"].as_str().unwrap())
        .collect();
    assert_eq!(
        methods,
        [
            "notifications/prompts/list_changed",
            "notifications/resources/list_changed",
            "notifications/tools/list_changed"
        ]
    );
    let changed = listen.next().await.unwrap();
    assert_eq!(
        (&changed["method"], &changed["params"]["_meta"][tag]),
        (&json!("notifications/tools/list_changed"), &json!("L"))
    );
    rig.draining.cancel();
    assert!(get.next().await.is_none());
    let end = listen.next().await.unwrap();
    assert_eq!(
        (&end["id"], &end["result"]["_meta"][tag]),
        (&json!("L"), &json!("L"))
    );
    assert!(listen.next().await.is_none());
}

#[tokio::test]
async fn a_newer_get_stream_takes_over() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let session = rig.initialize("alice").await;
    let accept = [("mcp-session-id", &*session), ("accept", "text/event-stream")];
    let mut first = rig.send("GET", "alice", &accept, "").await.events();
    let mut second = rig.send("GET", "alice", &accept, "").await.events();
    assert!(first.next().await.is_none());
    rig.catalog
        .publish(&crate::ids::GatewayId::new("g"), Listing::default());
    assert!(
        second.next().await.unwrap()["method"]
            .as_str()
            .unwrap()
            .ends_with("list_changed")
    );
}

#[test]
fn the_buffer_of_a_stream_is_what_was_written() {
    let mut out = BytesMut::new();
    crate::protocol::sse::write_event(&mut out, None, b"{}");
    assert_eq!(&out[..], b"event: message\ndata: {}\n\n");
}

const FLOWING: &str = r#"{"jsonrpc":"2.0","id":5,"result":{"content":[]}}"#;

/// An upstream whose answer comes in pieces, after some progress; the last piece may be missing.
async fn flowing(call: Call, before: usize, whole: bool) -> Result<Answer, CallError> {
    for _ in 0..before {
        call.events.send(progress()).await.unwrap();
    }
    let (pieces, flow) = crate::exchange::Flow::new(FLOWING.len() as u64);
    call.events.send(Event::Answer(flow)).await.unwrap();
    for piece in FLOWING.as_bytes().chunks(9).take(if whole { 99 } else { 2 }) {
        pieces.send(Bytes::copy_from_slice(piece)).await.unwrap();
        // What is said beside has no place in the answer and must not hold it up.
        for _ in 0..30 {
            call.events.send(progress()).await.unwrap();
        }
    }
    if !whole {
        return Err(CallError::Failed {
            gateway: crate::ids::GatewayId::new("g"),
            reason: "it broke off".to_owned(),
            sent: true,
        });
    }
    let mut answer = answer("{}");
    answer.response.passed = Some(FLOWING.len() as u64);
    answer.era = Era::Legacy;
    Ok(answer)
}

#[tokio::test]
async fn an_answer_that_flows_leaves_as_json_of_its_length() {
    let rig = rig(|call| flowing(call, 0, true)).await;
    for session in [None, Some(rig.initialize("alice").await)] {
        let call = request(5, "tools/call", json!({"name": "echo"}));
        let got = rig.legacy("alice", session.as_deref(), call).await;
        assert_eq!((got.status, got.kind()), (200, "application/json"));
        let length = got.headers.get(http::header::CONTENT_LENGTH).unwrap();
        assert_eq!(length.to_str().unwrap(), FLOWING.len().to_string());
        assert_eq!(got.text().await, FLOWING);
    }
}

#[tokio::test]
async fn an_answer_that_flows_behind_events_is_one_event() {
    let rig = rig(|call| flowing(call, 1, true)).await;
    for session in [None, Some(rig.initialize("alice").await)] {
        let call = request(5, "tools/call", json!({"name": "echo"}));
        let mut events = rig.legacy("alice", session.as_deref(), call).await.events();
        let mut last = events.next().await.unwrap();
        assert_eq!(last["method"], "notifications/progress");
        while let Some(event) = events.next().await {
            last = event;
        }
        assert_eq!(
            last.to_string(),
            FLOWING.replace(r#""jsonrpc":"2.0","id":5,"#, r#""id":5,"jsonrpc":"2.0","#)
        );
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_the_response_off_or_is_an_error_on_a_stream() {
    let rig = rig(|call| {
        let before = usize::from(call.request.id.raw().as_str() == "6");
        flowing(call, before, false)
    })
    .await;
    let call = |id| request(id, "tools/call", json!({"name": "echo"}));
    let got = rig.legacy("alice", None, call(5)).await;
    assert!(got.body.collect().await.is_err());
    let mut events = rig.legacy("alice", None, call(6)).await.events();
    let mut last = Value::Null;
    while let Some(event) = events.next().await {
        last = event;
    }
    assert_eq!(last["id"], 6);
    assert!(
        last["error"]["message"].as_str().unwrap().contains("broke off"),
        "{last}"
    );
}

#[tokio::test]
async fn an_answer_that_flows_is_put_into_the_array_of_a_batch() {
    let rig = rig(|call| flowing(call, 0, true)).await;
    let batch = json!([request(5, "tools/call", json!({"name": "echo"}))]);
    let got = rig.legacy("alice", None, batch).await;
    assert_eq!(got.json().await[0]["result"], json!({"content": []}));
}
