//! One gateway as everything above sees it: [`Gateway::call`] is the only way to call it, and takes a [`Permit`].
//! Has what every kind of link needs alike (places, deadline, breaker, health); how an upstream is spoken to is its
//! [`Transport`]'s business. A call that is not let through has not reached the upstream. Nothing is sent twice here.

mod carry;
mod deadline;
mod measured;
mod questions;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use tokio_util::sync::CancellationToken;

use super::breaker::{Attempt, Breaker};
use super::health::{Health, LinkState};
use super::refresh::Looks;
use super::transport::Transport;
use crate::catalog::route::Route;
use crate::clock;
use crate::config;
use crate::exchange::{Answer, Call, CallError, Client};
use crate::ids::GatewayId;
use crate::limits::{LINK_END_TIMEOUT, NOTICE_TIMEOUT, QUEUE_WAIT_MAX};
use crate::policy::Permit;
use crate::protocol::version::Era;
use crate::telemetry::Metrics;

/// One configured gateway and its live link.
pub struct Gateway {
    name: GatewayId,
    config: ArcSwap<config::Gateway>,
    timeout: Duration,
    transport: Arc<dyn Transport>,
    places: Semaphore,
    places_max: u32,
    pub(super) breaker: Breaker,
    pub(super) health: Health,
    pub(super) metrics: Arc<Metrics>,
    pub(super) looks: Looks,
    looked: AtomicBool,
    retired: CancellationToken,
    /// Held while something is published, so that nothing is once it has retired.
    publishing: Mutex<()>,
}

impl Gateway {
    /// Makes a gateway of its configuration and its link. Asks nobody.
    #[must_use]
    pub fn new(config: &config::Gateway, transport: Arc<dyn Transport>, metrics: Arc<Metrics>) -> Self {
        let places_max = u32::try_from(config.in_flight_max).unwrap_or(u32::MAX);
        Self {
            name: config.name.clone(),
            timeout: config.timeout,
            config: ArcSwap::from_pointee(config.clone()),
            transport,
            places: Semaphore::new(config.in_flight_max),
            places_max,
            breaker: Breaker::default(),
            health: Health::default(),
            metrics,
            looks: Looks::default(),
            looked: AtomicBool::new(false),
            retired: CancellationToken::new(),
            publishing: Mutex::new(()),
        }
    }

    /// Carries a call out: within the gateway's places, deadline and breaker.
    /// Dropping the future, or cancelling `call.cancel`, tells the upstream.
    ///
    /// # Errors
    /// [`CallError`], by cause. `Unavailable` and `Busy` come before anything was sent. After `Stale` a look at the
    /// lists is on its way; [`Self::refreshed`] waits for it.
    pub async fn call(&self, permit: Permit, call: impl Into<Box<Call>>) -> Result<Answer, CallError> {
        let call = call.into();
        let route = permit.route();
        self.own(route)?;
        let (method, cancel) = (call.request.method, call.cancel.clone());
        let started = clock::now();
        let work = carry::carry(&*self.transport, route, self.timeout, call);
        let carried = self.attempt(&cancel, work).await;
        let took = clock::now().duration_since(started);
        self.count(method, route, &carried, took);
        if matches!(carried, Err(CallError::Stale { .. })) {
            self.looks.want();
        }
        let carried = carried?;
        if !carried.asked {
            self.health.took(took);
        }
        Ok(carried.answer)
    }

    /// Starts telling a client's outbox of changes of a resource. Idempotent.
    pub async fn watch_resource(&self, permit: Permit, client: &Arc<Client>) -> Result<(), CallError> {
        self.set_watch(permit.route(), client, true).await
    }

    /// Ends telling a client's outbox of changes of a resource. Needs no permit: what was given may be taken back.
    pub async fn unwatch_resource(&self, route: &Route, client: &Arc<Client>) -> Result<(), CallError> {
        self.set_watch(route, client, false).await
    }

