//! One session of a legacy client (2025-11-25, Transports, "Session Management"): what it declared, which requests
//! are in flight, what it was asked, what it watches. Never calls an upstream. Modern requests never reach this module.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::notices::concerns;
use super::questions::Questions;
use super::replay::Replays;
use crate::catalog::Changes;
use crate::catalog::route::Route;
use crate::clock::Instant;
use crate::exchange::{Client, Inbox};
use crate::ids::SessionId;
use crate::limits::RESOURCE_SUBSCRIPTIONS_MAX;
use crate::protocol::message::RpcId;
use crate::protocol::meta::LogLevel;
use crate::telemetry::Counted;

const LEVELS: [LogLevel; 8] = [
    LogLevel::Debug,
    LogLevel::Info,
    LogLevel::Notice,
    LogLevel::Warning,
    LogLevel::Error,
    LogLevel::Critical,
    LogLevel::Alert,
    LogLevel::Emergency,
];
/// What a client that set no level gets.
const LEVEL_DEFAULT: LogLevel = LogLevel::Info;

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) client: Arc<Client>,
    pub(super) questions: Questions,
    pub(super) replays: Replays,
    /// What upstreams say outside of calls; read by the stream that is open.
    pub(super) inbox: tokio::sync::Mutex<Inbox>,
    pub(super) born: Instant,
    level: AtomicU8,
    /// Few at a time (`limits::IN_FLIGHT_PER_USER_MAX`), and none in most sessions.
    in_flight: Mutex<Vec<(RpcId, CancellationToken)>>,
    watched: Mutex<Vec<Arc<Route>>>,
    told: Mutex<Changes>,
    /// Ends the stream that is open.
    stream: Mutex<Option<CancellationToken>>,
    streams_open: AtomicUsize,
    used_ms: AtomicU64,
    kept_ms: AtomicU64,
    _counted: Counted,
}

impl Session {
    pub(super) fn new(
        id: SessionId,
        client: Arc<Client>,
        inbox: Inbox,
        told: Changes,
        counted: Counted,
        born: Instant,
    ) -> Self {
        Self {
            id,
            client,
            questions: Questions::default(),
            replays: Replays::default(),
            inbox: tokio::sync::Mutex::new(inbox),
            born,
            level: AtomicU8::new(LEVEL_DEFAULT as u8),
            in_flight: Mutex::default(),
            watched: Mutex::default(),
            told: Mutex::new(told),
            stream: Mutex::default(),
            streams_open: AtomicUsize::new(0),
            used_ms: AtomicU64::new(born.elapsed().as_millis() as u64),
            kept_ms: AtomicU64::new(0),
            _counted: counted,
        }
    }

