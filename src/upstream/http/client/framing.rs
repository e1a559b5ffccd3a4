//! Where a body ends (RFC 9112 §6 and §7): by its length, by its last chunk, or with its connection. Pieces are handed
//! on as they lie in the buffer; extensions of chunks and trailers are passed over, within bounds.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use super::head::wrong;
use crate::limits::{UPSTREAM_CHUNK_LINE_BYTES_MAX, UPSTREAM_HEAD_BYTES_MAX};

/// What of a body is still to come.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// What comes until the connection ends.
    UntilClosed,
}

/// Where in a chunked body the next byte is.
#[derive(Debug)]
pub(super) enum Chunks {
    /// In the line that says how long the next chunk is.
    Size,
    /// In a chunk of which so many bytes are to come.
    Data(u64),
    /// In the line break behind a chunk.
    Break,
    /// In the lines behind the last chunk, of which so many bytes were passed over.
    Trailer(usize),
    /// Behind the body.
    Over,
    /// Where no chunk was. It stays so.
    Wrong,
}

/// What could be taken of what was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Piece(Bytes),
    /// Nothing: more has to be read.
    Nothing,
    /// Nothing, and nothing will come.
    End,
}

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks::Size)
    }

    /// Returns how long the whole body is, before any of it was taken.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(*length),
            Self::Chunked(_) | Self::UntilClosed => None,
        }
    }

    /// Takes the next piece of a body off what was read.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> io::Result<Taken> {
        match self {
            Self::Length(0) => Ok(Taken::End),
            _ if read.is_empty() => Ok(Taken::Nothing),
            Self::Length(left) => Ok(Taken::Piece(piece(left, read))),
            Self::UntilClosed => Ok(Taken::Piece(read.split().freeze())),
            Self::Chunked(chunks) => chunks.take(read),
        }
    }

    /// Tells whether the body is over as far as it was read. Takes nothing of it; what is wrong is told by the next
    /// [`Self::take`].
    pub(super) fn is_over(&mut self, read: &mut BytesMut) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.advance(read).unwrap_or(false),
            Self::UntilClosed => false,
        }
    }

    /// Tells whether the body may end where the connection did.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClosed)
    }
}

impl Chunks {
    fn take(&mut self, read: &mut BytesMut) -> io::Result<Taken> {
        if self.advance(read)? {
            return Ok(Taken::End);
        }
        let Self::Data(left) = self else {
            return Ok(Taken::Nothing);
        };
        if read.is_empty() {
            return Ok(Taken::Nothing);
        }
        let piece = piece(left, read);
        if *left == 0 {
            *self = Self::Break;
        }
        Ok(Taken::Piece(piece))
    }

    /// Goes on to the next chunk's bytes, or to the end, as far as it was read; true at the end. Once it was wrong it
    /// is wrong for good: what follows may be anything.
    fn advance(&mut self, read: &mut BytesMut) -> io::Result<bool> {
        let over = self.go_on(read);
        if over.is_err() {
            *self = Self::Wrong;
        }
        over
    }

    fn go_on(&mut self, read: &mut BytesMut) -> io::Result<bool> {
        loop {
            *self = match self {
                Self::Data(_) => return Ok(false),
                Self::Over => return Ok(true),
                Self::Wrong => return Err(wrong("the chunks of its answer cannot be read")),
                Self::Size => match line(read, UPSTREAM_CHUNK_LINE_BYTES_MAX, size)?.transpose()? {
                    Some(0) => Self::Trailer(0),
                    Some(size) => Self::Data(size),
                    None => return Ok(false),
                },
                Self::Break => match line(read, 2, <[u8]>::is_empty)? {
                    Some(true) => Self::Size,
                    Some(false) => return Err(wrong("a chunk of its answer is longer than it says")),
                    None => return Ok(false),
                },
                Self::Trailer(passed) => match line(read, UPSTREAM_HEAD_BYTES_MAX, <[u8]>::len)? {
                    Some(0) => Self::Over,
                    Some(length) if *passed + length <= UPSTREAM_HEAD_BYTES_MAX => {
                        Self::Trailer(*passed + length)
                    }
                    Some(_) => return Err(wrong("the trailer of its answer is too long")),
                    None => return Ok(false),
                },
            };
        }
    }
}

