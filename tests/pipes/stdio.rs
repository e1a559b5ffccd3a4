//! Gateways over stdio against a real process (`fake.py`) under the real guard: eras, isolation, faults.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::people::{Person, route};
use serde_json::{Value, json};
use toolgate::catalog::listing::Kind;
use toolgate::catalog::route::Route;
use toolgate::config::{self, EraChoice, Processes, Secret};
use toolgate::exchange::{Answer, CallError, Event, Outbox};
use toolgate::ids::GatewayId;
use toolgate::protocol::json::Raw;
use toolgate::protocol::message::Outcome;
use toolgate::protocol::meta::LogLevel;
use toolgate::protocol::version::Era;
use toolgate::supervisor::Supervisor;
use toolgate::upstream::stdio::{self, Host};
use toolgate::upstream::transport::Transport;

const GUARD: &str = env!("CARGO_BIN_EXE_toolgate");
const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pipes/fake.py");
/// A process has started and taken its first call by then, on a busy machine too.
const STARTED: Duration = Duration::from_secs(2);

struct Bench {
    host: Arc<Host>,
    supervisor: Supervisor,
}

impl Bench {
    fn new(processes_max: usize) -> Self {
        let supervisor = Supervisor::new();
        let mut environment: Vec<_> = std::env::vars_os().collect();
        environment.push(("ALICE_KEY".into(), "must not leak".into()));
        environment.push(("PASSED_ON".into(), "yes".into()));
        let host = Host::new(
            GUARD.into(),
            environment,
            processes_max,
            Duration::from_secs(10),
            supervisor.clone(),
        );
        Self {
            host: Arc::new(host),
            supervisor,
        }
    }

    fn gateway(&self, args: &[&str], processes: Processes, era: EraChoice) -> Arc<dyn Transport> {
        let mut command = vec!["python3".to_owned(), FAKE.to_owned()];
        command.extend(args.iter().map(ToString::to_string));
        self.running(command, processes, era)
    }

    fn fake(&self, mode: &str, processes: Processes) -> Arc<dyn Transport> {
        self.gateway(&[mode], processes, EraChoice::Auto)
    }

    fn running(&self, command: Vec<String>, processes: Processes, era: EraChoice) -> Arc<dyn Transport> {
        let gateway = config::Gateway {
            name: GatewayId::new("fake"),
            transport: config::Transport::Stdio {
                command,
                env: vec![("TOKEN".to_owned(), Secret::new("t0".to_owned()))],
                env_pass: vec!["PASSED_ON".to_owned()],
                cwd: Some("/".into()),
                processes,
                era,
            },
            timeout: Duration::from_secs(15),
            in_flight_max: 8,
            required: false,
            allow: None,
            deny: Vec::new(),
            rename: std::collections::BTreeMap::new(),
            prefix: None,
        };
        stdio::transport(&self.host, &gateway).unwrap()
    }
}

async fn told(person: &Person, gateway: &Arc<dyn Transport>, tool: &str) -> Result<Value, CallError> {
    let (route, call, _heard) = person.call(tool, &json!({}));
    gateway.call(&route, call).await.map(|answer| said(&answer))
}

/// What the fake put into its text.
fn said(answer: &Answer) -> Value {
    let message: Value = serde_json::from_slice(&answer.response.raw).unwrap();
    let text = message["result"]["content"][0]["text"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("no text in {message}"))).unwrap()
}

