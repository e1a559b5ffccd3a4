//! HTTP headers of Streamable HTTP (2026-07-28, Transports, "Request Headers"; SEP-2243).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};

/// The protocol revision; from 2025-06-18 on.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// A legacy session.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The method, in modern requests.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The name, URI or task id, in modern requests that have one.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// Where to resume a legacy stream.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Begins the name of each header that mirrors an argument.
pub const PARAM_PREFIX: &str = "mcp-param-";
/// Asks nginx and its like not to buffer a stream.
pub const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const SENTINEL_START: &str = "=?base64?";
const SENTINEL_END: &str = "?=";

/// Writes a text as a header value: as it is where it can travel so, else in the Base64 form.
#[must_use]
pub fn encode_value(text: &str) -> HeaderValue {
    let plain = text
        .bytes()
        .all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte));
    let trimmed = text.trim_matches([' ', '\t']).len() == text.len();
    if plain
        && trimmed
        && !looks_encoded(text)
        && let Ok(value) = HeaderValue::from_str(text)
    {
        return value;
    }
    let encoded = format!("{SENTINEL_START}{}{SENTINEL_END}", STANDARD.encode(text));
    HeaderValue::from_str(&encoded).unwrap_or(HeaderValue::from_static(""))
}

/// Reads a header value that [`encode_value`] or its like wrote; `None` when it is malformed.
#[must_use]
pub fn decode_value(value: &HeaderValue) -> Option<String> {
    let text = std::str::from_utf8(value.as_bytes())
        .ok()?
        .trim_matches([' ', '\t']);
    if !looks_encoded(text) {
        return Some(text.to_owned());
    }
    let inner = text.strip_prefix(SENTINEL_START)?.strip_suffix(SENTINEL_END)?;
    String::from_utf8(STANDARD.decode(inner).ok()?).ok()
}

fn looks_encoded(text: &str) -> bool {
    text.len() >= SENTINEL_START.len() + SENTINEL_END.len()
        && text.starts_with(SENTINEL_START)
        && text.ends_with(SENTINEL_END)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_base64_is_refused() {
        for text in ["=?base64?QQ?=", "=?base64?Q*==?=", "=?base64?/w==?="] {
            assert_eq!(
                decode_value(&HeaderValue::from_str(text).unwrap()),
                None,
                "{text}"
            );
        }
    }

    #[test]
    fn what_looks_encoded_is_encoded_again() {
        let value = encode_value("=?base64?QQ==?=");
        assert_ne!(value.as_bytes(), b"=?base64?QQ==?=");
        assert_eq!(decode_value(&value).unwrap(), "=?base64?QQ==?=");
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in any::<String>()) {
            prop_assert_eq!(decode_value(&encode_value(&text)).unwrap(), text);
        }
    }
}
