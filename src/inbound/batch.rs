//! Batches: only clients of 2025-03-26 may send them. Answered as one array; what is said before an answer is not
//! told, since an array has no place for it (2025-03-26, Transports, "Sending Messages to the Server").

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{Response, StatusCode};

use super::era::{self, Spoken};
use super::exchange::{self, Asked};
use super::fault::Fault;
use super::legacy::{self, answer_text};
use super::operation::Operation;
use super::session::Session;
use super::{Endpoint, Sent, Text, reply, unreadable};
use crate::limits::{BATCH_MESSAGES_MAX, UPSTREAM_RESULT_BYTES_MAX};
use crate::protocol::message::{self, Message};
use crate::protocol::method::Method;
use crate::protocol::version::ProtocolVersion;

/// Requests of one batch that are worked on at once.
const AT_ONCE: usize = 8;

impl Endpoint {
    pub(super) async fn batch(self: Arc<Self>, sent: &Sent, text: &Bytes) -> Response<Body> {
        let refuse = |reason: &str| {
            let fault = Fault::invalid_request(format!("Invalid request: {reason}")).named(&sent.request_id);
            reply::error(StatusCode::BAD_REQUEST, None, &fault)
        };
        if era::of_headers(&sent.headers) == Spoken::Modern {
            return refuse("batches are not accepted in this protocol version");
        }
        let messages: Vec<Bytes> = match Message::split_batch(text) {
            Ok(messages) => messages.take(BATCH_MESSAGES_MAX + 1).collect(),
            Err(error) => return unreadable(&error.into(), &sent.request_id),
        };
        let session = match self.session_of(sent).await {
            Ok(session) => session,
            Err(response) => return *response,
        };
        let version = session.as_ref().map_or_else(
            || {
                era::version(&sent.headers).map_or(Some(ProtocolVersion::V2025_03_26), |text| {
                    ProtocolVersion::parse(&text)
                })
            },
            |session| Some(session.client.version),
        );
        if version != Some(ProtocolVersion::V2025_03_26) {
            return refuse("batches are not accepted in this protocol version");
        }
        if messages.is_empty() {
            return refuse("not a batch of messages");
        }
        if messages.len() > BATCH_MESSAGES_MAX {
            return refuse("too many messages in one batch");
        }
        let answered_bytes = AtomicUsize::new(0);
        let answers: Vec<Text> = stream::iter(messages)
            .map(async |text| {
                let full = answered_bytes.load(Ordering::Relaxed) >= UPSTREAM_RESULT_BYTES_MAX;
                let answer = self.batched(sent, session.as_ref(), text, full).await;
                answered_bytes.fetch_add(answer.as_ref().map_or(0, Bytes::len), Ordering::Relaxed);
                answer
            })
            .buffered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        if answers.is_empty() {
            return reply::accepted();
        }
        reply::json(StatusCode::OK, array(&answers))
    }

    /// Answers one message; `full`: a request gets no more than an error, since all answers go out as one.
    async fn batched(
        &self,
        sent: &Sent,
        session: Option<&Arc<Session>>,
        text: Bytes,
        full: bool,
    ) -> Option<Text> {
        let request = match Message::parse(text) {
            Ok(Message::Request(request)) => request,
            Ok(Message::Notification(notification)) => {
                self.legacy_notification(session, &notification).await;
                return None;
            }
            Ok(Message::Response(response)) => {
                session?.questions.answer(&response);
                return None;
            }
            Err(error) => {
                let (id, error) = error.to_rpc();
                return Some(message::error_response(
                    id.as_ref(),
                    &Fault::from(error).named(&sent.request_id),
                ));
            }
        };
        let asked = Asked::new(&request, sent);
        let failed =
            |fault: Fault| message::error_response(Some(&asked.request.id), &fault.named(&sent.request_id));
        let mut operation = Operation::begin(self, sent, &request, ProtocolVersion::V2025_03_26);
        if full || !legacy::is_forwarded(request.method) {
            let done = if full {
                self.parts.metrics.limit_hit("batch_answer_bytes");
                Err(Fault::internal(
                    "The answers of this batch are too large; send fewer at once",
                ))
            } else if request.method == Method::Initialize {
                Err(Fault::invalid_request(
                    "Invalid request: initialize is never batched",
                ))
            } else {
                self.legacy_local(sent, session, &request).await
            };
            operation.done(&done);
            return Some(done.unwrap_or_else(failed));
        }
        match self.begin_legacy(sent, session, request, &operation) {
            Ok(running) => {
                let answer = exchange::answer_alone(running).await;
                operation.called(&answer);
                answer_text(&asked, answer, ProtocolVersion::V2025_03_26).map(|(_, text)| text)
            }
            Err(fault) => {
                operation.refused(&fault);
                Some(failed(fault))
            }
        }
    }
}

fn array(texts: &[Text]) -> Bytes {
    let mut out = BytesMut::new();
    for (index, text) in texts.iter().enumerate() {
        out.put_u8(if index == 0 { b'[' } else { b',' });
        out.put_slice(text);
    }
    out.put_u8(b']');
    out.freeze()
}
