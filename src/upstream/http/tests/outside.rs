//! What happens outside of calls: GET streams, watched resources, the ends of scopes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use super::fake::{Conn, Fake, SESSION};
use crate::catalog::listing::Kind;
use crate::catalog::route::Route;
use crate::exchange::{CallError, Client, Event, Inbox, Outbox, Scope};
use crate::ids::SessionId;
use crate::protocol::json::Raw;
use crate::upstream::fixture::{call_of, client, tool_route};
use crate::upstream::transport::Transport;

/// A legacy upstream whose GET streams say what the test sends; `null` forgets every session and ends them.
async fn talking() -> (Fake, broadcast::Sender<Value>) {
    let (say, _) = broadcast::channel(16);
    let speaker = say.clone();
    let fake = Fake::start(move |seen, mut conn| {
        // Before anything is awaited: whoever saw the request may speak at once.
        let said = speaker.subscribe();
        async move {
            match (seen.verb.as_str(), seen.method()) {
                ("GET", _) => stream(&mut conn, said).await,
                ("DELETE", _) => conn.status(200, "", "").await,
                (_, "server/discover") => conn.error(400, &seen, -32000).await,
                (_, "initialize") => {
                    let capabilities = json!({"tools": {"listChanged": true}, "resources": {"subscribe": true}, "logging": {}});
                    let result = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities});
                    let body = json!({"jsonrpc": "2.0", "id": seen.id(), "result": result}).to_string();
                    let id = seen.id().as_str().unwrap().to_owned();
                    let headers = format!("content-type: application/json\r\nmcp-session-id: {id}\r\n");
                    conn.status(200, &headers, &body).await;
                }
                (_, "tools/list") => conn.result(&seen, json!({"tools": []})).await,
                (_, "resources/list") => conn.result(&seen, json!({"resources": []})).await,
                (_, "resources/templates/list") => conn.error(200, &seen, -32601).await,
                (_, method) if method.is_empty() || method.starts_with("notifications/") => {
                    conn.status(202, "", "").await;
                }
                _ if seen.message["params"]["name"] == "hold" => conn.hung_up().await,
                _ => conn.result(&seen, json!({})).await,
            }
        }
    })
    .await;
    (fake, say)
}

async fn stream(conn: &mut Conn, mut said: broadcast::Receiver<Value>) {
    conn.events().await;
    conn.raw(b"retry: 50\n\n").await;
    while let Ok(message) = said.recv().await {
        if message.is_null() {
            return;
        }
        conn.event(&message).await;
    }
}

fn notice(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

fn hearing_client(session: &str) -> (Arc<Client>, Inbox) {
    let (outbox, received) = Outbox::new(8);
    let mut caller = client(r#"{"roots":{}}"#);
    caller.scope = Scope::Session(SessionId::new(session));
    caller.outbox = Some(outbox);
    (Arc::new(caller), received)
}

fn resource(own: &str, exposed: &str) -> Route {
    Route {
        kind: Kind::Resource,
        exposed: exposed.into(),
        ..tool_route(exposed, own)
    }
}

async fn within<T>(wanted: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), wanted)
        .await
        .expect("nothing came")
}

#[tokio::test]
async fn changes_of_lists_are_counted() {
    let (fake, say) = talking().await;
    let transport = fake.transport();
    let mut changes = transport.changes();
    transport.list().await.unwrap();
    fake.wait("GET", 1).await;
    let before = *changes.borrow_and_update();
    say.send(notice("notifications/tools/list_changed", &json!({})))
        .unwrap();
    within(changes.changed()).await.unwrap();
    assert_ne!(*changes.borrow_and_update(), before);
}

#[tokio::test]
async fn a_lost_stream_is_opened_again_and_counts_as_a_change() {
    let (fake, say) = talking().await;
    let transport = fake.transport();
    let mut changes = transport.changes();
    transport.list().await.unwrap();
    fake.wait("GET", 1).await;
    say.send(Value::Null).unwrap();
    fake.wait("GET", 2).await;
    within(changes.changed()).await.unwrap();
}

