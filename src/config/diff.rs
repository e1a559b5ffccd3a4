//! What a reload changes: only the gateways that differ are touched.

use std::collections::BTreeMap;

use super::{Config, Gateway};
use crate::ids::GatewayId;

/// The difference between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Gateways that are new, in the order of the new configuration.
    pub added: Vec<GatewayId>,
    /// Gateways that are gone, in the order of the old one.
    pub removed: Vec<GatewayId>,
    /// Gateways of which anything is different, in the order of the new one.
    pub changed: Vec<GatewayId>,
    /// Whether keys or users differ.
    pub auth_changed: bool,
    /// Whether `[tools]` differs.
    pub tools_changed: bool,
    /// Keys that differ and take effect only after a restart.
    pub needs_restart: Vec<&'static str>,
}

impl Diff {
    /// Returns whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares two configurations.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Diff {
    let before = by_name(&old.gateways);
    let after = by_name(&new.gateways);
    let names = |gateways: &[Gateway], keep: &dyn Fn(&Gateway) -> bool| {
        let kept = gateways.iter().filter(|gateway| keep(gateway));
        kept.map(|gateway| gateway.name.clone()).collect::<Vec<_>>()
    };
    let restart = [
        ("server.listen", old.server.listen != new.server.listen),
        ("server.store", old.server.store != new.server.store),
        (
            "server.public_url",
            old.server.public_url != new.server.public_url,
        ),
        (
            "server.allowed_origins",
            old.server.allowed_origins != new.server.allowed_origins,
        ),
        (
            "server.allowed_hosts",
            old.server.allowed_hosts != new.server.allowed_hosts,
        ),
        (
            "server.drain_timeout_ms",
            old.server.drain_timeout != new.server.drain_timeout,
        ),
        ("log", old.log != new.log),
        ("telemetry", old.telemetry != new.telemetry),
        ("limits", old.limits != new.limits),
        ("executions", old.executions != new.executions),
    ];
    Diff {
        added: names(&new.gateways, &|gateway| !before.contains_key(&gateway.name)),
        removed: names(&old.gateways, &|gateway| !after.contains_key(&gateway.name)),
        changed: names(&new.gateways, &|gateway| {
            before.get(&gateway.name).is_some_and(|old| *old != gateway)
        }),
        auth_changed: old.auth != new.auth,
        tools_changed: old.tools != new.tools,
        needs_restart: restart
            .into_iter()
            .filter_map(|(key, differs)| differs.then_some(key))
            .collect(),
    }
}

fn by_name(gateways: &[Gateway]) -> BTreeMap<&GatewayId, &Gateway> {
    gateways.iter().map(|gateway| (&gateway.name, gateway)).collect()
}
