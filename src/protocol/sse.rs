//! Event streams (WHATWG HTML, "Server-sent events") in both directions.
//! The [`Framer`] cuts a byte stream into complete events within bounds. An event of one line of data, as nearly every
//! message is, is a part of the bytes that came; the fields of any other are read by eventsource-stream, which gets
//! that one event alone: never a byte-order mark, a lone CR, or more than is bounded.

mod whole;

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::{Buf, Bytes, BytesMut};
use eventsource_stream::EventStream;
use futures_util::{FutureExt, StreamExt};
use memchr::memchr2;

use crate::limits::{SSE_EVENT_BYTES_MAX, SSE_EVENT_LINES_MAX, SSE_LINE_BYTES_MAX};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` when none was given.
    pub event: Cow<'static, str>,
    /// Its data; empty for a priming event, which is no message.
    pub data: Bytes,
    /// Its id, when this event gave one.
    pub id: Option<String>,
    /// The reconnection time in milliseconds, when this event gave one.
    pub retry_ms: Option<u64>,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line is longer than [`SSE_LINE_BYTES_MAX`].
    #[error("a line of the event stream is longer than {SSE_LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// An event is longer than [`SSE_EVENT_BYTES_MAX`].
    #[error("an event is longer than {SSE_EVENT_BYTES_MAX} bytes")]
    EventTooLong,
    /// An event has more lines than [`SSE_EVENT_LINES_MAX`].
    #[error("an event has more than {SSE_EVENT_LINES_MAX} lines")]
    TooManyLines,
    /// An event is not UTF-8.
    #[error("an event is not valid UTF-8")]
    NotUtf8,
}

/// Reads a byte stream into events. Holds at most one unfinished event and what came behind it.
#[derive(Debug, Default)]
pub struct Framer {
    input: Bytes,
    /// The line that has begun and not ended.
    partial: BytesMut,
    block: Block,
    after_cr: bool,
    begun: bool,
}

/// The lines of the unfinished event, as parts of what came.
#[derive(Debug, Default)]
struct Block {
    lines: Vec<Bytes>,
    bytes: usize,
}

impl Framer {
    /// Starts a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they arrived. Best when all events before have been taken: then nothing is copied.
    pub fn push(&mut self, bytes: Bytes) {
        if self.input.is_empty() {
            self.input = bytes;
        } else {
            self.input = [self.input.as_ref(), bytes.as_ref()].concat().into();
        }
    }

    /// Returns the next complete event.
    pub fn next_event(&mut self) -> Result<Option<Event>, SseError> {
        if self.input.is_empty() {
            return Ok(None);
        }
        if self.is_between_events()
            && let Some(event) = whole::take(&mut self.input)
        {
            return Ok(Some(event));
        }
        while let Some(line) = self.next_line()? {
            if !line.is_empty() {
                self.block.take(line)?;
            } else if let Some(event) = std::mem::take(&mut self.block).into_event() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn is_between_events(&self) -> bool {
        self.begun && !self.after_cr && self.partial.is_empty() && self.block.lines.is_empty()
    }

    /// Takes one line, ended by LF, CR LF or CR.
    fn next_line(&mut self) -> Result<Option<Bytes>, SseError> {
        if self.after_cr && !self.input.is_empty() {
            self.after_cr = false;
            if self.input.first() == Some(&b'\n') {
                self.input.advance(1);
            }
        }
        let found = memchr2(b'\n', b'\r', &self.input);
        if self.partial.len() + found.unwrap_or(self.input.len()) > SSE_LINE_BYTES_MAX {
            return Err(SseError::LineTooLong);
        }
        let Some(length) = found else {
            self.partial.extend_from_slice(&self.input);
            self.input.clear();
            return Ok(None);
        };
        let mut line = self.input.split_to(length);
        self.after_cr = self.input.first() == Some(&b'\r');
        self.input.advance(1);
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(&line);
            line = self.partial.split().freeze();
        }
        if !self.begun {
            self.begun = true;
            if line.starts_with(BYTE_ORDER_MARK) {
                line.advance(BYTE_ORDER_MARK.len());
            }
        }
        Ok(Some(line))
    }
}

impl Block {
    /// Keeps one line that is not empty; comments and fields that nobody can know are left out.
    fn take(&mut self, line: Bytes) -> Result<(), SseError> {
        // A mark that does not begin the stream begins a field that nobody knows.
        if line.first() == Some(&b':') || line.starts_with(BYTE_ORDER_MARK) {
            return Ok(());
        }
        if self.lines.len() == SSE_EVENT_LINES_MAX {
            return Err(SseError::TooManyLines);
        }
        self.bytes += line.len() + 1;
        if self.bytes > SSE_EVENT_BYTES_MAX {
            return Err(SseError::EventTooLong);
        }
        std::str::from_utf8(&line).map_err(|_| SseError::NotUtf8)?;
        self.lines.push(line);
        Ok(())
    }

    /// Ends the event; `None` for a block that says nothing. One without data still counts for resuming when it has
    /// an id or a reconnection time, which the decoder would drop.
    fn into_event(self) -> Option<Event> {
        let backwards = || self.lines.iter().rev().map(field);
        let id = backwards().find(|(name, value)| *name == "id" && !value.contains('\0'));
        let id = id.map(|(_, value)| value.to_owned());
        let digits = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit());
        let retry_ms = backwards()
            .filter(|(name, value)| *name == "retry" && digits(value))
            .find_map(|(_, value)| value.parse().ok());
        let (event, data) = self
            .one_line_of_data()
            .or_else(|| self.decoded())
            .unwrap_or_default();
        let says_something = !data.is_empty() || id.is_some() || retry_ms.is_some();
        let event = if event.is_empty() {
            Cow::Borrowed("message")
        } else {
            event
        };
        says_something.then_some(Event {
            event,
            data,
            id,
            retry_ms,
        })
    }

    /// The form that nearly every message comes in, of type `message` with one line of data: that part of what came.
    fn one_line_of_data(&self) -> Option<(Cow<'static, str>, Bytes)> {
        let mut found = None;
        for line in &self.lines {
            match field(line) {
                ("data", value) if found.is_none() => found = Some(line.slice_ref(value.as_bytes())),
                ("data", _) => return None,
                ("event", value) if value != "message" => return None,
                _ => {}
            }
        }
        found.map(|data| (Cow::Borrowed("message"), data))
    }

    /// Any other form is for the decoder, which gets this one event alone.
    fn decoded(&self) -> Option<(Cow<'static, str>, Bytes)> {
        let mut text = BytesMut::with_capacity(self.bytes + 1);
        for line in &self.lines {
            text.extend_from_slice(line);
            text.extend_from_slice(b"\n");
        }
        text.extend_from_slice(b"\n");
        let source = futures_util::stream::once(std::future::ready(Ok::<_, Infallible>(text.freeze())));
        let event = EventStream::new(source).next().now_or_never()??.ok()?;
        Some((Cow::Owned(event.event), Bytes::from(event.data)))
    }
}

/// Splits a line into its field's name and value.
fn field(line: &Bytes) -> (&str, &str) {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    (name, value.strip_prefix(' ').unwrap_or(value))
}

/// Appends one message as an event. Data with line ends of its own is split over `data` lines.
pub fn write_event(out: &mut BytesMut, id: Option<&str>, data: &[u8]) {
    out.reserve(data.len() + id.map_or(0, str::len) + EVENT_BYTES_AROUND);
    if let Some(id) = id {
        debug_assert!(!id.contains(['\r', '\n', '\0']), "an event id is one line");
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"event: message\ndata: ");
    let mut rest = data;
    while let Some(end) = memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(rest.get(..end).unwrap_or_default());
        out.extend_from_slice(b"\ndata: ");
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\n\n");
}

/// What an event of one line of data has at most beside its id and its data.
pub const EVENT_BYTES_AROUND: usize = 32;

/// A comment that keeps a stream open.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(chunks: &[&[u8]]) -> Vec<Event> {
        let mut framer = Framer::new();
        let mut found = Vec::new();
        for chunk in chunks {
            framer.push(Bytes::copy_from_slice(chunk));
            while let Some(event) = framer.next_event().unwrap() {
                found.push(event);
            }
        }
        found
    }

    fn data(events: &[Event]) -> Vec<&str> {
        events
            .iter()
            .map(|event| std::str::from_utf8(&event.data).unwrap())
            .collect()
    }

    #[test]
    fn every_line_end_and_a_byte_order_mark_are_read() {
        for text in [
            "\u{feff}data: a\n\ndata: b\n\n",
            "data: a\r\n\r\ndata: b\r\n\r\n",
            "data: a\r\rdata: b\r\r",
        ] {
            assert_eq!(data(&events(&[text.as_bytes()])), ["a", "b"], "{text:?}");
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(data(&events(&bytes)), ["a", "b"], "{text:?} byte by byte");
        }
    }

    #[test]
    fn a_byte_order_mark_within_a_stream_begins_an_unknown_field() {
        let found =
            events(&["\u{feff}\u{feff}data: a\n\ndata: b\n\n\u{feff}data: c\n\ndata: d\n\n".as_bytes()]);
        assert_eq!(data(&found), ["b", "d"]);
    }

    #[test]
    fn a_priming_event_gives_its_id_and_no_message() {
        let found = events(&[b"id: r1_1\nretry: 500\ndata: \n\n"]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].id.as_deref(), found[0].retry_ms),
            (Some("r1_1"), Some(500))
        );
        assert!(found[0].data.is_empty());
    }

    #[test]
    fn lines_of_data_are_joined_and_one_leading_blank_is_taken_off() {
        let found =
            events(&[b"event: ping\ndata: a\ndata:b\ndata\ndata:  c\nwhat: x\n\nevent:\ndata: d\n\n"]);
        assert_eq!(data(&found), ["a\nb\n\n c", "d"]);
        assert_eq!((&*found[0].event, &*found[1].event), ("ping", "message"));
    }

    #[test]
    fn an_id_with_a_nul_and_a_retry_that_is_no_number_do_not_count() {
        let found = events(&[b"id: 1\nid: 2\0\nretry: 5\nretry: +7\ndata: a\n\n"]);
        assert_eq!((found[0].id.as_deref(), found[0].retry_ms), (Some("1"), Some(5)));
    }

    #[test]
    fn data_that_came_in_one_piece_is_not_copied() {
        let piece = Bytes::from(b"data: abc\n\n".to_vec());
        let mut framer = Framer::new();
        framer.push(piece.clone());
        let event = framer.next_event().unwrap().unwrap();
        assert_eq!(event.data.as_ptr(), piece.slice(6..).as_ptr());
    }

    #[test]
    fn comments_and_empty_blocks_are_no_events() {
        assert!(events(&[b": hi\n\n\n\n:\n\n"]).is_empty());
    }

    #[test]
    fn bounds_hold() {
        let mut framer = Framer::new();
        framer.push(vec![b'x'; SSE_LINE_BYTES_MAX + 2].into());
        assert_eq!(framer.next_event(), Err(SseError::LineTooLong));
        let mut framer = Framer::new();
        framer.push("data: x\n".repeat(SSE_EVENT_LINES_MAX + 1).into());
        assert_eq!(framer.next_event(), Err(SseError::TooManyLines));
        let mut framer = Framer::new();
        framer.push(Bytes::from_static(b"data: \xff\n\n"));
        assert_eq!(framer.next_event(), Err(SseError::NotUtf8));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(lines in proptest::collection::vec("[ -~é]{0,8}", 1..4), cut in 0usize..40) {
            let text = lines.join("\n");
            prop_assume!(!text.is_empty());
            let mut out = BytesMut::new();
            write_event(&mut out, Some("7"), text.as_bytes());
            let cut = cut.min(out.len());
            let found = events(&[&out[..cut], &out[cut..]]);
            prop_assert_eq!(data(&found), vec![text.as_str()]);
        }
    }
}
