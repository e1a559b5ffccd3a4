//! The configuration: what a validated `gateways.toml`, environment and flags come to.
//! These are plain values; [`load`](fn@load) makes and checks them before anything binds, [`watch`](fn@watch) makes
//! them again when the file changes. Layers are pure functions of their inputs; only [`Sources`] reads the process's
//! environment. Secrets are never printed, not in errors either.

mod check;
mod composio;
mod diff;
mod environment;
mod expand;
mod file;
pub mod keys;
mod layer;
mod load;
mod nearest;
mod problem;
mod raw;
mod shown;
mod sources;
mod watch;

pub use composio::{
    Api, Composio, MultiAccount, Pins, Preload, Tags, ToolChoice, ToolPrefixes, is_meta_tool,
};
pub use diff::{Diff, diff};
pub use environment::{CONFIG_VARIABLE, KEY_VARIABLE};
pub use expand::ReadFile;
pub(crate) use expand::is_variable_name;
pub use file::File;
pub use load::{Disabled, Loaded, listen_address, load};
pub use problem::{ConfigErrors, Place, Problem};
pub use sources::{FILE_DEFAULT, Flags, Sources, environment};
pub use watch::watch;

/// Composio's API, unless told otherwise.
pub const COMPOSIO_BASE_URL: &str = "https://backend.composio.dev";
/// Where the store is unless told otherwise.
pub const STORE: &str = "sqlite://data/toolgate.db";
/// Where we listen unless told otherwise.
pub const LISTEN: &str = "127.0.0.1:8080";
/// The user of `TOOLGATE_KEY`, and the one user when there is no `[auth]`.
pub const LOCAL_USER: &str = "local";

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::ids::{GatewayId, UserId};

/// The whole configuration, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[auth]`; `None`: one local user, on loopback only.
    pub auth: Option<Auth>,
    /// `[tools]`.
    pub tools: Tools,
    /// `[log]`.
    pub log: Log,
    /// `[telemetry]`.
    pub telemetry: Telemetry,
    /// `[limits]`.
    pub limits: Limits,
    /// `[executions]`.
    pub executions: Executions,
    /// `[gateways.*]`, in the order of the file, then those of the environment. Names are given in this order.
    pub gateways: Vec<Gateway>,
}

/// `[server]`: where we listen and how clients know us.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// `host:port`. Default `127.0.0.1:8080`.
    pub listen: String,
    /// The URL under which clients reach us, when that differs.
    pub public_url: Option<url::Url>,
    /// `Origin` values that browsers may send beside loopback and `public_url`.
    pub allowed_origins: Vec<String>,
    /// `Host` values beside loopback, the listen address and `public_url`. `*` admits any.
    pub allowed_hosts: Vec<String>,
    /// How long calls in flight may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// Where what outlives the process is kept.
    pub store: StorePlace,
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// A SQLite database, with its keys and its lock in files beside it.
    File(PathBuf),
    /// In the process, gone with it.
    Memory,
}

/// `[auth]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// Every key with its user.
    pub keys: Vec<Key>,
}

/// One static key.
#[derive(Clone, PartialEq)]
pub struct Key {
    /// Whom the key stands for.
    pub user: UserId,
    /// SHA-256 of the key: from `key = "…"`, or as `key_sha256 = "…"` (64 hex digits, `toolgate keys hash`).
    pub sha256: [u8; 32],
    /// Whether the key may name another user in `X-User-Id`.
    pub acts_for_users: bool,
    /// Globs over exposed tool names that this key may use; absent: all.
    pub tools: Option<Vec<String>>,
}

/// `[tools]`: naming and what is permitted to everybody.
#[derive(Clone, Debug, PartialEq)]
pub struct Tools {
    /// Globs over exposed names; `None`: all.
    pub permitted: Option<Vec<String>>,
    /// When an exposed name carries its gateway's name.
    pub prefix: Prefix,
    /// Whether names are mapped to what every client accepts.
    pub names: Names,
}

/// When an exposed name is `gateway__tool` rather than `tool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Prefix {
    /// Never: a second gateway's tool of the same name is not exposed, and `explain` says so.
    Never,
    /// Where the bare name belongs to another gateway.
    #[default]
    OnConflict,
    /// Always.
    Always,
}

