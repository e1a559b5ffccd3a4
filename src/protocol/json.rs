//! A validating scanner of JSON text (RFC 8259) that finds spans instead of building values.
//! Values that nobody here reads keep their bytes: number spelling, key order, escapes, white space.
//! Objects that are read have a bounded number of members and no key twice, so that what we decide on is what
//! the other side will read.

#[cfg(test)]
pub(super) mod differential;
mod plain;
mod reader;
mod value;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

pub(super) use self::plain::{is_ascii, word_at};
pub(super) use self::reader::{
    MEMBERS_USUAL, behind_member, check_utf8, members, members_from, members_with, name, open_object, whole,
};
pub(super) use self::value::{Read, TOO_MANY, TWICE, blank, byte, colon, key, read_value};
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
    /// Longer than 4 GiB.
    #[error("longer than 4 GiB")]
    TooLong,
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
        let span = whole(text, |at| read_value(text, at))?;
        Ok(Self(text.slice(span)))
    }

    /// Takes a part of a text that was read.
    pub(super) fn checked(text: Bytes) -> Self {
        Self(text)
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

    /// Returns the value apart from the message that it came in, whose bytes are held no longer.
    #[must_use]
    pub fn detached(self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
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
        let mut found = Vec::new();
        members(&self.0, 0, &mut found).map_err(reader::why)?;
        Ok(Object {
            src: self.0.clone(),
            members: found,
        })
    }

    /// Reads the value as an array, one value at a time; `None` when it is none.
    #[must_use]
    pub fn array(&self) -> Option<Elements> {
        Some(Elements {
            at: reader::open_array(&self.0)?,
            first: true,
            src: self.0.clone(),
        })
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

/// The values of an array. An array of a message may have millions: nothing is kept of them.
#[derive(Clone, Debug)]
pub struct Elements {
    src: Bytes,
    at: usize,
    first: bool,
}

impl Iterator for Elements {
    type Item = Raw;

    fn next(&mut self) -> Option<Raw> {
        let span = reader::next_element(&self.src, self.at, self.first)?;
        (self.at, self.first) = (span.end, false);
        Some(Raw(self.src.slice(span)))
    }
}

/// Where something stands. A text is shorter than 4 GiB: so an object of a few members takes little memory, which the
/// allocator has at hand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start()..self.end()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The key without its quotes, still escaped.
    pub(super) key: Span,
    pub(super) value: Span,
    /// Whether the key's name is not what is written.
    pub(super) escaped: bool,
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
            .map(|member| Raw(self.src.slice(member.value.range())))
    }

    /// Returns the text of a key's value.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&[u8]> {
        self.src.get(self.member(key)?.value.range())
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
            .map(|member| unescaped(&self.src, &member.key.range()))
    }

    /// Returns keys and values in their order.
    pub fn entries(&self) -> impl Iterator<Item = (Cow<'_, str>, Raw)> {
        self.members.iter().map(|member| {
            (
                unescaped(&self.src, &member.key.range()),
                Raw(self.src.slice(member.value.range())),
            )
        })
    }

    /// Returns the object's own text.
    #[must_use]
    pub fn raw(&self) -> Raw {
        Raw(self.src.clone())
    }

    pub(super) fn member(&self, key: &str) -> Option<&Member> {
        // An escape has at most six bytes for one: other lengths need not be unescaped.
        let may_be_escaped = |written: usize| (key.len() + 1..=6 * key.len()).contains(&written);
        self.members.iter().find(|member| {
            let span = member.key.range();
            let length = span.len();
            if member.escaped {
                return may_be_escaped(length) && unescaped(&self.src, &span) == key;
            }
            length == key.len() && self.src.get(span) == Some(key.as_bytes())
        })
    }
}

pub(super) fn unescaped<'a>(src: &'a [u8], key: &Range<usize>) -> Cow<'a, str> {
    let inner = src.get(key.clone()).unwrap_or_default();
    if inner.contains(&b'\\') {
        let quoted = src
            .get(key.start.saturating_sub(1)..key.end + 1)
            .unwrap_or_default();
        // Half a pair stands for no character: the name is told by how it is written.
        return unquote(quoted)
            .unwrap_or_else(|| Cow::Borrowed(std::str::from_utf8(inner).unwrap_or_default()));
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
    fn a_key_with_a_backslash_is_not_the_escape_that_looks_like_it() {
        let object = raw(r#"{"a\nb":1,"a\\nb":2}"#).unwrap().object().unwrap();
        assert_eq!(object.get("a\nb").unwrap().u64(), Some(1));
        assert_eq!(object.get("a\\nb").unwrap().u64(), Some(2));
    }

    #[test]
    fn half_a_surrogate_pair_passes_and_is_no_string() {
        let value = raw(r#"{"text":"\ud83d","n\udc00":1}"#).unwrap();
        assert_eq!(value.as_str(), r#"{"text":"\ud83d","n\udc00":1}"#);
        let text = value.object().unwrap().get("text").unwrap();
        assert_eq!(text.string(), None);
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
    fn a_long_array_costs_nothing_until_it_is_read() {
        let value = raw(&format!("[{}0]", "0,".repeat(1_000))).unwrap();
        let mut elements = value.array().unwrap();
        assert_eq!(elements.next().unwrap().as_str(), "0");
        assert_eq!(elements.count(), 1_000);
        assert_eq!(raw(" [ 1 , [2, 3] ,{} ] ").unwrap().array().unwrap().count(), 3);
        assert!(raw("{}").unwrap().array().is_none());
    }

    #[test]
    fn keys_that_are_long_and_escaped_cost_no_more_than_their_length() {
        let key = |n: usize| format!("\"{}{n:03}\":0", "\\u0061".repeat(5_000));
        let text: Vec<String> = (0..JSON_MEMBERS_MAX).map(key).collect();
        let value = raw(&format!("{{{}}}", text.join(","))).unwrap();
        let started = crate::clock::now();
        let members = value.object().unwrap();
        for _ in 0..100 {
            assert!(members.get("name").is_none());
        }
        assert!(
            started.elapsed() < std::time::Duration::from_secs(30),
            "{:?}",
            started.elapsed()
        );
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
