//! Reads JSON text from front to back and says where things stand. Bounded in depth and in members; builds no values.

use std::borrow::Cow;
use std::ops::Range;

use super::{JsonError, Member, unescaped};
use crate::limits::{JSON_DEPTH_MAX, JSON_MEMBERS_MAX};

/// Reads JSON text from front to back.
pub(in crate::protocol) struct Reader<'a> {
    src: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(in crate::protocol) fn new(src: &'a [u8]) -> Result<Self, JsonError> {
        std::str::from_utf8(src).map_err(|_| JsonError::NotUtf8)?;
        Ok(Self { src, at: 0 })
    }

    /// For text that was checked before, from a place on.
    pub(super) fn trusted(src: &'a [u8], at: usize) -> Self {
        Self { src, at }
    }

    /// Reads the opening brace of an object.
    pub(in crate::protocol) fn open_object(&mut self) -> Result<(), JsonError> {
        self.blank();
        if self.eat(b'{') {
            Ok(())
        } else {
            Err(JsonError::NotAnObject)
        }
    }

    /// Reads up to the next value of an object and returns its key's span; `None` after the closing brace.
    pub(in crate::protocol) fn next_key(&mut self, first: bool) -> Result<Option<Range<usize>>, JsonError> {
        self.blank();
        if self.eat(b'}') {
            return Ok(None);
        }
        if !first {
            self.expect(b',')?;
            self.blank();
        }
        self.key().map(Some)
    }

    /// Reads a whole object.
    pub(in crate::protocol) fn members(&mut self) -> Result<Vec<Member>, JsonError> {
        self.members_with(|reader, _| reader.value())
    }

    /// Reads a whole object; `read` must consume the value of each key and return its span.
    pub(in crate::protocol) fn members_with(
        &mut self,
        mut read: impl FnMut(&mut Self, &str) -> Result<Range<usize>, JsonError>,
    ) -> Result<Vec<Member>, JsonError> {
        self.open_object()?;
        let mut members: Vec<Member> = Vec::with_capacity(4);
        // Unescaped names, once a key has been met whose name is not what is written.
        let mut names: Vec<Cow<str>> = Vec::new();
        while let Some(key) = self.next_key(members.is_empty())? {
            if members.len() == JSON_MEMBERS_MAX {
                return Err(JsonError::Members);
            }
            let name = unescaped(self.src, &key);
            if names.is_empty() && matches!(name, Cow::Owned(_)) {
                names.extend(members.iter().map(|member| unescaped(self.src, &member.key)));
            }
            let written = |member: &Member| self.src.get(member.key.clone()) == Some(name.as_bytes());
            if names.contains(&name) || (names.is_empty() && members.iter().any(written)) {
                return Err(JsonError::DuplicateKey);
            }
            let value = read(self, &name)?;
            if !names.is_empty() || matches!(name, Cow::Owned(_)) {
                names.push(name);
            }
            members.push(Member { key, value });
        }
        Ok(members)
    }

    /// Reads the opening bracket of an array.
    pub(super) fn open_array(&mut self) -> Result<(), JsonError> {
        self.blank();
        self.expect(b'[')
    }

    /// Reads the next value of an array and returns its span; `None` after the closing bracket.
    pub(super) fn next_element(&mut self, first: bool) -> Result<Option<Range<usize>>, JsonError> {
        self.blank();
        if self.eat(b']') {
            return Ok(None);
        }
        if !first {
            self.expect(b',')?;
        }
        self.value().map(Some)
    }

    /// Tells what the next value begins with.
    pub(in crate::protocol) fn peek(&mut self) -> Option<u8> {
        self.blank();
        self.src.get(self.at).copied()
    }

    pub(in crate::protocol) fn offset(&self) -> usize {
        self.at
    }

    /// Reads to the end of the text.
    pub(in crate::protocol) fn end(&mut self) -> Result<(), JsonError> {
        self.blank();
        if self.at == self.src.len() {
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    /// Reads one value of any type and returns its span.
    pub(in crate::protocol) fn value(&mut self) -> Result<Range<usize>, JsonError> {
        self.blank();
        let start = self.at;
        let mut open = Containers::default();
        loop {
            if self.value_or_opening(&mut open)? {
                continue;
            }
            if self.closings(&mut open)? {
                return Ok(start..self.at);
            }
        }
    }

    /// Reads a scalar, an empty container, or the opening of a container; true when a value must follow.
    fn value_or_opening(&mut self, open: &mut Containers) -> Result<bool, JsonError> {
        self.blank();
        match self.src.get(self.at) {
            Some(b'"') => self.string().map(|_| false),
            Some(b'{') => {
                self.at += 1;
                self.blank();
                if self.eat(b'}') {
                    return Ok(false);
                }
                open.push(true)?;
                self.key().map(|_| true)
            }
            Some(b'[') => {
                self.at += 1;
                self.blank();
                if self.eat(b']') {
                    return Ok(false);
                }
                open.push(false)?;
                Ok(true)
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            Some(b't') => self.word(b"true").map(|()| false),
            Some(b'f') => self.word(b"false").map(|()| false),
            Some(b'n') => self.word(b"null").map(|()| false),
            _ => Err(self.wrong()),
        }
    }

    /// Reads what may follow a value; true when the outermost value is complete.
    fn closings(&mut self, open: &mut Containers) -> Result<bool, JsonError> {
        while let Some(object) = open.top() {
            self.blank();
            if self.eat(b',') {
                if object {
                    self.blank();
                    self.key()?;
                }
                return Ok(false);
            }
            self.expect(if object { b'}' } else { b']' })?;
            open.pop();
        }
        Ok(true)
    }

    fn key(&mut self) -> Result<Range<usize>, JsonError> {
        let key = self.string()?;
        self.blank();
        self.expect(b':')?;
        Ok(key)
    }

    /// Reads a string and returns the span between its quotes.
    fn string(&mut self) -> Result<Range<usize>, JsonError> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let rest = self.src.get(self.at..).unwrap_or_default();
            let Some(plain) = plain_length(rest) else {
                self.at = self.src.len();
                return Err(self.wrong());
            };
            self.at += plain;
            match self.src.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(start..self.at - 1);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.wrong()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.src.get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            // A lone half of a surrogate pair passes: JavaScript servers that cut a text in the middle of one send it.
            // Where we read such a string ourselves it is no string.
            Some(b'u') => self.unicode_escape()?,
            _ => return Err(self.wrong()),
        }
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<(), JsonError> {
        self.expect(b'u')?;
        let digits = self.src.get(self.at..self.at + 4).ok_or(self.wrong())?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.wrong());
        }
        self.at += 4;
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = self.src.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.wrong());
        }
        self.at += count;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if self.src.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.wrong())
    }

    fn blank(&mut self) {
        while matches!(self.src.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.src.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(self.wrong()) }
    }

    fn wrong(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }
}

