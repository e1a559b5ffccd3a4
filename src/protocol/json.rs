//! A validating scanner of JSON text (RFC 8259) that finds spans instead of building values.
//! Values that nobody here reads keep their bytes: number spelling, key order, escapes, white space.
//! Objects that are read have a bounded number of members and no key twice, so that what we decide on is what
//! the other side will read.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::limits::{JSON_DEPTH_MAX, JSON_MEMBERS_MAX};

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("not valid JSON at byte {at}")]
    Syntax {
        /// Offset of the byte that cannot stand there.
        at: usize,
    },
    /// Not UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// Nested deeper than [`JSON_DEPTH_MAX`].
    #[error("nested deeper than {JSON_DEPTH_MAX}")]
    Depth,
    /// A key stands twice in an object that we read.
    #[error("an object has the same key twice")]
    DuplicateKey,
    /// An object that we read has more than [`JSON_MEMBERS_MAX`] members.
    #[error("an object has more than {JSON_MEMBERS_MAX} members")]
    Members,
    /// Another type than the one that belongs there.
    #[error("not a JSON object")]
    NotAnObject,
}

/// The bytes of one valid JSON value, shared with the message it came in.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Raw(Bytes);

impl Raw {
    /// Checks that a text is one JSON value and nothing else but white space around it.
    pub fn parse(text: &Bytes) -> Result<Self, JsonError> {
        let mut reader = Reader::new(text)?;
        let span = reader.value()?;
        reader.end()?;
        Ok(Self(text.slice(span)))
    }

    /// Writes a value of our own.
    #[must_use]
    pub fn of(value: &impl serde::Serialize) -> Self {
        Self(serde_json::to_vec(value).map_or_else(|_| Bytes::from_static(b"null"), Bytes::from))
    }

    /// Takes a literal that is known to be JSON.
    #[must_use]
    pub const fn literal(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the text; it was checked to be UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the value when it is a string, unescaped.
    #[must_use]
    pub fn string(&self) -> Option<Cow<'_, str>> {
        unquote(&self.0)
    }

    /// Returns the value when it is an unsigned integer.
    #[must_use]
    pub fn u64(&self) -> Option<u64> {
        self.as_str().parse().ok()
    }

    /// Returns the value when it is `true` or `false`.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        match &*self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// Tells whether the value is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        &*self.0 == b"null"
    }

    /// Reads the value as an object.
    ///
    /// # Errors
    /// [`JsonError::NotAnObject`], [`JsonError::DuplicateKey`], [`JsonError::Members`].
    pub fn object(&self) -> Result<Object, JsonError> {
        let mut reader = Reader::trusted(&self.0);
        let members = reader.members()?;
        Ok(Object {
            src: self.0.clone(),
            members,
        })
    }

    /// Reads the value as an array of values; `None` when it is none.
    #[must_use]
    pub fn array(&self) -> Option<Vec<Raw>> {
        let mut reader = Reader::trusted(&self.0);
        let spans = reader.elements().ok()?;
        Some(spans.into_iter().map(|span| Self(self.0.slice(span))).collect())
    }

    /// Reads the value into a type.
    #[must_use]
    pub fn read<'a, T: serde::Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.0).ok()
    }
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&str> for Raw {
    /// Writes a string value.
    fn from(text: &str) -> Self {
        Self::of(&text)
    }
}

impl From<u64> for Raw {
    fn from(number: u64) -> Self {
        Self(Bytes::from(number.to_string()))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The key without its quotes, still escaped.
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// The members of one object, as spans.
#[derive(Clone, Debug)]
pub struct Object {
    pub(super) src: Bytes,
    pub(super) members: Vec<Member>,
}

impl Object {
    /// An object without members.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            src: Bytes::from_static(b"{}"),
            members: Vec::new(),
        }
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Raw> {
        self.member(key)
            .map(|member| Raw(self.src.slice(member.value.clone())))
    }

    /// Returns the value of a key when it is a string, unescaped.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<String> {
        self.get(key)?.string().map(Cow::into_owned)
    }

    /// Returns the value of a key when it is an object.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Object> {
        self.get(key)?.object().ok()
    }

    /// Tells whether there is such a key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.member(key).is_some()
    }

    /// Returns the keys, unescaped, in their order.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.members
            .iter()
            .map(|member| unescaped(&self.src, &member.key))
    }

    /// Returns keys and values in their order.
    pub fn entries(&self) -> impl Iterator<Item = (Cow<'_, str>, Raw)> {
        self.members.iter().map(|member| {
            (
                unescaped(&self.src, &member.key),
                Raw(self.src.slice(member.value.clone())),
            )
        })
    }

    /// Returns the object's own text.
    #[must_use]
    pub fn raw(&self) -> Raw {
        Raw(self.src.clone())
    }

    pub(super) fn member(&self, key: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| unescaped(&self.src, &member.key) == key)
    }
}

fn unescaped<'a>(src: &'a [u8], key: &Range<usize>) -> Cow<'a, str> {
    let inner = src.get(key.clone()).unwrap_or_default();
    if inner.contains(&b'\\') {
        let quoted = src
            .get(key.start.saturating_sub(1)..key.end + 1)
            .unwrap_or_default();
        return unquote(quoted).unwrap_or_default();
    }
    Cow::Borrowed(std::str::from_utf8(inner).unwrap_or_default())
}

