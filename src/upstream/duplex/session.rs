//! One open pipe after its handshake: carries out calls in the upstream's era, asks on our own behalf, and keeps the
//! upstream told of what is watched and which log messages are wanted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::link::Link;
use super::pending::Ended;
use crate::catalog::route::Route;
use crate::clock::{self, Instant};
use crate::exchange::{Answer, Call, CallError};
use crate::ids::GatewayId;
use crate::protocol::error::{INTERNAL_ERROR, RpcError};
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, RpcId};
use crate::protocol::meta::LogLevel;
use crate::protocol::method::Method;
use crate::protocol::version::Era;
use crate::upstream::handshake::Handshake;
use crate::upstream::incoming::Incoming;
use crate::upstream::lists::{Ask, AskError};
use crate::upstream::outgoing::{self, Mapped, Retry};
use crate::upstream::rounds::{Next, RoundError, Rounds};
use crate::upstream::watches::Watches;

/// An open pipe.
#[derive(Debug)]
pub(super) struct Session {
    gateway: GatewayId,
    link: Link,
    handshake: Handshake,
    timeout: Duration,
    watches: Arc<Watches>,
    /// The resources that the upstream was told of; legacy only.
    subscribed: tokio::sync::Mutex<BTreeSet<Arc<str>>>,
    since: Instant,
    /// The level that the upstream was last told of; legacy only.
    level: Mutex<Option<LogLevel>>,
    /// The open `subscriptions/listen` and its filter; modern only.
    listening: Mutex<Option<(u64, Raw)>>,
}

impl Session {
    /// Takes over a pipe whose handshake is done.
    pub(super) fn new(
        gateway: &GatewayId,
        link: Link,
        handshake: Handshake,
        timeout: Duration,
        watches: Arc<Watches>,
    ) -> Self {
        Self {
            gateway: gateway.clone(),
            link,
            handshake,
            timeout,
            watches,
            subscribed: tokio::sync::Mutex::default(),
            since: clock::now(),
            level: Mutex::new(None),
            listening: Mutex::new(None),
        }
    }

