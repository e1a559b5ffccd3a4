//! One call of a tool with its questions, rounds and end, as the client sees it.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::peer::{MODERN, Peer, next_id};
use crate::reader::Reader;

/// One question as the client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The request's id, or the key in `inputRequests`.
    pub(crate) key: Value,
    pub(crate) method: String,
    pub(crate) params: Value,
}

/// What a client says to a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Result(Value),
    /// A JSON-RPC error; legacy clients only.
    Error(Value),
}

/// What came next.
#[derive(Debug)]
pub(crate) enum Turn {
    Asked(Asked),
    Ended(Ended),
}

/// The end of a call.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) status: u16,
    /// `null` when no response came.
    pub(crate) message: Value,
}

impl Ended {
    /// What the tool returned; panics when it did not.
    pub(crate) fn told(&self) -> &Value {
        let told = &self.message["result"]["structuredContent"];
        assert!(told.is_object(), "no result of the tool: {self:?}");
        told
    }

    /// The JSON-RPC error; panics when there is none.
    pub(crate) fn error(&self) -> &Value {
        let error = &self.message["error"];
        assert!(error.is_object(), "no error: {self:?}");
        error
    }
}

/// One call of a tool with all its rounds.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) peer: Peer,
    pub(crate) tool: String,
    pub(crate) arguments: Value,
    /// The id of the request that is under way.
    pub(crate) id: u64,
    reader: Option<Reader>,
    /// Modern: asked, not handed out yet.
    open: VecDeque<Asked>,
    /// Modern: the `requestState` of the last round.
    pub(crate) state: Option<Value>,
    /// Modern: what the next request carries.
    pub(crate) answers: Map<String, Value>,
    /// Notifications, as they came.
    pub(crate) heard: Vec<Value>,
}

impl Talk {
    async fn send(&mut self, retry: Option<(Map<String, Value>, Option<Value>)>) {
        self.id = next_id();
        let mut params = json!({ "name": self.tool, "arguments": self.arguments });
        if !self.peer.is_legacy() {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": self.peer.capabilities,
                "io.modelcontextprotocol/clientInfo": { "name": "hand", "version": "1" },
            });
        }
        if let Some((answers, state)) = retry {
            params["inputResponses"] = Value::Object(answers);
            if let Some(state) = state {
                params["requestState"] = state;
            }
        }
        let body = json!({ "jsonrpc": "2.0", "id": self.id, "method": "tools/call", "params": params });
        self.reader = Some(Reader::new(self.peer.post(&body).await));
    }

    /// Starts a call.
    pub(crate) async fn start(peer: &Peer, tool: &str, arguments: Value) -> Self {
        let mut talk = Self::new(peer, tool, arguments);
        talk.send(None).await;
        talk
    }

    fn new(peer: &Peer, tool: &str, arguments: Value) -> Self {
        Self {
            peer: peer.clone(),
            tool: tool.to_owned(),
            arguments,
            id: 0,
            reader: None,
            open: VecDeque::new(),
            state: None,
            answers: Map::new(),
            heard: Vec::new(),
        }
    }

    /// The same call from its start, by another client; what is under way stays with this one.
    pub(crate) fn again(&self, peer: &Peer) -> Self {
        Self::new(peer, &self.tool, self.arguments.clone())
    }

    /// Modern: tells whether the last result asked more than what was handed out.
    pub(crate) fn has_more(&self) -> bool {
        !self.open.is_empty()
    }

    /// Modern: sends the call again with these answers and this state, whatever was asked.
    pub(crate) async fn retry(&mut self, answers: Map<String, Value>, state: Option<Value>) -> Turn {
        self.open.clear();
        self.send(Some((answers, state))).await;
        self.next().await
    }

    /// Returns the next question or the end. A modern client sends its answers first, once it has handed out all that
    /// it was asked.
    pub(crate) async fn next(&mut self) -> Turn {
        if let Some(asked) = self.open.pop_front() {
            return Turn::Asked(asked);
        }
        if self.reader.is_none() {
            let retry = (std::mem::take(&mut self.answers), self.state.take());
            self.send(Some(retry)).await;
        }
        loop {
            let reader = self.reader.as_mut().expect("a response");
            let status = reader.status;
            let message = reader.next().await;
            let Some(message) = message else {
                self.reader = None;
                return Turn::Ended(Ended {
                    status,
                    message: Value::Null,
                });
            };
            if let Some(method) = message["method"].as_str() {
                if message.get("id").is_none() {
                    self.heard.push(message);
                    continue;
                }
                assert!(self.peer.is_legacy(), "a modern client got a request: {message}");
                return Turn::Asked(Asked {
                    key: message["id"].clone(),
                    method: method.to_owned(),
                    params: message["params"].clone(),
                });
            }
            if message["result"]["resultType"] == "input_required" {
                assert!(!self.peer.is_legacy(), "a legacy client got {message}");
                self.reader = None;
                self.state = message["result"].get("requestState").cloned();
                let asked = message["result"]["inputRequests"].as_object();
                self.open = asked.into_iter().flatten().map(asked_of).collect();
                match self.open.pop_front() {
                    Some(asked) => return Turn::Asked(asked),
                    None => return Turn::Ended(Ended { status, message }),
                }
            }
            self.reader = None;
            return Turn::Ended(Ended { status, message });
        }
    }

    /// Legacy: drops the connection and takes the stream up after the last event.
    pub(crate) async fn reconnect(&mut self) {
        let reader = self.reader.take().expect("a response");
        let last = reader.last_id.clone().expect("an event id");
        drop(reader);
        let request = self.peer.request(reqwest::Method::GET);
        let response = request.header("Last-Event-ID", last).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        self.reader = Some(Reader::new(response));
    }

    /// Returns the next question; panics at the end.
    pub(crate) async fn asked(&mut self) -> Asked {
        match self.next().await {
            Turn::Asked(asked) => asked,
            Turn::Ended(ended) => panic!("the call ended and asked nothing: {ended:?}"),
        }
    }

    /// Returns the end; panics at a question.
    pub(crate) async fn ended(&mut self) -> Ended {
        match self.next().await {
            Turn::Ended(ended) => ended,
            Turn::Asked(asked) => panic!("asked instead of an end: {asked:?}"),
        }
    }

    /// Answers a question: at once, or with the next request.
    pub(crate) async fn answer(&mut self, asked: &Asked, said: &Said) {
        if self.peer.is_legacy() {
            assert_eq!(self.peer.reply(&asked.key, said).await, 202);
            return;
        }
        let Said::Result(result) = said else {
            panic!("a modern client cannot answer with an error");
        };
        self.answers
            .insert(asked.key.as_str().unwrap().to_owned(), result.clone());
    }

    /// Answers everything until the end; returns what was asked.
    pub(crate) async fn finish(&mut self, say: impl Fn(&Asked) -> Said) -> (Vec<Asked>, Ended) {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Turn::Ended(ended) => return (all, ended),
                Turn::Asked(asked) => {
                    self.answer(&asked, &say(&asked)).await;
                    all.push(asked);
                }
            }
        }
    }
}

fn asked_of((key, request): (&String, &Value)) -> Asked {
    Asked {
        key: json!(key),
        method: request["method"].as_str().unwrap_or_default().to_owned(),
        params: request["params"].clone(),
    }
}
