//! A process that a test started: its output in a file, ended when the test ends.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(100);
/// What a process gets between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) struct Process {
    name: String,
    child: Child,
    dir: tempfile::TempDir,
}

impl Process {
    /// Starts a program with nothing on stdin; stdout and stderr go to files of its own.
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let out = File::create(dir.path().join("stdout")).unwrap();
        let err = File::create(dir.path().join("stderr")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}: {command:?}"));
        Self {
            name: name.to_owned(),
            child,
            dir,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        read(self.dir.path().join("stdout"))
    }

    pub(crate) fn stderr(&self) -> String {
        read(self.dir.path().join("stderr"))
    }

    /// The last lines of what it wrote, for a failure's message.
    pub(crate) fn tail(&self) -> String {
        let tail = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(60)..].join("\n")
        };
        format!(
            "== {} stdout\n{}\n== {} stderr\n{}",
            self.name,
            tail(self.stdout()),
            self.name,
            tail(self.stderr())
        )
    }

    /// Waits until `ready` gives something; panics with the process's output when it ends or takes too long.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let end = Instant::now() + limit;
        loop {
            if let Some(found) = ready(self) {
                return found;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!(
                    "{} ended ({status}) before it was {what}\n{}",
                    self.name,
                    self.tail()
                );
            }
            assert!(
                Instant::now() < end,
                "{} was not {what} within {limit:?}\n{}",
                self.name,
                self.tail()
            );
            sleep(LOOK);
        }
    }

    /// SIGKILL: no chance to clean up.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        // The process may have ended already; then there is nothing to end.
        let _ = kill_process(pid, Signal::TERM);
        let end = Instant::now() + GRACE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            sleep(LOOK);
        }
        self.kill();
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

fn read(path: PathBuf) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Waits until `done`; panics with `why` when it takes too long.
pub(crate) fn until(limit: Duration, mut done: impl FnMut() -> bool, why: impl FnOnce() -> String) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "not within {limit:?}: {}", why());
        sleep(LOOK);
    }
}
