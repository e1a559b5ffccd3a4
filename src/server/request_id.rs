//! `X-Request-Id`: the client's own if it is short and visible, else a new one. Goes into every log line of the request,
//! into errors, and back to the client.

use std::fmt::Write as _;

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

fn fresh() -> RequestId {
    let mut text = String::with_capacity(32);
    for byte in clock::random::<16>() {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    RequestId::new(&text)
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
