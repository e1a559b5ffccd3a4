//! The messages of one response as they come.

use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use crate::peer::PATIENCE;

/// Reads the messages of a response, JSON or stream.
#[derive(Debug)]
pub(crate) struct Reader {
    response: reqwest::Response,
    pub(crate) status: u16,
    stream: bool,
    /// The id of the last event that had one.
    pub(crate) last_id: Option<String>,
    text: Vec<u8>,
    over: bool,
}

impl Reader {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        let kind = response.headers().get(CONTENT_TYPE);
        let stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        Self {
            status: response.status().as_u16(),
            response,
            stream,
            last_id: None,
            text: Vec::new(),
            over: false,
        }
    }

    /// Returns the next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if self.stream
                && let Some(end) = self.text.windows(2).position(|two| two == b"\n\n")
            {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = String::from_utf8(event).unwrap();
                let id = event.lines().find_map(|line| line.strip_prefix("id:"));
                self.last_id = id.map(|id| id.trim().to_owned()).or(self.last_id.take());
                let data: String = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .collect();
                if data.trim().is_empty() {
                    continue;
                }
                return Some(serde_json::from_str(&data).unwrap());
            }
            if self.over {
                let rest = std::mem::take(&mut self.text);
                return (!self.stream && !rest.is_empty()).then(|| serde_json::from_slice(&rest).unwrap());
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("a message in time").unwrap() {
                Some(chunk) => self.text.extend_from_slice(&chunk),
                None => self.over = true,
            }
        }
    }
}
