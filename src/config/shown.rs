//! Gateways as people see them, in tables, logs and answers: without secrets and query strings.

use url::Url;

use super::{EraChoice, Key, Transport};

/// What stands in place of a secret.
const HIDDEN: &str = "***";
/// A longer run of letters and digits, with both among them, may be a token.
const TOKEN_CHARS_MIN: usize = 24;

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name(), self.target())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("user", &self.user)
            .field("acts_for_users", &self.acts_for_users)
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Returns the transport's name: `http`, `sse`, `stdio` or `composio`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Sse { .. } => "sse",
            Self::Stdio { .. } => "stdio",
            Self::Composio(_) => "composio",
        }
    }

    /// Returns the era to speak.
    #[must_use]
    pub fn era(&self) -> EraChoice {
        match self {
            Self::Http { era, .. } | Self::Stdio { era, .. } => *era,
            Self::Composio(composio) => composio.era,
            Self::Sse { .. } => EraChoice::Legacy,
        }
    }

    /// Returns the URL or command line as it may be printed: query strings, and what looks like a token, are hidden.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Http { url, .. } | Self::Sse { url, .. } => shown_url(url),
            Self::Stdio { command, .. } => shown_command(command),
            Self::Composio(composio) => composio.base_url.origin().ascii_serialization(),
        }
    }
}

impl EraChoice {
    /// Returns the word of the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

fn shown_url(url: &Url) -> String {
    let mut shown = format!("{}://", url.scheme());
    shown.push_str(url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        shown = format!("{shown}:{port}");
    }
    let path: Vec<&str> = url
        .path()
        .split('/')
        .map(|part| if is_token(part) { HIDDEN } else { part })
        .collect();
    shown.push_str(&path.join("/"));
    if url.query().is_some() {
        shown.push_str("?***");
    }
    shown
}

fn shown_command(command: &[String]) -> String {
    let mut hide_next = false;
    let mut shown = Vec::with_capacity(command.len());
    for argument in command {
        let hide = std::mem::replace(&mut hide_next, false);
        let text = match argument.split_once('=') {
            _ if hide => HIDDEN.to_owned(),
            Some((name, _)) if is_secret_option(name) => format!("{name}={HIDDEN}"),
            None if argument.starts_with('-') && is_secret_option(argument) => {
                hide_next = true;
                argument.clone()
            }
            _ => shown_argument(argument),
        };
        shown.push(if text.is_empty() || text.contains(char::is_whitespace) {
            format!("{text:?}")
        } else {
            text
        });
    }
    shown.join(" ")
}

fn shown_argument(argument: &str) -> String {
    match Url::parse(argument) {
        Ok(url) if url.has_host() => shown_url(&url),
        _ if is_token(argument) => HIDDEN.to_owned(),
        _ => argument.to_owned(),
    }
}

fn is_secret_option(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "key",
        "token",
        "secret",
        "password",
        "header",
        "auth",
        "credential",
    ]
    .iter()
    .any(|word| name.contains(word))
}

fn is_token(text: &str) -> bool {
    text.len() >= TOKEN_CHARS_MIN
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_query_and_tokens() {
        for (url, right) in [
            ("http://mcp-brave:8080/mcp", "http://mcp-brave:8080/mcp"),
            ("https://h/mcp?api_key=s3cret", "https://h/mcp?***"),
            (
                "https://h/v3/mcp/1f0c9a64-8a53-4be4-b7ff-09a1cbd2b7a1/mcp",
                "https://h/v3/mcp/***/mcp",
            ),
            ("https://[::1]:3/mcp", "https://[::1]:3/mcp"),
        ] {
            assert_eq!(shown_url(&Url::parse(url).unwrap()), right);
        }
    }

    #[test]
    fn commands_are_shown_without_the_values_of_secret_options() {
        for (command, right) in [
            (vec!["uvx", "mcp-server-fetch"], "uvx mcp-server-fetch"),
            (
                vec!["brave", "--brave-api-key", "s3cret", "--port", "1"],
                "brave --brave-api-key *** --port 1",
            ),
            (vec!["x", "--token=s3cret"], "x --token=***"),
            (
                vec!["mcp-remote", "https://h/mcp?k=s3cret"],
                "mcp-remote https://h/mcp?***",
            ),
            (vec!["sh", "-c", "a b"], "sh -c \"a b\""),
        ] {
            let command: Vec<String> = command.into_iter().map(ToOwned::to_owned).collect();
            assert_eq!(shown_command(&command), right);
        }
    }
}
