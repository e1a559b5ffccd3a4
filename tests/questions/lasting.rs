//! Questions that do not come with their call, or outlast their connection, their session, anybody's patience.

use std::time::Duration;

use serde_json::{Value, json};
use toolgate::limits::{QUESTION_ROUNDS_MAX, QUESTIONS_PER_CALL_MAX};

use crate::cells::{CLIENTS, Cell, Era, Kind, UPSTREAMS, over_all, peer};
use crate::fleet::{Fleet, shared};
use crate::peer::block_on;
use crate::silence::nothing_is_left;

#[test]
fn a_legacy_client_whose_connection_broke_answers_and_reads_on() {
    over_all(&shared(), "broke", broke);
}

async fn broke(cell: Cell) {
    if cell.client == Era::Modern {
        return;
    }
    let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    let asked = talk.asked().await;
    talk.reconnect().await;
    talk.answer(&asked, &cell.kind.say(&asked)).await;
    let ended = talk.ended().await;
    assert_eq!(ended.message["id"], talk.id);
    assert_eq!(ended.told()["heard"], cell.kind.heard(&cell.label, 1, 1));
}

#[test]
fn a_question_on_the_get_stream_reaches_the_client_whose_call_it_is() {
    over_all(&shared(), "get", on_get);
}

async fn on_get(cell: Cell) {
    if cell.upstream.era == Era::Modern || cell.upstream.stdio {
        return;
    }
    let arguments = cell.ask(json!({ "on_get": true, "rounds": 2 }));
    let mut talk = cell.alice.call(&cell.tool("ask"), arguments).await;
    let (asked, ended) = talk.finish(|asked| cell.kind.say(asked)).await;
    assert_eq!(asked.len(), 2);
    assert_eq!(ended.told()["heard"], cell.kind.heard(&cell.label, 2, 1));
}

#[test]
fn a_session_that_ends_takes_its_questions_along() {
    let fleet = Fleet::start("");
    over_all(&fleet, "ends", ends);
    block_on(nothing_is_left(&fleet, Duration::from_secs(10)));
}

async fn ends(cell: Cell) {
    if cell.client == Era::Modern {
        return;
    }
    let alice = cell.alice.reopened().await;
    let mut talk = alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    let asked = talk.asked().await;
    assert_eq!(alice.end_session().await, 204);
    assert_eq!(talk.ended().await.message, Value::Null);
    assert_eq!(alice.reply(&asked.key, &cell.kind.say(&asked)).await, 404);
    // A process of the session has gone with it.
    if !cell.upstream.stdio && cell.upstream.era == Era::Legacy {
        cell.until_seen("told", |seen| {
            seen["state"] == "cancelled" || seen["state"] == "ended"
        })
        .await;
    }
}

#[test]
fn an_upstream_that_asks_without_end_is_stopped() {
    let fleet = shared();
    block_on(async {
        let alice = peer(&fleet, Era::Legacy, "endless").await;
        for upstream in UPSTREAMS {
            let tool = format!("{}__ask", upstream.gateway);
            let rounds = QUESTION_ROUNDS_MAX + 1;
            let arguments = json!({ "label": "on", "kind": "roots", "rounds": rounds });
            let mut talk = alice.call(&tool, arguments).await;
            let (asked, ended) = talk.finish(|asked| Kind::Roots.say(asked)).await;
            if upstream.era == Era::Legacy {
                // One call, one stream: only the number of questions counts.
                assert_eq!(asked.len(), rounds, "{}", upstream.gateway);
                continue;
            }
            assert_eq!(asked.len(), QUESTION_ROUNDS_MAX, "{}", upstream.gateway);
            let message = ended.error()["message"].as_str().unwrap();
            assert!(message.contains("asked more than"), "{message}");
        }
    });
}

#[test]
fn a_call_asks_so_many_questions_and_no_more() {
    let fleet = shared();
    block_on(async {
        for client in CLIENTS {
            let alice = peer(&fleet, client, "many").await;
            for upstream in UPSTREAMS {
                if (client, upstream.era) == (Era::Modern, Era::Modern) {
                    // The client's own to bound: nothing is held here.
                    continue;
                }
                let tool = format!("{}__ask", upstream.gateway);
                let count = QUESTIONS_PER_CALL_MAX + 1;
                let arguments = json!({ "label": "many", "kind": "form", "count": count });
                let mut talk = alice.call(&tool, arguments).await;
                let (asked, ended) = talk.finish(|asked| Kind::Form.say(asked)).await;
                let what = format!("{client:?} client, {}", upstream.gateway);
                assert_eq!(asked.len(), QUESTIONS_PER_CALL_MAX, "{what}");
                let heard = ended.told()["heard"][0].as_array().unwrap().clone();
                let willing = Kind::Form.heard("many", 1, QUESTIONS_PER_CALL_MAX);
                assert_eq!(json!(heard[..QUESTIONS_PER_CALL_MAX]), willing[0], "{what}");
                let last = &heard[QUESTIONS_PER_CALL_MAX];
                match upstream.era {
                    Era::Legacy => assert_eq!(last["error"]["code"], -32603, "{what}: {last}"),
                    Era::Modern => assert_eq!(last["result"]["action"], "cancel", "{what}: {last}"),
                }
            }
        }
    });
}
