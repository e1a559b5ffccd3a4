//! `composio-fake`: the fake of Composio as a program of its own, which can be killed and started again.
//!
//!     composio-fake --listen 127.0.0.1:0 --key ak_… [--control TOKEN] [--state FILE] [--public-url URL]
//!
//! Prints `listening on http://…`. With `--state` its world and its ledger outlive it.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a fake for tests says at once what it cannot do"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "tests use more of it than the program does"
)]
mod fake;

use clap::Parser;

use fake::{CONTROL, Fake, KEY, Options};

/// A fake of Composio's API.
#[derive(Parser)]
#[command(name = "composio-fake")]
struct Args {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// The project's key.
    #[arg(long, default_value = KEY)]
    key: String,
    /// What `x-fake-control` must say.
    #[arg(long, default_value = CONTROL)]
    control: String,
    /// Where its world is kept.
    #[arg(long)]
    state: Option<std::path::PathBuf>,
    /// What it calls itself in URLs.
    #[arg(long)]
    public_url: Option<String>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let listening = Fake::start_with(Options {
        listen: args.listen,
        key: args.key,
        control: args.control,
        state: args.state,
        public_url: args.public_url,
        remembers_requests: false,
    });
    let fake = listening.await?;
    println!("listening on {}", fake.address);
    tokio::signal::ctrl_c().await
}
