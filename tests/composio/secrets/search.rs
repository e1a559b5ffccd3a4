//! What must not be anywhere, looked for in a text; and where spans go, to be read like one.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;

use crate::fake::KEY;

/// What must not be found, with what it is.
#[derive(Clone, Default)]
pub(super) struct Secrets(pub(super) Vec<(&'static str, String)>);

impl Secrets {
    pub(super) fn add(&mut self, what: &'static str, value: &str) {
        assert!(value.len() >= 8, "{what} {value:?} could be anywhere");
        self.0.push((what, value.to_owned()));
    }

    /// Names what a text holds of it, each with the line that it stands in.
    pub(super) fn found_in(&self, text: &str) -> Vec<String> {
        let holds = |(what, value): &(&str, String)| {
            let line = text.lines().find(|line| line.contains(value.as_str()))?;
            Some(format!("{what} {value:?} in: {line}"))
        };
        self.0.iter().filter_map(holds).collect()
    }
}

#[test]
fn a_secret_that_is_planted_in_a_text_is_found() {
    let mut secrets = Secrets::default();
    secrets.add("key", KEY);
    secrets.add("state", "c3RhdGUtb2YtYS1mbG93");
    let clean = r#"{"level":"INFO","message":"request answered","url.path":"/mcp/s/"}"#;
    assert_eq!(secrets.found_in(clean), Vec::<String>::new());
    let planted = format!("{clean}\n{{\"reason\":\"HTTP 401: Invalid API key: {KEY}\"}}\n{clean}");
    let found = secrets.found_in(&planted);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("key ") && found[0].contains("HTTP 401"),
        "{found:?}"
    );
}

/// Where spans go: it keeps what it is sent.
pub(super) async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let kept = Arc::clone(&got);
    let take = move |body: Bytes| {
        kept.lock().unwrap().extend_from_slice(&body);
        async {}
    };
    let routes = Router::new().fallback(take);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, got)
}
