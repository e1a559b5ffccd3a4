//! The HTTP/1.1 client below [`super::wire`]: connections of its own, kept between requests. Follows no redirect, unpacks
//! nothing, goes through no proxy, keeps no cookie, and sends nothing twice that may have arrived.
//! A connection has no task of its own: who waits for an answer drives the connection that it comes on. So an answer
//! wakes its call and nobody else, and an upstream whose answer nobody reads is held up by the network itself.

mod framing;
mod head;
mod open;
mod origin;

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tower::Service;

pub(in crate::upstream) use self::head::Head;
pub(super) use self::open::Request;
use self::open::{Open, Socket, Unanswered};
pub(super) use self::origin::Target;
use self::origin::{Origin, Peer};
use crate::clock;
use crate::limits::{
    CONNECT_TIMEOUT, IN_FLIGHT_PER_GATEWAY_MAX, UPSTREAM_KEEPALIVE, UPSTREAM_KEEPALIVE_RETRIES,
    UPSTREAM_POOL_IDLE_MAX, UPSTREAM_POOL_SWEEP_INTERVAL, UPSTREAM_UNACKNOWLEDGED_MAX,
};
use crate::supervisor::Supervisor;

/// Why no head of an answer came.
#[derive(Debug)]
pub(super) enum SendError {
    /// No connection came about; nothing was written.
    Unreachable(String),
    /// The connection broke.
    Broken(String),
}

/// Sends requests. Clones share the connections.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Shared>);

struct Shared {
    tcp: HttpConnector,
    /// Only there when the client was made for an upstream of https.
    tls: Option<TlsConnector>,
    idle: Mutex<Idle>,
    supervisor: Supervisor,
}

/// Connections without a request, the last used last.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a connection goes from hand to hand, and is large")]
struct Idle {
    open: Vec<Box<Open>>,
    /// Whether somebody looks after them.
    swept: bool,
}

impl Client {
    /// Makes a client. Without TLS no certificates are read: an image without any is no reason to refuse.
    pub(super) fn new(tls: bool, supervisor: &Supervisor) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(UPSTREAM_KEEPALIVE));
        tcp.set_keepalive_interval(Some(UPSTREAM_KEEPALIVE));
        tcp.set_keepalive_retries(Some(UPSTREAM_KEEPALIVE_RETRIES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UPSTREAM_UNACKNOWLEDGED_MAX));
        Ok(Self(Arc::new(Shared {
            tcp,
            tls: tls.then(connector).transpose()?,
            idle: Mutex::default(),
            supervisor: supervisor.clone(),
        })))
    }

    /// Sends a request and waits for the head of its answer. Dropping the future closes its connection.
    pub(super) async fn send(
        &self,
        origin: &Arc<Origin>,
        request: Request,
    ) -> Result<(Head, Body), SendError> {
        while let Some(open) = self.0.take_idle(origin) {
            match self.exchange(open, request.clone()).await {
                Ok(answer) => return Ok(answer),
                // It was closed while it was idle: nothing was written.
                Err(unanswered) if unanswered.unsent => {}
                Err(unanswered) => return Err(SendError::Broken(root_cause(&unanswered.error))),
            }
        }
        let open = Box::pin(self.0.connect(origin)).await?;
        let sent = self.exchange(open, request).await;
        sent.map_err(|unanswered| SendError::Broken(root_cause(&unanswered.error)))
    }

    async fn exchange(&self, mut open: Box<Open>, request: Request) -> Result<(Head, Body), Unanswered> {
        let head = open.exchange(request).await?;
        let body = Body::of(open, &self.0);
        Ok((head, body))
    }
}

