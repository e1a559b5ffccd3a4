//! One `[gateways.<name>]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

use super::{Checker, net, prefix};
use crate::config::expand::is_variable_name;
use crate::config::raw::{RawCommand, RawGateway};
use crate::config::{EraChoice, Gateway, Names, Processes, Secret, Transport};
use crate::ids::GatewayId;
use crate::limits;

/// Headers that the transport itself sets.
const OWN_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns why a gateway is turned off.
pub(super) fn off(raw: &RawGateway, env: &BTreeMap<String, String>) -> Option<String> {
    if raw.enabled == Some(false) {
        return Some("enabled = false".to_owned());
    }
    let variable = raw.enabled_if_env.as_deref()?;
    env.get(variable)
        .is_none_or(String::is_empty)
        .then(|| format!("{variable} is not set"))
}

impl Checker<'_> {
    pub(super) fn gateway(&mut self, name: &str, raw: &RawGateway, names: Names) -> Option<Gateway> {
        let path = format!("gateways.{name}");
        let name_right = self.gateway_name(name);
        if let Some(variable) = &raw.enabled_if_env
            && !is_variable_name(variable)
        {
            self.problem(
                &format!("{path}.enabled_if_env"),
                "must be the name of a variable, without `$`",
            );
        }
        if let Some(allow) = &raw.allow {
            self.globs(&format!("{path}.allow"), allow);
        }
        self.globs(&format!("{path}.deny"), &raw.deny);
        self.rename(&path, raw, names);
        let transport = self.transport(&path, raw);
        Some(Gateway {
            name: name_right.then(|| GatewayId::new(name))?,
            transport: transport?,
            timeout: raw.timeout_ms.map_or(timeout(raw), Duration::from_millis),
            in_flight_max: raw.in_flight_max.unwrap_or(limits::IN_FLIGHT_PER_GATEWAY_MAX),
            required: raw.required,
            allow: raw.allow.clone(),
            deny: raw.deny.clone(),
            rename: raw.rename.clone(),
            prefix: raw.prefix.as_deref().and_then(prefix),
        })
    }

    /// A name stands before `__` in exposed names, so it holds none itself.
    pub(super) fn gateway_name(&mut self, name: &str) -> bool {
        let right = name.len() <= limits::GATEWAY_NAME_BYTES_MAX
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
            && !name.contains("__")
            && !name.ends_with('_');
        if !right {
            let text = format!(
                "a gateway's name must be 1 to {} of a-z, 0-9, - and _, begin with a letter or digit, and hold no `__`, \
                 which stands between gateway and tool",
                limits::GATEWAY_NAME_BYTES_MAX
            );
            self.problem(&format!("gateways.{name}"), text);
        }
        right
    }

    fn transport(&mut self, path: &str, raw: &RawGateway) -> Option<Transport> {
        if raw.kind.as_deref() == Some("composio") {
            return self.composio(path, raw);
        }
        let misplaced = [
            ("api_key", raw.api_key.is_some()),
            ("base_url", raw.base_url.is_some()),
            ("api", raw.api.is_some()),
            ("toolkits", raw.toolkits.is_some()),
            ("tool_prefixes", !raw.tool_prefixes.is_empty()),
            ("tools", !raw.tools.is_empty()),
            ("tags", !raw.tags.is_empty()),
            ("auth_configs", !raw.auth_configs.is_empty()),
            ("preload", raw.preload.is_some()),
            ("workbench", raw.workbench.is_some()),
            ("multi_account", raw.multi_account),
            ("multi_account_max", raw.multi_account_max.is_some()),
            ("multi_account_explicit", raw.multi_account_explicit),
            ("multi_account_pins", raw.multi_account_pins.is_some()),
            ("multi_account_reinitiate", raw.multi_account_reinitiate.is_some()),
            ("callback_url", raw.callback_url.is_some()),
            ("webhook_secret", raw.webhook_secret.is_some()),
        ];
        self.misplaced(path, &misplaced, "kind = \"composio\"");
        let era = match raw.era.as_deref() {
            Some("legacy") => EraChoice::Legacy,
            Some("modern") => EraChoice::Modern,
            _ => EraChoice::Auto,
        };
        match (&raw.url, &raw.command) {
            (Some(_), Some(_)) => {
                let command = self.places.of(&format!("{path}.command"));
                let text =
                    format!("a gateway has a url or a command, not both (the command is at {command})");
                self.problem(&format!("{path}.url"), text);
                None
            }
            (None, None) => {
                self.problem(
                    path,
                    "needs a url (\"http://127.0.0.1:3001/mcp\") or a command ([\"uvx\", \"mcp-server-fetch\"])",
                );
                None
            }
            (Some(url), None) => self.remote(path, raw, url, era),
            (None, Some(command)) => self.stdio(path, raw, command, era),
        }
    }

    fn remote(&mut self, path: &str, raw: &RawGateway, url: &str, era: EraChoice) -> Option<Transport> {
        let misplaced = [
            ("args", raw.args.is_some()),
            ("env", !raw.env.is_empty()),
            ("env_pass", !raw.env_pass.is_empty()),
            ("cwd", raw.cwd.is_some()),
            ("processes", raw.processes.is_some()),
        ];
        self.misplaced(path, &misplaced, "command");
        let url = self.http_url(&format!("{path}.url"), url);
        let headers = self.headers(path, raw, url.as_ref());
        let url = url?;
        let sse = match raw.transport.as_deref() {
            Some("stdio") => {
                let text = "\"stdio\" needs a command; a url is \"http\" or \"sse\"";
                self.problem(&format!("{path}.transport"), text);
                return None;
            }
            Some(transport) => transport == "sse",
            None => url.path().ends_with("/sse"),
        };
        if !sse {
            return Some(Transport::Http { url, headers, era });
        }
        if era == EraChoice::Modern {
            let text = "\"modern\" does not go with the sse transport, which is of 2024-11-05";
            self.problem(&format!("{path}.era"), text);
        }
        Some(Transport::Sse { url, headers })
    }

    fn headers(&mut self, path: &str, raw: &RawGateway, url: Option<&Url>) -> Vec<(String, Secret)> {
        let mut headers = Vec::new();
        let mut seen = BTreeSet::new();
        for (name, value) in &raw.headers {
            let key = format!("{path}.headers.{name}");
            let lower = name.to_ascii_lowercase();
            if HeaderName::try_from(name.as_str()).is_err() {
                self.problem(&key, "is no name of a header");
            } else if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("mcp-param-") {
                self.problem(&key, "is set by Toolgate itself; remove it");
            } else if HeaderValue::try_from(value.as_str()).is_err() {
                self.problem(
                    &key,
                    "its value holds characters that a header cannot carry, such as a line end",
                );
            } else if !seen.insert(lower.clone()) {
                self.problem(&key, "stands twice, with other upper and lower case");
            } else {
                if let Some(url) = url
                    && url.scheme() == "http"
                    && !net::stays_here(url)
                    && is_secret(&lower)
                {
                    let text = format!(
                        "goes unencrypted over http:// to {}",
                        url.host_str().unwrap_or_default()
                    );
                    self.warning(&key, text);
                }
                headers.push((name.clone(), Secret::new(value.clone())));
            }
        }
        headers
    }

    fn stdio(
        &mut self,
        path: &str,
        raw: &RawGateway,
        command: &RawCommand,
        era: EraChoice,
    ) -> Option<Transport> {
        self.misplaced(path, &[("headers", !raw.headers.is_empty())], "url");
        if let Some(transport @ ("http" | "sse")) = raw.transport.as_deref() {
            let text = format!("\"{transport}\" needs a url; a command is \"stdio\"");
            self.problem(&format!("{path}.transport"), text);
        }
        let command = self.command(path, raw, command);
        let mut env = Vec::new();
        for (name, value) in &raw.env {
            self.variable(&format!("{path}.env.{name}"), name);
            if value.contains('\0') {
                self.problem(&format!("{path}.env.{name}"), "must not hold a NUL byte");
            }
            env.push((name.clone(), Secret::new(value.clone())));
        }
        for (index, name) in raw.env_pass.iter().enumerate() {
            self.variable(&format!("{path}.env_pass[{index}]"), name);
        }
        Some(Transport::Stdio {
            command: command?,
            env,
            env_pass: raw.env_pass.clone(),
            cwd: raw.cwd.as_ref().map(PathBuf::from),
            processes: match raw.processes.as_deref() {
                Some("per_user") => Processes::PerUser,
                Some("per_session") => Processes::PerSession,
                _ => Processes::Shared,
            },
            era,
        })
    }

    fn command(&mut self, path: &str, raw: &RawGateway, command: &RawCommand) -> Option<Vec<String>> {
        let key = format!("{path}.command");
        let command = match (command, &raw.args) {
            (RawCommand::List(_), Some(_)) => {
                let text = "args go with a command that is a string; put them into the list";
                self.problem(&format!("{path}.args"), text);
                return None;
            }
            (RawCommand::List(list), None) => list.clone(),
            (RawCommand::Program(program), args) => {
                let words: Vec<&str> = program.split_whitespace().collect();
                if words.len() > 1 && args.is_none() && !program.contains('/') {
                    let text = format!("no shell splits this; write command = {words:?}");
                    self.problem(&key, text);
                    return None;
                }
                let args = args.iter().flatten().cloned();
                std::iter::once(program.clone()).chain(args).collect()
            }
        };
        if command.first().is_none_or(|program| program.trim().is_empty()) {
            self.problem(&key, "must begin with the program to run");
            return None;
        }
        if command.iter().any(|argument| argument.contains('\0')) {
            self.problem(&key, "must not hold a NUL byte");
            return None;
        }
        Some(command)
    }

    fn variable(&mut self, key: &str, name: &str) {
        if name.is_empty() || name.contains(['=', '\0']) {
            self.problem(key, "must be the name of a variable");
        }
    }

    pub(super) fn misplaced(&mut self, path: &str, keys: &[(&str, bool)], of: &str) {
        for (key, _) in keys.iter().filter(|(_, there)| *there) {
            let text = format!("goes with a {of}, which this gateway does not have");
            self.problem(&format!("{path}.{key}"), text);
        }
    }

    fn rename(&mut self, path: &str, raw: &RawGateway, names: Names) {
        for (own, exposed) in &raw.rename {
            let key = format!("{path}.rename.{own}");
            let (right, text) = match names {
                Names::Portable => (
                    exposed.len() <= limits::PORTABLE_NAME_BYTES_MAX
                        && !exposed.is_empty()
                        && exposed
                            .chars()
                            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'),
                    format!(
                        "the new name must be 1 to {} of A-Z, a-z, 0-9, _ and -",
                        limits::PORTABLE_NAME_BYTES_MAX
                    ),
                ),
                Names::AsIs => (
                    exposed.len() <= limits::NAME_BYTES_MAX
                        && !exposed.is_empty()
                        && !exposed.chars().any(|c| c.is_whitespace() || c.is_control()),
                    format!(
                        "the new name must be 1 to {} bytes without blanks",
                        limits::NAME_BYTES_MAX
                    ),
                ),
            };
            if !right {
                self.problem(&key, text);
            }
        }
    }
}

/// Returns how long a call may take where nothing is written.
fn timeout(raw: &RawGateway) -> Duration {
    match raw.kind.as_deref() {
        Some("composio") => limits::COMPOSIO_CALL_TIMEOUT,
        _ => limits::CALL_TIMEOUT,
    }
}

/// Returns whether a header of this name (lower case) usually carries a secret.
fn is_secret(name: &str) -> bool {
    ["auth", "key", "token", "secret", "cookie", "password"]
        .iter()
        .any(|word| name.contains(word))
}
