//! Where a string of JSON text stops to be plain.

use memchr::memchr2;

/// Bytes that are looked at together where a string is long.
const STRIDE: usize = 32;
/// A string is long behind so many bytes.
const SHORT: usize = 64;

/// Collects the bytes of strings: none had its top bit set when it is not set here, so all were ASCII.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen(u64);

impl Seen {
    pub(super) fn is_ascii(self) -> bool {
        self.0 & TOPS == 0
    }
}

/// Returns how much of a text stands before the first byte that means something in a string: a quote, a backslash, or
/// a control character that must not be there. Most strings are short: the first bytes are looked at word by word,
/// the rest by vectors.
#[expect(clippy::inline_always, reason = "most strings are shorter than a call")]
#[inline(always)]
pub(super) fn plain(text: &[u8], seen: &mut Seen) -> Option<usize> {
    let mut plain = 0;
    while let Some(word) = text.get(plain..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*word);
        seen.0 |= word;
        let found = special_bytes(word);
        if found != 0 {
            return Some(plain + found.trailing_zeros() as usize / 8);
        }
        plain += 8;
        if plain == SHORT {
            return in_long(text, seen);
        }
    }
    by_bytes(text, plain, seen)
}

/// Goes on where the first bytes are plain.
#[inline(never)]
fn in_long(text: &[u8], seen: &mut Seen) -> Option<usize> {
    let rest = text.get(SHORT..).unwrap_or_default();
    let found = memchr2(b'"', b'\\', rest).map(|found| SHORT + found);
    let run = text.get(..found.unwrap_or(text.len())).unwrap_or_default();
    if !run.is_ascii() {
        seen.0 = TOPS;
    }
    // The last stride overlaps the one before, so that none is left that is shorter.
    let (strides, last) = (run.as_chunks::<STRIDE>().0, run.last_chunk::<STRIDE>());
    if strides.iter().chain(last).any(has_control) {
        return by_bytes(run, 0, seen);
    }
    found
}

fn has_control(stride: &[u8; STRIDE]) -> bool {
    stride.iter().copied().fold(u8::MAX, u8::min) < 0x20
}

/// Goes on from a place byte by byte.
#[inline(never)]
fn by_bytes(text: &[u8], from: usize, seen: &mut Seen) -> Option<usize> {
    let rest = text.get(from..)?;
    let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    let found = rest.iter().position(special);
    if !rest.get(..found.unwrap_or(rest.len()))?.is_ascii() {
        seen.0 = TOPS;
    }
    found.map(|found| from + found)
}

const TOPS: u64 = u64::from_le_bytes([0x80; 8]);

/// Marks the top bit of special bytes. Marks above the lowest may be wrong: a borrow runs upwards.
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // Without its second bit a quote stands right behind the control characters, and nothing else comes between.
    let quotes_and_controls = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslashes = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (quotes_and_controls | backslashes) & !word & TOPS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn special(byte: u8) -> bool {
        byte == b'"' || byte == b'\\' || byte < 0x20
    }

    fn plain_length(text: &[u8]) -> Option<usize> {
        let mut seen = Seen::default();
        let found = plain(text, &mut seen);
        let passed = &text[..found.unwrap_or(text.len())];
        assert!(passed.is_ascii() || !seen.is_ascii(), "{text:?} is not all ASCII");
        found
    }

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
