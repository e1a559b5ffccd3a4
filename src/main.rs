//! The `toolgate` binary: hands over to [`toolgate::cli`], or to the guard of stdio processes that we start as ourselves.

use std::process::ExitCode;

use toolgate::upstream::stdio::guard;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == guard::SUBCOMMAND) {
        return guard::run(args);
    }
    toolgate::cli::run(std::env::args_os())
}
