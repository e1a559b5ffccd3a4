//! Clients that misbehave: they answer twice, for somebody else, or what nobody asked. Nothing of it reaches an
//! upstream, and the client that was asked can still answer.

use serde_json::{Map, Value, json};

use crate::cells::{Cell, Era, over_all, over_all_as};
use crate::fleet::{ALICE, BOB, Fleet, shared};
use crate::talk::{Asked, Ended, Said, Talk, Turn};

/// An answer that differs from the cell's own, so that it shows which one counted.
fn other(cell: &Cell) -> Said {
    Said::Result(if cell.kind.is_elicitation() {
        json!({ "action": "decline" })
    } else {
        cell.kind.answer("another")
    })
}

fn answers(asked: &Asked, said: Said) -> Map<String, Value> {
    let Said::Result(result) = said else {
        panic!("an error")
    };
    Map::from_iter([(asked.key.as_str().unwrap().to_owned(), result)])
}

/// Comes back with answers and a state; expects that this is no call's.
async fn refused(mut talk: Talk, answers: Map<String, Value>, state: Option<Value>) {
    let what = format!("{state:?}");
    let Turn::Ended(ended) = talk.retry(answers, state).await else {
        panic!("asked by {what}");
    };
    assert_eq!(ended.error()["code"], -32602, "{what}");
    assert_eq!(ended.status, 200);
}

/// The rightful client answers, and the upstream hears that and nothing else.
async fn still_answers(cell: &Cell, mut talk: Talk, asked: &Asked, state: Option<Value>) -> Ended {
    talk.state = state;
    talk.answer(asked, &cell.kind.say(asked)).await;
    let ended = talk.ended().await;
    assert_eq!(ended.told()["heard"], cell.kind.heard(&cell.label, 1, 1));
    assert_eq!(cell.seen().await["heard"], 1);
    ended
}

#[test]
fn the_first_of_two_answers_counts() {
    over_all(&shared(), "twice", twice);
}

async fn twice(cell: Cell) {
    let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    let asked = talk.asked().await;
    if cell.client == Era::Legacy {
        for said in [cell.kind.say(&asked), other(&cell)] {
            assert_eq!(cell.alice.reply(&asked.key, &said).await, 202);
        }
        assert_eq!(
            talk.ended().await.told()["heard"],
            cell.kind.heard(&cell.label, 1, 1)
        );
        assert_eq!(
            cell.alice.reply(&asked.key, &other(&cell)).await,
            202,
            "after the end"
        );
        assert_eq!(cell.seen().await["heard"], 1);
        return;
    }
    let (mut second, state) = (talk.again(&cell.alice), talk.state.clone());
    let (willing, unwilling) = (
        answers(&asked, cell.kind.say(&asked)),
        answers(&asked, other(&cell)),
    );
    if cell.upstream.era == Era::Modern {
        // The state is the upstream's own, and so is what it makes of a second answer: nothing is kept here.
        let Turn::Ended(ended) = talk.retry(willing.clone(), state.clone()).await else {
            panic!("asked again")
        };
        assert_eq!(ended.told()["heard"], cell.kind.heard(&cell.label, 1, 1));
        let Turn::Ended(ended) = second.retry(willing, state).await else {
            panic!("asked again")
        };
        assert_eq!(ended.told()["heard"], cell.kind.heard(&cell.label, 1, 1));
        return;
    }
    // Both at the same time: one is answered, the other finds nothing.
    let (one, two) = tokio::join!(
        talk.retry(willing, state.clone()),
        second.retry(unwilling.clone(), state.clone())
    );
    let (Turn::Ended(one), Turn::Ended(two)) = (one, two) else {
        panic!("asked again")
    };
    let (won, lost) = if one.message["error"].is_null() {
        (one, two)
    } else {
        (two, one)
    };
    assert_eq!(won.told()["heard"].as_array().unwrap().len(), 1);
    assert_eq!(lost.error()["code"], -32602);
    assert_eq!(cell.seen().await["heard"], 1);
    refused(second, unwilling, state).await;
}