fn unquote(text: &[u8]) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(text).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// Reads JSON text from front to back.
pub(super) struct Reader<'a> {
    src: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(src: &'a [u8]) -> Result<Self, JsonError> {
        std::str::from_utf8(src).map_err(|_| JsonError::NotUtf8)?;
        Ok(Self { src, at: 0 })
    }

    /// For text that was checked before.
    fn trusted(src: &'a [u8]) -> Self {
        Self { src, at: 0 }
    }

    /// Reads the opening brace of an object.
    pub(super) fn open_object(&mut self) -> Result<(), JsonError> {
        self.blank();
        if self.eat(b'{') {
            Ok(())
        } else {
            Err(JsonError::NotAnObject)
        }
    }

    /// Reads up to the next value of an object and returns its key's span; `None` after the closing brace.
    pub(super) fn next_key(&mut self, first: bool) -> Result<Option<Range<usize>>, JsonError> {
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
    pub(super) fn members(&mut self) -> Result<Vec<Member>, JsonError> {
        self.members_with(|reader, _| reader.value())
    }

    /// Reads a whole object; `read` must consume the value of each key and return its span.
    pub(super) fn members_with(
        &mut self,
        mut read: impl FnMut(&mut Self, &str) -> Result<Range<usize>, JsonError>,
    ) -> Result<Vec<Member>, JsonError> {
        self.open_object()?;
        let mut members: Vec<Member> = Vec::with_capacity(8);
        while let Some(key) = self.next_key(members.is_empty())? {
            if members.len() == JSON_MEMBERS_MAX {
                return Err(JsonError::Members);
            }
            let name = unescaped(self.src, &key);
            if members
                .iter()
                .any(|member| unescaped(self.src, &member.key) == name)
            {
                return Err(JsonError::DuplicateKey);
            }
            let value = read(self, &name)?;
            members.push(Member { key, value });
        }
        Ok(members)
    }

    /// Reads a whole array.
    fn elements(&mut self) -> Result<Vec<Range<usize>>, JsonError> {
        self.blank();
        self.expect(b'[')?;
        let mut spans = Vec::new();
        loop {
            self.blank();
            if self.eat(b']') {
                return Ok(spans);
            }
            if !spans.is_empty() {
                self.expect(b',')?;
            }
            spans.push(self.value()?);
        }
    }

    /// Tells what the next value begins with.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.blank();
        self.src.get(self.at).copied()
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Reads to the end of the text.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.blank();
        if self.at == self.src.len() {
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    /// Reads one value of any type and returns its span.
    pub(super) fn value(&mut self) -> Result<Range<usize>, JsonError> {
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
            let Some(plain) = rest
                .iter()
                .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)
            else {
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
            Some(b'u') => {
                let unit = self.unicode_escape()?;
                // A lone half of a surrogate pair is no character: readers differ on it.
                if (0xDC00..0xE000).contains(&unit) {
                    return Err(self.wrong());
                }
                if (0xD800..0xDC00).contains(&unit) {
                    self.expect(b'\\')?;
                    if !(0xDC00..0xE000).contains(&self.unicode_escape()?) {
                        return Err(self.wrong());
                    }
                }
            }
            _ => return Err(self.wrong()),
        }
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<u32, JsonError> {
        self.expect(b'u')?;
        let digits = self.src.get(self.at..self.at + 4).ok_or(self.wrong())?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.wrong());
        }
        let text = std::str::from_utf8(digits).map_err(|_| self.wrong())?;
        let unit = u32::from_str_radix(text, 16).map_err(|_| self.wrong())?;
        self.at += 4;
        Ok(unit)
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

    fn raw(text: &str) -> Result<Raw, JsonError> {
        Raw::parse(&Bytes::from(text.to_owned()))
    }

    #[test]
    fn a_value_keeps_its_bytes() {
        let value = raw(" {\"a\" : 12345678901234567890123, \"b\":1.50e+3} ").unwrap();
        assert_eq!(value.as_str(), "{\"a\" : 12345678901234567890123, \"b\":1.50e+3}");
        assert_eq!(value.object().unwrap().get("b").unwrap().as_str(), "1.50e+3");
    }

    #[test]
    fn an_escaped_key_is_the_same_key() {
        let value = raw(r#"{"n\u0061me":1,"name":2}"#).unwrap();
        assert_eq!(value.object().unwrap_err(), JsonError::DuplicateKey);
        assert_eq!(
            raw(r#"{"n\u0061me":1}"#)
                .unwrap()
                .object()
                .unwrap()
                .get("name")
                .unwrap()
                .u64(),
            Some(1)
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(
            raw(&nested(JSON_DEPTH_MAX)).is_ok(),
            "the innermost array is empty"
        );
        assert_eq!(raw(&nested(JSON_DEPTH_MAX + 2)).unwrap_err(), JsonError::Depth);
    }

    #[test]
    fn members_are_bounded() {
        let many: Vec<String> = (0..=JSON_MEMBERS_MAX).map(|n| format!("\"k{n}\":0")).collect();
        let value = raw(&format!("{{{}}}", many.join(","))).unwrap();
        assert_eq!(value.object().unwrap_err(), JsonError::Members);
    }

    #[test]
    fn broken_texts_are_refused() {
        for text in [
            "",
            "{",
            "}",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{,}",
            "01",
            "-",
            "1.",
            "1e",
            "\"\\x\"",
            "\"\n\"",
            "tru",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "nul",
            "1 2",
            "[",
            "\"",
            "{\"a\":1,}",
        ] {
            assert!(raw(text).is_err(), "{text:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn accepts_what_serde_json_accepts(text in r#"[\[\]{}",:0-9a-z\\ .eE+-]{0,24}"#) {
            let ours = raw(&text).is_ok();
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            // RawValue skips strings without checking surrogate pairs; a full parse does check.
            let full = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert!(ours == theirs || ours == full, "{text:?}: ours {ours}, theirs {theirs}, full {full}");
        }

        #[test]
        fn never_panics_on_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Raw::parse(&Bytes::from(bytes));
        }
    }
}
