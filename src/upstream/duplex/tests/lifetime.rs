//! When pipes are opened, kept, lost and let go.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_pipe_is_opened_once_however_many_wait_for_it() {
    let mut bench = Bench::new(Processes::Shared);
    let flying: Vec<Flying> = (0..10)
        .map(|n| bench.calls(&person(&format!("user{n}"), "s")))
        .collect();
    let mut upstream = bench.opened().await;
    upstream.shakes_hands().await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        let call = upstream.hears().await;
        ids.push(call["id"].as_u64().unwrap());
        upstream.answers(&call);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10, "every call has an id of its own");
    for flight in flying {
        flight.lands().await.unwrap();
    }
    assert!(bench.pipes.try_recv().is_err(), "opened twice");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_make_the_next_one_start_from_the_beginning() {
    let mut bench = Bench::new(Processes::Shared);
    let first = bench.calls(&person("alice", "s"));
    let mut upstream = bench.opened().await;
    first.cancel.cancel();
    assert!(matches!(first.lands().await, Err(CallError::Cancelled)));
    let second = bench.calls(&person("bob", "s"));
    upstream.shakes_hands().await;
    let call = upstream.hears().await;
    upstream.answers(&call);
    second.lands().await.unwrap();
    assert!(bench.pipes.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn failed_starts_are_repeated_after_growing_waits() {
    let mut bench = Bench::with(Processes::PerUser, EraChoice::Legacy, true);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let refused = bench.calls(&person("alice", "s"));
        drop(bench.opened().await);
        assert!(refused.refusal().await.contains("not available: refused"));
        // Somebody else's process would not start either.
        let error = bench.calls(&person("bob", "s")).refusal().await;
        let (_, wait) = error.split_once("next attempt in ").unwrap();
        let seconds: u64 = wait.strip_suffix(" s").unwrap().parse().unwrap();
        assert!(bench.pipes.try_recv().is_err(), "started within the wait");
        waits.push(seconds);
        advance(Duration::from_secs(seconds)).await;
    }
    for (wait, min) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert!((min..=min + min / 2 + 1).contains(wait), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_pipe_fails_its_calls_and_comes_back_sooner_when_it_held_for_long() {
    let mut bench = Bench::new(Processes::Shared);
    let alice = person("alice", "s");
    for (held, longest_s) in [(0, 2), (1, 3), (1, 6), (RECONNECT_HEALTHY_AFTER.as_secs(), 2)] {
        let flight = bench.calls(&alice);
        let mut upstream = bench.opened().await;
        upstream.shakes_hands().await;
        upstream.hears().await;
        sleep(Duration::from_secs(held)).await;
        upstream.0.inbox.closed("it exited with status 1");
        let Err(CallError::Failed { reason, sent, .. }) = flight.lands().await else {
            panic!("no failure")
        };
        assert_eq!((reason.as_str(), sent), ("it exited with status 1", true));
        let error = bench.calls(&alice).refusal().await;
        let (reason, wait) = error.split_once("; next attempt in ").unwrap();
        assert!(reason.ends_with("it exited with status 1"), "{error}");
        let seconds: u64 = wait.strip_suffix(" s").unwrap().parse().unwrap();
        assert!(seconds <= longest_s, "{error} after {held} s");
        advance(Duration::from_secs(seconds)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unused_pipe_of_a_user_is_let_go_and_a_watched_or_shared_one_is_kept() {
    let alice = person("alice", "s");
    for (shares, watches, kept) in [
        (Processes::PerUser, false, false),
        (Processes::PerSession, false, false),
        (Processes::PerUser, true, true),
        (Processes::Shared, false, true),
    ] {
        let mut bench = Bench::new(shares);
        let flight = bench.calls(&alice);
        let mut upstream = bench.opened().await;
        upstream.shakes_hands().await;
        let call = upstream.hears().await;
        upstream.answers(&call);
        flight.lands().await.unwrap();
        let (outbox, _receiver) = Outbox::new(1);
        if watches {
            let mut watcher = alice.clone();
            watcher.outbox = Some(outbox);
            let (watcher, route) = (Arc::new(watcher), tool_route("x://1", "x://1"));
            let watching = bench.duplex.watch_resource(&route, &watcher, true);
            let telling = async {
                let asked = upstream.hears().await;
                assert_eq!(asked["method"], "resources/subscribe");
                upstream.answers(&asked);
            };
            let (told, ()) = tokio::join!(watching, telling);
            told.unwrap();
        }
        sleep(UPSTREAM_SESSION_IDLE_MAX + SWEEP_INTERVAL * 2).await;
        assert_eq!(
            upstream.0.stop.is_cancelled(),
            !kept,
            "{shares:?}, watched: {watches}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_watched_pipe_that_was_lost_is_reopened_and_told_what_is_watched() {
    let mut bench = Bench::new(Processes::PerUser);
    let (outbox, mut received) = Outbox::new(4);
    let mut alice = person("alice", "s");
    alice.outbox = Some(outbox);
    let duplex = Arc::clone(&bench.duplex);
    bench.supervisor.spawn("watch", async move {
        let route = tool_route("g+x://1", "x://1");
        duplex
            .watch_resource(&route, &Arc::new(alice), true)
            .await
            .unwrap();
    });
    for _ in 0..2 {
        let mut upstream = bench.opened().await;
        upstream.shakes_hands().await;
        let asked = upstream.hears().await;
        assert_eq!(
            (&asked["method"], &asked["params"]["uri"]),
            (&json!("resources/subscribe"), &json!("x://1"))
        );
        upstream.answers(&asked);
        settle().await;
        let params = json!({"uri": "x://1"});
        upstream
            .says(json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params}));
        let update = received.recv().await.unwrap();
        assert_eq!(update.params.unwrap().string("uri").as_deref(), Some("g+x://1"));
        upstream.0.inbox.closed("lost");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_on_the_probe_is_started_anew_before_the_handshake() {
    let mut bench = Bench::with(Processes::Shared, EraChoice::Auto, false);
    let flight = bench.calls(&person("alice", "s"));
    let mut first = bench.opened().await;
    let started = crate::clock::now();
    assert_eq!(first.hears().await["method"], "server/discover");
    first.0.stop.cancelled().await;
    assert_eq!(crate::clock::now() - started, STDIO_PROBE_TIMEOUT);
    // The next one is not started before nothing is left of this one.
    settle().await;
    assert!(bench.pipes.try_recv().is_err());
    drop(first);
    let mut second = bench.opened().await;
    second.shakes_hands().await;
    let call = second.hears().await;
    second.answers(&call);
    flight.lands().await.unwrap();
    assert_eq!(bench.duplex.era(), Some(Era::Legacy));
}

#[tokio::test(start_paused = true)]
async fn a_modern_server_that_was_slow_to_start_is_still_found() {
    let mut bench = Bench::with(Processes::Shared, EraChoice::Auto, false);
    let flight = bench.calls(&person("alice", "s"));
    let first = bench.opened().await;
    first.0.stop.cancelled().await;
    drop(first);
    let mut second = bench.opened().await;
    let asked = second.hears().await;
    assert_eq!(asked["method"], "initialize");
    let error = json!({"code": -32022, "message": "Unsupported", "data": {"supported": ["2026-07-28"]}});
    second.says(json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}));
    let asked = second.hears().await;
    assert_eq!(asked["method"], "server/discover");
    let result = json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}});
    second.says(json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}));
    let call = second.hears().await;
    second.answers(&call);
    assert_eq!(flight.lands().await.unwrap().era, Era::Modern);
}

#[tokio::test(start_paused = true)]
async fn one_call_too_many_is_refused_at_once() {
    let mut bench = Bench::new(Processes::Shared);
    let alice = person("alice", "s");
    let first = bench.calls(&alice);
    let mut upstream = bench.opened().await;
    upstream.shakes_hands().await;
    upstream.hears().await;
    let mut flying = vec![first];
    for _ in 1..IN_FLIGHT_PER_GATEWAY_MAX {
        flying.push(bench.calls(&alice));
        upstream.hears().await;
    }
    assert!(matches!(
        bench.calls(&alice).lands().await,
        Err(CallError::Busy { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn ending_the_transport_fails_what_is_in_flight_and_waits_for_the_pipe() {
    let mut bench = Bench::new(Processes::Shared);
    let flight = bench.calls(&person("alice", "s"));
    let mut upstream = bench.opened().await;
    upstream.shakes_hands().await;
    upstream.hears().await;
    let ending = bench.duplex.shut_down();
    let mut ending = std::pin::pin!(ending);
    assert!(timeout(Duration::from_secs(1), &mut ending).await.is_err());
    assert!(flight.refusal().await.contains("shuts down"));
    assert!(upstream.0.stop.is_cancelled());
    drop(upstream);
    ending.await;
}
