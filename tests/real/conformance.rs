//! The official suite through the gateway (`tests/conformance/run.sh`), and beside it what the suite does not look at:
//! that an answer is the same as without a gateway in between.

use std::process::Command;

use serde_json::{Value, json};

use crate::drivers::{Client, Era, Report, Script};
use crate::gateway::{self, Toolgate};
use crate::http_servers::fixture;
use crate::kit;

/// Runs the suite at every revision against an upstream of these eras; its summary lines go to the test's output.
fn suite(eras: &str) {
    let output = Command::new(kit::top().join("tests/conformance/run.sh"))
        .arg(eras)
        .env("TOOLGATE_BIN", gateway::binary())
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{told}");
    assert!(
        output.status.success(),
        "the suite fails with an upstream of eras {eras}:\n{told}"
    );
    assert_eq!(
        told.matches(": ok\n").count(),
        4,
        "four revisions are run:\n{told}"
    );
}

#[test]
fn suite_passes_in_front_of_an_upstream_of_both_eras() {
    suite("both");
}

#[test]
fn suite_passes_in_front_of_a_legacy_upstream() {
    suite("legacy");
}

#[test]
fn suite_passes_in_front_of_a_modern_upstream() {
    suite("modern");
}

#[test]
fn suite_passes_in_front_of_upstreams_of_mixed_eras() {
    suite("mixed");
}

#[test]
fn client_scenarios_of_the_suite_pass_towards_its_mock_servers() {
    let output = Command::new(kit::top().join("tests/conformance/client.sh"))
        .env("TOOLGATE_BIN", gateway::binary())
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{told}");
    assert!(output.status.success(), "a client scenario fails:\n{told}");
    for line in ["2025-11-25: 4 passed, 0 failed", "2026-07-28: 8 passed, 0 failed"] {
        assert!(told.contains(line), "{line}:\n{told}");
    }
}

/// Every list, and every tool, prompt and resource of the fixture that answers by itself.
fn everything_that_answers() -> Script {
    let mut script = Script::new();
    for list in ["tools", "prompts", "resources", "templates"] {
        script = script.step(list, json!({ "op": list }));
    }
    for tool in [
        "test_simple_text",
        "test_image_content",
        "test_audio_content",
        "test_embedded_resource",
        "test_multiple_content_types",
        "test_error_handling",
        "test_logging_tool",
        "test_tool_with_logging",
    ] {
        script = script.call(tool, tool, json!({}));
    }
    let schema = json!({ "name": "x", "contactMethod": "phone", "phone": "1", "address": { "street": "s", "n": 9_007_199_254_740_993_u64 } });
    script
        .call("json_schema", "json_schema_2020_12_tool", schema)
        .step("text", json!({ "op": "read", "uri": "test://static-text" }))
        .step("binary", json!({ "op": "read", "uri": "test://static-binary" }))
        .step("template", json!({ "op": "read", "uri": "test://template/123/data" }))
        .step("simple", json!({ "op": "prompt", "name": "test_simple_prompt" }))
        .step("arguments", json!({ "op": "prompt", "name": "test_prompt_with_arguments", "arguments": { "arg1": "a", "arg2": "b" } }))
        .step("image", json!({ "op": "prompt", "name": "test_prompt_with_image" }))
        .step("complete", json!({ "op": "complete", "ref": { "type": "ref/prompt", "name": "test_prompt_with_arguments" }, "argument": { "name": "arg1", "value": "p" } }))
}

/// What a client saw of the answers, without the times and without who says to have served it.
fn seen(report: &Report) -> Value {
    let mut steps = report.fact("steps").clone();
    for step in steps.as_array_mut().unwrap() {
        step.as_object_mut().unwrap().remove("ms");
        forget_server(step);
        // The order of a merged list is the gateway's own.
        if let Some(list) = step["value"].as_array_mut() {
            list.sort_by_key(|one| one["name"].to_string());
        }
    }
    steps
}

fn forget_server(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(meta)) = map.get_mut("_meta") {
                meta.remove("io.modelcontextprotocol/serverInfo");
                if meta.is_empty() {
                    map.remove("_meta");
                }
            }
            // How long an answer may be cached is the gateway's own promise.
            for own in ["ttlMs", "cacheScope"] {
                map.remove(own);
            }
            map.values_mut().for_each(forget_server);
        }
        Value::Array(all) => all.iter_mut().for_each(forget_server),
        _ => {}
    }
}

#[test]
fn answers_are_the_same_with_and_without_the_gateway() {
    let upstream = fixture("both");
    let config = "[tools]\nprefix = \"never\"\nnames = \"as_is\"\n".to_owned()
        + &gateway::http("fixture", &upstream.url("/mcp"), "");
    let toolgate = Toolgate::start(&config);
    for client in [
        Client::Sdk1,
        Client::Client2(Era::Modern),
        Client::PyMcp(Era::Legacy),
        Client::Rmcp(Era::Modern),
    ] {
        let direct = seen(&client.play(&upstream.url("/mcp"), None, everything_that_answers()));
        let through = seen(&client.play(&toolgate.mcp(), None, everything_that_answers()));
        for (direct, through) in direct.as_array().unwrap().iter().zip(through.as_array().unwrap()) {
            assert_eq!(through, direct, "{client:?}");
        }
    }
}
