//! `toolgate serve` as a process that a test may kill: in a folder, which keeps its configuration and all that it writes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::connect::PATIENCE;

/// A running gateway; it ends with the test.
pub(crate) struct Process {
    child: Child,
    /// `http://host:port`.
    pub(crate) url: String,
}

/// What a process has written by now, and those before it in the same folder.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) out: String,
    pub(crate) err: String,
}

fn appended(path: PathBuf) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

impl Process {
    /// Starts it with this configuration and environment, and waits until it listens.
    pub(crate) async fn start(folder: &Path, gateways: &str, environment: &[(&str, &str)]) -> Self {
        fs::write(folder.join("gateways.toml"), gateways).unwrap();
        let before = written(folder).out.len();
        // A file that may not grow is an error of its write, and no signal that ends the process.
        let child = Command::new("sh")
            .args([
                "-c",
                "trap '' XFSZ; exec \"$0\" serve",
                env!("CARGO_BIN_EXE_toolgate"),
            ])
            .current_dir(folder)
            .env_clear()
            .envs(environment.iter().copied())
            .stdout(Stdio::from(appended(folder.join("stdout"))))
            .stderr(Stdio::from(appended(folder.join("stderr"))))
            .spawn()
            .unwrap();
        let mut process = Self {
            child,
            url: String::new(),
        };
        let began = Instant::now();
        while process.url.is_empty() {
            let written = written(folder);
            let says = written.out[before..].lines();
            let mut at = says.filter_map(|line| line.strip_prefix("listening on "));
            if let Some(url) = at.find_map(|url| url.strip_suffix("/mcp")) {
                url.clone_into(&mut process.url);
            }
            let ended = process.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < PATIENCE,
                "{ended:?}: {written:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process
    }

    /// Lets none of its files grow beyond so many bytes, as a full disk would.
    pub(crate) fn limit_files(&self, bytes: u64) {
        let bytes = if bytes == u64::MAX {
            "unlimited".to_owned()
        } else {
            bytes.to_string()
        };
        let set = Command::new("prlimit")
            .args([
                "--pid",
                &self.child.id().to_string(),
                &format!("--fsize={bytes}:unlimited"),
            ])
            .status();
        assert!(set.unwrap().success());
    }

    /// SIGKILL: no chance to write anything more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns its exit code.
    pub(crate) async fn end(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.unwrap().success());
        let ended = tokio::task::spawn_blocking(move || self.child.wait().unwrap().code());
        tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("it ends")
            .unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what the processes of a folder have written.
pub(crate) fn written(folder: &Path) -> Written {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    Written {
        out: read("stdout"),
        err: read("stderr"),
    }
}
