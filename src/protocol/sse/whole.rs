//! The form that nearly every event has: of type `message`, with one line of data, and whole in one piece. Anything
//! else is left to the lines of the stream, which also know what is wrong with it.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Buf, Bytes};
use memchr::memchr2;

use super::super::json::is_ascii;
use super::Event;
use crate::limits::SSE_LINE_BYTES_MAX;

/// Takes such an event off the front of what came.
pub(super) fn take(input: &mut Bytes) -> Option<Event> {
    const TYPE: &[u8] = b"event: message\n";
    let (mut at, mut data, mut id) = (0, None, None);
    if input.starts_with(TYPE) {
        at = TYPE.len();
    }
    loop {
        if data.is_some() && input.get(at) == Some(&b'\n') {
            at += 1;
            break;
        }
        let line = next_line(input, &mut at)?;
        let text = input.get(line.clone())?;
        if text.is_empty() {
            break;
        }
        if let Some(value) = text.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if data.is_some() || value.is_empty() {
                return None;
            }
            data = Some(line.end - value.len()..line.end);
        } else if let Some(value) = text.strip_prefix(b"id: ") {
            if id.is_some() || value.contains(&0) {
                return None;
            }
            id = Some(str::from_utf8(value).ok()?.to_owned());
        } else if text != b"event: message" {
            return None;
        }
    }
    let data = data.filter(|_| at <= SSE_LINE_BYTES_MAX)?;
    let text = input.get(data.clone())?;
    if !is_ascii(text) {
        str::from_utf8(text).ok()?;
    }
    Some(Event {
        event: Cow::Borrowed("message"),
        data: cut(input, at, data),
        id,
        retry_ms: None,
    })
}

/// Takes so many bytes off and returns a part of them; of all that came, the part is what is left.
fn cut(input: &mut Bytes, length: usize, part: Range<usize>) -> Bytes {
    if length < input.len() {
        let part = input.slice(part);
        input.advance(length);
        return part;
    }
    let mut whole = std::mem::take(input);
    whole.truncate(part.end);
    whole.advance(part.start);
    whole
}

/// Takes a line that LF or CR LF has ended.
#[inline]
fn next_line(input: &Bytes, at: &mut usize) -> Option<Range<usize>> {
    let start = *at;
    let end = start + memchr2(b'\n', b'\r', input.get(start..)?)?;
    *at = match (input.get(end)?, input.get(end + 1)) {
        (b'\n', _) => end + 1,
        (_, Some(b'\n')) => end + 2,
        _ => return None,
    };
    Some(start..end)
}
