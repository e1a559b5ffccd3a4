//! One request and everything that comes back for it. `inbound` makes a [`Call`] of an HTTP request of either era;
//! `upstream` carries it out on its own transport and in its own era. Between the two nobody knows an era, so that
//! N client eras and M kinds of upstream cost N + M pieces of code.

mod flow;
mod outbox;
pub mod queue;

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::flow::Flow;
pub use self::outbox::{Inbox, Outbox};
use crate::identity::Principal;
use crate::ids::{GatewayId, RequestId, SessionId};
use crate::protocol::error::RpcError;
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{Notification, Outcome, Request, Response};
use crate::protocol::meta::LogLevel;
use crate::protocol::method::Method;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::telemetry::ErrorType;

/// Which of a principal's conversations a call belongs to: upstream state is never shared beyond it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A legacy client's session.
    Session(SessionId),
    /// No session: modern clients, REST, and legacy clients that do not echo their session id.
    Stateless,
}

/// What is known of the client that calls. One for each legacy session, one for each modern request.
#[derive(Clone, Debug)]
pub struct Client {
    /// Who calls.
    pub principal: Arc<Principal>,
    /// In which conversation.
    pub scope: Scope,
    /// The revision that it speaks.
    pub version: ProtocolVersion,
    /// Its `ClientCapabilities` object, as it came. An upstream is told of nothing else.
    pub capabilities: Raw,
    /// Its `Implementation` object, as it came.
    pub info: Option<Raw>,
    /// Takes what an upstream says outside of any call; `None` where the client could not hear it.
    pub outbox: Option<Outbox>,
}

impl Client {
    /// Tells whether the client declared that it answers such a question: a method and its `params` (elicitation by its mode, sampling with
    /// tools by its own sub-capability). An upstream's question that it cannot answer is refused, never passed on.
    #[must_use]
    pub fn can_answer(&self, method: Method, params: Option<&Object>) -> bool {
        let Ok(declared) = self.capabilities.object() else {
            return false;
        };
        match method {
            Method::RootsList => declared.has("roots"),
            Method::SamplingCreateMessage => declared.object("sampling").is_some_and(|sampling| {
                sampling.has("tools") || !params.is_some_and(|params| params.has("tools"))
            }),
            Method::ElicitationCreate => declared.object("elicitation").is_some_and(|elicitation| {
                let by_url = params.and_then(|params| params.string("mode")).as_deref() == Some("url");
                // An empty object is the form mode of 2025-06-18.
                if by_url {
                    elicitation.has("url")
                } else {
                    elicitation.has("form") || !elicitation.has("url")
                }
            }),
            _ => false,
        }
    }
}

/// A task of a tool call that goes on at its gateway (tasks extension, SEP-2663).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Who works on it.
    pub gateway: GatewayId,
    /// The exposed name of the tool that was called: who may not use it (any more) may not see its tasks.
    pub tool: String,
    /// The gateway's own id of it.
    pub own: String,
}

/// A request to one upstream: `tools/call`, `prompts/get`, `resources/read`, `completion/complete` or `tasks/*`.
#[derive(Debug)]
pub struct Call {
    /// The client's message. Its bytes travel on; what must differ upstream is spliced.
    pub request: Request,
    /// Who calls.
    pub client: Arc<Client>,
    /// From which level on the client wants log messages of this call; `None`: none.
    pub log_level: Option<LogLevel>,
    /// The state that this upstream gave with its `input_required` before, unsealed; modern retries only.
    pub request_state: Option<Raw>,
    /// The task that this is about, unsealed; `tasks/*` only.
    pub task: Option<Task>,
    /// Cancelled when the client no longer wants the answer. A disconnect counts in the modern era only.
    pub cancel: CancellationToken,
    /// Where events go while the call runs.
    pub events: Events,
    /// Whether the caller takes a large answer as it comes ([`Event::Answer`]).
    pub streams: bool,
    /// W3C `traceparent` for the upstream, when tracing is on.
    pub traceparent: Option<String>,
    /// The id of the HTTP request, as the log and the record of calls name it.
    pub request_id: Option<RequestId>,
}

impl Call {
    /// Makes the same call once more, for asking another gateway.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            request: self.request.clone(),
            client: self.client.clone(),
            log_level: self.log_level,
            request_state: self.request_state.clone(),
            task: self.task.clone(),
            cancel: self.cancel.clone(),
            events: self.events.clone(),
            streams: self.streams,
            traceparent: self.traceparent.clone(),
            request_id: self.request_id.clone(),
        }
    }

    /// Tells whether the client takes `input_required` as an answer and retries by itself (modern). For others
    /// the upstream side asks each question as an [`Event::Question`] and retries.
    #[must_use]
    pub fn takes_input_required(&self) -> bool {
        self.client.version.era() == Era::Modern
    }
}

/// Takes the events of a call, in order. Whoever watches over the call may see each on its way.
#[derive(Clone, Debug)]
pub struct Events {
    client: queue::Sender<Event>,
    watch: Option<Arc<dyn Watch>>,
}

/// Sees the events of a call before its client does.
pub trait Watch: std::fmt::Debug + Send + Sync {
    /// Returns the event as the client gets it.
    fn see(&self, event: Event) -> Event;
    /// The call has come on without an event.
    fn alive(&self);
}

impl From<queue::Sender<Event>> for Events {
    fn from(client: queue::Sender<Event>) -> Self {
        Self { client, watch: None }
    }
}

impl Events {
    /// Returns the same way to the client under somebody's eyes.
    #[must_use]
    pub fn watched(self, watch: Arc<dyn Watch>) -> Self {
        Self {
            watch: Some(watch),
            ..self
        }
    }

