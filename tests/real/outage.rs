//! One of three real gateways is killed under load, stays away and comes back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::gateway::{self, Toolgate};
use crate::http_servers::{Server, everything};
use crate::kit;
use crate::wire::{Session, block_on, client};

/// Calls that one worker made: when each began, how long it took, and what went wrong.
type Calls = Vec<(Instant, Duration, Option<String>)>;

/// Calls one gateway's `echo` over and over until told to stop.
async fn work(url: &str, gateway: &str, stop: &AtomicBool, calls: &Mutex<Calls>) {
    let session = Session::open(client(), url, "").await;
    let mut id = 1;
    while !stop.load(Ordering::Relaxed) {
        let (began, message) = (Instant::now(), format!("{gateway} {id}"));
        let answer = session
            .call(
                id,
                &format!("{gateway}__echo"),
                json!({ "message": message }),
                None,
            )
            .await;
        let wrong = (answer.text() != Ok(format!("Echo: {message}").as_str())).then_some(answer.raw);
        let failed = wrong.is_some();
        calls.lock().unwrap().push((began, began.elapsed(), wrong));
        id += 1;
        if failed {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn tools(session: &Session) -> Vec<String> {
    use crate::wire::JsonBody;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let response = session
        .request(reqwest::Method::POST)
        .json_body(&list)
        .send()
        .await
        .unwrap();
    let text = response.text().await.unwrap();
    let start = text.find('{').unwrap_or_else(|| panic!("no list: {text}"));
    let mut messages = serde_json::Deserializer::from_str(&text[start..]).into_iter::<serde_json::Value>();
    let message = messages.next().unwrap().unwrap();
    message["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].as_str().unwrap().to_owned())
        .collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    assert!(!times.is_empty(), "no call was made in that time");
    times.sort();
    times[times.len() / 2]
}

/// All calls of a run, and when the one gateway went and was started again.
#[derive(Default)]
struct Run {
    stop: AtomicBool,
    others: Mutex<Calls>,
    dying: Mutex<Calls>,
}

/// Kills the gateway behind `burrow`, watches the list while it is away, starts it again and waits until calls to it
/// succeed. Nobody tells Toolgate that it is back. Returns when it was killed and when it was up again.
async fn story(run: &Run, watch: &Session, mut burrow: Server) -> (Instant, Instant) {
    let whole = tools(watch).await;
    assert!(whole.len() >= 3 * 13, "{whole:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let killed = Instant::now();
    burrow.process.kill();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = tools(watch).await;
        assert_eq!(now, whole, "the list must stay whole while a gateway is away");
    }
    let port = burrow.port;
    let burrow = tokio::task::spawn_blocking(move || everything("streamableHttp", port))
        .await
        .unwrap();
    let restarted = Instant::now();
    let answers = |calls: &Calls| {
        calls
            .iter()
            .any(|(began, _, wrong)| *began > restarted && wrong.is_none())
    };
    while !answers(&run.dying.lock().unwrap()) {
        let last = format!("{:?}", run.dying.lock().unwrap().last());
        assert!(
            restarted.elapsed() < Duration::from_mins(1),
            "it did not come back: {last}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("burrow is back {:?} after it listened again", restarted.elapsed());
    assert_eq!(tools(watch).await, whole);
    run.stop.store(true, Ordering::Relaxed);
    tokio::task::spawn_blocking(move || drop(burrow)).await.unwrap();
    (killed, restarted)
}

fn judge_the_living(calls: &Calls, killed: Instant, restarted: Instant) {
    let failed: Vec<_> = calls.iter().filter_map(|(_, _, wrong)| wrong.as_ref()).collect();
    assert!(
        failed.is_empty(),
        "{} of {} failed: {:#?}",
        failed.len(),
        calls.len(),
        failed.first()
    );
    let took = |from: Instant, to: Instant| {
        let within = calls.iter().filter(|(began, ..)| *began > from && *began < to);
        median(within.map(|(_, took, _)| *took).collect())
    };
    let before = took(killed.checked_sub(Duration::from_secs(3)).unwrap(), killed);
    let during = took(killed, restarted);
    println!(
        "{} calls to the living, median {before:?} before and {during:?} during the outage",
        calls.len()
    );
    assert!(
        during < before * 3 + Duration::from_millis(50),
        "slower: {before:?} before, {during:?} during"
    );
}

fn judge_the_dead(calls: &Calls, killed: Instant, restarted: Instant) {
    let early: Vec<_> = calls
        .iter()
        .filter(|(began, took, _)| *began + *took < killed)
        .collect();
    let failed: Vec<_> = early.iter().filter_map(|(_, _, wrong)| wrong.as_ref()).collect();
    assert!(
        !early.is_empty() && failed.is_empty(),
        "before it was killed: {failed:#?}"
    );
    let away = calls
        .iter()
        .filter(|(began, ..)| *began > killed && *began < restarted);
    let errors: Vec<_> = away
        .filter_map(|(_, took, wrong)| Some((took, wrong.as_ref()?)))
        .collect();
    assert!(
        errors.len() >= 10,
        "only {} calls to the dead gateway failed",
        errors.len()
    );
    for (took, error) in errors {
        let named = error.replace("burrow__echo", "");
        assert!(
            named.contains("burrow") && named.contains("gateway"),
            "it must name the gateway: {error}"
        );
        assert!(
            *took < Duration::from_secs(5),
            "an error must come at once, this took {took:?}: {error}"
        );
    }
}

#[test]
fn gateway_that_dies_under_load_hurts_no_other_and_comes_back_by_itself() {
    let [aviary, burrow, colony] = [(); 3].map(|()| everything("streamableHttp", kit::free_port()));
    let config = "[tools]\nprefix = \"always\"\n".to_owned()
        + &gateway::http("aviary", &aviary.url("/mcp"), "")
        + &gateway::http("burrow", &burrow.url("/mcp"), "")
        + &gateway::http("colony", &colony.url("/mcp"), "");
    let toolgate = Toolgate::start(&config);
    let url = toolgate.mcp();
    let run = Run::default();
    let (killed, restarted) = block_on(async {
        let watch = Session::open(client(), &url, "").await;
        let load =
            ["aviary", "colony", "aviary", "colony"].map(|name| work(&url, name, &run.stop, &run.others));
        let victims = ["burrow", "burrow"].map(|name| work(&url, name, &run.stop, &run.dying));
        let (times, _, _) =
            futures_util::join!(story(&run, &watch, burrow), join_all(load), join_all(victims));
        times
    });
    judge_the_living(&run.others.lock().unwrap(), killed, restarted);
    judge_the_dead(&run.dying.lock().unwrap(), killed, restarted);
}
