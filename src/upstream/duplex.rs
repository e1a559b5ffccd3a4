//! Gateways that are spoken to over one bidirectional pipe of JSON-RPC messages: stdio, and HTTP+SSE of 2024-11-05.
//! A pipe belongs to everybody, to one user or to one conversation; it is opened on first use and opened anew, with
//! growing waits, when it was lost. Requests go out under ids and progress tokens of our own, so that calls of many
//! clients can share it. A call that may have left is never sent again.
//! What moves the bytes is a [`Connect`]; nothing here knows processes or sockets.

mod inbox;
mod link;
mod news;
mod open;
mod pending;
mod session;
mod slots;

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(in crate::upstream) use self::inbox::Inbox;
pub(in crate::upstream) use self::open::OpenError;
use self::pending::Pending;
use self::slots::Slots;
use crate::catalog::listing::Listing;
use crate::catalog::route::Route;
use crate::clock::Instant;
use crate::config::{EraChoice, Processes};
use crate::exchange::{Answer, Call, CallError, Client, Scope};
use crate::ids::{GatewayId, UserId};
use crate::limits::SWEEP_INTERVAL;
use crate::protocol::version::Era;
use crate::supervisor::Supervisor;
use crate::upstream::lists::{self, AskError};
use crate::upstream::transport::{Announced, ListError, Transport};

/// Whose a pipe is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::upstream) enum Owner {
    /// All users share it.
    Everybody,
    /// Only lists are asked for on it.
    Nobody,
    /// One user.
    User(UserId),
    /// One conversation of one user.
    Conversation(UserId, Scope),
}

impl Owner {
    /// Tells whether everything on the pipe belongs to one user.
    fn is_personal(&self) -> bool {
        matches!(self, Self::User(_) | Self::Conversation(..))
    }
}

/// Opens the pipes of one gateway.
pub(in crate::upstream) trait Connect: Send + Sync + 'static {
    /// Opens a pipe and moves its messages in the background until the port's `stop` is cancelled or the pipe ends.
    /// The port's `outgoing` is dropped last, when nothing of the pipe is left.
    fn connect(&self, port: Port) -> BoxFuture<'_, Result<(), OpenError>>;
}

/// The transport's end of a link.
#[derive(Debug)]
pub(in crate::upstream) struct Port {
    /// Takes what the upstream sends.
    pub(in crate::upstream) inbox: Inbox,
    /// Gives what is to be sent.
    pub(in crate::upstream) outgoing: mpsc::Receiver<Outgoing>,
    /// Tells how much the pipe is used, and ends it when it is in the way.
    pub(in crate::upstream) tenant: Tenant,
    /// Cancelled when the pipe is to end.
    pub(in crate::upstream) stop: CancellationToken,
}

/// One message on its way out.
#[derive(Debug)]
pub(in crate::upstream) struct Outgoing {
    /// The message.
    pub(in crate::upstream) message: Bytes,
    /// The request that fails when the message cannot be sent.
    pub(in crate::upstream) id: Option<u64>,
}

/// What a pipe costs somebody else a place for.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Tenant(Weak<Pending>);

impl Tenant {
    /// Tells since when nothing is in flight on a pipe that can be done without; `None` otherwise.
    pub(in crate::upstream) fn dispensable_since(&self) -> Option<Instant> {
        let pending = self.0.upgrade()?;
        if *pending.owner() == Owner::Everybody {
            return None;
        }
        pending.idle_since()
    }

    /// Tells whether there still is a pipe.
    pub(in crate::upstream) fn is_open(&self) -> bool {
        self.0.upgrade().is_some_and(|pending| pending.ended().is_none())
    }

    /// Ends the pipe, unless something is in flight by now.
    pub(in crate::upstream) fn evict(&self, reason: &str) -> bool {
        self.0
            .upgrade()
            .is_some_and(|pending| pending.end_if_idle(reason))
    }
}

/// What a [`Duplex`] is made of.
#[derive(Debug)]
pub(in crate::upstream) struct Setting {
    /// The gateway.
    pub(in crate::upstream) gateway: GatewayId,
    /// Who shares a pipe.
    pub(in crate::upstream) shares: Processes,
    /// Which era to speak.
    pub(in crate::upstream) era: EraChoice,
    /// How long a request of our own may take.
    pub(in crate::upstream) timeout: Duration,
    /// How long a client may take to answer a question.
    pub(in crate::upstream) question_timeout: Duration,
}

/// A gateway behind pipes.
pub(in crate::upstream) struct Duplex<C> {
    slots: Arc<Slots<C>>,
}

