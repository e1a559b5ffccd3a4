//! A Composio gateway: for each user one Tool Router session, and one HTTP link to its MCP endpoint. Both are made on
//! first use, looked after and made anew when Composio has deleted the session. A user's calls go through that user's
//! session and no other. Lists are asked for through a session of a user of our own ([`LISTING_USER`]): which meta
//! tools there are depends on the toolkits, which are the same for all.
//! Sessions live as long as this link: there is no store yet that could find them again. What we made and know of is
//! deleted when it is no longer used and at the end; connections belong to the user and stay.

mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;

use self::users::{Lease, Slot, Users};
use super::http::fault::Fault;
use super::http::flight::Landed;
use super::http::wire::Wire;
use super::http::{Failed, HttpSettings, HttpTransport, SettingsError};
use super::transport::{Announced, ListError, Transport, pass_on};
use crate::catalog::listing::Listing;
use crate::catalog::route::Route;
use crate::exchange::{Answer, Call, CallError, Client};
use crate::ids::{GatewayId, UserId};
use crate::integrations::Project;
use crate::integrations::composio::{ApiError, Composio, LISTING_USER, Session};
use crate::limits::{COMPOSIO_SESSION_IDLE_MAX, UPSTREAM_SESSION_SWEEP_INTERVAL};
use crate::protocol::error::{INVALID_PARAMS, RpcError};
use crate::protocol::version::Era;
use crate::supervisor::Supervisor;

/// Sessions that are deleted at the same time.
const ENDS_AT_ONCE: usize = 16;

/// The link to Composio, for every user.
pub(super) struct ComposioTransport(Arc<Shared>);

/// A session and the link to its endpoint.
pub(super) struct Held {
    session: Session,
    link: HttpTransport,
}

struct Shared {
    project: Arc<Project>,
    /// To the base URL, with the key; a session's link goes over its connections.
    wire: Wire,
    settings: HttpSettings,
    users: Users,
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
        settings: HttpSettings,
        supervisor: &Supervisor,
    ) -> Result<Self, SettingsError> {
        let wire = Wire::new(
            settings.url.clone(),
            &settings.headers,
            settings.result_bytes_max,
            supervisor,
        )?;
        let shared = Arc::new(Shared {
            project,
            wire,
            settings,
            users: Users::default(),
            changes: Arc::new(watch::Sender::new(Announced::default())),
            supervisor: supervisor.clone(),
            down: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&shared);
        supervisor.spawn("idle Composio sessions", async move {
            loop {
                tokio::time::sleep(UPSTREAM_SESSION_SWEEP_INTERVAL).await;
                let Some(shared) = weak.upgrade() else { return };
                shared
                    .end_all(shared.users.take_idle(COMPOSIO_SESSION_IDLE_MAX))
                    .await;
            }
        });
        Ok(Self(shared))
    }

    async fn carry(&self, route: &Route, call: &Call) -> Result<Answer, CallError> {
        let shared = &self.0;
        let lease = shared.lease(call.client.principal.user())?;
        let mut remade = false;
        loop {
            let opened = tokio::select! {
                biased;
                () = call.cancel.cancelled() => return Err(CallError::Cancelled),
                opened = shared.open(&lease) => opened.map_err(|error| shared.not_opened(&error))?,
            };
            match opened.value.link.carry(route, call).await {
                Ok(answer) => return Ok(answer),
                // The endpoint refused the call's own request: nothing was processed.
                Err(failed) if matches!(failed.fault, Fault::Gone(_)) => {
                    shared.forget(&lease, &opened);
                    if remade {
                        return Err(shared.told(failed));
                    }
                    remade = true;
                }
                Err(failed) => return Err(shared.told(failed)),
            }
        }
    }

    async fn list_once_more(&self) -> Result<Listing, ListError> {
        let shared = &self.0;
        let lease = shared
            .lease(&UserId::new(LISTING_USER))
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
                Err(fault) => return Err(ListError(text_of(&fault).unwrap_or_else(|| fault.to_string()))),
            }
        }
    }

    async fn watch(&self, route: &Route, client: &Arc<Client>, wanted: bool) -> Result<(), CallError> {
        let shared = &self.0;
        let lease = shared.lease(client.principal.user())?;
        let opened = shared.open(&lease).await;
        let opened = opened.map_err(|error| shared.not_opened(&error))?;
        opened.value.link.watch_resource(route, client, wanted).await
    }
}

impl Shared {
    /// Takes a user's place; the one that had to make room is ended.
    fn lease(self: &Arc<Self>, user: &UserId) -> Result<Lease, CallError> {
        let busy = || CallError::Busy {
            gateway: self.settings.gateway.clone(),
        };
        let (lease, evicted) = self.users.lease(user).ok_or_else(busy)?;
        if let Some(slot) = evicted {
            let shared = Arc::clone(self);
            self.supervisor.spawn(
                "end of a Composio session",
                async move { shared.end(&slot).await },
            );
        }
        Ok(lease)
    }

