//! Everybody at once: first uses, links, browsers that come back, sessions with toolkits of their own.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{MULTI, WHO, nobody_crossed};
use crate::agent::{Agent, Era};
use crate::catalogue::{house, multi, never};
use crate::connect::{TOOLKITS, consent, file, look};
use crate::fake::Fake;

const CROWD: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_first_uses_of_one_user_make_one_session() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let more = format!("in_flight_max = 200\n{TOOLKITS}\n[limits]\nin_flight_per_user_max = 200");
    let house = house(&file(&fake, "memory", &more)).await;
    // A client of the legacy era has an id in use once at a time; of the modern era each request stands by itself.
    let mut agents = vec![Agent::new(&house, "alice", Era::Modern, false).await];
    for _ in 0..10 {
        agents.push(Agent::new(&house, "alice", Era::Legacy, false).await);
    }
    // Slow enough for all of them to wait for it.
    fake.control(&json!({ "do": "delay", "tool": "alice", "ms": 300 }));
    let calls = (0..CROWD).map(|number| {
        let agent = if number <= 10 { &agents[number] } else { &agents[0] };
        agent.call(MULTI, multi(WHO), never)
    });
    for went in join_all(calls).await {
        let said = went.said();
        assert_eq!(
            said["data"]["results"][0]["response"]["data"]["login"], "alice",
            "{went:?}"
        );
    }
    assert_eq!((fake.creates_of("alice"), fake.calls_of("alice")), (1, CROWD));
    nobody_crossed(&fake);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_connects_at_once_make_no_more_links_than_one_after_the_other() {
    let fake = Fake::start().await;
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let path = "/api/integrations/github/connect";
    let asks = (0..CROWD).map(|_| house.rest("alice", Method::POST, path, Some(json!({}))));
    let mut links = Vec::new();
    for (status, answer) in join_all(asks).await {
        match status {
            200 => links.push(answer["authUrl"].as_str().unwrap().to_owned()),
            429 => {}
            other => panic!("{other}: {answer}"),
        }
    }
    assert_eq!((links.len(), fake.accounts_of("alice").len()), (5, 5));
    let standing = house.standing("alice", "github").await;
    assert_eq!(
        standing["accounts"].as_array().map(Vec::len),
        Some(1),
        "{standing}"
    );
    // All of the links are gone through, and all come back at once: one connection, and no account beside it.
    let backs = join_all(links.iter().map(|link| consent(link, "allow"))).await;
    for shown in join_all(backs.iter().map(|back| look(back))).await {
        assert_eq!(shown.outcome(), "connected", "{shown:?}");
    }
    let standing = house.standing("alice", "github").await;
    assert_eq!(
        (&standing["status"], standing["accounts"].as_array().map(Vec::len)),
        (&json!("ACTIVE"), Some(1)),
        "{standing}"
    );
    let active: Vec<Value> = fake
        .accounts_of("alice")
        .into_iter()
        .filter(|one| one["status"] == "ACTIVE")
        .map(|one| one["id"].clone())
        .collect();
    assert_eq!(
        active,
        [standing["accounts"][0]["id"].clone()],
        "the others made room"
    );
    // And calls that need a connection share one link, however many there are.
    let bob = Agent::new(&house, "bob", Era::Modern, false).await;
    let calls = (0..20).map(|_| bob.call(MULTI, multi(WHO), never));
    let links: std::collections::BTreeSet<String> = join_all(calls)
        .await
        .into_iter()
        .map(|went| went.end["result"]["_meta"]["toolgate/connect"][0]["url"].to_string())
        .collect();
    assert_eq!((links.len(), fake.accounts_of("bob").len()), (1, 1), "{links:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_browser_many_times_and_its_program_settle_a_flow_once() {
    let fake = Fake::start().await;
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let (link, state) = house.begin("alice", "github").await;
    let back = consent(&link, "allow").await;
    let pages = join_all((0..20).map(|_| look(&back)));
    let path = "/api/integrations/github/complete";
    let asks =
        join_all((0..20).map(|_| house.rest("alice", Method::POST, path, Some(json!({ "state": state })))));
    let (pages, asks) = tokio::join!(pages, asks);
    assert!(
        pages.iter().all(|shown| shown.outcome() == "connected"),
        "{pages:?}"
    );
    assert!(
        asks.iter()
            .all(|(status, answer)| *status == 200 && answer["connected"] == true),
        "{asks:?}"
    );
    assert_eq!(fake.accounts_of("alice").len(), 1);
    // Disconnected as often at once: one of them does it, and it is gone.
    let path = "/api/integrations/github";
    let asks = join_all((0..10).map(|_| house.rest("alice", Method::DELETE, path, None))).await;
    assert!(
        asks.iter().all(|(status, _)| matches!(status, 200 | 404)),
        "{asks:?}"
    );
    assert!(asks.iter().any(|(status, _)| *status == 200), "{asks:?}");
    assert_eq!(fake.accounts_of("alice").len(), 0);
    assert_eq!(house.standing("alice", "github").await["status"], Value::Null);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_one_user_are_bounded_however_fast_they_are_asked_for() {
    let fake = Fake::start().await;
    // Toolkits that there need not be: what Composio says of them is not asked here.
    fake.control(&json!({ "do": "switch", "name": "unknown_toolkits_are_refused", "to": false }));
    let house = house(&file(&fake, "memory", "")).await;
    let path = "/api/tool-router/create-session";
    let asks = (0..120).map(|number| {
        let body = json!({ "toolkits": [format!("toolkit{number}")] });
        house.rest("alice", Method::POST, path, Some(body))
    });
    let statuses: Vec<u16> = join_all(asks)
        .await
        .into_iter()
        .map(|(status, _)| status)
        .collect();
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((of(200), of(409)), (100, 20), "{statuses:?}");
    assert_eq!(fake.creates_of("alice"), 100);
    // Bob is not concerned.
    let made = house.post("bob", path, json!({ "toolkits": ["github"] })).await;
    assert_eq!(made["success"], true);
    house.stop().await;
}