fn runs(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "never came true: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_era_is_found_also_behind_servers_that_go_silent_or_end_on_the_probe() {
    for (mode, era) in [
        ("legacy", Era::Legacy),
        ("modern", Era::Modern),
        ("silent", Era::Legacy),
        ("exits", Era::Legacy),
    ] {
        let bench = Bench::new(4);
        let gateway = bench.fake(mode, Processes::Shared);
        assert_eq!(gateway.era(), None);
        let listing = gateway.list().await.unwrap();
        assert_eq!(gateway.era(), Some(era), "{mode}");
        assert!(listing.tools.iter().any(|tool| &*tool.own == "echo"), "{mode}");
        let seen = told(&Person::legacy("alice"), &gateway, "echo").await.unwrap();
        assert_eq!(seen["params"]["name"], "echo", "{mode}");
        let has_meta = seen["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28";
        assert_eq!(has_meta, era == Era::Modern, "{mode}");
        gateway.shut_down().await;
    }
}

#[tokio::test]
async fn a_chosen_era_is_not_probed() {
    let bench = Bench::new(4);
    let gateway = bench.gateway(&["legacy"], Processes::Shared, EraChoice::Legacy);
    gateway.list().await.unwrap();
    let state = told(&Person::legacy("alice"), &gateway, "state").await.unwrap();
    assert_eq!(state["seen"][0], "initialize");
    // A modern server is not talked into the old era.
    let gateway = bench.gateway(&["modern"], Processes::Shared, EraChoice::Legacy);
    assert!(gateway.list().await.is_err());
    let gateway = bench.gateway(&["legacy"], Processes::Shared, EraChoice::Modern);
    assert!(gateway.list().await.unwrap_err().0.contains("Method not found"));
}

#[tokio::test]
async fn a_server_gets_its_arguments_and_environment_and_nothing_of_ours() {
    let payloads = ["$(id)", "; id", "a b", "", "'", "\"", "*", "-x", "é", "a\nb"];
    let bench = Bench::new(4);
    let args: Vec<&str> = std::iter::once("legacy").chain(payloads).collect();
    let gateway = bench.gateway(&args, Processes::Shared, EraChoice::Auto);
    let alice = Person::legacy("alice");
    assert_eq!(told(&alice, &gateway, "argv").await.unwrap(), json!(args));
    let env = told(&alice, &gateway, "env").await.unwrap();
    assert_eq!((&env["TOKEN"], &env["PASSED_ON"]), (&json!("t0"), &json!("yes")));
    // The exact set is tested beside the code; interpreters add some of their own.
    let leaked: Vec<_> = env
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| name.starts_with("CARGO") || *name == "ALICE_KEY")
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    assert_eq!(told(&alice, &gateway, "cwd").await.unwrap(), "/");
}

#[tokio::test]
async fn progress_comes_under_the_clients_token_and_ids_are_ours() {
    for mode in ["legacy", "modern"] {
        let bench = Bench::new(4);
        let gateway = bench.fake(mode, Processes::Shared);
        let (route, call, mut heard) = Person::legacy("alice").call("progress", &json!({}));
        let answer = gateway.call(&route, call).await.unwrap();
        assert!(said(&answer).is_number(), "the server saw the client's token");
        let mut steps = Vec::new();
        while let Ok(Event::Notification(notification)) = heard.try_recv() {
            let message: Value = serde_json::from_slice(&notification.raw).unwrap();
            assert_eq!(message["params"]["progressToken"], "mine");
            steps.push(message["params"]["progress"].as_u64().unwrap());
        }
        assert_eq!(steps, [0, 1, 2], "{mode}");
    }
}

