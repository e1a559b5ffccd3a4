//! A request as it came, taken apart.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use serde_json::Value;

pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) raw: Bytes,
    /// The body as JSON; null where there is none, or where it is none.
    pub(super) body: Value,
    /// Whether there was a body that is no JSON.
    pub(super) unreadable: bool,
}

impl Asked {
    pub(super) fn new(method: Method, uri: &Uri, headers: HeaderMap, raw: Bytes) -> Self {
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let body = serde_json::from_slice(&raw);
        Self {
            method,
            path: uri.path().to_owned(),
            query: query.into_owned().collect(),
            headers,
            unreadable: body.is_err() && !raw.is_empty(),
            body: body.unwrap_or_default(),
            raw,
        }
    }

    /// The parts of the path, percent-decoded.
    pub(super) fn segments(&self) -> Vec<String> {
        let decoded = |part: &str| {
            let parsed = url::form_urlencoded::parse(part.as_bytes()).next();
            parsed.map_or_else(String::new, |(name, _)| name.into_owned())
        };
        self.path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(decoded)
            .collect()
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// An array of the query: one parameter, joined by commas.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        let parts = |value: &str| value.split(',').map(str::to_owned).collect();
        self.query(name).map(parts)
    }

    /// Whether something is in an array of the query, or the array is not there.
    pub(super) fn lists(&self, name: &str, value: &str) -> bool {
        self.list(name)
            .is_none_or(|list| list.iter().any(|one| one == value))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A text of the body.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.body.get(key).and_then(Value::as_str)
    }
}
