//! `make bench-instructions`: how many instructions of Toolgate one call of each kind takes, counted by callgrind and
//! held against what `benches/instructions.json` says. Instructions do not drift with the machine.
//! One worker thread, one client, a warm-up; only what runs between two marks is counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::caller::{Operation, Talk};
use crate::stage::{Programs, Target, Upstreams};
use crate::template::Speaks;
use crate::upstream::{self, Era};

/// How much more a call may take than it is written down to.
const TOLERANCE: f64 = 0.03;
/// How often it is counted before a call is said to take more.
const TRIES: usize = 3;
/// Toolgate offers as many tools: five gateways with forty, one with four.
const TOOLS: usize = 204;

/// What is counted: its name, how it is done, and how often.
type Kind = (&'static str, Operation, Speaks, &'static str, usize);

/// The file of the repository.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    /// What else the counts depend on.
    counted_with: BTreeMap<String, String>,
    tolerance: f64,
    instructions: BTreeMap<String, u64>,
}

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) file: PathBuf,
    pub(crate) update: bool,
    pub(crate) runs: usize,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Within,
    /// Some call takes more.
    More,
    /// Some call takes more, but the counts were taken with another compiler or library.
    CannotTell,
}

/// Counts, and writes down or compares.
pub(crate) async fn run(programs: &mut Programs, settings: &Settings) -> Result<Verdict, String> {
    let mut runs = Vec::new();
    for _ in 0..settings.runs.max(1) {
        runs.push(counted(programs).await?);
    }
    let medians: BTreeMap<String, u64> = kinds()
        .iter()
        .map(|(name, ..)| {
            let mut found: Vec<u64> = runs.iter().filter_map(|run| run.get(*name).copied()).collect();
            found.sort_unstable();
            if let [least, .., most] = found[..] {
                let spread = (most - least) as f64 / least as f64 * 100.0;
                println!(
                    "{name}: {least} to {most} over {} runs, {spread:.2} %",
                    found.len()
                );
            }
            ((*name).to_owned(), found[found.len() / 2])
        })
        .collect();
    let with = counted_with();
    if settings.update {
        let written = Written {
            counted_with: with,
            tolerance: TOLERANCE,
            instructions: medians,
        };
        let text = serde_json::to_string_pretty(&written).map_err(|error| error.to_string())?;
        fs::write(&settings.file, text + "\n").map_err(|error| error.to_string())?;
        println!("written down in {}", settings.file.display());
        return Ok(Verdict::Within);
    }
    let shown = settings.file.display();
    let text = fs::read_to_string(&settings.file).map_err(|error| format!("{shown}: {error}"))?;
    let written: Written = serde_json::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
    let mut found = medians;
    for _ in 1..TRIES {
        if !is_more(&written, &found) || written.counted_with != with {
            break;
        }
        // A busy machine cuts a stream into more pieces, which takes more; nothing makes a call take less.
        println!("some call took more: counting again, and taking the least");
        for (name, count) in counted(programs).await? {
            found.entry(name).and_modify(|least| *least = count.min(*least));
        }
    }
    Ok(compared(&written, &found, &with))
}

fn is_more(written: &Written, found: &BTreeMap<String, u64>) -> bool {
    found.iter().any(|(name, found)| {
        let expected = written.instructions.get(name).copied().unwrap_or_default();
        *found as f64 > expected as f64 * (1.0 + written.tolerance)
    })
}

fn compared(written: &Written, found: &BTreeMap<String, u64>, with: &BTreeMap<String, String>) -> Verdict {
    let mut more = false;
    println!("| one call | written down | found | |\n|---|--:|--:|--:|");
    for (name, found) in found {
        let Some(expected) = written.instructions.get(name).filter(|count| **count > 0) else {
            println!("| {name} | | {found} | **not written down** |");
            more = true;
            continue;
        };
        let change = *found as f64 / *expected as f64 - 1.0;
        let said = match change {
            change if change > written.tolerance => "**too many**",
            change if change < -written.tolerance => "fewer: write it down",
            _ => "",
        };
        more |= change > written.tolerance;
        println!(
            "| {name} | {expected} | {found} | {:+.1} % {said} |",
            change * 100.0
        );
    }
    if !more {
        return Verdict::Within;
    }
    if written.counted_with == *with {
        println!(
            "a call takes over {:.0} % more instructions than before; find out why (benches/profile.sh), or, when it is \
             worth it, write it down: make bench-instructions UPDATE=1",
            written.tolerance * 100.0
        );
        return Verdict::More;
    }
    println!(
        "counted with {with:?}, written down with {:?}: the two cannot be compared. On the commit before yours run \
         make bench-instructions UPDATE=1, then compare on yours, and commit both files as one.",
        written.counted_with
    );
    Verdict::CannotTell
}

