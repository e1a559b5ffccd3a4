//! One connection. Whoever waits for its answer moves it on; between requests nobody does. What was asked is written
//! and what comes is read side by side: an upstream may answer before it has read everything.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::io::poll_read_buf;

use super::framing::{Framing, Taken};
use super::head::{self, Head, wrong};
use super::origin::Origin;
use crate::clock::{self, Instant};
use crate::limits::{UPSTREAM_INTERIM_ANSWERS_MAX, UPSTREAM_READ_BYTES, UPSTREAM_READ_BYTES_MAX};

/// A socket, with or without TLS.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An open connection.
pub(super) struct Open {
    socket: Socket,
    /// What is still to be written of the request.
    sending: Request,
    /// Whether what was written has left.
    flushed: bool,
    /// Why it did not.
    failed: Option<io::Error>,
    /// What was read and belongs to nobody yet.
    read: BytesMut,
    /// How much is read at once.
    at_once: usize,
    /// How much of a head was looked at.
    looked: usize,
    /// What is to come of the answer's body.
    framing: Framing,
    /// Whether another request may follow the answer.
    keeps: bool,
    origin: Arc<Origin>,
    pub(super) idle_since: Instant,
}

/// A request as it is written: its head, and perhaps its body, then the rest of its body.
#[derive(Clone, Default)]
pub(in crate::upstream::http) struct Request {
    pub(in crate::upstream::http) front: Bytes,
    pub(in crate::upstream::http) rest: Bytes,
}

/// A request without an answer.
pub(super) struct Unanswered {
    pub(super) error: io::Error,
    /// Nothing of it was written.
    pub(super) unsent: bool,
}

impl Request {
    fn is_written(&self) -> bool {
        self.front.is_empty() && self.rest.is_empty()
    }

    fn written(&mut self, bytes: usize) {
        let of_front = bytes.min(self.front.len());
        self.front.advance(of_front);
        self.rest.advance(bytes - of_front);
    }
}

impl Open {
    /// Begins HTTP/1.1 on a socket.
    pub(super) fn over(socket: Socket, origin: &Arc<Origin>) -> Box<Self> {
        Box::new(Self {
            socket,
            sending: Request::default(),
            flushed: true,
            failed: None,
            read: BytesMut::new(),
            at_once: UPSTREAM_READ_BYTES,
            looked: 0,
            framing: Framing::Length(0),
            keeps: true,
            origin: Arc::clone(origin),
            idle_since: clock::now(),
        })
    }

    pub(super) fn leads_to(&self, origin: &Arc<Origin>) -> bool {
        Arc::ptr_eq(&self.origin, origin) || self.origin == *origin
    }

    /// Tells whether another request may follow: the last one and its answer are over.
    pub(super) fn is_done(&mut self) -> bool {
        self.keeps && self.flushed && self.is_over() && self.read.is_empty()
    }

    /// Tells whether the upstream has neither closed the connection nor said anything since. Costs no system call
    /// unless it has.
    pub(super) fn is_quiet(&mut self) -> bool {
        let (mut one, socket) = ([0], &mut self.socket);
        let mut buffer = ReadBuf::new(&mut one);
        // Not of the task's budget: a task that has used it up would find every connection quiet.
        let mut reading = pin!(tokio::task::unconstrained(poll_fn(|cx| {
            Pin::new(&mut *socket).poll_read(cx, &mut buffer)
        })));
        let mut cx = Context::from_waker(Waker::noop());
        reading.as_mut().poll(&mut cx).is_pending()
    }

