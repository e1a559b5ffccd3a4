//! MCP and JSON-RPC as types over raw bytes: eras, methods, headers, error codes, event-stream framing.
//! Pure: no I/O, no clock, no configuration. What is not read here is not changed here.

pub mod error;
pub mod headers;
pub mod json;
pub mod message;
pub mod meta;
pub mod method;
pub mod param_headers;
pub mod passing;
pub mod splice;
pub mod sse;
pub mod version;
