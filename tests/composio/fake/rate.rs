//! The budget of requests: an organisation's, shared by whatever carries its key. The headers are always there; the
//! limit holds once a test has set one.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answers::Reply;

const WINDOW_MS: u64 = 60_000;
/// What the headers tell of while no limit is set: that of the Pro plan.
const USUAL: u64 = 10_000;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rate {
    /// Requests a minute; absent: any number.
    pub(super) limit: Option<u64>,
    window_at_ms: u64,
    used: u64,
}

impl Rate {
    /// Counts a request; returns the headers of its answer, or the refusal: a bare message.
    pub(super) fn take(&mut self, now_ms: u64) -> Result<[(&'static str, String); 3], Reply> {
        if now_ms >= self.window_at_ms + WINDOW_MS {
            (self.window_at_ms, self.used) = (now_ms, 0);
        }
        let limit = self.limit.unwrap_or(USUAL);
        self.used += 1;
        let headers = [
            ("x-ratelimit", limit.to_string()),
            (
                "x-ratelimit-remaining",
                limit.saturating_sub(self.used).to_string(),
            ),
            ("x-ratelimit-window-size", "60s".to_owned()),
        ];
        if self.limit.is_none_or(|limit| self.used <= limit) {
            return Ok(headers);
        }
        let seconds = (self.window_at_ms + WINDOW_MS - now_ms).div_ceil(1000);
        let body = json!({ "message": format!("Rate limit exceeded. Limit: {limit}") });
        let refused = Reply::json(429, body).with("retry-after", seconds.to_string());
        let with = |reply: Reply, (name, value)| reply.with(name, value);
        Err(headers.into_iter().fold(refused, with))
    }
}
