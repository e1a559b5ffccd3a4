//! A URL that turns out to speak HTTP+SSE of 2024-11-05 instead of Streamable HTTP: found out when its lists are first
//! asked for, and from then on everything goes over the older link. Back again when that one fails and Streamable HTTP
//! answers: servers get updated. A call is never carried from one link to the other.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::transport::{Announced, ListError, Transport, pass_on};
use crate::catalog::listing::Listing;
use crate::catalog::route::Route;
use crate::exchange::{Answer, Call, CallError, Client};
use crate::ids::GatewayId;
use crate::protocol::version::Era;
use crate::supervisor::Supervisor;

/// A link that can tell that the older one should be used.
pub(super) trait Newer: Transport {
    /// Tells whether the upstream was found to speak the older transport.
    fn should_be_older(&self) -> bool;
}

/// Makes the older link.
pub(super) type MakeOlder = Box<dyn Fn() -> Arc<dyn Transport> + Send + Sync>;

/// Two links to one gateway, of which one is used.
pub(super) struct Fallover<N> {
    gateway: GatewayId,
    newer: N,
    make_older: MakeOlder,
    /// In use when it is there.
    older: ArcSwapOption<Arc<dyn Transport>>,
    changes: Arc<watch::Sender<Announced>>,
    supervisor: Supervisor,
}

impl<N: Newer> Fallover<N> {
    /// Makes it of the newer link, and of what makes the older one when it is needed.
    pub(super) fn new(gateway: &GatewayId, newer: N, make_older: MakeOlder, supervisor: &Supervisor) -> Self {
        let this = Self {
            gateway: gateway.clone(),
            newer,
            make_older,
            older: ArcSwapOption::empty(),
            changes: Arc::new(watch::Sender::new(Announced::default())),
            supervisor: supervisor.clone(),
        };
        pass_on(this.newer.changes(), &this.changes, &this.supervisor);
        this
    }

    fn older(&self) -> Option<Arc<dyn Transport>> {
        self.older.load().as_deref().cloned()
    }

    async fn list_anyhow(&self) -> Result<Listing, ListError> {
        let Some(older) = self.older() else {
            return match self.newer.list().await {
                Err(_) if self.newer.should_be_older() => self.fall_over().await,
                listed => listed,
            };
        };
        let failed = match older.list().await {
            Ok(listing) => return Ok(listing),
            Err(failed) => failed,
        };
        match self.newer.list().await {
            Ok(listing) => {
                tracing::info!(gateway.id = %self.gateway, "the gateway speaks Streamable HTTP by now");
                self.older.store(None);
                older.shut_down().await;
                Ok(listing)
            }
            Err(_) => Err(failed),
        }
    }

    async fn fall_over(&self) -> Result<Listing, ListError> {
        tracing::info!(
            gateway.id = %self.gateway,
            "the gateway speaks HTTP+SSE of 2024-11-05; `transport = \"sse\"` saves the detour"
        );
        let older = (self.make_older)();
        pass_on(older.changes(), &self.changes, &self.supervisor);
        self.older.store(Some(Arc::new(Arc::clone(&older))));
        older.list().await
    }
}

impl<N: Newer> Transport for Fallover<N> {
    fn call<'a>(&'a self, route: &'a Route, call: Call) -> BoxFuture<'a, Result<Answer, CallError>> {
        match self.older() {
            Some(older) => async move { older.call(route, call).await }.boxed(),
            None => self.newer.call(route, call),
        }
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, ListError>> {
        self.list_anyhow().boxed()
    }

    fn changes(&self) -> watch::Receiver<Announced> {
        self.changes.subscribe()
    }

    fn watch_resource<'a>(
        &'a self,
        route: &'a Route,
        client: &'a Arc<Client>,
        wanted: bool,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        match self.older() {
            Some(older) => async move { older.watch_resource(route, client, wanted).await }.boxed(),
            None => self.newer.watch_resource(route, client, wanted),
        }
    }

    fn roots_changed<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        match self.older() {
            Some(older) => async move { older.roots_changed(client).await }.boxed(),
            None => self.newer.roots_changed(client),
        }
    }

    fn scope_ended<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        match self.older() {
            Some(older) => async move { older.scope_ended(client).await }.boxed(),
            None => self.newer.scope_ended(client),
        }
    }

    fn era(&self) -> Option<Era> {
        match self.older() {
            Some(older) => older.era(),
            None => self.newer.era(),
        }
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        async move {
            let older = async {
                if let Some(older) = self.older() {
                    older.shut_down().await;
                }
            };
            tokio::join!(older, self.newer.shut_down());
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
