//! One connection. Whoever polls it moves it on; between requests nobody does.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};

use super::origin::Origin;
use crate::clock::{self, Instant};

/// A socket, with or without TLS.
pub(super) trait Socket: hyper::rt::Read + hyper::rt::Write + Send + Unpin {}

impl<T: hyper::rt::Read + hyper::rt::Write + Send + Unpin> Socket for T {}

/// An open connection.
pub(super) struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    connection: Option<Connection<Box<dyn Socket>, Full<Bytes>>>,
    origin: Arc<Origin>,
    pub(super) idle_since: Instant,
}

/// A request without an answer. It is given back when nothing of it was written.
pub(super) struct Unsent {
    pub(super) error: hyper::Error,
    pub(super) request: Option<Request<Full<Bytes>>>,
}

impl Open {
    /// Begins HTTP/1.1 on a socket.
    pub(super) async fn over(
        socket: impl Socket + 'static,
        origin: &Arc<Origin>,
    ) -> hyper::Result<Box<Self>> {
        let socket: Box<dyn Socket> = Box::new(socket);
        let (sender, connection) = http1::handshake(socket).await?;
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            origin: Arc::clone(origin),
            idle_since: clock::now(),
        }))
    }

    pub(super) fn leads_to(&self, origin: &Arc<Origin>) -> bool {
        Arc::ptr_eq(&self.origin, origin) || self.origin == *origin
    }

    /// Moves the connection on as far as it goes now.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // What went wrong was told to who waits for an answer or reads its body.
            self.connection = None;
        }
    }

    /// Tells whether the connection can take a request.
    pub(super) fn is_free(&mut self) -> bool {
        if !self.sender.is_ready() {
            self.drive(&mut Context::from_waker(Waker::noop()));
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<(Box<Self>, Response<Incoming>), Box<Unsent>> {
        // The answer comes by driving the connection, here, so it has nobody to wake and no share of its own in the
        // task's budget.
        let mut answer = pin!(tokio::task::unconstrained(self.sender.try_send_request(request)));
        let answered = poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        });
        match answered.await {
            Ok(response) => Ok((self, response)),
            Err(mut unsent) => Err(Box::new(Unsent {
                request: unsent.take_message(),
                error: unsent.into_error(),
            })),
        }
    }
}
