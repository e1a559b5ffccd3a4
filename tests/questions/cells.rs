//! The table: kinds of questions × eras of clients × upstreams, and how a behaviour is run over all of it.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::peer::{Peer, block_on, everything};
use crate::talk::{Asked, Said};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Form,
    Url,
    Sampling,
    Roots,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

/// An upstream by its gateway's name and era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) gateway: &'static str,
    pub(crate) era: Era,
    pub(crate) stdio: bool,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Form, Kind::Url, Kind::Sampling, Kind::Roots];
pub(crate) const CLIENTS: [Era; 2] = [Era::Legacy, Era::Modern];
pub(crate) const UPSTREAMS: [Upstream; 4] = [
    upstream("legacy_http", Era::Legacy, false),
    upstream("modern_http", Era::Modern, false),
    upstream("legacy_stdio", Era::Legacy, true),
    upstream("modern_stdio", Era::Modern, true),
];

const fn upstream(gateway: &'static str, era: Era, stdio: bool) -> Upstream {
    Upstream { gateway, era, stdio }
}

impl Kind {
    /// Its name in the arguments of `ask`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Url => "url",
            Self::Sampling => "sampling",
            Self::Roots => "roots",
        }
    }

    /// The method that asks it.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Form | Self::Url => "elicitation/create",
            Self::Sampling => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// Whether an answer can say no.
    pub(crate) fn is_elicitation(self) -> bool {
        matches!(self, Self::Form | Self::Url)
    }

    /// What a willing client answers to the question that the upstream calls `name`.
    pub(crate) fn answer(self, name: &str) -> Value {
        match self {
            Self::Form => json!({ "action": "accept", "content": { "name": name } }),
            Self::Url => json!({ "action": "accept" }),
            Self::Sampling => {
                json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": name } })
            }
            Self::Roots => json!({ "roots": [{ "uri": "file:///srv/here", "name": "here" }] }),
        }
    }

    /// The same, for a question as it came.
    pub(crate) fn say(self, asked: &Asked) -> Said {
        let name = match self {
            Self::Form | Self::Url => asked.params["message"].as_str(),
            Self::Sampling => asked.params["messages"][0]["content"]["text"].as_str(),
            Self::Roots => Some(""),
        };
        Said::Result(self.answer(name.expect("a question's name")))
    }

    /// What the upstream hears when everything is answered willingly.
    pub(crate) fn heard(self, label: &str, rounds: usize, count: usize) -> Value {
        let name = |round, n| format!("{label} {round}.{n}");
        let round = |round| -> Value {
            (1..=count)
                .map(|n| json!({ "result": self.answer(&name(round, n)) }))
                .collect()
        };
        (1..=rounds).map(round).collect()
    }
}

/// One cell of the table, with its clients.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    pub(crate) client: Era,
    pub(crate) upstream: Upstream,
    pub(crate) alice: Peer,
    pub(crate) bob: Peer,
    /// Names the cell's calls at the upstream.
    pub(crate) label: String,
}

impl Cell {
    /// The exposed name of a tool of this cell's upstream.
    pub(crate) fn tool(&self, name: &str) -> String {
        format!("{}__{name}", self.upstream.gateway)
    }

    /// The arguments of `ask` for this cell, with others.
    pub(crate) fn ask(&self, more: Value) -> Value {
        let mut arguments = json!({ "label": self.label, "kind": self.kind.name() });
        if let (Value::Object(arguments), Value::Object(more)) = (&mut arguments, more) {
            arguments.extend(more);
        }
        arguments
    }

    /// What the upstream says about this cell's calls.
    pub(crate) async fn seen(&self) -> Value {
        let ended = self
            .alice
            .ask(&self.tool("seen"), json!({ "label": self.label }))
            .await;
        ended.told().clone()
    }

    /// Asks [`Self::seen`] until it is so.
    pub(crate) async fn until_seen(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let end = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let seen = self.seen().await;
            if so(&seen) {
                return seen;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "{}: not {what}: {seen}",
                self.label
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// A client of an era that declares all that there is.
pub(crate) async fn peer(fleet: &Fleet, era: Era, who: &str) -> Peer {
    match era {
        Era::Legacy => Peer::legacy(fleet.mcp(), who, "2025-11-25", everything()).await,
        Era::Modern => Peer::modern(fleet.mcp(), who, everything()),
    }
}

/// Runs a behaviour over the whole table and names every cell that fails. Cells of one pair of client and upstream run
/// one after the other: on a pipe a question names no call.
pub(crate) fn over_all<F: Future<Output = ()>>(
    fleet: &Fleet,
    behaviour: &str,
    run: impl Fn(Cell) -> F + Copy,
) {
    let (alice, bob) = (format!("alice-{behaviour}"), format!("bob-{behaviour}"));
    over_all_as(fleet, behaviour, [&alice, &bob], run);
}

/// The same under users of one's choice, by name or key.
pub(crate) fn over_all_as<F: Future<Output = ()>>(
    fleet: &Fleet,
    behaviour: &str,
    [alice, bob]: [&str; 2],
    run: impl Fn(Cell) -> F + Copy,
) {
    let pair = async |client: Era, upstream: Upstream| {
        let (alice, bob) = (peer(fleet, client, alice).await, peer(fleet, client, bob).await);
        let mut failed = Vec::new();
        for kind in KINDS {
            let label = format!("{behaviour}: {kind:?}, {client:?} client, {}", upstream.gateway);
            let cell = Cell {
                kind,
                client,
                upstream,
                alice: alice.clone(),
                bob: bob.clone(),
                label: label.clone(),
            };
            if AssertUnwindSafe(run(cell)).catch_unwind().await.is_err() {
                failed.push(label);
            }
        }
        for peer in [alice, bob] {
            // Processes of a session go with it.
            if peer.is_legacy() {
                peer.end_session().await;
            }
        }
        failed
    };
    let pairs = CLIENTS
        .into_iter()
        .flat_map(|client| UPSTREAMS.map(|upstream| pair(client, upstream)));
    let failed: Vec<String> = block_on(join_all(pairs)).into_iter().flatten().collect();
    assert!(failed.is_empty(), "cells that fail:\n{}", failed.join("\n"));
}
