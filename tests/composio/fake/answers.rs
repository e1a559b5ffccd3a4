//! Answers, and the bodies of errors: `{"error": {"message", "code", "slug", "status", …}}`.

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

/// What a route says; an error is an answer too.
pub(super) type Outcome = Result<Reply, Reply>;

#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Said,
}

#[derive(Clone, Debug)]
pub(super) enum Said {
    Nothing,
    Json(Value),
    Html(String),
    /// Sent as JSON, whatever it is, unless a header says otherwise.
    Text(String),
    /// One message of an event stream.
    Event(Value),
    /// The connection breaks before the body is there.
    Cut,
}

impl Reply {
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Said::Json(body),
        }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Said::Nothing,
        }
    }

    pub(super) fn html(status: u16, page: String) -> Self {
        Self {
            body: Said::Html(page),
            ..Self::empty(status)
        }
    }

    pub(super) fn event(message: Value) -> Self {
        Self {
            body: Said::Event(message),
            ..Self::empty(200)
        }
    }

    pub(super) fn cut() -> Self {
        Self {
            body: Said::Cut,
            ..Self::empty(200)
        }
    }

    pub(super) fn see_other(location: &str) -> Self {
        Self::empty(303).with("location", location)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// An error of the API.
    pub(super) fn error(status: u16, code: i64, slug: &str, message: &str) -> Self {
        Self::json(status, error_body(status, code, slug, message))
    }

    /// A body that breaks the schema: each fault with the place that it is at.
    pub(super) fn bad_payload(faults: &[String]) -> Self {
        let mut body = error_body(400, 10400, "HTTP_BadRequest", "Invalid request data provided");
        body["error"]["errors"] = json!(faults);
        Self::json(400, body)
    }

    /// A session that cannot be as it is wanted.
    pub(super) fn bad_session(message: &str) -> Self {
        Self::error(400, 4300, "ToolRouterV2_BadRequest", message)
    }

    /// Something that is not there, or is another project's.
    pub(super) fn not_found(what: &str, slug: &str) -> Self {
        // The numbers of these are not known. [I]
        Self::error(404, 10404, slug, &format!("{what} not found"))
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let (kind, body) = match self.body {
            Said::Nothing => (None, Body::empty()),
            Said::Json(value) => (Some("application/json"), Body::from(value.to_string())),
            Said::Text(text) => (Some("application/json"), Body::from(text)),
            Said::Html(page) => (Some("text/html; charset=utf-8"), Body::from(page)),
            Said::Event(message) => {
                let text = format!("event: message\ndata: {message}\n\n");
                (Some("text/event-stream"), Body::from(text))
            }
            Said::Cut => {
                let broken = std::io::Error::other("the fake breaks off");
                let parts = [Ok(Bytes::from_static(b"{")), Err(broken)];
                (Some("application/json"), Body::from_stream(stream::iter(parts)))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::IM_A_TEAPOT);
        if let Some(kind) = kind {
            let value = axum::http::HeaderValue::from_static(kind);
            response.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// An answer that a test wants in the place of the honest one.
#[derive(Clone)]
pub(crate) struct Odd {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: String,
}

impl From<Odd> for Reply {
    fn from(odd: Odd) -> Self {
        let reply = Self {
            body: Said::Text(odd.body),
            ..Self::empty(odd.status)
        };
        let with = |reply: Self, (name, value): (&'static str, &'static str)| reply.with(name, value);
        odd.headers.into_iter().fold(reply, with)
    }
}

pub(crate) fn odd(status: u16, body: &Value) -> Odd {
    Odd {
        status,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

pub(crate) fn error_body(status: u16, code: i64, slug: &str, message: &str) -> Value {
    json!({ "error": { "message": message, "code": code, "slug": slug, "status": status,
        "request_id": super::world::uuid(), "suggested_fix": "Look at the documentation." } })
}
