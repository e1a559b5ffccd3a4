//! The hidden subcommand `toolgate __guard PARENT -- PROGRAM ARG…`: a small process between the gateway and each stdio
//! server, so that no server outlives the gateway, not even one that was ended with `kill -9`.
//! It runs before anything else of the house is set up, reads no configuration, and passes stdin, stdout and stderr
//! through untouched. It ends when the program ends, when it is told to (SIGTERM), or when its parent is gone; each
//! time it takes every descendant with it, those that left the process group included, because it adopts orphans.
//! What it cannot catch: its own SIGKILL in the same moment as the gateway's, programs that run as another user, and,
//! on systems other than Linux, descendants that leave the process group.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::limits::STDIO_TERM_GRACE;

/// The first argument that makes the binary a guard.
pub const SUBCOMMAND: &str = "__guard";

const USAGE: u8 = 2;
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
/// How often descendants are killed anew: each may have started another before it died.
const KILL_ROUNDS: usize = 50;
const KILL_ROUND: Duration = Duration::from_millis(20);
/// How often the parent is looked for where no signal tells of its death.
const PARENT_LOOK: Duration = Duration::from_secs(if cfg!(target_os = "linux") { 60 } else { 1 });

/// Runs a program under guard and returns its exit code (128 and the signal's number when a signal ended it). `args`
/// are those behind [`SUBCOMMAND`].
pub fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = args.next().and_then(|text| text.to_str()?.parse().ok());
    let parent = parent.and_then(Pid::from_raw);
    let (Some(parent), Some(_), Some(program)) = (parent, args.next(), args.next()) else {
        complain(&format!(
            "{SUBCOMMAND} is for the gateway itself: PARENT -- PROGRAM ARG…"
        ));
        return USAGE.into();
    };
    let mut command = Command::new(program);
    command.args(args);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.and_then(|runtime| runtime.block_on(guard(parent, command)));
    outcome
        .unwrap_or_else(|error| {
            complain(&format!("the guard failed: {error}"));
            CANNOT_RUN
        })
        .into()
}

async fn guard(parent: Pid, mut command: Command) -> io::Result<u8> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut parent_died = signal(SignalKind::user_defined1())?;
    bind_to_parent()?;
    if orphaned(parent) {
        return Ok(0);
    }
    let child = match command.spawn() {
        Ok(child) => Pid::from_child(&child),
        Err(error) => return Ok(refusal(&command, &error)),
    };
    let mut reaped = reap(child)?;
    let_go_of_pipes()?;
    let status = loop {
        tokio::select! {
            status = exit_of(&mut reaped) => break status,
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hang_up.recv() => break None,
            // The signal also comes when only the thread that started us has ended.
            _ = parent_died.recv() => if orphaned(parent) { break None },
            () = tokio::time::sleep(PARENT_LOOK) => if orphaned(parent) { break None },
        }
    };
    end_descendants(&mut reaped).await;
    let status = status.or_else(|| reaped.borrow().status);
    Ok(status.map_or(128, exit_code))
}

/// Says why the program cannot start; the gateway shows the last line of stderr.
fn refusal(command: &Command, error: &io::Error) -> u8 {
    let program = command.get_program().to_string_lossy();
    if error.kind() == io::ErrorKind::NotFound {
        complain(&format!(
            "there is no program {program:?}: install it, or mend `command`"
        ));
        return NOT_FOUND;
    }
    complain(&format!("cannot start {program:?}: {error}"));
    CANNOT_RUN
}

/// Writes to stderr, which may be closed.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|number| 128 + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn orphaned(parent: Pid) -> bool {
    process::getppid() != Some(parent)
}

#[cfg(target_os = "linux")]
fn bind_to_parent() -> io::Result<()> {
    process::set_parent_process_death_signal(Some(Signal::USR1))?;
    process::set_child_subreaper(Some(process::getpid()))?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn bind_to_parent() -> io::Result<()> {
    Ok(())
}

/// Gives up our copies of the pipes: the gateway must see the end of stdout when the program closes it.
fn let_go_of_pipes() -> io::Result<()> {
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Reaped {
    /// How the program ended.
    status: Option<WaitStatus>,
    /// Whether no descendant is left.
    all: bool,
}

/// Waits for every child, adopted ones included, in a thread of its own.
fn reap(child: Pid) -> io::Result<watch::Receiver<Reaped>> {
    let (sender, receiver) = watch::channel(Reaped::default());
    let wait_for_all = move || {
        loop {
            match process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid == child => {
                    sender.send_modify(|reaped| reaped.status = Some(status));
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return sender.send_modify(|reaped| reaped.all = true),
            }
        }
    };
    std::thread::Builder::new()
        .name("reaper".to_owned())
        .stack_size(64 * 1024)
        .spawn(wait_for_all)?;
    Ok(receiver)
}

async fn exit_of(reaped: &mut watch::Receiver<Reaped>) -> Option<WaitStatus> {
    let found = reaped
        .wait_for(|reaped| reaped.status.is_some() || reaped.all)
        .await;
    found.ok().and_then(|reaped| reaped.status)
}

/// Asks every descendant to end, then kills what is left.
async fn end_descendants(reaped: &mut watch::Receiver<Reaped>) {
    signal_descendants(Signal::TERM);
    if all_gone(reaped, STDIO_TERM_GRACE).await {
        return;
    }
    for _ in 0..KILL_ROUNDS {
        signal_descendants(Signal::KILL);
        if all_gone(reaped, KILL_ROUND).await {
            return;
        }
    }
}

async fn all_gone(reaped: &mut watch::Receiver<Reaped>, wait: Duration) -> bool {
    let gone = reaped.wait_for(|reaped| reaped.all);
    // The reaper never goes before it has said so.
    tokio::time::timeout(wait, gone).await.is_ok()
}

#[cfg(target_os = "linux")]
fn signal_descendants(signal: Signal) {
    for pid in descendants(process::getpid()) {
        // Gone already, or not ours to end.
        let _ = process::kill_process(pid, signal);
    }
}

#[cfg(not(target_os = "linux"))]
fn signal_descendants(signal: Signal) {
    // A SIGKILL takes the guard along, which is what is left to do then.
    let _ = process::kill_current_process_group(signal);
}

/// Reads `/proc` for everything below a process.
#[cfg(target_os = "linux")]
fn descendants(root: Pid) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let family: Vec<(Pid, Pid)> = entries
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?)?;
            Some((pid, parent_of(pid)?))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = family.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid);
        found.extend(children);
        next += 1;
    }
    found.split_off(1)
}

#[cfg(target_os = "linux")]
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name stands in parentheses and may hold any byte; state and parent follow its last one.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    Pid::from_raw(rest.split_ascii_whitespace().nth(1)?.parse().ok()?)
}
