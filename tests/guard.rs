//! The guard of stdio servers, as a real process: nothing that it started outlives the gateway.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test of real processes: what fails is the test, and time is real"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const TOOLGATE: &str = env!("CARGO_BIN_EXE_toolgate");
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell that stands for the gateway and starts a guarded script.
fn parent_of(script: &str, dir: &Path) -> Child {
    let parent = format!("{TOOLGATE} __guard $$ -- sh -c \"$SCRIPT\" & wait");
    Command::new("sh")
        .args(["-c", &parent])
        .env("SCRIPT", script)
        .current_dir(dir)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

fn guarded(args: &[&str]) -> Output {
    let me = std::process::id().to_string();
    Command::new(TOOLGATE)
        .args(["__guard", &me, "--"])
        .args(args)
        .output()
        .unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn pid_in(file: &PathBuf) -> u32 {
    let mut found = None;
    eventually(&format!("a pid in {}", file.display()), || {
        found = std::fs::read_to_string(file)
            .ok()
            .and_then(|text| text.strip_suffix('\n')?.parse().ok());
        found.is_some()
    });
    found.unwrap()
}

/// A zombie that waits for somebody else's `wait` runs no more.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

fn kill(signal: &str, pid: u32) {
    let done = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

#[test]
fn nothing_is_left_when_the_gateway_is_killed_with_9() {
    let dir = tempfile::tempdir().unwrap();
    // A child, a grandchild, and a great-grandchild in a session of its own that ignores SIGTERM.
    let script = "
        echo $$ >self
        sh -c 'echo $$ >child; sleep 600 & echo $! >grandchild; wait' &
        setsid sh -c 'trap \"\" TERM; echo $$ >escaped; while :; do sleep 1; done' &
        trap '' TERM
        while :; do sleep 1; done";
    let mut parent = parent_of(script, dir.path());
    let pids: Vec<u32> = ["self", "child", "grandchild", "escaped"]
        .iter()
        .map(|name| pid_in(&dir.path().join(name)))
        .collect();
    assert!(pids.iter().all(|&pid| runs(pid)));
    kill("-9", parent.id());
    parent.wait().unwrap();
    eventually("every process is gone", || !pids.iter().any(|&pid| runs(pid)));
}

#[test]
fn a_program_that_ends_takes_its_helpers_along_and_its_exit_code_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("helper");
    let script = format!("sleep 600 & echo $! >{}; exit 7", file.display());
    let output = guarded(&["sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(7));
    assert!(!runs(pid_in(&file)));
}

#[test]
fn a_signal_that_ended_the_program_shows_in_the_exit_code() {
    assert_eq!(guarded(&["sh", "-c", "kill -9 $$"]).status.code(), Some(128 + 9));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let output = guarded(&["no-such-program-anywhere", "--flag"]);
    assert_eq!(output.status.code(), Some(127));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("no-such-program-anywhere") && text.contains("install it"),
        "{text}"
    );
}

#[test]
fn every_argument_stays_one_argument() {
    let payloads = [
        "$(touch pwned)",
        "`id`",
        "; id",
        "&& id",
        "| id",
        "|| id",
        "> out",
        "< in",
        ">> out",
        "& id",
        "a b",
        " lead",
        "trail ",
        "\t",
        "\n",
        "a\nb",
        "'",
        "\"",
        "\\",
        "\\\\",
        "*",
        "?",
        "[a]",
        "{a,b}",
        "~",
        "$HOME",
        "${IFS}",
        "--",
        "-rf",
        "%s%n",
        "",
        "é\u{202e}",
        "#c",
        "!x",
    ];
    let mut args = vec!["sh", "-c", "printf '%s\\0' \"$@\"", "sh"];
    args.extend(payloads);
    let output = guarded(&args);
    let seen: Vec<&[u8]> = output.stdout.split(|&byte| byte == 0).collect();
    let (last, seen) = seen.split_last().unwrap();
    assert!(last.is_empty());
    assert_eq!(
        seen,
        payloads.iter().map(|text| text.as_bytes()).collect::<Vec<_>>()
    );
}

#[test]
fn a_closed_stdout_is_seen_while_the_program_lives() {
    let mut child = Command::new(TOOLGATE)
        .args(["__guard", &std::process::id().to_string(), "--"])
        .args(["sh", "-c", "exec >&-; exec sleep 600"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut rest).unwrap();
    assert!(child.try_wait().unwrap().is_none(), "the program still runs");
    kill("-TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn a_guard_whose_parent_is_gone_already_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("started");
    let script = format!("echo >{}", file.display());
    // Process 1 is no parent of ours.
    let status = Command::new(TOOLGATE)
        .args(["__guard", "1", "--", "sh", "-c", &script])
        .status()
        .unwrap();
    assert!(status.success());
    assert!(!file.exists());
}
