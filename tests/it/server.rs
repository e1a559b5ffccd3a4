//! The HTTP server over real sockets. The mounted endpoint does what the header `x-do` says.

mod connections;
mod drain;
mod kit;
mod probes;
mod requests;