    async fn set_watch(&self, route: &Route, client: &Arc<Client>, wanted: bool) -> Result<(), CallError> {
        self.own(route)?;
        let work = tokio::time::timeout(self.timeout, self.transport.watch_resource(route, client, wanted));
        let work = work.map(|done| {
            done.unwrap_or_else(|_| {
                Err(CallError::Timeout {
                    gateway: self.name.clone(),
                    timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
                })
            })
        });
        self.attempt(&CancellationToken::new(), work).await
    }

    /// Tells upstream sessions of this client that its roots changed; gives up after [`NOTICE_TIMEOUT`].
    pub async fn roots_changed(&self, client: &Client) {
        let _ = tokio::time::timeout(NOTICE_TIMEOUT, self.transport.roots_changed(client)).await;
    }

    /// Ends what is held for a client's scope; gives up after [`NOTICE_TIMEOUT`].
    pub async fn scope_ended(&self, client: &Client) {
        let _ = tokio::time::timeout(NOTICE_TIMEOUT, self.transport.scope_ended(client)).await;
    }

    /// Asks for the lists again and waits until that was tried: at most one look a second, shared by all who ask.
    pub async fn refresh_now(&self) {
        self.looks.want();
        self.refreshed().await;
    }

    /// Waits until every look that was asked for so far was tried: after [`CallError::Stale`], say.
    pub async fn refreshed(&self) {
        tokio::select! {
            biased;
            () = self.retired.cancelled() => {}
            () = self.looks.served() => {}
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &GatewayId {
        &self.name
    }

    /// Returns its configuration as it stands now.
    #[must_use]
    pub fn config(&self) -> Arc<config::Gateway> {
        self.config.load_full()
    }

    /// Returns the era of the link; `None` before the first contact.
    #[must_use]
    pub fn era(&self) -> Option<Era> {
        self.transport.era()
    }

    /// Returns how many calls it is working on.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        (self.places_max as usize).saturating_sub(self.places.available_permits())
    }

    /// Tells whether it has answered, or its start-up deadline has passed.
    #[must_use]
    pub fn looked(&self) -> bool {
        self.looked.load(Ordering::Acquire)
    }

    /// Takes on a configuration that differs in nothing that the link is made of.
    pub(super) fn reconfigure(&self, config: &config::Gateway) {
        self.config.store(Arc::new(config.clone()));
    }

    pub(super) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// Cancelled when the gateway's lists are wanted no more.
    pub(super) fn retired(&self) -> &CancellationToken {
        &self.retired
    }

    /// Runs `publish` unless the gateway has retired; never beside or after [`Self::retire`].
    pub(super) fn unless_retired(&self, publish: impl FnOnce()) {
        let _held = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.retired.is_cancelled() {
            publish();
        }
    }

    /// Sets [`Self::looked`]; returns whether it was not set before.
    pub(super) fn set_looked(&self) -> bool {
        !self.looked.swap(true, Ordering::AcqRel)
    }

    /// Ends the looks at its lists: nothing is published after this.
    pub(super) fn retire(&self) {
        let _held = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        self.retired.cancel();
    }

    /// Lets the calls in flight end, for at most `drain` or until `hurry`; then ends the link.
    pub(super) async fn end(&self, drain: Duration, hurry: &CancellationToken) {
        self.retire();
        tokio::select! {
            _ = tokio::time::timeout(drain, self.places.acquire_many(self.places_max)) => {}
            () = hurry.cancelled() => {}
        }
        self.places.close();
        if tokio::time::timeout(LINK_END_TIMEOUT, self.transport.shut_down())
            .await
            .is_err()
        {
            tracing::warn!(gateway.id = %self.name, "the link of a gateway did not end in time");
        }
    }

    fn own(&self, route: &Route) -> Result<(), CallError> {
        if route.gateway == self.name {
            return Ok(());
        }
        debug_assert_eq!(route.gateway, self.name, "a permit is used at its own gateway");
        Err(self.unavailable(format!("the permit is for gateway {}", route.gateway)))
    }

    /// Does something that counts as a call: in a place of the gateway, and as the breaker allows.
    async fn attempt<T>(
        &self,
        cancel: &CancellationToken,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        self.breaker.peek().map_err(|_| self.refused())?;
        let _place = self.place(cancel).await?;
        // Only now, so that a call never waits in the queue while it is the one that may try.
        let attempt = self.breaker.admit().map_err(|_| self.refused())?;
        if attempt.is_probe() {
            self.show_breaker();
        }
        let done = work.await;
        self.settle(attempt, done.as_ref().err());
        done
    }

    async fn place(&self, cancel: &CancellationToken) -> Result<SemaphorePermit<'_>, CallError> {
        match self.places.try_acquire() {
            Ok(place) => return Ok(place),
            Err(TryAcquireError::Closed) => return Err(self.gone()),
            Err(TryAcquireError::NoPermits) => {}
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(CallError::Cancelled),
            place = tokio::time::timeout(QUEUE_WAIT_MAX, self.places.acquire()) => match place {
                Ok(Ok(place)) => Ok(place),
                Ok(Err(_)) => Err(self.gone()),
                Err(_) => {
                    self.metrics.limit_hit("in_flight_per_gateway_max");
                    Err(CallError::Busy { gateway: self.name.clone() })
                }
            },
        }
    }

