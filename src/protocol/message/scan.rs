//! What one pass over the text of a message finds: where the members of its envelope stand, and what `params`, its
//! `_meta` and a result have for members. Nothing is copied.

use std::ops::Range;

use bytes::Bytes;

use super::super::error::RpcError;
use super::super::json::{JsonError, Member, Object, Raw, Reader};
use super::super::method::Method;
use super::{Message, MessageError, Notification, Outcome, Request, Response, RpcId};
use crate::limits::JSON_MEMBERS_MAX;

/// Where a value stands; empty when there is none.
type Span = Range<usize>;

/// An object that is read, and its members as counted from its brace.
type Found = Option<(Span, Vec<Member>)>;

/// The parts of a message.
#[derive(Default)]
pub(super) struct Parts {
    named: Named,
    params: Found,
    meta: Found,
    result: Found,
}

/// The members of the envelope that mean something.
#[derive(Default)]
struct Named {
    version: Span,
    id: Span,
    method: Span,
    params: Span,
    result: Span,
    error: Span,
}

impl Parts {
    /// Reads a message from its first byte to its last.
    pub(super) fn find(&mut self, raw: &Bytes) -> Result<(), MessageError> {
        let mut reader = Reader::new(raw);
        match reader.peek() {
            b'[' => Err(reader
                .check_utf8()
                .map_or_else(MessageError::Json, |()| MessageError::Batch)),
            b'{' => Ok(reader.whole(|reader| self.read(reader))?),
            // Anything else is either no JSON or no message; reading it tells which.
            _ => {
                Raw::parse(raw)?;
                Err(MessageError::Invalid {
                    reason: "not an object",
                    id: None,
                })
            }
        }
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let (mut count, mut others) = (0, Vec::new());
        let mut more = reader.open_object()?;
        while more {
            let name = reader.name()?;
            count += 1;
            if count > JSON_MEMBERS_MAX {
                return reader.fails(JsonError::Members);
            }
            let known = match &*name {
                b"jsonrpc" => Some(&mut self.named.version),
                b"id" => Some(&mut self.named.id),
                b"method" => Some(&mut self.named.method),
                b"params" => Some(&mut self.named.params),
                b"result" => Some(&mut self.named.result),
                b"error" => Some(&mut self.named.error),
                _ => None,
            };
            let object = reader.peek() == b'{';
            let start = reader.offset();
            let twice = match &known {
                Some(place) => place.end > 0,
                None => others.contains(&name),
            };
            if twice {
                return reader.fails(JsonError::DuplicateKey);
            }
            match &*name {
                b"params" if object => {
                    let members = reader.members_with(|reader, key| {
                        if key != b"_meta" || reader.peek() != b'{' {
                            return reader.value();
                        }
                        let start = reader.offset();
                        let members = reader.members()?;
                        self.meta = Some((start..reader.offset(), members));
                        Some(start)
                    })?;
                    self.params = Some((start..reader.offset(), members));
                }
                b"result" if object => {
                    let members = reader.members()?;
                    self.result = Some((start..reader.offset(), members));
                }
                _ => {
                    reader.value()?;
                }
            }
            match known {
                Some(place) => *place = start..reader.offset(),
                None => others.push(name),
            }
            more = reader.another()?;
        }
        Some(())
    }

    /// Checks what a message must be, and makes it one.
    pub(super) fn into_message(self, raw: Bytes) -> Result<Message, MessageError> {
        let named = &self.named;
        let text = |span: &Span| raw.get(span.clone()).unwrap_or_default();
        let given_id = !named.id.is_empty();
        let id = value_at(&raw, &named.id).and_then(RpcId::new);
        let invalid = |reason, id| Err(MessageError::Invalid { reason, id });
        if text(&named.version) != b"\"2.0\"" {
            return invalid("`jsonrpc` must be \"2.0\"", id);
        }
        if self.params.is_none() && !named.params.is_empty() {
            return invalid("`params` must be an object", id);
        }
        let not_an_id = "`id` must be a string or an integer";
        if named.method.is_empty() {
            let outcome = match (self.result, value_at(&raw, &named.error)) {
                (Some(result), None) => Outcome::Result(object_at(&raw, result)),
                (None, Some(error)) if named.result.is_empty() => match read_error(&error) {
                    Some(error) => Outcome::Error(error),
                    None => return invalid("`error` is malformed", id),
                },
                _ => {
                    let reason = "there must be a `method`, a `result` object, or an `error`";
                    return invalid(reason, id);
                }
            };
            if given_id && id.is_none() && text(&named.id) != b"null" {
                return invalid(not_an_id, None);
            }
            return Ok(Message::Response(Response {
                id,
                outcome,
                passed: None,
                raw,
            }));
        }
        let Some((method, method_name)) = method_at(&raw, &named.method) else {
            return invalid("`method` must be a string", id);
        };
        let params = self.params.map(|params| object_at(&raw, params));
        let meta = self.meta.map(|meta| object_at(&raw, meta));
        match id {
            None if !given_id => Ok(Message::Notification(Notification {
                raw,
                method,
                params,
                meta,
            })),
            None => invalid(not_an_id, None),
            Some(id) => Ok(Message::Request(Request {
                raw,
                id,
                method,
                method_name,
                params,
                meta,
            })),
        }
    }
}

fn value_at(raw: &Bytes, span: &Span) -> Option<Raw> {
    (!span.is_empty()).then(|| Raw::checked(raw.slice(span.clone())))
}

fn object_at(raw: &Bytes, (span, members): (Span, Vec<Member>)) -> Object {
    Object {
        src: raw.slice(span),
        members,
    }
}

fn method_at(raw: &Bytes, span: &Span) -> Option<(Method, Raw)> {
    let name = value_at(raw, span)?;
    let inner = name.as_bytes().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let method = match Method::read(inner) {
        // Written with escapes, perhaps.
        Method::Other => Method::parse(&name.string()?),
        method => method,
    };
    Some((method, name))
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
