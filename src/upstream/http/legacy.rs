//! Calls to a legacy upstream: through sessions that are opened lazily and reopened silently when the upstream has
//! forgotten them. A call that may have been processed is never sent again, unless its route says that it may be.

use std::pin::pin;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};

use super::abandoned::Abandoned;
use super::fault::Fault;
use super::flight::Landed;
use super::hearing;
use super::large::Read;
use super::link::{Link, traced};
use super::own;
use super::pool::{Key, Lease, Pool, Slot};
use super::replies::Replies;
use super::session::{Session, SessionAsk};
use super::talk::Talk;
use super::wire::Reply;
use crate::catalog::listing::Listing;
use crate::catalog::route::Route;
use crate::exchange::{Call, CallError, Client};
use crate::ids::GatewayId;
use crate::limits::{GET_STREAM_WAIT, STREAM_QUEUE_EVENTS_MAX, UPSTREAM_SESSION_IDLE_MAX};
use crate::protocol::json::Raw;
use crate::protocol::message::{self, Response};
use crate::protocol::method::Method;
use crate::protocol::version::Era;
use crate::upstream::lists;
use crate::upstream::outgoing;

/// Sessions that are ended at the same time.
const ENDS_AT_ONCE: usize = 32;

#[derive(Debug)]
pub(super) struct Legacy {
    pub(super) link: Arc<Link>,
    pool: Pool,
}

/// A fault, and whether the call's own request had gone out.
pub(in crate::upstream) struct Failed {
    pub(in crate::upstream) fault: Fault,
    pub(super) began: bool,
}

impl Failed {
    /// Makes what the caller is told.
    pub(in crate::upstream) fn into_call_error(self, gateway: &GatewayId) -> CallError {
        self.fault.into_call_error(gateway, self.began)
    }

    pub(super) fn before(fault: Fault) -> Self {
        Self { fault, began: false }
    }

    pub(super) fn after(fault: Fault) -> Self {
        Self { fault, began: true }
    }
}