fn kinds() -> [Kind; 8] {
    let progress = Operation::Progress {
        events: 100,
        pause_ms: 0,
    };
    [
        ("echo, legacy", Operation::Echo, Speaks::Legacy, "p0", 400),
        ("echo, modern", Operation::Echo, Speaks::Modern, "m0", 400),
        (
            "echo, legacy client, modern gateway",
            Operation::Echo,
            Speaks::Legacy,
            "m0",
            400,
        ),
        (
            "echo, modern client, legacy gateway",
            Operation::Echo,
            Speaks::Modern,
            "p0",
            400,
        ),
        (
            "tools/list, 204 tools",
            Operation::List { tools: TOOLS },
            Speaks::Legacy,
            "p0",
            200,
        ),
        (
            "initialize + DELETE",
            Operation::Initialize,
            Speaks::Legacy,
            "p0",
            200,
        ),
        ("100 progress events", progress, Speaks::Legacy, "p0", 50),
        (
            "1 MiB result",
            Operation::Blob(upstream::blob().into()),
            Speaks::Legacy,
            "p0",
            50,
        ),
    ]
}

async fn counted(programs: &mut Programs) -> Result<BTreeMap<String, u64>, String> {
    let dumps = programs.out.join("callgrind.out");
    let legacy = programs.upstreams("p", Era::Legacy, 40, 5)?;
    let modern = programs.upstreams("m", Era::Modern, 4, 1)?;
    programs.under = [
        "env",
        "TOKIO_WORKER_THREADS=1",
        "valgrind",
        "--tool=callgrind",
        &format!("--callgrind-out-file={}", dumps.display()),
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    let toolgate = programs.toolgate(&[&legacy, &modern]).await?;
    let mut counts = BTreeMap::new();
    for kind in kinds() {
        let count = count(&toolgate, &[&legacy, &modern], &dumps, &kind).await?;
        eprintln!("  {:40} {count:>9} instructions", kind.0);
        counts.insert(kind.0.to_owned(), count);
    }
    Ok(counts)
}

async fn count(
    toolgate: &Target,
    _upstreams: &[&Upstreams],
    dumps: &Path,
    (name, operation, speaks, upstream, calls): &Kind,
) -> Result<u64, String> {
    let talk = Talk {
        address: toolgate.address,
        doors: vec![toolgate.door()],
        speaks: *speaks,
        upstreams: vec![(*upstream).to_owned()],
        operation: operation.clone(),
    };
    let wrong = |error: String| format!("{name}: {error}");
    let mut caller = talk.connect(0).await.map_err(wrong)?;
    for _ in 0..calls / 2 {
        caller.once().await.map_err(wrong)?;
    }
    let pid = toolgate.process.as_ref().ok_or("no process")?.id();
    control(pid, "--zero")?;
    for _ in 0..*calls {
        caller.once().await.map_err(wrong)?;
    }
    control(pid, "--dump")?;
    caller.leave().await.map_err(wrong)?;
    Ok(newest_total(dumps)? / *calls as u64)
}

fn control(pid: u32, word: &str) -> Result<(), String> {
    let output = Command::new("callgrind_control")
        .args([word, &pid.to_string()])
        .output()
        .map_err(|error| format!("callgrind_control: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "callgrind_control {word}: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Reads what the newest dump counted, and takes it away.
fn newest_total(dumps: &Path) -> Result<u64, String> {
    let (Some(dir), Some(stem)) = (dumps.parent(), dumps.file_name().and_then(|name| name.to_str())) else {
        return Err("no folder for dumps".to_owned());
    };
    let entries = fs::read_dir(dir).map_err(|error| error.to_string())?;
    let mut total = None;
    for entry in entries.flatten() {
        let is_dump = |name: &str| name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.'));
        if !entry.file_name().to_str().is_some_and(is_dump) {
            continue;
        }
        let text = fs::read_to_string(entry.path()).map_err(|error| error.to_string())?;
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok());
        total = total.max(found);
        fs::remove_file(entry.path()).map_err(|error| error.to_string())?;
    }
    total.ok_or_else(|| "callgrind wrote no dump".to_owned())
}

/// Returns what the counts depend on beside our code.
fn counted_with() -> BTreeMap<String, String> {
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(|line| line.trim().to_owned())
    };
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let avx2 = flags.split_whitespace().any(|flag| flag == "avx2");
    [
        ("rustc", said("rustc", &["--version"])),
        ("libc", said("getconf", &["GNU_LIBC_VERSION"])),
        ("valgrind", said("valgrind", &["--version"])),
        (
            "vectors",
            Some(if avx2 { "avx2" } else { "without avx2" }.to_owned()),
        ),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.unwrap_or_else(|| "unknown".to_owned())))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(echo: u64) -> BTreeMap<String, u64> {
        [("echo".to_owned(), echo)].into()
    }

    #[test]
    fn only_more_than_the_tolerance_is_more_and_only_with_the_same_compiler_can_it_be_told() {
        let with = |rustc: &str| BTreeMap::from([("rustc".to_owned(), rustc.to_owned())]);
        let written = Written {
            counted_with: with("1"),
            tolerance: TOLERANCE,
            instructions: counts(1_000),
        };
        for (found, rustc, verdict) in [
            (1_030, "1", Verdict::Within),
            (500, "1", Verdict::Within),
            (1_031, "1", Verdict::More),
            (1_030, "2", Verdict::Within),
            (1_031, "2", Verdict::CannotTell),
        ] {
            assert_eq!(
                compared(&written, &counts(found), &with(rustc)),
                verdict,
                "{found}"
            );
        }
        let other = [("another".to_owned(), 1)].into();
        assert_eq!(compared(&written, &other, &with("1")), Verdict::More);
    }
}
