//! The `gateways.toml` of the checkout: what somebody sees who has run `make run` and nothing else.

use std::time::Duration;

use serde_json::json;

use crate::drivers::{Client, Era, Script};
use crate::gateway::Toolgate;
use crate::process::until;

/// The tools that a client sees once all of these are there; gateways join one by one.
fn tools_with(toolgate: &Toolgate, wanted: &[&str]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut all = || {
        let script = Script::new().step("tools", json!({ "op": "tools" }));
        seen = Client::Rmcp(Era::Legacy)
            .play(&toolgate.mcp(), None, script)
            .names("tools");
        wanted.iter().all(|tool| seen.iter().any(|name| name == tool))
    };
    until(Duration::from_mins(1), &mut all, || {
        format!("a list with {wanted:?}")
    });
    seen
}

#[test]
fn make_run_serves_fetch_and_everything_without_any_key() {
    let toolgate = Toolgate::start_checkout(&[]);
    let tools = tools_with(&toolgate, &["fetch", "echo"]);
    assert!(
        !tools.iter().any(|name| name.starts_with("brave_")),
        "Brave has no key: {tools:?}"
    );
    let script = Script::new().call("echo", "echo", json!({ "message": "first run" }));
    assert_eq!(
        Client::Sdk1.play(&toolgate.mcp(), None, script).text("echo"),
        "Echo: first run"
    );
}

#[test]
fn brave_joins_when_there_is_a_key_for_it() {
    let toolgate = Toolgate::start_checkout(&[("BRAVE_API_KEY", "any")]);
    tools_with(&toolgate, &["fetch", "echo", "brave_web_search"]);
}
