//! A gateway of kind `composio` in front of an honest fake of Composio, and the fake itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should say so at once; the fake and the Toolgate run beside the test"
)]

mod agent;
mod attacks;
mod binary;
mod browser;
mod catalogue;
mod connect;
mod connections;
#[allow(dead_code, reason = "the program of serve.rs uses other parts of it")]
mod fake;
mod gate;
mod honest;
mod in_band;
mod integrations;
mod isolation;
mod killed;
mod known;
mod lasting;
mod older_servers;
mod options;
mod pins;
mod process;
mod program;
mod refusals;
mod rest;
mod sdks;
mod secrets;
mod sessions;
mod tools;
mod trouble;
mod verifier;
mod webhooks;
