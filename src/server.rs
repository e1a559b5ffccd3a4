//! HTTP: connections, what every request passes, probes and metrics, and the mounts of `/mcp` and `/api`.
//! Nothing here knows MCP. Every connection, head, body, wait and number of requests has a bound (`limits`).
//! [`front`] holds the order of the steps; [`connection`] the life of a connection; [`routes`] which path is whose.

mod access;
mod authentication;
mod connection;
mod front;
mod held;
mod listener;
mod load;
mod panic_guard;
mod probes;
mod request_id;
mod routes;
mod shutdown;
mod watch;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use tower::Service;

pub use self::access::{Access, AccessError};
use self::front::Front;
use self::listener::Acceptor;
pub use self::listener::{Drained, Listener};
use self::load::Load;
pub use self::probes::{GatewayReadiness, Probes, Readiness};
pub use self::routes::Mounts;
pub use self::shutdown::Shutdown;
pub use self::watch::Timeouts;
use crate::config;
use crate::supervisor::Supervisor;
pub use crate::web::{BodyError, MostlyWaits, Peer, Problem, read_body};

/// The bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections; further ones are closed as they come.
    pub connections_max: usize,
    /// Requests that are being answered; further ones get 503.
    pub in_flight_max: usize,
    /// How long a connection may take.
    pub timeouts: Timeouts,
    /// How long requests may go on after the end began.
    pub drain_timeout: Duration,
}

impl From<&config::Config> for Bounds {
    fn from(config: &config::Config) -> Self {
        Self {
            connections_max: config.limits.connections_max,
            in_flight_max: config.limits.in_flight_max,
            timeouts: Timeouts::default(),
            drain_timeout: config.server.drain_timeout,
        }
    }
}

/// A server that is put together but does not accept yet.
#[derive(Debug)]
pub struct Server(Acceptor);

impl Server {
    /// Puts a server together.
    pub fn new<M>(
        listener: Listener,
        mounts: Mounts<M>,
        access: Arc<Access>,
        bounds: Bounds,
        supervisor: Supervisor,
        shutdown: Shutdown,
    ) -> Self
    where
        M: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        M::Future: Send + 'static,
    {
        let metrics = Arc::clone(&mounts.metrics);
        let (mcp, routes) = mounts.split();
        let front = Front {
            access,
            load: Load::new(bounds.in_flight_max, Arc::clone(&metrics)),
            metrics,
            mcp,
            routes,
        };
        Self(Acceptor {
            listener,
            front: Arc::new(front),
            connections_max: u32::try_from(bounds.connections_max).unwrap_or(u32::MAX),
            timeouts: bounds.timeouts,
            drain_timeout: bounds.drain_timeout,
            supervisor,
            shutdown,
        })
    }

    /// Serves until the end begins and every connection is closed. Dropping the future stops accepting; connections
    /// that are open go on.
    pub async fn run(self) -> Drained {
        self.0.run().await
    }
}

/// Tells whether `/metrics` may be open: the server listens on loopback and has no public URL, so that only this
/// machine can ask. Otherwise a scraper needs a key like everybody else.
#[must_use]
pub fn metrics_may_be_open(server: &config::Server, listening: SocketAddr) -> bool {
    access::is_local(server, listening)
}
