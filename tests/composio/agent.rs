//! An agent's client of either era that can be sent to a page (url elicitation), or cannot.

use std::future::Future;

use serde_json::{Value, json};

use crate::connect::{House, PATIENCE, client, key};

pub(crate) const MODERN: &str = "2026-07-28";
pub(crate) const LEGACY: &str = "2025-11-25";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

/// A client; `url` says whether it can send its user to a page.
pub(crate) struct Agent {
    url: String,
    http: reqwest::Client,
    key: String,
    era: Era,
    capabilities: Value,
    session: Option<String>,
}

/// How a call went.
#[derive(Debug, Default)]
pub(crate) struct Went {
    /// The params of every question.
    pub(crate) asked: Vec<Value>,
    /// Notifications, as they came.
    pub(crate) heard: Vec<Value>,
    /// The last message.
    pub(crate) end: Value,
}

impl Went {
    /// The JSON in the result's first text.
    pub(crate) fn said(&self) -> Value {
        let text = self.end["result"]["content"][0]["text"].as_str();
        serde_json::from_str(text.unwrap_or_else(|| panic!("{}", self.end))).unwrap()
    }

    /// The last text of the result.
    pub(crate) fn last_text(&self) -> &str {
        let content = self.end["result"]["content"].as_array();
        let last = content.and_then(|content| content.last());
        last.and_then(|last| last["text"].as_str())
            .unwrap_or_else(|| panic!("{}", self.end))
    }
}

impl Agent {
    pub(crate) async fn new(house: &House, user: &str, era: Era, url: bool) -> Self {
        Self::at(&house.url, user, era, url).await
    }

    /// One that speaks to a Toolgate at `http://host:port`.
    pub(crate) async fn at(base: &str, user: &str, era: Era, url: bool) -> Self {
        let capabilities = if url {
            json!({ "elicitation": { "form": {}, "url": {} } })
        } else {
            json!({})
        };
        let mut agent = Self {
            url: format!("{base}/mcp"),
            http: client(),
            key: key(user),
            era,
            capabilities,
            session: None,
        };
        if era == Era::Legacy {
            let params = json!({ "protocolVersion": LEGACY, "capabilities": agent.capabilities, "clientInfo": { "name": "agent", "version": "1" } });
            let answer = agent
                .post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }))
                .await;
            agent.session = Some(answer.headers()["mcp-session-id"].to_str().unwrap().to_owned());
            agent
                .post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
                .await;
        }
        agent
    }

    /// The id of a legacy client's session.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    async fn post(&self, body: &Value) -> reqwest::Response {
        let mut request = self
            .http
            .post(&self.url)
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        request = match (&self.era, &self.session) {
            (Era::Modern, _) => {
                let named = body["params"]["name"].as_str().unwrap_or_default();
                request
                    .header("mcp-protocol-version", MODERN)
                    .header("mcp-method", body["method"].as_str().unwrap_or_default())
                    .header("mcp-name", named)
            }
            (Era::Legacy, Some(id)) => request
                .header("mcp-protocol-version", LEGACY)
                .header("mcp-session-id", id),
            (Era::Legacy, None) => request,
        };
        let sent = tokio::time::timeout(PATIENCE, request.body(body.to_string()).send());
        sent.await.expect("an answer in time").unwrap()
    }

    /// Calls a tool; `visit` is the user, who is given each page's params and says accept, decline or cancel.
    pub(crate) async fn call<F: Future<Output = &'static str>>(
        &self,
        tool: &str,
        arguments: Value,
        visit: impl Fn(Value) -> F,
    ) -> Went {
        let mut went = Went::default();
        let mut params = json!({ "name": tool, "arguments": arguments });
        if self.era == Era::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": { "name": "agent", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            });
        }
        loop {
            let request = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
            let mut response = self.post(&request).await;
            let Some(end) = self.read(&mut response, &mut went, &visit).await else {
                panic!("the call ended without an answer: {went:?}");
            };
            if end["result"]["resultType"] != "input_required" {
                went.end = end;
                return went;
            }
            let mut answers = serde_json::Map::new();
            for (id, question) in end["result"]["inputRequests"].as_object().into_iter().flatten() {
                went.asked.push(question["params"].clone());
                let action = visit(question["params"].clone()).await;
                answers.insert(id.clone(), json!({ "action": action }));
            }
            params["inputResponses"] = Value::Object(answers);
            params["requestState"] = end["result"]["requestState"].clone();
        }
    }

    /// Reads a response to its end, answering what a legacy client is asked on the way.
    async fn read<F: Future<Output = &'static str>>(
        &self,
        response: &mut reqwest::Response,
        went: &mut Went,
        visit: &impl Fn(Value) -> F,
    ) -> Option<Value> {
        let mut text = String::new();
        let json = response.headers()["content-type"] == "application/json";
        let mut end = None;
        while let Some(chunk) = tokio::time::timeout(PATIENCE, response.chunk())
            .await
            .expect("in time")
            .unwrap()
        {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            if json {
                continue;
            }
            while let Some(at) = text.find("\n\n") {
                let event: String = text.drain(..at + 2).collect();
                let data: String = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .collect();
                let Ok(message) = serde_json::from_str::<Value>(&data) else {
                    continue;
                };
                match (message.get("method"), message.get("id")) {
                    (Some(_), Some(id)) => {
                        went.asked.push(message["params"].clone());
                        let action = visit(message["params"].clone()).await;
                        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "action": action } });
                        assert_eq!(self.post(&answer).await.status(), 202);
                    }
                    (Some(_), None) => went.heard.push(message),
                    _ => end = Some(message),
                }
            }
        }
        if json {
            serde_json::from_str(&text).ok()
        } else {
            end
        }
    }
}