    /// Notes that the session was used just now.
    pub(super) fn touch(&self) {
        self.used_ms
            .store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns how long nobody used it; nothing while a stream is open or a request in flight.
    pub(super) fn idle(&self) -> Duration {
        if self.streams_open.load(Ordering::Relaxed) > 0 || !locked(&self.in_flight).is_empty() {
            return Duration::ZERO;
        }
        self.born
            .elapsed()
            .saturating_sub(Duration::from_millis(self.used_ms.load(Ordering::Relaxed)))
    }

    /// Tells whether it was used for so long since this was last asked, and true was said, that it should be known.
    pub(super) fn used_unkept(&self, apart: Duration) -> bool {
        let used_ms = self.born.elapsed().saturating_sub(self.idle()).as_millis() as u64;
        let due = used_ms.saturating_sub(self.kept_ms.load(Ordering::Relaxed)) >= apart.as_millis() as u64;
        if due {
            self.kept_ms.store(used_ms, Ordering::Relaxed);
        }
        due
    }

    /// Returns the exposed URIs that are watched.
    pub(super) fn watched(&self) -> Vec<String> {
        locked(&self.watched)
            .iter()
            .map(|route| route.exposed.to_string())
            .collect()
    }

    /// Sets the level of log messages.
    pub(super) fn set_level(&self, level: LogLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Sets the level of log messages to what [`Self::level`] was as a number.
    pub(super) fn set_level_number(&self, number: u8) {
        self.level.store(number, Ordering::Relaxed);
    }

    /// Returns from which level on log messages are wanted.
    pub(super) fn level(&self) -> LogLevel {
        LEVELS
            .get(usize::from(self.level.load(Ordering::Relaxed)))
            .copied()
            .unwrap_or(LEVEL_DEFAULT)
    }

    /// Notes a request in flight; `None` when its id is in use already.
    pub(super) fn begin(self: &Arc<Self>, id: &RpcId, cancel: &CancellationToken) -> Option<InFlight> {
        let mut in_flight = locked(&self.in_flight);
        if in_flight.iter().any(|(other, _)| other == id) {
            return None;
        }
        in_flight.push((id.clone(), cancel.clone()));
        Some(InFlight {
            session: self.clone(),
            id: id.clone(),
        })
    }

    /// Cancels a request in flight, if it is there.
    pub(super) fn cancel(&self, id: &RpcId) {
        let found = {
            let in_flight = locked(&self.in_flight);
            in_flight.iter().find(|(other, _)| other == id).cloned()
        };
        if let Some((_, cancel)) = found {
            cancel.cancel();
        }
    }

    /// Cancels everything that is in flight or open, when the session ends.
    pub(super) fn close(&self) {
        // Cancelled outside of the lock: those who wait wake up, and may end their requests at once.
        let in_flight = locked(&self.in_flight).clone();
        for (_, cancel) in in_flight {
            cancel.cancel();
        }
        let stream = locked(&self.stream).take();
        if let Some(stream) = stream {
            stream.cancel();
        }
    }

    /// Opens the stream for what belongs to no request; the one before it ends, since a message goes to one stream.
    pub(super) fn open_stream(self: &Arc<Self>) -> (CancellationToken, OpenStream) {
        let fresh = CancellationToken::new();
        let before = locked(&self.stream).replace(fresh.clone());
        if let Some(before) = before {
            before.cancel();
        }
        (fresh, self.hold())
    }

    /// Keeps the session from idling out while a stream is open.
    pub(super) fn hold(self: &Arc<Self>) -> OpenStream {
        self.streams_open.fetch_add(1, Ordering::Relaxed);
        OpenStream(self.clone())
    }

    /// Notes a resource as watched; false when there are too many.
    pub(super) fn watch(&self, route: &Arc<Route>) -> bool {
        let mut watched = locked(&self.watched);
        watched.retain(|other| other.exposed != route.exposed);
        let room = watched.len() < RESOURCE_SUBSCRIPTIONS_MAX;
        if room {
            watched.push(route.clone());
        }
        room
    }

    /// Notes a resource as no longer watched and returns where it led.
    pub(super) fn unwatch(&self, uri: &str) -> Option<Arc<Route>> {
        let mut watched = locked(&self.watched);
        let index = watched.iter().position(|route| &*route.exposed == uri)?;
        Some(watched.swap_remove(index))
    }

    /// Tells whether the client watches what an update is of.
    pub(super) fn watches(&self, uri: &str) -> bool {
        locked(&self.watched).iter().any(|route| concerns(route, uri))
    }

    /// Returns of which changes of lists the client was told.
    pub(super) fn told(&self) -> Changes {
        *locked(&self.told)
    }

    /// Notes of which changes of lists the client was told.
    pub(super) fn tell(&self, changes: Changes) {
        *locked(&self.told) = changes;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request in flight, until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    session: Arc<Session>,
    id: RpcId,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        locked(&self.session.in_flight).retain(|(other, _)| *other != self.id);
        self.session.touch();
    }
}

/// An open stream of a session, until this is dropped.
#[derive(Debug)]
pub(super) struct OpenStream(Arc<Session>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams_open.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}
