//! Passes over bytes of JSON text that mean nothing where they stand: eight at a time where the next that does is near, by
//! vectors where it is far.

use memchr::memchr;

use super::super::json::word_at;

/// So many words are looked at before what follows is taken for a long string.
const NEAR_WORDS: usize = 4;

/// Returns the place behind a string that is open, or, when it does not end here, whether its next byte is escaped. What
/// escapes nothing means nothing: only quotes are looked for, and how many backslashes stand before them.
#[inline]
pub(super) fn string(bytes: &[u8], from: usize) -> Result<usize, bool> {
    let mut from = from;
    loop {
        let quote = next_quote(bytes, from);
        let end = quote.unwrap_or(bytes.len());
        let escaped = bytes.get(from..end).is_some_and(ends_with_escape);
        match quote {
            Some(quote) if !escaped => return Ok(quote + 1),
            Some(quote) => from = quote + 1,
            None => return Err(escaped),
        }
    }
}

/// Returns the place behind a string of less than eight bytes without escapes; `None` for any other.
#[inline]
pub(super) fn short_string(bytes: &[u8], from: usize) -> Option<usize> {
    let word = word_at(bytes, from);
    let found = zeros(word ^ eight(b'"')) | zeros(word ^ eight(b'\\'));
    let at = from + place(found);
    (found != 0 && bytes.get(at) == Some(&b'"')).then_some(at + 1)
}

/// Tells whether a text, whose first byte is not escaped, escapes the byte behind it.
#[inline]
fn ends_with_escape(text: &[u8]) -> bool {
    text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[inline]
fn next_quote(bytes: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..NEAR_WORDS {
        let found = zeros(word_at(bytes, at) ^ eight(b'"'));
        if found != 0 {
            return Some(at + place(found));
        }
        at += 8;
    }
    memchr(b'"', bytes.get(at..)?).map(|found| at + found)
}

/// Returns the place of the next byte outside of strings that may be a quote, a brace or a bracket. It may be another.
#[inline]
pub(super) fn to_structure(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        let word = word_at(bytes, at);
        let quotes = zeros(word ^ eight(b'"'));
        // Braces and brackets differ in three bits, which few others have otherwise alike.
        let braces = zeros((word | eight(0x20)) & eight(!0x06) ^ eight(b'{' & !0x06));
        let found = quotes | braces;
        if found != 0 {
            return at + place(found);
        }
        at += 8;
    }
    bytes.len()
}

/// Marks the top bit of bytes that are zero. Marks above the lowest may be wrong: a borrow runs upwards.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(eight(1)) & !word & eight(0x80)
}

/// Returns which byte has the lowest mark.
const fn place(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a string byte by byte.
    fn slowly(bytes: &[u8], from: usize) -> Result<usize, bool> {
        let mut escaped = false;
        for (at, byte) in bytes.iter().enumerate().skip(from) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return Ok(at + 1),
                _ => {}
            }
        }
        Err(escaped)
    }

    proptest! {
        #[test]
        fn a_string_ends_where_it_ends_byte_by_byte(text in r#"[\\"]{0,12}[#!a-z\n]{0,90}[\\"a]{0,24}"#) {
            for from in 0..=text.len() {
                let behind = slowly(text.as_bytes(), from);
                prop_assert_eq!(string(text.as_bytes(), from), behind);
                if let Some(short) = short_string(text.as_bytes(), from) {
                    prop_assert_eq!(Ok(short), behind);
                }
            }
        }

        #[test]
        fn structure_is_never_passed_over(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let is_structure = |byte: &u8| b"\"{}[]".contains(byte);
            for from in 0..=text.len() {
                let found = to_structure(&text, from);
                let first = text[from..].iter().position(is_structure).map_or(text.len(), |at| from + at);
                prop_assert!((from..=first).contains(&found));
            }
        }
    }

    #[test]
    fn plain_text_is_passed_over_at_once() {
        assert_eq!(to_structure(b"1234567890, -1.5e9, true, null, 12345678", 0), 40);
        assert_eq!(to_structure(b"  12345678901234567890]", 0), 22);
    }
}
