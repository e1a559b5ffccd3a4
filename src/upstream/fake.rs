//! A link whose other end is the test: it sees each call and list and chooses what comes of it.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::transport::{Announced, ListError, Transport};
use crate::catalog::listing::{Item, Kind, Listing};
use crate::catalog::route::Route;
use crate::config;
use crate::exchange::{Answer, Call, CallError, Client, Event, Scope, queue};
use crate::identity::Identity;
use crate::ids::GatewayId;
use crate::policy::Permit;
use crate::protocol::json::Raw;
use crate::protocol::message::Message;
use crate::protocol::version::{Era, ProtocolVersion};

type OnCall = Box<dyn Fn(Call) -> BoxFuture<'static, Result<Answer, CallError>> + Send + Sync>;
type OnWatch = Box<dyn Fn(Arc<Client>) -> BoxFuture<'static, Result<(), CallError>> + Send + Sync>;
type OnList = Box<dyn Fn(usize) -> BoxFuture<'static, Result<Listing, ListError>> + Send + Sync>;

/// The link.
pub(crate) struct Fake {
    on_call: OnCall,
    on_list: OnList,
    on_watch: OnWatch,
    changes: watch::Sender<Announced>,
    /// How many calls, lists, notices and shut-downs there were.
    pub(crate) calls: AtomicUsize,
    pub(crate) lists: AtomicUsize,
    pub(crate) notices: AtomicUsize,
    pub(crate) shut_downs: AtomicUsize,
    /// Clients whose scope ended, and those that watch something, whenever they asked.
    pub(crate) ended: std::sync::Mutex<Vec<Scope>>,
    pub(crate) watchers: std::sync::Mutex<Vec<Arc<Client>>>,
}

