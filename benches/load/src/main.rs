//! `make bench`: mock upstream, bare proxy, load generator and runner, each a subcommand of this one program.
//!
//! `toolgate-bench run --toolgate PATH --out DIR [--nginx PATH] [--peer PATH] [--quick] [--only STAGE,…]`
//! `toolgate-bench upstream NAME legacy|modern TOOLS GATEWAYS`
//! `toolgate-bench bare HOST:PORT`
//! `toolgate-bench instructions --toolgate PATH --out DIR --file FILE [--update] [--runs N]`
//! `toolgate-bench calls URL KEY OPERATION UPSTREAM legacy|modern CLIENTS CALLS`

mod bare;
mod caller;
mod calls;
mod composio;
mod goals;
mod http;
mod instructions;
mod load;
mod memory;
mod pieces;
mod plot;
mod process;
mod report;
mod results;
mod run;
mod serve;
mod stage;
mod template;
mod upstream;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::instructions::Verdict;
use crate::results::Results;
use crate::run::{Effort, Run, STAGES};
use crate::stage::Programs;

/// `EX_UNAVAILABLE` of sysexits: what was asked for cannot be done here.
const EXIT_CANNOT_TELL: u8 = 69;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        eprintln!("toolgate-bench: no runtime");
        return ExitCode::FAILURE;
    };
    let outcome = match words.as_slice() {
        ["upstream", name, era @ ("legacy" | "modern"), tools, gateways] => {
            let era = if *era == "modern" {
                upstream::Era::Modern
            } else {
                upstream::Era::Legacy
            };
            let settings = upstream::Settings {
                name: (*name).to_owned(),
                era,
                tools: tools.parse().unwrap_or(4),
                gateways: gateways.parse().unwrap_or(1),
            };
            runtime.block_on(upstream::run(settings))
        }
        ["bare", to] => runtime.block_on(bare::run(to)),
        ["calls", words @ ..] => runtime.block_on(calls::run(words)),
        ["run", options @ ..] => Options::read(options).and_then(|options| runtime.block_on(bench(options))),
        ["instructions", options @ ..] => {
            match Options::read(options).and_then(|options| runtime.block_on(instructions(options))) {
                Ok(Verdict::Within) => Ok(()),
                Ok(Verdict::More) => return ExitCode::FAILURE,
                Ok(Verdict::CannotTell) => return ExitCode::from(EXIT_CANNOT_TELL),
                Err(error) => Err(error),
            }
        }
        _ => Err("see the head of benches/load/src/main.rs for how to call this".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("toolgate-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Options {
    toolgate: PathBuf,
    nginx: Option<PathBuf>,
    peer: Option<PathBuf>,
    out: PathBuf,
    quick: bool,
    only: Vec<String>,
    file: PathBuf,
    update: bool,
    runs: usize,
}

impl Options {
    fn read(words: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => options.quick = true,
                "--update" => options.update = true,
                _ => options.set(word, words.next())?,
            }
        }
        Ok(options)
    }

    fn set(&mut self, word: &str, value: Option<&&str>) -> Result<(), String> {
        let value = *value.ok_or_else(|| format!("{word} needs a value"))?;
        match word {
            "--toolgate" => self.toolgate = value.into(),
            "--nginx" if value.is_empty() => {}
            "--nginx" => self.nginx = Some(value.into()),
            "--peer" => self.peer = Some(value.into()),
            "--out" => self.out = value.into(),
            "--file" => self.file = value.into(),
            "--runs" => self.runs = value.parse().map_err(|_| format!("{value} is no number"))?,
            "--only" => self.only = value.split(',').map(ToOwned::to_owned).collect(),
            _ => return Err(format!("{word} is not known")),
        }
        Ok(())
    }

    fn programs(&self) -> Result<Programs, String> {
        fs::create_dir_all(&self.out).map_err(|error| error.to_string())?;
        let absolute =
            |path: &PathBuf| fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()));
        Ok(Programs {
            own: std::env::current_exe().map_err(|error| error.to_string())?,
            toolgate: absolute(&self.toolgate)?,
            nginx: self.nginx.as_ref().map(absolute).transpose()?,
            peer: self.peer.as_ref().map(absolute).transpose()?,
            out: absolute(&self.out)?,
            cores: cores(),
            under: Vec::new(),
        })
    }
}

async fn instructions(options: Options) -> Result<Verdict, String> {
    let mut programs = options.programs()?;
    let settings = instructions::Settings {
        file: options.file,
        update: options.update,
        runs: options.runs,
    };
    instructions::run(&mut programs, &settings).await
}

async fn bench(options: Options) -> Result<(), String> {
    let cores = cores();
    if cores < 2 {
        return Err(
            "two cores are needed: one for the proxy, one for its upstream and its clients".to_owned(),
        );
    }
    let programs = options.programs()?;
    let about = about(&programs, cores);
    // The load generator keeps to the upstreams' core; whatever it starts says where it goes itself.
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset")
        .args(["-pc", stage::LOAD_CORE, &pid])
        .output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        return Err("taskset cannot pin this process to a core".to_owned());
    }
    let mut run = Run {
        programs: &programs,
        effort: Effort { quick: options.quick },
        results: Results {
            about,
            ..Results::default()
        },
    };
    let started = std::time::Instant::now();
    for stage in STAGES {
        if options.only.is_empty() || options.only.iter().any(|only| only == stage) {
            tokio::select! {
                done = run.stage(stage) => done?,
                _ = tokio::signal::ctrl_c() => return Err("interrupted".to_owned()),
            }
        }
    }
    let mut results = run.results;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    results
        .about
        .insert("took".to_owned(), format!("{minutes:.1} minutes"));
    let foreign = load::median(results.series.iter().map(|series| series.median.foreign));
    results.about.insert(
        "others".to_owned(),
        format!(
            "programs beside the bench took {:.0} % of a core at the median",
            foreign * 100.0
        ),
    );
    results.goals = goals::judge(&results);
    println!("{}", report::write(&results, &programs.out)?);
    eprintln!(
        "written: results.md, results.json and results.svg in {}",
        programs.out.display()
    );
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Says what was measured where.
fn about(programs: &Programs, cores: usize) -> BTreeMap<String, String> {
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().ok()?;
        let text = if output.stdout.is_empty() {
            output.stderr
        } else {
            output.stdout
        };
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    });
    let nginx = programs
        .nginx
        .as_ref()
        .and_then(|nginx| said(&nginx.display().to_string(), &["-v"]));
    let peer = programs
        .peer
        .as_ref()
        .and_then(|peer| said(&peer.display().to_string(), &["--version"]))
        // The one that is measured here knows no such flag.
        .filter(|version| !version.contains('\n'));
    [
        ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        (
            "commit",
            said("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
        ),
        (
            "machine",
            processor.map(|model| format!("{model}, {cores} cores")),
        ),
        ("kernel", said("uname", &["-sr"])),
        ("nginx", nginx),
        ("peer", peer),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect()
}
