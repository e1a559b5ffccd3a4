//! Every key of `gateways.toml`: type, default and meaning. The file is checked against this table,
//! and `docs/configuration.md` is this table as text (a test keeps both equal to the types).

use std::fmt::Write as _;

use crate::limits;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The path; `*` stands for a gateway's name, `[]` for the entries of a list.
    pub path: &'static str,
    /// What the value may be.
    pub kind: Kind,
    /// What holds when the key is absent, for people.
    pub default: WhenAbsent,
    /// What it does, in one or two sentences.
    pub meaning: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Number {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// A table of strings.
    TextTable,
    /// A string or a list of strings.
    Command,
    /// Tables with these keys, each a list of strings.
    Lists(&'static [&'static str]),
}

impl Kind {
    /// Says what would be right, for error texts and the reference.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                words.join(" or ")
            }
            Self::Texts => "a list of strings".to_owned(),
            Self::TextTable => "a table of strings".to_owned(),
            Self::Command => "a list of strings, or a string".to_owned(),
            Self::Lists(keys) => format!("tables with lists of strings: {}", keys.join(", ")),
        }
    }
}

/// What holds when a key is absent.
#[derive(Clone, Copy, Debug)]
pub enum WhenAbsent {
    /// Nothing; the meaning says what follows.
    Absent,
    /// A text.
    Text(&'static str),
    /// A number of [`crate::limits`].
    Number(usize),
    /// A duration of [`crate::limits`], written in milliseconds.
    Ms(std::time::Duration),
}

impl WhenAbsent {
    /// Says the default, for the reference.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Text(text) => format!("`{text}`"),
            Self::Number(number) => format!("`{number}`"),
            Self::Ms(duration) => format!("`{}`", duration.as_millis()),
        }
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const HOUR_MS: u64 = 60 * 60 * 1000;
const MILLION: u64 = 1_000_000;

const fn key(path: &'static str, kind: Kind, default: WhenAbsent, meaning: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        meaning,
    }
}

const fn number(path: &'static str, bounds: (u64, u64), default: usize, meaning: &'static str) -> Key {
    let kind = Kind::Number {
        min: bounds.0,
        max: bounds.1,
    };
    key(path, kind, WhenAbsent::Number(default), meaning)
}

const fn duration(
    path: &'static str,
    bounds: (u64, u64),
    default: std::time::Duration,
    meaning: &'static str,
) -> Key {
    let kind = Kind::Number {
        min: bounds.0,
        max: bounds.1,
    };
    key(path, kind, WhenAbsent::Ms(default), meaning)
}

/// The words of `audit`.
pub(super) const AUDITS: &[&str] = &["best_effort", "required"];
/// The words of `kind`.
pub(super) const KINDS: &[&str] = &["composio"];
/// What may be said of a toolkit's tools.
pub(super) const TOOL_CHOICES: &[&str] = &["enable", "disable", "tags"];
/// The words of `transport`.
pub(super) const TRANSPORTS: &[&str] = &["http", "sse", "stdio"];
/// The words of `era`.
pub(super) const ERAS: &[&str] = &["auto", "legacy", "modern"];
/// The words of `api`.
pub(super) const COMPOSIO_APIS: &[&str] = &["sessions", "mcp_servers"];
/// The words of `multi_account_pins`.
pub(super) const PINS: &[&str] = &["all", "chosen"];
/// The words of `processes`.
pub(super) const PROCESSES: &[&str] = &["shared", "per_user", "per_session"];
/// The words of `prefix`.
pub(super) const PREFIXES: &[&str] = &["never", "on_conflict", "always"];
/// The words of `names`.
pub(super) const NAMES: &[&str] = &["portable", "as_is"];
/// The words of `log.format`.
pub(super) const LOG_FORMATS: &[&str] = &["json", "pretty"];