#[tokio::test]
async fn what_concerns_a_client_reaches_its_outbox_and_nothing_else_does() {
    let (fake, say) = talking().await;
    let transport = fake.transport();
    let (caller, mut received) = hearing_client("a");
    let (other, mut others) = hearing_client("b");
    let route = resource("r://1", "g+r://1");
    transport.watch_resource(&route, &caller, true).await.unwrap();
    transport
        .watch_resource(&resource("r://2", "r://2"), &other, true)
        .await
        .unwrap();
    fake.wait("GET", 2).await;
    let (mut call, _events) = call_of(client("{}"), 1);
    call.client = Arc::clone(&caller);
    transport.call(&tool_route("t", "t"), call).await.unwrap();
    for message in [
        notice(
            "notifications/progress",
            &json!({"progressToken": "mine", "progress": 1}),
        ),
        notice("notifications/message", &json!({"level": "debug", "data": 1})),
        notice("notifications/message", &json!({"level": "error", "data": 2})),
        notice("notifications/resources/updated", &json!({"uri": "r://1"})),
        notice(
            "notifications/elicitation/complete",
            &json!({"elicitationId": "e"}),
        ),
    ] {
        say.send(message).unwrap();
    }
    let first = within(received.recv()).await.unwrap();
    assert_eq!(first.params.unwrap().get("data").unwrap().u64(), Some(2));
    let second = within(received.recv()).await.unwrap();
    assert_eq!(second.params.unwrap().string("uri").unwrap(), "g+r://1");
    let third = within(received.recv()).await.unwrap();
    assert_eq!(third.params.unwrap().string("elicitationId").unwrap(), "e");
    let of_other = within(others.recv()).await.unwrap();
    assert!(
        of_other.params.unwrap().has("elicitationId"),
        "no update of what another watches"
    );
}

