//! A changed configuration taken into use: validated before it comes here. Only what changed is touched, no call in
//! flight is cut, and clients hear of changed lists because the catalog changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::{Parts, StartError};
use crate::catalog::Naming;
use crate::config::{self, Config, Sources};
use crate::policy::Rules;

impl Parts {
    pub(super) fn follow(&self, sources: Sources, config: Config, poke: Arc<Notify>) {
        let mut current = Arc::new(config);
        let mut changes = config::watch(&self.supervisor, sources, (*current).clone(), poke);
        let parts = self.clone();
        self.supervisor.spawn("reload", async move {
            while changes.changed().await.is_ok() {
                let next = changes.borrow_and_update().clone();
                match parts.take(&current, &next) {
                    Ok(()) => current = next,
                    Err(error) => tracing::error!(%error, "the new configuration cannot be used; going on with the old one"),
                }
            }
        });
    }

    fn take(&self, old: &Config, new: &Config) -> Result<(), StartError> {
        // What can fail comes first, so that a configuration is taken whole or not at all.
        let rules = Rules::of(new)?;
        self.identity.replace(new.auth.as_ref())?;
        self.policy.replace(rules);
        self.catalog.configure(Naming::of(new));
        // Before the gateways, whose links are made with them.
        self.projects.replace(&new.gateways);
        let applied = self.gateways.apply(&new.gateways);
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.metrics.config_generation(generation);
        for key in config::diff(old, new).needs_restart {
            tracing::warn!(
                config.key = key,
                "a changed setting takes effect only after a restart"
            );
        }
        tracing::info!(
            config.generation = generation,
            ?applied,
            "the configuration was taken into use"
        );
        Ok(())
    }
}
