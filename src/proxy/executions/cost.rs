//! What a record costs: `cargo test --release --lib cost -- --ignored --nocapture`. Counts the CPU time of the whole
//! process, the writer's and SQLite's threads included, over calls of 200 users in sessions, as calls make them.

use std::sync::Arc;

use super::*;
use crate::config::StorePlace;
use crate::exchange::Client;
use crate::identity::{self, Identity};
use crate::ids::{RequestId, SessionId};
use crate::upstream::fake::{answer, permit, tool_call};

const CALLS: u32 = 400_000;
/// What one look at the clock of the process is worth, in microseconds.
const TICK_US: f64 = 10_000.0;

fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * TICK_US
}

/// The clients of 200 users.
fn clients() -> Vec<Arc<Client>> {
    let keys = vec![crate::config::Key {
        user: crate::ids::UserId::new("backend"),
        sha256: sha2::Digest::finalize(sha2::Digest::chain_update(
            <sha2::Sha256 as sha2::Digest>::new(),
            "backend-key",
        ))
        .into(),
        acts_for_users: true,
        tools: None,
    }];
    let identity = Identity::new(Some(&crate::config::Auth { keys })).unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("x-api-key", "backend-key".parse().unwrap());
    let backend = identity.authenticate(&headers).unwrap();
    let (call, _) = tool_call();
    let client = |number: usize| {
        let user = format!("user-{number}");
        Arc::new(Client {
            principal: identity::speaking_for(&backend, &user).unwrap(),
            scope: Scope::Session(SessionId::new(&format!("{number:0>120}"))),
            ..(*call.client).clone()
        })
    };
    (0..200).map(client).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for release builds"]
async fn a_record_costs_less_than_two_microseconds() {
    let folder = tempfile::tempdir().unwrap();
    let place = StorePlace::File(folder.path().join("toolgate.db"));
    let store = Store::open(&place, clock::unix_s()).await.unwrap();
    let (metrics, supervisor) = (Arc::new(Metrics::new()), Supervisor::new());
    let config = config::Executions::default();
    let recorder = Recorder::start(&config, &store, &metrics, &supervisor)
        .await
        .unwrap();
    let (clients, route) = (clients(), permit("g").route().clone());
    let (mut call, _) = tool_call();
    let came = Ok(answer(r#"{"content":[]}"#));
    let ids: Vec<RequestId> = (0..CALLS)
        .map(|number| RequestId::new(&format!("{number:032}")))
        .collect();
    let mut measured = Vec::new();
    for recorded in [false, true] {
        let before = cpu_us();
        for (number, id) in ids.iter().enumerate() {
            call.client = clients[number % clients.len()].clone();
            call.request_id = Some(id.clone());
            if recorded {
                recorder.begin(&call, &route).await.unwrap().end(&came);
            }
            if recorded && number % 1_000 == 999 {
                recorder.settled().await;
            }
        }
        measured.push((cpu_us() - before) / f64::from(CALLS));
    }
    supervisor.stop().await;
    recorder.finish().await;
    let page = metrics.encode();
    assert!(
        page.contains(&format!("toolgate_executions_written_total {CALLS}\n")),
        "{page}"
    );
    let cost = measured[1] - measured[0];
    eprintln!(
        "a record costs {cost:.2} us of CPU, all threads; the loop alone {:.2} us",
        measured[0]
    );
    assert!(cost < 2.0, "{cost}");
}
