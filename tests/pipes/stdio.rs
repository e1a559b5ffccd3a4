//! Gateways over stdio against a real process: eras, what a server gets, questions, notifications, faulty answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use toolgate::catalog::listing::Kind;
use toolgate::catalog::route::Route;
use toolgate::config::{EraChoice, Processes};
use toolgate::exchange::{CallError, Event, Outbox};
use toolgate::protocol::json::Raw;
use toolgate::protocol::message::Outcome;
use toolgate::protocol::meta::LogLevel;
use toolgate::protocol::version::Era;

use crate::bench::{Bench, eventually, said, told};
use crate::people::{Person, route};

/// A process has started and taken its first call by then, on a busy machine too.
const STARTED: Duration = Duration::from_secs(2);

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
