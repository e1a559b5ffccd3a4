//! Modern clients: metadata, questions by `input_required`, tasks.

use super::*;

/// What, the message, its headers, and the status and code that it gets.
type Row<'a> = (&'a str, Value, &'a [(&'a str, &'a str)], u16, i64);

#[tokio::test]
async fn a_modern_client_is_asked_by_input_required_and_retries() {
    let rig = rig(asking).await;
    let params = || json!({"name": "echo", "arguments": {"b": 1, "a": 2}});
    let first = rig
        .modern("alice", stateless(1, "tools/call", params()))
        .await
        .json()
        .await;
    assert_eq!(first["result"]["resultType"], "input_required");
    let (key, asked) = first["result"]["inputRequests"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    assert_eq!(asked["method"], "elicitation/create");
    let state = first["result"]["requestState"].as_str().unwrap();
    let retry = |arguments: Value, state: &str, answers: Value| {
        let params =
            json!({"name": "echo", "arguments": arguments, "requestState": state, "inputResponses": answers});
        stateless(2, "tools/call", params)
    };
    let answers = json!({key.as_str(): {"action": "decline"}});
    let same = json!({"a": 2, "b": 1});
    let refused = [
        rig.modern("bob", retry(same.clone(), state, answers.clone()))
            .await,
        rig.modern("alice", retry(json!({"a": 3, "b": 1}), state, answers.clone()))
            .await,
        rig.modern(
            "alice",
            retry(same.clone(), &format!("{state}x"), answers.clone()),
        )
        .await,
    ];
    for got in refused {
        assert_eq!(got.json().await["error"]["code"], -32602);
    }
    let again = rig
        .modern("alice", retry(same.clone(), state, json!({})))
        .await
        .json()
        .await;
    assert_eq!(
        again["result"]["resultType"], "input_required",
        "asked again when an answer is missing"
    );
    let state = again["result"]["requestState"].as_str().unwrap();
    let done = rig
        .modern("alice", retry(same.clone(), state, answers.clone()))
        .await
        .json()
        .await;
    assert_eq!(done["id"], 2);
    assert_eq!(done["result"]["told"]["action"], "decline");
    assert_eq!(done["result"]["resultType"], "complete");
    let twice = rig
        .modern("alice", retry(same, state, answers))
        .await
        .json()
        .await;
    assert_eq!(twice["error"]["code"], -32602, "answered twice");
}

#[tokio::test(start_paused = true)]
async fn a_parked_call_whose_client_never_returns_is_cancelled() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let seen = ended.clone();
    let rig = rig(move |call| {
        let seen = seen.clone();
        async move {
            let cancel = call.cancel.clone();
            let (event, answered) = question(1);
            call.events.send(event).await.unwrap();
            tokio::select! {
                _ = answered => {}
                () = cancel.cancelled() => {}
            }
            seen.lock().unwrap().push(cancel.is_cancelled());
            Err(CallError::Cancelled)
        }
    })
    .await;
    let first = rig
        .modern("alice", stateless(1, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    assert_eq!(first["result"]["resultType"], "input_required");
    assert_eq!(
        rig.service
            .0
            .parts
            .proxy
            .places()
            .taken(&crate::ids::UserId::new("alice")),
        1
    );
    tokio::time::sleep(crate::limits::QUESTION_TIMEOUT + Duration::from_secs(30)).await;
    assert_eq!(
        rig.service
            .0
            .parts
            .proxy
            .places()
            .taken(&crate::ids::UserId::new("alice")),
        0,
        "everything is free again"
    );
}

#[tokio::test]
async fn a_question_too_large_to_wait_ends_its_call() {
    let rig = rig(|call| async move {
        let text = "x".repeat(crate::limits::PARKED_CALL_TEXT_BYTES_MAX);
        let text = request(1, "sampling/createMessage", json!({ "messages": [text] }));
        let Ok(Message::Request(request)) = Message::parse(Bytes::from(text.to_string())) else {
            panic!("no request")
        };
        let (reply, answered) = oneshot::channel();
        let event = Event::Question(Question {
            request: request.into(),
            reply,
        });
        call.events.send(event).await.unwrap();
        drop(answered.await);
        call.cancel.cancelled().await;
        Err(CallError::Cancelled)
    })
    .await;
    let call = stateless(1, "tools/call", json!({"name": "echo"}));
    let got = rig.modern("alice", call).await.json().await;
    assert_eq!(got["error"]["code"], -32603);
    let parts = &rig.service.0.parts;
    assert!(parts.metrics.encode().contains("parked_text_bytes"));
    let alice = crate::ids::UserId::new("alice");
    while parts.proxy.places().taken(&alice) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_modern_upstreams_state_comes_back_to_it_unsealed() {
    let rig = rig(|call| async move {
        Ok(match &call.request_state {
            None => answer(r#"{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"mode":"form"}}},"requestState":"up-1"}"#),
            Some(state) => answer(&format!(r#"{{"resultType":"complete","content":[],"state":{}}}"#, state.as_str())),
        })
    })
    .await;
    let first = rig
        .modern("alice", stateless(1, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    let state = first["result"]["requestState"].as_str().unwrap();
    assert_ne!(state, "up-1");
    let retry = stateless(
        2,
        "tools/call",
        json!({"name": "echo", "requestState": state, "inputResponses": {"k": {"action": "accept"}}}),
    );
    assert_eq!(
        rig.modern("bob", retry.clone()).await.json().await["error"]["code"],
        -32602
    );
    assert_eq!(
        rig.modern("alice", retry).await.json().await["result"]["state"],
        "up-1"
    );
}

#[tokio::test]
async fn a_task_is_reached_by_its_own_user_alone() {
    let rig = rig(|call| async move {
        if call.request.method == crate::protocol::method::Method::ToolsCall {
            return Ok(answer(
                r#"{"resultType":"task","taskId":"up-7","status":"working"}"#,
            ));
        }
        let task = call.task.unwrap();
        let id = call.request.params.unwrap().get("taskId").unwrap();
        Ok(answer(&format!(
            r#"{{"resultType":"complete","taskId":"{}","asked":{},"status":"completed"}}"#,
            task.own,
            id.as_str()
        )))
    })
    .await;
    let first = rig
        .modern("alice", stateless(1, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    let id = first["result"]["taskId"].as_str().unwrap().to_owned();
    assert_ne!(id, "up-7");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let got = rig
            .modern("alice", stateless(2, method, json!({"taskId": id})))
            .await
            .json()
            .await;
        assert_eq!(got["result"]["taskId"], *id, "{got}");
        for (key, id) in [("bob", &*id), ("narrow", &*id), ("alice", "up-7")] {
            let refused = rig
                .modern(key, stateless(2, method, json!({"taskId": id})))
                .await
                .json()
                .await;
            assert_eq!(
                (&refused["error"]["code"], &refused["error"]["message"]),
                (&json!(-32602), &json!("Unknown task"))
            );
        }
    }
}

#[tokio::test]
async fn modern_requests_are_held_to_their_metadata() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let good = stateless(1, "tools/call", json!({"name": "echo"}));
    let bare = request(1, "tools/call", json!({"name": "echo"}));
    let version = ("mcp-protocol-version", "2026-07-28");
    let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "echo"));
    let rows: [Row<'_>; 9] = [
        (
            "version header missing",
            good.clone(),
            &[method, name],
            400,
            -32020,
        ),
        (
            "version header differs",
            good.clone(),
            &[("mcp-protocol-version", "2025-11-25"), method, name],
            400,
            -32020,
        ),
        (
            "method header missing",
            good.clone(),
            &[version, name],
            400,
            -32020,
        ),
        (
            "method header differs",
            good.clone(),
            &[version, ("mcp-method", "tools/List"), name],
            400,
            -32020,
        ),
        (
            "name header missing",
            good.clone(),
            &[version, method],
            400,
            -32020,
        ),
        (
            "name header differs",
            good.clone(),
            &[version, method, ("mcp-name", "Echo")],
            400,
            -32020,
        ),
        (
            "name header twice",
            good.clone(),
            &[version, method, name, name],
            400,
            -32020,
        ),
        ("no metadata", bare.clone(), &[version, method, name], 400, -32602),
        (
            "unknown version",
            bare,
            &[("mcp-protocol-version", "2099-01-01"), method, name],
            400,
            -32022,
        ),
    ];
    for (what, message, headers, status, code) in rows {
        let got = rig.send("POST", "alice", headers, message.to_string()).await;
        let got_status = got.status;
        let body = got.json().await;
        assert_eq!(
            (got_status, &body["error"]["code"]),
            (status, &json!(code)),
            "{what}: {body}"
        );
        assert_eq!(body["id"], 1, "{what}");
    }
    let encoded = [version, method, ("mcp-name", " =?base64?ZWNobw==?= ")];
    assert_eq!(
        rig.send("POST", "alice", &encoded, good.to_string()).await.status,
        200
    );
    for gone in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "nope",
    ] {
        let got = rig.modern("alice", stateless(1, gone, json!({}))).await;
        assert_eq!(got.status, 404, "{gone}");
        assert_eq!(got.json().await["error"]["code"], -32601, "{gone}");
    }
    let get = rig
        .send("GET", "alice", &[version, ("accept", "text/event-stream")], "")
        .await;
    assert_eq!(
        (get.status, get.headers.get("allow").unwrap().to_str().unwrap()),
        (405, "POST")
    );
}

#[tokio::test]
async fn mirrored_arguments_must_agree_with_their_headers() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let message = stateless(
        1,
        "tools/call",
        json!({"name": "far", "arguments": {"region": "eu"}}),
    )
    .to_string();
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "far"),
    ];
    let with = |value| [&headers[..], &[("mcp-param-region", value)]].concat();
    assert_eq!(
        rig.send("POST", "alice", &headers, message.clone())
            .await
            .json()
            .await["error"]["code"],
        -32020
    );
    assert_eq!(
        rig.send("POST", "alice", &with("us"), message.clone())
            .await
            .json()
            .await["error"]["code"],
        -32020
    );
    assert_eq!(rig.send("POST", "alice", &with("eu"), message).await.status, 200);
}

#[tokio::test]
async fn discover_and_lists_carry_what_modern_results_must() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    for (method, member) in [
        ("server/discover", "supportedVersions"),
        ("tools/list", "tools"),
        ("resources/list", "resources"),
    ] {
        let result = rig
            .modern("alice", stateless(1, method, json!({})))
            .await
            .json()
            .await["result"]
            .take();
        assert!(result.get(member).is_some(), "{method}");
        assert_eq!(result["resultType"], "complete");
        assert_eq!(result["cacheScope"], "private");
        assert!(result["ttlMs"].is_u64());
        assert_eq!(
            result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
            "toolgate"
        );
    }
}

#[tokio::test]
async fn a_modern_client_that_goes_away_cancels_and_a_legacy_one_does_not() {
    let (told, mut heard) = mpsc_pair();
    let rig = rig(move |call| {
        let told = told.clone();
        async move {
            let _ = call.events.send(progress()).await;
            let cancelled = tokio::time::timeout(Duration::from_millis(300), call.cancel.cancelled())
                .await
                .is_ok();
            told.send(cancelled).await.unwrap();
            Ok(echo(&call))
        }
    })
    .await;
    let mut params = json!({"name": "echo"});
    drop(
        rig.legacy("alice", None, request(1, "tools/call", params.clone()))
            .await,
    );
    assert!(!heard.recv().await.unwrap(), "legacy: the call goes on");
    params["_meta"] = json!({"progressToken": "t"});
    let mut message = stateless(1, "tools/call", params);
    message["params"]["_meta"]["progressToken"] = json!("t");
    drop(rig.modern("alice", message).await);
    // The gateway ends the call itself: its future is dropped before it can tell.
    assert!(
        tokio::time::timeout(Duration::from_millis(600), heard.recv())
            .await
            .is_err()
    );
}