#[tokio::test]
async fn a_question_reaches_the_caller_and_its_answer_the_server() {
    for mode in ["legacy", "modern"] {
        let bench = Bench::new(4);
        let gateway = bench.fake(mode, Processes::Shared);
        let (route, call, mut heard) = Person::legacy("alice").call("ask", &json!({}));
        let answering = async {
            let Some(Event::Question(question)) = heard.recv().await else {
                panic!("no question")
            };
            let reply = Raw::literal(r#"{"action":"accept","content":{"name":"Al"}}"#);
            question.reply.send(Ok(reply)).unwrap();
        };
        let (answer, ()) = tokio::join!(gateway.call(&route, call), answering);
        let told = said(&answer.unwrap());
        let reply = if mode == "legacy" {
            &told["result"]
        } else {
            assert_eq!(told["state"], "s1");
            &told["responses"]["q"]
        };
        assert_eq!(
            *reply,
            json!({"action": "accept", "content": {"name": "Al"}}),
            "{mode}"
        );
    }
}

#[tokio::test]
async fn a_modern_client_gets_input_required_as_the_answer() {
    let bench = Bench::new(4);
    let gateway = bench.fake("modern", Processes::Shared);
    let (route, call, _heard) = Person::modern("alice").call("ask", &json!({}));
    let answer = gateway.call(&route, call).await.unwrap();
    let Outcome::Result(result) = &answer.response.outcome else {
        panic!("no result")
    };
    assert_eq!(result.string("resultType").as_deref(), Some("input_required"));
}

#[tokio::test]
async fn a_question_goes_to_nobody_when_it_could_be_anothers_and_roots_outside_of_calls_are_refused() {
    let bench = Bench::new(4);
    let gateway = bench.fake("legacy", Processes::Shared);
    let alice = Person::legacy("alice");
    // The server asks right after the handshake and reads our refusal before the second call.
    told(&alice, &gateway, "pid").await.unwrap();
    let state = told(&alice, &gateway, "state").await.unwrap();
    assert!(
        state["seen"]
            .as_array()
            .unwrap()
            .contains(&json!({"early": -32601})),
        "{state}"
    );
    let (sleep, sleeping, _quiet) = alice.call("sleep", &json!({}));
    let cancel = sleeping.cancel.clone();
    let (ask, asking, mut asked) = Person::legacy("bob").call("ask", &json!({}));
    let both = async {
        let slept = gateway.call(&sleep, sleeping);
        let answered = async {
            eventually("alice's call is in flight", async || {
                let state = told(&Person::legacy("carol"), &gateway, "state").await.unwrap();
                state["seen"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|seen| *seen == "tools/call")
                    .count()
                    >= 4
            })
            .await;
            let answer = gateway.call(&ask, asking).await;
            cancel.cancel();
            answer
        };
        tokio::join!(slept, answered)
    };
    let (slept, answered) = both.await;
    assert!(matches!(slept, Err(CallError::Cancelled)));
    let told = said(&answered.unwrap());
    assert_eq!(told["error"]["code"], -32603, "{told}");
    assert!(asked.try_recv().is_err(), "bob was asked");
}

#[tokio::test]
async fn a_question_that_the_client_did_not_declare_is_refused() {
    let bench = Bench::new(4);
    let gateway = bench.fake("legacy", Processes::Shared);
    let arguments = json!({"method": "sampling/createMessage"});
    let (route, call, mut heard) = Person::legacy("alice").call("ask", &arguments);
    let told = said(&gateway.call(&route, call).await.unwrap());
    assert_eq!(told["error"]["code"], -32601);
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn a_cancelled_or_dropped_call_is_told_to_the_server() {
    for mode in ["legacy", "modern"] {
        let bench = Bench::new(4);
        let gateway = bench.fake(mode, Processes::Shared);
        let alice = Person::legacy("alice");
        let (route, call, _heard) = alice.call("sleep", &json!({}));
        let cancel = call.cancel.clone();
        let cancelling = async {
            tokio::time::sleep(STARTED).await;
            cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(gateway.call(&route, call), cancelling);
        assert!(matches!(outcome, Err(CallError::Cancelled)));
        let (route, call, _heard) = alice.call("sleep", &json!({}));
        let dropped = tokio::time::timeout(STARTED, gateway.call(&route, call)).await;
        assert!(dropped.is_err());
        let state = told(&alice, &gateway, "state").await.unwrap();
        assert_eq!(state["cancelled"].as_array().unwrap().len(), 2, "{mode}");
    }
}

#[tokio::test]
async fn answers_to_other_ids_and_second_answers_are_ignored() {
    let bench = Bench::new(4);
    let gateway = bench.fake("legacy", Processes::Shared);
    let alice = Person::legacy("alice");
    assert_eq!(told(&alice, &gateway, "twice").await.unwrap(), "first");
    assert!(told(&alice, &gateway, "pid").await.unwrap().is_number());
    let error = told(&alice, &gateway, "nojson").await.unwrap_err();
    assert!(error.to_string().contains("no valid message"), "{error}");
}

#[tokio::test]
async fn garbage_on_stdout_and_a_flood_on_stderr_do_no_harm() {
    let bench = Bench::new(4);
    let gateway = bench.fake("legacy", Processes::Shared);
    let alice = Person::legacy("alice");
    assert_eq!(
        told(&alice, &gateway, "garbage").await.unwrap(),
        "after the garbage"
    );
    assert_eq!(told(&alice, &gateway, "flood").await.unwrap(), "flooded");
}

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
async fn a_session_declares_what_its_client_declared_and_a_shared_process_everything() {
    let bench = Bench::new(4);
    let alice = Person::legacy("alice");
    for (processes, declared) in [
        (Processes::PerSession, json!({"elicitation": {}})),
        (
            Processes::PerUser,
            json!({"roots": {}, "sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}}),
        ),
    ] {
        let gateway = bench.fake("legacy", processes);
        let state = told(&alice, &gateway, "state").await.unwrap();
        assert_eq!(state["initialized"]["capabilities"], declared);
        gateway.shut_down().await;
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
async fn log_messages_go_to_the_only_caller_at_the_level_it_wants() {
    let bench = Bench::new(4);
    let gateway = bench.fake("legacy", Processes::Shared);
    let alice = Person::legacy("alice");
    let (route, mut call, mut heard) = alice.call("log", &json!({"who": "alice"}));
    call.log_level = Some(LogLevel::Info);
    gateway.call(&route, call).await.unwrap();
    let mut levels = Vec::new();
    while let Ok(Event::Notification(notification)) = heard.try_recv() {
        let message: Value = serde_json::from_slice(&notification.raw).unwrap();
        levels.push(message["params"]["level"].as_str().unwrap().to_owned());
    }
    assert_eq!(levels, ["info", "error"]);
    let state = told(&alice, &gateway, "state").await.unwrap();
    assert_eq!(state["level"], "info");
    let (route, call, mut heard) = alice.call("log", &json!({}));
    gateway.call(&route, call).await.unwrap();
    assert!(heard.try_recv().is_err(), "nobody asked for log messages");
}

#[tokio::test]
async fn changes_of_lists_and_watched_resources_are_heard() {
    for mode in ["legacy", "modern"] {
        let bench = Bench::new(4);
        let gateway = bench.fake(mode, Processes::Shared);
        gateway.list().await.unwrap();
        let mut changes = gateway.changes();
        changes.mark_unchanged();
        let mut alice = Person::legacy("alice");
        told(&alice, &gateway, "changed").await.unwrap();
        assert!(changes.has_changed().unwrap(), "{mode}");
        let (outbox, mut received) = Outbox::new(4);
        alice.0.outbox = Some(outbox);
        let resource = Route {
            kind: Kind::Resource,
            exposed: "fake+x://1".into(),
            own: "x://1".into(),
            ..route("x")
        };
        let client = Arc::new(alice.0.clone());
        gateway.watch_resource(&resource, &client, true).await.unwrap();
        let (route, call, _heard) = alice.call("touch", &json!({"uri": "x://1"}));
        gateway.call(&route, call).await.unwrap();
        let update = received.recv().await.unwrap();
        assert_eq!(
            update.params.unwrap().string("uri").unwrap(),
            "fake+x://1",
            "{mode}"
        );
        let state = told(&alice, &gateway, "state").await.unwrap();
        if mode == "modern" {
            assert_eq!(state["filter"]["resourceSubscriptions"], json!(["x://1"]));
            assert_eq!(state["cancelled"].as_array().unwrap().len(), 1, "the old listen");
        } else {
            assert_eq!(state["resources/subscribe"], "x://1");
        }
        gateway.watch_resource(&resource, &client, false).await.unwrap();
        let state = told(&alice, &gateway, "state").await.unwrap();
        if mode == "modern" {
            assert_eq!(state["filter"]["resourceSubscriptions"], json!([]));
        } else {
            assert_eq!(state["resources/unsubscribe"], "x://1");
        }
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
