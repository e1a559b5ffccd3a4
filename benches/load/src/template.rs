//! Requests that are written once and then only numbered: every `##########` becomes the number of the call.

use std::fmt::Write as _;

/// What is replaced; ten digits keep every length as it is.
const MARK: &str = "##########";

/// A request, or a part of the answer that is expected for it.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    marks: Vec<usize>,
}

impl Template {
    pub(crate) fn new(text: &str) -> Self {
        let marks = text.match_indices(MARK).map(|(at, _)| at).collect();
        Self {
            bytes: text.as_bytes().to_vec(),
            marks,
        }
    }

    /// Writes the number in and returns the whole.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        let mut digits = [b'0'; MARK.len()];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for at in &self.marks {
            self.bytes[*at..at + MARK.len()].copy_from_slice(&digits);
        }
        &self.bytes
    }
}

/// Where requests go and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) path: &'static str,
    pub(crate) key: String,
}

/// The era that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Legacy,
    Modern,
}

const MODERN_META: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1.0.0"},"io.modelcontextprotocol/clientCapabilities":{}"#;

/// Writes a POST of a legacy client; `session` once it has one.
pub(crate) fn legacy(door: &Door, session: Option<&str>, body: &str) -> String {
    let mut headers = String::new();
    if let Some(session) = session {
        let _ = write!(
            headers,
            "MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: {session}\r\n"
        );
    }
    post(door, &headers, body)
}

/// Writes a POST of a modern client. `params` are the members of `params` beside `_meta`.
pub(crate) fn modern(door: &Door, method: &str, name: Option<&str>, params: &str, meta: &str) -> String {
    let mut headers = format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n");
    if let Some(name) = name {
        let _ = write!(headers, "Mcp-Name: {name}\r\n");
    }
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{MARK},"method":"{method}","params":{{{params}"_meta":{{{MODERN_META}{meta}}}}}}}"#
    );
    post(door, &headers, &body)
}

/// Writes a request without a body, of a legacy client.
pub(crate) fn bare(door: &Door, method: &str, session: &str) -> String {
    let (path, key) = (door.path, &door.key);
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nAccept: text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: {session}\r\n\r\n"
    )
}

fn post(door: &Door, headers: &str, body: &str) -> String {
    let (path, key, length) = (door.path, &door.key, body.len());
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nUser-Agent: toolgate-bench/1.0\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_becomes_the_number() {
        let mut template = Template::new(r#"{"id":##########,"text":"call ##########"}"#);
        assert_eq!(
            template.numbered(42),
            br#"{"id":0000000042,"text":"call 0000000042"}"#
        );
        assert_eq!(
            template.numbered(1_000_000_007),
            br#"{"id":1000000007,"text":"call 1000000007"}"#
        );
    }
}
