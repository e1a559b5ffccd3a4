//! `composio-fake` as a process that a test may kill.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A running fake; it ends with the test.
pub(crate) struct Program {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
}

/// Builds it, once, as this test was built, and says where it is.
fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_toolgate")).parent().unwrap();
        let profile = folder.file_name().unwrap().to_str().unwrap();
        let profile = if profile == "debug" { "dev" } else { profile };
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--locked",
                "--offline",
                "--example",
                "composio-fake",
                "--profile",
                profile,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success(), "composio-fake cannot be built");
        folder.join("examples/composio-fake")
    })
}

impl Program {
    /// Starts it with its world in a folder, and waits until it listens.
    pub(crate) fn start(folder: &Path, listen: &str) -> Self {
        let mut child = Command::new(binary())
            .args(["--listen", listen, "--state"])
            .arg(folder.join("world.json"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().strip_prefix("listening on ");
        let url = url.unwrap_or_else(|| panic!("it says: {line}")).to_owned();
        Self { child, url }
    }

    /// SIGKILL: no chance to write anything more.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
