//! What goes wrong with Composio's API. The texts are read by operators behind "gateway NAME is not available:"; they
//! say what Composio said, cut to a sentence, without the key and without a session's id.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use crate::limits::{COMPOSIO_API_ANSWER_BYTES_MAX, COMPOSIO_API_TIMEOUT};

/// What an error of Composio tells of itself, in at most this many characters a part.
const TEXT_CHARS_MAX: usize = 240;
/// What Composio's own secrets begin with: the id of a session, the token of a link, keys.
const SECRETS_BEGIN: [&str; 4] = ["trs_", "lk_", "ak_", "uak_"];

/// Why the API gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The settings cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// Nothing was sent: the user is one that Composio takes for nobody.
    #[error(
        "the user `default` can have no Composio session, since Composio takes that name for nobody in particular; \
         give the user another name"
    )]
    Nobody,
    /// No connection came about; nothing was sent.
    #[error("Composio cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("Composio's API gave no answer within {} ms", COMPOSIO_API_TIMEOUT.as_millis())]
    Timeout,
    /// The connection broke before the answer was there.
    #[error("the connection to Composio broke: {0}")]
    Broken(String),
    /// 401. A key without the permission that is needed may get this as well.
    #[error(
        "Composio refused the key (HTTP 401{said}); set COMPOSIO_API_KEY, or the gateway's `api_key`, to the key of a \
         project (ak_…) that may manage sessions"
    )]
    Unauthorized {
        /// What Composio said, in front of it a blank.
        said: String,
    },
    /// 403.
    #[error("Composio does not allow this to the project of the key (HTTP 403{said})")]
    Forbidden {
        /// What Composio said.
        said: String,
    },
    /// 404 or 410.
    #[error("Composio does not know the {0}")]
    NotFound(
        /// What was asked about, such as `session`.
        &'static str,
    ),
    /// 429: nothing was processed.
    #[error("Composio's rate limit is reached (HTTP 429{said}); {}", again(*.retry_after))]
    RateLimited {
        /// What Composio said.
        said: String,
        /// When it may be tried again.
        retry_after: Option<Duration>,
    },
    /// Any other status that is no success.
    #[error("Composio answered HTTP {status}{said}")]
    Status {
        /// The status.
        status: StatusCode,
        /// What Composio said.
        said: String,
    },
    /// A redirect; the key goes nowhere else.
    #[error("Composio's API redirects (HTTP {0}); set the gateway's `base_url` to where it really is")]
    Redirect(StatusCode),
    /// An answer that is too large.
    #[error("Composio's API sent more than {COMPOSIO_API_ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// Nothing was sent: we are at the end.
    #[error("we are shutting down")]
    ShutDown,
    /// A success that cannot be used.
    #[error("Composio's API gave a session that cannot be used: {0}; is `base_url` Composio's API?")]
    NotASession(&'static str),
    /// A success that cannot be read.
    #[error("what Composio's API answered describes no {0}; is `base_url` Composio's API?")]
    Unread(
        /// What it should have been.
        &'static str,
    ),
}

/// The body of an error. Live ones lack fields that the specification requires, and write some otherwise.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Option<Value>,
    message: Option<Value>,
}

impl ApiError {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let cause = root_cause(error);
        if error.is_connect() || error.is_builder() {
            Self::Unreachable(cause)
        } else {
            Self::Broken(cause)
        }
    }

    /// Reads a status that came at a session's MCP endpoint; `None` where it is not in the form of Composio's errors.
    pub(super) fn at_endpoint(
        status: StatusCode,
        retry_after: &str,
        body: &[u8],
        secrets: &[&str],
    ) -> Option<Self> {
        let said = said(body, secrets);
        if status == StatusCode::TOO_MANY_REQUESTS {
            let seconds = retry_after.trim().parse().ok();
            let retry_after = seconds.map(Duration::from_secs);
            return Some(Self::RateLimited { said, retry_after });
        }
        (!said.is_empty()).then_some(Self::Status { status, said })
    }

    /// Reads a status that is no success. Of what Composio says, `secrets` are not shown.
    pub(super) fn of_status(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        about: Option<&'static str>,
        secrets: &[&str],
    ) -> Self {
        let said = said(body, secrets);
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized { said },
            StatusCode::FORBIDDEN => Self::Forbidden { said },
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited {
                said,
                retry_after: retry_after(headers),
            },
            status => match about {
                Some(noun) if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) => {
                    Self::NotFound(noun)
                }
                _ => Self::Status { status, said },
            },
        }
    }

    /// Tells whether Composio named its error by one of these slugs or numbers.
    #[must_use]
    pub fn is_named(&self, names: &[&str]) -> bool {
        let (Self::Status { said, .. } | Self::Unauthorized { said } | Self::Forbidden { said }) = self
        else {
            return false;
        };
        let name = said.trim_start().split([':', ' ']).next().unwrap_or_default();
        names.contains(&name)
    }

    /// Tells whether the request was certainly not processed.
    #[must_use]
    pub fn unprocessed(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::RateLimited { .. })
    }

    /// Tells whether the same may work a moment later.
    #[must_use]
    pub fn passing(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT)
            }
            Self::Timeout | Self::Broken(_) => true,
            other => other.unprocessed(),
        }
    }

    /// Tells whether a request to make something may have made it although this came of it.
    #[must_use]
    pub fn may_have_made(&self) -> bool {
        match self {
            Self::Timeout | Self::Broken(_) | Self::TooLarge | Self::NotASession(_) | Self::Unread(_) => true,
            Self::Status { .. } => self.passing(),
            _ => false,
        }
    }

    /// Tells whether an account that a session is bound to is gone (4306): a session is then refused as a whole.
    #[must_use]
    pub fn names_dead_accounts(&self) -> bool {
        matches!(self, Self::Status { status, said } if *status == StatusCode::BAD_REQUEST
            && said.contains("ToolRouterV2_InvalidConnectedAccountIds"))
    }

    /// Returns how long Composio wants nothing to be asked.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Puts what an error says into a few words: ` ToolRouterV2_BadRequest: message (suggested fix)`.
