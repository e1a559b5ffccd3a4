//! Finds where values of JSON text (RFC 8259) end. Places go from hand to hand as numbers: kept in a struct they would be
//! stored and loaded again with every byte.

use super::plain::{behind_blanks, behind_digits, behind_plain};
use crate::limits::JSON_DEPTH_MAX;

/// The place behind what was read, or where the text is wrong.
pub(in crate::protocol) type Read = Result<usize, usize>;

// What stands in the place of a place where the text is JSON, but not what is wanted.
/// It is nested too deep.
pub(super) const TOO_DEEP: usize = usize::MAX;
/// An object that is read has too many members.
pub(in crate::protocol) const TOO_MANY: usize = usize::MAX - 1;
/// An object that is read has a key twice.
pub(in crate::protocol) const TWICE: usize = usize::MAX - 2;
/// An object was to come.
pub(super) const NO_OBJECT: usize = usize::MAX - 3;

/// Returns the byte at a place; at the end NUL, which may stand nowhere in JSON.
#[expect(clippy::inline_always, reason = "it is a load and a comparison")]
#[inline(always)]
pub(in crate::protocol) fn byte(src: &[u8], at: usize) -> u8 {
    src.get(at).copied().unwrap_or(0)
}

/// Returns the place behind white space.
#[expect(clippy::inline_always, reason = "there is seldom any")]
#[inline(always)]
pub(in crate::protocol) fn blank(src: &[u8], at: usize) -> usize {
    if byte(src, at) > b' ' {
        return at;
    }
    behind_blanks(src, at)
}

/// A key as it is written between its quotes, and the place of its value.
#[derive(Clone, Copy)]
pub(in crate::protocol) struct Key {
    pub(in crate::protocol) start: usize,
    pub(in crate::protocol) end: usize,
    /// Whether its name is not what is written.
    pub(in crate::protocol) escaped: bool,
    pub(in crate::protocol) value: usize,
}

/// Reads a key and its colon.
#[expect(clippy::inline_always, reason = "most keys are shorter than a call")]
#[inline(always)]
pub(in crate::protocol) fn key(src: &[u8], at: usize) -> Result<Key, usize> {
    if byte(src, at) != b'"' {
        return Err(at);
    }
    let start = at + 1;
    let mut end = behind_plain(src, start);
    let escaped = byte(src, end) != b'"';
    if escaped {
        end = string_from(src, end)? - 1;
    }
    let value = colon(src, end + 1)?;
    Ok(Key {
        start,
        end,
        escaped,
        value,
    })
}

/// Reads the colon behind a key; returns where its value begins.
#[expect(clippy::inline_always, reason = "it is a few comparisons")]
#[inline(always)]
pub(in crate::protocol) fn colon(src: &[u8], at: usize) -> Read {
    let at = blank(src, at);
    if byte(src, at) != b':' {
        return Err(at);
    }
    Ok(blank(src, at + 1))
}

/// Reads any value.
#[inline]
pub(in crate::protocol) fn read_value(src: &[u8], at: usize) -> Read {
    match byte(src, at) {
        b'{' | b'[' => container(src, at),
        first => scalar(src, at, first),
    }
}

/// Reads a value that is no container.
#[expect(clippy::inline_always, reason = "most values are shorter than a call")]
#[inline(always)]
fn scalar(src: &[u8], at: usize, first: u8) -> Read {
    match first {
        b'"' => string(src, at + 1),
        b'-' | b'0'..=b'9' => number(src, at),
        b't' => word(src, at, b"true"),
        b'f' => word(src, at, b"false"),
        b'n' => word(src, at, b"null"),
        _ => Err(at),
    }
}