impl<C: Connect> Duplex<C> {
    /// Makes the transport; nothing is opened yet.
    pub(in crate::upstream) fn new(connect: C, setting: Setting, supervisor: &Supervisor) -> Self {
        let slots = Arc::new(Slots::new(connect, setting, supervisor.clone()));
        supervisor.spawn("unused upstream pipes", sweep(Arc::downgrade(&slots)));
        Self { slots }
    }

    /// Whose pipe a client's calls go over.
    fn owner_of(&self, client: &Client) -> Owner {
        let user = client.principal.user().clone();
        match self.slots.setting().shares {
            Processes::Shared => Owner::Everybody,
            Processes::PerUser => Owner::User(user),
            Processes::PerSession => Owner::Conversation(user, client.scope.clone()),
        }
    }

    /// Whose pipe lists are asked for on.
    fn lister(&self) -> Owner {
        match self.slots.setting().shares {
            Processes::Shared => Owner::Everybody,
            Processes::PerUser | Processes::PerSession => Owner::Nobody,
        }
    }

    async fn carry_out(&self, route: &Route, call: &Call) -> Result<Answer, CallError> {
        let owner = self.owner_of(&call.client);
        let question_timeout = self.slots.setting().question_timeout;
        let mut again = true;
        loop {
            let session = tokio::select! {
                biased;
                () = call.cancel.cancelled() => return Err(CallError::Cancelled),
                session = self.slots.session(&owner, Some(&call.client)) => session?,
            };
            match session.call(route, call, question_timeout).await {
                // The pipe ended between finding and using it.
                Err(CallError::Failed { sent: false, .. }) if again => again = false,
                outcome => return outcome,
            }
        }
    }

    async fn ask_for_lists(&self) -> Result<Listing, ListError> {
        let session = self.slots.lister_session(&self.lister()).await?;
        let gateway = &self.slots.setting().gateway;
        session.listen();
        lists::collect(&*session, gateway, session.handshake()).await
    }

    async fn watch(&self, route: &Route, client: &Arc<Client>, wanted: bool) -> Result<(), CallError> {
        let Some(outbox) = &client.outbox else {
            return Ok(());
        };
        let owner = self.owner_of(client);
        let gateway = &self.slots.setting().gateway;
        let busy = || CallError::Busy {
            gateway: gateway.clone(),
        };
        let watches = self.slots.watches(&owner).ok_or_else(busy)?;
        if !wanted {
            if watches.remove(route, outbox)
                && let Some(session) = self.slots.open_session(&owner).await
            {
                session.settle().await;
            }
            return Ok(());
        }
        let session = self.slots.session(&owner, Some(client)).await?;
        if !watches.add(route, outbox).map_err(|_| busy())? {
            return Ok(());
        }
        let refused = session.settle().await;
        let Some((_, error)) = refused.into_iter().find(|(uri, _)| *uri == route.own) else {
            return Ok(());
        };
        watches.remove(route, outbox);
        let gateway = gateway.clone();
        Err(match error {
            AskError::Refused(error) => CallError::Refused { gateway, error },
            AskError::Failed(reason) => CallError::Failed {
                gateway,
                reason,
                sent: true,
            },
        })
    }
}

impl<C: Connect> Transport for Duplex<C> {
    fn call<'a>(&'a self, route: &'a Route, call: Call) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move { self.carry_out(route, &call).await })
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, ListError>> {
        Box::pin(self.ask_for_lists())
    }

    fn changes(&self) -> watch::Receiver<Announced> {
        self.slots.changes().subscribe()
    }

    fn watch_resource<'a>(
        &'a self,
        route: &'a Route,
        client: &'a Arc<Client>,
        wanted: bool,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(self.watch(route, client, wanted))
    }

    fn roots_changed<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let owner = self.owner_of(client);
            // On a pipe of several conversations the roots are nobody's in particular.
            if matches!(owner, Owner::Conversation(_, Scope::Session(_)))
                && let Some(session) = self.slots.open_session(&owner).await
            {
                session.roots_changed();
            }
        })
    }

    fn scope_ended<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if client.scope == Scope::Stateless {
                return;
            }
            let owner = self.owner_of(client);
            match owner {
                Owner::Conversation(..) => self.slots.end(&owner, "its session is over").await,
                _ => self.slots.detach(&owner, client).await,
            }
        })
    }

    fn era(&self) -> Option<Era> {
        self.slots.era()
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.slots.end_all("the gateway shuts down"))
    }
}

/// Ends what nobody uses and reopens what somebody watches, until the transport is dropped.
async fn sweep<C: Connect>(slots: Weak<Slots<C>>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(slots) = slots.upgrade() else { return };
        slots.sweep().await;
    }
}

#[cfg(test)]
mod tests;
