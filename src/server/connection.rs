//! One connection from its first byte to its last: HTTP/1.1 by hyper under the clock of [`Watch`].
//! HTTP/2 is not spoken: its streams would escape the bounds that are kept per connection, and the clients and reverse
//! proxies that we know speak HTTP/1.1 here.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Shutdown;
use super::front::Front;
use super::held::Held;
use super::watch::{Overdue, Timeouts, Watch, Watched};
use crate::clock;
use crate::limits;
use crate::web::Peer;

const _: () = assert!(
    limits::HEADER_COUNT_MAX == 100,
    "hyper's own cap, which costs nothing; any other is set with max_headers and costs an allocation a request"
);

/// How a connection ended.
enum End {
    /// The two sides were done, or one of them broke off.
    Done(hyper::Result<()>),
    /// It took too long.
    Overdue(Overdue),
    /// We could not wait for it.
    Cut,
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    front: Arc<Front>,
    timeouts: Timeouts,
    shutdown: Shutdown,
) {
    let watch = Watch::new();
    let watched = Watched::new(socket, watch.clone());
    let metrics = Arc::clone(&front.metrics);
    let _open = metrics.connection_opened();

    let service = {
        let watch = watch.clone();
        service_fn(move |mut request: hyper::Request<Incoming>| {
            let answering = watch.answering();
            let front = Arc::clone(&front);
            request.extensions_mut().insert(Peer(peer));
            async move {
                let response = front.answer(request.map(Body::new)).await;
                Ok::<_, Infallible>(response.map(|body| Held::new(body, answering)))
            }
        })
    };
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(limits::HEADER_BYTES_MAX)
        .max_buf_size(limits::CONNECTION_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(watched), service);
    match drive(connection, &watch, &timeouts, &shutdown).await {
        End::Done(Ok(())) | End::Cut | End::Overdue(Overdue::Idle | Overdue::Linger) => {}
        End::Done(Err(error)) => tracing::debug!(%error, "connection ended"),
        End::Overdue(Overdue::Head) => metrics.limit_hit("header_read_timeout"),
        End::Overdue(Overdue::Reader) => metrics.slow_reader_dropped(),
    }
}

/// Polls a connection until it is done, overdue or cut. When draining begins it takes no further request.
async fn drive<C>(connection: C, watch: &Watch, timeouts: &Timeouts, shutdown: &Shutdown) -> End
where
    C: Future<Output = hyper::Result<()>> + Graceful,
{
    let mut connection = pin!(connection);
    let mut signals = signals(shutdown);
    let mut alarm = pin!(tokio::time::sleep_until(clock::now() + timeouts.header_read));
    poll_fn(move |cx| {
        while let Poll::Ready(Some(signal)) = signals.poll_next_unpin(cx) {
            match signal {
                Signal::Drain => connection.as_mut().take_no_more(),
                Signal::Cut => return Poll::Ready(End::Cut),
            }
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(End::Done(result));
        }
        // The alarm is only moved forward when it must be: it may ring early, and then looks again.
        while let Some((at, what)) = watch.deadline(timeouts) {
            if at <= clock::now() {
                return Poll::Ready(End::Overdue(what));
            }
            if at < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(at);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                break;
            }
        }
        Poll::Pending
    })
    .await
}

/// What the end of the house means to a connection.
enum Signal {
    Drain,
    Cut,
}

/// Waits for the end. A set of futures only polls those that have been woken: the tokens are shared by all connections,
/// and asking one takes its lock.
fn signals(shutdown: &Shutdown) -> FuturesUnordered<BoxFuture<'static, Signal>> {
    let (draining, cutting) = (shutdown.draining(), shutdown.cutting());
    let signals = FuturesUnordered::new();
    signals.push(
        async move { draining.cancelled().await }
            .map(|()| Signal::Drain)
            .boxed(),
    );
    signals.push(
        async move { cutting.cancelled().await }
            .map(|()| Signal::Cut)
            .boxed(),
    );
    signals
}

/// A connection that can be told to finish what it is at.
trait Graceful {
    fn take_no_more(self: Pin<&mut Self>);
}

impl<I, B, S> Graceful for http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn take_no_more(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
