//! `subscriptions/listen` of modern clients (2026-07-28, "Subscriptions"): an acknowledgement, then what was asked for
//! and nothing else, each tagged with the id of the listen request.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::Response;
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::modern_check::Declared;
use super::notices::{ListChanges, concerns};
use super::{Endpoint, Sent, Text, legacy, reply, sessions};
use crate::catalog::route::Route;
use crate::clock;
use crate::exchange::{Client, Inbox, Outbox, Scope};
use crate::limits::{KEEP_ALIVE_INTERVAL, RESOURCE_SUBSCRIPTIONS_MAX, STREAM_QUEUE_EVENTS_MAX};
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, Notification, Request, RpcId};
use crate::protocol::meta;
use crate::protocol::method::Method;
use crate::protocol::splice::Splice;
use crate::protocol::sse;
use crate::protocol::version::ProtocolVersion;
use crate::proxy::Place;
use crate::telemetry::Counted;

/// Which changes of lists a filter may ask for.
const LISTS: [(&str, Method); 3] = [
    ("toolsListChanged", Method::ToolsListChanged),
    ("promptsListChanged", Method::PromptsListChanged),
    ("resourcesListChanged", Method::ResourcesListChanged),
];

/// Opens a listen stream. Resources are watched in a scope of the stream's own, which ends with it.
pub(super) async fn stream(
    endpoint: &Arc<Endpoint>,
    sent: &Sent,
    request: &Request,
    declared: Declared,
) -> Result<Response<Body>, Fault> {
    let filter = request
        .params
        .as_ref()
        .and_then(|params| params.object("notifications"));
    let filter =
        filter.ok_or_else(|| Fault::invalid_params("Invalid params: `notifications` must be an object"))?;
    let uris = subscriptions(&filter)?;
    let (limits, user) = (&endpoint.parts.limits, sent.principal.user());
    let at_most = limits.sessions_per_user_max;
    let place = endpoint.listening.take(user, at_most).ok_or_else(|| {
        endpoint.parts.metrics.limit_hit("sessions_per_user");
        Fault::too_many_streams(at_most)
    })?;
    let wanted: Vec<Method> = LISTS
        .into_iter()
        .filter(|(key, _)| filter.get(key).and_then(|value| value.bool()) == Some(true))
        .map(|(_, method)| method)
        .collect();
    let changes = endpoint.parts.catalog.changes();
    let told = *changes.borrow();
    let (client, inbox) = client_of(sent, &declared)?;
    let mut listening = Listening {
        endpoint: endpoint.clone(),
        client,
        inbox,
        watched: HashMap::new(),
        wanted,
        changes: ListChanges::new(changes, told),
        id: request.id.clone().detached(),
        over: false,
        tried: false,
        _place: place,
        _counted: endpoint.parts.metrics.stream_opened(),
    };
    let honoured = listening.watch(&uris).await?;
    let first = listening.acknowledgement(&filter, &honoured);
    Ok(reply::waiting(stream::unfold(
        (listening, Some(first)),
        |(mut listening, first)| async move {
            let chunk = match first {
                Some(first) => first,
                None => listening.next().await?,
            };
            Some((chunk, (listening, None)))
        },
    )))
}

fn subscriptions(filter: &Object) -> Result<Vec<String>, Fault> {
    let Some(given) = filter.get("resourceSubscriptions") else {
        return Ok(Vec::new());
    };
    let uris: Option<Vec<String>> = given.read();
    let uris = uris.ok_or_else(|| {
        Fault::invalid_params("Invalid params: `resourceSubscriptions` must be a list of URIs")
    })?;
    if uris.len() > RESOURCE_SUBSCRIPTIONS_MAX {
        return Err(Fault::invalid_params(format!(
            "Invalid params: at most {RESOURCE_SUBSCRIPTIONS_MAX} resourceSubscriptions on one stream"
        )));
    }
    Ok(uris)
}

fn client_of(sent: &Sent, declared: &Declared) -> Result<(Arc<Client>, Inbox), Fault> {
    let (outbox, inbox) = Outbox::new(STREAM_QUEUE_EVENTS_MAX);
    let client = Client {
        principal: sent.principal.clone(),
        scope: Scope::Session(sessions::scope_id()),
        version: ProtocolVersion::MODERN_LATEST,
        capabilities: legacy::kept(meta::CLIENT_CAPABILITIES, &declared.capabilities)?,
        info: declared
            .info
            .as_ref()
            .map(|info| legacy::kept(meta::CLIENT_INFO, info))
            .transpose()?,
        outbox: Some(outbox),
    };
    Ok((Arc::new(client), inbox))
}