    /// Returns what the upstream said of itself.
    pub(super) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Returns the pipe.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Tells how the pipe ended; `None` while it is open.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.link.ended()
    }

    /// Returns since when it is open.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Returns the era that is spoken.
    pub(super) fn era(&self) -> Era {
        self.handshake.version.era()
    }

    /// Carries out a call.
    pub(super) async fn call(
        &self,
        route: &Route,
        call: &Call,
        question_timeout: Duration,
    ) -> Result<Answer, CallError> {
        let era = self.era();
        let response = match era {
            Era::Legacy => {
                self.tell_level(call);
                let write = |mapped: &Mapped| outgoing::legacy(route, call, mapped);
                self.link.call(call, question_timeout, write).await?
            }
            Era::Modern => self.call_in_rounds(route, call, question_timeout).await?,
        };
        Ok(Answer { response, era })
    }

    async fn call_in_rounds(
        &self,
        route: &Route,
        call: &Call,
        question_timeout: Duration,
    ) -> Result<message::Response, CallError> {
        let mut rounds = Rounds::new(call, question_timeout);
        // One for all rounds: it counts the call's questions.
        let mut incoming = Incoming::new(call, &Mapped::default());
        let mut retry: Option<Retry> = None;
        loop {
            let write = |mapped: &Mapped| match &retry {
                None => outgoing::modern(route, call, mapped),
                Some(retry) => outgoing::modern_retry(route, call, mapped, retry),
            };
            let response = self.link.call(call, question_timeout, write).await?;
            match rounds.next(&mut incoming, response).await {
                Ok(Next::Answer(response)) => return Ok(response),
                Ok(Next::Again(with)) => retry = Some(with),
                Err(RoundError::Cancelled) => return Err(CallError::Cancelled),
                Err(error) => return Err(self.broken_off(&error)),
            }
        }
    }

    fn broken_off(&self, error: &RoundError) -> CallError {
        let gateway = self.gateway.clone();
        match error {
            RoundError::Unanswered { .. } => CallError::Refused {
                gateway,
                error: RpcError::new(INTERNAL_ERROR, error.to_string()),
            },
            _ => CallError::Failed {
                gateway,
                reason: error.to_string(),
                sent: true,
            },
        }
    }

    /// Tells a legacy upstream of the lowest level that is wanted now. The level counts for all of the pipe; what a
    /// call does not want is left out on the way back.
    fn tell_level(&self, call: &Call) {
        let Some(wanted) = call.log_level.filter(|_| self.handshake.offers.logging) else {
            return;
        };
        let lowest = self
            .link
            .pending()
            .lowest_level()
            .map_or(wanted, |other| other.min(wanted));
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        if *level != Some(lowest) {
            let params = object_of(&[("level", Raw::from(lowest.as_str()))]);
            let sent = self.link.ask_aside(|id| request(id, Method::SetLevel, &params));
            *level = sent.map(|_| lowest);
        }
    }

    /// Sees to it that the upstream tells of changes of exactly the resources that somebody watches. Returns those
    /// that it refused.
    pub(super) async fn settle(&self) -> Vec<(Arc<str>, AskError)> {
        if self.era() == Era::Modern {
            self.listen();
            return Vec::new();
        }
        let mut refused = Vec::new();
        if !self.handshake.offers.subscribe {
            return refused;
        }
        let mut subscribed = self.subscribed.lock().await;
        let wanted: BTreeSet<Arc<str>> = self.watches.uris().into_iter().collect();
        let gone: Vec<_> = subscribed.difference(&wanted).cloned().collect();
        for uri in gone {
            let params = vec![("uri", Raw::from(&*uri))];
            if let Err(error) = self.ask(Method::ResourcesUnsubscribe, params).await {
                tracing::debug!(gateway.id = %self.gateway, %error, "a resource is still watched upstream");
            }
            subscribed.remove(&uri);
        }
        let new: Vec<_> = wanted.difference(&subscribed).cloned().collect();
        for uri in new {
            let params = vec![("uri", Raw::from(&*uri))];
            match self.ask(Method::ResourcesSubscribe, params).await {
                Ok(_) => drop(subscribed.insert(uri)),
                Err(error) => refused.push((uri, error)),
            }
        }
        refused
    }

    /// Sees to it that a modern upstream tells of what somebody wants to hear: opens `subscriptions/listen`, or
    /// replaces the one that wants something else. A legacy upstream tells of its lists unasked.
    pub(super) fn listen(&self) {
        if self.era() == Era::Legacy {
            return;
        }
        let uris = self.watches.uris();
        let offers = self.handshake.offers;
        if uris.is_empty() && !offers.list_changed {
            return;
        }
        let filter = Raw::of(&serde_json::json!({
            "toolsListChanged": offers.tools && offers.list_changed,
            "promptsListChanged": offers.prompts && offers.list_changed,
            "resourcesListChanged": offers.resources && offers.list_changed,
            "resourceSubscriptions": uris.iter().map(|uri| &**uri).collect::<Vec<_>>(),
        }));
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        let open = listening
            .take()
            .filter(|(id, _)| self.link.pending().waits_for(*id));
        if open.as_ref().is_some_and(|(_, wanted)| *wanted == filter) {
            *listening = open;
            return;
        }
        let params = [("notifications", filter.clone())];
        let id = self
            .link
            .ask_aside(|id| outgoing::own_modern_request(id, Method::Listen, &params, &Raw::literal("{}")));
        *listening = id.map(|id| (id, filter));
        if let Some((old, _)) = open {
            self.link.withdraw(old);
        }
    }

    /// Tells a legacy upstream that the client's roots changed.
    pub(super) fn roots_changed(&self) {
        if self.era() == Era::Legacy {
            self.link.notify(Method::RootsListChanged, None);
        }
    }
}

impl Ask for Session {
    fn ask(
        &self,
        method: Method,
        params: Vec<(&'static str, Raw)>,
    ) -> BoxFuture<'_, Result<Object, AskError>> {
        let era = self.era();
        Box::pin(async move {
            let write = |id: &RpcId| match era {
                Era::Legacy => request(id, method, &object_of(&params)),
                Era::Modern => outgoing::own_modern_request(id, method, &params, &Raw::literal("{}")),
            };
            self.link.ask(self.timeout, write).await
        })
    }
}

/// Writes a legacy request of our own.
pub(super) fn request(id: &RpcId, method: Method, params: &Raw) -> Bytes {
    message::request(id, &Raw::from(method.as_str()), Some(params))
}

/// Writes an object.
pub(super) fn object_of(members: &[(&str, Raw)]) -> Raw {
    let mut text = String::from("{");
    for (index, (key, value)) in members.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        text.extend([comma, Raw::from(*key).as_str(), ":", value.as_str()]);
    }
    text.push('}');
    Raw::parse(&Bytes::from(text)).unwrap_or(Raw::literal("{}"))
}
