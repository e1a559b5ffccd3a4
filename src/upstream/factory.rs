//! Makes the link that a gateway's configuration asks for.

use std::ffi::OsString;
use std::sync::Arc;

use super::gateways::Factory;
use super::http::{HttpSettings, HttpTransport};
use super::stdio;
use crate::config::{self, Limits};
use crate::supervisor::Supervisor;

/// Returns what makes links. `guard` is the toolgate binary that watches over children.
#[must_use]
pub fn factory(
    limits: &Limits,
    guard: OsString,
    environment: Vec<(OsString, OsString)>,
    supervisor: &Supervisor,
) -> Factory {
    let host = Arc::new(stdio::Host::new(
        guard,
        environment,
        limits.stdio_processes_max,
        limits.question_timeout,
        supervisor.clone(),
    ));
    let (supervisor, limits) = (supervisor.clone(), limits.clone());
    Box::new(move |gateway| {
        if let Some(t) = stdio::transport(&host, gateway) {
            return t;
        }
        let config::Transport::Http { url, headers, era } = &gateway.transport else {
            unimplemented!()
        };
        let settings = HttpSettings {
            gateway: gateway.name.clone(),
            url: url.clone(),
            headers: headers.clone(),
            era: *era,
            call_timeout: gateway.timeout,
            result_bytes_max: limits.upstream_result_bytes_max,
            question_timeout: limits.question_timeout,
        };
        Arc::new(HttpTransport::new(settings, &supervisor).unwrap())
    })
}
