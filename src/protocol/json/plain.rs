//! Where runs of bytes in JSON text end: what is plain in a string, digits, white space. Most are short: eight bytes are
//! looked at together; behind the end of a text stand NULs, which belong to none of them.

use memchr::memchr2;

/// Bytes that are looked at together where a string is long.
const STRIDE: usize = 32;
/// A string is long behind so many bytes.
const SHORT: usize = 128;

/// Returns the place, from a place on, of the first byte that means something in a string: a quote, a backslash, or a
/// control character that must not be there; the end of the text when there is none.
#[expect(clippy::inline_always, reason = "most strings are shorter than a call")]
#[inline(always)]
pub(super) fn behind_plain(text: &[u8], from: usize) -> usize {
    let mut rest = text.get(from..).unwrap_or_default();
    let mut at = from;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        (rest, at) = (behind, at + 8);
        if at - from == SHORT {
            return behind_long(text, at);
        }
    }
    at + specials(last_word_at(text, at)).trailing_zeros() as usize / 8
}

/// Goes on where the first bytes are plain.
#[inline(never)]
fn behind_long(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let length = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let run = rest.get(..length).unwrap_or_default();
    // The last stride overlaps the one before, so that none is left that is shorter.
    let (strides, last) = (run.as_chunks::<STRIDE>().0, run.last_chunk::<STRIDE>());
    let plain = if run.len() >= STRIDE && !strides.iter().chain(last).any(has_control) {
        length
    } else {
        let control = run.iter().position(|byte| *byte < 0x20);
        control.unwrap_or(length)
    };
    from + plain
}

fn has_control(stride: &[u8; STRIDE]) -> bool {
    stride.iter().copied().fold(u8::MAX, u8::min) < 0x20
}

/// Returns the place of the first byte from a place on that is no digit.
#[expect(clippy::inline_always, reason = "most numbers are shorter than a call")]
#[inline(always)]
pub(super) fn behind_digits(text: &[u8], mut at: usize) -> usize {
    loop {
        let digits = digits(word_at(text, at));
        at += digits;
        if digits < 8 {
            return at;
        }
    }
}

/// Returns the place of the first byte from a place on that is no white space. What is written for people has a line
/// break and many blanks between any two values.
#[inline(never)]
pub(super) fn behind_blanks(text: &[u8], mut at: usize) -> usize {
    const BLANKS: u64 = u64::from_le_bytes([b' '; 8]);
    loop {
        let blanks = (word_at(text, at) ^ BLANKS).trailing_zeros() as usize / 8;
        at += blanks;
        if blanks == 8 {
            continue;
        }
        match text.get(at) {
            Some(b' ' | b'\n' | b'\r' | b'\t') => at += 1,
            _ => return at,
        }
    }
}

/// Tells whether a text is ASCII. The standard library's own looks for an aligned place first.
pub(in crate::protocol) fn is_ascii(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return text.is_ascii();
    };
    let words = text.as_chunks().0.iter();
    words.fold(u64::from_le_bytes(*last), |all, word| {
        all | u64::from_le_bytes(*word)
    }) & TOPS
        == 0
}

/// Returns the next eight bytes, the first lowest.
#[expect(clippy::inline_always, reason = "it is a load and a comparison")]
#[inline(always)]
pub(in crate::protocol) fn word_at(text: &[u8], at: usize) -> u64 {
    match text.get(at..).and_then(<[u8]>::first_chunk) {
        Some(word) => u64::from_le_bytes(*word),
        None => last_word_at(text, at),
    }
}

/// Returns what is left of a text where that is less than eight bytes.
#[inline(never)]
fn last_word_at(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match text.last_chunk() {
        _ if rest.is_empty() => 0,
        Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
        None => rest
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

const TOPS: u64 = u64::from_le_bytes([0x80; 8]);

/// Marks the top bit of bytes that mean something in a string. Marks above the lowest may be wrong: a borrow runs
/// upwards.
#[inline]
const fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // Without its second bit a quote stands right behind the control characters, and nothing else comes between.
    let quotes_and_controls = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslashes = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (quotes_and_controls | backslashes) & !word & TOPS
}

/// Counts the digits that a word begins with.
#[inline]
const fn digits(word: u64) -> usize {
    let values = word ^ u64::from_le_bytes([b'0'; 8]);
    // A carry runs upwards too, away from the first that is no digit.
    let others = (values.wrapping_add(u64::from_le_bytes([0x80 - 10; 8])) | values) & TOPS;
    others.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn special(byte: u8) -> bool {
        byte == b'"' || byte == b'\\' || byte < 0x20
    }

    fn until(text: &[u8], from: usize, ends: impl Fn(u8) -> bool) -> usize {
        let found = text[from..].iter().position(|&byte| ends(byte));
        found.map_or(text.len(), |found| from + found)
    }

    /// Looks from every place of a text on.
    fn as_byte_by_byte(text: &[u8]) {
        for from in 0..=text.len() {
            assert_eq!(
                behind_plain(text, from),
                until(text, from, special),
                "{text:?} {from}"
            );
            let digits = until(text, from, |byte| !byte.is_ascii_digit());
            assert_eq!(behind_digits(text, from), digits, "{text:?} {from}");
            let blanks = until(text, from, |byte| !b" \n\r\t".contains(&byte));
            assert_eq!(behind_blanks(text, from), blanks, "{text:?} {from}");
            assert_eq!(
                is_ascii(&text[from..]),
                text[from..].is_ascii(),
                "{text:?} {from}"
            );
        }
    }

    #[test]
    fn every_byte_at_every_place_is_found_as_byte_by_byte() {
        for fill in [b'x', b'7', b' ', b'\n'] {
            for length in (0..20).chain([SHORT - 1, SHORT + 1, SHORT + STRIDE, SHORT + 2 * STRIDE + 3]) {
                for at in 0..length {
                    for byte in 0..=u8::MAX {
                        let mut text = vec![fill; length];
                        text[at] = byte;
                        assert_eq!(
                            behind_plain(&text, 0),
                            until(&text, 0, special),
                            "{byte:#x} at {at} of {length}"
                        );
                        if length < 20 {
                            as_byte_by_byte(&text);
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_as_byte_by_byte(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            as_byte_by_byte(&text);
            let rare: Vec<u8> = text.iter().map(|byte| byte | 0x60).collect();
            as_byte_by_byte(&rare);
        }

        #[test]
        fn marks_of_one_kind_do_not_spoil_those_of_another(text in r#"[0-9 \\"\]!#/:\n]{0,24}"#) {
            as_byte_by_byte(text.as_bytes());
        }
    }
}