impl Legacy {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            pool: Pool::default(),
        }
    }

    /// Carries out a call.
    pub(super) async fn call(self: &Arc<Self>, route: &Route, call: &Call) -> Result<Response, Failed> {
        let lease = self.lease(Some(&call.client)).map_err(Failed::before)?;
        *lease.slot().level.lock().unwrap_or_else(PoisonError::into_inner) = call.log_level;
        let (mut reopened, mut repeated) = (false, false);
        loop {
            let opened = match lease.slot().session.landed() {
                Some(opened) => Ok(opened),
                None => self.opened(&lease, call).await,
            };
            let opened = opened.map_err(Failed::before)?;
            match self.attempt(&lease, &opened.value, route, call).await {
                Err(Fault::Forgotten(_)) if !reopened => {
                    reopened = true;
                    self.forget(lease.slot(), &opened);
                }
                Err(fault) if fault.broke() && route.repeatable && !repeated => {
                    repeated = true;
                    tracing::info!(gateway.id = %self.link.gateway, reason = %fault, "a call that may be repeated is sent again");
                }
                outcome => return outcome.map_err(Failed::after),
            }
        }
    }

    /// Opens the session of a call that finds none.
    async fn opened(self: &Arc<Self>, lease: &Lease, call: &Call) -> Result<Landed<Arc<Session>>, Fault> {
        let session = Box::pin(self.session(lease));
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(Fault::Cancelled),
            opened = session => opened,
        }
    }

    async fn attempt(
        &self,
        lease: &Lease,
        session: &Arc<Session>,
        route: &Route,
        call: &Call,
    ) -> Result<Response, Fault> {
        if let Some(level) = call.log_level
            && !session.has_level(level)
        {
            let setting = Box::pin(session.set_level(level));
            tokio::select! {
                biased;
                () = call.cancel.cancelled() => return Err(Fault::Cancelled),
                set = setting => set?,
            }
        }
        let mapped = session.mapped();
        let body = outgoing::legacy(route, call, &mapped);
        let id = mapped.id.clone().unwrap_or_else(|| call.request.id.clone());
        let mut abandoned = Abandoned::new(session, id.clone());
        let headers = traced(session.headers(), call);
        let mut talk = Talk::new(&self.link, lease.slot(), session, call, &mapped);
        let posted = pin!(self.link.wire.post_call(body, &headers));
        let outcome = match talk.until(posted).await? {
            Ok(Reply::Json(body)) => read_json(&mut talk, body).await,
            Ok(Reply::Large(large)) => {
                let mut reading = Box::pin(large.read(call, &id, Era::Legacy));
                match talk.until(reading.as_mut()).await? {
                    Ok(Read::Whole(body)) => read_json(&mut talk, body).await,
                    Ok(Read::Passed(response)) => Ok(response),
                    Err(fault) => Err(fault),
                }
            }
            Ok(Reply::Events(stream)) => {
                let mut replies = Replies::new(&self.link, session, stream);
                let response = Box::pin(read_replies(&mut replies, &mut talk)).await;
                response.inspect(|_| replies.finish())
            }
            Ok(Reply::Refused(refusal)) => session.refused(refusal),
            Ok(Reply::Accepted) => Err(Fault::NotAMessage("nothing came back".to_owned())),
            Err(fault) => Err(fault),
        };
        if outcome.as_ref().map_or_else(|fault| !fault.processed(), |_| true) {
            abandoned.disarm();
        }
        outcome
    }

    /// Asks for every list, and listens for changes afterwards.
    pub(super) async fn list(self: &Arc<Self>) -> Result<Listing, Fault> {
        let lease = self.lease(None)?;
        let mut reopened = false;
        loop {
            let opened = self.session(&lease).await?;
            let session = &opened.value;
            let ask = SessionAsk {
                session,
                fault: std::sync::Mutex::new(None),
            };
            let listing = lists::collect(&ask, &self.link.gateway, &session.handshake).await;
            let fault = ask.fault.into_inner().unwrap_or_else(PoisonError::into_inner);
            match (listing, fault) {
                (Ok(listing), _) => return Ok(listing),
                (Err(_), Some(Fault::Forgotten(_))) if !reopened => {
                    reopened = true;
                    self.forget(lease.slot(), &opened);
                }
                (Err(_), Some(fault)) => return Err(fault),
                (Err(error), None) => return Err(Fault::List(error.0)),
            }
        }
    }

    /// Starts or ends telling a client's outbox of changes of a resource.
    pub(super) async fn watch_resource(
        self: &Arc<Self>,
        route: &Route,
        client: &Arc<Client>,
        wanted: bool,
    ) -> Result<(), Fault> {
        let outbox =
            (client.outbox.as_ref()).ok_or(Fault::Declined("the client has no stream to hear on"))?;
        let lease = self.lease(Some(client))?;
        let slot = lease.slot();
        let mut reopened = false;
        if !wanted {
            if slot.watches.remove(route, outbox)
                && let Some(session) = slot.session.kept()
            {
                subscribe(&session, &route.own, false).await?;
            }
            return Ok(());
        }
        loop {
            let opened = self.session(&lease).await?;
            if !opened.value.handshake.offers.subscribe {
                return Err(Fault::Declined("it does not tell of changes of resources"));
            }
            let first = (slot.watches)
                .add(route, outbox)
                .map_err(|_| Fault::Declined("too many resources are watched"))?;
            hearing::start(self, slot, &opened.value);
            if !first {
                return Ok(());
            }
            match subscribe(&opened.value, &route.own, true).await {
                Ok(()) => return Ok(()),
                Err(fault) => {
                    slot.watches.remove(route, outbox);
                    if !matches!(fault, Fault::Forgotten(_)) || reopened {
                        return Err(fault);
                    }
                    reopened = true;
                    self.forget(slot, &opened);
                }
            }
        }
    }

    /// Tells the sessions of a client that its roots changed.
    pub(super) fn roots_changed(&self, client: &Client) {
        for slot in self.pool.of_scope(client) {
            if let Some(session) = slot.session.kept() {
                session.tell_later(message::notification(Method::RootsListChanged, None));
            }
        }
    }

    /// Ends the sessions of a client's session.
    pub(super) async fn scope_ended(&self, client: &Client) {
        end_all(self.pool.take_scope(client)).await;
    }

    /// Ends what nobody used for a while.
    pub(super) async fn sweep(&self) {
        end_all(self.pool.take_idle(UPSTREAM_SESSION_IDLE_MAX)).await;
    }

    /// Ends every session.
    pub(super) async fn shut_down(&self) {
        end_all(self.pool.take_all()).await;
    }

    fn lease(&self, client: Option<&Arc<Client>>) -> Result<Lease, Fault> {
        let (lease, evicted) = self.pool.lease(client)?;
        if let Some(slot) = evicted {
            let end = async move { end(&slot).await };
            self.link.supervisor.spawn("end of an upstream session", end);
        }
        Ok(lease)
    }

    /// Returns the slot's session, opening it when there is none.
    async fn session(self: &Arc<Self>, lease: &Lease) -> Result<Landed<Arc<Session>>, Fault> {
        let (legacy, slot) = (Arc::clone(self), Arc::clone(lease.slot()));
        let open = move || async move { legacy.open(&slot).await }.boxed();
        let slot = lease.slot();
        slot.session
            .get(&self.link.supervisor, "upstream handshake", open)
            .await
    }

    async fn open(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<Arc<Session>, Fault> {
        let (capabilities, info) = (slot.capabilities(), slot.info());
        let session = Session::open(&self.link, &capabilities, &info, slot.is_one_clients()).await?;
        let session = Arc::new(session);
        if let Some(open) = hearing::start(self, slot, &session)
            && slot.can_be_asked()
        {
            // A server that puts its questions on that stream loses them while it is not there.
            let _ = tokio::time::timeout(GET_STREAM_WAIT, open).await;
        }
        for uri in slot.watches.uris() {
            if let Err(fault) = subscribe(&session, &uri, true).await {
                tracing::warn!(gateway.id = %self.link.gateway, reason = %fault, "a watched resource was lost");
            }
        }
        Ok(session)
    }

    fn forget(&self, slot: &Slot, opened: &Landed<Arc<Session>>) {
        if slot.session.forget(opened) {
            tracing::info!(gateway.id = %self.link.gateway, "the upstream forgot our session; a new one is opened");
        }
        opened.value.ended.cancel();
    }

    /// The GET stream found that the upstream no longer knows the session.
    pub(super) fn lost(self: &Arc<Self>, slot: &Arc<Slot>, session: &Arc<Session>) {
        let same = (slot.session.kept()).is_some_and(|kept| Arc::ptr_eq(&kept, session));
        if !same {
            return;
        }
        slot.session.clear();
        if slot.key == Key::Ourselves {
            self.link.changed();
        } else if !slot.watches.is_empty() {
            // Nobody may call for long, and watched resources are heard of through a session only.
            let (legacy, lease) = (Arc::clone(self), Lease::new(slot));
            let reopen = async move { legacy.reopen(&lease).await };
            self.link.supervisor.spawn("upstream session", reopen);
        }
    }

    async fn reopen(self: &Arc<Self>, lease: &Lease) {
        let mut failures = 0;
        while !lease.slot().watches.is_empty() {
            let Err(fault) = self.session(lease).await else {
                return;
            };
            tracing::debug!(gateway.id = %self.link.gateway, reason = %fault, "an upstream session is not back yet");
            tokio::time::sleep(hearing::BACKOFF.wait(failures)).await;
            failures = failures.saturating_add(1);
        }
    }
}

