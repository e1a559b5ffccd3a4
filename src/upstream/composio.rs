//! A Composio gateway: for each user one Tool Router session, and one HTTP link to its MCP endpoint. Which session is a
//! user's is `integrations::sessions`' business; here are the links, made on first use and again when the endpoint says
//! that the session is gone. A user's calls go through that user's session and no other. Lists are asked for through a
//! session of a user of our own ([`LISTING_USER`]): which tools there are depends on a session's options (facts of
//! `tools/list`: the meta tools and what is preloaded), which are the configuration's for all users.

mod accounts;
mod connecting;
mod failed_tool;
mod fault;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;

use self::connecting::{Connecting, Next};
use self::users::{Lease, Slot, Users, Whose};
use super::http::fault::Fault;
use super::http::flight::Landed;
use super::http::wire::{Wire, Words};
use super::http::{HttpSettings, HttpTransport, SettingsError};
use super::transport::{Announced, ListError, Transport, pass_on};
use crate::catalog::listing::{Kind, Listing};
use crate::catalog::route::Route;
use crate::exchange::{Answer, Call, CallError, Client};
use crate::ids::GatewayId;
use crate::integrations::Project;
use crate::integrations::composio::LISTING_USER;
use crate::integrations::connections::Connections;
use crate::integrations::sessions::{Opened, SessionError};
use crate::limits::{UPSTREAM_SESSION_IDLE_MAX, UPSTREAM_SESSION_SWEEP_INTERVAL};
use crate::protocol::message::Request;
use crate::protocol::version::Era;
use crate::supervisor::Supervisor;

/// Links that are ended at the same time.
const ENDS_AT_ONCE: usize = 16;

/// The link to Composio, for every user.
pub(super) struct ComposioTransport(Arc<Shared>);

/// A session and the link to its endpoint.
pub(super) struct Held {
    opened: Opened,
    link: HttpTransport,
    /// Whether its endpoint has taken the key.
    proven: AtomicBool,
}

struct Shared {
    project: Arc<Project>,
    connecting: Connecting,
    /// To the base URL, with the key; a session's link goes over its connections.
    wire: Wire,
    settings: HttpSettings,
    users: Users,
    /// Whose session the lists are asked for through.
    listing: Whose,
    changes: Arc<watch::Sender<Announced>>,
    supervisor: Supervisor,
    down: AtomicBool,
}

