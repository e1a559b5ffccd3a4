//! One slot for each owner of a pipe: opens it once however many wait for it, holds it, waits longer and longer
//! before opening it anew when it was lost, and lets go of it when nobody used it for long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};

use tokio::sync::{Mutex, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::news::News;
use super::open::{OpenError, Opener};
use super::pending::Ending;
use super::session::Session;
use super::{Connect, Owner, Setting};
use crate::clock::{self, Instant};
use crate::exchange::{CallError, Client};
use crate::limits::{
    RECONNECT_BACKOFF_MAX, RECONNECT_BACKOFF_MIN, RECONNECT_HEALTHY_AFTER, UPSTREAM_SESSION_IDLE_MAX,
    UPSTREAM_SESSIONS_MAX,
};
use crate::protocol::version::Era;
use crate::supervisor::Supervisor;
use crate::upstream::backoff::Backoff;
use crate::upstream::transport::Announced;
use crate::upstream::transport::ListError;
use crate::upstream::watches::Watches;

const BACKOFF: Backoff = Backoff {
    min: RECONNECT_BACKOFF_MIN,
    max: RECONNECT_BACKOFF_MAX,
};

/// Every pipe of one gateway.
pub(super) struct Slots<C> {
    opener: Opener<C>,
    by_owner: Lock<HashMap<Owner, Arc<Slot>>>,
    /// Failed starts, whoever they were for: what cannot start for one starts for nobody.
    starts: Lock<Failures>,
    changes: watch::Sender<Announced>,
    supervisor: Supervisor,
}

/// The pipe of one owner.
#[derive(Default)]
struct Slot {
    watches: Arc<Watches>,
    held: Mutex<Held>,
    /// Cancelled when the owner is gone for good.
    over: CancellationToken,
}

#[derive(Default)]
struct Held {
    session: Option<Arc<Session>>,
    /// Pipes that were lost.
    losses: Failures,
}

impl<C: Connect> Slots<C> {
    pub(super) fn new(connect: C, setting: Setting, supervisor: Supervisor) -> Self {
        Self {
            supervisor,
            opener: Opener::new(connect, setting),
            by_owner: Lock::default(),
            starts: Lock::default(),
            changes: watch::Sender::new(Announced::default()),
        }
    }

    pub(super) fn setting(&self) -> &Setting {
        self.opener.setting()
    }

    pub(super) fn era(&self) -> Option<Era> {
        self.opener.era()
    }

    pub(super) fn changes(&self) -> &watch::Sender<Announced> {
        &self.changes
    }

    /// Returns the open pipe of an owner, or opens one.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when it cannot be opened or is not to be opened yet; [`CallError::Busy`] when there
    /// is no room for one more.
    pub(super) async fn session(
        self: &Arc<Self>,
        owner: &Owner,
        client: Option<&Arc<Client>>,
    ) -> Result<Arc<Session>, CallError> {
        let (session, opened) = self.find_or_open(owner, client).await?;
        if opened && *owner == Owner::Everybody {
            self.changes.send_modify(|announced| announced.link += 1);
        }
        Ok(session)
    }

    /// Returns the pipe that lists are asked for on. That it came back is no news to whoever asks.
    pub(super) async fn lister_session(self: &Arc<Self>, owner: &Owner) -> Result<Arc<Session>, ListError> {
        match self.find_or_open(owner, None).await {
            Ok((session, _)) => Ok(session),
            Err(CallError::Unavailable { reason, .. }) => Err(ListError(reason)),
            Err(error) => Err(ListError(error.to_string())),
        }
    }

    /// Returns the pipe of an owner if it is open.
    pub(super) async fn open_session(&self, owner: &Owner) -> Option<Arc<Session>> {
        let slot = self.existing(owner)?;
        let held = slot.held.lock().await;
        held.session.clone().filter(|session| session.ended().is_none())
    }

    /// Returns what is watched on an owner's pipes; `None` when there is no room for one more owner.
    pub(super) fn watches(&self, owner: &Owner) -> Option<Arc<Watches>> {
        self.slot(owner).map(|slot| Arc::clone(&slot.watches))
    }

    /// Ends the pipe of an owner and forgets it.
    pub(super) async fn end(&self, owner: &Owner, reason: &str) {
        let slot = self.by_owner().remove(owner);
        if let Some(slot) = slot {
            slot.end(reason).await;
        }
    }

    /// Forgets a conversation on a pipe that it shares with others.
    pub(super) async fn detach(&self, owner: &Owner, client: &Client) {
        if let Some(session) = self.open_session(owner).await {
            session.link().pending().detach(client);
        }
    }

    /// Ends every pipe and waits until nothing is left of them.
    pub(super) async fn end_all(&self, reason: &str) {
        let slots: Vec<_> = self.by_owner().drain().map(|(_, slot)| slot).collect();
        let ends = slots.iter().map(|slot| async {
            if let Some(session) = slot.end(reason).await {
                session.link().closed().await;
            }
        });
        futures_util::future::join_all(ends).await;
    }

    /// Ends what nobody used for long, forgets what is over, and reopens what somebody watches.
    pub(super) async fn sweep(self: &Arc<Self>) {
        let slots: Vec<(Owner, Arc<Slot>)> = self
            .by_owner()
            .iter()
            .map(|(owner, slot)| (owner.clone(), Arc::clone(slot)))
            .collect();
        for (owner, slot) in slots {
            let watched = !slot.watches.is_empty();
            let open = {
                // Held by somebody who opens it: in use.
                let Ok(mut held) = slot.held.try_lock() else {
                    continue;
                };
                if owner != Owner::Everybody && !watched {
                    held.end_if_unused();
                }
                held.take_note();
                held.session.clone()
            };
            match open {
                Some(session) => drop(session.settle().await),
                None if watched => drop(self.session(&owner, None).await),
                None if owner != Owner::Everybody => self.forget(&owner, &slot),
                None => {}
            }
        }
    }

    /// Finds an open pipe, or has it opened by a task of its own: a caller that gives up early must not make the
    /// next one start from the beginning.
    async fn find_or_open(
        self: &Arc<Self>,
        owner: &Owner,
        client: Option<&Arc<Client>>,
    ) -> Result<(Arc<Session>, bool), CallError> {
        let gateway = self.setting().gateway.clone();
        let slot = self.slot(owner).ok_or(CallError::Busy {
            gateway: gateway.clone(),
        })?;
        {
            let mut held = slot.held.lock().await;
            held.take_note();
            if let Some(session) = &held.session {
                return Ok((Arc::clone(session), false));
            }
        }
        let (sender, opened) = oneshot::channel();
        let (slots, owner, client) = (Arc::clone(self), owner.clone(), client.cloned());
        self.supervisor.spawn("opening an upstream pipe", async move {
            let outcome = tokio::select! {
                () = slot.over.cancelled() => Err(slots.unavailable("its session is over".to_owned())),
                outcome = slots.open(&slot, &owner, client.as_deref()) => outcome,
            };
            // Whoever asked may have given up.
            let _ = sender.send(outcome);
        });
        opened.await.unwrap_or_else(|_| {
            Err(CallError::Unavailable {
                gateway,
                reason: "toolgate is shutting down".to_owned(),
            })
        })
    }

    /// Opens the pipe of a slot unless somebody else just did.
    async fn open(
        &self,
        slot: &Slot,
        owner: &Owner,
        client: Option<&Client>,
    ) -> Result<(Arc<Session>, bool), CallError> {
        let mut held = slot.held.lock().await;
        held.take_note();
        if let Some(session) = &held.session {
            return Ok((Arc::clone(session), false));
        }
        let admitted = held.losses.admit().and_then(|()| self.starts().admit());
        admitted.map_err(|reason| self.unavailable(reason))?;
        let news = News {
            changes: (!owner.is_personal()).then(|| self.changes.clone()),
            watches: Arc::clone(&slot.watches),
        };
        match self.opener.open(owner, client, news).await {
            Ok(session) => {
                let session = Arc::new(session);
                *self.starts() = Failures::default();
                held.session = Some(Arc::clone(&session));
                Ok((session, true))
            }
            Err(OpenError::Busy) => Err(CallError::Busy {
                gateway: self.setting().gateway.clone(),
            }),
            Err(OpenError::Failed(reason)) => {
                let gateway = &self.setting().gateway;
                tracing::warn!(gateway.id = %gateway, reason, "a gateway could not be opened");
                self.starts().add(&reason, clock::now());
                Err(self.unavailable(reason))
            }
        }
    }

    fn unavailable(&self, reason: String) -> CallError {
        CallError::Unavailable {
            gateway: self.setting().gateway.clone(),
            reason,
        }
    }

    fn existing(&self, owner: &Owner) -> Option<Arc<Slot>> {
        self.by_owner().get(owner).cloned()
    }

    fn slot(&self, owner: &Owner) -> Option<Arc<Slot>> {
        let mut by_owner = self.by_owner();
        if let Some(slot) = by_owner.get(owner) {
            return Some(Arc::clone(slot));
        }
        if by_owner.len() >= UPSTREAM_SESSIONS_MAX {
            return None;
        }
        let slot = Arc::default();
        by_owner.insert(owner.clone(), Arc::clone(&slot));
        Some(slot)
    }

    /// Forgets a slot unless somebody got hold of it in the meantime.
    fn forget(&self, owner: &Owner, slot: &Arc<Slot>) {
        let mut by_owner = self.by_owner();
        // One here, one in the map.
        if Arc::strong_count(slot) <= 2 && by_owner.get(owner).is_some_and(|held| Arc::ptr_eq(held, slot)) {
            by_owner.remove(owner);
        }
    }

    fn by_owner(&self) -> MutexGuard<'_, HashMap<Owner, Arc<Slot>>> {
        self.by_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn starts(&self) -> MutexGuard<'_, Failures> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    async fn end(&self, reason: &str) -> Option<Arc<Session>> {
        self.over.cancel();
        let session = self.held.lock().await.session.take()?;
        session.link().close(reason);
        Some(session)
    }
}

