//! JSON-RPC messages over the bytes they came in. One pass finds the envelope, `params`, its `_meta`, and the top
//! members of a result; everything deeper stays unread.

#[cfg(test)]
mod differential;
mod replaced;
mod scan;

use bytes::{Bytes, BytesMut};

pub use self::scan::Series;
use super::error::{INVALID_REQUEST, PARSE_ERROR, RpcError};
use super::json::{JsonError, Object, Raw};
use super::method::Method;
use crate::limits::RPC_ID_BYTES_MAX;

/// A JSON-RPC id: a string or an integer, as the bytes it came in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RpcId(Raw);

impl RpcId {
    /// Checks that a value can be an id: a string of at most [`RPC_ID_BYTES_MAX`] bytes, or an integer.
    #[must_use]
    pub fn new(value: Raw) -> Option<Self> {
        let text = value.as_bytes();
        let integer = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
        let fits = match text.first()? {
            b'"' => text.len() <= RPC_ID_BYTES_MAX,
            b'-' => integer(text.get(1..)?) && text.len() <= 24,
            _ => integer(text) && text.len() <= 24,
        };
        fits.then_some(Self(value))
    }

    /// Makes an id of our own.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self(Raw::from(number))
    }

    /// Returns the id apart from the message that it came in, whose bytes are held no longer.
    #[must_use]
    pub fn detached(self) -> Self {
        Self(self.0.detached())
    }

    /// Returns the id as a JSON value.
    #[must_use]
    pub fn raw(&self) -> &Raw {
        &self.0
    }

    /// Tells whether two ids are the same however they are spelt.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0 == other.0 || matches!((self.0.string(), other.0.string()), (Some(a), Some(b)) if a == b)
    }
}

/// Why a text is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not JSON, or beyond a bound of what we read.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// An array of messages.
    #[error("batches are not accepted here")]
    Batch,
    /// JSON, but no message.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: &'static str,
        /// The id to answer under, when there is one.
        id: Option<RpcId>,
    },
}

impl MessageError {
    /// Returns the error to answer with and the id to answer under.
    #[must_use]
    pub fn to_rpc(&self) -> (Option<RpcId>, RpcError) {
        match self {
            Self::Json(JsonError::Syntax { .. } | JsonError::NotUtf8) => {
                (None, RpcError::new(PARSE_ERROR, format!("Parse error: {self}")))
            }
            Self::Json(_) | Self::Batch => (
                None,
                RpcError::new(INVALID_REQUEST, format!("Invalid request: {self}")),
            ),
            Self::Invalid { reason, id } => (
                id.clone(),
                RpcError::new(INVALID_REQUEST, format!("Invalid request: {reason}")),
            ),
        }
    }
}

/// One message.
#[derive(Clone, Debug)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Is one.
    Response(Response),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The whole message.
    pub raw: Bytes,
    /// Its id.
    pub id: RpcId,
    /// Its method.
    pub method: Method,
    /// The method as a JSON string, for methods that we do not know.
    pub method_name: Raw,
    /// The members of `params`; `None` when there is no `params`.
    pub params: Option<Object>,
    /// The members of `params._meta`.
    pub meta: Option<Object>,
}

/// A notification.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The whole message.
    pub raw: Bytes,
    /// Its method.
    pub method: Method,
    /// The members of `params`.
    pub params: Option<Object>,
    /// The members of `params._meta`, which few have.
    pub meta: Option<Box<Object>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The whole message.
    pub raw: Bytes,
    /// The id of the request; `None` when the other side could not read it.
    pub id: Option<RpcId>,
    /// What came of it.
    pub outcome: Outcome,
    /// How many bytes of it went on to the client while it came; what is here only tells how it ended then.
    pub passed: Option<u64>,
}

/// The `result` or `error` of a response.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The members of `result`.
    Result(Object),
    /// The `error`.
    Error(RpcError),
}

impl Message {
    /// Reads one message.
    pub fn parse(raw: Bytes) -> Result<Self, MessageError> {
        let mut parts = scan::Parts::default();
        parts.find(&raw)?;
        parts.message(raw)
    }

    /// Returns a member of a message's envelope, which is read once more for it.
    #[must_use]
    pub fn member(raw: &Bytes, key: &str) -> Option<Raw> {
        Raw::parse(raw).ok()?.object().ok()?.get(key)
    }

    /// Splits a batch (2025-03-26 only) into the texts of its messages, of which it has none when it is no array.
    ///
    /// # Errors
    /// [`JsonError`] when the text is not JSON.
    pub fn split_batch(raw: &Bytes) -> Result<impl Iterator<Item = Bytes>, JsonError> {
        let elements = Raw::parse(raw)?.array();
        let texts = elements.into_iter().flatten();
        Ok(texts.map(|element| element.as_bytes().clone()))
    }
}