impl Fake {
    /// A link that answers each call at once and lists the tool `echo`.
    pub(crate) fn new() -> Self {
        Self {
            on_call: Box::new(|_| ready(Ok(answer(r#"{"content":[]}"#))).boxed()),
            on_list: Box::new(|_| ready(Ok(listing(&["echo"]))).boxed()),
            changes: watch::Sender::new(Announced::default()),
            calls: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
            notices: AtomicUsize::new(0),
            shut_downs: AtomicUsize::new(0),
            on_watch: Box::new(|_| ready(Ok(())).boxed()),
            ended: std::sync::Mutex::default(),
            watchers: std::sync::Mutex::default(),
        }
    }

    pub(crate) fn on_call<F>(mut self, on_call: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Answer, CallError>> + Send + 'static,
    {
        self.on_call = Box::new(move |call| on_call(call).boxed());
        self
    }

    /// The list's number (from 0) is given.
    pub(crate) fn on_list<F>(mut self, on_list: impl Fn(usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Listing, ListError>> + Send + 'static,
    {
        self.on_list = Box::new(move |number| on_list(number).boxed());
        self
    }

    pub(crate) fn on_watch<F>(mut self, on_watch: impl Fn(Arc<Client>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), CallError>> + Send + 'static,
    {
        self.on_watch = Box::new(move |client| on_watch(client).boxed());
        self
    }

    pub(crate) fn announce(&self) {
        self.changes.send_modify(|announced| announced.link += 1);
    }
}

impl Transport for Fake {
    fn call<'a>(&'a self, _: &'a Route, call: Call) -> BoxFuture<'a, Result<Answer, CallError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        (self.on_call)(call)
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, ListError>> {
        (self.on_list)(self.lists.fetch_add(1, Ordering::SeqCst))
    }

    fn changes(&self) -> watch::Receiver<Announced> {
        self.changes.subscribe()
    }

    fn watch_resource<'a>(
        &'a self,
        _: &'a Route,
        client: &'a Arc<Client>,
        _: bool,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        self.notices.fetch_add(1, Ordering::SeqCst);
        self.watchers.lock().expect("unpoisoned").push(Arc::clone(client));
        (self.on_watch)(Arc::clone(client))
    }

    fn roots_changed<'a>(&'a self, _: &'a Client) -> BoxFuture<'a, ()> {
        self.notices.fetch_add(1, Ordering::SeqCst);
        ready(()).boxed()
    }

    fn scope_ended<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        self.notices.fetch_add(1, Ordering::SeqCst);
        self.ended.lock().expect("unpoisoned").push(client.scope.clone());
        ready(()).boxed()
    }

    fn era(&self) -> Option<Era> {
        Some(Era::Modern)
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        self.shut_downs.fetch_add(1, Ordering::SeqCst);
        ready(()).boxed()
    }
}

pub(crate) fn gateway_config(name: &str) -> config::Gateway {
    config::Gateway {
        name: GatewayId::new(name),
        transport: config::Transport::Http {
            url: "http://127.0.0.1:9/mcp".parse().expect("a URL"),
            headers: Vec::new(),
            era: config::EraChoice::Auto,
        },
        timeout: Duration::from_mins(1),
        in_flight_max: 8,
        required: false,
        allow: None,
        deny: Vec::new(),
        rename: BTreeMap::new(),
        prefix: None,
    }
}

pub(crate) fn client() -> Arc<Client> {
    let identity = Identity::new(None).expect("no keys");
    Arc::new(Client {
        principal: identity.authenticate(&http::HeaderMap::new()).expect("local"),
        scope: Scope::Stateless,
        version: ProtocolVersion::V2026_07_28,
        capabilities: Raw::literal(r#"{"elicitation":{}}"#),
        info: None,
        outbox: None,
    })
}

/// A call of a tool, and where its events come out.
pub(crate) fn tool_call() -> (Call, queue::Receiver<Event>) {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let Ok(Message::Request(request)) = Message::parse(Bytes::from_static(text.as_bytes())) else {
        panic!("no request")
    };
    let (events, received) = queue::bounded(4);
    let call = Call {
        request,
        client: client(),
        log_level: None,
        request_state: None,
        task: None,
        cancel: CancellationToken::new(),
        events: events.into(),
        streams: false,
        traceparent: None,
        request_id: None,
    };
    (call, received)
}

pub(crate) fn permit(gateway: &str) -> Permit {
    let route = Route {
        kind: Kind::Tool,
        gateway: GatewayId::new(gateway),
        exposed: "echo".into(),
        own: "echo".into(),
        param_headers: Arc::new([]),
        repeatable: false,
        index: None,
    };
    Permit::for_test(Arc::clone(&client().principal), Arc::new(route))
}

pub(crate) fn answer(result: &str) -> Answer {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
    response(text)
}

pub(crate) fn error_answer(code: i64) -> Answer {
    response(format!(
        r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"no"}}}}"#
    ))
}

fn response(text: String) -> Answer {
    let Ok(Message::Response(response)) = Message::parse(Bytes::from(text)) else {
        panic!("no response")
    };
    Answer {
        response,
        era: Era::Modern,
    }
}

pub(crate) fn broken(gateway: &str) -> CallError {
    CallError::Failed {
        gateway: GatewayId::new(gateway),
        reason: "connection refused".to_owned(),
        sent: false,
    }
}

pub(crate) fn listing(tools: &[&str]) -> Listing {
    let item = |name: &&str| {
        let text = format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#);
        Item::read(Kind::Tool, Raw::parse(&Bytes::from(text)).expect("JSON")).expect("a tool")
    };
    Listing {
        tools: tools.iter().map(item).collect(),
        ..Listing::default()
    }
}

/// What was published, in its order.
#[derive(Default)]
pub(crate) struct Shelf(std::sync::Mutex<Vec<Put>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// Which gateway's tools, by name.
    Tools(String, Vec<String>),
    Looked(String),
    Removed(String),
}

impl Shelf {
    pub(crate) fn all(&self) -> Vec<Put> {
        self.0.lock().expect("unpoisoned").clone()
    }

    pub(crate) fn tools(&self, gateway: &str) -> Vec<Vec<String>> {
        let of = |put| match put {
            Put::Tools(name, tools) if name == gateway => Some(tools),
            _ => None,
        };
        self.all().into_iter().filter_map(of).collect()
    }

    fn put(&self, put: Put) {
        self.0.lock().expect("unpoisoned").push(put);
    }
}

impl super::publish::Publish for Shelf {
    fn publish(&self, gateway: &GatewayId, listing: Listing) {
        let tools = listing.tools.iter().map(|tool| tool.own.to_string()).collect();
        self.put(Put::Tools(gateway.to_string(), tools));
    }

    fn announced(&self, _: &GatewayId, _: Announced, _: Announced) {}

    fn looked(&self, gateway: &GatewayId) {
        self.put(Put::Looked(gateway.to_string()));
    }

    fn remove(&self, gateway: &GatewayId) {
        self.put(Put::Removed(gateway.to_string()));
    }
}