#[test]
fn nobody_else_can_answer() {
    // Each user with a key of their own.
    over_all_as(&Fleet::start(""), "foreign", [ALICE, BOB], foreign);
}

async fn foreign(cell: Cell) {
    let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    let asked = talk.asked().await;
    let state = talk.state.clone();
    if cell.client == Era::Legacy {
        let thief = cell.alice.posing_as(&cell.bob);
        assert_eq!(
            thief.reply(&asked.key, &other(&cell)).await,
            404,
            "another's session"
        );
        // By his own session, and by another one of the same user: ids of questions count for one session.
        assert_eq!(cell.bob.reply(&asked.key, &other(&cell)).await, 202);
    } else {
        let stolen = answers(&asked, other(&cell));
        if state.is_some() {
            refused(talk.again(&cell.bob), stolen, state.clone()).await;
        }
    }
    assert_eq!(cell.seen().await["heard"], 0);
    assert_eq!(cell.seen().await["calls"], 1);
    still_answers(&cell, talk, &asked, state).await;
}

#[test]
fn another_session_of_the_same_user_cannot_answer() {
    over_all(&shared(), "session", async |cell: Cell| {
        if cell.client == Era::Modern {
            return;
        }
        let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
        let asked = talk.asked().await;
        let second = cell.alice.reopened().await;
        assert_eq!(second.reply(&asked.key, &other(&cell)).await, 202);
        assert_eq!(cell.seen().await["heard"], 0);
        still_answers(&cell, talk, &asked, None).await;
    });
}

#[test]
fn what_was_tampered_with_answers_nothing() {
    over_all(&shared(), "tampered", tampered);
}

async fn tampered(cell: Cell) {
    let mut talk = cell.alice.call(&cell.tool("ask"), cell.ask(json!({}))).await;
    let asked = talk.asked().await;
    let state = talk.state.clone();
    if cell.client == Era::Legacy {
        let id = asked.key.as_u64().expect("a number of ours");
        for key in [
            json!(id + 1_000),
            json!(id.to_string()),
            json!(0),
            json!(-1),
            json!("input-0"),
        ] {
            let status = cell.alice.reply(&key, &other(&cell)).await;
            assert_eq!(status, 202, "{key}");
        }
    } else {
        let text = state.as_ref().and_then(Value::as_str).expect("a state");
        let wrong = answers(&asked, other(&cell));
        for bad in changed(text) {
            refused(talk.again(&cell.alice), wrong.clone(), Some(bad)).await;
        }
        let mut elsewhere = talk.again(&cell.alice);
        elsewhere.arguments["label"] = json!("another call");
        refused(elsewhere, wrong.clone(), state.clone()).await;
        let mut elsewhere = talk.again(&cell.alice);
        elsewhere.tool = cell.tool("seen");
        refused(elsewhere, wrong, state.clone()).await;
    }
    let seen = cell.seen().await;
    assert_eq!((&seen["heard"], &seen["calls"]), (&json!(0), &json!(1)), "{seen}");
    still_answers(&cell, talk, &asked, state).await;
}

/// A state, changed in one way each.
fn changed(text: &str) -> Vec<Value> {
    let mut found: Vec<Value> = (0..text.len())
        .step_by(text.len() / 8)
        .map(|at| {
            let flipped = if &text[at..=at] == "A" { "B" } else { "A" };
            json!(format!("{}{flipped}{}", &text[..at], &text[at + 1..]))
        })
        .collect();
    found.extend([
        json!(&text[..text.len() - 1]),
        json!(format!("{text}A")),
        json!(format!("{text}{text}")),
        json!(""),
        json!("p"),
        json!(7),
        json!({ "id": text }),
        json!([text]),
    ]);
    found
}
