//! The `gateways.toml` of the checkout: what somebody sees who has run `make run` and nothing else.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::drivers::{Client, Era, Script};
use crate::gateway::{Toolgate, binary};
use crate::process::{Process, until};
use crate::{kit, wire};

/// The tools that a client sees once all of these are there; gateways join one by one.
fn tools_with(mcp: &str, wanted: &[&str]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut all = || {
        let script = Script::new().step("tools", json!({ "op": "tools" }));
        seen = Client::Rmcp(Era::Legacy).play(mcp, None, script).names("tools");
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
    let tools = tools_with(&toolgate.mcp(), &["fetch", "echo"]);
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
    tools_with(&toolgate.mcp(), &["fetch", "echo", "brave_web_search"]);
}

/// `composio-fake` of this build.
fn fake() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_toolgate"));
    let fake = folder.parent().unwrap().join("examples/composio-fake");
    let hint = "cargo build --example composio-fake";
    assert!(fake.exists(), "{} is missing: {hint}", fake.display());
    fake
}

/// Presses Allow on a consent page; returns what the page says then.
fn consent(url: &str) -> String {
    wire::block_on(async {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let request = wire::client().post(url).header(kind.0, kind.1);
        let answer = request.body("decision=allow").send().await.unwrap();
        answer.text().await.unwrap()
    })
}

#[test]
fn make_run_composio_fake_shows_the_whole_flow_without_a_key_and_ends_what_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(kit::top().join("tests/composio/run.sh"));
    command
        .current_dir(kit::top())
        .arg(fake())
        .arg(binary())
        .args(["serve", "--config", "gateways.toml", "--listen", "127.0.0.1:0"])
        .env("COMPOSIO_FAKE_DIR", folder.path())
        .env("COMPOSIO_FAKE_LISTEN", "127.0.0.1:0");
    for name in [
        "TOOLGATE_STORE",
        "TOOLGATE_KEY",
        "PERMITTED_TOOLS",
        "BRAVE_API_KEY",
        "COMPOSIO_API_KEY",
    ] {
        command.env_remove(name);
    }
    let mut process = Process::start("make run COMPOSIO=fake", &mut command);
    let patience = Duration::from_secs(20);
    let mcp = process.until("listening", patience, |process| {
        let out = process.stdout();
        let line = out.lines().find_map(|line| line.strip_prefix("listening on "))?;
        Some(line.trim().to_owned())
    });
    let out = process.stdout();
    let at = out.split_once("composio is a fake at ").unwrap().1;
    let at = at.split_once(": no key is needed").unwrap().0.to_owned();
    tools_with(
        &mcp,
        &["COMPOSIO_MANAGE_CONNECTIONS", "COMPOSIO_MULTI_EXECUTE_TOOL"],
    );

    let call = |name: &str, arguments: Value| -> Value {
        let script = Script::new().call("call", name, arguments);
        let result = Client::Sdk1.play(&mcp, None, script).value("call").clone();
        let text = result["content"][0]["text"].as_str();
        let text = text.unwrap_or_else(|| panic!("{result}"));
        serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
    };
    let who = || {
        let tool = json!({ "tool_slug": "GITHUB_GET_THE_AUTHENTICATED_USER", "arguments": {} });
        let arguments = json!({ "tools": [tool], "sync_response_to_workbench": false });
        call("COMPOSIO_MULTI_EXECUTE_TOOL", arguments)["data"]["results"][0].clone()
    };
    let refused = who();
    let error = refused["error"].as_str().unwrap_or_else(|| panic!("{refused}"));
    assert!(error.contains("No active connected account found"), "{error}");
    let managed = call("COMPOSIO_MANAGE_CONNECTIONS", json!({ "toolkits": ["github"] }));
    let link = managed["data"]["results"]["github"]["redirect_url"].as_str();
    let link = link.unwrap_or_else(|| panic!("{managed}")).to_owned();
    assert!(wire::get(&link).unwrap().1.contains("Allow"));
    assert!(consent(&link).contains("Connected"));
    assert_eq!(who()["response"]["data"]["login"], "local");

    assert_eq!(process.terminate(), Some(0), "{}", process.tail());
    assert!(!wire::head(&at), "the fake is still at {at}");
    assert!(!wire::head(&mcp), "Toolgate is still at {mcp}");
}
