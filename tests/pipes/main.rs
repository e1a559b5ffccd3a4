//! Gateways behind pipes, as the rest of the house meets them: real processes under the real guard, and an HTTP+SSE
//! server whose streams the test holds.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests of real processes and sockets: what fails is the test, and time is real"
)]

mod bench;
mod people;
mod processes;
mod sse;
mod stdio;