/// All keys, in the order of the reference.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("server.listen", Kind::Text, WhenAbsent::Text("127.0.0.1:8080"), "Address and port to serve on. Another address than loopback needs `[auth]`. Port 0 takes any free one. Environment: `TOOLGATE_LISTEN`; flag: `--listen`."),
    key("server.public_url", Kind::Text, WhenAbsent::Absent, "The URL under which clients reach Toolgate, when that differs from `listen`. Environment: `TOOLGATE_PUBLIC_URL`."),
    key("server.allowed_origins", Kind::Texts, WhenAbsent::Text("[]"), "`Origin` values that web pages may send, beside loopback and `public_url`. Environment: `TOOLGATE_ALLOWED_ORIGINS` (comma-separated)."),
    key("server.allowed_hosts", Kind::Texts, WhenAbsent::Text("[]"), "`Host` values that are served, beside loopback, the listen address and `public_url`; `*` admits any. Environment: `TOOLGATE_ALLOWED_HOSTS` (comma-separated)."),
    duration("server.drain_timeout_ms", (0, HOUR_MS), limits::DRAIN_TIMEOUT, "How long calls in flight may go on after SIGTERM. Environment: `TOOLGATE_DRAIN_TIMEOUT_MS`."),
    key("server.store", Kind::Text, WhenAbsent::Text("sqlite://data/toolgate.db"), "Where sessions, names, connections and records are kept: `sqlite://PATH`, made with its folder when it is not there, or `memory`, gone with the process. Beside the database stand its keys (`PATH.keys`), which a backup needs too. Environment: `TOOLGATE_STORE`."),

    key("auth.keys[].user", Kind::Text, WhenAbsent::Absent, "Whom the key stands for. Required."),
    key("auth.keys[].key", Kind::Text, WhenAbsent::Absent, "The key itself, best as `${VAR}` or `${file:…}`. Either this or `key_sha256`. Environment: `TOOLGATE_KEY` adds one key of user `local`."),
    key("auth.keys[].key_sha256", Kind::Text, WhenAbsent::Absent, "The key's SHA-256 as 64 hex digits, from `toolgate keys hash` or `toolgate keys new`."),
    key("auth.keys[].acts_for_users", Kind::Flag, WhenAbsent::Text("false"), "Whether the key may name another user in `X-User-Id`."),
    key("auth.keys[].tools", Kind::Texts, WhenAbsent::Absent, "Globs over exposed names that this key may use. Absent: all."),

    key("tools.permitted", Kind::Texts, WhenAbsent::Absent, "Globs over exposed names that anybody may use. Absent: all. Environment: `PERMITTED_TOOLS` (JSON array or comma-separated)."),
    key("tools.prefix", Kind::Choice(PREFIXES), WhenAbsent::Text("on_conflict"), "When an exposed name is `gateway__tool` rather than `tool`."),
    key("tools.names", Kind::Choice(NAMES), WhenAbsent::Text("portable"), "`portable` maps names to `[A-Za-z0-9_-]`, at most 64 characters, which every client accepts; `as_is` leaves them."),

    key("log.level", Kind::Text, WhenAbsent::Text("info"), "A level (`error`, `warn`, `info`, `debug`, `trace`, `off`) or a `tracing` filter such as `info,toolgate=debug`. Environment: `TOOLGATE_LOG`; flag: `--log`."),
    key("log.format", Kind::Choice(LOG_FORMATS), WhenAbsent::Absent, "Absent: `pretty` on a terminal, `json` otherwise. Environment: `TOOLGATE_LOG_FORMAT`."),

    key("telemetry.otlp_endpoint", Kind::Text, WhenAbsent::Absent, "Where traces go, OTLP over HTTP, such as `http://collector:4318`. Absent: nowhere. Environment: `OTEL_EXPORTER_OTLP_ENDPOINT`."),

    number("limits.request_body_bytes_max", (1024, 64 * MILLION), limits::REQUEST_BODY_BYTES_MAX, "A client's request body; a larger one gets 413."),
    number("limits.upstream_result_bytes_max", (1024, limits::UPSTREAM_RESULT_BYTES_MAX as u64), limits::UPSTREAM_RESULT_BYTES_MAX, "One message of a gateway."),
    number("limits.connections_max", (1, MILLION), limits::CONNECTIONS_MAX, "Open client connections."),
    number("limits.in_flight_max", (1, MILLION), limits::IN_FLIGHT_MAX, "Requests that are being answered, over all users."),
    number("limits.in_flight_per_user_max", (1, MILLION), limits::IN_FLIGHT_PER_USER_MAX, "Calls of one user that are being answered."),
    number("limits.sessions_per_user_max", (1, MILLION), limits::SESSIONS_PER_USER_MAX, "Sessions of one user."),
    number("limits.sessions_max", (1, MILLION), limits::SESSIONS_MAX, "Sessions of all users."),
    duration("limits.session_idle_max_ms", (1_000, 30 * DAY_MS), limits::SESSION_IDLE_MAX, "A session without a request or an open stream ends after this."),
    duration("limits.session_age_max_ms", (1_000, 365 * DAY_MS), limits::SESSION_AGE_MAX, "A session ends after this, however busy."),
    number("limits.stdio_processes_max", (1, 10_000), limits::STDIO_PROCESSES_MAX, "Processes of all gateways with a `command`."),
    number("limits.page_items_max", (1, 10_000), limits::PAGE_ITEMS_MAX, "Entries of one page of a list."),
    duration("limits.question_timeout_ms", (1_000, DAY_MS), limits::QUESTION_TIMEOUT, "How long a gateway's question to the user waits for the answer."),

    key("executions.enabled", Kind::Flag, WhenAbsent::Text("true"), "Whether every tool call leaves a record: who, when, which tool, how it ended, how long it took."),
    key("executions.audit", Kind::Choice(AUDITS), WhenAbsent::Text("best_effort"), "`best_effort`: a call never waits for its record; what cannot be written in time is dropped and counted (`toolgate_executions_dropped_total`). `required`: the record is written before the call is sent, and a call that cannot be recorded is refused."),
    key("executions.arguments", Kind::Flag, WhenAbsent::Text("false"), "Whether the arguments of calls are kept: the first 16 KiB, with the values of keys that name secrets as `***`."),
    key("executions.results", Kind::Flag, WhenAbsent::Text("false"), "The same for results."),
    duration("executions.age_max_ms", (60_000, 3_650 * DAY_MS), limits::EXECUTION_AGE_MAX, "Records are deleted when they are older than this."),
    number("executions.bytes_max", (10 * MILLION, MILLION * MILLION), limits::EXECUTIONS_BYTES_MAX, "When the records take more bytes than this, the oldest are deleted."),

    key("gateways.*.kind", Kind::Choice(KINDS), WhenAbsent::Absent, "`composio`: for each user a session of Composio's Tool Router, made on first use. Absent: a server with a `url` or a `command`."),
    key("gateways.*.url", Kind::Text, WhenAbsent::Absent, "The MCP endpoint of the gateway. Either this or `command`. Environment: `MCP_<NAME>_URL`, or `MCP_GATEWAY_URLS` (comma-separated, names from the hosts)."),
    key("gateways.*.command", Kind::Command, WhenAbsent::Absent, "The program to run and its arguments, as a list; no shell reads it. Or the program alone, with `args`."),
    key("gateways.*.args", Kind::Texts, WhenAbsent::Text("[]"), "Arguments, when `command` is a string."),
    key("gateways.*.transport", Kind::Choice(TRANSPORTS), WhenAbsent::Absent, "Absent: `stdio` with a `command`, `sse` (the transport of 2024-11-05) when the path of `url` ends in `/sse`, `http` (Streamable HTTP) otherwise."),
    key("gateways.*.headers", Kind::TextTable, WhenAbsent::Text("{}"), "Headers of every request to `url`. Values are never printed."),
    key("gateways.*.era", Kind::Choice(ERAS), WhenAbsent::Text("auto"), "Which revisions of MCP to speak: `legacy` (2025-11-25 and before; what `kind = \"composio\"` takes when the key is absent), `modern` (2026-07-28), or what probing finds."),
    key("gateways.*.env", Kind::TextTable, WhenAbsent::Text("{}"), "Variables set for the process of `command`. Values are never printed."),
    key("gateways.*.env_pass", Kind::Texts, WhenAbsent::Text("[]"), "Names of variables that the process takes from Toolgate's own environment, beside `PATH`, `HOME`, `LANG` and their like."),
    key("gateways.*.cwd", Kind::Text, WhenAbsent::Absent, "Working directory of the process. Absent: Toolgate's own."),
    key("gateways.*.processes", Kind::Choice(PROCESSES), WhenAbsent::Text("shared"), "Who shares a process: everybody, the sessions of one user, or nobody."),
    key("gateways.*.api_key", Kind::Text, WhenAbsent::Absent, "The key of a Composio project (`ak_…`), best as `${COMPOSIO_API_KEY}`. Never printed. Environment: `COMPOSIO_API_KEY`."),
    key("gateways.*.base_url", Kind::Text, WhenAbsent::Text(super::COMPOSIO_BASE_URL), "Composio's API; http:// only on this machine. Environment: `COMPOSIO_BASE_URL`."),
    key("gateways.*.api", Kind::Choice(COMPOSIO_APIS), WhenAbsent::Text("sessions"), "By which of Composio's APIs users are reached: a Tool Router session each, or the older MCP servers (one for the project, made of `auth_configs`, `toolkits` and the tools that `tools` enables, for every toolkit or for none; its tools stand in the list)."),
    key("gateways.*.toolkits", Kind::Texts, WhenAbsent::Absent, "The toolkits that Composio's sessions may use, such as `[\"gmail\", \"github\"]`. Absent: all."),
    key("gateways.*.tool_prefixes", Kind::TextTable, WhenAbsent::Text("{}"), "How the slugs of a toolkit's tools begin (before a `_`), where it is not with the toolkit's own slug in capitals: `{ google-drive = \"GDRIVE\" }`. By this it is known of which toolkit a tool is."),
    key("gateways.*.tools", Kind::Lists(TOOL_CHOICES), WhenAbsent::Text("{}"), "For a toolkit of Composio, which of its tools: `tools.github.disable = [\"GITHUB_DELETE_A_REPOSITORY\"]`, or `enable`, or `tags` (as below), one of the three."),
    key("gateways.*.tags", Kind::Texts, WhenAbsent::Text("[]"), "Composio's tools of every toolkit by what they are marked with: `readOnlyHint`, `createHint`, `updateHint`, `destructiveHint`, `idempotentHint`, `openWorldHint`; with `!` in front, tools that are marked so are left out."),
    key("gateways.*.auth_configs", Kind::TextTable, WhenAbsent::Text("{}"), "Toolkit = auth config (`ac_…`) that its connections are made with. Absent: Composio chooses, or makes a managed one. Environment: `COMPOSIO_AUTH_CONFIG_<TOOLKIT>`."),
    key("gateways.*.preload", Kind::Command, WhenAbsent::Text("[]"), "App tools that stand in the list beside Composio's meta tools; `\"all\"`: every tool of `toolkits`, in the place of the meta tools."),
    key("gateways.*.workbench", Kind::Flag, WhenAbsent::Absent, "Whether sessions have Composio's sandbox. Its code may execute tools that `deny` and `permitted` do not see. Absent: `true`, with `preload = \"all\"` `false`."),
    key("gateways.*.multi_account", Kind::Flag, WhenAbsent::Text("false"), "Whether a user may have several accounts of one toolkit."),
    number("gateways.*.multi_account_max", (2, 10), limits::COMPOSIO_ACCOUNTS_PER_TOOLKIT, "Accounts of one toolkit, with `multi_account`."),
    key("gateways.*.multi_account_explicit", Kind::Flag, WhenAbsent::Text("false"), "Whether a call must name its account where there are several, with `multi_account`. Otherwise the account that the user chose is used, or the one that was connected last."),
    key("gateways.*.multi_account_pins", Kind::Choice(PINS), WhenAbsent::Text("all"), "Which accounts a session is bound to once its user chose one, with `multi_account`: `all`, the chosen one first, so that calls can name the others; or the `chosen` one alone. Composio does not document that it takes the first where a call names none; should it take another, `chosen` is right."),
    key("gateways.*.multi_account_reinitiate", Kind::Flag, WhenAbsent::Text("false"), "Whether an agent may have connections that work made anew (`reinitiate_all` of `COMPOSIO_MANAGE_CONNECTIONS`), with `multi_account`. Composio documents that they are replaced; users add an account with `POST /api/integrations/{toolkit}/connect` and an `alias`."),
    key("gateways.*.callback_url", Kind::Text, WhenAbsent::Absent, "Where browsers come back to from a connection: a page of your own, which gets `state` in its query and hands it to `POST /api/integrations/{toolkit}/complete`. Absent: Toolgate's page below `public_url`; for what `COMPOSIO_MANAGE_CONNECTIONS` begins, Composio's."),
    key("gateways.*.webhook_secret", Kind::Text, WhenAbsent::Absent, "The secret of the project's webhook subscription, best as `${VAR}`. Never printed. Absent: `POST /api/webhooks/composio` is 404."),
    duration("gateways.*.timeout_ms", (100, DAY_MS), limits::CALL_TIMEOUT, "A whole call. When the key is absent, `kind = \"composio\"` takes 240000: some of its tools block for minutes."),
    number("gateways.*.in_flight_max", (1, MILLION), limits::IN_FLIGHT_PER_GATEWAY_MAX, "Calls that the gateway works on at a time."),
    key("gateways.*.required", Kind::Flag, WhenAbsent::Text("false"), "Whether `/readyz` waits for this gateway's first list."),
    key("gateways.*.allow", Kind::Texts, WhenAbsent::Absent, "Globs over the gateway's own tool names. Absent: all."),
    key("gateways.*.deny", Kind::Texts, WhenAbsent::Text("[]"), "Globs over the gateway's own tool names; wins over `allow`."),
    key("gateways.*.rename", Kind::TextTable, WhenAbsent::Text("{}"), "Own name = exposed name. The exposed name is taken as it stands."),
    key("gateways.*.prefix", Kind::Choice(PREFIXES), WhenAbsent::Absent, "Overrides `tools.prefix` for this gateway."),
    key("gateways.*.enabled", Kind::Flag, WhenAbsent::Text("true"), "`false`: as if the gateway were not there."),
    key("gateways.*.enabled_if_env", Kind::Text, WhenAbsent::Absent, "The gateway is there only when this variable is set and not empty."),
];

