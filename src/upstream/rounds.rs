//! `input_required` for clients that do not know it (2026-07-28, Multi Round-Trip Requests): each of its requests
//! becomes a question on the client's open stream, and the call goes upstream again with the answers.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::incoming::{Asked, Cancelled, Incoming};
use super::outgoing::Retry;
use crate::exchange::{Call, Reply};
use crate::limits::QUESTION_ROUNDS_MAX;
use crate::protocol::error::RpcError;
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, Message, Outcome, Request, Response, RpcId};
use crate::protocol::method::Method;
use crate::protocol::splice::Splice;

/// What a response of a modern upstream comes to.
#[derive(Debug)]
pub enum Next {
    /// It is the answer.
    Answer(Response),
    /// The upstream wants the request again, with this.
    Again(Retry),
}

/// Why a call that asked the client something cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoundError {
    /// The call was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The upstream asked again and again.
    #[error("it asked more than {QUESTION_ROUNDS_MAX} times")]
    TooManyRounds,
    /// `inputRequests` is not what the specification says.
    #[error("its `input_required` result is malformed")]
    Malformed,
    /// The client cannot or will not answer, and the question has no answer that says so.
    #[error("the client did not answer {method}: {reason}")]
    Unanswered {
        /// What was asked.
        method: String,
        /// What the client said.
        reason: String,
    },
}

impl From<Cancelled> for RoundError {
    fn from(Cancelled: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// The rounds of one call.
#[derive(Debug)]
pub struct Rounds<'a> {
    call: &'a Call,
    left: usize,
    question_timeout: Duration,
}

impl<'a> Rounds<'a> {
    /// Starts a call that has asked nothing yet.
    #[must_use]
    pub fn new(call: &'a Call, question_timeout: Duration) -> Self {
        Self {
            call,
            left: QUESTION_ROUNDS_MAX,
            question_timeout,
        }
    }

    /// Reads a response. What the upstream wants to know is asked of a client that would not understand
    /// `input_required`; all of a round's questions at once.
    pub async fn next(
        &mut self,
        incoming: &mut Incoming<'_>,
        response: Response,
    ) -> Result<Next, RoundError> {
        let Outcome::Result(result) = &response.outcome else {
            return Ok(Next::Answer(response));
        };
        let wants_input = result.string("resultType").as_deref() == Some("input_required");
        if !wants_input || self.call.takes_input_required() {
            return Ok(Next::Answer(response));
        }
        self.left = self.left.checked_sub(1).ok_or(RoundError::TooManyRounds)?;
        let state = result.get("requestState");
        let responses = match result.get("inputRequests") {
            Some(requests) => {
                let requests = requests.object().map_err(|_| RoundError::Malformed)?;
                Some(self.ask_all(incoming, &requests).await?)
            }
            None if state.is_none() => return Err(RoundError::Malformed),
            None => None,
        };
        Ok(Next::Again(Retry { responses, state }))
    }

    async fn ask_all(&self, incoming: &mut Incoming<'_>, requests: &Object) -> Result<Raw, RoundError> {
        let mut pending = Vec::new();
        for (index, (key, request)) in requests.entries().enumerate() {
            let request = read_request(index, &request).ok_or(RoundError::Malformed)?;
            let asked = match incoming.refusal(&request) {
                Some(error) => Err(refused(&request, &error)?),
                None => incoming.ask(request.clone()).await?.map_err(|_| cancel_answer()),
            };
            pending.push(self.answer(key.into_owned(), request, asked));
        }
        let answers = tokio::select! {
            biased;
            () = self.call.cancel.cancelled() => return Err(RoundError::Cancelled),
            answers = join_all(pending) => answers,
        };
        let mut text = String::from("{");
        for (index, answer) in answers.into_iter().enumerate() {
            let (key, value) = answer?;
            let comma = if index > 0 { "," } else { "" };
            text.extend([comma, Raw::from(key.as_str()).as_str(), ":", value.as_str()]);
        }
        text.push('}');
        Raw::parse(&Bytes::from(text)).map_err(|_| RoundError::Malformed)
    }

    async fn answer(
        &self,
        key: String,
        request: Request,
        asked: Result<Asked, Raw>,
    ) -> Result<(String, Raw), RoundError> {
        let reply: Reply = match asked {
            Ok(asked) => asked.reply(self.question_timeout).await,
            Err(answer) => Ok(answer),
        };
        match reply {
            Ok(result) => Ok((key, result)),
            Err(error) => Ok((key, refused(&request, &error)?)),
        }
    }
}

/// Makes the answer for a question that has none: an elicitation can be cancelled, the others cannot be answered.
fn refused(request: &Request, error: &RpcError) -> Result<Raw, RoundError> {
    if request.method == Method::ElicitationCreate {
        return Ok(cancel_answer());
    }
    Err(RoundError::Unanswered {
        method: request
            .method_name
            .string()
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default(),
        reason: error.message.clone(),
    })
}

fn cancel_answer() -> Raw {
    Raw::literal(r#"{"action":"cancel"}"#)
}

/// Makes a request of an entry of `inputRequests`. A url elicitation gets the id that legacy clients want.
fn read_request(index: usize, entry: &Raw) -> Option<Request> {
    let entry = entry.object().ok()?;
    let method = entry.get("method").filter(|method| method.string().is_some())?;
    let id = RpcId::new(Raw::from(format!("input-{index}").as_str()))?;
    let mut params = entry.get("params");
    if let Some(members) = params.as_ref().and_then(|params| params.object().ok())
        && members.string("mode").as_deref() == Some("url")
        && !members.has("elicitationId")
    {
        let random = crate::clock::random::<16>();
        let minted = format!("{:032x}", u128::from_be_bytes(random));
        let mut splice = Splice::new(members.raw().as_bytes());
        splice.insert(&members, &[("elicitationId", &Raw::from(minted.as_str()))]);
        params = Raw::parse(&splice.done()).ok();
    }
    match Message::parse(message::request(&id, &method, params.as_ref())) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
