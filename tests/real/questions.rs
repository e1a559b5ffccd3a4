//! Questions of an upstream in the middle of a call, answered by real clients: elicitation, sampling, roots; and
//! resource subscriptions and list changes, which arrive unasked.

use serde_json::{Value, json};

use crate::drivers::{Client, Era, Script};
use crate::gateway::{self, Toolgate};
use crate::http_servers::{dual, everything, fixture};
use crate::kit;

fn answers() -> Value {
    json!({
        "elicitation": { "action": "accept", "content": { "name": "Ada", "username": "ada", "email": "ada@example.com" } },
        "sampling": "a canned completion",
        "roots": [{ "uri": "file:///srv/canary", "name": "canary" }],
    })
}

const LEGACY: [Client; 4] = [
    Client::Sdk1,
    Client::Client2(Era::Legacy),
    Client::PyMcp(Era::Legacy),
    Client::Rmcp(Era::Legacy),
];
const MODERN: [Client; 3] = [
    Client::Client2(Era::Modern),
    Client::PyMcp(Era::Modern),
    Client::Rmcp(Era::Modern),
];

fn asked(questions: &Value) -> Vec<&str> {
    questions
        .as_array()
        .unwrap()
        .iter()
        .map(|q| q["method"].as_str().unwrap())
        .collect()
}

#[test]
fn legacy_client_answers_the_questions_of_a_legacy_upstream() {
    let upstream = fixture("legacy");
    let toolgate = Toolgate::start(&gateway::http("fixture", &upstream.url("/mcp"), ""));
    for client in LEGACY {
        let script = Script::new()
            .answering(answers())
            .call("elicit", "test_elicitation", json!({ "message": "Who?" }))
            .call("sample", "test_sampling", json!({ "prompt": "Sing" }))
            .call("roots", "test_input_required_result_list_roots", json!({}));
        let seen = client.play(&toolgate.mcp(), None, script);
        assert!(
            seen.text("elicit").starts_with("User response: action=accept"),
            "{}",
            seen.text("elicit")
        );
        assert!(
            seen.text("elicit").contains("\"ada@example.com\""),
            "{}",
            seen.text("elicit")
        );
        assert_eq!(seen.text("sample"), "LLM response: a canned completion");
        assert_eq!(seen.text("roots"), "1 root(s)");
        let questions = seen.fact("questions");
        assert_eq!(
            asked(questions),
            ["elicitation/create", "sampling/createMessage", "roots/list"],
            "{client:?}"
        );
        assert_eq!(questions[0]["params"]["message"], "Who?");
        assert_eq!(questions[1]["params"]["messages"][0]["content"]["text"], "Sing");
    }
}

#[test]
fn modern_client_answers_the_questions_of_a_modern_upstream() {
    let (upstream, python) = (fixture("modern"), dual());
    let config = gateway::http("fixture", &upstream.url("/mcp"), "")
        + &gateway::http("dual", &python.url("/mcp"), "era = \"modern\"");
    let toolgate = Toolgate::start(&config);
    for client in MODERN {
        let script = Script::new()
            .answering(answers())
            .call("elicit", "test_input_required_result_elicitation", json!({}))
            .call("sample", "test_input_required_result_sampling", json!({}))
            .call("roots", "test_input_required_result_list_roots", json!({}))
            .call("three", "test_input_required_result_multiple_inputs", json!({}))
            .call("ask", "dual_ask", json!({}));
        let seen = client.play(&toolgate.mcp(), None, script);
        assert_eq!(seen.text("elicit"), "Hello, Ada!");
        assert_eq!(seen.text("sample"), "a canned completion");
        assert_eq!(seen.text("roots"), "1 root(s)");
        assert_eq!(seen.text("three"), "all inputs received");
        assert_eq!(seen.text("ask"), "Hello, Ada!");
        assert_eq!(
            asked(seen.fact("questions")).len(),
            7,
            "{client:?}: {:#}",
            seen.fact("questions")
        );
    }
}

#[test]
fn every_client_answers_the_question_of_an_upstream_of_either_era() {
    let upstream = dual();
    let config = "[tools]\nprefix = \"always\"\n".to_owned()
        + &gateway::http("old", &upstream.url("/mcp"), "era = \"legacy\"")
        + &gateway::http("new", &upstream.url("/mcp"), "era = \"modern\"");
    let toolgate = Toolgate::start(&config);
    for client in Client::ALL {
        let script = Script::new()
            .answering(answers())
            .call("old", "old__dual_ask", json!({}))
            .call("new", "new__dual_ask", json!({}))
            .call("old again", "old__dual_ask", json!({}));
        let seen = client.play(&toolgate.mcp(), None, script);
        for step in ["old", "new", "old again"] {
            assert_eq!(seen.text(step), "Hello, Ada!", "{client:?}, {step}");
        }
        let questions = seen.fact("questions");
        assert_eq!(
            asked(questions),
            ["elicitation/create"; 3],
            "{client:?}: {questions:#}"
        );
        assert_eq!(questions[0]["params"]["message"], "Who are you?");
    }
}

