//! One `[gateways.<name>]` of kind `composio`. Its key goes nowhere but to its `base_url`, and never in the clear
//! beyond this machine. What its sessions may use is `composio_session`'s.

use http::HeaderValue;
use url::Url;

use super::{Checker, net};
use crate::config::raw::RawGateway;
use crate::config::{Api, COMPOSIO_BASE_URL, Composio, EraChoice, Secret, Transport};
use crate::limits;

impl Checker<'_> {
    pub(super) fn composio(&mut self, path: &str, raw: &RawGateway) -> Option<Transport> {
        let url = [
            ("url", raw.url.is_some()),
            ("transport", raw.transport.is_some()),
            ("headers", !raw.headers.is_empty()),
        ];
        for (key, _) in url.iter().filter(|(_, there)| *there) {
            let text = "does not go with kind = \"composio\", which has `base_url` and `api_key` instead";
            self.problem(&format!("{path}.{key}"), text);
        }
        let command = [
            ("command", raw.command.is_some()),
            ("args", raw.args.is_some()),
            ("env", !raw.env.is_empty()),
            ("env_pass", !raw.env_pass.is_empty()),
            ("cwd", raw.cwd.is_some()),
            ("processes", raw.processes.is_some()),
        ];
        for (key, _) in command.iter().filter(|(_, there)| *there) {
            let text = "does not go with kind = \"composio\", which starts no process";
            self.problem(&format!("{path}.{key}"), text);
        }
        let base_url = self.base_url(path, raw);
        let api_key = self.api_key(path, raw);
        let session = self.session_options(path, raw);
        Some(Transport::Composio(Box::new(Composio {
            base_url: base_url?,
            api_key: api_key?,
            api: self.composio_api(path, raw),
            toolkits: raw.toolkits.clone(),
            tool_prefixes: session.tool_prefixes,
            tools: session.tools,
            tags: session.tags,
            auth_configs: raw.auth_configs.clone(),
            preload: session.preload,
            workbench: raw.workbench,
            multi_account: session.multi_account,
            callback_url: self.callback_url(path, raw),
            webhook_secret: self.webhook_secret(path, raw),
            era: match raw.era.as_deref() {
                Some("auto") => EraChoice::Auto,
                Some("modern") => EraChoice::Modern,
                // What its endpoint answers to a probe is not known; every server of its kind takes a handshake.
                _ => EraChoice::Legacy,
            },
        })))
    }

    fn composio_api(&mut self, path: &str, raw: &RawGateway) -> Api {
        if raw.api.as_deref() != Some("mcp_servers") {
            return Api::Sessions;
        }
        if raw.auth_configs.is_empty() && raw.toolkits.is_none() {
            let text = "\"mcp_servers\" needs `auth_configs` or `toolkits`: a server is made of them";
            self.problem(&format!("{path}.api"), text);
        }
        let sessions_only = [
            ("tags", !raw.tags.is_empty()),
            ("workbench", raw.workbench.is_some()),
            ("multi_account", raw.multi_account),
            ("preload", raw.preload.is_some()),
        ];
        for (key, _) in sessions_only.iter().filter(|(_, there)| *there) {
            let text = "does not go with api = \"mcp_servers\": it is of sessions";
            self.problem(&format!("{path}.{key}"), text);
        }
        self.server_tools(path, raw);
        Api::McpServers
    }

    /// A server has one list of tools for all its toolkits, and nothing else to say of tools.
    fn server_tools(&mut self, path: &str, raw: &RawGateway) {
        for (toolkit, choice) in &raw.tools {
            let others = [
                ("disable", choice.disable.is_some()),
                ("tags", choice.tags.is_some()),
            ];
            for (word, _) in others.iter().filter(|(_, there)| *there) {
                let text = "does not go with api = \"mcp_servers\", whose servers have a list of their tools: name \
                            those by `enable`, or leave tools out by the gateway's `deny`";
                self.problem(&format!("{path}.tools.{toolkit}.{word}"), text);
            }
        }
        let enables = |toolkit: &String| {
            raw.tools
                .get(toolkit)
                .is_some_and(|choice| choice.enable.is_some())
        };
        let mut toolkits = raw.toolkits.iter().flatten().chain(raw.auth_configs.keys());
        if raw.tools.keys().any(enables)
            && let Some(without) = toolkits.find(|toolkit| !enables(toolkit))
        {
            let text = format!(
                "must `enable` tools of {without}, too: with api = \"mcp_servers\" a server has one list of tools, and \
                 what is not in it is gone"
            );
            self.problem(&format!("{path}.tools"), text);
        }
    }

    fn base_url(&mut self, path: &str, raw: &RawGateway) -> Option<Url> {
        let key = format!("{path}.base_url");
        let url = self.http_url(&key, raw.base_url.as_deref().unwrap_or(COMPOSIO_BASE_URL))?;
        if url.scheme() == "http" && !net::stays_here(&url) {
            self.problem(
                &key,
                "must begin with https://: the key would go unencrypted to another machine",
            );
            return None;
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            let text = format!("must be scheme, host and port alone, such as {COMPOSIO_BASE_URL}");
            self.problem(&key, text);
            return None;
        }
        Some(url)
    }

    fn api_key(&mut self, path: &str, raw: &RawGateway) -> Option<Secret> {
        let key = format!("{path}.api_key");
        let Some(text) = raw.api_key.as_deref().map(str::trim) else {
            let text = "needs api_key, the key of a Composio project: set COMPOSIO_API_KEY, or write \
                        api_key = \"${MY_KEY}\"";
            self.problem(path, text);
            return None;
        };
        if text.is_empty() {
            self.problem(&key, "must not be empty");
            return None;
        }
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() > limits::KEY_BYTES_MAX || !visible || HeaderValue::from_str(text).is_err() {
            let text = format!(
                "must be at most {} characters of visible ASCII",
                limits::KEY_BYTES_MAX
            );
            self.problem(&key, text);
            return None;
        }
        for (prefix, whose) in [("uak_", "a user's key"), ("ck_", "a key of Composio Connect")] {
            if text.starts_with(prefix) {
                let text = format!("begins with {prefix}, as {whose} does; a project's key begins with ak_");
                self.warning(&key, text);
            }
        }
        Some(Secret::new(text.to_owned()))
    }

    fn callback_url(&mut self, path: &str, raw: &RawGateway) -> Option<Url> {
        let key = format!("{path}.callback_url");
        let url = self.http_url(&key, raw.callback_url.as_deref()?)?;
        if url.scheme() == "http" && !net::stays_here(&url) {
            self.problem(
                &key,
                "must begin with https://: who connected what would go unencrypted",
            );
            return None;
        }
        Some(url)
    }

    fn webhook_secret(&mut self, path: &str, raw: &RawGateway) -> Option<Secret> {
        let secret = raw.webhook_secret.as_deref()?;
        if secret.trim().is_empty() || secret.len() > limits::KEY_BYTES_MAX {
            let text = format!("must be 1 to {} bytes", limits::KEY_BYTES_MAX);
            self.problem(&format!("{path}.webhook_secret"), text);
            return None;
        }
        Some(Secret::new(secret.to_owned()))
    }
}
