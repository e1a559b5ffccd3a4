//! The events of one response, read within bounds. Dropping a half-finished read loses nothing.

use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;

use super::client::{Body, root_cause};
use super::fault::Fault;
use crate::limits::{CALL_AGE_MAX, STREAM_END_WAIT};
use crate::protocol::message::{Message, Series};
use crate::protocol::sse::{Event, Framer};
use crate::supervisor::Supervisor;

/// An open event stream.
#[derive(Debug)]
pub(in crate::upstream) struct EventStream {
    body: Body,
    framer: Framer,
    messages: Series,
    idle: Duration,
    bytes_max: usize,
    /// The id of the last event that had one.
    pub(super) last_id: Option<String>,
    /// How long to wait before reconnecting, when the upstream said so.
    pub(super) retry: Option<Duration>,
    /// What the last unreadable event was.
    unreadable: Option<String>,
    /// How the connection broke behind the last event.
    broken: Option<Fault>,
}

impl EventStream {
    pub(super) fn new(body: Body, idle: Duration, bytes_max: usize) -> Self {
        Self {
            body,
            framer: Framer::new(),
            messages: Series::default(),
            idle,
            bytes_max,
            last_id: None,
            retry: None,
            unreadable: None,
            broken: None,
        }
    }

    /// Waits as long as a call may take: it has a deadline of its own, and nothing comes while a person has a question
    /// before them.
    pub(super) fn of_call(mut self: Box<Self>) -> Box<Self> {
        self.idle = CALL_AGE_MAX;
        self
    }

    /// Returns the next event; `None` when the upstream closed the stream.
    pub(in crate::upstream) async fn next_event(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if let Some(event) = self.framed()? {
                return Ok(Some(event));
            }
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            match tokio::time::timeout(self.idle, self.body.chunk()).await {
                Err(_) => {
                    let seconds = self.idle.as_secs();
                    return Err(Fault::Broken(format!("nothing arrived for {seconds} s")));
                }
                Ok(Err(error)) => return Err(Fault::Broken(root_cause(&error))),
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(chunk))) => self.framer.push(chunk),
            }
        }
    }

    /// Returns an event that has arrived already.
    fn ready_event(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if let Some(event) = self.framed()? {
                return Ok(Some(event));
            }
            match self.body.ready_chunk() {
                Poll::Ready(Ok(Some(chunk))) => self.framer.push(chunk),
                Poll::Ready(Err(error)) => {
                    self.broken = Some(Fault::Broken(root_cause(&error)));
                    return Ok(None);
                }
                Poll::Ready(Ok(None)) | Poll::Pending => return Ok(None),
            }
        }
    }

    /// Takes an event out of the bytes that were read.
    #[inline]
    fn framed(&mut self) -> Result<Option<Event>, Fault> {
        let event = self.framer.next_event();
        let Some(event) = event.map_err(|error| Fault::NotAMessage(error.to_string()))? else {
            return Ok(None);
        };
        if event.data.len() > self.bytes_max {
            return Err(Fault::TooLarge(self.bytes_max));
        }
        if let Some(id) = &event.id {
            // An empty id says that there is nothing to resume from.
            self.last_id = (!id.is_empty()).then(|| id.clone());
        }
        self.retry = event.retry_ms.map(Duration::from_millis).or(self.retry);
        Ok(Some(event))
    }

    /// Returns the next message. Priming events, events of other types and unreadable ones are passed over.
    pub(super) async fn next_message(&mut self) -> Result<Option<Message>, Fault> {
        while let Some(event) = self.next_event().await? {
            if let Some(message) = self.message_of(event) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Returns a message that has arrived already. Who takes all of them before waiting passes on together what
    /// came together.
    #[inline]
    pub(super) fn ready_message(&mut self) -> Result<Option<Message>, Fault> {
        while let Some(event) = self.ready_event()? {
            if let Some(message) = self.message_of(event) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    #[inline]
    fn message_of(&mut self, event: Event) -> Option<Message> {
        if event.data.is_empty() || event.event != "message" {
            return None;
        }
        let message = self.messages.read(event.data);
        message
            .inspect_err(|error| {
                tracing::debug!(reason = %error, "an event of an upstream is no message");
                self.unreadable = Some(error.to_string());
            })
            .ok()
    }

    /// Lets a stream whose answer was read end by itself, so that its connection can be used again. What still comes
    /// is not read as messages: the first answer counts.
    pub(super) fn finish(mut self: Box<Self>, supervisor: &Supervisor) {
        match self.body.chunk().now_or_never() {
            Some(Ok(None) | Err(_)) => {}
            Some(Ok(Some(_))) | None => supervisor.spawn("end of an upstream stream", async move {
                let read = async { while let Ok(Some(_)) = self.body.chunk().await {} };
                let _ = tokio::time::timeout(STREAM_END_WAIT, read).await;
            }),
        }
    }

    /// Makes the fault of a stream that ended too early.
    pub(super) fn no_answer(&self) -> Fault {
        Fault::NoAnswer(match &self.unreadable {
            Some(reason) => format!("; one of its events is no JSON-RPC message: {reason}"),
            None => String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{QUESTION_TIMEOUT, SSE_IDLE_TIMEOUT};

    fn silent() -> Box<EventStream> {
        Box::new(EventStream::new(Body::silent(), SSE_IDLE_TIMEOUT, 1_024))
    }

    #[tokio::test(start_paused = true)]
    async fn a_calls_stream_may_be_silent_for_as_long_as_a_question_waits() {
        let broken = silent().next_message().await;
        assert!(matches!(broken, Err(Fault::Broken(_))));
        let mut stream = silent().of_call();
        let read = tokio::time::timeout(QUESTION_TIMEOUT, stream.next_message());
        assert!(read.await.is_err(), "still reading");
    }
}
