//! Keys of `_meta` that the specification gives a meaning (2026-07-28, Basic, "_meta").

/// The revision of a modern request.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client can do, in a modern request.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who the client is, in a modern request.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// From which level on log messages are wanted, in a modern request.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Who answered, in a modern result.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Which listen stream a notification belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Under which token progress is reported; both eras.
pub const PROGRESS_TOKEN: &str = "progressToken";
/// W3C trace context, unprefixed (SEP-414).
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context, unprefixed (SEP-414).
pub const TRACESTATE: &str = "tracestate";

/// A level of `notifications/message`, least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// `debug`
    Debug,
    /// `info`
    Info,
    /// `notice`
    Notice,
    /// `warning`
    Warning,
    /// `error`
    Error,
    /// `critical`
    Critical,
    /// `alert`
    Alert,
    /// `emergency`
    Emergency,
}

impl LogLevel {
    const NAMES: [(&'static str, Self); 8] = [
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("notice", Self::Notice),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("critical", Self::Critical),
        ("alert", Self::Alert),
        ("emergency", Self::Emergency),
    ];

    /// Reads a level's name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, level)| level)
    }

    /// Returns the level's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .into_iter()
            .find(|(_, level)| *level == self)
            .map_or("info", |(name, _)| name)
    }
}