#[tokio::test]
async fn what_comes_on_the_get_stream_belongs_to_the_only_call_that_runs() {
    let (fake, say) = talking().await;
    let transport = fake.transport();
    let (one, mut heard) = call_of(client(r#"{"roots":{}}"#), 8);
    let (two, mut others) = call_of(client(r#"{"roots":{}}"#), 8);
    let (one_cancel, two_cancel) = (one.cancel.clone(), two.cancel.clone());
    let (route, ask) = (
        tool_route("t", "hold"),
        json!({"jsonrpc": "2.0", "id": 3, "method": "roots/list"}),
    );
    let script = async {
        let calls = fake.wait("POST tools/call", 1).await;
        fake.wait("GET", 1).await;
        let token = &calls[0].message["params"]["_meta"]["progressToken"];
        say.send(notice(
            "notifications/progress",
            &json!({"progressToken": token, "progress": 1}),
        ))
        .unwrap();
        say.send(ask.clone()).unwrap();
        let event = within(heard.recv()).await;
        let Some(Event::Notification(progress)) = event else {
            panic!("no progress but {event:?} for {token}")
        };
        assert_eq!(progress.params.unwrap().string("progressToken").unwrap(), "mine");
        let Some(Event::Question(question)) = within(heard.recv()).await else {
            panic!("no question")
        };
        question.reply.send(Ok(Raw::literal(r#"{"roots":[]}"#))).unwrap();
        let answers = fake.wait("POST (response)", 1).await;
        assert_eq!(
            answers[0].body,
            r#"{"jsonrpc":"2.0","id":3,"result":{"roots":[]}}"#
        );
        one_cancel.cancel();
    };
    let (ended, ()) = tokio::join!(transport.call(&route, one), script);
    assert!(matches!(ended, Err(CallError::Cancelled)));

    let (three, mut thirds) = call_of(client(r#"{"roots":{}}"#), 8);
    let three_cancel = three.cancel.clone();
    let script = async {
        fake.wait("POST tools/call", 3).await;
        say.send(ask.clone()).unwrap();
        let answers = fake.wait("POST (response)", 2).await;
        assert!(answers[1].body.contains("error"), "nobody knows whose it is");
        two_cancel.cancel();
        three_cancel.cancel();
    };
    let _ = tokio::join!(transport.call(&route, two), transport.call(&route, three), script);
    assert!(others.try_recv().is_err() && thirds.try_recv().is_err());
}

#[tokio::test]
async fn requests_outside_of_calls_are_refused_and_pings_answered() {
    let (fake, say) = talking().await;
    let transport = fake.transport();
    transport.list().await.unwrap();
    fake.wait("GET", 1).await;
    say.send(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}))
        .unwrap();
    let pong = fake.wait("POST (response)", 1).await;
    assert_eq!(pong[0].body, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    say.send(json!({"jsonrpc": "2.0", "id": 2, "method": "roots/list"}))
        .unwrap();
    let refused = fake.wait("POST (response)", 2).await;
    assert!(refused[1].body.starts_with(r#"{"jsonrpc":"2.0","id":2,"error""#));
}

#[tokio::test]
async fn a_watched_resource_is_subscribed_once_and_unsubscribed_at_the_end() {
    let (fake, _say) = talking().await;
    let transport = fake.transport();
    let (caller, _received) = hearing_client("a");
    let route = resource("r://1", "x");
    transport.watch_resource(&route, &caller, true).await.unwrap();
    transport.watch_resource(&route, &caller, true).await.unwrap();
    transport.watch_resource(&route, &caller, false).await.unwrap();
    transport.watch_resource(&route, &caller, false).await.unwrap();
    let subscribed = fake.of("POST resources/subscribe");
    assert_eq!(subscribed.len(), 1);
    assert_eq!(subscribed[0].message["params"]["uri"], "r://1");
    assert_eq!(fake.of("POST resources/unsubscribe").len(), 1);
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_without_blaming_the_upstream() {
    let fake = Fake::legacy(json!({"resources": {}}), |seen, mut conn| async move {
        conn.result(&seen, json!({})).await;
    })
    .await;
    let (caller, _received) = hearing_client("a");
    let error = fake
        .transport()
        .watch_resource(&resource("r://1", "r://1"), &caller, true)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
    assert!(fake.of("POST resources/subscribe").is_empty());
}

#[tokio::test]
async fn watched_resources_survive_an_upstream_that_forgot_the_session() {
    let first = Arc::new(std::sync::Mutex::new(None::<String>));
    let (end, ended) = watch::channel(false);
    let known = Arc::clone(&first);
    let fake = Fake::start(move |seen, mut conn| {
        let (known, mut ended) = (Arc::clone(&known), ended.clone());
        async move {
            let session = seen.header(SESSION).map(str::to_owned);
            let old = known.lock().unwrap().clone();
            match (seen.verb.as_str(), seen.method()) {
                (_, "server/discover") => conn.status(405, "", "").await,
                (_, "initialize") => {
                    let id = seen.id().as_str().unwrap().to_owned();
                    known.lock().unwrap().get_or_insert(id.clone());
                    let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"resources": {"subscribe": true}}});
                    let body = json!({"jsonrpc": "2.0", "id": seen.id(), "result": result}).to_string();
                    conn.status(200, &format!("content-type: application/json\r\nmcp-session-id: {id}\r\n"), &body).await;
                }
                _ if *ended.borrow() && session == old => conn.status(404, "", "").await,
                ("GET", _) => {
                    conn.events().await;
                    conn.raw(b"retry: 50\n\n").await;
                    ended.wait_for(|ended| *ended).await.unwrap();
                }
                (_, method) if method.starts_with("notifications/") => conn.status(202, "", "").await,
                _ => conn.result(&seen, json!({})).await,
            }
        }
    })
    .await;
    let transport = fake.transport();
    let (caller, _received) = hearing_client("a");
    transport
        .watch_resource(&resource("r://1", "r://1"), &caller, true)
        .await
        .unwrap();
    fake.wait("GET", 1).await;
    end.send_replace(true);
    let subscribed = fake.wait("POST resources/subscribe", 2).await;
    assert_ne!(subscribed[0].header(SESSION), subscribed[1].header(SESSION));
}

#[tokio::test]
async fn the_end_of_a_scope_ends_its_session_and_no_other() {
    let (fake, _say) = talking().await;
    let transport = fake.transport();
    let ((one, _r1), (two, _r2)) = (hearing_client("a"), hearing_client("b"));
    for caller in [&one, &two] {
        let (mut call, _events) = call_of(client("{}"), 1);
        call.client = Arc::clone(caller);
        transport.call(&tool_route("t", "t"), call).await.unwrap();
    }
    transport.roots_changed(&two).await;
    let told = fake.wait("POST notifications/roots/list_changed", 1).await;
    let calls = fake.of("POST tools/call");
    assert_eq!(told[0].header(SESSION), calls[1].header(SESSION));
    transport.scope_ended(&one).await;
    let deleted = fake.of("DELETE");
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0].header(SESSION), calls[0].header(SESSION));
    transport.shut_down().await;
    assert_eq!(fake.of("DELETE").len(), 2);
}