impl ComposioTransport {
    /// Makes the link; nothing is asked yet. `settings` are those of every session's link, the URL and the key aside
    /// of the base URL.
    ///
    /// # Errors
    /// [`SettingsError`]: a key that no header carries, TLS that cannot be set up.
    pub(super) fn new(
        project: Arc<Project>,
        connections: Arc<Connections>,
        settings: HttpSettings,
        supervisor: &Supervisor,
    ) -> Result<Self, SettingsError> {
        let wire = Wire::new(
            settings.url.clone(),
            &settings.headers,
            settings.result_bytes_max,
            supervisor,
        )?;
        let connecting = Connecting {
            connections,
            project: Arc::clone(&project),
            question_timeout: settings.question_timeout,
        };
        let shared = Arc::new(Shared {
            project,
            connecting,
            wire,
            settings,
            users: Users::default(),
            listing: Whose::listing(),
            changes: Arc::new(watch::Sender::new(Announced::default())),
            supervisor: supervisor.clone(),
            down: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&shared);
        supervisor.spawn("idle links to Composio", async move {
            loop {
                tokio::time::sleep(UPSTREAM_SESSION_SWEEP_INTERVAL).await;
                let Some(shared) = weak.upgrade() else { return };
                end_all(shared.users.take_idle(UPSTREAM_SESSION_IDLE_MAX)).await;
            }
        });
        Ok(Self(shared))
    }

    async fn carry(&self, route: &Route, call: &Call) -> Result<Answer, CallError> {
        let shared = &self.0;
        let lease = shared.lease(&Whose::of(&call.client))?;
        let (mut remade, mut tried_key, mut connected) = (false, false, false);
        loop {
            let held = match lease.slot().held.landed() {
                Some(held) => held,
                None => Box::pin(shared.opened_for(&lease, call)).await?,
            };
            let tool = route.kind == Kind::Tool;
            let needed = |answer: &Answer| {
                let wanted = (tool && !connected).then(|| shared.connecting.needed(&route.own, answer));
                wanted.flatten()
            };
            let (answer, needed) = match held.value.link.carry(route, call).await {
                Ok(answer) => {
                    shared.took_the_key(&held.value);
                    let answer = if tool { failed_tool::marked(answer) } else { answer };
                    match needed(&answer) {
                        Some(needed) => (answer, needed),
                        None => return Ok(answer),
                    }
                }
                // The endpoint refused the call's own request: nothing was processed.
                Err(failed) if matches!(failed.fault, Fault::Gone(_)) => {
                    shared.forget(&lease, &held);
                    if remade {
                        return Err(fault::told(shared.gateway(), failed));
                    }
                    remade = true;
                    continue;
                }
                // Seen in the field after minutes of success: once more, and the user keeps the session either way.
                Err(failed) if matches!(failed.fault, Fault::Unauthorized(_)) => {
                    if tried_key || !held.value.proven.load(Ordering::Acquire) {
                        shared.refused_the_key(&held.value);
                        return Err(fault::told(shared.gateway(), failed));
                    }
                    tried_key = true;
                    continue;
                }
                // The status of what wants a connection is not documented: whichever it is, the words decide.
                Err(failed) => {
                    let refusal = fault::as_answer(&failed, call, held.value.link.era());
                    match refusal.and_then(|answer| needed(&answer).map(|needed| (answer, needed))) {
                        Some(found) => found,
                        None => return Err(fault::told(shared.gateway(), failed)),
                    }
                }
            };
            match Box::pin(shared.connecting.next(call, needed, answer)).await? {
                Next::Answer(answer) => return Ok(answer),
                Next::Again => connected = true,
            }
        }
    }

    async fn list_once_more(&self) -> Result<Listing, ListError> {
        let shared = &self.0;
        let lease = shared
            .lease(&shared.listing)
            .map_err(|error| ListError(error.to_string()))?;
        let mut remade = false;
        loop {
            let opened = shared.open(&lease).await;
            let opened = opened.map_err(|error| ListError(error.to_string()))?;
            match opened.value.link.list_in_era().await {
                Ok(listing) => return Ok(listing),
                Err(Fault::Gone(_)) if !remade => {
                    shared.forget(&lease, &opened);
                    remade = true;
                }
                Err(fault) => {
                    return Err(ListError(
                        fault::text_of(&fault).unwrap_or_else(|| fault.to_string()),
                    ));
                }
            }
        }
    }

    async fn watch(&self, route: &Route, client: &Arc<Client>, wanted: bool) -> Result<(), CallError> {
        let shared = &self.0;
        let lease = shared.lease(&Whose::of(client))?;
        let opened = shared.open(&lease).await;
        let opened = opened.map_err(|error| fault::not_opened(shared.gateway(), &error))?;
        opened.value.link.watch_resource(route, client, wanted).await
    }
}

impl Shared {
    /// Takes a place for whose session it is; the one that had to make room is ended.
    fn lease(self: &Arc<Self>, whose: &Whose) -> Result<Lease, CallError> {
        let busy = || CallError::Busy {
            gateway: self.settings.gateway.clone(),
        };
        let (lease, evicted) = self.users.lease(whose).ok_or_else(busy)?;
        if let Some(slot) = evicted {
            self.supervisor
                .spawn("end of a link to Composio", async move { end(&slot).await });
        }
        Ok(lease)
    }

    /// Returns a link to a session, both made when there is none. One attempt serves all who wait, and goes on when they
    /// go away.
    async fn open(self: &Arc<Self>, lease: &Lease) -> Result<Landed<Arc<Held>>, SessionError> {
        let (shared, slot) = (Arc::clone(self), Arc::clone(lease.slot()));
        let make = move || async move { shared.make(&slot.whose).await.map(Arc::new) }.boxed();
        let held = &lease.slot().held;
        held.get(&self.supervisor, "link to Composio", make).await
    }

    /// Opens the link of a call that finds none.
    async fn opened_for(
        self: &Arc<Self>,
        lease: &Lease,
        call: &Call,
    ) -> Result<Landed<Arc<Held>>, CallError> {
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(CallError::Cancelled),
            held = self.open(lease) => held.map_err(|error| fault::not_opened(self.gateway(), &error)),
        }
    }

