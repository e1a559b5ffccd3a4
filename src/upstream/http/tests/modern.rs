use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::fake::{Conn, Fake, Seen};
use super::{text, tool_names};
use crate::catalog::listing::Kind;
use crate::catalog::route::Route;
use crate::exchange::{CallError, Event, Outbox, Scope};
use crate::ids::SessionId;
use crate::protocol::json::Raw;
use crate::protocol::param_headers;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::upstream::fixture::{call_of, client, request, tool_route};
use crate::upstream::transport::Transport;

const META: &str = "io.modelcontextprotocol/";

/// A modern upstream; `answer` gets what is neither discovery nor lists.
async fn modern<F, A>(answer: F) -> Fake
where
    F: Fn(Seen, Conn) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let answer = Arc::new(answer);
    Fake::start(move |seen, mut conn| {
        let answer = Arc::clone(&answer);
        async move {
            match seen.method() {
                "server/discover" => {
                    let capabilities = json!({"tools": {"listChanged": true}, "resources": {"subscribe": true}});
                    let result = json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities, "instructions": "i"});
                    conn.result(&seen, result).await;
                }
                "tools/list" => {
                    let tool = json!({"name": "t", "inputSchema": {"type": "object"}});
                    conn.result(&seen, json!({"resultType": "complete", "tools": [tool], "ttlMs": 7000})).await;
                }
                "resources/list" => conn.result(&seen, json!({"resources": []})).await,
                "resources/templates/list" => conn.error(404, &seen, -32601).await,
                _ => answer(seen, conn).await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn lists_are_asked_for_with_the_metadata_that_the_era_wants() {
    let fake = modern(|_, mut conn| async move { conn.hung_up().await }).await;
    let transport = fake.transport();
    let listing = transport.list().await.unwrap();
    assert_eq!(tool_names(&listing), ["t"]);
    assert_eq!(listing.ttl, Some(Duration::from_secs(7)));
    assert_eq!(listing.instructions.as_deref(), Some("i"));
    assert!(listing.subscribe && listing.has_resources && !listing.completions);
    assert_eq!(transport.era(), Some(Era::Modern));
    for seen in fake.all() {
        assert_eq!(seen.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(seen.header("mcp-method"), Some(seen.method()));
        let meta = &seen.message["params"]["_meta"];
        assert_eq!(meta[format!("{META}protocolVersion")], "2026-07-28");
        assert_eq!(meta[format!("{META}clientCapabilities")], json!({}));
        assert_eq!(meta[format!("{META}clientInfo")]["name"], "toolgate");
    }
}

#[tokio::test]
async fn a_legacy_clients_call_goes_out_with_headers_and_metadata() {
    let fake =
        modern(|seen, mut conn| async move { conn.result(&seen, json!({"resultType": "complete"})).await })
            .await;
    let (mut call, _events) = call_of(client(r#"{"roots":{}}"#), 8);
    call.request = request(
        r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"x__t","arguments":{"region":"Zürich","n":1e2}}}"#,
    );
    call.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let schema = r#"{"properties":{"region":{"type":"string","x-mcp-header":"Region"}}}"#;
    let mut route = tool_route("x__t", "t ü");
    route.param_headers = param_headers::annotated(&Raw::literal(schema)).unwrap().into();
    let answer = fake.transport().call(&route, call).await.unwrap();
    assert_eq!(answer.era, Era::Modern);
    let seen = fake.of("POST tools/call").remove(0);
    assert_eq!(seen.header("mcp-method"), Some("tools/call"));
    assert_eq!(seen.header("mcp-name"), Some("=?base64?dCDDvA==?="));
    assert_eq!(seen.header("mcp-param-region"), Some("=?base64?WsO8cmljaA==?="));
    assert!(
        seen.header("traceparent")
            .is_some_and(|parent| parent.starts_with("00-0af7"))
    );
    assert_eq!((seen.header("mcp-session-id"), seen.id()), (None, &json!(9)));
    let params = &seen.message["params"];
    assert_eq!(params["name"], "t ü");
    assert_eq!(
        params["_meta"][format!("{META}clientCapabilities")],
        json!({"roots": {}})
    );
    assert_eq!(params["_meta"][format!("{META}logLevel")], "warning");
    assert!(seen.body.contains(r#""arguments":{"region":"Zürich","n":1e2}"#));
}

#[tokio::test]
async fn headers_that_do_not_fit_any_more_say_that_the_list_is_stale() {
    let fake = modern(|seen, mut conn| async move { conn.error(400, &seen, -32020).await }).await;
    let transport = fake.transport();
    let mut changes = transport.changes();
    let (call, _events) = call_of(client("{}"), 8);
    let error = transport.call(&tool_route("t", "t"), call).await.unwrap_err();
    assert!(matches!(error, CallError::Stale { .. }), "{error}");
    assert!(changes.has_changed().unwrap(), "the lists are asked for again");
    changes.mark_unchanged();
    assert_eq!(fake.of("POST tools/call").len(), 1);
}

#[tokio::test]
async fn input_required_becomes_questions_for_a_legacy_client_only() {
    let fake = modern(|seen, mut conn| async move {
        let params = &seen.message["params"];
        if params["requestState"] == "s1" {
            let given = params["inputResponses"].clone();
            conn.result(&seen, json!({"resultType": "complete", "given": given}))
                .await;
        } else {
            let asks = json!({"who": {"method": "elicitation/create", "params": {"message": "?"}}});
            conn.result(
                &seen,
                json!({"resultType": "input_required", "inputRequests": asks, "requestState": "s1"}),
            )
            .await;
        }
    })
    .await;
    let transport = fake.transport();
    let route = tool_route("t", "t");
    let (call, mut events) = call_of(client(r#"{"elicitation":{}}"#), 8);
    let person = async {
        let Some(Event::Question(question)) = events.recv().await else {
            panic!("no question")
        };
        question
            .reply
            .send(Ok(Raw::literal(r#"{"action":"decline"}"#)))
            .unwrap();
    };
    let (answer, ()) = tokio::join!(transport.call(&route, call), person);
    assert!(text(&answer.unwrap()).contains(r#""given":{"who":{"action":"decline"}}"#));
    let calls = fake.of("POST tools/call");
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].id(), calls[1].id(), "a retry has a new id");

    let mut caller = client(r#"{"elicitation":{}}"#);
    caller.version = ProtocolVersion::MODERN_LATEST;
    let (call, _events) = call_of(caller, 8);
    let answer = transport.call(&route, call).await.unwrap();
    assert!(text(&answer).contains("input_required"));
    assert_eq!(fake.of("POST tools/call").len(), 3);
}

#[tokio::test]
async fn a_question_without_an_answer_ends_the_call_and_does_not_blame_the_upstream() {
    let fake = modern(|seen, mut conn| async move {
        let asks = json!({"m": {"method": "sampling/createMessage", "params": {}}});
        conn.result(
            &seen,
            json!({"resultType": "input_required", "inputRequests": asks}),
        )
        .await;
    })
    .await;
    let (call, _events) = call_of(client("{}"), 8);
    let error = fake
        .transport()
        .call(&tool_route("t", "t"), call)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("sampling/createMessage"));
}

#[tokio::test]
async fn cancelling_closes_the_stream_and_says_nothing() {
    let (closed, mut was_closed) = watch::channel(false);
    let fake = modern(move |_, mut conn| {
        let closed = closed.clone();
        async move {
            conn.events().await;
            conn.hung_up().await;
            closed.send_replace(true);
        }
    })
    .await;
    let transport = fake.transport();
    let (call, _events) = call_of(client("{}"), 8);
    let cancel = call.cancel.clone();
    let route = tool_route("t", "t");
    let mut running = transport.call(&route, call);
    tokio::select! {
        _ = &mut running => panic!("it cannot end"),
        _ = fake.wait("POST tools/call", 1) => {}
    }
    cancel.cancel();
    assert!(matches!(running.await, Err(CallError::Cancelled)));
    was_closed.wait_for(|closed| *closed).await.unwrap();
    assert_eq!(fake.titles(), ["POST server/discover", "POST tools/call"]);
}

#[tokio::test]
async fn a_server_request_on_a_modern_stream_is_dropped_and_a_lost_stream_is_a_failed_call() {
    let fake = modern(|_, mut conn| async move {
        conn.events().await;
        conn.event(&json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"}))
            .await;
    })
    .await;
    let (call, mut events) = call_of(client(r#"{"roots":{}}"#), 8);
    let error = fake
        .transport()
        .call(&tool_route("t", "t"), call)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Failed { sent: true, .. }), "{error}");
    assert!(events.try_recv().is_err());
    assert!(fake.of("POST (response)").is_empty());
}

fn acknowledged(seen: &Seen) -> Value {
    let params = json!({"_meta": {format!("{META}subscriptionId"): seen.id()}, "notifications": seen.message["params"]["notifications"]});
    json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params})
}

#[tokio::test]
async fn changes_come_by_a_listen_stream_that_is_opened_again_when_lost() {
    let (say, said) = watch::channel(0);
    let fake = modern(move |seen, mut conn| {
        let (mut said, now) = (said.clone(), *said.borrow());
        async move {
            conn.events().await;
            conn.event(&acknowledged(&seen)).await;
            said.wait_for(|said| *said > now).await.unwrap();
            conn.event(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
                .await;
        }
    })
    .await;
    let transport = fake.transport();
    let mut changes = transport.changes();
    transport.list().await.unwrap();
    let listens = fake.wait("POST subscriptions/listen", 1).await;
    let filter = json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true});
    assert_eq!(listens[0].message["params"]["notifications"], filter);
    changes.mark_unchanged();
    say.send_replace(1);
    changes.changed().await.unwrap();
    fake.wait("POST subscriptions/listen", 2).await;
    changes.changed().await.unwrap();
}

#[tokio::test]
async fn watched_resources_are_the_filter_of_one_stream_for_each_scope() {
    let fake = modern(|seen, mut conn| async move {
        conn.events().await;
        conn.event(&acknowledged(&seen)).await;
        let meta = json!({format!("{META}subscriptionId"): seen.id()});
        for uri in seen.message["params"]["notifications"]["resourceSubscriptions"]
            .as_array()
            .unwrap()
        {
            let params = json!({"_meta": meta, "uri": uri});
            conn.event(
                &json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params}),
            )
            .await;
        }
        conn.hung_up().await;
    })
    .await;
    let transport = fake.transport();
    let (outbox, mut received) = Outbox::new(8);
    let mut caller = client("{}");
    caller.scope = Scope::Session(SessionId::new("s"));
    caller.outbox = Some(outbox);
    let caller = Arc::new(caller);
    let route = |own: &str, exposed: &str| Route {
        kind: Kind::Resource,
        ..tool_route(exposed, own)
    };
    transport
        .watch_resource(&route("r:1", "x:1"), &caller, true)
        .await
        .unwrap();
    let update = received.recv().await.unwrap();
    assert_eq!(
        std::str::from_utf8(&update.raw).unwrap(),
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{},"uri":"x:1"}}"#
    );
    transport
        .watch_resource(&route("r:2", "r:2"), &caller, true)
        .await
        .unwrap();
    let listens = fake.of("POST subscriptions/listen");
    assert_eq!(listens.len(), 2);
    assert_eq!(
        listens[1].message["params"]["notifications"],
        json!({"resourceSubscriptions": ["r:1", "r:2"]})
    );
    transport
        .watch_resource(&route("r:1", "x:1"), &caller, false)
        .await
        .unwrap();
    let listens = fake.wait("POST subscriptions/listen", 3).await;
    assert_eq!(
        listens[2].message["params"]["notifications"],
        json!({"resourceSubscriptions": ["r:2"]})
    );
    assert!(listens.iter().all(|seen| {
        seen.headers
            .contains_key(HeaderName::from_static("mcp-method").as_str())
    }));
}