/// Reads an object or an array whole.
fn container(src: &[u8], mut at: usize) -> Read {
    let mut open = Containers::default();
    let mut object = false;
    loop {
        match byte(src, at) {
            b'{' => {
                at = blank(src, at + 1);
                if byte(src, at) == b'}' {
                    at += 1;
                } else {
                    open.push(object)?;
                    object = true;
                    at = key(src, at)?.value;
                    continue;
                }
            }
            b'[' => {
                at = blank(src, at + 1);
                if byte(src, at) == b']' {
                    at += 1;
                } else {
                    open.push(object)?;
                    object = false;
                    continue;
                }
            }
            first => at = scalar(src, at, first)?,
        }
        // What may follow a value.
        loop {
            if open.depth == 0 {
                return Ok(at);
            }
            at = blank(src, at);
            match byte(src, at) {
                b',' => {
                    at = blank(src, at + 1);
                    if object {
                        at = key(src, at)?.value;
                    }
                    break;
                }
                b'}' if object => {}
                b']' if !object => {}
                _ => return Err(at),
            }
            at += 1;
            object = open.pop();
        }
    }
}

/// Reads a string behind its opening quote.
#[expect(clippy::inline_always, reason = "most strings are shorter than a call")]
#[inline(always)]
fn string(src: &[u8], from: usize) -> Read {
    let at = behind_plain(src, from);
    if byte(src, at) == b'"' {
        return Ok(at + 1);
    }
    string_from(src, at)
}

/// Reads a string on from where it is not plain.
#[inline(never)]
fn string_from(src: &[u8], mut at: usize) -> Read {
    loop {
        match byte(src, at) {
            b'"' => return Ok(at + 1),
            b'\\' => at = escape(src, at + 1)?,
            _ => return Err(at),
        }
        at = behind_plain(src, at);
    }
}

/// Reads an escape behind its backslash. A lone half of a surrogate pair passes: JavaScript servers that cut a text in
/// the middle of one send it. Where we read such a string ourselves it is no string.
#[inline]
fn escape(src: &[u8], at: usize) -> Read {
    match byte(src, at) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
        b'u' => match src.get(at + 1..at + 5) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 5),
            _ => Err(at + 1),
        },
        _ => Err(at),
    }
}

#[expect(clippy::inline_always, reason = "most numbers are shorter than a call")]
#[inline(always)]
fn number(src: &[u8], at: usize) -> Read {
    let at = at + usize::from(byte(src, at) == b'-');
    let end = behind_digits(src, at);
    if end == at {
        return Err(at);
    }
    // A zero that begins a number is all of its digits.
    if byte(src, at) == b'0' && end > at + 1 {
        return Err(at + 1);
    }
    match byte(src, end) {
        b'.' | b'e' | b'E' => fraction(src, end),
        _ => Ok(end),
    }
}

/// Reads what a number has behind its integer.
fn fraction(src: &[u8], mut at: usize) -> Read {
    let digits = |at| match behind_digits(src, at) {
        end if end == at => Err(at),
        end => Ok(end),
    };
    if byte(src, at) == b'.' {
        at = digits(at + 1)?;
    }
    if matches!(byte(src, at), b'e' | b'E') {
        let signed = matches!(byte(src, at + 1), b'+' | b'-');
        at = digits(at + 1 + usize::from(signed))?;
    }
    Ok(at)
}

#[inline]
fn word(src: &[u8], at: usize, word: &[u8]) -> Read {
    let found = src.get(at..).is_some_and(|rest| rest.starts_with(word));
    found.then(|| at + word.len()).ok_or(at)
}

const CONTAINER_WORDS: usize = JSON_DEPTH_MAX / 64;

/// What is open around a container, one bit each: set for an object.
#[derive(Default)]
struct Containers {
    bits: [u64; CONTAINER_WORDS],
    depth: usize,
}

impl Containers {
    /// Opens a container within another.
    #[inline]
    fn push(&mut self, object: bool) -> Result<(), usize> {
        let word = self.bits.get_mut(self.depth / 64).ok_or(TOO_DEEP)?;
        let bit = self.depth % 64;
        *word = *word & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
        Ok(())
    }

    /// Closes the innermost; tells whether it stands in an object.
    #[inline]
    fn pop(&mut self) -> bool {
        self.depth = self.depth.saturating_sub(1);
        let word = self.bits.get(self.depth / 64).copied().unwrap_or(0);
        word >> (self.depth % 64) & 1 == 1
    }
}
