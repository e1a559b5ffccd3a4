//! Reads JSON text from front to back and says where things stand. Bounded in depth and in members; builds no values.

use std::borrow::Cow;
use std::ops::Range;

use super::plain::{Seen, plain};
use super::{JsonError, Member, Span, unescaped};
use crate::limits::{JSON_DEPTH_MAX, JSON_MEMBERS_MAX};

/// Members that nearly every object has room for without growing.
const MEMBERS_USUAL: usize = 6;

/// Reads JSON text from front to back. What reads a part of it returns `None` where the text is wrong, and [`Self::why`]
/// knows why: an error that is handed from part to part would cost as much as the reading.
pub(in crate::protocol) struct Reader<'a> {
    src: &'a [u8],
    at: usize,
    /// What is wrong, where it is not the byte at hand.
    bound: Option<JsonError>,
    /// Whether the last string has escapes.
    escaped: bool,
    seen: Seen,
}

#[expect(
    clippy::inline_always,
    reason = "most parts of a message are so short that a call would cost more than reading them"
)]
impl<'a> Reader<'a> {
    pub(in crate::protocol) fn new(src: &'a [u8]) -> Self {
        Self::trusted(src, 0)
    }

    /// Reads a text with all that is behind; anything but white space there is wrong.
    pub(in crate::protocol) fn whole<T>(
        mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, JsonError> {
        if self.src.len() > u32::MAX as usize {
            return Err(JsonError::TooLong);
        }
        let found = read(&mut self).filter(|_| self.is_at_end());
        // Outside of strings nothing but ASCII was taken.
        if found.is_none() || !self.seen.is_ascii() {
            self.check_utf8()?;
        }
        found.ok_or_else(|| self.why())
    }

    /// Checks that the text is UTF-8.
    pub(in crate::protocol) fn check_utf8(&self) -> Result<(), JsonError> {
        std::str::from_utf8(self.src).map_or(Err(JsonError::NotUtf8), |_| Ok(()))
    }

    /// For text that was checked before, from a place on.
    pub(super) fn trusted(src: &'a [u8], at: usize) -> Self {
        Self {
            src,
            at,
            bound: None,
            escaped: false,
            seen: Seen::default(),
        }
    }

    /// Reads a whole object.
    pub(in crate::protocol) fn members(&mut self) -> Option<Vec<Member>> {
        self.members_with(|reader, _| reader.value())
    }

    /// Reads a whole object, whose members are said to stand where they do behind its brace; `read` gets each name and
    /// must consume its value and return where that begins.
    #[inline]
    pub(in crate::protocol) fn members_with(
        &mut self,
        mut read: impl FnMut(&mut Self, &[u8]) -> Option<usize>,
    ) -> Option<Vec<Member>> {
        self.peek();
        let base = self.at;
        let mut more = self.open_object()?;
        let mut members: Vec<Member> = Vec::with_capacity(MEMBERS_USUAL);
        // Unescaped names, once a key has been met whose name is not what is written.
        let mut names: Vec<Cow<[u8]>> = Vec::new();
        while more {
            let key = self.key()?;
            let escaped = self.escaped;
            if members.len() == JSON_MEMBERS_MAX {
                return self.fails(JsonError::Members);
            }
            let written = self.src.get(key.clone()).unwrap_or_default();
            let start = if escaped || !names.is_empty() {
                let name = self.unescaped_new(base, &members, &mut names, &key)?;
                let start = read(self, &name)?;
                names.push(name);
                start
            } else {
                if self.has(base, &members, written) {
                    return self.fails(JsonError::DuplicateKey);
                }
                read(self, written)?
            };
            members.push(Member {
                key: Span::new(key.start - base, key.end - base),
                value: Span::new(start - base, self.at - base),
                escaped,
            });
            more = self.another()?;
        }
        Some(members)
    }

    /// Reads the opening brace of an object; false when it is empty.
    #[inline]
    pub(in crate::protocol) fn open_object(&mut self) -> Option<bool> {
        if self.peek() != b'{' {
            return self.fails(JsonError::NotAnObject);
        }
        self.at += 1;
        self.blank();
        Some(!self.eat(b'}'))
    }

    /// Reads what stands behind a member; false when it was the last.
    #[inline]
    pub(in crate::protocol) fn another(&mut self) -> Option<bool> {
        self.blank();
        if self.eat(b',') {
            self.blank();
            return Some(true);
        }
        self.expect(b'}').map(|()| false)
    }

    /// Reads a key and its colon; returns what it says.
    #[inline]
    pub(in crate::protocol) fn name(&mut self) -> Option<Cow<'a, [u8]>> {
        let key = self.key()?;
        if self.escaped {
            return Some(unescaped_bytes(self.src, &key));
        }
        self.src.get(key).map(Cow::Borrowed)
    }

