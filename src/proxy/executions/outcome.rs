//! How a call ended, as its record says it: in words of ours. What a gateway wrote is not among them; it is in the
//! result, where results are kept.

use std::sync::Arc;

use bytes::Bytes;

use crate::exchange::{Answer, CallError};
use crate::limits::EXECUTION_ERROR_BYTES_MAX;
use crate::protocol::message;
use crate::proxy::ProxyError;
use crate::store::executions::Status;

/// The end of a call.
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) error: Option<Arc<str>>,
    pub(super) response_bytes: Option<usize>,
    /// The `result` or `error`, where results are kept.
    pub(super) result: Option<Bytes>,
}

impl Outcome {
    /// Nobody waits for the call any more.
    pub(super) fn cancelled() -> Self {
        Self::failed("cancelled")
    }

    /// The call was not sent.
    pub(super) fn not_sent() -> Self {
        Self::failed("not sent: the record was not written in time")
    }

    pub(super) fn of(outcome: &Result<Answer, ProxyError>, keep_result: bool) -> Self {
        match outcome {
            Ok(answer) => Self::answered(answer, keep_result),
            Err(ProxyError::Call(CallError::Cancelled)) => Self::cancelled(),
            Err(error) => {
                let mut text = error.to_string();
                text.truncate(text.floor_char_boundary(EXECUTION_ERROR_BYTES_MAX));
                Self::failed(&text)
            }
        }
    }

    fn failed(why: &str) -> Self {
        Self {
            status: Status::Failed,
            error: Some(Arc::from(why)),
            response_bytes: None,
            result: None,
        }
    }

    fn answered(answer: &Answer, keep_result: bool) -> Self {
        let response = &answer.response;
        let (status, error) = match &response.outcome {
            message::Outcome::Error(error) => {
                let text = format!("the gateway answered with JSON-RPC error {}", error.code);
                (Status::Failed, Some(Arc::from(text)))
            }
            message::Outcome::Result(_) if answer.error_type().is_some() => {
                (Status::Failed, Some(Arc::from("the tool says that it failed")))
            }
            message::Outcome::Result(result) => {
                let asks = result
                    .get("resultType")
                    .is_some_and(|kind| kind.as_str() == r#""input_required""#);
                (if asks { Status::Asked } else { Status::Success }, None)
            }
        };
        let result = keep_result.then(|| match &response.outcome {
            message::Outcome::Result(result) => Some(result.raw()),
            message::Outcome::Error(_) => message::Message::member(&response.raw, "error"),
        });
        Self {
            status,
            error,
            response_bytes: Some(response.passed.map_or(response.raw.len(), |bytes| bytes as usize)),
            result: result.flatten().map(|result| result.as_bytes().clone()),
        }
    }
}
