//! Live links to gateways: connections, eras, sessions, processes, health.
//! Everything above sees [`Gateways`](gateways::Gateways); each kind of link is one [`Transport`](transport::Transport).
//! An upstream never learns of a client more than what the client declared, and never gets a client's credentials.

// What every gateway has.
pub mod backoff;
pub mod breaker;
pub mod factory;
mod fallover;
pub mod gateway;
pub mod gateways;
pub mod health;
pub mod publish;
mod refresh;
mod unusable;

mod composio;
pub mod duplex;
pub mod handshake;
pub mod http;
pub mod incoming;
mod lease;
pub mod lists;
pub mod outgoing;
pub mod rounds;
pub mod sse;
pub mod stdio;
pub mod transport;
pub mod watches;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod fixture;
