//! Event streams (WHATWG HTML, "Server-sent events") in both directions.
//! The [`Framer`] cuts a byte stream into complete events within bounds; eventsource-stream then reads the fields of
//! that one event. It never sees a byte-order mark, a lone CR, or more than one event.

use bytes::{Bytes, BytesMut};
use eventsource_stream::EventStream;
use futures_util::{FutureExt, StreamExt};

use crate::limits::{SSE_EVENT_BYTES_MAX, SSE_EVENT_LINES_MAX, SSE_LINE_BYTES_MAX};

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` when none was given.
    pub event: String,
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

/// Cuts a byte stream into events. Holds at most one unfinished event and what came behind it.
#[derive(Debug, Default)]
pub struct Framer {
    input: BytesMut,
    /// How far `input` was searched for a line end.
    searched: usize,
    /// The lines of the unfinished event, each ended by LF.
    block: BytesMut,
    lines: usize,
    after_cr: bool,
    begun: bool,
}

impl Framer {
    /// Starts a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Returns the next complete event.
    pub fn next_event(&mut self) -> Result<Option<Event>, SseError> {
        while let Some(line) = self.next_line()? {
            if !line.is_empty() {
                self.keep(&line)?;
                continue;
            }
            self.lines = 0;
            let block = self.block.split().freeze();
            if let Some(event) = read_event(&block)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn keep(&mut self, line: &[u8]) -> Result<(), SseError> {
        if line.starts_with(b":") {
            return Ok(());
        }
        self.lines += 1;
        if self.lines > SSE_EVENT_LINES_MAX {
            return Err(SseError::TooManyLines);
        }
        if self.block.len() + line.len() >= SSE_EVENT_BYTES_MAX {
            return Err(SseError::EventTooLong);
        }
        self.block.extend_from_slice(line);
        self.block.extend_from_slice(b"\n");
        Ok(())
    }

    /// Takes one line, ended by LF, CR LF or CR.
    fn next_line(&mut self) -> Result<Option<Bytes>, SseError> {
        if !self.begun {
            if self.input.len() < 3 && b"\xef\xbb\xbf".starts_with(&self.input) {
                return Ok(None);
            }
            if self.input.starts_with(b"\xef\xbb\xbf") {
                let _ = self.input.split_to(3);
            }
            self.begun = true;
        }
        if self.after_cr && !self.input.is_empty() {
            self.after_cr = false;
            if self.input.first() == Some(&b'\n') {
                let _ = self.input.split_to(1);
            }
        }
        let fresh = self.input.get(self.searched..).unwrap_or_default();
        let Some(found) = fresh.iter().position(|&byte| byte == b'\n' || byte == b'\r') else {
            self.searched = self.input.len();
            return if self.searched > SSE_LINE_BYTES_MAX {
                Err(SseError::LineTooLong)
            } else {
                Ok(None)
            };
        };
        let length = self.searched + found;
        self.searched = 0;
        if length > SSE_LINE_BYTES_MAX {
            return Err(SseError::LineTooLong);
        }
        let mut line = self.input.split_to(length + 1);
        self.after_cr = line.last() == Some(&b'\r');
        line.truncate(length);
        Ok(Some(line.freeze()))
    }
}

/// Reads the fields of one complete event; `None` for a block that says nothing.
fn read_event(block: &[u8]) -> Result<Option<Event>, SseError> {
    if block.is_empty() {
        return Ok(None);
    }
    // The decoder drops events without data; their id and reconnection time still count for resuming.
    let id = last_field(block, b"id").filter(|id| !id.contains('\0'));
    let retry_ms = last_field(block, b"retry").and_then(|value| value.parse().ok());
    // A comment goes first: the decoder panics on a byte-order mark that it meets first, and any event may begin with
    // one. Line by line: it copies all that it has not read yet with every line that it reads.
    let lines = block.split_inclusive(|&byte| byte == b'\n');
    let lines = std::iter::once(&b":\n"[..]).chain(lines).chain([&b"\n"[..]]);
    let source = futures_util::stream::iter(lines.map(Ok::<_, std::convert::Infallible>));
    let mut events = EventStream::new(source);
    match events.next().now_or_never() {
        Some(Some(Ok(event))) => Ok(Some(Event {
            event: event.event,
            data: Bytes::from(event.data),
            id,
            retry_ms,
        })),
        Some(Some(Err(_))) => Err(SseError::NotUtf8),
        Some(None) | None if id.is_some() || retry_ms.is_some() => Ok(Some(Event {
            event: "message".to_owned(),
            data: Bytes::new(),
            id,
            retry_ms,
        })),
        Some(None) | None => Ok(None),
    }
}

fn last_field(block: &[u8], name: &[u8]) -> Option<String> {
    let line = block.split(|&byte| byte == b'\n').rfind(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"))
    })?;
    let value = line.get(name.len() + 1..).unwrap_or_default();
    let value = value.strip_prefix(b" ").unwrap_or(value);
    String::from_utf8(value.to_vec()).ok()
}

/// Appends one message as an event. Data with line ends of its own is split over `data` lines.
pub fn write_event(out: &mut BytesMut, id: Option<&str>, data: &[u8]) {
    if let Some(id) = id {
        debug_assert!(!id.contains(['\r', '\n', '\0']), "an event id is one line");
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"event: message\n");
    for line in data.split(|&byte| byte == b'\n' || byte == b'\r') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"\n");
}

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
            framer.push(chunk);
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
    fn comments_and_empty_blocks_are_no_events() {
        assert!(events(&[b": hi\n\n\n\n:\n\n"]).is_empty());
    }

    #[test]
    fn bounds_hold() {
        let mut framer = Framer::new();
        framer.push(&vec![b'x'; SSE_LINE_BYTES_MAX + 2]);
        assert_eq!(framer.next_event(), Err(SseError::LineTooLong));
        let mut framer = Framer::new();
        framer.push("data: x\n".repeat(SSE_EVENT_LINES_MAX + 1).as_bytes());
        assert_eq!(framer.next_event(), Err(SseError::TooManyLines));
        let mut framer = Framer::new();
        framer.push(b"data: \xff\n\n");
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
