//! Calls that several gateways may know an answer to, each with the test at its other end.

use std::collections::BTreeMap;
use std::future::ready;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::catalog::listing::{Item, Listing};
use crate::catalog::{Catalog, Naming};
use crate::config;
use crate::exchange::queue;
use crate::limits::URI_BYTES_MAX;
use crate::policy::Rules;
use crate::protocol::json::Raw;
use crate::protocol::message::Message;
use crate::supervisor::Supervisor;
use crate::telemetry::Metrics;
use crate::upstream::fake::{Fake, answer, broken, client};
use crate::upstream::transport::Transport;

const FILE: &str = r#"
[gateways.a]
url = "http://127.0.0.1:8/mcp"
[gateways.b]
url = "http://127.0.0.1:9/mcp"
"#;

/// What gateways `a` and `b` do.
async fn proxy(a: Fake, b: Fake) -> Proxy {
    let file = config::File {
        name: "gateways.toml".to_owned(),
        text: FILE.to_owned(),
    };
    let sources = config::Sources::new(Some(file), BTreeMap::new(), config::Flags::default());
    let config = config::load(&sources).unwrap().config;
    let catalog = Arc::new(Catalog::new(Naming::of(&config)));
    let (a, b): (Arc<dyn Transport>, Arc<dyn Transport>) = (Arc::new(a), Arc::new(b));
    let make = Box::new(move |gateway: &config::Gateway| {
        if gateway.name.as_str() == "a" {
            a.clone()
        } else {
            b.clone()
        }
    });
    let metrics = Arc::new(Metrics::new());
    let gateways = Gateways::new(make, catalog.clone(), Supervisor::new(), metrics);
    let mut changes = catalog.changes();
    gateways.apply(&config.gateways);
    while catalog.snapshot().parts().len() < 2 {
        changes.changed().await.unwrap();
    }
    let policy = Policy::new(catalog, Rules::of(&config).unwrap());
    Proxy::new(Arc::new(policy), Arc::new(gateways))
}

fn listing(uri: &str) -> Listing {
    let text = format!(r#"{{"uri":"{uri}","name":"r"}}"#);
    Listing {
        resources: vec![Item::read(Kind::Resource, Raw::parse(&Bytes::from(text)).unwrap()).unwrap()],
        has_resources: true,
        ..Listing::default()
    }
}

fn read(uri: &str, state: Option<Raw>) -> Call {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"{uri}"}}}}"#);
    let Ok(Message::Request(request)) = Message::parse(Bytes::from(text)) else {
        panic!("no request")
    };
    Call {
        request,
        client: client(),
        log_level: None,
        request_state: state,
        task: None,
        cancel: CancellationToken::new(),
        events: queue::bounded(4).0.into(),
        streams: false,
        traceparent: None,
        request_id: None,
    }
}

fn error(code: i64, message: &str) -> Answer {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"{message}"}}}}"#);
    let Ok(Message::Response(response)) = Message::parse(Bytes::from(text)) else {
        panic!("no response")
    };
    Answer {
        response,
        era: Era::Modern,
    }
}

fn lists(uri: &'static str) -> Fake {
    Fake::new().on_list(move |_| ready(Ok(listing(uri))))
}

#[tokio::test]
async fn a_gateway_that_may_know_a_uri_and_fails_is_named() {
    let a = lists("one://a").on_call(|_| ready(Err(broken("a"))));
    let b = lists("two://b").on_call(|_| ready(Ok(error(-32002, "no"))));
    let proxy = proxy(a, b).await;
    let failed = proxy.call(read("one://unlisted", None)).await.unwrap_err();
    assert!(
        matches!(&failed, ProxyError::Call(CallError::Failed { gateway, .. }) if gateway.as_str() == "a"),
        "{failed}"
    );
}

#[tokio::test]
async fn what_a_gateway_says_of_a_uri_that_it_lists_is_told() {
    let proxy = proxy(
        lists("one://a").on_call(|_| ready(Ok(error(-32602, "page 7 of 3")))),
        lists("two://b").on_call(|_| ready(Ok(error(-32602, "page 8 of 3")))),
    )
    .await;
    let told = proxy.call(read("one://a", None)).await.unwrap();
    assert!(matches!(told.response.outcome, Outcome::Error(error) if error.message == "page 7 of 3"));
    let unknown = proxy.call(read("one://unlisted", None)).await.unwrap_err();
    assert!(matches!(unknown, ProxyError::UnknownResource(_)), "{unknown}");
}

#[tokio::test]
async fn a_uri_that_is_too_long_is_asked_of_nobody() {
    let proxy = proxy(lists("one://a"), lists("two://b")).await;
    let long = format!("one://{}", "x".repeat(URI_BYTES_MAX));
    let refused = proxy.call(read(&long, None)).await.unwrap_err();
    assert!(matches!(refused, ProxyError::InvalidParams(_)), "{refused}");
    assert!(proxy.watch_resource(&client(), &long).await.is_err());
}

#[tokio::test]
async fn answers_to_a_gateways_questions_go_back_to_that_gateway_alone() {
    for asks in [
        r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list","params":{}}},"requestState":"of-b"}"#,
        r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list","params":{}}}}"#,
    ] {
        let (told, mut heard) = mpsc::channel(8);
        let a = lists("one://a").on_call(move |call: Call| {
            told.try_send(call.request_state).unwrap();
            ready(Ok(error(-32002, "no")))
        });
        let b = lists("two://b").on_call(move |call: Call| {
            ready(Ok(match call.request_state {
                None if !call.request.params.as_ref().unwrap().has("inputResponses") => answer(asks),
                state => answer(&format!(
                    r#"{{"contents":[],"state":{}}}"#,
                    state.as_ref().map_or("null", Raw::as_str)
                )),
            }))
        });
        let proxy = proxy(a, b).await;
        let first = proxy.call(read("one://unlisted", None)).await.unwrap();
        assert_eq!(heard.try_recv().unwrap(), None);
        let Outcome::Result(result) = first.response.outcome else {
            panic!("no result")
        };
        let mut retry = read("one://unlisted", Some(result.get("requestState").unwrap()));
        let text = std::str::from_utf8(&retry.request.raw)
            .unwrap()
            .replace("\"uri\"", r#""inputResponses":{"k":{"roots":[]}},"uri""#);
        let Ok(Message::Request(request)) = Message::parse(Bytes::from(text)) else {
            panic!("no request")
        };
        retry.request = request;
        let done = proxy.call(retry).await.unwrap();
        assert!(heard.try_recv().is_err(), "a was given what b asked for");
        let Outcome::Result(result) = done.response.outcome else {
            panic!("no result")
        };
        let state = if asks.contains("of-b") {
            r#""of-b""#
        } else {
            "null"
        };
        assert_eq!(result.get("state").unwrap().as_str(), state);
    }
}
