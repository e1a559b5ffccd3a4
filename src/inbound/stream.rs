//! Turns what a running call says into HTTP: one JSON object when the answer comes first, else an event stream. Events
//! that are ready together leave together. A slow reader slows its own upstream down, and is cut off by the listener's
//! write time-out.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::{Response, StatusCode};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::exchange::{Running, Step};
use super::replay::Log;
use super::session::{OpenStream, Session};
use super::{Endpoint, Text, reply};
use crate::exchange::{Answer, Event, Flow, Question};
use crate::limits::{KEEP_ALIVE_INTERVAL, STREAM_BUFFER_BYTES_MAX};
use crate::protocol::message::Notification;
use crate::protocol::sse;
use crate::protocol::version::ProtocolVersion;
use crate::proxy::ProxyError;
use crate::telemetry::Counted;

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

/// Answers with JSON when the end is the first thing to be said, else with a stream: of a session, one that can be
/// taken up again after a lost connection.
pub(super) async fn respond(
    endpoint: &Endpoint,
    running: Running,
    voice: impl Voice,
    held: Held,
    session: Option<&Arc<Session>>,
) -> Response<Body> {
    let mut writer = Writer {
        running: Some(running),
        voice,
        held,
    };
    let mut texts = Vec::new();
    let end = loop {
        match writer.next(&mut texts).await {
            Said::End(end) if texts.is_empty() => break end,
            Said::Flow(flow) if texts.is_empty() => return flowing(writer, flow),
            Said::Nothing => {}
            said => {
                writer.finish(said, &mut texts).await;
                writer.held.counted = Some(endpoint.parts.metrics.stream_opened());
                // A reader that is slow must not hold up the call itself, its deadline and its cancellation.
                if let Some(running) = &mut writer.running {
                    running.let_go();
                }
                return match session.and_then(|session| Some((session, session.replays.open()?))) {
                    Some((session, log)) => resumable(endpoint, session, log, writer, texts),
                    None => reply::events(chunks(writer, &texts)),
                };
            }
        }
    };
    match end {
        Some((status, text)) => reply::json(status, text),
        // A cancelled request gets no answer (2025-11-25, Cancellation); its HTTP request still needs one.
        None => reply::accepted(),
    }
}

