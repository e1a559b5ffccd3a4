//! The head of an answer, read where it lies (RFC 9112 §4 to §6): its status, its fields, and how long its body is.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, StatusCode, header};
use httparse::{ParserConfig, Status};

use super::framing::Framing;
use crate::limits::{UPSTREAM_HEAD_BYTES_MAX, UPSTREAM_HEADERS_MAX};

/// The fields of an answer mostly fit here.
const FIELDS_USUAL: usize = 12;

/// The head of an answer: its bytes, and where in them the fields are.
#[derive(Clone)]
pub(in crate::upstream) struct Head {
    pub(in crate::upstream::http) status: StatusCode,
    text: Bytes,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

/// A head with what it means for its connection.
pub(super) struct Read {
    pub(super) head: Head,
    pub(super) framing: Framing,
    /// Whether the connection can take another request once the body was read.
    pub(super) keeps: bool,
}

impl Head {
    /// Returns the first value of a field.
    pub(in crate::upstream::http) fn get<'a>(&'a self, name: &HeaderName) -> Option<&'a [u8]> {
        let found = self.fields.iter().find(|(at, _)| self.is(at, name));
        found.map(|(_, value)| self.bytes(value))
    }

    /// Returns the first value of a field as text; empty when it is not there, or not printable ASCII.
    pub(in crate::upstream::http) fn text<'a>(&'a self, name: &HeaderName) -> &'a str {
        let value = self.get(name).and_then(|value| std::str::from_utf8(value).ok());
        let printable = |text: &&str| text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        value.filter(printable).unwrap_or_default()
    }

    fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let found = self.fields.iter().filter(move |(at, _)| self.is(at, name));
        found.map(|(_, value)| self.bytes(value))
    }

    fn is(&self, at: &Range<usize>, name: &HeaderName) -> bool {
        self.bytes(at).eq_ignore_ascii_case(name.as_str().as_bytes())
    }

    fn bytes(&self, at: &Range<usize>) -> &[u8] {
        self.text.get(at.clone()).unwrap_or_default()
    }

    /// Tells whether a list field has a member.
    fn lists(&self, name: &HeaderName, member: &[u8]) -> bool {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|found| found.trim_ascii().eq_ignore_ascii_case(member))
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its values may be secrets.
        f.debug_struct("Head")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Takes a head off what was read. `None`: not all of it is there. `looked` is how much of it was looked at before.
pub(super) fn take(read: &mut BytesMut, looked: &mut usize) -> io::Result<Option<Read>> {
    let end = end_of_head(read, *looked);
    *looked = read.len();
    if end.is_none() && read.len() < UPSTREAM_HEAD_BYTES_MAX {
        return Ok(None);
    }
    if end.is_none_or(|end| end > UPSTREAM_HEAD_BYTES_MAX) {
        return Err(wrong("the head of its answer is too long"));
    }
    *looked = 0;
    let mut places = [const { MaybeUninit::uninit() }; UPSTREAM_HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let status = ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, read, &mut places);
    let length = match status {
        Ok(Status::Complete(length)) => length,
        Err(httparse::Error::TooManyHeaders) => return Err(wrong("its answer has too many headers")),
        // Partial, with its end found: what was taken for its end is not one.
        Ok(Status::Partial) | Err(_) => return Err(wrong("its answer is not HTTP/1.1")),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(|| wrong("its answer has no status that HTTP knows"))?;
    let is_1_1 = parsed.version == Some(1);
    let start = read.as_ptr().addr();
    let span = |part: &[u8]| {
        let from = part.as_ptr().addr().wrapping_sub(start);
        from..from + part.len()
    };
    let mut fields = Vec::with_capacity(parsed.headers.len().max(FIELDS_USUAL));
    fields.extend(
        parsed
            .headers
            .iter()
            .map(|field| (span(field.name.as_bytes()), span(field.value))),
    );
    let text = read.split_to(length).freeze();
    let head = Head { status, text, fields };
    let framing = framing(&head, is_1_1)?;
    let keeps = if is_1_1 {
        !head.lists(&header::CONNECTION, b"close")
    } else {
        head.lists(&header::CONNECTION, b"keep-alive")
    };
    // Who sends both a length and chunks may mean something else by it than we do (RFC 9112 §6.3).
    let clear = !(matches!(framing, Framing::Chunked(_)) && head.get(&header::CONTENT_LENGTH).is_some());
    let keeps = keeps && clear && !says_body_of_nothing(&head) && !matches!(framing, Framing::UntilClosed);
    Ok(Some(Read { head, framing, keeps }))
}

/// Tells whether an answer without a body announces one all the same: it may still come, before the next answer.
fn says_body_of_nothing(head: &Head) -> bool {
    let says = |value: &[u8]| value.iter().any(|digit| *digit != b'0');
    head.status == StatusCode::NO_CONTENT
        && (head.get(&header::TRANSFER_ENCODING).is_some() || head.all(&header::CONTENT_LENGTH).any(says))
}

/// Finds the empty line behind a head.
fn end_of_head(read: &[u8], looked: usize) -> Option<usize> {
    let from = looked.saturating_sub(3);
    let rest = read.get(from..)?;
    memchr::memchr_iter(b'\n', rest).find_map(|at| {
        let behind = rest.get(at + 1..)?;
        let length = match behind {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return None,
        };
        Some(from + at + 1 + length)
    })
}

/// Tells how long the body is (RFC 9112 §6.3).
fn framing(head: &Head, is_1_1: bool) -> io::Result<Framing> {
    if head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        return Ok(Framing::Length(0));
    }
    let mut codings = head.all(&header::TRANSFER_ENCODING);
    if let Some(coding) = codings.next() {
        let chunked = coding.trim_ascii().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        return if chunked && is_1_1 {
            Ok(Framing::chunked())
        } else {
            Err(wrong("its answer has a transfer coding that is not known here"))
        };
    }
    let mut lengths = head.all(&header::CONTENT_LENGTH).map(length);
    let Some(first) = lengths.next() else {
        return Ok(Framing::UntilClosed);
    };
    match first {
        Some(first) if lengths.all(|other| other == Some(first)) => Ok(Framing::Length(first)),
        _ => Err(wrong("the length of its answer cannot be told")),
    }
}

fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits
        .then(|| std::str::from_utf8(value).ok()?.parse().ok())
        .flatten()
}

/// Makes the error of an answer that is not what HTTP/1.1 says.
pub(super) fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Passes over empty lines before a head (RFC 9112 §2.2).
pub(super) fn skip_empty_lines(read: &mut BytesMut) {
    let empty = read
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    read.advance(empty);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Option<Read>> {
        take(&mut BytesMut::from(text), &mut 0)
    }

    #[test]
    fn a_head_is_read_whatever_pieces_it_comes_in() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nmcp-session-id: a b\r\ncontent-length: 2\r\n\r\n{}";
        let (mut buffer, mut looked) = (BytesMut::new(), 0);
        for (at, byte) in text.bytes().enumerate() {
            buffer.extend_from_slice(&[byte]);
            let whole = at + 3 == text.len();
            let taken = take(&mut buffer, &mut looked).unwrap();
            assert_eq!(taken.is_some(), whole, "at {at}");
            if let Some(Read { head, framing, keeps }) = taken {
                assert_eq!(head.status, StatusCode::OK);
                assert_eq!(head.text(&header::CONTENT_TYPE), "application/json");
                assert_eq!(
                    head.get(&HeaderName::from_static("mcp-session-id")),
                    Some(&b"a b"[..])
                );
                assert_eq!(head.get(&header::LOCATION), None);
                assert!(matches!(framing, Framing::Length(2)) && keeps);
                break;
            }
        }
    }

    #[test]
    fn a_body_is_framed_as_http_says_and_what_is_unclear_is_refused() {
        let framed = |fields: &str| {
            read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).map(|read| {
                let read = read.expect("a whole head");
                (read.framing, read.keeps)
            })
        };
        assert!(matches!(framed("").unwrap(), (Framing::UntilClosed, false)));
        assert!(matches!(
            framed("Content-Length: 7\r\ncontent-length: 7\r\n").unwrap(),
            (Framing::Length(7), true)
        ));
        assert!(matches!(
            framed("content-length: 7\r\nconnection: x, Close\r\n").unwrap(),
            (Framing::Length(7), false)
        ));
        assert!(matches!(
            framed("transfer-encoding: Chunked\r\n").unwrap(),
            (Framing::Chunked(_), true)
        ));
        assert!(matches!(
            framed("transfer-encoding: chunked\r\ncontent-length: 7\r\n").unwrap(),
            (Framing::Chunked(_), false)
        ));
        for unclear in [
            "content-length: 7\r\ncontent-length: 8\r\n",
            "content-length: +7\r\n",
            "content-length: 7, 7\r\n",
            "content-length: \r\n",
            "content-length: 18446744073709551616\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "content-length : 7\r\n",
            "content-length:\r\n 7\r\n",
        ] {
            assert!(framed(unclear).is_err(), "{unclear:?}");
        }
        for old in ["transfer-encoding: chunked\r\n", "content-length: x\r\n"] {
            assert!(read(&format!("HTTP/1.0 200 OK\r\n{old}\r\n")).is_err(), "{old:?}");
        }
        let kept = read("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\n");
        assert!(kept.unwrap().unwrap().keeps);
        for (says, keeps) in [
            ("", true),
            ("content-length: 0\r\n", true),
            ("content-length: 9\r\n", false),
        ] {
            let bodiless = read(&format!("HTTP/1.1 204 No Content\r\n{says}\r\n"));
            let bodiless = bodiless.unwrap().unwrap();
            assert!(matches!(bodiless.framing, Framing::Length(0)), "{says}");
            assert_eq!(bodiless.keeps, keeps, "{says}");
        }
    }

    #[test]
    fn a_head_has_bounds() {
        let many = "a: b\r\n".repeat(UPSTREAM_HEADERS_MAX + 1);
        assert!(read(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).is_err());
        let long = "x".repeat(UPSTREAM_HEAD_BYTES_MAX);
        assert!(read(&format!("HTTP/1.1 200 OK\r\na: {long}")).is_err());
        assert!(read(&format!("HTTP/1.1 200 OK\r\na: {long}\r\n\r\n")).is_err());
        assert!(read("SSH-2.0-x\r\n\r\n").is_err());
    }
}
