//! The link of a gateway whose configuration makes none: everything says why, nothing is ever sent.

use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::transport::{Announced, ListError, Transport};
use crate::catalog::listing::Listing;
use crate::catalog::route::Route;
use crate::exchange::{Answer, Call, CallError, Client};
use crate::ids::GatewayId;
use crate::protocol::version::Era;

/// A link that cannot be.
pub(super) struct Unusable {
    gateway: GatewayId,
    reason: String,
    changes: watch::Sender<Announced>,
}

impl Unusable {
    /// Makes it with what is wrong.
    pub(super) fn new(gateway: &GatewayId, reason: &impl ToString) -> Self {
        Self {
            gateway: gateway.clone(),
            reason: reason.to_string(),
            changes: watch::Sender::new(Announced::default()),
        }
    }

    fn error(&self) -> CallError {
        CallError::Unavailable {
            gateway: self.gateway.clone(),
            reason: self.reason.clone(),
        }
    }
}

impl Transport for Unusable {
    fn call<'a>(&'a self, _: &'a Route, _: Call) -> BoxFuture<'a, Result<Answer, CallError>> {
        ready(Err(self.error())).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, ListError>> {
        ready(Err(ListError(self.reason.clone()))).boxed()
    }

    fn changes(&self) -> watch::Receiver<Announced> {
        self.changes.subscribe()
    }

    fn watch_resource<'a>(
        &'a self,
        _: &'a Route,
        _: &'a Arc<Client>,
        _: bool,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        ready(Err(self.error())).boxed()
    }

    fn roots_changed<'a>(&'a self, _: &'a Client) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    fn scope_ended<'a>(&'a self, _: &'a Client) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    fn era(&self) -> Option<Era> {
        None
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}