/// Takes at most so many bytes.
fn piece(left: &mut u64, read: &mut BytesMut) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
    *left -= length as u64;
    read.split_to(length).freeze()
}

/// Takes a line, of which `as_read` makes something without its break; `None` when its end has not come. A line feed
/// alone ends a line too.
fn line<T>(read: &mut BytesMut, bytes_max: usize, as_read: impl Fn(&[u8]) -> T) -> io::Result<Option<T>> {
    let within = read.get(..bytes_max).unwrap_or(read);
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if within.len() == bytes_max {
            Err(wrong("a line of its answer is too long"))
        } else {
            Ok(None)
        };
    };
    let line = within.get(..end).unwrap_or_default();
    let made = as_read(line.strip_suffix(b"\r").unwrap_or(line));
    read.advance(end + 1);
    Ok(Some(made))
}

/// Reads the size of a chunk: hexadecimal digits, then perhaps an extension.
fn size(line: &[u8]) -> io::Result<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let ends = matches!(rest.trim_ascii_start(), [] | [b';', ..]);
    let size = match digits {
        // As many as fit whatever they are; the general way takes longer than the rest of the line.
        [_, ..] if digits.len() <= 16 => (digits.iter().copied().map(char::from))
            .filter_map(|digit| digit.to_digit(16))
            .try_fold(0, |size, digit| Some(size << 4 | u64::from(digit))),
        _ => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok()),
    };
    size.filter(|_| ends)
        .ok_or_else(|| wrong("the size of a chunk of its answer cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a body that arrives in pieces of so many bytes, and what was left behind it.
    fn taken(mut framing: Framing, text: &str, at_once: usize) -> io::Result<(String, bool, String)> {
        let (mut read, mut body, mut over) = (BytesMut::new(), Vec::new(), false);
        for arrived in text.as_bytes().chunks(at_once) {
            read.extend_from_slice(arrived);
            while !over {
                match framing.take(&mut read)? {
                    Taken::Piece(piece) => {
                        assert!(!piece.is_empty());
                        body.extend_from_slice(&piece);
                    }
                    Taken::Nothing => break,
                    Taken::End => over = true,
                }
            }
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok((text(&body), over, text(&read)))
    }

    #[test]
    fn a_body_ends_where_its_frame_says_whatever_pieces_it_comes_in() {
        let chunks = "3\r\nabc\r\n00A;x=\"y\"\r\ndefghijklm\r\n1 ;z\nn\n0\r\nt: v\r\n\r\nHTTP";
        for at_once in 1..=chunks.len() {
            let (body, over, left) = taken(Framing::chunked(), chunks, at_once).unwrap();
            assert_eq!(
                (body.as_str(), over),
                ("abcdefghijklmn", true),
                "{at_once} at once"
            );
            assert!("HTTP".starts_with(&left) || "HTTP" == left, "{left}");
            let (body, over, _) = taken(Framing::Length(5), "abcdeHTTP", at_once).unwrap();
            assert_eq!((body.as_str(), over), ("abcde", true));
            let (body, over, left) = taken(Framing::UntilClosed, "abcde", at_once).unwrap();
            assert_eq!((body.as_str(), over, left.as_str()), ("abcde", false, ""));
        }
        assert_eq!(taken(Framing::chunked(), chunks, 999).unwrap().2, "HTTP");
    }

    #[test]
    fn chunks_that_are_none_are_refused() {
        for bad in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "1x\r\n",
            "0x1\r\n",
            "11111111111111111\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc0\r\n",
        ] {
            assert!(taken(Framing::chunked(), bad, 1).is_err(), "{bad:?}");
            assert!(taken(Framing::chunked(), bad, 99).is_err(), "{bad:?}");
        }
        let (mut framing, mut read) = (Framing::chunked(), BytesMut::from("x\r\n3\r\nabc\r\n0\r\n\r\n"));
        assert!(!framing.is_over(&mut read));
        assert!(framing.take(&mut read).is_err() && framing.take(&mut read).is_err());
        let extension = format!("1;{}", "x".repeat(UPSTREAM_CHUNK_LINE_BYTES_MAX));
        assert!(taken(Framing::chunked(), &extension, 99).is_err());
        let trailer = format!("0\r\n{}", "a: b\r\n".repeat(UPSTREAM_HEAD_BYTES_MAX / 3));
        assert!(taken(Framing::chunked(), &trailer, 99).is_err());
    }
}
