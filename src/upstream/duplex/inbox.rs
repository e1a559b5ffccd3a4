//! Where the messages of a pipe arrive: answers to whoever waits, events to their call, news to those entitled.
//! Never waits: a full queue drops what can be dropped and refuses what cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Outgoing;
use super::news::News;
use super::pending::{Delivery, Ending, Lost, Pending};
use crate::ids::GatewayId;
use crate::protocol::error::{INTERNAL_ERROR, RpcError};
use crate::protocol::json::Raw;
use crate::protocol::message::{self, Message, MessageError, Notification, Request, Response, RpcId};
use crate::protocol::meta;
use crate::protocol::method::Method;
use crate::upstream::incoming::{answer_outside, cannot_answer, wanted};

/// The end of a pipe that takes what the upstream sends. Dropped, the pipe is over.
#[derive(Debug)]
pub(in crate::upstream) struct Inbox {
    gateway: GatewayId,
    pending: Arc<Pending>,
    outgoing: mpsc::WeakSender<Outgoing>,
    news: News,
    /// Answers that nobody waits for, and messages that no call wants.
    strays: AtomicU64,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.end("the connection was lost");
    }
}

impl Inbox {
    /// Makes the inbox of a link.
    pub(super) fn new(
        gateway: GatewayId,
        pending: Arc<Pending>,
        outgoing: &mpsc::Sender<Outgoing>,
        news: News,
    ) -> Self {
        Self {
            gateway,
            pending,
            outgoing: outgoing.downgrade(),
            news,
            strays: AtomicU64::new(0),
        }
    }

    /// Takes one message. A text that is none is an error, for the transport to count; if it can be seen whose
    /// answer it was to be, that request fails at once.
    pub(in crate::upstream) fn message(&self, raw: &Bytes) -> Result<(), MessageError> {
        match Message::parse(raw.clone()) {
            Ok(Message::Response(response)) => self.response(response),
            Ok(Message::Notification(notification)) => self.notification(notification),
            Ok(Message::Request(request)) => self.request(&request),
            Err(error) => {
                self.no_message(raw, &error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the pipe: what is in flight fails with this reason.
    pub(in crate::upstream) fn closed(self, reason: &str) {
        self.end(reason);
    }

    fn end(&self, reason: &str) {
        if self.pending.end(reason, Ending::Lost) {
            self.news.heard(Method::Other);
        }
    }

    /// Fails one request that could not be sent.
    pub(in crate::upstream) fn undelivered(&self, id: u64, reason: &str, sent: bool) {
        let lost = Lost {
            sent,
            ..Lost::unsent(reason)
        };
        self.pending.answer(id, Err(lost));
    }

    fn response(&self, response: Response) {
        let id = response.id.as_ref().and_then(|id| id.raw().u64());
        if !id.is_some_and(|id| self.pending.answer(id, Ok(response))) {
            self.stray("an answer to no request");
        }
    }

    fn notification(&self, notification: Notification) {
        match notification.method {
            Method::Progress => {
                let token = (notification.params.as_ref())
                    .and_then(|params| params.get(meta::PROGRESS_TOKEN))
                    .and_then(|token| token.u64());
                let found = token.map_or(Delivery::Nobody, |token| {
                    self.pending.deliver(token, Message::Notification(notification))
                });
                if found != Delivery::Done {
                    self.stray("progress of no call, or faster than its client reads");
                }
            }
            Method::ToolsListChanged | Method::PromptsListChanged | Method::ResourcesListChanged => {
                self.news.heard(notification.method);
            }
            Method::ResourcesUpdated => self.news.watches.tell(&notification),
            Method::LogMessage => self.log_message(&notification),
            // Of use to a server only, or of no consequence: what it cancels is answered anyway.
            Method::Initialized
            | Method::Cancelled
            | Method::RootsListChanged
            | Method::SubscriptionsAcknowledged => {}
            _ => self.unattributed(&notification),
        }
    }

    fn log_message(&self, notification: &Notification) {
        let wants = |level| wanted(level, notification);
        let message = Message::Notification(notification.clone());
        match self
            .pending
            .deliver_to_newest(message, |entry| wants(entry.log_level))
        {
            Delivery::Done => {}
            Delivery::Dropped => self.stray("a log message that nobody wants"),
            Delivery::Nobody | Delivery::Ambiguous => self.pending.post(notification, wants),
        }
    }

    fn unattributed(&self, notification: &Notification) {
        let message = Message::Notification(notification.clone());
        match self.pending.deliver_to_newest(message, |_| true) {
            Delivery::Done => {}
            Delivery::Dropped => self.stray("a notification that its client does not read"),
            Delivery::Nobody | Delivery::Ambiguous => self.pending.post(notification, |_| true),
        }
    }

    /// A question goes to the call that it must belong to, or it is refused: never to another user.
    fn request(&self, request: &Request) {
        if request.method == Method::Ping {
            return self.reply(answer_outside(request));
        }
        let message = Message::Request(request.clone());
        let found = self.pending.deliver_to_newest(message, |entry| {
            entry.client.can_answer(request.method, request.params.as_ref())
        });
        let refusal = match found {
            Delivery::Done => return,
            Delivery::Nobody => return self.reply(answer_outside(request)),
            Delivery::Dropped => cannot_answer(request),
            Delivery::Ambiguous => RpcError::new(
                INTERNAL_ERROR,
                "calls of several clients are in flight here, so nobody can tell whom this asks; \
                 a process for each user or session can ask",
            ),
        };
        self.stray("a question that is refused");
        self.reply(message::error_response(Some(&request.id), &refusal));
    }

    /// A text that is no message: what waits for it fails at once, and what asks by it is told.
    fn no_message(&self, raw: &Bytes, error: &MessageError) {
        let Some(id) = id_of(raw) else { return };
        if asks(raw) {
            self.reply(message::error_response(Some(&id), &error.to_rpc().1));
        } else if let Some(id) = id.raw().u64() {
            let lost = Lost {
                sent: true,
                ..Lost::unsent(&format!("its answer is no valid message: {error}"))
            };
            self.pending.answer(id, Err(lost));
        }
    }

    fn reply(&self, message: Bytes) {
        let queue = self.outgoing.upgrade();
        if queue.is_none_or(|queue| queue.try_send(Outgoing { message, id: None }).is_err()) {
            self.stray("a question whose answer finds no room");
        }
    }

    fn stray(&self, what: &'static str) {
        let count = self.strays.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::debug!(gateway.id = %self.gateway, count, what, "a message is not passed on");
    }
}

#[derive(serde::Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow)]
    method: Option<&'a serde_json::value::RawValue>,
}

/// Finds the id of a text that is JSON but no message, or beyond a bound.
fn id_of(raw: &Bytes) -> Option<RpcId> {
    let head: Head<'_> = serde_json::from_slice(raw).ok()?;
    let text = Bytes::copy_from_slice(head.id?.get().as_bytes());
    RpcId::new(Raw::parse(&text).ok()?)
}

fn asks(raw: &Bytes) -> bool {
    serde_json::from_slice::<Head<'_>>(raw).is_ok_and(|head| head.method.is_some())
}
