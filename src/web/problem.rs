//! Errors outside MCP: `application/problem+json` (RFC 9457). The server adds the request id to each of them on the way
//! out, so that whoever makes one need not know it.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::ids::RequestId;

/// What went wrong and what to do about it, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    retry_after_s: Option<u64>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// Makes a problem. `detail` is a sentence that says what happened, to what, and what to do about it.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after_s(self, seconds: u64) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..self
        }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns what happened, as the client reads it.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn body(&self, id: Option<&RequestId>) -> Vec<u8> {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            instance: id.map(|id| {
                let id: String = url::form_urlencoded::byte_serialize(id.as_str().as_bytes()).collect();
                format!("urn:request:{id}")
            }),
            request_id: id.map(RequestId::as_str),
        };
        // Strings and a number always serialise.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    fn response(self, id: Option<&RequestId>) -> Response {
        let mut response = Response::new(self.body(id).into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // Without `resource_metadata`: that would send clients looking for an authorization server.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.response(None)
    }
}

/// Writes the request's id into a response that is a problem; leaves any other as it is.
pub(crate) fn name(mut response: Response, id: &RequestId) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = problem.body(Some(id)).into();
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
    }
    response
}
