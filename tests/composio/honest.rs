//! The fake itself: what the check-list of the facts says, one behaviour a test.

mod accounts;
mod budget;
mod endpoint;
mod executing;
mod restart;
mod sessions;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::fake::{CONTROL, Fake, KEY, client};

/// An answer.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Told {
    /// Number and slug of an error.
    fn error(&self) -> (u16, i64) {
        (
            self.status,
            self.body["error"]["code"].as_i64().unwrap_or_default(),
        )
    }
}

/// Somebody who asks a fake.
#[derive(Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    base: String,
    headers: Vec<(&'static str, String)>,
}

impl Caller {
    /// One with the key of the project.
    pub(crate) fn of(fake: &Fake) -> Self {
        Self::at(&fake.origin)
    }

    pub(crate) fn at(base: &str) -> Self {
        Self {
            http: client(),
            base: base.to_owned(),
            headers: vec![("x-api-key", KEY.to_owned())],
        }
    }

    /// The same one with other headers.
    pub(crate) fn with(&self, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self {
            headers: headers.collect(),
            ..self.clone()
        }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Told {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        let mut request = self.http.request(method.parse().unwrap(), url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Told {
            status,
            headers,
            text,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Told {
        self.send("GET", &format!("/api/v3.1{path}"), None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Told {
        self.send("POST", &format!("/api/v3.1{path}"), Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Told {
        self.send("PATCH", &format!("/api/v3.1{path}"), Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Told {
        self.send("DELETE", &format!("/api/v3.1{path}"), None).await
    }

    /// Makes a session; returns its id.
    pub(crate) async fn session(&self, body: Value) -> String {
        let made = self.post("/tool_router/session", body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.body["session_id"].as_str().unwrap().to_owned()
    }

    /// Asks for a link in a session.
    pub(crate) async fn link(&self, session: &str, body: Value) -> Told {
        self.post(&format!("/tool_router/session/{session}/link"), body)
            .await
    }

    /// Presses a button of a consent page, without following where it leads.
    pub(crate) async fn press(&self, link: &str, decision: &str) -> Told {
        let page = self.send("GET", link, None).await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert!(
            page.headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
        self.decide(link, &format!("decision={decision}")).await
    }

    /// Sends the form of a consent page.
    pub(crate) async fn decide(&self, link: &str, form: &str) -> Told {
        let plain = self.with(&[("content-type", "application/x-www-form-urlencoded")]);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let stays = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        let stays = stays.tls_certs_only(std::iter::empty()).build().unwrap();
        let request = stays.post(link).header(plain.headers[0].0, &plain.headers[0].1);
        let answer = request.body(form.to_owned()).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        Told {
            status,
            headers,
            text,
            body: Value::Null,
        }
    }

    /// Sends a message to an MCP endpoint; returns the answer, and its message.
    pub(crate) async fn rpc(&self, url: &str, method: &str, params: Value) -> (Told, Value) {
        let mut caller = self.clone();
        caller
            .headers
            .push(("accept", "application/json, text/event-stream".to_owned()));
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let told = caller.send("POST", url, Some(message)).await;
        let data = told.text.lines().find_map(|line| line.strip_prefix("data: "));
        let said = serde_json::from_str(data.unwrap_or(&told.text)).unwrap_or_default();
        (told, said)
    }

    /// Calls a tool of an MCP endpoint; returns what the JSON in its text says.
    pub(crate) async fn call(&self, url: &str, name: &str, arguments: Value) -> Value {
        let (told, said) = self
            .rpc(url, "tools/call", json!({ "name": name, "arguments": arguments }))
            .await;
        let blocks = said["result"]["content"].as_array();
        let blocks = blocks.unwrap_or_else(|| panic!("{}", told.text)).iter();
        let text: String = blocks.map(|block| block["text"].as_str().unwrap()).collect();
        serde_json::from_str(&text).unwrap()
    }

    /// Has the fake do something by its own route.
    pub(crate) async fn control(&self, command: Value) -> Value {
        let hand = self.with(&[("x-fake-control", CONTROL)]);
        let done = hand.send("POST", "/_fake/control", Some(command)).await;
        assert_eq!(done.status, 200, "{}", done.text);
        done.body
    }

    /// Returns the ledger.
    pub(crate) async fn ledger(&self) -> Value {
        let hand = self.with(&[("x-fake-control", CONTROL)]);
        hand.send("GET", "/_fake/ledger", None).await.body
    }
}

/// Where a session's endpoint is.
pub(crate) fn endpoint(fake: &Fake, session: &str) -> String {
    format!("{}/tool_router/{session}/mcp", fake.origin)
}
