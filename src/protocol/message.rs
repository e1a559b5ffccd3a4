//! JSON-RPC messages over the bytes they came in. One pass finds the envelope, `params`, its `_meta`, and the top
//! members of a result; everything deeper stays unread.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::error::{INVALID_REQUEST, PARSE_ERROR, RpcError};
use super::json::{JsonError, Member, Object, Raw, Reader};
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
    /// The members of the envelope.
    pub envelope: Object,
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
    /// The members of `params._meta`.
    pub meta: Option<Object>,
    /// The members of the envelope.
    pub envelope: Object,
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
    /// The members of the envelope.
    pub envelope: Object,
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
        let parts = Parts::scan(&raw)?;
        parts.into_message(raw)
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

/// What one pass over the text finds.
struct Parts {
    envelope: Vec<Member>,
    params: Option<Vec<Member>>,
    meta: Option<(Range<usize>, Vec<Member>)>,
    result: Option<Vec<Member>>,
    start: usize,
    end: usize,
}

impl Parts {
    fn scan(raw: &Bytes) -> Result<Self, MessageError> {
        let mut reader = Reader::new(raw)?;
        match reader.peek() {
            Some(b'[') => return Err(MessageError::Batch),
            Some(b'{') => {}
            // Anything else is either no JSON or no message; the scan below tells which.
            _ => {
                Raw::parse(raw)?;
                return Err(MessageError::Invalid {
                    reason: "not an object",
                    id: None,
                });
            }
        }
        let start = reader.offset();
        let (mut params, mut meta, mut result) = (None, None, None);
        let envelope = reader.members_with(|reader, key| {
            let object = reader.peek() == Some(b'{');
            let from = reader.offset();
            match key {
                "params" if object => {
                    params = Some(reader.members_with(|reader, key| {
                        let from = {
                            reader.peek();
                            reader.offset()
                        };
                        if key == "_meta" && reader.peek() == Some(b'{') {
                            let members = reader.members()?;
                            meta = Some((from..reader.offset(), members));
                            return Ok(from..reader.offset());
                        }
                        reader.value()
                    })?);
                    Ok(from..reader.offset())
                }
                "result" if object => {
                    result = Some(reader.members()?);
                    Ok(from..reader.offset())
                }
                _ => reader.value(),
            }
        })?;
        let end = reader.offset();
        reader.end()?;
        Ok(Self {
            envelope,
            params,
            meta,
            result,
            start,
            end,
        })
    }

    fn into_message(self, raw: Bytes) -> Result<Message, MessageError> {
        let envelope = object_at(&raw, self.start..self.end, self.envelope);
        let given_id = envelope.get("id");
        let id = given_id.clone().and_then(RpcId::new);
        let invalid = |reason| MessageError::Invalid {
            reason,
            id: id.clone(),
        };
        if envelope
            .get("jsonrpc")
            .is_none_or(|version| version.as_str() != "\"2.0\"")
        {
            return Err(invalid("`jsonrpc` must be \"2.0\""));
        }
        let params = match (envelope.get("params"), self.params) {
            (None, _) => None,
            (Some(text), Some(members)) => Some(adopt(&raw, &text, members)),
            (Some(_), None) => return Err(invalid("`params` must be an object")),
        };
        let meta = self.meta.map(|(span, members)| object_at(&raw, span, members));
        if let Some(name) = envelope.get("method") {
            let Some(method) = name.string().map(|name| Method::parse(&name)) else {
                return Err(invalid("`method` must be a string"));
            };
            return match (given_id, id) {
                (None, _) => Ok(Message::Notification(Notification {
                    raw,
                    method,
                    params,
                    meta,
                    envelope,
                })),
                (Some(_), Some(id)) => Ok(Message::Request(Request {
                    raw,
                    id,
                    method,
                    method_name: name,
                    params,
                    meta,
                    envelope,
                })),
                (Some(_), None) => Err(MessageError::Invalid {
                    reason: "`id` must be a string or an integer",
                    id: None,
                }),
            };
        }
        let outcome = match (envelope.get("result"), self.result, envelope.get("error")) {
            (Some(text), Some(members), None) => Outcome::Result(adopt(&raw, &text, members)),
            (None, _, Some(error)) => {
                Outcome::Error(read_error(&error).ok_or_else(|| invalid("`error` is malformed"))?)
            }
            _ => {
                return Err(invalid(
                    "there must be a `method`, a `result` object, or an `error`",
                ));
            }
        };
        if given_id.as_ref().is_some_and(|given| !given.is_null()) && id.is_none() {
            return Err(MessageError::Invalid {
                reason: "`id` must be a string or an integer",
                id: None,
            });
        }
        Ok(Message::Response(Response {
            raw,
            id,
            outcome,
            envelope,
            passed: None,
        }))
    }
}

/// Makes an object of members whose spans count from the start of the whole text.
fn object_at(raw: &Bytes, span: Range<usize>, members: Vec<Member>) -> Object {
    let shift = |range: Range<usize>| range.start - span.start..range.end - span.start;
    let members = members
        .into_iter()
        .map(|member| Member {
            key: shift(member.key),
            value: shift(member.value),
        })
        .collect();
    Object {
        src: raw.slice(span),
        members,
    }
}

fn adopt(raw: &Bytes, text: &Raw, members: Vec<Member>) -> Object {
    let start = text.as_bytes().as_ptr() as usize - raw.as_ptr() as usize;
    object_at(raw, start..start + text.as_bytes().len(), members)
}

fn read_error(error: &Raw) -> Option<RpcError> {
    let members = error.object().ok()?;
    let code = members.get("code")?.as_str().parse().ok()?;
    Some(RpcError {
        code,
        message: members.string("message").unwrap_or_default(),
        data: members.get("data"),
    })
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
