//! The messages that answer one POST of a legacy session. A stream that breaks off is resumed by GET when its events
//! had ids (2025-11-25, Transports, "Resumability and Redelivery"). Dropping a half-finished read loses nothing.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::fault::Fault;
use super::link::Link;
use super::session::Session;
use super::stream::EventStream;
use super::wire::Reply;
use crate::clock::{self, Instant};
use crate::limits::{RESUME_FAILURES_MAX, RESUME_WAIT, RESUME_WAIT_MAX, RESUME_WAIT_MIN};
use crate::protocol::headers;
use crate::protocol::message::Message;

pub(super) struct Replies<'a> {
    link: &'a Link,
    session: &'a Arc<Session>,
    state: State,
    failures: u32,
}

enum State {
    Open(Box<EventStream>),
    /// Broke off: to be asked for from an event on, not before a time.
    Lost {
        last_id: String,
        wait: Duration,
        not_before: Instant,
        why: Fault,
    },
}

impl<'a> Replies<'a> {
    pub(super) fn new(link: &'a Link, session: &'a Arc<Session>, stream: Box<EventStream>) -> Self {
        Self {
            link,
            session,
            state: State::Open(stream.of_call()),
            failures: 0,
        }
    }

    /// Returns a message that has arrived already.
    #[inline]
    pub(super) fn ready(&mut self) -> Result<Option<Message>, Fault> {
        match &mut self.state {
            State::Open(stream) => stream.ready_message(),
            State::Lost { .. } => Ok(None),
        }
    }

    /// Returns the next message.
    pub(super) async fn next(&mut self) -> Result<Message, Fault> {
        loop {
            match &mut self.state {
                State::Open(stream) => {
                    let why = match stream.next_message().await {
                        Ok(Some(message)) => {
                            self.failures = 0;
                            return Ok(message);
                        }
                        Ok(None) => stream.no_answer(),
                        Err(fault @ Fault::Broken(_)) => fault,
                        Err(fault) => return Err(fault),
                    };
                    let Some(last_id) = stream.last_id.take() else {
                        return Err(why);
                    };
                    let wait = stream.retry.unwrap_or(RESUME_WAIT);
                    let wait = wait.clamp(RESUME_WAIT_MIN, RESUME_WAIT_MAX);
                    self.state = State::Lost {
                        last_id,
                        wait,
                        not_before: clock::now() + wait,
                        why,
                    };
                }
                State::Lost {
                    last_id,
                    wait,
                    not_before,
                    why,
                } => {
                    tokio::time::sleep_until(*not_before).await;
                    match reopen(self.link, self.session, last_id).await? {
                        Some(mut stream) => {
                            stream.last_id = Some(std::mem::take(last_id));
                            stream.retry = Some(*wait);
                            self.state = State::Open(stream.of_call());
                        }
                        None if self.failures >= RESUME_FAILURES_MAX => return Err(why.clone()),
                        None => {
                            self.failures += 1;
                            *not_before = clock::now() + *wait;
                        }
                    }
                }
            }
        }
    }
}

impl Replies<'_> {
    /// The answer came: lets the stream end by itself.
    pub(super) fn finish(self) {
        if let State::Open(stream) = self.state {
            stream.finish(&self.link.supervisor);
        }
    }
}

/// Asks for the rest of a stream; `None` when another attempt may do better.
async fn reopen(link: &Link, session: &Session, last_id: &str) -> Result<Option<Box<EventStream>>, Fault> {
    let mut headers = session.headers().clone();
    let Ok(id) = HeaderValue::from_str(last_id) else {
        return Err(Fault::NoAnswer("; its event id cannot be sent back".to_owned()));
    };
    headers.insert(headers::LAST_EVENT_ID, id);
    match link.wire.get(&headers).await {
        Ok(Reply::Events(stream)) => Ok(Some(stream)),
        Ok(Reply::Refused(refusal)) if refusal.status.is_client_error() => Err(Fault::NoAnswer(format!(
            " and does not resume it (HTTP {})",
            refusal.status
        ))),
        Ok(Reply::Accepted | Reply::Json(_) | Reply::Large(_)) => {
            Err(Fault::NoAnswer(" and does not resume it".to_owned()))
        }
        Ok(Reply::Refused(_)) | Err(Fault::Unreachable(_) | Fault::Broken(_) | Fault::Timeout(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}
