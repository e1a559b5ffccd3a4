//! Which era a request speaks. Decided by metadata, never by the method alone: modern rules also hold for methods that
//! only the legacy era has (2026-07-28, Versioning, "Serving Both Eras").

use http::{HeaderMap, HeaderValue};

use crate::protocol::headers;
use crate::protocol::message::Message;
use crate::protocol::meta;
use crate::protocol::version::{Era, ProtocolVersion};

/// The rules that a request is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Handshake, sessions, GET and DELETE.
    Legacy,
    /// Stateless. Also for versions that nobody knows, so that the client learns which there are.
    Modern,
}

/// Decides for a POST.
pub(super) fn of(headers: &HeaderMap, message: &Message) -> Spoken {
    let meta = match message {
        Message::Request(request) => request.meta.as_ref(),
        Message::Notification(notification) => notification.meta.as_deref(),
        Message::Response(_) => None,
    };
    if meta.is_some_and(|meta| meta.has(meta::PROTOCOL_VERSION)) {
        return Spoken::Modern;
    }
    of_headers(headers)
}

/// Decides where there is no message.
pub(super) fn of_headers(headers: &HeaderMap) -> Spoken {
    let spoken = |text: &str| match ProtocolVersion::parse(text).map(ProtocolVersion::era) {
        Some(Era::Legacy) => Spoken::Legacy,
        Some(Era::Modern) | None => Spoken::Modern,
    };
    let mut values = headers.get_all(headers::PROTOCOL_VERSION).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Spoken::Legacy,
        // One value, said once: what nearly everybody sends.
        (Some(Ok(text)), None) if !text.contains([',', ' ']) => spoken(text),
        _ => version(headers).map_or(Spoken::Legacy, |text| spoken(&text)),
    }
}

/// Reads the version header. Some hops double it, as a second line or comma-joined: one value said twice is one value.
pub(super) fn version(headers: &HeaderMap) -> Option<String> {
    let mut found: Option<String> = None;
    for value in headers.get_all(headers::PROTOCOL_VERSION) {
        let text = String::from_utf8_lossy(value.as_bytes());
        for part in text.split(',').map(str::trim) {
            match &found {
                Some(first) if first != part => return Some(text.trim().to_owned()),
                Some(_) => {}
                None => found = Some(part.to_owned()),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn decided(versions: &[&'static str], text: &str) -> Spoken {
        let mut map = HeaderMap::new();
        for version in versions {
            map.append(headers::PROTOCOL_VERSION, HeaderValue::from_static(version));
        }
        of(&map, &Message::parse(Bytes::from(text.to_owned())).unwrap())
    }

    #[test]
    fn metadata_decides_not_the_method() {
        let bare = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
        let with_meta = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        assert_eq!(decided(&[], bare), Spoken::Legacy);
        assert_eq!(decided(&["2025-06-18"], bare), Spoken::Legacy);
        assert_eq!(decided(&["2026-07-28"], bare), Spoken::Modern);
        assert_eq!(decided(&["2099-01-01"], bare), Spoken::Modern);
        assert_eq!(decided(&[], with_meta), Spoken::Modern);
        assert_eq!(decided(&["2025-11-25"], with_meta), Spoken::Modern);
    }

    #[test]
    fn a_version_header_that_a_hop_doubled_is_one_version() {
        let bare = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        assert_eq!(decided(&["2025-11-25, 2025-11-25"], bare), Spoken::Legacy);
        assert_eq!(decided(&["2025-11-25", "2025-11-25"], bare), Spoken::Legacy);
        assert_eq!(
            decided(&["2025-11-25, 2025-06-18"], bare),
            Spoken::Modern,
            "and then -32022 or -32020"
        );
    }
}
