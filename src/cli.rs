//! The command line: reads arguments and environment, calls the rest, and says what happened.
//! The only rung that prints, and the only one that chooses exit codes. Never prints a secret that it did not make.

mod args;
mod call;
mod check;
mod client;
mod connect;
mod health;
mod import;
mod in_process;
mod keys;
mod output;
mod serve;
mod table;
mod target;
mod tools;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::config::{ConfigErrors, Flags, Sources};
use args::{Arguments, Command};

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It was asked rightly and did not work: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The command line or the configuration is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong: exit code 2. Its lines begin with file and line, as editors and terminals like it.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// What is wrong was printed already: exit code 1.
    #[error("")]
    Said,
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs the command line `args`, the program's name first, and returns the exit code of the process.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too; clap knows where each goes.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => match failure {
            Failure::Failed(text) => end(&text, 1),
            Failure::Usage(text) => end(&text, 2),
            Failure::Config(errors) => {
                output::say(&errors.to_string());
                ExitCode::from(2)
            }
            Failure::Said => ExitCode::from(1),
        },
    }
}

fn end(text: &str, code: u8) -> ExitCode {
    output::say(&format!("toolgate: {text}"));
    ExitCode::from(code)
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config;
    let flags = |listen: Option<String>, log: Option<String>| Flags { config, listen, log };
    match arguments.command {
        Command::Serve(serve) => {
            let sources = Sources::read(flags(serve.listen, serve.log))?;
            block_on(serve::run(sources), Threads::Many)
        }
        Command::Check(check) if check.keys => output::print(&crate::config::keys::reference()),
        Command::Check(check) => check::run(&Sources::read(flags(check.listen, None))?),
        Command::Tools(tools) => {
            let target = target::Target::find(&tools.at, flags(None, None))?;
            block_on(tools::run(&tools, target), Threads::Many)
        }
        Command::Call(call) => {
            let target = target::Target::find(&call.at, flags(None, None))?;
            block_on(call::run(&call, target), Threads::Many)
        }
        Command::Import(import) => import::run(&import, &flags(None, None)),
        Command::Connect(connect) => connect::run(&connect, flags(None, None)),
        Command::Health(health) => {
            let url = target::readiness_url(health.url.as_deref(), flags(None, None))?;
            block_on(health::run(url), Threads::One)
        }
        Command::Keys(keys) => keys::run(&keys),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "toolgate", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
    }
}

/// How many threads a command needs.
#[derive(Clone, Copy)]
enum Threads {
    One,
    Many,
}

fn block_on<T>(task: impl Future<Output = Result<T, Failure>>, threads: Threads) -> Result<T, Failure> {
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Many => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()?.block_on(task)
}