async fn read_json(talk: &mut Talk<'_>, body: Bytes) -> Result<Response, Fault> {
    let response = match talk.take_now(own::read_json(body)?) {
        Ok(response) => response,
        Err(now) => Box::pin(talk.take_on(now)).await?,
    };
    response.ok_or_else(|| Fault::NotAMessage("not a response to the request".to_owned()))
}

/// Reads messages until the answer comes. What is there already is taken in one go, but not so much of it that
/// everything beside has to wait.
async fn read_replies(replies: &mut Replies<'_>, talk: &mut Talk<'_>) -> Result<Response, Fault> {
    loop {
        for _ in 0..STREAM_QUEUE_EVENTS_MAX {
            let Some(message) = replies.ready()? else { break };
            let taken = match talk.take_now(message) {
                Ok(taken) => taken,
                Err(now) => talk.take_on(now).await?,
            };
            if let Some(response) = taken {
                return Ok(response);
            }
        }
        let message = talk.until(pin!(replies.next())).await??;
        if let Some(response) = talk.take(message).await? {
            return Ok(response);
        }
    }
}

async fn subscribe(session: &Arc<Session>, uri: &str, wanted: bool) -> Result<(), Fault> {
    let method = if wanted {
        Method::ResourcesSubscribe
    } else {
        Method::ResourcesUnsubscribe
    };
    session.ask(method, &[("uri", Raw::from(uri))]).await.map(drop)
}

async fn end(slot: &Slot) {
    if let Some(session) = slot.session.take_landed().await {
        session.end().await;
    }
}

async fn end_all(slots: Vec<Arc<Slot>>) {
    stream::iter(slots)
        .for_each_concurrent(ENDS_AT_ONCE, |slot| async move { end(&slot).await })
        .await;
}