#[test]
fn client_without_the_capability_is_not_asked() {
    let upstream = fixture("both");
    let toolgate = Toolgate::start(&gateway::http("fixture", &upstream.url("/mcp"), ""));
    for client in [Client::Client2(Era::Modern), Client::Rmcp(Era::Modern)] {
        let script = Script::new()
            .call(
                "asks what it may",
                "test_input_required_result_capabilities",
                json!({}),
            )
            .call("needs sampling", "test_missing_capability", json!({}));
        let seen = client.play(&toolgate.mcp(), None, script);
        assert_eq!(seen.text("asks what it may"), "no input capability");
        assert_eq!(
            seen.error("needs sampling")["code"],
            -32021,
            "{:#}",
            seen.error("needs sampling")
        );
        assert_eq!(seen.fact("questions"), &json!([]));
    }
}

#[test]
fn resource_updates_reach_the_legacy_client_that_subscribed() {
    let server = everything("streamableHttp", kit::free_port());
    let toolgate = Toolgate::start(&gateway::http("everything", &server.url("/mcp"), ""));
    for client in [Client::Sdk1, Client::Rmcp(Era::Legacy)] {
        let script = Script::new()
            .step(
                "subscribe",
                json!({ "op": "subscribe", "uri": "demo://resource/dynamic/text/7" }),
            )
            .call("toggle", "toggle-subscriber-updates", json!({}))
            .step(
                "updated",
                json!({ "op": "wait", "for": "updates", "count": 1, "ms": 15_000 }),
            );
        let seen = client.play(&toolgate.mcp(), None, script);
        assert!(seen.value("updated").as_u64().unwrap() >= 1);
        assert_eq!(
            seen.fact("updates")[0]["uri"],
            "demo://resource/dynamic/text/7",
            "{client:?}"
        );
    }
}

/// Lets the server grow a tool, and waits until the client has heard of it and sees it.
fn hears_of_a_new_tool(client: Client, toolgate: &Toolgate, name: &str) {
    // What the server announced for the client before may be told twice, at most a look later; this one must not hear it.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    // A legacy client opens its stream after its session; a change before that is nobody's to hear.
    let mut script = Script::new().step("stream", json!({ "op": "sleep", "ms": 1000 }));
    if client.speaks() == Era::Modern {
        script = script.step(
            "listen",
            json!({ "op": "listen", "filter": { "toolsListChanged": true } }),
        );
    }
    let script = script
        .step("before", json!({ "op": "tools" }))
        .call("grow", "dual_grow", json!({ "name": name }))
        .step(
            "heard",
            json!({ "op": "wait", "for": "changed", "count": 1, "ms": 10_000 }),
        )
        .step("tools", json!({ "op": "tools" }))
        .call("grown", name, json!({}));
    let seen = client.play(&toolgate.mcp(), None, script);
    assert_eq!(seen.text("grow"), "grown");
    assert_eq!(seen.fact("changed"), &json!(["tools"]), "{client:?}, {name}");
    assert!(
        seen.names("tools").iter().any(|tool| tool == name),
        "{client:?}: {:?}",
        seen.names("tools")
    );
    assert_eq!(seen.text("grown"), name);
}

#[test]
fn new_tool_of_a_modern_upstream_is_heard_of_and_seen_by_every_client() {
    let upstream = dual();
    let toolgate = Toolgate::start(&gateway::http("dual", &upstream.url("/mcp"), "era = \"modern\""));
    for (number, client) in Client::ALL.into_iter().enumerate() {
        hears_of_a_new_tool(client, &toolgate, &format!("grown_{number}"));
    }
}

#[test]
fn new_tool_of_a_legacy_upstream_is_heard_of_and_seen_by_every_client() {
    let upstream = dual();
    let toolgate = Toolgate::start(&gateway::http("dual", &upstream.url("/mcp"), "era = \"legacy\""));
    for (number, client) in Client::ALL.into_iter().enumerate() {
        hears_of_a_new_tool(client, &toolgate, &format!("grown_{number}"));
    }
}
