//! Clients that never answer, and clients that cannot: the upstream is told, the call ends, nothing is left.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cells::{Cell, Era, Kind, over_all};
use crate::fleet::{ALICE, BACKEND, Fleet, shared};
use crate::peer::{Peer, block_on, everything, text};
use crate::talk::Turn;

#[test]
fn a_question_that_nobody_answers_frees_everything_and_its_upstream_is_told() {
    let fleet = Fleet::start("question_timeout_ms = 1_000");
    over_all(&fleet, "never", never);
    block_on(nothing_is_left(&fleet, Duration::from_secs(10)));
}

async fn never(cell: Cell) {
    let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    let asked = talk.asked().await;
    let cancel = json!([[{ "result": { "action": "cancel" } }]]);
    match (cell.client, cell.upstream.era) {
        (Era::Legacy, _) if cell.kind.is_elicitation() => {
            assert_eq!(talk.ended().await.told()["heard"], cancel);
        }
        (Era::Legacy, Era::Legacy) => {
            let ended = talk.ended().await;
            assert!(ended.told()["heard"][0][0]["error"].is_object(), "{ended:?}");
        }
        (Era::Legacy, Era::Modern) => {
            let ended = talk.ended().await;
            let message = ended.error()["message"].as_str().unwrap();
            assert!(message.contains("did not answer"), "{message}");
            assert_eq!(cell.seen().await["calls"], 1, "not called again");
        }
        (Era::Modern, Era::Legacy) => {
            // By an answer that says so, or by the end of the call.
            let seen = cell
                .until_seen("told", |seen| {
                    seen["state"] == "cancelled" || seen["state"] == "done"
                })
                .await;
            assert_eq!(seen["asked"], 1);
            let Turn::Ended(late) = talk.retry(serde_json::Map::default(), talk.state.clone()).await else {
                panic!("asked again");
            };
            // The call is over, or its end is still there to be had.
            if late.message["error"].is_null() {
                assert_ne!(late.told()["heard"], cell.kind.heard(&cell.label, 1, 1));
            } else {
                assert_eq!(late.error()["code"], -32602);
            }
        }
        (Era::Modern, Era::Modern) => {
            // Nothing was open: the answer may come whenever the state still counts.
            assert_eq!(cell.seen().await["calls"], 1);
        }
    }
    if cell.client == Era::Legacy {
        assert_eq!(
            cell.alice.reply(&asked.key, &cell.kind.say(&asked)).await,
            202,
            "too late"
        );
        assert_ne!(cell.seen().await["state"], "waiting");
    }
}

/// Waits until no call is under way anywhere.
pub(crate) async fn nothing_is_left(fleet: &Fleet, within: Duration) {
    let end = tokio::time::Instant::now() + within;
    loop {
        let metrics = text(&fleet.path("/metrics"), ALICE).await;
        let value = |name: &str| -> u64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            let text = line.unwrap_or_else(|| panic!("no {name} in\n{metrics}"));
            text.trim().parse().unwrap()
        };
        let gateways = text(&fleet.path("/api/gateways"), BACKEND).await;
        let gateways: Value = serde_json::from_str(&gateways).unwrap();
        let items = gateways["items"].as_array();
        let busy = items.unwrap_or_else(|| panic!("{gateways}")).iter();
        let left = [
            value("toolgate_parked_calls "),
            value("toolgate_streams "),
            busy.map(|gateway| gateway["inFlight"].as_u64().unwrap()).sum(),
            // The look at the metrics is a request itself.
            value("toolgate_in_flight ").saturating_sub(1),
        ];
        if left == [0; 4] {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "parked, streams, calls, requests: {left:?}\n{metrics}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// All capabilities but the one that this kind needs.
fn all_but(kind: Kind) -> Value {
    let mut declared = everything();
    let members = declared.as_object_mut().unwrap();
    match kind {
        Kind::Form => members["elicitation"] = json!({ "url": {} }),
        Kind::Url => members["elicitation"] = json!({ "form": {} }),
        Kind::Sampling => drop(members.remove("sampling")),
        Kind::Roots => drop(members.remove("roots")),
    }
    declared
}

#[test]
fn a_client_is_never_asked_what_it_did_not_declare() {
    let fleet = shared();
    let mcp = fleet.mcp();
    over_all(&fleet, "undeclared", async |cell: Cell| {
        for declared in [all_but(cell.kind), json!({})] {
            let alice = match cell.client {
                Era::Legacy => Peer::legacy(mcp, "undeclared", "2025-11-25", declared).await,
                Era::Modern => Peer::modern(mcp, "undeclared", declared),
            };
            undeclared(&cell, &alice).await;
            if alice.is_legacy() {
                alice.end_session().await;
            }
        }
    });
}

async fn undeclared(cell: &Cell, alice: &Peer) {
    // `ended` panics at a question.
    let ended = alice
        .call(&cell.tool("ask"), cell.ask(json!({})))
        .await
        .ended()
        .await;
    match (cell.client, cell.upstream.era) {
        (_, Era::Legacy) => {
            let heard = &ended.told()["heard"][0][0];
            assert_eq!(heard["error"]["code"], -32601, "{heard}");
        }
        (Era::Legacy, Era::Modern) if cell.kind.is_elicitation() => {
            let cancel = json!([[{ "result": { "action": "cancel" } }]]);
            assert_eq!(ended.told()["heard"], cancel);
        }
        (Era::Legacy, Era::Modern) => {
            let message = ended.error()["message"].as_str().unwrap();
            assert!(message.contains("did not declare"), "{message}");
        }
        (Era::Modern, Era::Modern) => {
            assert_eq!(
                (ended.status, &ended.error()["code"]),
                (400, &json!(-32021)),
                "{ended:?}"
            );
            let needed = match cell.kind {
                Kind::Form => json!({ "elicitation": { "form": {} } }),
                Kind::Url => json!({ "elicitation": { "url": {} } }),
                Kind::Sampling => json!({ "sampling": {} }),
                Kind::Roots => json!({ "roots": {} }),
            };
            assert_eq!(ended.error()["data"]["requiredCapabilities"], needed);
        }
    }
}