    /// Gives up memory that waiting does not need.
    pub(super) fn rest(&mut self) {
        self.at_once = UPSTREAM_READ_BYTES;
        if self.read.capacity() > UPSTREAM_READ_BYTES {
            self.read = BytesMut::new();
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn exchange(&mut self, request: Request) -> Result<Head, Unanswered> {
        let whole = request.front.len() + request.rest.len();
        // TLS may send a record before it says that the next one failed.
        let tells = request.rest.is_empty() || matches!(self.socket, Socket::Plain(_));
        self.sending = request;
        self.flushed = false;
        self.keeps = false;
        let mut interim = 0;
        let answered = poll_fn(|cx| self.poll_head(cx, &mut interim)).await;
        let unsent = tells && self.sending.front.len() + self.sending.rest.len() == whole;
        let answered = answered.and_then(|head| {
            if unsent {
                // What was still to come of an answer before, say.
                return Err(wrong("it answered before it was asked"));
            }
            Ok(head)
        });
        answered.map_err(|error| Unanswered { error, unsent })
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, interim: &mut usize) -> Poll<io::Result<Head>> {
        loop {
            head::skip_empty_lines(&mut self.read);
            let Some(read) = head::take(&mut self.read, &mut self.looked)? else {
                if ready!(self.poll_fill(cx))? == 0 {
                    return Poll::Ready(Err(wrong("the connection was closed before an answer came")));
                }
                continue;
            };
            if !read.head.status.is_informational() {
                self.framing = read.framing;
                self.keeps = read.keeps;
                if let Some(length) = self.framing.length() {
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    self.at_once = length.clamp(UPSTREAM_READ_BYTES, UPSTREAM_READ_BYTES_MAX);
                }
                return Poll::Ready(Ok(read.head));
            }
            *interim += 1;
            if *interim > UPSTREAM_INTERIM_ANSWERS_MAX || read.head.status == StatusCode::SWITCHING_PROTOCOLS
            {
                return Poll::Ready(Err(wrong("its answer is not to what was asked")));
            }
        }
    }

    /// Returns how long the whole body is, before any of it was taken.
    pub(super) fn length(&self) -> Option<u64> {
        self.framing.length()
    }

    /// Returns the next piece of the body; `None` at its end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            match self.framing.take(&mut self.read)? {
                Taken::Piece(piece) => return Poll::Ready(Ok(Some(piece))),
                Taken::End => return Poll::Ready(Ok(None)),
                Taken::Nothing => {}
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(if self.framing.ends_with_connection() {
                    Ok(None)
                } else {
                    Err(wrong("the connection was closed within an answer"))
                });
            }
        }
    }

    /// Tells whether the body is over, as far as what was read says.
    pub(super) fn is_over(&mut self) -> bool {
        self.framing.is_over(&mut self.read)
    }

    /// Writes what is to be written and reads what has come; zero at the end of the connection. An upstream that refuses
    /// a request answers and closes before all of it was written: what it said comes before that the writing failed.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.failed.is_none()
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            self.failed = Some(error);
        }
        if self.read.capacity() - self.read.len() < self.at_once / 2 {
            self.read.reserve(self.at_once);
        }
        let room = self.read.capacity() - self.read.len();
        match poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.read) {
            Poll::Ready(Ok(read)) if read > 0 => {
                if read == room {
                    self.at_once = (self.at_once * 2).min(UPSTREAM_READ_BYTES_MAX);
                } else if read < self.at_once / 4 {
                    self.at_once = (self.at_once / 2).max(UPSTREAM_READ_BYTES);
                }
                Poll::Ready(Ok(read))
            }
            Poll::Pending if !self.failed_for_good() => {
                if self.read.is_empty() && self.at_once == UPSTREAM_READ_BYTES {
                    self.rest();
                }
                Poll::Pending
            }
            Poll::Ready(Ok(_)) if self.framing.ends_with_connection() => Poll::Ready(Ok(0)),
            over => match self.failed.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => over,
            },
        }
    }

    /// Tells whether writing failed in a way that reading will not show: a socket that broke becomes readable.
    fn failed_for_good(&self) -> bool {
        self.failed.as_ref().is_some_and(|error| {
            !matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
            )
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.flushed {
            return Poll::Ready(Ok(()));
        }
        let mut socket = Pin::new(&mut self.socket);
        while !self.sending.is_written() {
            let Request { front, rest } = &self.sending;
            let written = ready!(match (front.is_empty(), rest.is_empty()) {
                (true, _) => socket.as_mut().poll_write(cx, rest),
                (_, true) => socket.as_mut().poll_write(cx, front),
                _ => socket
                    .as_mut()
                    .poll_write_vectored(cx, &[IoSlice::new(front), IoSlice::new(rest)]),
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sending.written(written);
        }
        ready!(socket.poll_flush(cx))?;
        // Neither a large body nor the secrets of a head are held while the answer comes.
        self.sending = Request::default();
        self.flushed = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bytes),
            Self::Tls(socket) => Pin::new(socket).poll_write_vectored(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