/// Writes a response with a result.
#[must_use]
pub fn response(id: &RpcId, result: &Raw) -> Bytes {
    joined(&[
        b"{\"jsonrpc\":\"2.0\",\"id\":",
        id.raw().as_bytes(),
        b",\"result\":",
        result.as_bytes(),
        b"}",
    ])
}

/// Writes a response with an error; without an id where the request's could not be read.
#[must_use]
pub fn error_response(id: Option<&RpcId>, error: &RpcError) -> Bytes {
    let id = id.map_or(&b"null"[..], |id| id.raw().as_bytes());
    joined(&[
        b"{\"jsonrpc\":\"2.0\",\"id\":",
        id,
        b",\"error\":",
        error.to_raw().as_bytes(),
        b"}",
    ])
}

/// Writes a request.
#[must_use]
pub fn request(id: &RpcId, method: &Raw, params: Option<&Raw>) -> Bytes {
    let params = params.map_or(&b"{}"[..], |params| params.as_bytes());
    joined(&[
        b"{\"jsonrpc\":\"2.0\",\"id\":",
        id.raw().as_bytes(),
        b",\"method\":",
        method.as_bytes(),
        b",\"params\":",
        params,
        b"}",
    ])
}

/// Writes a notification.
#[must_use]
pub fn notification(method: Method, params: Option<&Raw>) -> Bytes {
    let method = Raw::from(method.as_str());
    match params {
        Some(params) => joined(&[
            b"{\"jsonrpc\":\"2.0\",\"method\":",
            method.as_bytes(),
            b",\"params\":",
            params.as_bytes(),
            b"}",
        ]),
        None => joined(&[b"{\"jsonrpc\":\"2.0\",\"method\":", method.as_bytes(), b"}"]),
    }
}

fn joined(parts: &[&[u8]]) -> Bytes {
    let mut out = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::splice::Splice;

    fn parse(text: &str) -> Result<Message, MessageError> {
        Message::parse(Bytes::from(text.to_owned()))
    }

    #[test]
    fn a_request_gives_its_parts_without_copying() {
        let text = r#" {"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","_meta":{"progressToken":7},"arguments":{"n":1e999}}}"#;
        let Ok(Message::Request(request)) = parse(text) else {
            panic!("no request")
        };
        assert_eq!(request.method, Method::ToolsCall);
        let params = request.params.unwrap();
        assert_eq!(params.string("name").unwrap(), "x");
        assert_eq!(params.get("arguments").unwrap().as_str(), r#"{"n":1e999}"#);
        let meta = request.meta.unwrap();
        let mut splice = Splice::new(&request.raw);
        splice.replace(&meta.get("progressToken").unwrap(), &Raw::from(99));
        splice.replace(request.id.raw(), &Raw::from(5));
        splice.set(&params, "name", &Raw::from("y"));
        let out = String::from_utf8(splice.done().to_vec()).unwrap();
        assert_eq!(
            out,
            text.replace(":7", ":99")
                .replace("\"id\":\"a\"", "\"id\":5")
                .replace("\"x\"", "\"y\"")
        );
    }

    #[test]
    fn a_response_shows_the_top_of_its_result() {
        let text = r#"{"result":{"resultType":"complete","content":[]},"jsonrpc":"2.0","id":3}"#;
        let Ok(Message::Response(response)) = parse(text) else {
            panic!("no response")
        };
        let Outcome::Result(result) = response.outcome else {
            panic!("no result")
        };
        assert_eq!(result.string("resultType").unwrap(), "complete");
        assert!(response.id.unwrap().same(&RpcId::number(3)));
    }

    #[test]
    fn what_is_no_message_is_refused_under_its_id() {
        for (text, code) in [
            ("{", PARSE_ERROR),
            ("7", INVALID_REQUEST),
            ("[]", INVALID_REQUEST),
            ("{}", INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#,
                INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[]}"#,
                INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x","n\u0061me":"y"}}"#,
                INVALID_REQUEST,
            ),
            (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#,
                INVALID_REQUEST,
            ),
            ("\u{feff}{}", PARSE_ERROR),
        ] {
            let error = parse(text).map(|_| ()).expect_err(text);
            assert_eq!(error.to_rpc().1.code, code, "{text}");
        }
        let error = parse(r#"{"jsonrpc":"1.0","id":"q","method":"a"}"#).unwrap_err();
        assert_eq!(error.to_rpc().0.unwrap().raw().as_str(), "\"q\"");
    }
}
