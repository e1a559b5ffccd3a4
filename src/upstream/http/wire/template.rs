//! What the requests of one wire have in common, written once, and each request written from it.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::super::client::{Request, Target};
use crate::limits::REQUEST_BYTES_IN_ONE_PIECE;

/// The head of a request mostly fits here.
const HEAD_BYTES_USUAL: usize = 512;

/// What a request asks for, and what it says of its body.
#[derive(Clone, Copy)]
pub(super) enum Method {
    Get,
    Post,
    Delete,
}

impl Method {
    /// Returns the name, and the fields that it brings.
    const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Get => ("GET ", "accept: text/event-stream\r\n"),
            Self::Post => (
                "POST ",
                "content-type: application/json\r\naccept: application/json, text/event-stream\r\n",
            ),
            Self::Delete => ("DELETE ", ""),
        }
    }
}

/// Where requests go, and what each of them says. Both may be secrets.
pub(super) struct Template {
    pub(super) target: Target,
    /// The headers that every request has.
    headers: HeaderMap,
    /// What stands behind the method: path, `Host`, and those headers.
    front: Bytes,
}

impl Template {
    pub(super) fn new(target: Target, headers: HeaderMap) -> Self {
        Self {
            front: front(&target, &headers),
            target,
            headers,
        }
    }

    /// Writes a request. The headers of a call win over those that are always sent.
    pub(super) fn request(&self, method: Method, headers: &HeaderMap, body: Bytes) -> Request {
        let in_one_piece = body.len() <= REQUEST_BYTES_IN_ONE_PIECE;
        let (name, own) = method.text();
        let room = HEAD_BYTES_USUAL + self.front.len() + if in_one_piece { body.len() } else { 0 };
        let mut text = BytesMut::with_capacity(room);
        text.extend_from_slice(name.as_bytes());
        if headers.keys().any(|name| self.headers.contains_key(name)) {
            let others = self
                .headers
                .iter()
                .filter(|(name, _)| !headers.contains_key(*name));
            let others = others
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            text.extend_from_slice(&front(&self.target, &others));
        } else {
            text.extend_from_slice(&self.front);
        }
        text.extend_from_slice(own.as_bytes());
        for (name, value) in headers {
            field(&mut text, name, value);
        }
        if matches!(method, Method::Post) {
            field(&mut text, &header::CONTENT_LENGTH, &HeaderValue::from(body.len()));
        }
        text.extend_from_slice(b"\r\n");
        let rest = if in_one_piece {
            text.extend_from_slice(&body);
            Bytes::new()
        } else {
            body
        };
        let front = text.freeze();
        Request { front, rest }
    }
}

fn front(target: &Target, headers: &HeaderMap) -> Bytes {
    let mut text = BytesMut::with_capacity(HEAD_BYTES_USUAL);
    text.extend_from_slice(target.path.to_string().as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    field(&mut text, &header::HOST, &target.host);
    for (name, value) in headers {
        field(&mut text, name, value);
    }
    text.freeze()
}

/// Writes a header. Both are what HTTP allows, by their types.
fn field(text: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    text.extend_from_slice(name.as_str().as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value.as_bytes());
    text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn template() -> Template {
        let target = Target::of(&Url::parse("http://a.example:81/mcp?key=1").unwrap()).unwrap();
        Template::new(target, headers(&[("x-key", "k"), ("traceparent", "ours")]))
    }

    fn written(method: Method, of_call: &[(&'static str, &'static str)], body: &[u8]) -> (String, usize) {
        let request = template().request(method, &headers(of_call), Bytes::copy_from_slice(body));
        (
            String::from_utf8(request.front.to_vec()).unwrap(),
            request.rest.len(),
        )
    }

    #[test]
    fn a_request_is_its_template_its_own_headers_and_its_body() {
        let (text, rest) = written(Method::Post, &[("mcp-session-id", "s")], b"{}");
        let expected = "POST /mcp?key=1 HTTP/1.1\r\nhost: a.example:81\r\nx-key: k\r\ntraceparent: ours\r\n\
            content-type: application/json\r\naccept: application/json, text/event-stream\r\nmcp-session-id: s\r\n\
            content-length: 2\r\n\r\n{}";
        assert_eq!((text.as_str(), rest), (expected, 0));
        let (text, _) = written(Method::Get, &[], b"");
        assert!(
            text.ends_with("traceparent: ours\r\naccept: text/event-stream\r\n\r\n"),
            "{text}"
        );
        let (text, _) = written(Method::Delete, &[], b"");
        assert!(
            text.starts_with("DELETE /mcp") && text.ends_with("traceparent: ours\r\n\r\n"),
            "{text}"
        );
    }

    #[test]
    fn a_header_of_the_call_stands_in_place_of_the_same_one() {
        let (text, _) = written(Method::Post, &[("traceparent", "its")], b"");
        assert_eq!(text.matches("traceparent").count(), 1, "{text}");
        assert!(
            text.contains("traceparent: its\r\n") && text.contains("x-key: k\r\n"),
            "{text}"
        );
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let body = vec![b'x'; REQUEST_BYTES_IN_ONE_PIECE + 1];
        let (text, rest) = written(Method::Post, &[], &body);
        assert!(
            text.ends_with(&format!("content-length: {}\r\n\r\n", body.len())),
            "{text}"
        );
        assert_eq!(rest, body.len());
    }
}
