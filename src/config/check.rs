//! The meaning of a configuration: what each value must be, and what must hold between values.
//! Collects every problem; gives a configuration only when there is none.

mod auth;
mod composio;
mod composio_session;
mod gateway;
mod net;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use url::Url;

use super::load::Disabled;
use super::problem::{Places, Problem};
use super::raw::{Raw, RawExecutions, RawLimits, RawLog, RawServer, RawTools};
use super::{
    Audit, Config, Executions, Gateway, Limits, Log, LogFormat, Names, Prefix, Server, StorePlace, Telemetry,
    Tools, Transport,
};
use crate::limits;

/// Checks one configuration.
pub(super) struct Checker<'a> {
    places: &'a Places,
    env: &'a BTreeMap<String, String>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) disabled: Vec<Disabled>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(places: &'a Places, env: &'a BTreeMap<String, String>) -> Self {
        Self {
            places,
            env,
            problems: Vec::new(),
            warnings: Vec::new(),
            disabled: Vec::new(),
        }
    }

    /// Checks everything. Nothing comes back, or something that must not be used, when there are problems.
    pub(super) fn config(&mut self, raw: &Raw, order: &[String]) -> Option<Config> {
        let server = self.server(&raw.server);
        let auth = self.auth(raw.auth.as_ref());
        if let (Some(server), None) = (&server, &raw.auth) {
            self.open_address(&server.listen);
        }
        let tools = self.tools(&raw.tools);
        let log = self.log(&raw.log);
        let otlp = raw.telemetry.otlp_endpoint.as_deref();
        let telemetry = Telemetry {
            otlp_endpoint: otlp.and_then(|url| self.http_url("telemetry.otlp_endpoint", url)),
        };
        let limits = self.limits(&raw.limits);
        let executions = self.executions(&raw.executions);
        let gateways = self.gateways(raw, order, tools.names);
        self.renames(&gateways);
        Some(Config {
            server: server?,
            auth: auth?,
            tools,
            log,
            telemetry,
            limits,
            executions,
            gateways,
        })
    }

    fn problem(&mut self, key: &str, text: impl Into<String>) {
        let problem = self.at(key, text);
        self.problems.push(problem);
    }

    fn warning(&mut self, key: &str, text: impl Into<String>) {
        let warning = self.at(key, text);
        self.warnings.push(warning);
    }

    fn at(&self, key: &str, text: impl Into<String>) -> Problem {
        Problem {
            place: self.places.of(key),
            key: key.to_owned(),
            text: text.into(),
        }
    }

    fn server(&mut self, raw: &RawServer) -> Option<Server> {
        let listen = self.listen(&raw.listen);
        let public_url = raw
            .public_url
            .as_deref()
            .and_then(|url| self.http_url("server.public_url", url));
        if let Some(url) = &public_url
            && (url.query().is_some() || url.fragment().is_some())
        {
            self.problem("server.public_url", "must be without `?` and `#`");
        }
        Some(Server {
            listen: listen?,
            public_url,
            allowed_origins: self.origins(&raw.allowed_origins),
            allowed_hosts: self.hosts(&raw.allowed_hosts),
            drain_timeout: Duration::from_millis(raw.drain_timeout_ms),
            store: self.store(&raw.store)?,
        })
    }

    fn store(&mut self, place: &str) -> Option<StorePlace> {
        if place == "memory" {
            return Some(StorePlace::Memory);
        }
        match place.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() && !path.contains(['?', '#']) => {
                Some(StorePlace::File(path.into()))
            }
            _ => {
                self.problem("server.store", "must be `sqlite://PATH` or `memory`");
                None
            }
        }
    }

    fn tools(&mut self, raw: &RawTools) -> Tools {
        if let Some(permitted) = &raw.permitted {
            self.globs("tools.permitted", permitted);
            if permitted.is_empty() {
                self.warning("tools.permitted", "is empty: nobody may use any tool");
            }
        }
        Tools {
            permitted: raw.permitted.clone(),
            prefix: raw.prefix.as_deref().and_then(prefix).unwrap_or_default(),
            names: match raw.names.as_deref() {
                Some("as_is") => Names::AsIs,
                _ => Names::Portable,
            },
        }
    }

    fn log(&mut self, raw: &RawLog) -> Log {
        const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
        let level = raw.level.trim();
        let word = level.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let known = LEVELS.contains(&level.to_ascii_lowercase().as_str());
        // A single unknown word would be taken as the name of a module, and silence everything else.
        if (word && !known) || tracing_subscriber::EnvFilter::try_new(level).is_err() {
            let text = format!(
                "must be one of {}, or a filter such as \"info,toolgate=debug\"",
                LEVELS.join(", ")
            );
            self.problem("log.level", text);
        }
        Log {
            level: level.to_owned(),
            format: match raw.format.as_deref() {
                Some("json") => Some(LogFormat::Json),
                Some("pretty") => Some(LogFormat::Pretty),
                _ => None,
            },
        }
    }

    fn limits(&mut self, raw: &RawLimits) -> Limits {
        let pairs = [
            (
                "limits.in_flight_per_user_max",
                raw.in_flight_per_user_max,
                "limits.in_flight_max",
                raw.in_flight_max,
            ),
            (
                "limits.sessions_per_user_max",
                raw.sessions_per_user_max,
                "limits.sessions_max",
                raw.sessions_max,
            ),
        ];
        for (part, part_value, whole, whole_value) in pairs {
            if part_value > whole_value {
                // The line of the key that was written: the other one is a default.
                let key = if self.places.has(part) { part } else { whole };
                self.problem(
                    key,
                    format!("{part} ({part_value}) must not be above {whole} ({whole_value})"),
                );
            }
        }
        if raw.session_idle_max_ms > raw.session_age_max_ms {
            self.problem(
                "limits.session_idle_max_ms",
                "must not be above limits.session_age_max_ms",
            );
        }
        Limits {
            request_body_bytes_max: raw.request_body_bytes_max,
            upstream_result_bytes_max: raw.upstream_result_bytes_max,
            connections_max: raw.connections_max,
            in_flight_max: raw.in_flight_max,
            in_flight_per_user_max: raw.in_flight_per_user_max,
            sessions_per_user_max: raw.sessions_per_user_max,
            sessions_max: raw.sessions_max,
            session_idle_max: Duration::from_millis(raw.session_idle_max_ms),
            session_age_max: Duration::from_millis(raw.session_age_max_ms),
            stdio_processes_max: raw.stdio_processes_max,
            page_items_max: raw.page_items_max,
            question_timeout: Duration::from_millis(raw.question_timeout_ms),
        }
    }

    fn executions(&mut self, raw: &RawExecutions) -> Executions {
        let audit = match raw.audit.as_deref() {
            Some("required") => Audit::Required,
            _ => Audit::BestEffort,
        };
        if audit == Audit::Required && !raw.enabled {
            let text = "cannot be \"required\" while executions.enabled is false; drop one of the two";
            self.problem("executions.audit", text);
        }
        for (key, kept) in [
            ("executions.arguments", raw.arguments),
            ("executions.results", raw.results),
        ] {
            if kept && !raw.enabled {
                self.warning(key, "has no effect while executions.enabled is false");
            }
        }
        Executions {
            enabled: raw.enabled,
            audit,
            arguments: raw.arguments,
            results: raw.results,
            age_max: Duration::from_millis(raw.age_max_ms),
            bytes_max: raw.bytes_max,
        }
    }

    fn gateways(&mut self, raw: &Raw, order: &[String], names: Names) -> Vec<Gateway> {
        let mut gateways = Vec::new();
        for name in order {
            let Some(gateway) = raw.gateways.get(name) else {
                continue;
            };
            if let Some(reason) = gateway::off(gateway, self.env) {
                self.disabled.push(Disabled {
                    name: name.clone(),
                    reason,
                });
                self.gateway_name(name);
                continue;
            }
            gateways.extend(self.gateway(name, gateway, names));
        }
        if gateways.len() > limits::GATEWAYS_MAX {
            let text = format!("there may be at most {}", limits::GATEWAYS_MAX);
            self.problem("gateways", text);
        }
        if order.is_empty() {
            self.warning(
                "gateways",
                "none is configured; add a [gateways.<name>] with a `url` or a `command`",
            );
        }
        self.same_url_twice(&gateways);
        gateways
    }

    fn same_url_twice(&mut self, gateways: &[Gateway]) {
        let mut seen: BTreeMap<&Url, &Gateway> = BTreeMap::new();
        for gateway in gateways {
            let (Transport::Http { url, .. } | Transport::Sse { url, .. }) = &gateway.transport else {
                continue;
            };
            if let Some(first) = seen.insert(url, gateway) {
                let text = format!("the same URL as gateways.{}", first.name);
                self.warning(&format!("gateways.{}.url", gateway.name), text);
            }
        }
    }

    /// Two tools must not be renamed to one name.
    fn renames(&mut self, gateways: &[Gateway]) {
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        for gateway in gateways {
            for (own, exposed) in &gateway.rename {
                if !taken.insert(exposed) {
                    let key = format!("gateways.{}.rename.{own}", gateway.name);
                    self.problem(&key, format!("another rename already gives the name {exposed:?}"));
                }
            }
        }
    }

    fn globs(&mut self, key: &str, globs: &[String]) {
        for (index, glob) in globs.iter().enumerate() {
            let key = format!("{key}[{index}]");
            if glob.is_empty() {
                self.problem(&key, "must not be empty; `*` matches every name");
            } else if let Err(error) = globset::Glob::new(glob) {
                self.problem(&key, format!("is no pattern: {}", error.kind()));
            }
        }
    }
}

fn prefix(word: &str) -> Option<Prefix> {
    match word {
        "never" => Some(Prefix::Never),
        "on_conflict" => Some(Prefix::OnConflict),
        "always" => Some(Prefix::Always),
        _ => None,
    }
}