impl Held {
    /// Lets go of a pipe that has ended.
    fn take_note(&mut self) {
        let Some(session) = &self.session else { return };
        let Some(ended) = session.ended() else { return };
        if ended.ending == Ending::Lost {
            if ended.at.duration_since(session.since()) >= RECONNECT_HEALTHY_AFTER {
                self.losses = Failures::default();
            }
            self.losses.add(&ended.reason, ended.at);
        }
        self.session = None;
    }

    fn end_if_unused(&self) {
        let Some(session) = &self.session else { return };
        let pending = session.link().pending();
        if let Some(since) = pending.idle_since()
            && clock::now().duration_since(since) >= UPSTREAM_SESSION_IDLE_MAX
        {
            pending.end_if_idle("nobody used it for long");
        }
    }
}

/// Failures in a row, and when the next attempt may be made.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    next: Option<(Instant, String)>,
}

impl Failures {
    fn add(&mut self, reason: &str, at: Instant) {
        let wait = BACKOFF.wait(self.count);
        self.count = self.count.saturating_add(1);
        self.next = Some((at + wait, reason.to_owned()));
    }

    /// Tells whether an attempt may be made now; what happened last, and how long to wait, when not.
    fn admit(&self) -> Result<(), String> {
        let Some((next, reason)) = &self.next else {
            return Ok(());
        };
        let left = next.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Ok(());
        }
        let seconds = left.as_millis().div_ceil(1000);
        Err(format!("{reason}; next attempt in {seconds} s"))
    }
}
