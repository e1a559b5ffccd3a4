//! Starts calls, each in a task of its own, and hears what they say: events, then the answer.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::fault::Fault;
use super::operation::Operation;
use super::session::InFlight;
use super::{Endpoint, Sent};
use crate::exchange::{Answer, Call, CallError, Client, Event, Task};
use crate::ids::UserId;
use crate::limits::STREAM_QUEUE_EVENTS_MAX;
use crate::protocol::json::Raw;
use crate::protocol::message::{Notification, Request};
use crate::protocol::meta::LogLevel;
use crate::proxy::{Place, ProxyError};

/// A call that is running: its events, then its answer.
#[derive(Debug)]
pub(super) struct Running {
    unsaid: VecDeque<Notification>,
    events: mpsc::Receiver<Event>,
    answer: oneshot::Receiver<Result<Answer, ProxyError>>,
    pub(super) cancel: CancellationToken,
}

/// What a running call says next.
#[derive(Debug)]
pub(super) enum Step {
    /// Before the answer.
    Event(Event),
    /// The answer; nothing follows.
    Answer(Result<Answer, ProxyError>),
}

/// What is needed beside the client's message.
pub(super) struct Context<'a> {
    pub(super) client: Arc<Client>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) request_state: Option<Raw>,
    pub(super) task: Option<Task>,
    pub(super) cancel: CancellationToken,
    pub(super) in_flight: Option<InFlight>,
    pub(super) operation: &'a Operation,
}

impl Endpoint {
    /// Takes a place of a user, for what keeps an upstream busy.
    pub(super) fn place(&self, user: &UserId) -> Result<Place, Fault> {
        let at_most = self.parts.limits.in_flight_per_user_max;
        self.parts.proxy.places().take(user, at_most).ok_or_else(|| {
            self.parts.metrics.limit_hit("in_flight_per_user");
            Fault::too_many_calls(at_most)
        })
    }

    /// Starts a call, unless the user has as many in flight as may be.
    pub(super) fn start(&self, request: Request, context: Context<'_>) -> Result<Running, Fault> {
        let place = self.place(context.client.principal.user())?;
        let (events_out, events) = mpsc::channel(STREAM_QUEUE_EVENTS_MAX);
        let (answer_out, answer) = oneshot::channel();
        let cancel = context.cancel.clone();
        let span = context.operation.span();
        let call = Box::new(Call {
            request,
            traceparent: context.operation.traceparent(&context.client),
            request_id: Some(context.operation.request_id().clone()),
            client: context.client,
            log_level: context.log_level,
            request_state: context.request_state,
            task: context.task,
            cancel: context.cancel,
            events: events_out.into(),
        });
        let proxy = self.parts.proxy.clone();
        let in_flight = context.in_flight;
        let work = async move {
            let outcome = proxy.call(call).await;
            drop((place, in_flight));
            let _ = answer_out.send(outcome);
        };
        self.parts.supervisor.spawn("call", work.instrument(span));
        Ok(Running {
            unsaid: VecDeque::new(),
            events,
            answer,
            cancel,
        })
    }
}

impl Running {
    /// Puts notifications back that were held while the call was parked; they are told first.
    pub(super) fn with_unsaid(mut self, unsaid: Vec<Notification>) -> Self {
        self.unsaid.extend(unsaid);
        self
    }

    /// Returns an event that is ready already; leaves the answer where it is.
    pub(super) fn ready_event(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Waits for what comes next. Every event comes before the answer: the queue ends when the call is over.
    pub(super) async fn step(&mut self) -> Step {
        if let Some(notification) = self.unsaid.pop_front() {
            return Step::Event(Event::Notification(notification));
        }
        if let Some(event) = self.events.recv().await {
            return Step::Event(event);
        }
        let lost = |()| {
            if self.cancel.is_cancelled() {
                ProxyError::Call(CallError::Cancelled)
            } else {
                ProxyError::Lost
            }
        };
        let answer = (&mut self.answer).await.map_err(|_| ());
        Step::Answer(answer.map_err(lost).flatten())
    }

    /// Returns what is ready already.
    pub(super) fn ready(&mut self) -> Option<Step> {
        if let Some(notification) = self.unsaid.pop_front() {
            return Some(Step::Event(Event::Notification(notification)));
        }
        match self.events.try_recv() {
            Ok(event) => Some(Step::Event(event)),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => self.answer.try_recv().ok().map(Step::Answer),
        }
    }
}

/// Collects what a running call says where only its answer can be told (batches).
pub(super) async fn answer_alone(mut running: Running) -> Result<Answer, ProxyError> {
    loop {
        if let Step::Answer(answer) = running.step().await {
            return answer;
        }
    }
}

/// A request of a client with the ids that its errors carry.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) request_id: crate::ids::RequestId,
}

impl Asked {
    pub(super) fn new(request: &Request, sent: &Sent) -> Self {
        Self {
            request: request.clone(),
            request_id: sent.request_id.clone(),
        }
    }
}
