//! Starts calls and hears what they say: events, then the answer. A call runs inside its own response until that ends
//! early or becomes a stream; then it goes on in a task, so that a client that goes away or reads slowly neither ends
//! nor holds it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waking, Poll, ready};

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::fault::Fault;
use super::operation::Operation;
use super::session::InFlight;
use super::{Endpoint, Sent};
use crate::exchange::{Answer, Call, CallError, Client, Event, Flow, Task, queue};
use crate::ids::UserId;
use crate::limits::STREAM_QUEUE_EVENTS_MAX;
use crate::protocol::json::Raw;
use crate::protocol::message::{Message, Notification, Request};
use crate::protocol::meta::LogLevel;
use crate::proxy::{Place, ProxyError};
use crate::supervisor::{Hosted, Lost};
use crate::telemetry::InRequest;

/// A call that is running: its events, then its answer.
#[derive(Debug)]
pub(super) struct Running {
    unsaid: VecDeque<Notification>,
    events: queue::Receiver<Event>,
    work: Hosted<Result<Answer, ProxyError>>,
    /// The answer, while events that came before it are still to be heard.
    answer: Option<Box<Result<Answer, ProxyError>>>,
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
        let (events_out, events) = queue::bounded(STREAM_QUEUE_EVENTS_MAX);
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
            streams: true,
        });
        let proxy = self.parts.proxy.clone();
        let in_flight = context.in_flight;
        let work = InRequest::current(async move {
            let outcome = proxy.call(call).await;
            drop((place, in_flight));
            outcome
        });
        let supervisor = &self.parts.supervisor;
        Ok(Running {
            unsaid: VecDeque::new(),
            events,
            // Of a request whose span is not exported, the work belongs to the span around it.
            work: match span {
                Some(span) => supervisor.host("call", work.instrument(span)),
                None => supervisor.host("call", work),
            },
            answer: None,
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

    /// Lets the call go on in a task from now on.
    pub(super) fn let_go(&mut self) {
        self.work.let_go();
    }

    /// Waits for what comes next. Every event comes before the answer.
    pub(super) async fn step(&mut self) -> Step {
        poll_fn(|cx| self.poll_step(cx)).await
    }

    fn poll_step(&mut self, cx: &mut Waking<'_>) -> Poll<Step> {
        if let Some(ready) = self.ready() {
            return Poll::Ready(ready);
        }
        if let Poll::Ready(outcome) = Pin::new(&mut self.work).poll(cx) {
            let answer = outcome.unwrap_or_else(|Lost| Err(self.lost()));
            return Poll::Ready(match self.events.try_recv() {
                Ok(event) => {
                    self.answer = Some(Box::new(answer));
                    Step::Event(event)
                }
                Err(_) => Step::Answer(answer),
            });
        }
        // When the queue has closed, the work is about to end, and wakes this.
        match ready!(self.events.poll_recv(cx)) {
            Some(event) => Poll::Ready(Step::Event(event)),
            None => Poll::Pending,
        }
    }

    fn lost(&self) -> ProxyError {
        if self.cancel.is_cancelled() {
            ProxyError::Call(CallError::Cancelled)
        } else {
            ProxyError::Lost
        }
    }

    /// Returns what is ready already.
    pub(super) fn ready(&mut self) -> Option<Step> {
        if let Some(notification) = self.unsaid.pop_front() {
            return Some(Step::Event(Event::Notification(notification)));
        }
        if let Ok(event) = self.events.try_recv() {
            return Some(Step::Event(event));
        }
        self.answer.take().map(|answer| Step::Answer(*answer))
    }
}

/// Collects what a running call says where only its answer can be told (batches).
pub(super) async fn answer_alone(mut running: Running) -> Result<Answer, ProxyError> {
    loop {
        match running.step().await {
            Step::Event(Event::Answer(flow)) => return answer_whole(running, flow).await,
            Step::Event(_) => {}
            Step::Answer(answer) => return answer,
        }
    }
}

/// Collects an answer that flows.
async fn answer_whole(mut running: Running, flow: Flow) -> Result<Answer, ProxyError> {
    let hearing = async {
        loop {
            if let Step::Answer(answer) = running.step().await {
                return answer;
            }
        }
    };
    let (text, answer) = tokio::join!(flow.whole(), hearing);
    let answer = answer?;
    match text.map(Message::parse) {
        Some(Ok(Message::Response(response))) => Ok(Answer { response, ..answer }),
        _ => Err(ProxyError::Lost),
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