/// Lets the call write into the log of a stream, whoever reads it.
fn resumable<V: Voice>(
    endpoint: &Endpoint,
    session: &Arc<Session>,
    log: Arc<Log>,
    mut writer: Writer<V>,
    mut texts: Vec<Text>,
) -> Response<Body> {
    let prime = session.client.version >= ProtocolVersion::V2025_11_25;
    let reading = log.read(0, prime);
    endpoint.parts.supervisor.spawn("stream", async move {
        log.write(&mut texts).await;
        while writer.running.is_some() {
            let said = writer.next(&mut texts).await;
            writer.finish(said, &mut texts).await;
            log.write(&mut texts).await;
        }
        log.end();
    });
    match reading {
        Some(reading) => reply::events(reading),
        None => reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Passes an answer on as it comes. One that breaks off breaks the response off: its length was said. What else is said
/// meanwhile has no place in it.
fn flowing<V: Voice>(writer: Writer<V>, flow: Flow) -> Response<Body> {
    let length = flow.length();
    let pieces = stream::unfold(
        (writer, flow, length),
        |(mut writer, mut flow, left)| async move {
            let (mut aside, mut error) = (Vec::new(), None);
            let piece = writer.piece(&mut flow, &mut aside, &mut error).await;
            let Some(piece) = piece else {
                return (left > 0).then(|| (Err(BrokeOff), (writer, flow, 0)));
            };
            let left = left.saturating_sub(piece.len() as u64);
            // The connection asks for no more than was announced, so the call is heard out before its last piece leaves.
            if left == 0
                && (writer.piece(&mut flow, &mut aside, &mut error).await.is_some() || error.is_some())
            {
                return Some((Err(BrokeOff), (writer, flow, 0)));
            }
            Some((Ok(piece), (writer, flow, left)))
        },
    );
    reply::flowing(length, pieces)
}

/// Writes what a running call says until its end.
fn chunks<V: Voice>(writer: Writer<V>, first: &[Text]) -> impl Stream<Item = Bytes> + use<V> {
    stream::unfold((writer, framed(first)), |(mut writer, mut out)| async move {
        while out.is_empty() && writer.running.is_some() {
            let mut texts = Vec::new();
            match writer.next(&mut texts).await {
                Said::Quiet => out.extend_from_slice(sse::KEEP_ALIVE),
                said => writer.finish(said, &mut texts).await,
            }
            out.unsplit(framed(&texts));
        }
        (!out.is_empty()).then(|| (out.freeze(), (writer, BytesMut::new())))
    })
}

fn framed(texts: &[Text]) -> BytesMut {
    let mut out = BytesMut::new();
    for text in texts {
        sse::write_event(&mut out, None, text);
    }
    out
}

struct Writer<V> {
    /// `None` once the call is over or kept elsewhere.
    running: Option<Running>,
    voice: V,
    held: Held,
}

/// What came of waiting.
enum Said {
    /// What came is not for this client.
    Nothing,
    Something,
    /// Nothing came for [`KEEP_ALIVE_INTERVAL`].
    Quiet,
    /// The answer begins; it is the last text of this response.
    Flow(Flow),
    /// The last text of this response, not among the others.
    End(Option<(StatusCode, Text)>),
}

/// An answer that was passed on did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
struct BrokeOff;

impl<V: Voice> Writer<V> {
    /// Takes what comes next and everything that is ready behind it.
    async fn next(&mut self, texts: &mut Vec<Text>) -> Said {
        let Some(running) = &mut self.running else {
            return Said::End(None);
        };
        let Ok(step) = tokio::time::timeout(KEEP_ALIVE_INTERVAL, running.step()).await else {
            return Said::Quiet;
        };
        let mut bytes = 0;
        let mut said = self.take(step, texts);
        while matches!(said, Said::Nothing | Said::Something) && bytes < STREAM_BUFFER_BYTES_MAX {
            let Some(step) = self.running.as_mut().and_then(Running::ready) else {
                break;
            };
            bytes += texts.last().map_or(0, Bytes::len);
            said = self.take(step, texts);
        }
        match said {
            Said::Nothing if !texts.is_empty() => Said::Something,
            said => said,
        }
    }

    /// Puts the last text of a stream behind the others. An answer that flows becomes one text; when it broke off the
    /// error that followed is told instead.
    async fn finish(&mut self, said: Said, texts: &mut Vec<Text>) {
        let mut flow = match said {
            Said::End(Some((_, text))) => return texts.push(text),
            Said::Flow(flow) => flow,
            _ => return,
        };
        let (mut whole, mut error) = (BytesMut::new(), None);
        while let Some(piece) = self.piece(&mut flow, texts, &mut error).await {
            whole.extend_from_slice(&piece);
        }
        let whole = (whole.len() as u64 == flow.length()).then(|| whole.freeze());
        texts.extend(error.or(whole));
    }

    /// Waits for the next piece of an answer while the call is heard out; `None` when both are at their end.
    async fn piece(
        &mut self,
        flow: &mut Flow,
        texts: &mut Vec<Text>,
        error: &mut Option<Text>,
    ) -> Option<Bytes> {
        let mut flows = true;
        while flows || self.running.is_some() {
            tokio::select! {
                biased;
                piece = flow.next(), if flows => match piece {
                    Some(piece) => return Some(piece),
                    None => flows = false,
                },
                said = self.next(texts), if self.running.is_some() => {
                    if let Said::End(Some((_, text))) = said {
                        *error = Some(text);
                    }
                }
            }
        }
        None
    }

    fn take(&mut self, step: Step, texts: &mut Vec<Text>) -> Said {
        let text = match step {
            Step::Event(Event::Notification(notification)) => self.voice.notification(notification),
            Step::Event(Event::Answer(flow)) => return Said::Flow(flow),
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
        text.map_or(Said::Nothing, |text| {
            texts.push(text);
            Said::Something
        })
    }
}