fn connector() -> Result<TlsConnector, rustls::Error> {
    let config = rustls::ClientConfig::builder().with_platform_verifier()?;
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Shared {
    async fn connect(&self, origin: &Arc<Origin>) -> Result<Box<Open>, SendError> {
        let unreachable = |error: &(dyn Error + 'static)| SendError::Unreachable(root_cause(error));
        let connecting = async {
            let tcp = self.tcp.clone().call(origin.uri.clone()).await;
            let tcp = tcp.map_err(|error| unreachable(&error))?;
            let socket = match (&origin.peer, &self.tls) {
                (Peer::Plain, _) => Socket::Plain(tcp.into_inner()),
                (Peer::Tls(name), Some(tls)) => {
                    let secured = tls.connect(name.clone(), tcp.into_inner()).await;
                    Socket::Tls(Box::new(secured.map_err(|error| unreachable(&error))?))
                }
                (Peer::Tls(_), None) => {
                    return Err(SendError::Unreachable("TLS is not set up for it".to_owned()));
                }
            };
            Ok(Open::over(socket, origin))
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(SendError::Unreachable(format!(
                "no connection within {} s",
                CONNECT_TIMEOUT.as_secs()
            ))),
        }
    }

    fn take_idle(&self, origin: &Arc<Origin>) -> Option<Box<Open>> {
        loop {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let at = idle.open.iter().rposition(|open| open.leads_to(origin))?;
            let mut open = idle.open.remove(at);
            drop(idle);
            let fresh = clock::now().duration_since(open.idle_since) < UPSTREAM_POOL_IDLE_MAX;
            if fresh && open.is_quiet() {
                return Some(open);
            }
        }
    }

    /// Keeps a connection whose answer was read, if it can take another request.
    fn keep(self: &Arc<Self>, mut open: Box<Open>) {
        // After the runtime's end nobody would look after it.
        if !open.is_done() || Handle::try_current().is_err() {
            return;
        }
        open.rest();
        open.idle_since = clock::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.open.len() >= IN_FLIGHT_PER_GATEWAY_MAX {
            idle.open.remove(0);
        }
        idle.open.push(open);
        if !std::mem::replace(&mut idle.swept, true) {
            let sweep = sweep(Arc::downgrade(self));
            self.supervisor.spawn("idle upstream connections", sweep);
        }
    }

    /// Closes what has been idle for too long, or was closed by the upstream; true while there is more.
    fn sweep(&self) -> bool {
        let now = clock::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.open.retain_mut(|open| {
            now.duration_since(open.idle_since) < UPSTREAM_POOL_IDLE_MAX && open.is_quiet()
        });
        idle.swept = !idle.open.is_empty();
        if !idle.swept {
            idle.open = Vec::new();
        }
        idle.swept
    }
}

/// Looks after idle connections as long as there are any.
async fn sweep(client: Weak<Shared>) {
    loop {
        tokio::time::sleep(UPSTREAM_POOL_SWEEP_INTERVAL).await;
        let Some(client) = client.upgrade() else { return };
        if !client.sweep() {
            return;
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// The body of an answer. Read to its end, or dropped at an end that has arrived already, its connection is used
/// again; dropped earlier, the connection is closed.
pub(super) struct Body {
    /// `None` once it was read to its end.
    open: Option<Box<Open>>,
    client: Weak<Shared>,
    length: Option<u64>,
}

impl Body {
    fn of(open: Box<Open>, client: &Arc<Shared>) -> Self {
        let mut body = Self {
            length: open.length(),
            open: Some(open),
            client: Arc::downgrade(client),
        };
        body.release_if_over();
        body
    }

    /// Says nothing and does not end.
    #[cfg(test)]
    pub(super) fn silent() -> Self {
        Self {
            open: None,
            client: Weak::new(),
            length: None,
        }
    }

    /// Returns the next piece; `None` at the end. Dropping the future loses nothing.
    pub(super) async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// Returns a piece that is there already; `Pending` says nothing about who is woken for the next.
    pub(super) fn ready_chunk(&mut self) -> Poll<io::Result<Option<Bytes>>> {
        self.poll_chunk(&mut Context::from_waker(Waker::noop()))
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let Some(open) = &mut self.open else {
            #[cfg(test)]
            if self.client.ptr_eq(&Weak::new()) {
                return Poll::Pending;
            }
            return Poll::Ready(Ok(None));
        };
        let piece = std::task::ready!(open.poll_piece(cx));
        match &piece {
            Ok(Some(_)) => self.release_if_over(),
            Ok(None) => self.release(),
            Err(_) => self.open = None,
        }
        Poll::Ready(piece)
    }

    /// Returns how long the whole of it is, when that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    fn release_if_over(&mut self) {
        if self.open.as_mut().is_some_and(|open| open.is_over()) {
            self.release();
        }
    }

    /// Gives the connection back.
    fn release(&mut self) {
        if let (Some(open), Some(client)) = (self.open.take(), self.client.upgrade()) {
            client.keep(open);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.release();
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

/// Returns the innermost reason, which never holds the URL.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    super::wire::shortened(&cause.to_string())
}

#[cfg(test)]
mod tests;