/// Bytes that are looked at together where a string is long.
const STRIDE: usize = 32;

/// Returns how much of a text stands before the first byte that means something in a string: a quote, a backslash, or
/// a control character that must not be there. Most strings are short: the first bytes are looked at word by word,
/// the rest in strides that the compiler makes vectors of.
fn plain_length(text: &[u8]) -> Option<usize> {
    let (head, rest) = text.split_at(text.len().min(STRIDE));
    if let Some(found) = by_words(head) {
        return Some(found);
    }
    let means_something =
        |stride: &[u8; STRIDE]| stride.iter().fold(false, |found, &byte| found | special(byte));
    let plain = rest
        .as_chunks::<STRIDE>()
        .0
        .iter()
        .take_while(|stride| !means_something(stride))
        .count()
        * STRIDE;
    by_words(rest.get(plain..).unwrap_or_default()).map(|found| head.len() + plain + found)
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch in it, and the compiler makes no vectors"
)]
const fn special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

fn by_words(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special_bytes(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|&byte| special(byte))?;
    Some(words.len() * 8 + found)
}

/// Marks the top bit of special bytes. Marks above the lowest may be wrong: a borrow runs upwards.
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    const fn below(word: u64, limit: u8) -> u64 {
        word.wrapping_sub(ONES * limit as u64) & !word
    }
    let quotes = below(word ^ (ONES * b'"' as u64), 1);
    let backslashes = below(word ^ (ONES * b'\\' as u64), 1);
    (quotes | backslashes | below(word, 0x20)) & TOPS
}

const CONTAINER_WORDS: usize = JSON_DEPTH_MAX / 64;

/// Which containers are open, one bit each: set for an object.
#[derive(Default)]
struct Containers {
    bits: [u64; CONTAINER_WORDS],
    depth: usize,
}

impl Containers {
    fn push(&mut self, object: bool) -> Result<(), JsonError> {
        let word = self.bits.get_mut(self.depth / 64).ok_or(JsonError::Depth)?;
        let bit = 1 << (self.depth % 64);
        if object {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        self.depth += 1;
        Ok(())
    }

    fn top(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        self.bits
            .get(last / 64)
            .map(|word| word & (1 << (last % 64)) != 0)
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte_by_byte(text: &[u8]) -> Option<usize> {
        text.iter().position(|&byte| special(byte))
    }

    #[test]
    fn every_byte_at_every_place_is_found_as_byte_by_byte() {
        for length in 0..100 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'x'; length];
                    text[at] = byte;
                    assert_eq!(
                        plain_length(&text),
                        byte_by_byte(&text),
                        "{byte:#x} at {at} of {length}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_as_byte_by_byte(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(plain_length(&text), byte_by_byte(&text));
            let rare: Vec<u8> = text.iter().map(|byte| byte | 0x60).collect();
            prop_assert_eq!(plain_length(&rare), byte_by_byte(&rare));
        }
    }
}
