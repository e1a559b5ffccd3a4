//! The form that nearly every event has: of type `message`, with one line of data, and whole in one piece. Anything
//! else is left to the lines of the stream, which also know what is wrong with it.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use memchr::memchr2;

use super::Event;
use crate::limits::SSE_LINE_BYTES_MAX;

/// Finds such an event at the front of what came, and how long it is.
pub(super) fn front(input: &Bytes) -> Option<(Event, usize)> {
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
    if !text.is_ascii() {
        str::from_utf8(text).ok()?;
    }
    let event = Event {
        event: Cow::Borrowed("message"),
        data: input.slice(data),
        id,
        retry_ms: None,
    };
    Some((event, at))
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
