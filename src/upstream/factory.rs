//! Makes the link that a gateway's configuration asks for. Nothing is connected or started here.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use super::composio::ComposioTransport;
use super::fallover::{Fallover, Newer};
use super::gateways::Factory;
use super::http::{HttpSettings, HttpTransport};
use super::sse;
use super::stdio;
use super::transport::Transport;
use super::unusable::Unusable;
use crate::config::{self, EraChoice, Secret};
use crate::integrations::composio::KEY_HEADER;
use crate::integrations::connections::Connections;
use crate::supervisor::Supervisor;

/// What every link is made with.
struct Links {
    host: Arc<stdio::Host>,
    result_bytes_max: usize,
    question_timeout: Duration,
    connections: Arc<Connections>,
    supervisor: Supervisor,
}

/// Returns the factory of real links. `guard` is the toolgate binary, which watches over child processes;
/// `environment` is ours, of which they get what they may. `connections` hold what a gateway of kind `composio` needs, and
/// know of each before its link is made.
#[must_use]
pub fn factory(
    limits: &config::Limits,
    guard: OsString,
    environment: Vec<(OsString, OsString)>,
    connections: Arc<Connections>,
    supervisor: &Supervisor,
) -> Factory {
    let host = Arc::new(stdio::Host::new(
        guard,
        environment,
        limits.stdio_processes_max,
        limits.question_timeout,
        supervisor.clone(),
    ));
    let links = Links {
        host,
        result_bytes_max: limits.upstream_result_bytes_max,
        question_timeout: limits.question_timeout,
        connections,
        supervisor: supervisor.clone(),
    };
    Box::new(move |gateway| links.link(gateway))
}

impl Links {
    fn link(&self, gateway: &config::Gateway) -> Arc<dyn Transport> {
        match &gateway.transport {
            config::Transport::Http { url, headers, era } => {
                self.http(self.settings(gateway, url, headers, *era))
            }
            config::Transport::Sse { url, headers } => sse_link(
                self.settings(gateway, url, headers, EraChoice::Legacy),
                &self.supervisor,
            ),
            config::Transport::Stdio { .. } => match stdio::transport(&self.host, gateway) {
                Some(link) => link,
                None => Arc::new(Unusable::new(&gateway.name, &"it is no stdio gateway")),
            },
            config::Transport::Composio(options) => {
                let headers = [(KEY_HEADER.to_owned(), options.api_key.clone())];
                self.composio(self.settings(gateway, &options.base_url, &headers, options.era))
            }
        }
    }

    fn settings(
        &self,
        gateway: &config::Gateway,
        url: &url::Url,
        headers: &[(String, Secret)],
        era: EraChoice,
    ) -> HttpSettings {
        HttpSettings {
            gateway: gateway.name.clone(),
            url: url.clone(),
            headers: headers.to_vec(),
            era,
            call_timeout: gateway.timeout,
            result_bytes_max: self.result_bytes_max,
            question_timeout: self.question_timeout,
        }
    }

    fn composio(&self, settings: HttpSettings) -> Arc<dyn Transport> {
        let name = settings.gateway.clone();
        let project = match self.connections.projects().get(&name) {
            Some(Ok(project)) => project,
            Some(Err(error)) => return Arc::new(Unusable::new(&name, &error)),
            None => return Arc::new(Unusable::new(&name, &"its Composio project is not known")),
        };
        match ComposioTransport::new(project, self.connections.clone(), settings, &self.supervisor) {
            Ok(link) => Arc::new(link),
            Err(error) => Arc::new(Unusable::new(&name, &error)),
        }
    }

    /// Streamable HTTP, or HTTP+SSE where that turns out to be what the URL speaks.
    fn http(&self, settings: HttpSettings) -> Arc<dyn Transport> {
        let (older, supervisor) = (settings.clone(), self.supervisor.clone());
        let name = settings.gateway.clone();
        match HttpTransport::new(settings, &self.supervisor) {
            Ok(newer) => Arc::new(Fallover::new(
                &name,
                newer,
                Box::new(move || sse_link(older.clone(), &supervisor)),
                &self.supervisor,
            )),
            Err(error) => Arc::new(Unusable::new(&name, &error)),
        }
    }
}

fn sse_link(settings: HttpSettings, supervisor: &Supervisor) -> Arc<dyn Transport> {
    let name = settings.gateway.clone();
    sse::transport(settings, supervisor).unwrap_or_else(|error| Arc::new(Unusable::new(&name, &error)))
}

impl Newer for HttpTransport {
    fn should_be_older(&self) -> bool {
        self.speaks_old_sse()
    }
}
