//! Clients that do as they should: answered, declined, cancelled, left out, two at once, three rounds.

use serde_json::{Map, Value, json};

use crate::cells::{Cell, Era, Kind, UPSTREAMS, over_all, peer};
use crate::fleet::shared;
use crate::peer::block_on;
use crate::talk::{Said, Talk, Turn};

/// What a legacy client says when its user will not have it.
fn no() -> Value {
    json!({ "code": -1, "message": "the user said no" })
}

/// How often the upstream is called for so many rounds.
fn calls(cell: &Cell, rounds: usize) -> usize {
    match cell.upstream.era {
        Era::Legacy => 1,
        Era::Modern => rounds + 1,
    }
}

#[test]
fn an_answer_reaches_the_upstream_that_asked() {
    over_all(&shared(), "answered", answered);
}

async fn answered(cell: Cell) {
    let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    let (asked, ended) = talk.finish(|asked| cell.kind.say(asked)).await;
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].method, cell.kind.method());
    assert_eq!(ended.told()["heard"], cell.kind.heard(&cell.label, 1, 1));
    let seen = json!({ "state": "done", "asked": 1, "heard": 1, "calls": calls(&cell, 1) });
    assert_eq!(cell.seen().await, seen);
}

#[test]
fn a_no_reaches_the_upstream_in_the_words_of_its_era() {
    over_all(&shared(), "declined", declined);
}

async fn declined(cell: Cell) {
    let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    if cell.kind.is_elicitation() {
        let decline = json!({ "action": "decline" });
        let (_, ended) = talk.finish(|_| Said::Result(decline.clone())).await;
        assert_eq!(ended.told()["heard"], json!([[{ "result": decline }]]));
        return;
    }
    match (cell.client, cell.upstream.era) {
        (Era::Legacy, Era::Legacy) => {
            let (_, ended) = talk.finish(|_| Said::Error(no())).await;
            assert_eq!(ended.told()["heard"], json!([[{ "error": no() }]]));
        }
        // Sampling and roots have no answer that says no, and a modern upstream no request to refuse: the call ends.
        (Era::Legacy, Era::Modern) => {
            let (_, ended) = talk.finish(|_| Said::Error(no())).await;
            let message = ended.error()["message"].as_str().unwrap();
            assert!(message.contains("the user said no"), "{message}");
            assert_eq!(ended.error()["code"], -32603);
            assert_eq!(cell.seen().await["calls"], 1, "not called again");
        }
        // A modern client says no by not coming back; coming back without the answer, it is asked again.
        (Era::Modern, _) => left_out(&cell, talk).await,
    }
}

/// Comes back without the answer, then with it.
async fn left_out(cell: &Cell, mut talk: Talk) {
    let first = talk.asked().await;
    let state = talk.state.clone();
    let Turn::Asked(again) = talk.retry(Map::new(), state).await else {
        panic!("not asked again");
    };
    assert_eq!((&again.key, &again.params), (&first.key, &first.params));
    talk.answer(&again, &cell.kind.say(&again)).await;
    assert_eq!(
        talk.ended().await.told()["heard"],
        cell.kind.heard(&cell.label, 1, 1)
    );
}

#[test]
fn clients_that_say_no_again_and_again_are_no_fault_of_the_gateway() {
    let fleet = shared();
    block_on(async {
        let alice = peer(&fleet, Era::Legacy, "naysayer").await;
        for upstream in UPSTREAMS {
            let tool = format!("{}__ask", upstream.gateway);
            let arguments = json!({ "label": "no", "kind": "sampling" });
            // More than open a breaker.
            for _ in 0..=toolgate::limits::BREAKER_FAULTS {
                let mut talk = alice.call(&tool, arguments.clone()).await;
                talk.finish(|_| Said::Error(no())).await;
            }
            let mut talk = alice.call(&tool, arguments).await;
            let (asked, ended) = talk.finish(|asked| Kind::Sampling.say(asked)).await;
            assert_eq!(asked.len(), 1, "{}", upstream.gateway);
            assert_eq!(ended.told()["heard"], Kind::Sampling.heard("no", 1, 1));
        }
    });
}

#[test]
fn a_cancelled_question_and_a_cancelled_call_reach_the_upstream() {
    over_all(&shared(), "cancelled", cancelled);
}

async fn cancelled(cell: Cell) {
    if cell.kind.is_elicitation() {
        let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
        let cancel = json!({ "action": "cancel" });
        let (_, ended) = talk.finish(|_| Said::Result(cancel.clone())).await;
        assert_eq!(ended.told()["heard"], json!([[{ "result": cancel }]]));
    }
    let cell = Cell {
        label: format!("{} (the call)", cell.label),
        ..cell
    };
    match cell.client {
        Era::Legacy => cancelled_while_asked(&cell).await,
        Era::Modern => left_after_the_answer(&cell).await,
    }
}

/// A legacy client cancels its call with the question before it.
async fn cancelled_while_asked(cell: &Cell) {
    let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    let asked = talk.asked().await;
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": talk.id } });
    assert_eq!(cell.alice.post(&cancel).await.status().as_u16(), 202);
    let ended = talk.ended().await;
    assert_eq!(ended.message, Value::Null, "a cancelled request gets no answer");
    if cell.upstream.era == Era::Legacy {
        cell.until_seen("told of it", |seen| seen["state"] == "cancelled")
            .await;
    }
    // Too late: whoever asked is gone.
    talk.answer(&asked, &cell.kind.say(&asked)).await;
    let seen = cell.seen().await;
    assert_eq!((&seen["heard"], &seen["calls"]), (&json!(0), &json!(1)), "{seen}");
}

