//! Runs a call and turns its events and its answer into HTTP: one JSON object when the answer comes first, else an
//! event stream. Events that are ready together leave together. A slow reader slows its own upstream down, and is cut
//! off by the listener's write timeout.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::{Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::session::{InFlight, OpenStream, Session};
use super::{Endpoint, Sent, Text, reply};
use crate::exchange::{Answer, Call, Client, Event, Question};
use crate::limits::{KEEP_ALIVE_INTERVAL, STREAM_QUEUE_EVENTS_MAX};
use crate::protocol::json::Raw;
use crate::protocol::message::{Notification, Request};
use crate::protocol::meta::LogLevel;
use crate::protocol::sse;
use crate::proxy::ProxyError;
use crate::telemetry::Counted;

/// As much of a stream goes out in one piece at most.
const CHUNK_BYTES: usize = 64 * 1024;

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
pub(super) struct Context {
    pub(super) client: Arc<Client>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) request_state: Option<Raw>,
    pub(super) cancel: CancellationToken,
    pub(super) in_flight: Option<InFlight>,
}

impl Endpoint {
    /// Starts a call; `None` when the user has as many in flight as may be.
    pub(super) fn start(&self, request: Request, context: Context) -> Option<Running> {
        let places = self.parts.proxy.places();
        let at_most = self.parts.limits.in_flight_per_user_max;
        let Some(place) = places.take(context.client.principal.user(), at_most) else {
            self.parts.metrics.limit_hit("in_flight_per_user");
            return None;
        };
        let (events_out, events) = mpsc::channel(STREAM_QUEUE_EVENTS_MAX);
        let (answer_out, answer) = oneshot::channel();
        let cancel = context.cancel.clone();
        let call = Call {
            request,
            client: context.client,
            log_level: context.log_level,
            request_state: context.request_state,
            cancel: context.cancel,
            events: events_out,
            traceparent: None,
        };
        let proxy = self.parts.proxy.clone();
        let in_flight = context.in_flight;
        self.parts.supervisor.spawn("call", async move {
            let outcome = proxy.call(call).await;
            drop((place, in_flight));
            let _ = answer_out.send(outcome);
        });
        Some(Running {
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
        let lost = || Err(ProxyError::Call(crate::exchange::CallError::Cancelled));
        Step::Answer((&mut self.answer).await.unwrap_or_else(|_| lost()))
    }

    /// Returns what is ready already.
    fn ready(&mut self) -> Option<Step> {
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

/// How one client reads a running call.
pub(super) trait Voice: Send + 'static {
    /// Writes a notification; `None` when this client is not told.
    fn notification(&mut self, notification: Notification) -> Option<Text>;
    /// Asks the client. Takes the call over when its answers come with another request.
    fn question(&mut self, question: Question, running: Running) -> Asking;
    /// Writes the answer and the status that it has outside of a stream; `None` when nothing is to be said.
    fn answer(&mut self, answer: Result<Answer, ProxyError>) -> Option<(StatusCode, Text)>;
}

/// What comes of a question.
#[derive(Debug)]
pub(super) enum Asking {
    /// The text goes out, the call goes on.
    GoesOn(Option<Text>, Running),
    /// The text is the end of this response; the call is kept elsewhere.
    Ends(Text),
}

/// What must live as long as the response does.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Cancels the call when the client goes away; modern clients only.
    cancel_on_drop: Option<DropGuard>,
    /// Keeps the session from idling out.
    _session: Option<OpenStream>,
    /// Counts the stream once it is one.
    counted: Option<Counted>,
}

impl Held {
    /// For a request of a legacy client, whose call goes on when the client goes away.
    pub(super) fn by_session(session: Option<&Arc<Session>>) -> Self {
        Self {
            _session: session.map(Session::hold),
            ..Self::default()
        }
    }

    /// For a request of a modern client, whose call ends with it.
    pub(super) fn by_client(cancel: &CancellationToken) -> Self {
        Self {
            cancel_on_drop: Some(cancel.clone().drop_guard()),
            ..Self::default()
        }
    }
}

/// Answers with JSON when the end is the first thing to be said, else with a stream.
pub(super) async fn respond(
    endpoint: &Endpoint,
    running: Running,
    voice: impl Voice,
    held: Held,
) -> Response<Body> {
    let mut writer = Writer {
        running: Some(running),
        voice,
        held,
    };
    let mut out = BytesMut::new();
    let end = loop {
        match writer.next(&mut out).await {
            Said::End(end) if out.is_empty() => break end,
            Said::Nothing => {}
            said => {
                let last = if let Said::End(end) = said { end } else { None };
                writer.held.counted = Some(endpoint.parts.metrics.stream_opened());
                if let Some((_, text)) = last {
                    sse::write_event(&mut out, None, &text);
                }
                return reply::events(chunks(writer, out.freeze()));
            }
        }
    };
    match end {
        Some((status, text)) => reply::json(status, text),
        // A cancelled request gets no answer (2025-11-25, Cancellation); its HTTP request still needs one.
        None => reply::accepted(),
    }
}

/// Writes what a running call says until its end.
fn chunks<V: Voice>(writer: Writer<V>, first: Bytes) -> impl Stream<Item = Bytes> {
    stream::unfold((writer, Some(first)), |(mut writer, first)| async move {
        if let Some(first) = first {
            return Some((first, (writer, None)));
        }
        let mut out = BytesMut::new();
        while out.is_empty() && writer.running.is_some() {
            if let Said::End(Some((_, text))) = writer.next(&mut out).await {
                sse::write_event(&mut out, None, &text);
            }
        }
        (!out.is_empty()).then(|| (out.freeze(), (writer, None)))
    })
}

struct Writer<V> {
    /// `None` once the call is over or kept elsewhere.
    running: Option<Running>,
    voice: V,
    held: Held,
}

/// What was written.
enum Said {
    Nothing,
    Something,
    /// The last text of this response, not yet written.
    End(Option<(StatusCode, Text)>),
}

impl<V: Voice> Writer<V> {
    /// Writes what comes next and everything that is ready behind it.
    async fn next(&mut self, out: &mut BytesMut) -> Said {
        let Some(running) = &mut self.running else {
            return Said::End(None);
        };
        let Ok(step) = tokio::time::timeout(KEEP_ALIVE_INTERVAL, running.step()).await else {
            out.extend_from_slice(sse::KEEP_ALIVE);
            return Said::Something;
        };
        let before = out.len();
        let mut said = self.take(step, out);
        while matches!(said, Said::Nothing) && out.len() < CHUNK_BYTES {
            let Some(step) = self.running.as_mut().and_then(Running::ready) else {
                break;
            };
            said = self.take(step, out);
        }
        match said {
            Said::Nothing if out.len() > before => Said::Something,
            said => said,
        }
    }

    fn take(&mut self, step: Step, out: &mut BytesMut) -> Said {
        let text = match step {
            Step::Event(Event::Notification(notification)) => self.voice.notification(notification),
            Step::Event(Event::Question(question)) => {
                let Some(running) = self.running.take() else {
                    return Said::End(None);
                };
                match self.voice.question(question, running) {
                    Asking::GoesOn(text, running) => {
                        self.running = Some(running);
                        text
                    }
                    Asking::Ends(text) => {
                        // The call lives on without this response.
                        self.held.cancel_on_drop.take().map(DropGuard::disarm);
                        return Said::End(Some((StatusCode::OK, text)));
                    }
                }
            }
            Step::Answer(answer) => {
                self.running = None;
                return Said::End(self.voice.answer(answer));
            }
        };
        if let Some(text) = text {
            sse::write_event(out, None, &text);
        }
        Said::Nothing
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