    /// Tells breaker and health how an attempt ended.
    fn settle(&self, attempt: Attempt<'_>, error: Option<&CallError>) {
        let fault = match error {
            None | Some(CallError::Stale { .. } | CallError::Refused { .. }) => {
                if attempt.answered() {
                    self.breaker_closed();
                    self.is_up();
                }
                return;
            }
            // They say nothing about the upstream.
            Some(CallError::Cancelled | CallError::Busy { .. }) => return,
            Some(CallError::Timeout { timeout_ms, .. }) => format!("no answer within {timeout_ms} ms"),
            Some(CallError::Unavailable { reason, .. } | CallError::Failed { reason, .. }) => reason.clone(),
        };
        self.health.fault(&fault);
        if attempt.failed() {
            self.show_breaker();
            self.is_down(&fault);
            self.looks.breaker_opened();
        }
    }

    pub(super) fn breaker_closed(&self) {
        self.show_breaker();
        tracing::info!(gateway.id = %self.name, "the breaker of a gateway closed: calls go through again");
    }

    pub(super) fn is_up(&self) {
        if self.health.set(LinkState::Up) {
            self.show_link();
            tracing::info!(gateway.id = %self.name, "gateway is up");
        }
    }

    pub(super) fn is_down(&self, reason: &str) {
        if self.health.set(LinkState::Down) {
            self.show_link();
            tracing::warn!(gateway.id = %self.name, reason, "gateway is down");
        }
    }

    /// Sets the gauges of a gateway. One that has retired leaves them to its successor.
    pub(super) fn show(&self) {
        self.show_breaker();
        self.show_link();
    }

    fn show_breaker(&self) {
        let state = self.breaker.state();
        self.unless_retired(|| self.metrics.breaker_state(&self.name, state));
    }

    fn show_link(&self) {
        let up = self.health.condition().state == LinkState::Up;
        self.unless_retired(|| self.metrics.upstream_up(&self.name, up));
    }

    fn refused(&self) -> CallError {
        let last = self.health.last_fault();
        let last = last
            .as_ref()
            .map_or("no fault on record", |fault| fault.text.as_str());
        self.unavailable(format!(
            "it failed {} times in a row, last with: {last}",
            self.breaker.faults()
        ))
    }

    fn gone(&self) -> CallError {
        self.unavailable("it was taken out of the configuration".to_owned())
    }

    fn unavailable(&self, reason: String) -> CallError {
        CallError::Unavailable {
            gateway: self.name.clone(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
