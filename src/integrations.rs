//! Providers that hold grants of users at others: so far Composio's API.
//! Below `upstream`, which speaks MCP to what is made here; never calls a tool.

pub mod composio;
pub mod connections;
mod projects;
mod servers;
pub mod sessions;
mod standing;

pub use projects::{Project, Projects};