fn said(body: &[u8], secrets: &[&str]) -> String {
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let error = body.error.unwrap_or_default();
    let text = |names: &[&str]| {
        let value = names.iter().find_map(|name| match error.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Array(texts) => {
                let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
                Some(texts.join("; "))
            }
            _ => None,
        })?;
        let value = plain(&value, secrets);
        (!value.is_empty()).then_some(value)
    };
    let bare = error.as_str().or_else(|| body.message.as_ref()?.as_str());
    let message = text(&["message"]).or_else(|| Some(plain(bare?, secrets)));
    let mut said = String::new();
    if let Some(slug) = text(&["slug"]).or_else(|| text(&["code"])) {
        said.extend([" ", &slug]);
    }
    if let Some(message) = message {
        said.extend([": ", &message]);
    }
    if let Some(errors) = text(&["errors"]) {
        said.extend([": ", &errors]);
    }
    if let Some(fix) = text(&["suggested_fix", "suggestedFix"]) {
        said.extend([" (", &fix, ")"]);
    }
    said
}

/// Cuts a text of Composio to what fits into a line, without what must not be shown.
fn plain(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret, "***");
    }
    without_secrets(&text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TEXT_CHARS_MAX)
        .collect()
}

/// Replaces what has the form of a secret of Composio's, whosever it is.
fn without_secrets(text: &str) -> String {
    let of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let shown = |part: &str| {
        let (word, end) = part.split_at(part.trim_end_matches(|c| !of_word(c)).len());
        let secret = SECRETS_BEGIN
            .iter()
            .any(|begin| word.len() > begin.len() && word.starts_with(begin));
        format!("{}{end}", if secret { "***" } else { word })
    };
    text.split_inclusive(|c| !of_word(c)).map(shown).collect()
}

/// Says when something may be asked again.
fn again(retry_after: Option<Duration>) -> String {
    match retry_after.map(|wait| wait.as_millis().div_ceil(1000)) {
        Some(1) => "try again in 1 second".to_owned(),
        Some(seconds) => format!("try again in {seconds} seconds"),
        None => "try again later".to_owned(),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: HeaderName| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    number(HeaderName::from_static("retry-after-ms"))
        .map(Duration::from_millis)
        .or_else(|| number(header::RETRY_AFTER).map(Duration::from_secs))
}

/// Returns the innermost reason, which never holds the URL.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, std::ptr::from_ref(error)) {
        return "the request failed".to_owned();
    }
    plain(&cause.to_string(), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_the_form_of_a_secret_is_not_shown_whosever_it_is() {
        let body = |message: &str| serde_json::json!({ "error": { "message": message } }).to_string();
        for (message, shown) in [
            (
                "Tool router session with ID trs_a-B_9 not found",
                "session with ID *** not found",
            ),
            (
                "see https://h/tool_router/trs_a/mcp",
                "https://h/tool_router/***/mcp",
            ),
            ("link lk_0123 is used", "link *** is used"),
            ("Invalid API key: ak_s3c******", "key: *********"),
            (
                "another's uak_1, and ours: the-key",
                "another's ***, and ours: ***",
            ),
            (
                "`trs_` begins an id; speak_up; weak_1",
                "`trs_` begins an id; speak_up; weak_1",
            ),
        ] {
            let said = said(body(message).as_bytes(), &["the-key"]);
            assert!(said.ends_with(shown), "{said}");
        }
    }
}
