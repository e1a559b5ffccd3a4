//! Our end of one open pipe: sends requests under ids of its own and hands each answer to whoever waits for it.
//! Holds at most [`IN_FLIGHT_PER_GATEWAY_MAX`] requests. Dropping the link ends the pipe.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::news::News;
use super::pending::{Ended, Ending, Entry, Lost, Pending, Waiting};
use super::{Outgoing, Owner, Port, Tenant};
use crate::exchange::{Call, CallError, queue};
use crate::ids::GatewayId;
use crate::limits::{IN_FLIGHT_PER_GATEWAY_MAX, STREAM_QUEUE_EVENTS_MAX};
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, Message, Outcome, Response, RpcId};
use crate::protocol::method::Method;
use crate::upstream::incoming::{Incoming, Taken};
use crate::upstream::lists::AskError;
use crate::upstream::outgoing::Mapped;

/// Messages that wait for the writer of a pipe.
const OUTGOING_MAX: usize = IN_FLIGHT_PER_GATEWAY_MAX;

/// One open pipe.
#[derive(Debug)]
pub(super) struct Link {
    gateway: GatewayId,
    outgoing: mpsc::Sender<Outgoing>,
    pending: Arc<Pending>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close("no longer used");
    }
}

impl Link {
    /// Makes a link and the other end of it, for the transport that moves the bytes.
    pub(super) fn new(gateway: &GatewayId, owner: &Owner, news: News) -> (Self, Port) {
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        let stop = CancellationToken::new();
        let pending = Arc::new(Pending::new(owner.clone(), stop.clone()));
        let port = Port {
            inbox: Inbox::new(gateway.clone(), Arc::clone(&pending), &outgoing, news),
            outgoing: queue,
            tenant: Tenant(Arc::downgrade(&pending)),
            stop,
        };
        let link = Self {
            gateway: gateway.clone(),
            outgoing,
            pending,
        };
        (link, port)
    }

