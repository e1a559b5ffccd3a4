//! Questions of an upstream in the middle of a call (elicitation, sampling, roots) through the real binary: every kind
//! × every era of client × every kind of upstream, answered well, badly and not at all.
//!
//! The upstream is `tests/kit/servers/asks.mjs`, which asks what a call's arguments say and reports what it was told.
//! The clients are written by hand here, so that they can misbehave; real ones follow in [`real_clients`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should say so at once"
)]

mod abuse;
mod answers;
mod cells;
mod fleet;
mod lasting;
mod parked;
mod peer;
mod reader;
mod real_clients;
mod silence;
mod talk;
mod url;
