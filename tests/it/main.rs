//! Tests that look at the house from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test that cannot go on should say so at once"
)]

mod admin;
mod cli;
mod config;
mod executions;
mod server;
