//! What a test runs against: Toolgate in front of the four upstreams that ask.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const ALICE: &str = "alice-key-0123456789abcdef";
pub(crate) const BOB: &str = "bob-key-0123456789abcdef0";
/// May name any user.
pub(crate) const BACKEND: &str = "backend-key-0123456789abc";

const START: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(5);

/// A process that ends with the test.
pub(crate) struct Process {
    child: Child,
    /// What it says when it is ready.
    pub(crate) url: String,
    errors: tempfile::TempDir,
}

impl Process {
    /// Starts a program and waits for `listening on URL`.
    pub(crate) fn start(command: &mut Command) -> Self {
        let errors = tempfile::tempdir().unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(errors.path().join("stderr")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let mut started = Self {
            child,
            url: String::new(),
            errors,
        };
        started.url = url.unwrap_or_else(|| panic!("{command:?} does not listen\n{}", started.stderr()));
        started
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn stderr(&self) -> String {
        let text = std::fs::read(self.errors.path().join("stderr")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended by itself.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::TERM));
        }
        let end = Instant::now() + GRACE;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("== stderr of {}\n{}", self.url, self.stderr());
        }
    }
}

/// `asks.mjs` over HTTP.
pub(crate) fn asks(era: &str) -> Process {
    Process::start(Command::new("node").arg(asks_file()).arg("http").env("ERA", era))
}

fn asks_file() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kit/servers/asks.mjs");
    file.display().to_string()
}

/// Returns the fleet that tests share while one of them runs: each under users of its own, since a pipe of a user
/// carries all calls of that user.
pub(crate) fn shared() -> Arc<Fleet> {
    static SHARED: Mutex<Weak<Fleet>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let fleet = Arc::new(Fleet::start(""));
        *shared = Arc::downgrade(&fleet);
        fleet
    })
}

/// Toolgate and its upstreams.
pub(crate) struct Fleet {
    toolgate: Process,
    _upstreams: [Process; 2],
    _dir: tempfile::TempDir,
}

impl Fleet {
    /// Starts all of it; `limits` are lines of `[limits]`.
    pub(crate) fn start(limits: &str) -> Self {
        let upstreams = [asks("legacy"), asks("modern")];
        let file = asks_file();
        let stdio = |name: &str, era: &str| {
            format!(
                "[gateways.{name}]\ncommand = [\"node\", {file:?}, \"stdio\"]\nenv = {{ ERA = \"{era}\" }}\n\
                 processes = \"per_session\"\nrequired = true\n"
            )
        };
        let http = |name: &str, url: &str| {
            format!("[gateways.{name}]\nurl = \"{url}\"\nrequired = true\nin_flight_max = 2_000\n")
        };
        let toml = [
            http("legacy_http", &upstreams[0].url),
            http("modern_http", &upstreams[1].url),
            stdio("legacy_stdio", "legacy"),
            stdio("modern_stdio", "modern"),
        ]
        .join("\n");
        let toml = format!(
            "[server]\ndrain_timeout_ms = 0\n\
             [auth]\nkeys = [\n  {{ user = \"alice\", key = \"{ALICE}\" }},\n  {{ user = \"bob\", key = \"{BOB}\" }},\n  \
             {{ user = \"backend\", key = \"{BACKEND}\", acts_for_users = true }},\n]\n\
             [tools]\nprefix = \"always\"\n[log]\nlevel = \"info,toolgate=debug\"\n[limits]\n{limits}\n{toml}"
        );
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("gateways.toml");
        std::fs::write(&config, toml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_toolgate"));
        command
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .args(["--listen", "127.0.0.1:0"])
            .env("TOOLGATE_STORE", "memory");
        let started = Self {
            toolgate: Process::start(&mut command),
            _upstreams: upstreams,
            _dir: dir,
        };
        started.ready();
        started
    }

    /// The MCP endpoint.
    pub(crate) fn mcp(&self) -> &str {
        &self.toolgate.url
    }

    /// Another path of the same server.
    pub(crate) fn path(&self, path: &str) -> String {
        let base = self.mcp().strip_suffix("/mcp").expect("an MCP endpoint");
        format!("{base}{path}")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.toolgate.pid()
    }

    fn ready(&self) {
        let end = Instant::now() + START;
        while crate::peer::block_on(crate::peer::status(&self.path("/readyz"))) != Some(200) {
            assert!(
                Instant::now() < end,
                "not every gateway was listed within {START:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
