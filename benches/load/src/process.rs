//! The programs under measurement: started pinned to a core, read from `/proc`, and ended when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A child process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    /// Itself and its children, as found once it was up.
    pids: Vec<u32>,
}

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

impl Process {
    /// Starts a program on the cores of a list; its standard error goes into a file.
    pub(crate) fn start(
        name: &str,
        cores: &str,
        program: &Path,
        arguments: &[String],
        log: &Path,
    ) -> Result<Self, String> {
        let log = fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let child = Command::new("taskset")
            .args(["-c", cores])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let pids = vec![child.id()];
        Ok(Self {
            child,
            name: name.to_owned(),
            pids,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says `listening on …` and returns what follows.
    pub(crate) fn listening(&mut self) -> Result<String, String> {
        let stdout = self.child.stdout.take().ok_or("its output is gone")?;
        let (tell, told) = mpsc::channel();
        // Reads on to the end, so that the child can always write.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("listening on ") {
                    let _ = tell.send(address.to_owned());
                }
            }
        });
        told.recv_timeout(START_TIMEOUT)
            .map_err(|_| format!("{} does not listen", self.name))
    }

    /// Waits until it has a child; the children's time and memory count as its own from then on.
    pub(crate) fn await_children(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            self.find_children();
            if self.pids.len() > 1 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{} starts no worker", self.name));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn find_children(&mut self) {
        let own = self.child.id();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_child = |pid: &u32| stat(*pid).is_some_and(|fields| fields.get(1) == Some(&own.to_string()));
        let mut pids: Vec<u32> = pids.filter(is_child).collect();
        pids.push(own);
        self.pids = pids;
    }

    /// Returns user and system time in µs so far. Counted by the scheduler in ns where `schedstat` is there, else in
    /// ticks of 10 ms.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.pids.iter().map(|pid| cpu_us(*pid)).sum()
    }

    pub(crate) fn memory(&self) -> Memory {
        let mut sum = Memory::default();
        for pid in &self.pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let field = |key: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(key))?;
                line.split_whitespace().next()?.parse::<u64>().ok()
            };
            sum.now += field("VmRSS:").unwrap_or(0) * 1024;
            sum.peak += field("VmHWM:").unwrap_or(0) * 1024;
        }
        sum
    }

    /// Lets the peak begin anew.
    pub(crate) fn forget_peak(&self) {
        for pid in &self.pids {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx ends its worker itself when asked so; everything gets a second before it is killed.
        if !self.is_alive() {
            return;
        }
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(1);
        while self.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the fields of `/proc/<pid>/stat` behind the program's name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(ToOwned::to_owned).collect())
}

fn cpu_us(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let of_task = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    let ns: u64 = tasks.filter_map(|task| of_task(task.path())).sum();
    if ns > 0 {
        return ns as f64 / 1e3;
    }
    let fields = stat(pid).unwrap_or_default();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) * 10_000.0
}

/// How long all cores together were busy since the start of the machine, in µs; with what was stolen from it.
pub(crate) fn machine_busy_us() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> = first
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0.0);
    // user, nice, system, irq, softirq, steal
    (field(0) + field(1) + field(2) + field(5) + field(6) + field(7)) * 10_000.0
}

/// This process's own time.
pub(crate) fn own_cpu_us() -> f64 {
    cpu_us(std::process::id())
}
