//! What one pass over the text of a message finds: where the members of its envelope stand, and what `params`, its
//! `_meta` and a result have for members. Nothing is copied.

mod series;

use std::borrow::Cow;

use bytes::Bytes;

pub use self::series::Series;
use super::super::error::RpcError;
use super::super::json::{
    self, Member, Object, Raw, Read, Span, TOO_MANY, TWICE, behind_member, byte, members, members_with,
    open_object, read_value, word_at,
};
use super::super::method::Method;
use super::{Message, MessageError, Notification, Outcome, Request, Response, RpcId};
use crate::limits::JSON_MEMBERS_MAX;

/// What is found of a message.
#[derive(Debug, Default)]
pub(super) struct Parts {
    at: Places,
    // The members of what is read, as counted from its brace.
    in_params: Vec<Member>,
    in_meta: Vec<Member>,
    in_result: Vec<Member>,
}

/// Where the parts of a message stand; nowhere when there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    version: Span,
    id: Span,
    method: Span,
    params: Span,
    result: Span,
    error: Span,
    meta: Span,
    /// How many members the envelope has.
    count: usize,
}

/// A member of the envelope.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Version,
    Id,
    Method,
    Params,
    Result,
    Error,
    /// One that means nothing here.
    Other,
}

impl Name {
    fn of(name: &[u8]) -> Self {
        match name {
            b"jsonrpc" => Self::Version,
            b"id" => Self::Id,
            b"method" => Self::Method,
            b"params" => Self::Params,
            b"result" => Self::Result,
            b"error" => Self::Error,
            _ => Self::Other,
        }
    }

    /// Finds the name of a key that is written without escapes, by its first eight bytes, and where it ends. Not every
    /// such key is found.
    #[inline]
    fn usual(raw: &[u8], at: usize) -> Option<(Self, usize)> {
        const VERSION: u64 = u64::from_le_bytes(*b"\"jsonrpc");
        const METHOD: u64 = u64::from_le_bytes(*b"\"method\"");
        const PARAMS: u64 = u64::from_le_bytes(*b"\"params\"");
        const RESULT: u64 = u64::from_le_bytes(*b"\"result\"");
        const ID: u32 = u32::from_le_bytes(*b"\"id\"");
        match word_at(raw, at) {
            VERSION if byte(raw, at + 8) == b'"' => Some((Self::Version, at + 9)),
            METHOD => Some((Self::Method, at + 8)),
            PARAMS => Some((Self::Params, at + 8)),
            RESULT => Some((Self::Result, at + 8)),
            word if word as u32 == ID => Some((Self::Id, at + 4)),
            _ => None,
        }
    }
}

impl Places {
    fn place(&mut self, name: Name) -> Option<&mut Span> {
        Some(match name {
            Name::Version => &mut self.version,
            Name::Id => &mut self.id,
            Name::Method => &mut self.method,
            Name::Params => &mut self.params,
            Name::Result => &mut self.result,
            Name::Error => &mut self.error,
            Name::Other => return None,
        })
    }
}

