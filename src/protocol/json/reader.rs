//! Reads JSON text from front to back and says where things stand. Bounded in depth and in members; builds no values.

use std::borrow::Cow;
use std::ops::Range;

use super::plain::{behind_blanks, is_ascii};
use super::value::{Key, NO_OBJECT, Read, TOO_DEEP, TOO_MANY, TWICE, blank, byte, key, read_value};
use super::{JsonError, Member, Span, unescaped};
use crate::limits::JSON_MEMBERS_MAX;

/// Members that nearly every object has room for without growing.
pub(in crate::protocol) const MEMBERS_USUAL: usize = 6;

/// Reads a text with all that is behind; anything but white space around what `read` reads is wrong. Returns where that
/// stands.
#[inline]
pub(in crate::protocol) fn whole(
    src: &[u8],
    read: impl FnOnce(usize) -> Read,
) -> Result<Range<usize>, JsonError> {
    if src.len() > u32::MAX as usize {
        return Err(JsonError::TooLong);
    }
    let start = blank(src, 0);
    let found = read(start).and_then(|end| match behind_blanks(src, end) {
        behind if behind == src.len() => Ok(start..end),
        behind => Err(behind),
    });
    if found.is_err() || !is_ascii(src) {
        check_utf8(src)?;
    }
    found.map_err(why)
}

/// Checks that a text is UTF-8.
pub(in crate::protocol) fn check_utf8(src: &[u8]) -> Result<(), JsonError> {
    std::str::from_utf8(src).map_or(Err(JsonError::NotUtf8), |_| Ok(()))
}

/// Says what is wrong with a text.
#[cold]
pub(super) fn why(at: usize) -> JsonError {
    match at {
        TOO_DEEP => JsonError::Depth,
        TOO_MANY => JsonError::Members,
        TWICE => JsonError::DuplicateKey,
        NO_OBJECT => JsonError::NotAnObject,
        at => JsonError::Syntax { at },
    }
}

/// Reads a whole object. Its members are said to stand where they do behind its brace.
pub(in crate::protocol) fn members(src: &[u8], at: usize, members: &mut Vec<Member>) -> Read {
    members_with(src, at, members, |_, value| read_value(src, value))
}

/// Reads a whole object; `read` gets each name, and where its value begins, which it must read.
#[inline]
pub(in crate::protocol) fn members_with(
    src: &[u8],
    at: usize,
    members: &mut Vec<Member>,
    read: impl FnMut(&[u8], usize) -> Read,
) -> Read {
    let (first, more) = open_object(src, at)?;
    if !more {
        return Ok(first);
    }
    *members = Vec::with_capacity(MEMBERS_USUAL);
    members_from(src, at, first, members, read)
}

/// Reads an object on from a key; `members` are those before, which have no escapes in their keys.
#[inline]
pub(in crate::protocol) fn members_from(
    src: &[u8],
    base: usize,
    mut at: usize,
    members: &mut Vec<Member>,
    mut read: impl FnMut(&[u8], usize) -> Read,
) -> Read {
    // A bit for each length that a key had: most objects have no two of the same.
    let bit = |key: usize| 1_u64 << (key % 64);
    let mut lengths = (members.iter()).fold(0, |lengths, member| lengths | bit(member.key.range().len()));
    let mut more = true;
    while more {
        let key = key(src, at)?;
        if key.escaped {
            return rest_of_members(src, base, at, members, &mut read);
        }
        if members.len() == JSON_MEMBERS_MAX {
            return Err(TOO_MANY);
        }
        let written = src.get(key.start..key.end).unwrap_or_default();
        let length = bit(written.len());
        if lengths & length != 0 && is_among(src, base, members, written) {
            return Err(TWICE);
        }
        lengths |= length;
        at = read(written, key.value)?;
        members.push(member(base, &key, at));
        (at, more) = behind_member(src, at)?;
    }
    Ok(at)
}

/// Reads an object on from the first key whose name is not what is written.
#[cold]
fn rest_of_members(
    src: &[u8],
    base: usize,
    mut at: usize,
    members: &mut Vec<Member>,
    read: &mut dyn FnMut(&[u8], usize) -> Read,
) -> Read {
    let here = src.get(base..).unwrap_or_default();
    let before = members
        .iter()
        .map(|member| unescaped_bytes(here, &member.key.range()));
    let mut names: Vec<Cow<[u8]>> = before.collect();
    let mut more = true;
    while more {
        let key = key(src, at)?;
        if members.len() == JSON_MEMBERS_MAX {
            return Err(TOO_MANY);
        }
        let name = name(src, &key);
        if names.contains(&name) {
            return Err(TWICE);
        }
        at = read(&name, key.value)?;
        names.push(name);
        members.push(member(base, &key, at));
        (at, more) = behind_member(src, at)?;
    }
    Ok(at)
}

fn member(base: usize, key: &Key, end: usize) -> Member {
    Member {
        key: Span::new(key.start - base, key.end - base),
        value: Span::new(key.value - base, end - base),
        escaped: key.escaped,
    }
}

/// Tells whether a key is written among members.
fn is_among(src: &[u8], base: usize, members: &[Member], written: &[u8]) -> bool {
    members.iter().any(|member| {
        let key = base + member.key.start()..base + member.key.end();
        key.len() == written.len() && src.get(key) == Some(written)
    })
}

/// Reads the opening brace of an object; whether there is more says that a key is next.
#[expect(clippy::inline_always, reason = "its result would be written to memory")]
#[inline(always)]
pub(in crate::protocol) fn open_object(src: &[u8], at: usize) -> Result<(usize, bool), usize> {
    if byte(src, at) != b'{' {
        return Err(NO_OBJECT);
    }
    let at = blank(src, at + 1);
    let empty = byte(src, at) == b'}';
    Ok((at + usize::from(empty), !empty))
}

/// Reads what stands behind a member; whether there is more says that a key is next.
#[expect(clippy::inline_always, reason = "its result would be written to memory")]
#[inline(always)]
pub(in crate::protocol) fn behind_member(src: &[u8], at: usize) -> Result<(usize, bool), usize> {
    let at = blank(src, at);
    match byte(src, at) {
        b',' => Ok((blank(src, at + 1), true)),
        b'}' => Ok((at + 1, false)),
        _ => Err(at),
    }
}

/// Reads the opening bracket of an array.
pub(super) fn open_array(src: &[u8]) -> Option<usize> {
    let at = blank(src, 0);
    (byte(src, at) == b'[').then_some(at + 1)
}

/// Reads the next value of an array and returns its span; `None` after the closing bracket, or where it is wrong.
pub(super) fn next_element(src: &[u8], at: usize, first: bool) -> Option<Range<usize>> {
    let mut start = blank(src, at);
    match byte(src, start) {
        b']' => return None,
        b',' if !first => start = blank(src, start + 1),
        _ if first => {}
        _ => return None,
    }
    read_value(src, start).ok().map(|end| start..end)
}

/// Returns what a key says.
#[inline]
pub(in crate::protocol) fn name<'a>(src: &'a [u8], key: &Key) -> Cow<'a, [u8]> {
    if key.escaped {
        return unescaped_bytes(src, &(key.start..key.end));
    }
    Cow::Borrowed(src.get(key.start..key.end).unwrap_or_default())
}

fn unescaped_bytes<'a>(src: &'a [u8], key: &Range<usize>) -> Cow<'a, [u8]> {
    match unescaped(src, key) {
        Cow::Borrowed(name) => Cow::Borrowed(name.as_bytes()),
        Cow::Owned(name) => Cow::Owned(name.into_bytes()),
    }
}
