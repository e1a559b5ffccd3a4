//! The `toolgate` binary: hands over to [`toolgate::cli`], or to the guard of stdio processes that we start as ourselves.

use std::process::ExitCode;

use toolgate::upstream::stdio::guard;

/// A call makes some fifty small allocations and a few large ones that live as long as it does; the system's allocator
/// takes a tenth of the call's time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == guard::SUBCOMMAND) {
        return guard::run(args);
    }
    toolgate::cli::run(std::env::args_os())
}
