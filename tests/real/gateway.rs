//! The `toolgate` binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::kit;
use crate::process::Process;
use crate::wire;

const START: Duration = Duration::from_secs(20);
/// Real servers start in 0.3 to 1.3 s each, on a machine that runs other tests beside this one.
const READY: Duration = Duration::from_mins(1);

pub(crate) const ALICE: &str = "alice-key-0123456789abcdef";
pub(crate) const BOB: &str = "bob-key-0123456789abcdef0";

/// Stands in the gateway's own environment; no child may see it.
pub(crate) const SECRET: &str = "a-secret-of-the-gateway";

/// What else the configuration reads from the environment.
const FOREIGN: [&str; 3] = ["PERMITTED_TOOLS", "BRAVE_API_KEY", "COMPOSIO_API_KEY"];

/// Two users with a key each; to be put before the gateways.
pub(crate) fn two_users() -> String {
    format!(
        "[auth]\nkeys = [{{ user = \"alice\", key = \"{ALICE}\" }}, {{ user = \"bob\", key = \"{BOB}\" }}]\n"
    )
}

/// One `[gateways.<name>]` with a URL. Every gateway is required, so that readiness means that it was listed.
pub(crate) fn http(name: &str, url: &str, more: &str) -> String {
    format!("\n[gateways.{name}]\nurl = \"{url}\"\nrequired = true\n{more}\n")
}

/// One `[gateways.<name>]` with a command.
pub(crate) fn stdio(name: &str, command: &[&str], more: &str) -> String {
    format!("\n[gateways.{name}]\ncommand = {command:?}\nrequired = true\n{more}\n")
}

pub(crate) struct Toolgate {
    process: Process,
    base: String,
    dir: tempfile::TempDir,
}

impl Toolgate {
    /// Starts the gateway with this `gateways.toml` and waits until it has seen every gateway.
    pub(crate) fn start(toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("gateways.toml");
        std::fs::write(
            &config,
            format!("[log]\nlevel = \"info,toolgate=debug\"\n\n{toml}")
                .replace("{dir}", dir.path().to_str().unwrap()),
        )
        .unwrap();
        let (process, base) = serve(&config, &[]);
        let mut started = Self { process, base, dir };
        started.ready();
        started
    }

    /// Kills the gateway without a chance to clean up and starts it again, on another port, with the same store. The
    /// configuration must name a `store` in `{dir}`.
    pub(crate) fn kill_and_start_again(&mut self) {
        self.process.kill();
        self.start_again();
    }

    /// Starts the gateway again after it ended, with the configuration as it is now.
    pub(crate) fn start_again(&mut self) {
        (self.process, self.base) = serve(&self.dir.path().join("gateways.toml"), &[]);
        self.ready();
    }

    fn ready(&mut self) {
        let ready = format!("{}/readyz", self.base);
        self.process.until("ready", READY, |_| {
            (wire::get(&ready).ok()?.0 == 200).then_some(())
        });
    }

    /// Starts the gateway with the checkout's own `gateways.toml`, as `make run` does, and waits until it listens.
    pub(crate) fn start_checkout(environment: &[(&str, &str)]) -> Self {
        let (process, base) = serve(Path::new("gateways.toml"), environment);
        Self {
            process,
            base,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// The MCP endpoint.
    pub(crate) fn mcp(&self) -> String {
        format!("{}/mcp", self.base)
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The binary under test: this build's, or the one that `TOOLGATE_BIN` names.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("TOOLGATE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_toolgate").into(), Into::into)
}

/// Starts the gateway on a free port and waits until it says where it listens.
fn serve(config: &Path, environment: &[(&str, &str)]) -> (Process, String) {
    let mut command = Command::new(binary());
    command
        .current_dir(kit::top())
        .arg("serve")
        .arg("--config")
        .arg(config)
        .args(["--listen", "127.0.0.1:0"]);
    // The environment of an older deployment must not leak in from whoever runs the tests.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("TOOLGATE") || name.starts_with("MCP_") || FOREIGN.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    let written = std::fs::read_to_string(config).unwrap_or_default();
    if !written.contains("\nstore =") {
        command.env("TOOLGATE_STORE", "memory");
    }
    command
        .env("REAL_TEST_SECRET", SECRET)
        .envs(environment.iter().copied());
    let mut process = Process::start("toolgate", &mut command);
    let url = process.until("listening", START, |p| {
        let out = p.stdout();
        let line = out.lines().find(|l| l.starts_with("listening on http://"))?;
        Some(line.trim_start_matches("listening on ").trim().to_owned())
    });
    let base = url
        .strip_suffix("/mcp")
        .unwrap_or_else(|| panic!("not an MCP endpoint: {url}"));
    (process, base.to_owned())
}
