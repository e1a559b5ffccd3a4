//! A thousand calls that wait for their clients at the same time: what they take is bounded, and all of them end.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use toolgate::limits::{IN_FLIGHT_PER_USER_MAX, PARKED_CALL_BYTES};

use crate::cells::Kind;
use crate::fleet::{ALICE, Fleet};
use crate::peer::{Peer, block_on, everything, text};
use crate::silence::nothing_is_left;
use crate::talk::{Asked, Talk};

const CALLS: usize = 1_000;
const USERS: usize = 20;
const AT_ONCE: usize = 50;
const TOOL: &str = "legacy_http__ask";
const KIND: Kind = Kind::Form;

const _: () = assert!(
    CALLS / USERS <= IN_FLIGHT_PER_USER_MAX,
    "nobody has more than a user may have"
);

#[test]
fn a_thousand_parked_calls_stay_within_their_bound_and_all_end() {
    let fleet = Fleet::start("question_timeout_ms = 25_000");
    block_on(async {
        // What is made once is made before: threads, pools, sessions.
        for (talk, asked) in park(&fleet, "warm", USERS).await {
            end(talk, &asked).await;
        }
        let before = resident_bytes(fleet.pid());
        let mut waiting = park(&fleet, "call", CALLS).await;
        let metrics = text(&fleet.path("/metrics"), ALICE).await;
        assert!(
            metrics.contains(&format!("\ntoolgate_parked_calls {CALLS}\n")),
            "{metrics}"
        );
        let grown = resident_bytes(fleet.pid()).saturating_sub(before);
        println!("{CALLS} parked calls took {} bytes each", grown / CALLS);
        assert!(
            grown <= CALLS * PARKED_CALL_BYTES,
            "{CALLS} parked calls took {grown} bytes"
        );

        let never = waiting.split_off(CALLS / 2);
        stream::iter(waiting)
            .for_each_concurrent(AT_ONCE, |(talk, asked)| async move { end(talk, &asked).await })
            .await;
        nothing_is_left(&fleet, Duration::from_mins(1)).await;
        stream::iter(never)
            .for_each_concurrent(AT_ONCE, |(talk, _)| async move {
                let label = &talk.arguments["label"];
                let seen = talk
                    .peer
                    .ask("legacy_http__seen", json!({ "label": label }))
                    .await;
                let told = seen.told();
                assert!(told["state"] == "done" || told["state"] == "cancelled", "{told}");
            })
            .await;
    });
}

/// Starts so many calls and leaves each at its question.
async fn park(fleet: &Fleet, name: &str, calls: usize) -> Vec<(Talk, Asked)> {
    let peers: Vec<Peer> = (0..USERS)
        .map(|n| Peer::modern(fleet.mcp(), &format!("user-{n}"), everything()))
        .collect();
    let call = async |n: usize| {
        let peer = &peers[n % USERS];
        let arguments = json!({ "label": format!("{name}-{n}"), "kind": KIND.name() });
        let mut talk = peer.call(TOOL, arguments).await;
        let asked = talk.asked().await;
        (talk, asked)
    };
    stream::iter((0..calls).map(call))
        .buffered(AT_ONCE)
        .collect()
        .await
}

async fn end(mut talk: Talk, asked: &Asked) {
    let label = talk.arguments["label"].as_str().unwrap().to_owned();
    talk.answer(asked, &KIND.say(asked)).await;
    assert_eq!(talk.ended().await.told()["heard"], KIND.heard(&label, 1, 1));
}

fn resident_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}