/// Returns the key with this path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// What stands under a path of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    Leaf(Kind),
    /// A table with keys of its own.
    Table,
    /// A list of tables.
    List,
    /// Nothing: the key does not exist.
    Unknown,
}

/// Returns what stands under a path.
pub(super) fn shape(path: &str) -> Shape {
    if let Some(key) = find(path) {
        return Shape::Leaf(key.kind);
    }
    let below = |suffix: &str| {
        KEYS.iter().any(|key| {
            key.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with(suffix))
        })
    };
    if below(".") {
        Shape::Table
    } else if below("[].") {
        Shape::List
    } else {
        Shape::Unknown
    }
}

/// Returns the names of the keys directly under a path, in order; the empty path is the top.
pub(super) fn children(path: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for key in KEYS {
        let rest = if path.is_empty() {
            Some(key.path)
        } else {
            key.path
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('.'))
        };
        let Some(name) = rest.and_then(|rest| rest.split(['.', '[']).next()) else {
            continue;
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns the reference as Markdown: one table for each section.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        let Some((table, name)) = key.path.rsplit_once('.') else {
            continue;
        };
        if table != section {
            section = table;
            let title = match table {
                "auth.keys[]" => "[auth] keys = [{ … }]".to_owned(),
                "gateways.*" => "[gateways.<name>]".to_owned(),
                _ => format!("[{table}]"),
            };
            let _ = write!(
                text,
                "\n### `{title}`\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
            );
        }
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} | {} |",
            key.kind.describe(),
            key.default.describe(),
            key.meaning
        );
    }
    text
}
