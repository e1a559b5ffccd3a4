//! Gateways that are child processes (all revisions, Transports, "stdio").

pub mod guard;
