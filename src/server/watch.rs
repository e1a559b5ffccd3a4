//! The clock of one connection: how long it has been idle, reading a head, or unable to write. hyper's own header
//! timer also runs while a kept-alive connection idles and knows nothing of writers, so it is not used.
//! The close lingers: what the client still sends is read and thrown away for a moment, else the kernel would answer
//! it with a reset, and the client would lose the answer (413, 431) that we have just written.
//! Everything here happens inside the connection's one task; the lock is never waited for.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::{self, Instant};
use crate::limits;

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a head to its last; on a new connection from the start.
    pub header_read: Duration,
    /// From the end of an answer to the first byte of the next head.
    pub idle: Duration,
    /// Without the client taking a byte that we want to write.
    pub slow_reader: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header_read: limits::HEADER_READ_TIMEOUT,
            idle: limits::IDLE_CONNECTION_TIMEOUT,
            slow_reader: limits::SLOW_READER_TIMEOUT,
        }
    }
}

/// For what a connection took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Head,
    Idle,
    Reader,
    Linger,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Idle(Instant),
    Head(Instant),
    Answering,
    Lingering(Instant),
}

#[derive(Debug)]
struct State {
    phase: Phase,
    write_stuck_since: Option<Instant>,
}

/// Shared by a connection's socket, its service and its driver.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Mutex<State>>);

impl Watch {
    /// Begins with a head that has to come.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Head(clock::now()),
            write_stuck_since: None,
        })))
    }

    /// A request's head is here; it is being answered until the value is dropped.
    pub(super) fn answering(&self) -> Answering {
        self.state().phase = Phase::Answering;
        Answering(self.clone())
    }

    /// Returns when the connection is overdue if nothing happens until then, and for what.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Overdue)> {
        let state = self.state();
        let of_phase = match state.phase {
            Phase::Idle(since) => Some((since + timeouts.idle, Overdue::Idle)),
            Phase::Head(since) => Some((since + timeouts.header_read, Overdue::Head)),
            Phase::Lingering(since) => Some((since + limits::LINGER_TIMEOUT, Overdue::Linger)),
            Phase::Answering => None,
        };
        let of_writer = state
            .write_stuck_since
            .map(|since| (since + timeouts.slow_reader, Overdue::Reader));
        of_phase.into_iter().chain(of_writer).min_by_key(|(at, _)| *at)
    }

    fn lingering(&self) {
        self.state().phase = Phase::Lingering(clock::now());
    }

    fn received(&self) {
        let mut state = self.state();
        if let Phase::Idle(_) = state.phase {
            state.phase = Phase::Head(clock::now());
        }
    }

    fn wrote<T>(&self, result: &Poll<T>) {
        let mut state = self.state();
        state.write_stuck_since = match (result, state.write_stuck_since) {
            (Poll::Ready(_), _) => None,
            (Poll::Pending, Some(since)) => Some(since),
            (Poll::Pending, None) => Some(clock::now()),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer under way; the connection is idle when this is dropped.
#[derive(Debug)]
pub(super) struct Answering(Watch);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Phase::Answering = state.phase {
            state.phase = Phase::Idle(clock::now());
        }
    }
}

/// A socket that tells its [`Watch`] what passes.
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    watch: Watch,
    /// Bytes thrown away since our side was closed.
    lingered: Option<usize>,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, watch: Watch) -> Self {
        Self {
            socket,
            watch,
            lingered: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.watch.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.watch.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match in_one_piece(bufs) {
            Some(piece) => Pin::new(&mut self.socket).poll_write(cx, &piece),
            None => Pin::new(&mut self.socket).poll_write_vectored(cx, bufs),
        };
        self.watch.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingered.is_none() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.watch.lingering();
        }
        let mut lingered = self.lingered.unwrap_or(0);
        self.lingered = Some(lingered);
        let mut scrap = [0; 4096];
        while lingered < limits::LINGER_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => lingered += buf.filled().len(),
                Ok(()) | Err(_) => break,
            }
            self.lingered = Some(lingered);
        }
        Poll::Ready(Ok(()))
    }
}

/// Puts a short answer together: copying it costs less than handing its pieces over one by one.
fn in_one_piece(bufs: &[io::IoSlice<'_>]) -> Option<Vec<u8>> {
    let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
    (bytes <= limits::ANSWER_BYTES_IN_ONE_PIECE).then(|| {
        let mut piece = Vec::with_capacity(bytes);
        for buf in bufs {
            piece.extend_from_slice(buf);
        }
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const TIMEOUTS: Timeouts = Timeouts {
        header_read: Duration::from_secs(10),
        idle: Duration::from_mins(1),
        slow_reader: Duration::from_secs(30),
    };

    fn due(watch: &Watch) -> Option<(u64, Overdue)> {
        watch
            .deadline(&TIMEOUTS)
            .map(|(at, what)| ((at - clock::now()).as_secs(), what))
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_owes_a_head_and_a_kept_one_may_idle_until_its_first_byte() {
        let (mut client, socket) = tokio::io::duplex(64);
        let watch = Watch::new();
        let mut watched = Watched::new(socket, watch.clone());
        assert_eq!(due(&watch), Some((10, Overdue::Head)));
        tokio::time::advance(Duration::from_secs(4)).await;
        client.write_all(b"GET").await.unwrap();
        watched.read_exact(&mut [0; 3]).await.unwrap();
        assert_eq!(due(&watch), Some((6, Overdue::Head)));

        let answering = watch.answering();
        assert_eq!(due(&watch), None);
        tokio::time::advance(Duration::from_mins(5)).await;
        drop(answering);
        assert_eq!(due(&watch), Some((60, Overdue::Idle)));

        tokio::time::advance(Duration::from_secs(50)).await;
        client.write_all(b"G").await.unwrap();
        watched.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(due(&watch), Some((10, Overdue::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_makes_no_progress_is_overdue_even_while_answering() {
        let (mut client, socket) = tokio::io::duplex(4);
        let watch = Watch::new();
        let mut watched = Watched::new(socket, watch.clone());
        let _answering = watch.answering();
        let write = tokio::time::timeout(Duration::from_secs(20), watched.write_all(b"12345678"));
        assert!(write.await.is_err());
        assert_eq!(due(&watch), Some((10, Overdue::Reader)));
        client.read_exact(&mut [0; 4]).await.unwrap();
        watched.write_all(b"5").await.unwrap();
        assert_eq!(due(&watch), None);
    }
}
