//! The life of processes behind stdio: who has one, who makes room, how one ends and what is said of it.

use std::time::Duration;

use serde_json::{Value, json};
use toolgate::config::{EraChoice, Processes};
use toolgate::exchange::CallError;

use crate::bench::{Bench, eventually, runs, told};
use crate::people::Person;

#[tokio::test]
async fn a_crash_fails_the_call_names_the_reason_and_the_next_attempt_waits() {
    let bench = Bench::new(4);
    let gateway = bench.fake("legacy", Processes::Shared);
    let changes = gateway.changes();
    let alice = Person::legacy("alice");
    let before = told(&alice, &gateway, "pid").await.unwrap();
    let error = told(&alice, &gateway, "crash").await.unwrap_err();
    let CallError::Failed {
        gateway: name,
        reason,
        sent,
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((name.as_str(), *sent), ("fake", true));
    assert_eq!(reason, "it exited with status 3: crashed\\u{1b}[31m on purpose");
    assert!(changes.has_changed().unwrap(), "the loss is news");
    let refused = told(&alice, &gateway, "pid").await.unwrap_err();
    let CallError::Unavailable { reason, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert!(
        reason.contains("status 3") && reason.contains("next attempt in"),
        "{reason}"
    );
    let mut after = Value::Null;
    eventually("it is back", async || {
        told(&alice, &gateway, "pid").await.is_ok_and(|pid| {
            after = pid;
            true
        })
    })
    .await;
    assert_ne!(after, before);
    assert!(!runs(&before));
    let error = told(&alice, &gateway, "die").await.unwrap_err();
    assert!(error.to_string().contains("signal 9"), "{error}");
}

#[tokio::test]
async fn a_line_beyond_the_bound_ends_the_process() {
    let bench = Bench::new(4);
    let gateway = bench.fake("legacy", Processes::Shared);
    let alice = Person::legacy("alice");
    let pid = told(&alice, &gateway, "pid").await.unwrap();
    let error = told(&alice, &gateway, "giant").await.unwrap_err();
    assert!(error.to_string().contains("longer than any message"), "{error}");
    eventually("it is gone", async || !runs(&pid)).await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let bench = Bench::new(4);
    let broken = bench.fake("broken", Processes::Shared);
    let error = told(&Person::legacy("alice"), &broken, "pid").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "gateway fake is not available: it exited with status 1: no key was given"
    );
    let command = vec!["no-such-program".to_owned()];
    let absent = bench.running(command, Processes::Shared, EraChoice::Auto);
    let error = absent.list().await.unwrap_err();
    assert!(
        error
            .0
            .contains("\"no-such-program\": install it, or mend `command`"),
        "{error}"
    );
}

#[tokio::test]
async fn users_and_sessions_have_processes_of_their_own_where_that_is_asked_for() {
    let bench = Bench::new(16);
    let (alice, bob) = (Person::legacy("alice"), Person::legacy("bob"));
    let other = alice.clone().session("another session of alice");
    for (processes, same_user, same_everybody) in [
        (Processes::Shared, true, true),
        (Processes::PerUser, true, false),
        (Processes::PerSession, false, false),
    ] {
        let gateway = bench.fake("legacy", processes);
        gateway.list().await.unwrap();
        let pid = async |person: &Person| told(person, &gateway, "pid").await.unwrap();
        let (a, again, b, o) = (
            pid(&alice).await,
            pid(&alice).await,
            pid(&bob).await,
            pid(&other).await,
        );
        assert_eq!(a, again, "{processes:?}");
        assert_eq!(a == o, same_user, "{processes:?}");
        assert_eq!(a == b, same_everybody, "{processes:?}");
        if processes == Processes::PerSession {
            gateway.scope_ended(&alice.0).await;
            eventually("alice's process is gone", async || !runs(&a)).await;
            assert!(runs(&b) && runs(&o));
        }
        gateway.shut_down().await;
        assert!(![a, b, o].iter().any(runs), "{processes:?}");
    }
}

#[tokio::test]
async fn the_least_used_idle_process_makes_room_and_busy_ones_do_not() {
    let bench = Bench::new(2);
    let gateway = bench.fake("legacy", Processes::PerUser);
    let pids = async |user: &str| told(&Person::legacy(user), &gateway, "pid").await;
    let (a, b) = (pids("alice").await.unwrap(), pids("bob").await.unwrap());
    pids("alice").await.unwrap();
    let c = pids("carol").await.unwrap();
    assert!(!runs(&b), "bob's was used least");
    assert!(runs(&a) && runs(&c));
    let (route, first, _heard) = Person::legacy("alice").call("sleep", &json!({}));
    let (_, second, _heard) = Person::legacy("carol").call("sleep", &json!({}));
    let third = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        pids("dave").await
    };
    tokio::select! {
        _ = gateway.call(&route, first) => panic!("sleeps"),
        _ = gateway.call(&route, second) => panic!("sleeps"),
        refused = third => assert!(matches!(refused, Err(CallError::Busy { .. })), "{refused:?}"),
    }
}

#[tokio::test]
async fn stopping_the_house_ends_every_process() {
    let bench = Bench::new(4);
    let gateway = bench.fake("legacy", Processes::PerUser);
    let a = told(&Person::legacy("alice"), &gateway, "pid").await.unwrap();
    let b = told(&Person::legacy("bob"), &gateway, "pid").await.unwrap();
    assert!(runs(&a) && runs(&b));
    bench.supervisor.stop().await;
    assert!(!runs(&a) && !runs(&b));
}
