//! Streamable HTTP towards an upstream of either era. The era is found by probing and kept until the upstream gives
//! reason to doubt it. Sessions, listen streams and answers of one client's scope never reach another.

mod abandoned;
mod client;
pub(super) mod fault;
pub(super) mod flight;
mod hearing;
mod large;
mod legacy;
mod link;
mod listen;
mod modern;
mod own;
mod pool;
mod probe;
mod replies;
mod session;
pub(super) mod stream;
mod talk;
pub(super) mod wire;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use url::Url;

use self::fault::Fault;
use self::flight::{Flight, Landed};
pub(super) use self::legacy::Failed;
use self::legacy::Legacy;
use self::link::Link;
use self::modern::Modern;
use self::probe::Discovered;
pub use self::wire::SettingsError;
use super::transport::{Announced, ListError, Transport};
use crate::catalog::listing::Listing;
use crate::catalog::route::Route;
use crate::config::{EraChoice, Secret};
use crate::exchange::{Answer, Call, CallError, Client};
use crate::ids::GatewayId;
use crate::limits::UPSTREAM_SESSION_SWEEP_INTERVAL;
use crate::protocol::message::Response;
use crate::protocol::version::Era;
use crate::supervisor::Supervisor;
use wire::Wire;

/// What one gateway's configuration says of its HTTP link.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its MCP endpoint.
    pub url: Url,
    /// Sent with every request.
    pub headers: Vec<(String, Secret)>,
    /// Which era to speak.
    pub era: EraChoice,
    /// A whole call over HTTP+SSE; over Streamable HTTP the gateway's clock alone ends it, by dropping it.
    pub call_timeout: Duration,
    /// One JSON body, or one message of a stream.
    pub result_bytes_max: usize,
    /// A client's answer to a question.
    pub question_timeout: Duration,
}

/// The link to one gateway.
#[derive(Debug)]
pub struct HttpTransport {
    link: Arc<Link>,
    legacy: Arc<Legacy>,
    modern: Arc<Modern>,
    choice: EraChoice,
    era: Flight<Era>,
    /// The era that was found last, for who asks.
    last_era: Mutex<Option<Era>>,
}

impl HttpTransport {
    /// Makes a link; nothing is connected yet.
    ///
    /// # Errors
    /// [`SettingsError`]: a header that cannot be sent, TLS that cannot be set up.
    pub fn new(settings: HttpSettings, supervisor: &Supervisor) -> Result<Self, SettingsError> {
        let wire = Wire::new(
            settings.url.clone(),
            &settings.headers,
            settings.result_bytes_max,
            supervisor,
        )?;
        Ok(Self::over(wire, settings, supervisor))
    }

    /// Makes a link over a wire that others may share; what the settings say of URL and headers is the wire's business.
    pub(super) fn over(wire: Wire, settings: HttpSettings, supervisor: &Supervisor) -> Self {
        let link = Arc::new(Link::new(
            settings.gateway,
            wire,
            supervisor.clone(),
            settings.question_timeout,
        ));
        let legacy = Arc::new(Legacy::new(Arc::clone(&link)));
        let modern = Arc::new(Modern::new(Arc::clone(&link)));
        supervisor.spawn(
            "idle upstream sessions",
            sweep(Arc::downgrade(&legacy), Arc::downgrade(&modern)),
        );
        Self {
            link,
            legacy,
            modern,
            choice: settings.era,
            era: Flight::default(),
            last_era: Mutex::new(None),
        }
    }

    /// Tells whether the upstream was found to speak HTTP+SSE of 2024-11-05 instead. The gateway should be reached
    /// through that transport then; this one can only fail.
    #[must_use]
    pub fn speaks_old_sse(&self) -> bool {
        self.link.old_sse.load(Ordering::Acquire)
    }

