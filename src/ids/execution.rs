//! The id of a recorded call: when it began, to the millisecond, and which one of that millisecond it was. The store
//! keeps the 64 bits; people see them as a `UUIDv7` (RFC 9562, section 5.7) whose random bits are a function of the rest,
//! so that nothing more need be kept. An id proves nothing: whose record it is decides who sees it.

use std::fmt;
use std::str::FromStr;

/// Bits that tell the calls of one millisecond apart.
const COUNTER_BITS: u32 = 20;
/// Of these, how many the text has before the variant.
const COUNTER_LOW_BITS: u32 = 8;
/// Bits of the text that are made of the others.
const FILLING_BITS: u32 = 62 - COUNTER_LOW_BITS;

/// Names one recorded call. Later calls of a process have greater ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecutionId(i64);

/// The text names no execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no id of an execution")]
pub struct NoExecutionId;

impl ExecutionId {
    /// Takes the 64 bits back from the store.
    #[must_use]
    pub const fn from_bits(bits: i64) -> Self {
        Self(bits)
    }

    /// Returns the 64 bits, which sort as the ids do.
    #[must_use]
    pub const fn bits(self) -> i64 {
        self.0
    }

    /// Returns the first id of a millisecond since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn first_of(unix_ms: u64) -> Self {
        // 43 bits of milliseconds last until the year 2248.
        Self((unix_ms << COUNTER_BITS).cast_signed() & i64::MAX)
    }

    /// Returns the id that follows this one at a time: of that millisecond, or right behind this one where the clock
    /// stands or goes back.
    #[must_use]
    pub const fn next(self, unix_ms: u64) -> Self {
        let first = Self::first_of(unix_ms).0;
        let next = self.0.saturating_add(1);
        Self(if first > next { first } else { next })
    }

    /// Returns when the call began, in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0.cast_unsigned() >> COUNTER_BITS
    }

    fn uuid(self) -> u128 {
        let bits = u128::from(self.0.cast_unsigned());
        let ms = bits >> COUNTER_BITS;
        let counter = bits & ((1 << COUNTER_BITS) - 1);
        let filling = u128::from(scattered(self.0.cast_unsigned()) >> (64 - FILLING_BITS));
        let (high, low) = (
            counter >> COUNTER_LOW_BITS,
            counter & ((1 << COUNTER_LOW_BITS) - 1),
        );
        ms << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low << FILLING_BITS | filling
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uuid = self.uuid();
        let part = |shift: u32, bits: u32| (uuid >> shift) & ((1 << bits) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 32),
            part(80, 16),
            part(64, 16),
            part(48, 16),
            part(0, 48)
        )
    }
}

impl FromStr for ExecutionId {
    type Err = NoExecutionId;

    fn from_str(text: &str) -> Result<Self, NoExecutionId> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let uuid = u128::from_str_radix(&digits, 16).map_err(|_| NoExecutionId)?;
        let part = |shift: u32, bits: u32| (uuid >> shift) & ((1 << bits) - 1);
        let low = part(FILLING_BITS, COUNTER_LOW_BITS);
        let counter = part(64, 12) << COUNTER_LOW_BITS | low;
        let bits = u64::try_from(part(80, 48) << COUNTER_BITS | counter).map_err(|_| NoExecutionId)?;
        let id = Self(i64::try_from(bits).map_err(|_| NoExecutionId)?);
        // Only the text that we gave: neither other filling nor another spelling.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(NoExecutionId)
        }
    }
}

/// Maps numbers to numbers, one to one, so that neighbours look nothing alike (the finalizer of `SplitMix64`).
const fn scattered(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_000_000_123;

    #[test]
    fn ids_are_a_version_7_uuid_and_come_back_from_it() {
        let mut last = ExecutionId::first_of(NOW_MS);
        for ms in [NOW_MS, NOW_MS, NOW_MS + 7, NOW_MS + 3, 0] {
            let id = last.next(ms);
            assert!(id > last, "later calls have greater ids whatever the clock does");
            let text = id.to_string();
            assert!(text > last.to_string(), "and their texts sort alike");
            assert_eq!(text.len(), 36);
            assert_eq!(&text[14..15], "7", "{text}");
            assert!("89ab".contains(&text[19..20]), "{text}");
            assert_eq!(text.parse(), Ok(id));
            last = id;
        }
        assert_eq!(last.unix_ms(), NOW_MS + 7);
    }

    #[test]
    fn what_we_did_not_write_is_no_id() {
        let text = ExecutionId::first_of(NOW_MS).to_string();
        let other = if text.ends_with('0') { "1" } else { "0" };
        for wrong in [
            format!("{}{other}", &text[..35]),
            text.replace('-', ""),
            text.to_uppercase(),
            format!("-{text}"),
            String::new(),
            "x".repeat(36),
            "f".repeat(40),
            "ffffffff-ffff-7fff-bfff-ffffffffffff".to_owned(),
        ] {
            assert_eq!(wrong.parse::<ExecutionId>(), Err(NoExecutionId), "{wrong}");
        }
    }
}