    /// Returns what is in flight.
    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Tells how the pipe ended; `None` while it is open.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.pending.ended()
    }

    /// Ends the pipe; what is in flight fails.
    pub(super) fn close(&self, reason: &str) {
        self.pending.end(reason, Ending::Planned);
    }

    /// Waits until the transport has let go of the pipe.
    pub(super) async fn closed(&self) {
        self.outgoing.closed().await;
    }

    /// Sends a request of our own and waits for its result.
    pub(super) async fn ask(
        &self,
        timeout: Duration,
        write: impl FnOnce(&RpcId) -> Bytes,
    ) -> Result<Object, AskError> {
        let (answer, answered) = oneshot::channel();
        let in_flight = self
            .register(Waiting::Own(answer), false)
            .map_err(|lost| AskError::Failed(lost.reason))?;
        let exchange = async {
            in_flight.send(write(&in_flight.rpc_id())).await?;
            answered.await.unwrap_or_else(|_| Err(Lost::unsent("closed")))
        };
        let response = tokio::time::timeout(timeout, exchange).await;
        match response {
            Err(_) => Err(AskError::Failed(format!(
                "no answer within {} ms",
                timeout.as_millis()
            ))),
            Ok(Err(lost)) => Err(AskError::Failed(lost.reason)),
            Ok(Ok(response)) => match response.outcome {
                Outcome::Result(result) => Ok(result),
                Outcome::Error(error) => Err(AskError::Refused(error)),
            },
        }
    }

    /// Sends a request whose answer nobody waits for (`logging/setLevel`, `subscriptions/listen`). Returns its id;
    /// `None` when it could not be sent.
    pub(super) fn ask_aside(&self, write: impl FnOnce(&RpcId) -> Bytes) -> Option<u64> {
        let mut in_flight = self.register(Waiting::Aside, false).ok()?;
        let id = in_flight.id;
        let message = write(&in_flight.rpc_id());
        let sent = self.outgoing.try_send(Outgoing {
            message,
            id: Some(id),
        });
        in_flight.kept = sent.is_ok();
        sent.ok().map(|()| id)
    }

    /// Withdraws a request of [`Self::ask_aside`].
    pub(super) fn withdraw(&self, id: u64) {
        drop(InFlight {
            link: self,
            id,
            told: true,
            kept: false,
        });
    }

    /// Sends a notification; false when the pipe is ended or its queue is full.
    pub(super) fn notify(&self, method: Method, params: Option<&Raw>) -> bool {
        let message = message::notification(method, params);
        self.outgoing.try_send(Outgoing { message, id: None }).is_ok()
    }

    /// Carries out a call: events go to the client as they come, questions are answered, and the answer is returned
    /// under the id that went upstream. Dropping the future tells the upstream with `notifications/cancelled`.
    pub(super) async fn call(
        &self,
        call: &Call,
        question_timeout: Duration,
        write: impl FnOnce(&Mapped) -> Bytes,
    ) -> Result<Response, CallError> {
        let (messages, mut heard) = queue::bounded(STREAM_QUEUE_EVENTS_MAX);
        let (answer, mut answered) = oneshot::channel();
        let entry = Entry {
            client: Arc::clone(&call.client),
            log_level: call.log_level,
            messages,
            answer,
        };
        let in_flight = self
            .register(Waiting::Call(entry), true)
            .map_err(|lost| self.failed(lost))?;
        let id = in_flight.id;
        let mapped = Mapped {
            id: Some(in_flight.rpc_id()),
            progress_token: Some(Raw::from(id)),
        };
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(CallError::Cancelled),
            sent = in_flight.send(write(&mapped)) => sent.map_err(|lost| self.failed(lost))?,
        }
        let mut incoming = Incoming::new(call, &mapped);
        let mut questions = FuturesUnordered::new();
        loop {
            let message = tokio::select! {
                biased;
                () = call.cancel.cancelled() => return Err(CallError::Cancelled),
                Some(message) = heard.recv() => message,
                Some(reply) = questions.next() => {
                    in_flight.send_answer(reply).await.map_err(|lost| self.failed(lost))?;
                    continue;
                }
                answer = &mut answered => {
                    // What came before the answer goes out before it.
                    while let Ok(message) = heard.try_recv() {
                        if matches!(message, Message::Notification(_)) {
                            incoming.take(message).await.map_err(|_| CallError::Cancelled)?;
                        }
                    }
                    let answer = answer.unwrap_or_else(|_| Err(Lost::unsent("closed")));
                    return answer.map_err(|lost| self.failed(lost));
                }
            };
            match incoming.take(message).await.map_err(|_| CallError::Cancelled)? {
                Taken::Send(reply) => {
                    in_flight
                        .send_answer(reply)
                        .await
                        .map_err(|lost| self.failed(lost))?;
                }
                Taken::Asked(asked) => questions.push(asked.answer(question_timeout)),
                // The inbox hands a call nothing else than its own.
                Taken::Done
                | Taken::Answer(_)
                | Taken::ListsChanged(_)
                | Taken::Outside(_)
                | Taken::Stray => {}
            }
        }
    }

    fn register(&self, waiting: Waiting, told: bool) -> Result<InFlight<'_>, Lost> {
        let id = self.pending.add(waiting)?;
        Ok(InFlight {
            link: self,
            id,
            told,
            kept: false,
        })
    }

    fn failed(&self, lost: Lost) -> CallError {
        if lost.full {
            return CallError::Busy {
                gateway: self.gateway.clone(),
            };
        }
        CallError::Failed {
            gateway: self.gateway.clone(),
            reason: lost.reason,
            sent: lost.sent,
        }
    }
}

/// A request that waits for its answer.
struct InFlight<'a> {
    link: &'a Link,
    id: u64,
    /// Whether the upstream is told when it is dropped before its answer; `initialize` is never cancelled.
    told: bool,
    /// Whether it goes on waiting when it is dropped.
    kept: bool,
}

impl InFlight<'_> {
    fn rpc_id(&self) -> RpcId {
        RpcId::number(self.id)
    }

    async fn send(&self, message: Bytes) -> Result<(), Lost> {
        let id = Some(self.id);
        let sent = self.link.outgoing.send(Outgoing { message, id }).await;
        sent.map_err(|_| self.lost(false))
    }

    /// Sends the answer to an upstream's question.
    async fn send_answer(&self, message: Bytes) -> Result<(), Lost> {
        let sent = self.link.outgoing.send(Outgoing { message, id: None }).await;
        sent.map_err(|_| self.lost(true))
    }

    fn lost(&self, sent: bool) -> Lost {
        let reason = self.link.ended().map(|ended| ended.reason);
        Lost {
            sent,
            ..Lost::unsent(reason.as_deref().unwrap_or("closed"))
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.kept || !self.link.pending.abandon(self.id) || !self.told {
            return;
        }
        let params = Raw::of(&serde_json::json!({
            "requestId": self.id,
            "reason": "nobody waits for it any more",
        }));
        if !self.link.notify(Method::Cancelled, Some(&params)) {
            tracing::debug!(gateway.id = %self.link.gateway, "a cancellation could not be sent");
        }
    }
}