impl Parts {
    /// Reads a message from its first byte to its last.
    pub(super) fn find(&mut self, raw: &Bytes) -> Result<(), MessageError> {
        match byte(raw, json::blank(raw, 0)) {
            b'{' => {
                json::whole(raw, |at| self.read(raw, at))?;
                Ok(())
            }
            b'[' => Err(json::check_utf8(raw).map_or_else(MessageError::Json, |()| MessageError::Batch)),
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

    fn read(&mut self, raw: &[u8], at: usize) -> Read {
        let (at, more) = open_object(raw, at)?;
        self.read_from(raw, at, more)
    }

    /// Reads the envelope on behind what was read of it, and no name that means nothing was in that.
    fn read_from(&mut self, raw: &[u8], mut at: usize, mut more: bool) -> Read {
        let mut others = Vec::new();
        while more {
            let (name, value) = if let Some((name, end)) = Name::usual(raw, at) {
                (name, json::colon(raw, end)?)
            } else {
                read_name(raw, at, &mut others)?
            };
            self.at.count += 1;
            if self.at.count > JSON_MEMBERS_MAX {
                return Err(TOO_MANY);
            }
            if self.at.place(name).is_some_and(|place| !place.is_empty()) {
                return Err(TWICE);
            }
            at = match name {
                Name::Params if byte(raw, value) == b'{' => self.read_params(raw, value)?,
                Name::Result if byte(raw, value) == b'{' => members(raw, value, &mut self.in_result)?,
                _ => read_value(raw, value)?,
            };
            if let Some(place) = self.at.place(name) {
                *place = Span::new(value, at);
            }
            (at, more) = behind_member(raw, at)?;
        }
        Ok(at)
    }

    fn read_params(&mut self, raw: &[u8], at: usize) -> Read {
        let (meta, in_meta) = (&mut self.at.meta, &mut self.in_meta);
        members_with(raw, at, &mut self.in_params, |name, value| {
            read_param(raw, name, value, meta, in_meta)
        })
    }

    /// Checks what a message must be, and makes it one.
    pub(super) fn message(&mut self, raw: Bytes) -> Result<Message, MessageError> {
        let text = |span: Span| raw.get(span.range()).unwrap_or_default();
        let is_object = |span: Span| text(span).first() == Some(&b'{');
        let id = || value_at(&raw, self.at.id).and_then(RpcId::new);
        let invalid = |reason| Err(MessageError::Invalid { reason, id: id() });
        if text(self.at.version) != b"\"2.0\"" {
            return invalid("`jsonrpc` must be \"2.0\"");
        }
        if !self.at.params.is_empty() && !is_object(self.at.params) {
            return invalid("`params` must be an object");
        }
        let not_an_id = "`id` must be a string or an integer";
        if self.at.method.is_empty() {
            let id = id();
            let outcome = match (is_object(self.at.result), value_at(&raw, self.at.error)) {
                (true, None) => Outcome::Result(object_at(&raw, self.at.result, &mut self.in_result)),
                (false, Some(error)) if self.at.result.is_empty() => match read_error(&error) {
                    Some(error) => Outcome::Error(error),
                    None => return invalid("`error` is malformed"),
                },
                _ => return invalid("there must be a `method`, a `result` object, or an `error`"),
            };
            if !self.at.id.is_empty() && id.is_none() && text(self.at.id) != b"null" {
                return invalid(not_an_id);
            }
            return Ok(Message::Response(Response {
                id,
                outcome,
                passed: None,
                raw,
            }));
        }
        let Some(method) = method_at(&raw, self.at.method) else {
            return invalid("`method` must be a string");
        };
        let object = |span: Span, members: &mut _| (!span.is_empty()).then(|| object_at(&raw, span, members));
        if self.at.id.is_empty() {
            return Ok(Message::Notification(Notification {
                method,
                params: object(self.at.params, &mut self.in_params),
                meta: object(self.at.meta, &mut self.in_meta).map(Box::new),
                raw,
            }));
        }
        let Some(id) = id() else {
            return invalid(not_an_id);
        };
        Ok(Message::Request(Request {
            id,
            method,
            method_name: Raw::checked(raw.slice(self.at.method.range())),
            params: object(self.at.params, &mut self.in_params),
            meta: object(self.at.meta, &mut self.in_meta),
            raw,
        }))
    }
}

#[inline]
fn read_param(raw: &[u8], name: &[u8], at: usize, meta: &mut Span, in_meta: &mut Vec<Member>) -> Read {
    if name != b"_meta" || byte(raw, at) != b'{' {
        return read_value(raw, at);
    }
    let end = members(raw, at, in_meta)?;
    *meta = Span::new(at, end);
    Ok(end)
}

/// Reads a key of the envelope, however it is written; those that mean nothing are only noted.
fn read_name<'a>(raw: &'a [u8], at: usize, others: &mut Vec<Cow<'a, [u8]>>) -> Result<(Name, usize), usize> {
    let key = json::key(raw, at)?;
    let written = json::name(raw, &key);
    let name = Name::of(&written);
    if name == Name::Other {
        if others.contains(&written) {
            return Err(TWICE);
        }
        others.push(written);
    }
    Ok((name, key.value))
}

fn value_at(raw: &Bytes, span: Span) -> Option<Raw> {
    (!span.is_empty()).then(|| Raw::checked(raw.slice(span.range())))
}

fn object_at(raw: &Bytes, span: Span, members: &mut Vec<Member>) -> Object {
    Object {
        src: raw.slice(span.range()),
        members: std::mem::take(members),
    }
}

fn method_at(raw: &Bytes, span: Span) -> Option<Method> {
    let inner = raw.get(span.range())?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    Some(match Method::read(inner) {
        // Written with escapes, perhaps.
        Method::Other => Method::parse(&value_at(raw, span)?.string()?),
        method => method,
    })
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