/// A modern client answers, and closes its connection while the upstream works on that.
async fn left_after_the_answer(cell: &Cell) {
    let arguments = cell.ask(json!({ "wait_ms": 60_000 }));
    let mut talk = cell.alice.call(&cell.tool("ask"), arguments).await;
    let asked = talk.asked().await;
    talk.answer(&asked, &cell.kind.say(&asked)).await;
    tokio::select! {
        turn = talk.next() => panic!("it waits a minute, but {turn:?}"),
        seen = cell.until_seen("at work", |seen| seen["state"] == "waiting") => assert_eq!(seen["heard"], 1),
    }
    drop(talk);
    let told = if cell.upstream.era == Era::Legacy || cell.upstream.stdio {
        "cancelled"
    } else {
        "closed"
    };
    cell.until_seen(told, |seen| seen["state"] == told).await;
}

#[test]
fn two_questions_at_once_get_an_answer_each() {
    over_all(&shared(), "two", two);
}

async fn two(cell: Cell) {
    let mut talk = cell
        .alice
        .call(&cell.tool("ask"), cell.ask(json!({ "count": 2 })))
        .await;
    let mut rounds = 1;
    let ended = if cell.client == Era::Legacy {
        // Both are before the client at once, and the second is answered first.
        let (first, second) = (talk.asked().await, talk.asked().await);
        for asked in [second, first] {
            talk.answer(&asked, &cell.kind.say(&asked)).await;
        }
        talk.ended().await
    } else if cell.upstream.era == Era::Modern {
        let first = talk.asked().await;
        assert!(talk.has_more(), "both in one result");
        talk.answer(&first, &cell.kind.say(&first)).await;
        // Only one of both: the other is asked for again.
        let (answers, state) = (talk.answers.clone(), talk.state.clone());
        let Turn::Asked(again) = talk.retry(answers, state).await else {
            panic!("not asked again")
        };
        rounds += 1;
        talk.answer(&again, &cell.kind.say(&again)).await;
        talk.finish(|asked| cell.kind.say(asked)).await.1
    } else {
        // A pipe's and a stream's messages come one by one: the second may be too late for the first result.
        let (asked, ended) = talk.finish(|asked| cell.kind.say(asked)).await;
        assert_eq!(asked.len(), 2);
        assert_ne!(asked[0].key, asked[1].key);
        ended
    };
    assert_eq!(ended.told()["heard"], cell.kind.heard(&cell.label, 1, 2));
    assert_eq!(cell.seen().await["calls"], calls(&cell, rounds));
}

#[test]
fn three_rounds_of_questions_end_in_an_answer() {
    over_all(&shared(), "three", three);
}

async fn three(cell: Cell) {
    let arguments = cell.ask(json!({ "rounds": 3, "empty_first": true }));
    let mut talk = cell.alice.call(&cell.tool("ask"), arguments).await;
    if (cell.client, cell.upstream.era) == (Era::Modern, Era::Modern) {
        // A state alone: the client comes back at once.
        assert_eq!(
            talk.ended().await.message["result"]["resultType"],
            "input_required"
        );
    }
    let (asked, ended) = talk.finish(|asked| cell.kind.say(asked)).await;
    assert_eq!(asked.len(), 3);
    assert_eq!(ended.told()["heard"], cell.kind.heard(&cell.label, 3, 1));
    let empty = usize::from(cell.upstream.era == Era::Modern);
    assert_eq!(cell.seen().await["calls"], calls(&cell, 3) + empty);
    // And once more without a state to come back with.
    if cell.upstream.era == Era::Modern {
        let cell = Cell {
            label: format!("{} (stateless)", cell.label),
            ..cell
        };
        let mut talk = cell
            .alice
            .call(&cell.tool("ask"), cell.ask(json!({ "stateless": true })))
            .await;
        let (_, ended) = talk.finish(|asked| cell.kind.say(asked)).await;
        assert_eq!(ended.told()["heard"], cell.kind.heard(&cell.label, 1, 1));
    }
}

#[test]
fn two_users_are_asked_at_the_same_time_and_each_gets_their_own_answer() {
    over_all(&shared(), "users", users);
}

async fn users(cell: Cell) {
    let theirs = Cell {
        label: format!("{} (bob)", cell.label),
        alice: cell.bob.clone(),
        ..cell.clone()
    };
    let mut alices = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    let asked = alices.asked().await;
    let mut bobs = theirs.alice.call(&cell.tool("ask"), theirs.ask(json!({}))).await;
    let (_, ended) = bobs.finish(|asked| cell.kind.say(asked)).await;
    assert_eq!(ended.told()["heard"], cell.kind.heard(&theirs.label, 1, 1));
    alices.answer(&asked, &cell.kind.say(&asked)).await;
    assert_eq!(
        alices.ended().await.told()["heard"],
        cell.kind.heard(&cell.label, 1, 1)
    );
}