struct Listening {
    endpoint: Arc<Endpoint>,
    client: Arc<Client>,
    inbox: Inbox,
    /// Exposed URI to where it leads.
    watched: HashMap<String, Arc<Route>>,
    wanted: Vec<Method>,
    changes: ListChanges,
    id: RpcId,
    over: bool,
    /// Whether some upstream was asked to watch something, and may hold something for it.
    tried: bool,
    _place: Place,
    _counted: Counted,
}

impl Listening {
    /// Watches resources and returns those that can be watched. Takes a place of the user meanwhile, as a call does.
    async fn watch(&mut self, uris: &[String]) -> Result<Vec<String>, Fault> {
        if uris.is_empty() {
            return Ok(Vec::new());
        }
        let _place = self.endpoint.place(self.client.principal.user())?;
        self.tried = true;
        for uri in uris {
            match self.endpoint.parts.proxy.watch_resource(&self.client, uri).await {
                Ok(route) => {
                    self.watched.insert(uri.clone(), route);
                }
                Err(error) => tracing::debug!(%error, "a resource cannot be watched"),
            }
        }
        let honoured = uris.iter().filter(|uri| self.watched.contains_key(*uri));
        Ok(honoured.cloned().collect())
    }

    fn acknowledgement(&self, filter: &Object, honoured: &[String]) -> Bytes {
        let mut notifications = Map::new();
        for (key, method) in LISTS {
            if self.wanted.contains(&method) {
                notifications.insert(key.to_owned(), Value::Bool(true));
            }
        }
        if filter.has("resourceSubscriptions") {
            notifications.insert("resourceSubscriptions".to_owned(), json!(honoured));
        }
        let params = format!(
            r#"{{"_meta":{},"notifications":{}}}"#,
            self.meta(),
            Value::Object(notifications)
        );
        Self::event(Method::SubscriptionsAcknowledged, params)
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let quiet_until = clock::now() + KEEP_ALIVE_INTERVAL;
        loop {
            let out = tokio::select! {
                biased;
                () = self.endpoint.parts.draining.cancelled() => {
                    self.over = true;
                    self.ending()
                }
                Some(said) = self.inbox.recv() => self.updated(&said),
                changed = self.changes.next() => self.changed(&changed),
                () = tokio::time::sleep_until(quiet_until) => return Some(Bytes::from_static(sse::KEEP_ALIVE)),
            };
            if !out.is_empty() {
                return Some(out);
            }
        }
    }

    fn changed(&self, methods: &[Method]) -> Bytes {
        let wanted = methods.iter().filter(|method| self.wanted.contains(method));
        let texts: Vec<Bytes> = wanted
            .map(|method| Self::event(*method, format!(r#"{{"_meta":{}}}"#, self.meta())))
            .collect();
        texts.concat().into()
    }

    fn updated(&self, said: &Notification) -> Bytes {
        let uri = said.params.as_ref().and_then(|params| params.string("uri"));
        let uri = uri.unwrap_or_default();
        let mut out = BytesMut::new();
        if said.method == Method::ResourcesUpdated && self.watched.values().any(|route| concerns(route, &uri))
        {
            sse::write_event(&mut out, None, &self.tagged(said));
        }
        out.freeze()
    }

    /// Puts the id of this stream into a notification of an upstream.
    fn tagged(&self, notification: &Notification) -> Text {
        let mut splice = Splice::new(&notification.raw);
        let tag = Raw::parse(&self.meta().into()).unwrap_or(Raw::literal("{}"));
        match (&notification.meta, &notification.params) {
            (Some(meta), _) => splice.set(meta, meta::SUBSCRIPTION_ID, self.id.raw()),
            (None, Some(params)) => splice.set(params, "_meta", &tag),
            (None, None) => {}
        }
        splice.done()
    }

    /// Ends the subscription in order: the empty result, then the end of the stream.
    fn ending(&self) -> Bytes {
        let result = format!(r#"{{"resultType":"complete","_meta":{}}}"#, self.meta());
        let result = Raw::parse(&result.into()).unwrap_or(Raw::literal("{}"));
        let mut out = BytesMut::new();
        sse::write_event(&mut out, None, &message::response(&self.id, &result));
        out.freeze()
    }

    fn meta(&self) -> String {
        format!(r#"{{"{}":{}}}"#, meta::SUBSCRIPTION_ID, self.id.raw().as_str())
    }

    fn event(method: Method, params: String) -> Bytes {
        let params = Raw::parse(&params.into()).ok();
        let mut out = BytesMut::new();
        sse::write_event(&mut out, None, &message::notification(method, params.as_ref()));
        out.freeze()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if !self.tried {
            return;
        }
        let (gateways, client) = (self.endpoint.parts.proxy.gateways().clone(), self.client.clone());
        self.endpoint
            .parts
            .supervisor
            .spawn("listen end", async move { gateways.scope_ended(&client).await });
    }
}
