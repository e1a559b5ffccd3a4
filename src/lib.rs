//! Toolgate: one MCP endpoint in front of many tool gateways.
//!
//! The modules stand on rungs; imports only run downward (`tests/house` keeps it so, `ARCHITECTURE.md` says why).

pub mod clock;
pub mod ids;
pub mod limits;
pub mod seal;
pub mod supervisor;

pub mod protocol;

pub mod config;
pub mod telemetry;

pub mod store;

pub mod identity;

pub mod catalog;

pub mod policy;

pub mod exchange;

pub mod integrations;

pub mod upstream;

pub mod proxy;

pub mod web;

pub mod server;

pub mod admin;
pub mod cli;
pub mod inbound;

pub mod app;