    /// Tells whether a key is written among members.
    #[inline(always)]
    fn has(&self, base: usize, members: &[Member], written: &[u8]) -> bool {
        members.iter().any(|member| {
            let key = base + member.key.start()..base + member.key.end();
            key.len() == written.len() && self.src.get(key) == Some(written)
        })
    }

    /// Returns the name of a key that is not among those before, one of which has escapes.
    #[cold]
    fn unescaped_new(
        &mut self,
        base: usize,
        members: &[Member],
        names: &mut Vec<Cow<'a, [u8]>>,
        key: &Range<usize>,
    ) -> Option<Cow<'a, [u8]>> {
        if names.is_empty() {
            let here = self.src.get(base..).unwrap_or_default();
            names.extend(
                members
                    .iter()
                    .map(|member| unescaped_bytes(here, &member.key.range())),
            );
        }
        let name = unescaped_bytes(self.src, key);
        if names.contains(&name) {
            return self.fails(JsonError::DuplicateKey);
        }
        Some(name)
    }

    /// Reads the opening bracket of an array.
    pub(super) fn open_array(&mut self) -> Option<()> {
        self.blank();
        self.expect(b'[')
    }

    /// Reads the next value of an array and returns its span; `None` after the closing bracket, or where it is wrong.
    pub(super) fn next_element(&mut self, first: bool) -> Option<Range<usize>> {
        self.blank();
        if self.eat(b']') {
            return None;
        }
        if !first {
            self.expect(b',')?;
        }
        let start = self.value()?;
        Some(start..self.at)
    }

    /// Tells what the next value begins with; NUL at the end.
    #[inline]
    pub(in crate::protocol) fn peek(&mut self) -> u8 {
        self.blank();
        self.byte()
    }

    #[inline]
    pub(in crate::protocol) fn offset(&self) -> usize {
        self.at
    }

    fn is_at_end(&mut self) -> bool {
        self.blank();
        self.at == self.src.len()
    }

    /// Returns why nothing was read.
    #[cold]
    pub(in crate::protocol) fn why(&self) -> JsonError {
        self.bound.unwrap_or(JsonError::Syntax { at: self.at })
    }

    #[cold]
    pub(in crate::protocol) fn fails<T>(&mut self, error: JsonError) -> Option<T> {
        self.bound = Some(error);
        None
    }

    /// Reads one value of any type and returns where it begins.
    #[inline]
    pub(in crate::protocol) fn value(&mut self) -> Option<usize> {
        self.blank();
        let start = self.at;
        match self.byte() {
            b'{' | b'[' => self.container()?,
            _ => self.scalar()?,
        }
        Some(start)
    }

    /// Reads an object or an array whole.
    fn container(&mut self) -> Option<()> {
        let mut open = Containers::default();
        loop {
            if self.value_or_opening(&mut open)? {
                continue;
            }
            if self.closings(&mut open)? {
                return Some(());
            }
        }
    }

    /// Reads a scalar, an empty container, or the opening of a container; true when a value must follow.
    #[inline]
    fn value_or_opening(&mut self, open: &mut Containers) -> Option<bool> {
        self.blank();
        let opening = self.byte();
        if !matches!(opening, b'{' | b'[') {
            self.scalar()?;
            return Some(false);
        }
        let object = opening == b'{';
        self.at += 1;
        self.blank();
        if self.eat(if object { b'}' } else { b']' }) {
            return Some(false);
        }
        if !open.push(object) {
            return self.fails(JsonError::Depth);
        }
        if object {
            self.key()?;
        }
        Some(true)
    }

    /// Reads what may follow a value; true when the outermost value is complete.
    #[inline]
    fn closings(&mut self, open: &mut Containers) -> Option<bool> {
        while let Some(object) = open.top() {
            self.blank();
            if self.eat(b',') {
                if object {
                    self.blank();
                    self.key()?;
                }
                return Some(false);
            }
            self.expect(if object { b'}' } else { b']' })?;
            open.pop();
        }
        Some(true)
    }

    #[inline(always)]
    fn scalar(&mut self) -> Option<()> {
        match self.byte() {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => None,
        }
    }

    /// Reads a key and its colon; returns what is between its quotes.
    #[inline(always)]
    fn key(&mut self) -> Option<Range<usize>> {
        let start = self.string()?;
        let end = self.at - 1;
        self.blank();
        self.expect(b':')?;
        Some(start..end)
    }

    /// Reads a string and returns where it begins behind its quote.
    #[inline(always)]
    fn string(&mut self) -> Option<usize> {
        self.expect(b'"')?;
        let start = self.at;
        self.escaped = false;
        loop {
            let rest = self.src.get(self.at..).unwrap_or_default();
            let Some(plain) = plain(rest, &mut self.seen) else {
                self.at = self.src.len();
                return None;
            };
            self.at += plain;
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Some(start);
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.escaped = true;
        self.at += 1;
        match self.byte() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Some(())
            }
            // A lone half of a surrogate pair passes: JavaScript servers that cut a text in the middle of one send it.
            // Where we read such a string ourselves it is no string.
            b'u' => self.unicode_escape(),
            _ => None,
        }
    }

    fn unicode_escape(&mut self) -> Option<()> {
        self.expect(b'u')?;
        let digits = self.src.get(self.at..self.at + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        self.at += 4;
        Some(())
    }

    #[inline(always)]
    fn number(&mut self) -> Option<()> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.at += 1;
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Some(())
    }

    #[inline(always)]
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let rest = self.src.get(self.at..)?;
        rest.starts_with(word).then(|| self.at += word.len())
    }

    #[inline(always)]
    fn blank(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Returns the next byte; at the end NUL, which may stand nowhere in JSON.
    #[inline(always)]
    fn byte(&self) -> u8 {
        self.src.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.byte() == byte;
        self.at += usize::from(found);
        found
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }
}

/// Returns what a key says.
fn unescaped_bytes<'a>(src: &'a [u8], key: &Range<usize>) -> Cow<'a, [u8]> {
    match unescaped(src, key) {
        Cow::Borrowed(name) => Cow::Borrowed(name.as_bytes()),
        Cow::Owned(name) => Cow::Owned(name.into_bytes()),
    }
}

const CONTAINER_WORDS: usize = JSON_DEPTH_MAX / 64;

/// Which containers are open, one bit each: set for an object.
#[derive(Default)]
struct Containers {
    bits: [u64; CONTAINER_WORDS],
    depth: usize,
}

impl Containers {
    /// Opens another; false when there are too many.
    #[inline]
    fn push(&mut self, object: bool) -> bool {
        let Some(word) = self.bits.get_mut(self.depth / 64) else {
            return false;
        };
        let bit = 1 << (self.depth % 64);
        if object {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        self.depth += 1;
        true
    }

    #[inline]
    fn top(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        self.bits
            .get(last / 64)
            .map(|word| word & (1 << (last % 64)) != 0)
    }

    #[inline]
    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}
