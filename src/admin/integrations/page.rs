//! The page that a browser comes back to: says what came of it and what to do now. Nothing of it can be clicked or run;
//! it names the toolkit and nothing else, no user, no account, no state.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

/// The only style; the policy admits it by its hash.
const STYLE: &str = "body{font:18px/1.5 system-ui,sans-serif;max-width:34em;margin:18vh auto;padding:0 1.5em;\
                     color:#1d1d1f;background:#fff}h1{font-size:1.5em}p{color:#444}\
                     @media(prefers-color-scheme:dark){body{color:#eee;background:#111}p{color:#bbb}}";

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) status: StatusCode,
    /// `connected`, `pending` or `failed`, for whoever reads the page by program.
    pub(super) outcome: &'static str,
    pub(super) title: String,
    pub(super) text: String,
}

impl Message {
    pub(super) fn response(&self) -> Response {
        let mut html = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
        html.push_str("<meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">");
        let (title, text) = (escaped(&self.title), escaped(&self.text));
        let _ = write!(
            html,
            "<title>{title}</title><style>{STYLE}</style></head><body data-outcome=\"{}\"><h1>{title}</h1><p>{text}</p></body></html>",
            self.outcome
        );
        html.push('\n');
        let mut response = Response::new(html.into());
        *response.status_mut() = self.status;
        let fixed: [(HeaderName, &'static str); 6] = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            // The address of the page has the state in it.
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            ),
        ];
        for (name, value) in fixed {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        if let Ok(policy) = HeaderValue::from_str(&POLICY) {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// Writes a text so that it is text, wherever in a page it stands.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn whatever_a_page_says_is_text_and_its_policy_admits_nothing_but_its_style() {
        let message = Message {
            status: StatusCode::OK,
            outcome: "connected",
            title: "<script>alert('1')</script>".to_owned(),
            text: "\"&\"".to_owned(),
        };
        let response = message.response();
        let policy = response.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()[REFERRER_POLICY], "no-referrer");
        let html = response.into_body().collect().await.unwrap().to_bytes();
        let html = String::from_utf8(html.to_vec()).unwrap();
        assert!(
            !html.contains("<script") && html.contains("&lt;script&gt;alert(&#39;1&#39;)"),
            "{html}"
        );
        assert!(html.contains("<p>&quot;&amp;&quot;</p>"), "{html}");
        assert!(
            html.contains(&format!("<style>{STYLE}</style>")),
            "what is hashed is what is there"
        );
    }
}
