//! `subscriptions/listen` towards a modern upstream (2026-07-28, Subscriptions): one stream of our own for changes of
//! lists, one for each scope that watches resources. A lost stream is opened again; what happened meanwhile is lost,
//! so lists are asked for again then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::hearing::BACKOFF;
use super::link::Link;
use super::own;
use super::pool::Key;
use super::session::is_list_change;
use super::stream::EventStream;
use super::wire::Reply;
use crate::catalog::route::Route;
use crate::clock;
use crate::exchange::Client;
use crate::limits::{
    FIRST_BYTE_TIMEOUT, RECONNECT_BACKOFF_MAX, RECONNECT_HEALTHY_AFTER, UPSTREAM_SESSIONS_MAX,
};
use crate::protocol::json::Raw;
use crate::protocol::message::{Message, Notification, Outcome};
use crate::protocol::method::Method;
use crate::upstream::handshake::Offers;
use crate::upstream::outgoing;
use crate::upstream::watches::Watches;

/// The listen streams of one upstream.
#[derive(Debug)]
pub(super) struct Listeners {
    link: Arc<Link>,
    all: Mutex<HashMap<Key, Arc<Listener>>>,
}

#[derive(Debug)]
struct Listener {
    link: Arc<Link>,
    /// Who watches; `None`: we ourselves, for lists.
    client: Option<Arc<Client>>,
    watches: Watches,
    /// Counts up when another filter is wanted.
    wanted: watch::Sender<u64>,
    /// The count that the upstream has acknowledged, and why it has not.
    served: watch::Sender<(u64, Option<Fault>)>,
    ended: CancellationToken,
}

impl Listeners {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            all: Mutex::new(HashMap::new()),
        }
    }

    /// Listens for changes of lists, when the upstream tells of them.
    pub(super) fn hear_lists(&self, offers: Offers) {
        if offers.list_changed
            && let Err(fault) = self.listener(Key::Ourselves, None)
        {
            tracing::warn!(gateway.id = %self.link.gateway, reason = %fault, "changes of lists are not heard of");
        }
    }

    /// Starts or ends telling a client's outbox of changes of a resource.
    pub(super) async fn watch(&self, route: &Route, client: &Arc<Client>, wanted: bool) -> Result<(), Fault> {
        let outbox =
            (client.outbox.as_ref()).ok_or(Fault::Declined("the client has no stream to hear on"))?;
        let listener = self.listener(Key::of(client), Some(client))?;
        if !wanted {
            if listener.watches.remove(route, outbox) {
                listener.want();
            }
            return Ok(());
        }
        let first = (listener.watches)
            .add(route, outbox)
            .map_err(|_| Fault::Declined("too many resources are watched"))?;
        if !first {
            return Ok(());
        }
        let mut served = listener.served.subscribe();
        let count = listener.want();
        let acknowledged = served.wait_for(|(served, _)| *served >= count);
        let outcome = match tokio::time::timeout(FIRST_BYTE_TIMEOUT, acknowledged).await {
            Ok(Ok(served)) => served.1.clone().map_or(Ok(()), Err),
            Ok(Err(_)) => Err(Fault::ShutDown),
            Err(_) => Err(Fault::Timeout(FIRST_BYTE_TIMEOUT)),
        };
        if outcome.is_err() {
            listener.watches.remove(route, outbox);
        }
        outcome
    }

    /// Brings a resource's update that came on a call's stream to who watches it.
    pub(super) fn outside(&self, client: &Client, notification: &Notification) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = all.get(&Key::of(client))
            && notification.method == Method::ResourcesUpdated
        {
            listener.watches.tell(notification);
        }
    }

    pub(super) fn scope_ended(&self, client: &Client) {
        self.end(|key, _| key.within(client));
    }

    /// Ends the streams of scopes in which nobody watches anything.
    pub(super) fn sweep(&self) {
        self.end(|key, listener| *key != Key::Ourselves && listener.watches.is_empty());
    }

    pub(super) fn shut_down(&self) {
        self.end(|_, _| true);
    }

    fn end(&self, doomed: impl Fn(&Key, &Listener) -> bool) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|key, listener| {
            let doomed = doomed(key, listener);
            if doomed {
                listener.ended.cancel();
            }
            !doomed
        });
    }

    fn listener(&self, key: Key, client: Option<&Arc<Client>>) -> Result<Arc<Listener>, Fault> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = all.get(&key) {
            return Ok(Arc::clone(listener));
        }
        if all.len() >= UPSTREAM_SESSIONS_MAX {
            return Err(Fault::Crowded);
        }
        let listener = Arc::new(Listener {
            link: Arc::clone(&self.link),
            client: client.cloned(),
            watches: Watches::default(),
            wanted: watch::Sender::new(0),
            served: watch::Sender::new((0, None)),
            ended: self.link.down.child_token(),
        });
        all.insert(key, Arc::clone(&listener));
        let task = Arc::clone(&listener);
        self.link.supervisor.spawn("upstream listen stream", async move {
            tokio::select! {
                () = task.ended.cancelled() => {}
                () = task.run() => {}
            }
        });
        Ok(listener)
    }
}

/// How one listen stream came to its end.
enum End {
    /// Another filter is wanted; the stream is still open.
    Changed(Box<EventStream>),
    /// The upstream ended it.
    Ended,
}

