//! Whom a message concerns that names no request: never another user, never another conversation.

use super::*;

/// A shared pipe with one call of each client in flight.
async fn in_flight(bench: &mut Bench, clients: &[&Client]) -> (Upstream, Vec<Flying>, Vec<Value>) {
    let mut flying = Vec::new();
    let mut calls = Vec::new();
    let mut upstream: Option<Upstream> = None;
    for client in clients {
        flying.push(bench.calls_at(client, Some(LogLevel::Info)));
        let upstream = match &mut upstream {
            Some(upstream) => upstream,
            none => {
                let mut opened = bench.opened().await;
                opened.shakes_hands().await;
                assert_eq!(opened.hears().await["method"], "logging/setLevel");
                none.insert(opened)
            }
        };
        calls.push(upstream.hears().await);
    }
    (upstream.unwrap(), flying, calls)
}

#[tokio::test(start_paused = true)]
async fn a_question_goes_to_the_newest_call_of_the_only_conversation() {
    let mut bench = Bench::new(Processes::Shared);
    let alice = person("alice", "s");
    let (mut upstream, mut flying, calls) = in_flight(&mut bench, &[&alice, &alice]).await;
    upstream.says(elicitation(1));
    settle().await;
    assert!(flying[0].heard().is_empty());
    assert_eq!(flying[1].heard()[0]["method"], "elicitation/create");
    // Its reply was dropped with the event: the upstream is told that nobody decided.
    let answer = upstream.hears().await;
    assert_eq!(
        answer,
        json!({"jsonrpc": "2.0", "id": 1, "result": {"action": "cancel"}})
    );
    upstream.answers(&calls[1]);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_refused_while_calls_of_two_conversations_are_in_flight() {
    let (alice, bob) = (person("alice", "s"), person("bob", "s"));
    for other in [&bob, &person("alice", "another")] {
        let mut bench = Bench::new(Processes::Shared);
        let (mut upstream, mut flying, _) = in_flight(&mut bench, &[&alice, other]).await;
        upstream.says(elicitation(1));
        let answer = upstream.hears().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(1), &json!(-32603))
        );
        settle().await;
        assert!(flying.iter_mut().all(|flight| flight.heard().is_empty()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_question_of_a_call_that_was_given_up_does_not_reach_another_user() {
    let mut bench = Bench::new(Processes::Shared);
    let (alice, bob) = (person("alice", "s"), person("bob", "s"));
    let (mut upstream, mut flying, calls) = in_flight(&mut bench, &[&alice, &bob]).await;
    flying[0].cancel.cancel();
    let told = upstream.hears().await;
    assert_eq!(told["method"], "notifications/cancelled");
    assert_eq!(told["params"]["requestId"], calls[0]["id"]);
    upstream.says(elicitation(1));
    assert_eq!(upstream.hears().await["error"]["code"], -32603);
    settle().await;
    assert!(
        flying[1].heard().is_empty(),
        "bob was asked what was meant for alice"
    );
    advance(ABANDONED_CALL_AGE_MAX).await;
    upstream.says(elicitation(2));
    settle().await;
    assert_eq!(
        flying[1].heard().len(),
        1,
        "a server that keeps silent blocks nobody for good"
    );
}

#[tokio::test(start_paused = true)]
async fn requests_outside_of_calls_are_refused_and_pings_answered() {
    let mut bench = Bench::new(Processes::Shared);
    let (mut upstream, flying, calls) = in_flight(&mut bench, &[&person("alice", "s")]).await;
    upstream.answers(&calls[0]);
    for flight in flying {
        flight.lands().await.unwrap();
    }
    upstream.says(json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}));
    assert_eq!(
        upstream.hears().await,
        json!({"jsonrpc": "2.0", "id": "p", "result": {}})
    );
    for method in ["roots/list", "elicitation/create", "vendor/odd"] {
        upstream.says(json!({"jsonrpc": "2.0", "id": 7, "method": method}));
        assert_eq!(upstream.hears().await["error"]["code"], -32601, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn log_messages_go_to_the_only_conversation_or_to_nobody_on_a_shared_pipe() {
    let mut bench = Bench::new(Processes::Shared);
    let (outbox, mut received) = Outbox::new(4);
    let mut alice = person("alice", "s");
    alice.outbox = Some(outbox);
    let bob = person("bob", "s");
    let (upstream, mut flying, calls) = in_flight(&mut bench, &[&alice, &bob]).await;
    upstream.says(log_message("error"));
    settle().await;
    assert!(
        flying.iter_mut().all(|flight| flight.heard().is_empty()),
        "whose is it?"
    );
    upstream.answers(&calls[1]);
    settle().await;
    upstream.says(log_message("debug"));
    upstream.says(log_message("error"));
    settle().await;
    let heard = flying[0].heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0]["params"]["level"], "error");
    upstream.answers(&calls[0]);
    settle().await;
    upstream.says(log_message("error"));
    settle().await;
    assert!(received.try_recv().is_err(), "a shared pipe belongs to nobody");
}

#[tokio::test(start_paused = true)]
async fn log_messages_outside_of_calls_go_to_the_sessions_of_the_pipes_user() {
    let mut bench = Bench::new(Processes::PerUser);
    let (outbox, mut received) = Outbox::new(4);
    let mut alice = person("alice", "s");
    alice.outbox = Some(outbox);
    let (upstream, flying, calls) = in_flight(&mut bench, &[&alice]).await;
    upstream.answers(&calls[0]);
    for flight in flying {
        flight.lands().await.unwrap();
    }
    upstream.says(log_message("debug"));
    upstream.says(log_message("warning"));
    let heard = received.recv().await.unwrap();
    assert_eq!(heard.params.unwrap().string("level").as_deref(), Some("warning"));
    bench.duplex.scope_ended(&alice).await;
    upstream.says(log_message("error"));
    settle().await;
    assert!(received.try_recv().is_err(), "the session is over");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_up_nobody_else_and_still_gets_its_answer() {
    let mut bench = Bench::new(Processes::Shared);
    let (alice, bob) = (person("alice", "s"), person("bob", "s"));
    let (upstream, mut flying, calls) = in_flight(&mut bench, &[&alice, &bob]).await;
    let token = &calls[0]["params"]["_meta"]["progressToken"];
    let many = STREAM_QUEUE_EVENTS_MAX * 10;
    for step in 0..many {
        let params = json!({"progressToken": token, "progress": step});
        upstream.says(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
    }
    upstream.answers(&calls[1]);
    upstream.answers(&calls[0]);
    let bobs = flying.pop().unwrap();
    timeout(Duration::from_secs(1), bobs.lands())
        .await
        .unwrap()
        .unwrap();
    let mut alices = flying.pop().unwrap();
    settle().await;
    let heard = loop {
        let heard = alices.heard();
        settle().await;
        if alices.events.is_empty() {
            break heard;
        }
    };
    assert!(heard.len() < many, "something had to go");
    assert!(heard.iter().all(|told| told["params"]["progressToken"] == "mine"));
    alices.lands().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_answer_is_heard_before_it() {
    let mut bench = Bench::new(Processes::Shared);
    let (upstream, mut flying, calls) = in_flight(&mut bench, &[&person("alice", "s")]).await;
    let token = &calls[0]["params"]["_meta"]["progressToken"];
    for step in 0..20 {
        let params = json!({"progressToken": token, "progress": step});
        upstream.says(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
    }
    upstream.answers(&calls[0]);
    upstream.answers(&calls[0]);
    let mut flight = flying.pop().unwrap();
    settle().await;
    assert_eq!(flight.heard().len(), 20);
    flight.lands().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_upstream_is_told_of_the_lowest_level_that_is_wanted() {
    let mut bench = Bench::new(Processes::Shared);
    let (mut upstream, _flying, _) = in_flight(&mut bench, &[&person("alice", "s")]).await;
    let bob = person("bob", "s");
    let _quieter = bench.calls_at(&bob, Some(LogLevel::Error));
    assert_eq!(
        upstream.hears().await["method"],
        "tools/call",
        "info is told already"
    );
    let _louder = bench.calls_at(&bob, Some(LogLevel::Debug));
    let told = upstream.hears().await;
    assert_eq!(
        (&told["method"], &told["params"]["level"]),
        (&json!("logging/setLevel"), &json!("debug"))
    );
    assert_eq!(upstream.hears().await["method"], "tools/call");
    let _silent = bench.calls(&bob);
    assert_eq!(upstream.hears().await["method"], "tools/call");
    upstream.hears_nothing();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_message_fails_its_call_at_once() {
    let mut bench = Bench::new(Processes::Shared);
    let (upstream, flying, calls) = in_flight(&mut bench, &[&person("alice", "s")]).await;
    let id = &calls[0]["id"];
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"content":[]}}}}"#);
    assert!(upstream.0.inbox.message(&Bytes::from(text)).is_err());
    for flight in flying {
        let error = flight.refusal().await;
        assert!(error.contains("same key twice"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_malformed_is_answered() {
    let mut bench = Bench::new(Processes::Shared);
    let (mut upstream, _flying, _) = in_flight(&mut bench, &[&person("alice", "s")]).await;
    upstream.says(json!({"jsonrpc": "2.0", "id": 1, "method": 7}));
    let answer = upstream.hears().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(1), &json!(-32600))
    );
}

#[tokio::test(start_paused = true)]
async fn the_roots_of_a_session_are_told_to_its_own_pipe_only() {
    let mut bench = Bench::new(Processes::PerSession);
    let alice = person("alice", "s");
    let (mut upstream, _flying, _) = in_flight(&mut bench, &[&alice]).await;
    bench.duplex.roots_changed(&person("bob", "s")).await;
    upstream.hears_nothing();
    bench.duplex.roots_changed(&alice).await;
    assert_eq!(
        upstream.hears().await["method"],
        "notifications/roots/list_changed"
    );
}