    /// Returns how many answers came that belong to no request.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.link.strays()
    }

    /// Returns the era, probing when it is not known. One probe serves all who wait.
    async fn era_of(&self) -> Result<Landed<Era>, Fault> {
        let (link, choice) = (Arc::clone(&self.link), self.choice);
        let probe = move || {
            async move {
                match choice {
                    EraChoice::Legacy => Ok(Era::Legacy),
                    EraChoice::Modern => Ok(Era::Modern),
                    EraChoice::Auto => probe::discover(&link).await.map(|discovered| match discovered {
                        Discovered::Modern(_) => Era::Modern,
                        Discovered::Legacy => Era::Legacy,
                    }),
                }
            }
            .boxed()
        };
        let landed = self.era.get(&self.link.supervisor, "era probe", probe).await?;
        let mut last = self.last_era.lock().unwrap_or_else(PoisonError::into_inner);
        if last.replace(landed.value) != Some(landed.value) {
            tracing::info!(gateway.id = %self.link.gateway, era = ?landed.value, "the era of a gateway was found");
        }
        Ok(landed)
    }

    /// Carries a call out; the cause stays as it was.
    pub(super) async fn carry(&self, route: &Route, call: &Call) -> Result<Answer, Failed> {
        let (response, era) = self.call_in_era(route, call).await?;
        Ok(Answer { response, era })
    }

    /// Carries a call out in the era that is known; once more in the other when that turned out to be wrong.
    async fn call_in_era(&self, route: &Route, call: &Call) -> Result<(Response, Era), Failed> {
        let mut found = self.era_for(call).await?;
        let mut doubted = false;
        loop {
            let outcome = match found.value {
                Era::Legacy => self.legacy.call(route, call).await,
                Era::Modern => self.modern.call(route, call).await,
            };
            let failed = match outcome {
                Ok(response) => return Ok((response, found.value)),
                Err(failed) => failed,
            };
            if failed.fault.doubts_era(failed.began) {
                self.era.forget(&found);
            }
            if doubted || !matches!(failed.fault, Fault::WrongEra { .. }) {
                return Err(failed);
            }
            doubted = true;
            let again = self.era_for(call).await?;
            if again.value == found.value {
                return Err(failed);
            }
            found = again;
        }
    }

    async fn era_for(&self, call: &Call) -> Result<Landed<Era>, Failed> {
        if let Some(found) = self.era.landed() {
            return Ok(found);
        }
        let era = Box::pin(self.era_of());
        let found = tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(Fault::Cancelled),
            found = era => found,
        };
        found.map_err(Failed::before)
    }

    /// Asks for every list; the cause stays as it was.
    pub(super) async fn list_in_era(&self) -> Result<Listing, Fault> {
        let mut found = self.era_of().await?;
        let mut doubted = false;
        loop {
            let outcome = match found.value {
                Era::Legacy => self.legacy.list().await,
                Era::Modern => self.modern.list().await,
            };
            let fault = match outcome {
                Ok(listing) => return Ok(listing),
                Err(fault) => fault,
            };
            if fault.doubts_era(false) {
                self.era.forget(&found);
            }
            if doubted || !matches!(fault, Fault::WrongEra { .. }) {
                return Err(fault);
            }
            doubted = true;
            let again = self.era_of().await?;
            if again.value == found.value {
                return Err(fault);
            }
            found = again;
        }
    }

    pub(super) async fn watch(&self, route: &Route, client: &Arc<Client>, wanted: bool) -> Result<(), Fault> {
        match self.era_of().await?.value {
            Era::Legacy => self.legacy.watch_resource(route, client, wanted).await,
            Era::Modern => self.modern.watch_resource(route, client, wanted).await,
        }
    }
}

impl Transport for HttpTransport {
    fn call<'a>(&'a self, route: &'a Route, call: Call) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move {
            let carried = self.carry(route, &call).await;
            carried.map_err(|failed| failed.into_call_error(&self.link.gateway))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, ListError>> {
        Box::pin(async move {
            self.list_in_era()
                .await
                .map_err(|fault| ListError(fault.to_string()))
        })
    }

    fn changes(&self) -> watch::Receiver<Announced> {
        self.link.changes()
    }

    fn watch_resource<'a>(
        &'a self,
        route: &'a Route,
        client: &'a Arc<Client>,
        wanted: bool,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move {
            self.watch(route, client, wanted)
                .await
                .map_err(|fault| fault.into_call_error(&self.link.gateway, true))
        })
    }

    fn roots_changed<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        self.legacy.roots_changed(client);
        Box::pin(std::future::ready(()))
    }

    fn scope_ended<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        self.modern.scope_ended(client);
        Box::pin(self.legacy.scope_ended(client))
    }

    fn era(&self) -> Option<Era> {
        *self.last_era.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        self.modern.shut_down();
        Box::pin(self.legacy.shut_down())
    }
}

impl Drop for HttpTransport {
    fn drop(&mut self) {
        self.link.down.cancel();
    }
}

/// Ends what is idle, as long as the link is there.
async fn sweep(legacy: std::sync::Weak<Legacy>, modern: std::sync::Weak<Modern>) {
    loop {
        tokio::time::sleep(UPSTREAM_SESSION_SWEEP_INTERVAL).await;
        let (Some(legacy), Some(modern)) = (legacy.upgrade(), modern.upgrade()) else {
            return;
        };
        legacy.sweep().await;
        modern.sweep();
    }
}

#[cfg(test)]
mod tests;
