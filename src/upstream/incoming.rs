//! What an upstream's message means while a call runs: its answer, something to pass on, a question, or something to
//! answer here. Nothing of another call gets through; the client's queue holds the upstream back while it is full.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::outgoing::Mapped;
use crate::exchange::{Call, Event, Question, Reply, Waiting};
use crate::limits::QUESTIONS_PER_CALL_MAX;
use crate::protocol::error::{INTERNAL_ERROR, METHOD_NOT_FOUND, RpcError};
use crate::protocol::json::Raw;
use crate::protocol::message::{self, Message, Notification, Request, Response, RpcId};
use crate::protocol::meta::{self, LogLevel};
use crate::protocol::method::Method;

/// The call was cancelled while its client's queue was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

/// What is left to do with a message.
#[derive(Debug)]
pub enum Taken {
    /// The call is over.
    Answer(Response),
    /// Nothing: it was passed on, or not wanted.
    Done,
    /// Send this upstream: a ping's answer, or the refusal of a question.
    Send(Bytes),
    /// The client was asked: wait for [`Asked::answer`] and send it upstream.
    Asked(Asked),
    /// The upstream's lists changed.
    ListsChanged(Method),
    /// Belongs to no call: for the client's outbox.
    Outside(Notification),
    /// An answer to another id. Never delivered; count it.
    Stray,
}

/// How far a message was taken without waiting.
#[derive(Debug)]
pub enum Now {
    /// To its end.
    Taken(Taken),
    /// The client's queue is full: for [`Incoming::wait`].
    Waits(Waiting),
    /// The upstream asks something: for [`Incoming::take`].
    Request(Request),
}

/// One call's view of what its upstream sends.
#[derive(Debug)]
pub struct Incoming<'a> {
    call: &'a Call,
    id: RpcId,
    /// The token that went upstream and the client's own.
    token: Option<(Raw, Raw)>,
    questions: usize,
}

impl<'a> Incoming<'a> {
    /// Starts with what was sent: `mapped` is what the request went out with.
    #[must_use]
    pub fn new(call: &'a Call, mapped: &Mapped) -> Self {
        let own = (call.request.meta.as_ref()).and_then(|meta| meta.get(meta::PROGRESS_TOKEN));
        Self {
            call,
            id: mapped.id.clone().unwrap_or_else(|| call.request.id.clone()),
            token: own.map(|own| (mapped.progress_token.clone().unwrap_or_else(|| own.clone()), own)),
            questions: 0,
        }
    }

    /// Returns the id that the answer carries.
    #[must_use]
    pub fn id(&self) -> &RpcId {
        &self.id
    }

    /// Returns the progress token that went upstream.
    #[must_use]
    pub fn token(&self) -> Option<&Raw> {
        self.token.as_ref().map(|(sent, _)| sent)
    }

    /// Goes on with the same call sent again under another id; its questions count on.
    pub fn sent_again(&mut self, id: RpcId) {
        self.id = id;
    }

    /// Takes one message. Waits while the client's queue is full, but neither for a client that is gone nor beyond
    /// the call's cancellation.
    pub async fn take(&mut self, message: Message) -> Result<Taken, Cancelled> {
        match self.take_now(message) {
            Now::Taken(taken) => Ok(taken),
            // Boxed: every call would otherwise have room for what is rare.
            Now::Waits(waiting) => Box::pin(self.wait(waiting)).await.map(|()| Taken::Done),
            Now::Request(request) => Box::pin(self.request(request)).await,
        }
    }

    /// Takes a message as far as that needs no waiting.
    #[inline]
    pub fn take_now(&mut self, message: Message) -> Now {
        match message {
            Message::Response(response) => Now::Taken(self.response(response)),
            Message::Notification(notification) => self.notification(notification),
            Message::Request(request) => Now::Request(request),
        }
    }

    /// Goes on with an event that found the client's queue full.
    ///
    /// # Errors
    /// [`Cancelled`] while it waited.
    pub async fn wait(&self, waiting: Waiting) -> Result<(), Cancelled> {
        tokio::select! {
            biased;
            () = self.call.cancel.cancelled() => Err(Cancelled),
            _ = self.call.events.push(waiting) => Ok(()),
        }
    }

    /// An error without an id answers the only request that there is.
    fn response(&self, response: Response) -> Taken {
        match &response.id {
            Some(id) if !id.same(&self.id) => Taken::Stray,
            None if matches!(response.outcome, message::Outcome::Result(_)) => Taken::Stray,
            _ => Taken::Answer(response),
        }
    }

    #[inline]
    fn notification(&mut self, notification: Notification) -> Now {
        let passed = match notification.method {
            Method::Progress => self.progress(notification),
            Method::LogMessage => wanted(self.call.log_level, &notification).then_some(notification),
            Method::ToolsListChanged | Method::PromptsListChanged | Method::ResourcesListChanged => {
                return Now::Taken(Taken::ListsChanged(notification.method));
            }
            Method::ResourcesUpdated => return Now::Taken(Taken::Outside(notification)),
            // Of use to a server only, or to the link itself.
            Method::Initialized
            | Method::Cancelled
            | Method::RootsListChanged
            | Method::SubscriptionsAcknowledged => None,
            _ => Some(notification),
        };
        // A client that no longer listens gets nothing; the call goes on without it.
        match passed.map(|passed| self.call.events.offer(Event::Notification(passed))) {
            Some(Ok(Some(waiting))) => Now::Waits(waiting),
            _ => Now::Taken(Taken::Done),
        }
    }