impl Listener {
    /// Asks for the filter as it is now.
    fn want(&self) -> u64 {
        self.wanted.send_modify(|count| *count += 1);
        *self.wanted.borrow()
    }

    async fn run(&self) {
        let mut wanted = self.wanted.subscribe();
        let (mut failures, mut lost, mut previous) = (0, false, None);
        loop {
            let count = *wanted.borrow_and_update();
            let Some(filter) = self.filter() else {
                previous = None;
                self.served.send_replace((count, None));
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let began = clock::now();
            let outcome = self
                .listen(filter, count, lost, previous.take(), &mut wanted)
                .await;
            if began.elapsed() >= RECONNECT_HEALTHY_AFTER {
                failures = 0;
            }
            let wait = match outcome {
                Ok(End::Changed(stream)) => {
                    previous = Some(stream);
                    continue;
                }
                Ok(End::Ended) => BACKOFF.wait(failures),
                Err(fault) => {
                    tracing::debug!(gateway.id = %self.link.gateway, reason = %fault, "no listen stream");
                    // What it refuses now it will refuse in a second as well.
                    let refused = matches!(fault, Fault::Refused { .. });
                    self.served.send_replace((count, Some(fault)));
                    if refused {
                        RECONNECT_BACKOFF_MAX
                    } else {
                        BACKOFF.wait(failures)
                    }
                }
            };
            lost = true;
            failures = failures.saturating_add(1);
            self.pause(wait, &mut wanted).await;
        }
    }

    async fn pause(&self, wait: Duration, wanted: &mut watch::Receiver<u64>) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = wanted.changed() => {}
        }
    }

    /// Makes the filter to ask for; `None` when nobody wants anything.
    fn filter(&self) -> Option<Raw> {
        if self.client.is_none() {
            return Some(Raw::literal(
                r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#,
            ));
        }
        let uris = self.watches.uris();
        (!uris.is_empty()).then(|| {
            let uris: Vec<&str> = uris.iter().map(|uri| &**uri).collect();
            own::object(&[("resourceSubscriptions", Raw::of(&uris))])
        })
    }

    /// Opens one stream and reads it to its end, or until another filter is wanted.
    async fn listen(
        &self,
        filter: Raw,
        count: u64,
        lost: bool,
        previous: Option<Box<EventStream>>,
        wanted: &mut watch::Receiver<u64>,
    ) -> Result<End, Fault> {
        let mut stream = self.open(filter).await?;
        let mut previous = previous;
        loop {
            let message = tokio::select! {
                biased;
                changed = wanted.changed() => {
                    return changed.map(|()| End::Changed(stream)).map_err(|_| Fault::ShutDown);
                }
                message = stream.next_message() => message,
            };
            match message {
                Ok(None) | Err(Fault::Broken(_)) => return Ok(End::Ended),
                Err(fault) => return Err(fault),
                Ok(Some(Message::Notification(told))) if told.method == Method::SubscriptionsAcknowledged => {
                    if let Some(previous) = previous.take() {
                        self.drain(previous);
                    }
                    if lost && self.client.is_none() {
                        self.link.changed();
                    }
                    self.served.send_replace((count, None));
                }
                Ok(Some(Message::Notification(told))) => self.tell(&told),
                Ok(Some(Message::Response(response))) => {
                    return match response.outcome {
                        Outcome::Result(_) => Ok(End::Ended),
                        Outcome::Error(error) => Err(Fault::Refused {
                            method: Method::Listen.as_str(),
                            error,
                        }),
                    };
                }
                Ok(Some(Message::Request(_))) => {}
            }
        }
    }

    async fn open(&self, filter: Raw) -> Result<Box<EventStream>, Fault> {
        let capabilities = self.client.as_ref().map(|client| client.capabilities.clone());
        let body = outgoing::own_modern_request(
            &self.link.own_id(),
            Method::Listen,
            &[("notifications", filter)],
            &capabilities.unwrap_or_else(|| Raw::literal("{}")),
        );
        let headers = outgoing::modern_headers_of(Method::Listen.as_str());
        let (reply, _) = self.link.wire.post(body, &headers, FIRST_BYTE_TIMEOUT).await?;
        let refused = |outcome: Outcome| match outcome {
            Outcome::Error(error) => Fault::Refused {
                method: Method::Listen.as_str(),
                error,
            },
            Outcome::Result(_) => Fault::NoAnswer(String::new()),
        };
        match reply {
            Reply::Events(stream) => Ok(stream),
            Reply::Refused(mut refusal) => Err(match refusal.error.take() {
                Some(error) => refused(error.outcome),
                None => refusal.into_fault(),
            }),
            Reply::Json(body) => Err(match own::read_json(body)? {
                Message::Response(response) => refused(response.outcome),
                _ => Fault::NotAMessage("not an event stream".to_owned()),
            }),
            Reply::Accepted | Reply::Large(_) => Err(Fault::NotAMessage("not an event stream".to_owned())),
        }
    }

    /// Reads what had arrived on the stream that another one replaces.
    fn drain(&self, mut stream: Box<EventStream>) {
        while let Some(Ok(Some(message))) = stream.next_message().now_or_never() {
            if let Message::Notification(told) = message {
                self.tell(&told);
            }
        }
    }

    fn tell(&self, told: &Notification) {
        match told.method {
            method if is_list_change(method) => self.link.announced(method),
            Method::ResourcesUpdated => self.watches.tell(told),
            _ => {}
        }
    }
}
