//! The gateway's child processes end with it, however it ends.

use std::time::Duration;

use serde_json::json;

use crate::drivers::{Client, Script};
use crate::gateway::{self, ALICE, BOB, Toolgate};
use crate::kit;
use crate::process::until;

const MARK: &str = "REAL_TEST_MARK";

/// All processes that carry this mark in their environment.
fn marked(mark: &str) -> Vec<(u32, String)> {
    let wanted = format!("{MARK}={mark}\0");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        // A zombie has no environment left: it only waits to be reaped.
        let text = String::from_utf8_lossy(&environment).into_owned() + "\0";
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        text.contains(&wanted)
            .then(|| (pid, String::from_utf8_lossy(&command).replace('\0', " ")))
    })
    .collect()
}

/// A gateway with five children: two shared servers, one for each of two users, and one below a shell.
fn family(mark: &str) -> Toolgate {
    let env = format!("env = {{ {MARK} = \"{mark}\" }}");
    let per_user = format!("{env}\nprocesses = \"per_user\"");
    let below_a_shell = format!("{} stdio; true", kit::npm("mcp-server-everything"));
    let config = gateway::two_users()
        + "\n[tools]\nprefix = \"always\"\n"
        + &gateway::stdio("time", &[&kit::python("mcp-server-time")], &env)
        + &gateway::stdio("everything", &[&kit::npm("mcp-server-everything"), "stdio"], &env)
        + &gateway::stdio("shell", &["sh", "-c", &below_a_shell], &env)
        + &gateway::stdio(
            "dual",
            &[&kit::python("python"), &kit::file("servers/dual.py"), "stdio"],
            &per_user,
        );
    let toolgate = Toolgate::start(&config);
    for key in [ALICE, BOB] {
        let script = Script::new()
            .call("dual", "dual__dual_echo", json!({ "text": "here" }))
            .call("shell", "shell__echo", json!({ "message": "here" }))
            .call("everything", "everything__echo", json!({ "message": "here" }));
        let seen = Client::Sdk1.play(&toolgate.mcp(), Some(key), script);
        assert_eq!(seen.text("dual"), "here");
        assert_eq!(seen.text("shell"), "Echo: here");
        assert_eq!(seen.text("everything"), "Echo: here");
    }
    let children = marked(mark);
    let count = |what: &str| {
        children
            .iter()
            .filter(|(_, command)| command.contains(what))
            .count()
    };
    assert!(count("dual.py") >= 2, "one for each user: {children:#?}");
    assert!(
        count("mcp-server-everything") >= 2 && count("mcp-server-time") >= 1,
        "{children:#?}"
    );
    toolgate
}

#[test]
fn no_child_is_left_after_the_gateway_was_killed() {
    let mark = format!("killed-{}", std::process::id());
    let mut toolgate = family(&mark);
    toolgate.process().kill();
    until(
        Duration::from_secs(15),
        || marked(&mark).is_empty(),
        || format!("orphans: {:#?}", marked(&mark)),
    );
}

#[test]
fn gateway_ends_at_sigterm_and_takes_its_children_along() {
    let mark = format!("ended-{}", std::process::id());
    let mut toolgate = family(&mark);
    assert_eq!(
        toolgate.process().terminate(),
        Some(0),
        "SIGTERM must lead to exit 0 within seconds"
    );
    until(
        Duration::from_secs(5),
        || marked(&mark).is_empty(),
        || format!("orphans: {:#?}", marked(&mark)),
    );
}