    /// Gives progress the client's own token back; `None` when it is another call's.
    fn progress(&self, notification: Notification) -> Option<Notification> {
        let (sent, own) = self.token.as_ref()?;
        let params = notification.params.as_ref()?;
        if params.text(meta::PROGRESS_TOKEN) != Some(sent.as_bytes()) {
            let told = params.get(meta::PROGRESS_TOKEN)?;
            if told.string().is_none() || told.string() != sent.string() {
                return None;
            }
        }
        if sent == own {
            return Some(notification);
        }
        notification.with_param(meta::PROGRESS_TOKEN, own)
    }

    async fn request(&mut self, request: Request) -> Result<Taken, Cancelled> {
        if request.method == Method::Ping {
            return Ok(Taken::Send(message::response(&request.id, &Raw::literal("{}"))));
        }
        match self.ask(request).await? {
            Ok(asked) => Ok(Taken::Asked(asked)),
            Err(refusal) => Ok(Taken::Send(refusal)),
        }
    }

    /// Passes a question to the client, or makes the answer that refuses it.
    pub async fn ask(&mut self, request: Request) -> Result<Result<Asked, Bytes>, Cancelled> {
        if let Some(error) = self.refusal(&request) {
            return Ok(Err(message::error_response(Some(&request.id), &error)));
        }
        self.questions += 1;
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            id: request.id.clone(),
            method: request.method,
            answer,
        };
        let request = Box::new(request);
        self.emit(Event::Question(Question { request, reply })).await?;
        Ok(Ok(asked))
    }

    /// Tells why a question is not passed on.
    #[must_use]
    pub fn refusal(&self, request: &Request) -> Option<RpcError> {
        if !self
            .call
            .client
            .can_answer(request.method, request.params.as_ref())
        {
            return Some(cannot_answer(request));
        }
        (self.questions >= QUESTIONS_PER_CALL_MAX)
            .then(|| RpcError::new(INTERNAL_ERROR, "too many questions in one call"))
    }

    /// Hands an event on. A client that no longer listens gets nothing; the call goes on without it.
    async fn emit(&self, event: Event) -> Result<(), Cancelled> {
        match self.call.events.offer(event) {
            Ok(Some(waiting)) => self.wait(waiting).await,
            _ => Ok(()),
        }
    }
}

/// A question that the client has before it.
#[derive(Debug)]
pub struct Asked {
    id: RpcId,
    method: Method,
    answer: oneshot::Receiver<Reply>,
}

impl Asked {
    /// Waits for the client's answer and writes it as the response to the upstream's request.
    pub async fn answer(self, timeout: Duration) -> Bytes {
        let id = self.id.clone();
        match self.reply(timeout).await {
            Ok(result) => message::response(&id, &result),
            Err(error) => message::error_response(Some(&id), &error),
        }
    }

    /// Waits for the client's answer. One that never comes is what the specification has for it: a cancelled
    /// elicitation, else an error.
    pub async fn reply(self, timeout: Duration) -> Reply {
        match tokio::time::timeout(timeout, self.answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => unanswered(self.method),
        }
    }
}

/// Makes the answer for a client that gives none.
fn unanswered(method: Method) -> Reply {
    if method == Method::ElicitationCreate {
        return Ok(Raw::literal(r#"{"action":"cancel"}"#));
    }
    Err(RpcError::new(INTERNAL_ERROR, "the client gave no answer"))
}

/// Makes the refusal of a request that the client did not declare to answer.
#[must_use]
pub fn cannot_answer(request: &Request) -> RpcError {
    let name = request.method_name.string().unwrap_or_default();
    RpcError::new(
        METHOD_NOT_FOUND,
        format!("the client did not declare that it answers {name}"),
    )
}

/// Answers a request that comes outside of any call: a ping is answered, everything else refused.
#[must_use]
pub fn answer_outside(request: &Request) -> Bytes {
    if request.method == Method::Ping {
        return message::response(&request.id, &Raw::literal("{}"));
    }
    let error = RpcError::new(
        METHOD_NOT_FOUND,
        "requests to the client are only taken while a call of it runs",
    );
    message::error_response(Some(&request.id), &error)
}

/// Tells whether a log message is at least of the level that is wanted. An unknown level is passed on.
#[must_use]
pub fn wanted(from: Option<LogLevel>, notification: &Notification) -> bool {
    let Some(from) = from else { return false };
    let level = (notification.params.as_ref())
        .and_then(|params| params.string("level"))
        .and_then(|level| LogLevel::parse(&level));
    level.is_none_or(|level| level >= from)
}

#[cfg(test)]
mod tests;