/// How names are made valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Names {
    /// `[A-Za-z0-9_-]`, at most 64 characters.
    #[default]
    Portable,
    /// As the gateway gives them.
    AsIs,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `toolgate=debug`.
    pub level: String,
    /// `json`, `pretty`, or absent: pretty on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// `[telemetry]`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Telemetry {
    /// OTLP over HTTP (`http://collector:4318`); absent: off. Also `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub otlp_endpoint: Option<url::Url>,
}

/// `[executions]`: the record of tool calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Executions {
    /// Whether calls are recorded at all.
    pub enabled: bool,
    /// What happens to a call that cannot be recorded.
    pub audit: Audit,
    /// Whether arguments are kept, capped and redacted.
    pub arguments: bool,
    /// Whether results are kept, capped and redacted.
    pub results: bool,
    /// Records older than this are deleted.
    pub age_max: Duration,
    /// Past so many bytes of records the oldest are deleted.
    pub bytes_max: u64,
}

impl Default for Executions {
    fn default() -> Self {
        Self {
            enabled: true,
            audit: Audit::default(),
            arguments: false,
            results: false,
            age_max: crate::limits::EXECUTION_AGE_MAX,
            bytes_max: crate::limits::EXECUTIONS_BYTES_MAX as u64,
        }
    }
}

/// What happens to a call that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Audit {
    /// It goes on; the record is dropped and counted.
    #[default]
    BestEffort,
    /// It is refused before anything is sent: its record is written first.
    Required,
}

/// `[limits]`: the bounds that an operator may set; defaults from [`crate::limits`].
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// A client's request body.
    pub request_body_bytes_max: usize,
    /// One message of an upstream.
    pub upstream_result_bytes_max: usize,
    /// Open client connections.
    pub connections_max: usize,
    /// Requests in flight, all users.
    pub in_flight_max: usize,
    /// Calls in flight of one user.
    pub in_flight_per_user_max: usize,
    /// Sessions of one user.
    pub sessions_per_user_max: usize,
    /// Sessions of all users.
    pub sessions_max: usize,
    /// A session without a request or stream.
    pub session_idle_max: Duration,
    /// A session, however busy.
    pub session_age_max: Duration,
    /// stdio processes of all gateways.
    pub stdio_processes_max: usize,
    /// Entries of one page of a list.
    pub page_items_max: usize,
    /// Questions wait this long for their answers.
    pub question_timeout: Duration,
}

/// One `[gateways.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// The table's key.
    pub name: GatewayId,
    /// How it is reached.
    pub transport: Transport,
    /// A whole call.
    pub timeout: Duration,
    /// Calls in flight at this gateway.
    pub in_flight_max: usize,
    /// Readiness waits for this gateway's first list.
    pub required: bool,
    /// Globs over the gateway's own tool names; absent: all.
    pub allow: Option<Vec<String>>,
    /// Globs over the gateway's own tool names; wins over `allow`.
    pub deny: Vec<String>,
    /// Own name → exposed name. An exposed name of this table is taken as it stands.
    pub rename: BTreeMap<String, String>,
    /// Overrides `[tools] prefix` for this gateway.
    pub prefix: Option<Prefix>,
}

/// How a gateway is reached.
#[derive(Clone, PartialEq)]
pub enum Transport {
    /// Streamable HTTP of either era.
    Http {
        /// The MCP endpoint.
        url: url::Url,
        /// Sent with every request; values are secrets.
        headers: Vec<(String, Secret)>,
        /// Which era to speak.
        era: EraChoice,
    },
    /// HTTP+SSE of 2024-11-05.
    Sse {
        /// The URL of the event stream.
        url: url::Url,
        /// Sent with every request; values are secrets.
        headers: Vec<(String, Secret)>,
    },
    /// A child process.
    Stdio {
        /// Program and arguments; no shell.
        command: Vec<String>,
        /// Set for the child.
        env: Vec<(String, Secret)>,
        /// Taken from our own environment for the child, beside `PATH`, `HOME`, `LANG` and their like.
        env_pass: Vec<String>,
        /// Working directory.
        cwd: Option<PathBuf>,
        /// Who shares a process.
        processes: Processes,
        /// Which era to speak.
        era: EraChoice,
    },
    /// Composio.
    Composio(Box<Composio>),
}

/// Which era a gateway is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EraChoice {
    /// Found by probing.
    #[default]
    Auto,
    /// 2025-11-25 and before, by handshake.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// Who shares a stdio process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Processes {
    /// One for all users.
    #[default]
    Shared,
    /// One for each user.
    PerUser,
    /// One for each session of a client.
    PerSession,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// Returns the secret, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