    /// Hands an event to the client; waits while its queue is full. Dropping the future loses the event.
    ///
    /// # Errors
    /// [`Unheard`] when the client listens no more. A question is dropped then: nobody answers it.
    pub async fn send(&self, event: Event) -> Result<(), Unheard> {
        match self.offer(event)? {
            None => Ok(()),
            Some(waiting) => self.push(waiting).await,
        }
    }

    /// Says that the call has come on, as progress does.
    pub fn alive(&self) {
        if let Some(watch) = &self.watch {
            watch.alive();
        }
    }

    /// Hands an event to the client, or returns it when the queue is full.
    ///
    /// # Errors
    /// [`Unheard`], as with [`Self::send`].
    pub fn offer(&self, event: Event) -> Result<Option<Waiting>, Unheard> {
        let event = match &self.watch {
            Some(watch) => watch.see(event),
            None => event,
        };
        match self.client.try_send(event) {
            Ok(()) => Ok(None),
            Err(TrySendError::Closed(_)) => Err(Unheard),
            Err(TrySendError::Full(event)) => Ok(Some(Waiting(event))),
        }
    }

    /// Hands an event to the client that had no room for it.
    ///
    /// # Errors
    /// [`Unheard`], as with [`Self::send`].
    pub async fn push(&self, waiting: Waiting) -> Result<(), Unheard> {
        self.client.send(waiting.0).await.map_err(|_| Unheard)
    }
}

/// An event that found the client's queue full. It was seen by who watches over the call.
#[derive(Debug)]
#[must_use = "it is not sent yet"]
pub struct Waiting(Event);

/// The client listens no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unheard;

/// What comes back before the answer.
#[derive(Debug)]
pub enum Event {
    /// Progress or a log message of this call, with the client's own progress token.
    Notification(Notification),
    /// The upstream asks the client.
    Question(Question),
    /// The answer begins; only for who said that they take it so. No other event follows.
    Answer(Flow),
}

/// An upstream's request in the middle of a call: elicitation, sampling, roots.
#[derive(Debug)]
pub struct Question {
    /// The upstream's message; its id means nothing to the client. Boxed: every event would be as large otherwise.
    pub request: Box<Request>,
    /// Takes the client's answer. Dropped: the client cannot or will not answer, and the upstream is told so.
    pub reply: oneshot::Sender<Reply>,
}

/// A client's answer to a question: its `result`, or its `error`.
pub type Reply = Result<Raw, RpcError>;

/// The answer to a call, as it came from upstream.
#[derive(Debug)]
pub struct Answer {
    /// The upstream's response; its id is whatever went upstream.
    pub response: Response,
    /// The upstream's era, which says what the members of the result mean.
    pub era: Era,
}

impl Answer {
    /// Returns how the answer counts when it tells of a failure: a tool that failed, or the upstream's own error.
    #[must_use]
    pub fn error_type(&self) -> Option<ErrorType> {
        match &self.response.outcome {
            Outcome::Error(error) => Some(ErrorType::of_code(error.code)),
            Outcome::Result(result) => {
                let failed = result.get("isError").and_then(|flag| flag.bool()) == Some(true);
                failed.then_some(ErrorType::ToolError)
            }
        }
    }
}

/// Why a call has no answer from its upstream. An error that the upstream itself gave is an [`Answer`].
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Cancelled before the answer.
    #[error("cancelled")]
    Cancelled,
    /// The gateway is down, or its breaker is open.
    #[error("gateway {gateway} is not available: {reason}")]
    Unavailable {
        /// Which.
        gateway: GatewayId,
        /// What was last seen of it.
        reason: String,
    },
    /// As many calls as the gateway may have are in flight already.
    #[error("gateway {gateway} is busy")]
    Busy {
        /// Which.
        gateway: GatewayId,
    },
    /// No answer in time.
    #[error("gateway {gateway} gave no answer within {timeout_ms} ms")]
    Timeout {
        /// Which.
        gateway: GatewayId,
        /// The limit that passed.
        timeout_ms: u64,
    },
    /// The upstream refused the call without processing it, because the list that its headers were made from is
    /// out of date (-32020). Its lists are being refreshed; the call may be sent once more afterwards.
    #[error("gateway {gateway} lists this otherwise by now")]
    Stale {
        /// Which.
        gateway: GatewayId,
    },
    /// The upstream, or its link in its place, said no to what was asked for on the client's behalf (a watched
    /// resource, a question that has no answer). Nothing is wrong with the upstream.
    #[error("gateway {gateway} refused: {}", .error.message)]
    Refused {
        /// Which.
        gateway: GatewayId,
        /// What it said.
        error: RpcError,
    },
    /// The connection broke, or what came is no answer.
    #[error("gateway {gateway} failed: {reason}")]
    Failed {
        /// Which.
        gateway: GatewayId,
        /// What happened.
        reason: String,
        /// Whether the call may have reached the upstream.
        sent: bool,
    },
}

impl CallError {
    /// Returns how the error counts: one of a fixed set of words.
    #[must_use]
    pub fn error_type(&self) -> ErrorType {
        ErrorType::Cause(match self {
            Self::Cancelled => "cancelled",
            Self::Unavailable { .. } => "unavailable",
            Self::Busy { .. } => "busy",
            Self::Timeout { .. } => "timeout",
            Self::Stale { .. } => "stale",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
        })
    }

    /// Returns whose upstream it was.
    #[must_use]
    pub fn gateway(&self) -> Option<&GatewayId> {
        match self {
            Self::Cancelled => None,
            Self::Unavailable { gateway, .. }
            | Self::Busy { gateway }
            | Self::Timeout { gateway, .. }
            | Self::Stale { gateway }
            | Self::Refused { gateway, .. }
            | Self::Failed { gateway, .. } => Some(gateway),
        }
    }
}