    /// Returns a user's session, making it when there is none. One attempt serves all who wait, and goes on when they
    /// go away: a session that nobody took would be an orphan.
    async fn open(self: &Arc<Self>, lease: &Lease) -> Result<Landed<Arc<Held>>, ApiError> {
        let (shared, slot) = (Arc::clone(self), Arc::clone(lease.slot()));
        let make = move || async move { shared.make(&slot).await.map(Arc::new) }.boxed();
        let held = &lease.slot().held;
        held.get(&self.supervisor, "Composio session", make).await
    }

    async fn make(&self, slot: &Slot) -> Result<Held, ApiError> {
        let known = slot.known();
        let kept = match &known {
            Some(id) => match self.api().session(id).await {
                Ok(session) => Some(session),
                Err(ApiError::NotFound(_)) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        let session = match kept {
            Some(session) => session,
            None if self.down.load(Ordering::Acquire) => return Err(ApiError::ShutDown),
            None => {
                slot.set_known(None);
                let session = self
                    .api()
                    .create_session(&slot.user, self.project.options().toolkits.as_deref())
                    .await?;
                slot.set_known(Some(session.id.clone()));
                tracing::info!(gateway.id = %self.gateway(), again = known.is_some(), "a Composio session was made");
                session
            }
        };
        let wire = self.wire.private_at(session.mcp_url.clone());
        let link = HttpTransport::over(wire, self.settings.clone(), &self.supervisor);
        if slot.user.as_str() == LISTING_USER {
            pass_on(link.changes(), &self.changes, &self.supervisor);
        }
        Ok(Held { session, link })
    }

    /// The endpoint does not know the session: the next who opens asks the API, and makes another if need be.
    fn forget(&self, lease: &Lease, opened: &Landed<Arc<Held>>) {
        if lease.slot().held.forget(opened) {
            tracing::info!(gateway.id = %self.gateway(), "the MCP endpoint of a Composio session is gone");
        }
    }

    async fn end(&self, slot: &Slot) {
        if let Some(held) = slot.held.take_landed().await {
            held.link.shut_down().await;
        }
        let Some(id) = slot.set_known(None) else { return };
        if let Err(error) = self.api().delete_session(&id).await {
            tracing::warn!(gateway.id = %self.gateway(), reason = %error, "a Composio session was not deleted");
        }
    }

    async fn end_all(&self, slots: Vec<Arc<Slot>>) {
        stream::iter(slots)
            .for_each_concurrent(ENDS_AT_ONCE, |slot| async move { self.end(&slot).await })
            .await;
    }

    fn api(&self) -> &Composio {
        self.project.api()
    }

    fn gateway(&self) -> &GatewayId {
        &self.settings.gateway
    }

    fn not_opened(&self, error: &ApiError) -> CallError {
        let gateway = self.gateway().clone();
        match error {
            ApiError::Nobody => CallError::Refused {
                gateway,
                error: RpcError::new(INVALID_PARAMS, error.to_string()),
            },
            error => CallError::Unavailable {
                gateway,
                reason: error.to_string(),
            },
        }
    }

    fn told(&self, failed: Failed) -> CallError {
        match text_of(&failed.fault) {
            Some(reason) => CallError::Unavailable {
                gateway: self.gateway().clone(),
                reason,
            },
            None => failed.into_call_error(self.gateway()),
        }
    }
}

/// Says what the operator of this kind of gateway can do about a fault; `None`: what is said of any gateway is right.
fn text_of(fault: &Fault) -> Option<String> {
    match fault {
        Fault::Unauthorized(status) => Some(format!(
            "Composio refused the key at the session's MCP endpoint (HTTP {}); set COMPOSIO_API_KEY, or the gateway's \
             `api_key`, to the key of a project (ak_…) that may execute tools",
            status.as_u16()
        )),
        Fault::Redirect { status, .. } => Some(format!(
            "the MCP endpoint of the Composio session redirects (HTTP {}), and the key goes nowhere else",
            status.as_u16()
        )),
        Fault::Gone(status) => Some(format!(
            "Composio has the session, but its MCP endpoint says that it is gone (HTTP {})",
            status.as_u16()
        )),
        _ => None,
    }
}

impl Transport for ComposioTransport {
    fn call<'a>(&'a self, route: &'a Route, call: Call) -> BoxFuture<'a, Result<Answer, CallError>> {
        async move { self.carry(route, &call).await }.boxed()
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
            if let Some(held) = self.0.users.held(client.principal.user()) {
                held.link.roots_changed(client).await;
            }
        }
        .boxed()
    }

    fn scope_ended<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        async move {
            if let Some(held) = self.0.users.held(client.principal.user()) {
                held.link.scope_ended(client).await;
            }
        }
        .boxed()
    }

    fn era(&self) -> Option<Era> {
        self.0.users.held(&UserId::new(LISTING_USER))?.link.era()
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        async move {
            self.0.down.store(true, Ordering::Release);
            self.0.end_all(self.0.users.take_all()).await;
        }
        .boxed()
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Held").field(&self.session).finish()
    }
}