    async fn make(&self, whose: &Whose) -> Result<Held, SessionError> {
        if self.down.load(Ordering::Acquire) {
            return Err(SessionError::ShutDown);
        }
        let opened = self.project.open(&whose.user, &whose.which).await?;
        let (project, session) = (Arc::clone(&self.project), opened.session.clone());
        let words: Words = Arc::new(move |said| {
            let refusal = project
                .api()
                .refusal_at(&session, said.status, said.retry_after, said.body);
            refusal.map(|refusal| refusal.to_string())
        });
        let wire = self.wire.private_at(opened.session.mcp_url.clone(), words);
        let link = HttpTransport::over(wire, self.settings.clone(), &self.supervisor);
        if whose.user.as_str() == LISTING_USER {
            pass_on(link.changes(), &self.changes, &self.supervisor);
        }
        Ok(Held {
            opened,
            link,
            proven: AtomicBool::new(false),
        })
    }

    /// The endpoint does not know the session: the next who opens asks the API, and has another made if need be.
    fn forget(&self, lease: &Lease, opened: &Landed<Arc<Held>>) {
        if lease.slot().held.forget(opened) {
            let session = &*opened.value.opened.id;
            tracing::info!(gateway.id = %self.gateway(), session.id = session, "the MCP endpoint of a Composio session is gone");
        }
    }

    /// The call's request with the accounts that its user chose, where it has a place for them.
    async fn named(&self, call: &Call) -> Result<Option<Request>, CallError> {
        let named = accounts::named(&self.project, &self.connecting.connections, call).await;
        named.map_err(|error| CallError::Unavailable {
            gateway: self.gateway().clone(),
            reason: error.to_string(),
        })
    }

    fn took_the_key(&self, held: &Held) {
        if !held.proven.swap(true, Ordering::AcqRel) {
            self.project.sessions().set_degraded(&held.opened.id, false);
        }
    }

    fn refused_the_key(&self, held: &Held) {
        if held.proven.swap(false, Ordering::AcqRel) {
            let session = &*held.opened.id;
            tracing::warn!(gateway.id = %self.gateway(), session.id = session, "Composio refuses the key at a session that took it before");
        }
        self.project.sessions().set_degraded(&held.opened.id, true);
    }

    fn gateway(&self) -> &GatewayId {
        &self.settings.gateway
    }
}

/// Ends a link; the session stays.
async fn end(slot: &Slot) {
    if let Some(held) = slot.held.take_landed().await {
        held.link.shut_down().await;
    }
}

async fn end_all(slots: Vec<Arc<Slot>>) {
    stream::iter(slots)
        .for_each_concurrent(ENDS_AT_ONCE, |slot| async move { end(&slot).await })
        .await;
}

impl Transport for ComposioTransport {
    fn call<'a>(&'a self, route: &'a Route, mut call: Call) -> BoxFuture<'a, Result<Answer, CallError>> {
        // What it says is read, and links are added, before a client sees it.
        call.streams = false;
        async move {
            if accounts::may_name(&self.0.project, &route.own)
                && let Some(named) = Box::pin(self.0.named(&call)).await?
            {
                call.request = named;
            }
            self.carry(route, &call).await
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, ListError>> {
        self.list_once_more().boxed()
    }

    fn changes(&self) -> watch::Receiver<Announced> {
        self.0.changes.subscribe()
    }

    fn watch_resource<'a>(
        &'a self,
        route: &'a Route,
        client: &'a Arc<Client>,
        wanted: bool,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        self.watch(route, client, wanted).boxed()
    }

    fn roots_changed<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        async move {
            if let Some(held) = self.0.users.held(&Whose::of(client)) {
                held.link.roots_changed(client).await;
            }
        }
        .boxed()
    }

    fn scope_ended<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        async move {
            if let Some(held) = self.0.users.held(&Whose::of(client)) {
                held.link.scope_ended(client).await;
            }
        }
        .boxed()
    }

    fn era(&self) -> Option<Era> {
        self.0.users.held(&self.0.listing)?.link.era()
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        async move {
            self.0.down.store(true, Ordering::Release);
            end_all(self.0.users.take_all()).await;
        }
        .boxed()
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Held").field(&self.opened).finish()
    }
}
