//! JSON bodies, read strictly: an object of known fields, each of its own type; what is wrong is said of the field.

use axum::body::{Body, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::Parts;
use super::query::bad;
use crate::limits::BODY_READ_TIMEOUT;
use crate::protocol::json::Raw;
use crate::web::{Problem, read_body};

/// The fields of one body.
#[derive(Debug, PartialEq)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body that may have these fields; an empty body has none of them.
    ///
    /// # Errors
    /// 400 that names the field, 415, and those of reading.
    pub(super) async fn read(
        parts: &Parts,
        headers: &HeaderMap,
        body: Body,
        known: &[&str],
    ) -> Result<Self, Problem> {
        let text = read_body(body, parts.limits.request_body_bytes_max, BODY_READ_TIMEOUT).await?;
        if text.is_empty() {
            return Ok(Self(Map::new()));
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be JSON, sent with Content-Type: application/json",
            ));
        }
        Self::of(&text, known)
    }

    fn of(text: &[u8], known: &[&str]) -> Result<Self, Problem> {
        let value =
            serde_json::from_slice(text).map_err(|error| bad(format!("the body is no JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(bad("the body must be a JSON object"));
        };
        // Of a key that stands twice another reader may take the other one.
        let read = Raw::parse(&Bytes::copy_from_slice(text)).and_then(|whole| whole.object());
        read.map_err(|error| bad(format!("the body is refused: {error}")))?;
        if let Some(key) = fields.keys().find(|key| !known.contains(&key.as_str())) {
            let key: String = key.chars().take(100).collect();
            let known = known.join(", ");
            return Err(bad(format!("there is no field {key:?} here; there are: {known}")));
        }
        Ok(Self(fields))
    }

    /// Returns a field that is there and not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// Reads a string of 1 to `bytes_max` bytes.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(super) fn text(&self, key: &str, bytes_max: usize) -> Result<Option<&str>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let text = value
            .as_str()
            .filter(|text| (1..=bytes_max).contains(&text.len()));
        let wrong = || bad(format!("`{key}` must be a string of 1 to {bytes_max} bytes"));
        text.map(Some).ok_or_else(wrong)
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let wrong = || bad(format!("`{key}` must be true or false"));
        value.as_bool().map(Some).ok_or_else(wrong)
    }

    /// Reads a list of at most `items_max` strings of 1 to `bytes_max` bytes.
    ///
    /// # Errors
    /// 400 that names the field and the entry.
    pub(super) fn texts(
        &self,
        key: &str,
        items_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Vec<&str>>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let wrong = || bad(format!("`{key}` must be a list of at most {items_max} strings"));
        let items = value.as_array().filter(|items| items.len() <= items_max);
        let mut texts = Vec::new();
        for (index, item) in items.ok_or_else(wrong)?.iter().enumerate() {
            let text = item.as_str().filter(|text| (1..=bytes_max).contains(&text.len()));
            let wrong = || {
                bad(format!(
                    "`{key}[{index}]` must be a string of 1 to {bytes_max} bytes"
                ))
            };
            texts.push(text.ok_or_else(wrong)?);
        }
        Ok(Some(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["userId", "toolkits", "force"];

    #[test]
    fn fields_are_read_each_in_its_type_and_null_is_absent() {
        let text = br#"{"userId":"alice","toolkits":["gmail","github"],"force":true}"#;
        let fields = Fields::of(text, &KNOWN).unwrap();
        assert_eq!(fields.text("userId", 10).unwrap(), Some("alice"));
        assert_eq!(
            fields.texts("toolkits", 2, 10).unwrap().unwrap(),
            ["gmail", "github"]
        );
        assert_eq!(fields.flag("force").unwrap(), Some(true));
        let fields = Fields::of(br#"{"userId":null}"#, &KNOWN).unwrap();
        assert_eq!(fields.text("userId", 10).unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_said_of_its_field() {
        let fields = |text: &str| Fields::of(text.as_bytes(), &KNOWN);
        assert!(fields(r#"{"user":1}"#).unwrap_err().detail().contains("\"user\""));
        assert!(fields("[]").is_err());
        assert!(fields("{").is_err());
        let wrong = fields(r#"{"userId":"","toolkits":["a",1],"force":"yes"}"#).unwrap();
        let told = |problem: Problem| problem.detail().to_owned();
        assert!(told(wrong.text("userId", 5).unwrap_err()).starts_with("`userId` "));
        assert!(told(wrong.texts("toolkits", 5, 5).unwrap_err()).starts_with("`toolkits[1]` "));
        assert!(told(wrong.texts("toolkits", 1, 5).unwrap_err()).starts_with("`toolkits` "));
        assert!(told(wrong.flag("force").unwrap_err()).starts_with("`force` "));
    }
}
