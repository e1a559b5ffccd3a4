//! `X-Request-Id`: the client's own if it is short and visible, else a new one. Goes into every log line of the request,
//! into errors, and back to the client.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock;
use crate::ids::RequestId;
use crate::limits;

/// The header.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Takes the client's id or makes one.
pub(super) fn claim(headers: &HeaderMap) -> RequestId {
    let sent = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    match sent {
        Some(id) if is_valid(id) => RequestId::new(id),
        _ => fresh(),
    }
}

/// Writes the id into the answer.
pub(super) fn echo(headers: &mut HeaderMap, id: &RequestId) {
    // Valid ids are visible ASCII, which is a header value.
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(X_REQUEST_ID, value);
    }
}

fn is_valid(id: &str) -> bool {
    (1..=limits::REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Makes an id: 64 random bits of this process, then the number of the request, scattered. It tells requests apart and
/// proves nothing, so the operating system need not be asked for each.
fn fresh() -> RequestId {
    static PROCESS: LazyLock<(u64, u64)> = LazyLock::new(|| {
        let number = || u64::from_le_bytes(clock::random());
        (number(), number())
    });
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let (prefix, start) = *PROCESS;
    let number = start.wrapping_add(REQUESTS.fetch_add(1, Ordering::Relaxed));
    let bytes = prefix
        .to_be_bytes()
        .into_iter()
        .chain(scattered(number).to_be_bytes());
    let mut digits = [0; 32];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [hex_digit(byte >> 4), hex_digit(byte & 15)];
    }
    RequestId::new(std::str::from_utf8(&digits).unwrap_or_default())
}

const fn hex_digit(value: u8) -> u8 {
    if value < 10 {
        b'0' + value
    } else {
        b'a' + value - 10
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

    fn claimed(sent: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(sent).unwrap());
        claim(&headers)
    }

    #[test]
    fn a_short_visible_id_is_kept_and_any_other_is_replaced() {
        let longest = "x".repeat(limits::REQUEST_ID_BYTES_MAX);
        for id in [
            "1",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "a/b+c=d:e\"f",
            &longest,
        ] {
            assert_eq!(claimed(id).as_str(), id);
        }
        for id in ["", "two words", "tab\there", &format!("{longest}x")] {
            let made = claimed(id);
            assert_eq!(made.as_str().len(), 32, "{id}");
            assert_ne!(made, claimed(id));
        }
        assert_eq!(claim(&HeaderMap::new()).as_str().len(), 32);
    }
}
