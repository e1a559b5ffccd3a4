//! Requests of our own: handshakes, lists, subscriptions. Each is answered within [`FIRST_BYTE_TIMEOUT`] or fails.

use bytes::Bytes;
use http::HeaderMap;

use super::client::Head;
use super::fault::Fault;
use super::link::Link;
use super::wire::{Refusal, Reply};
use crate::limits::FIRST_BYTE_TIMEOUT;
use crate::protocol::json::Raw;
use crate::protocol::message::{self, Message, Response, RpcId};
use crate::protocol::method::Method;

/// What a request of our own comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A response, whatever it says, and the head it came with.
    Response(Response, Head),
    /// A status of 400 or more.
    Refused(Refusal),
    /// A status of 2xx without a message.
    Nothing,
}

/// Sends a request and waits for its response. Messages that come before it on a stream go to `aside`.
pub(super) async fn ask(
    link: &Link,
    id: &RpcId,
    body: Bytes,
    headers: &HeaderMap,
    aside: &(dyn Fn(Message) + Sync),
) -> Result<Outcome, Fault> {
    let asked = ask_unbounded(link, id, body, headers, aside);
    match tokio::time::timeout(FIRST_BYTE_TIMEOUT, asked).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::Timeout(FIRST_BYTE_TIMEOUT)),
    }
}

async fn ask_unbounded(
    link: &Link,
    id: &RpcId,
    body: Bytes,
    headers: &HeaderMap,
    aside: &(dyn Fn(Message) + Sync),
) -> Result<Outcome, Fault> {
    let (wire, supervisor) = (&link.wire, &link.supervisor);
    let (reply, head) = wire.post(body, headers, FIRST_BYTE_TIMEOUT).await?;
    let mut stream = match reply {
        Reply::Accepted | Reply::Large(_) => return Ok(Outcome::Nothing),
        Reply::Refused(refusal) => return Ok(Outcome::Refused(refusal)),
        Reply::Json(body) => {
            return match read_json(body)? {
                Message::Response(response) if answers(&response, id) => {
                    Ok(Outcome::Response(response, head))
                }
                _ => Err(Fault::NotAMessage("not a response to the request".to_owned())),
            };
        }
        Reply::Events(stream) => stream,
    };
    while let Some(message) = stream.next_message().await? {
        match message {
            Message::Response(response) if answers(&response, id) => {
                stream.finish(supervisor);
                return Ok(Outcome::Response(response, head));
            }
            other => aside(other),
        }
    }
    Err(stream.no_answer())
}

/// Reads a JSON body as one message.
pub(super) fn read_json(body: Bytes) -> Result<Message, Fault> {
    Message::parse(body).map_err(|error| Fault::NotAMessage(error.to_string()))
}

/// An error without an id answers the only request that there is.
fn answers(response: &Response, id: &RpcId) -> bool {
    match &response.id {
        Some(answered) => answered.same(id),
        None => matches!(response.outcome, message::Outcome::Error(_)),
    }
}

/// Writes a request of our own for a legacy upstream.
pub(super) fn legacy_request(id: &RpcId, method: Method, params: &[(&'static str, Raw)]) -> Bytes {
    let method = Raw::from(method.as_str());
    let params = (!params.is_empty()).then(|| object(params));
    message::request(id, &method, params.as_ref())
}

/// Writes an object of values.
pub(super) fn object(members: &[(&str, Raw)]) -> Raw {
    let mut text = String::from("{");
    for (index, (key, value)) in members.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        text.extend([comma, Raw::from(*key).as_str(), ":", value.as_str()]);
    }
    text.push('}');
    Raw::parse(&Bytes::from(text)).unwrap_or_else(|_| Raw::literal("{}"))
}
