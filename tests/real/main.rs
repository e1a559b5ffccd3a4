//! Toolgate between real clients and real servers: the `toolgate` binary is started with a `gateways.toml` of its own,
//! servers that nobody here wrote stand behind it, clients that nobody here wrote talk to it.
//!
//! `make deps` installs both sides. Everything listens on loopback and a port of its own, every wait is bounded and
//! fails with the logs of whom it waited for, and every process that a test starts ends with the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, these run on real processes in real time, and `json!` is passed as it is made"
)]

mod clients;
mod conformance;
mod drivers;
mod gateway;
mod http_servers;
mod isolation;
mod kit;
mod make_run;
mod orphans;
mod outage;
mod process;
mod questions;
mod restart;
mod stdio_servers;
mod web;
mod wire;
