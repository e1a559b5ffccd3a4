//! Accepts connections, within a cap, until the end begins; then waits for those that are open, and cuts what is left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Shutdown;
use super::connection;
use super::front::Front;
use super::watch::Timeouts;
use crate::limits;
use crate::supervisor::Supervisor;

/// A bound socket. Connections wait in the kernel until [`Server::run`](super::Server::run).
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the operating system says: the address is in use, or not ours.
    pub async fn bind(listen: &str) -> std::io::Result<Self> {
        let socket = TcpListener::bind(listen).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// How the last connections ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All were done in time.
    Clean,
    /// Some were cut.
    Cut,
}

/// What it takes to accept.
#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) front: Arc<Front>,
    pub(super) connections_max: u32,
    pub(super) timeouts: Timeouts,
    pub(super) drain_timeout: Duration,
    pub(super) supervisor: Supervisor,
    pub(super) shutdown: Shutdown,
}

impl Acceptor {
    /// Accepts until the end begins, then drains.
    pub(super) async fn run(self) -> Drained {
        let permits = Arc::new(Semaphore::new(self.connections_max as usize));
        let draining = self.shutdown.draining();
        loop {
            let accepted = tokio::select! {
                biased;
                () = draining.cancelled() => break,
                accepted = self.listener.socket.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => self.start(socket, peer, &permits),
                Err(error) => self.accept_failed(&error).await,
            }
        }
        drop(self.listener);
        let all_closed = || permits.acquire_many(self.connections_max);
        let cutting = self.shutdown.cutting();
        tokio::select! {
            _ = all_closed() => return Drained::Clean,
            () = tokio::time::sleep(self.drain_timeout) => self.shutdown.cut(),
            () = cutting.cancelled() => {}
        }
        let cut = self.connections_max as usize - permits.available_permits();
        tracing::warn!(connections = cut, "connections were cut");
        let _ = all_closed().await;
        Drained::Cut
    }

    fn start(&self, socket: TcpStream, peer: SocketAddr, permits: &Arc<Semaphore>) {
        let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
            self.front.metrics.limit_hit("connections_max");
            return;
        };
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection broke before it began");
            return;
        }
        let (front, timeouts, shutdown) = (Arc::clone(&self.front), self.timeouts, self.shutdown.clone());
        self.supervisor.spawn_until_done("connection", async move {
            connection::serve(socket, peer, front, timeouts, shutdown).await;
            drop(permit);
        });
    }

    /// Out of descriptors, mostly: those who are connected go on, and the next ones wait in the kernel.
    async fn accept_failed(&self, error: &std::io::Error) {
        self.front.metrics.limit_hit("accept");
        tracing::warn!(%error, "a connection could not be accepted");
        tokio::time::sleep(limits::ACCEPT_RETRY).await;
    }
}
