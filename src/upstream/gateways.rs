//! All configured gateways: who they are, starting, replacing and ending them when the configuration changes.
//! On the way of a call it is one hash look-up without a lock. A gateway that did not change is not touched; one that
//! is taken out lets its calls in flight end first.

mod status;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use arc_swap::ArcSwap;
use futures_util::future::join_all;

pub use self::status::GatewayStatus;
use super::gateway::Gateway;
use super::publish::Publish;
use super::refresh;
use super::transport::Transport;
use crate::config;
use crate::exchange::Client;
use crate::ids::GatewayId;
use crate::limits::DRAIN_TIMEOUT;
use crate::supervisor::Supervisor;
use crate::telemetry::Metrics;

/// Makes the link of a gateway. Must not wait: links open on first use.
pub type Factory = Box<dyn Fn(&config::Gateway) -> Arc<dyn Transport> + Send + Sync>;

/// Every gateway, by name and in the order of the configuration.
pub struct Gateways {
    registry: ArcSwap<Registry>,
    /// Held while a configuration is taken on.
    applying: Mutex<()>,
    factory: Factory,
    publish: Arc<dyn Publish>,
    supervisor: Supervisor,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Registry {
    by_name: HashMap<GatewayId, Arc<Gateway>, RandomState>,
    in_order: Vec<Arc<Gateway>>,
}

/// What taking on a configuration came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// New ones.
    pub started: Vec<GatewayId>,
    /// Those with a new link under the old name.
    pub replaced: Vec<GatewayId>,
    /// Those that are gone.
    pub removed: Vec<GatewayId>,
}

impl fmt::Debug for Gateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = self.registry.load();
        f.debug_set()
            .entries(registry.in_order.iter().map(|gateway| gateway.name()))
            .finish()
    }
}

impl Gateways {
    /// Makes an empty registry.
    #[must_use]
    pub fn new(
        factory: Factory,
        publish: Arc<dyn Publish>,
        supervisor: Supervisor,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            registry: ArcSwap::default(),
            applying: Mutex::new(()),
            factory,
            publish,
            supervisor,
            metrics,
        }
    }

    /// Takes on the gateways of a configuration: starts new ones, replaces those whose link is another one, ends
    /// those that are gone once their calls are through. Does not wait for any of it.
    pub fn apply(&self, wanted: &[config::Gateway]) -> Applied {
        let _held = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.registry.load_full();
        let mut applied = Applied::default();
        let (mut next, mut fresh, mut gone) = (Registry::default(), Vec::new(), Vec::new());
        for config in wanted {
            let gateway = match before.by_name.get(&config.name) {
                Some(old) if same_link(&old.config(), config) => {
                    old.reconfigure(config);
                    Arc::clone(old)
                }
                Some(old) => {
                    applied.replaced.push(config.name.clone());
                    gone.push(Arc::clone(old));
                    let gateway = self.make(config);
                    // The catalog has looked at this name already.
                    if old.looked() {
                        gateway.set_looked();
                    }
                    fresh.push(Arc::clone(&gateway));
                    gateway
                }
                None => {
                    applied.started.push(config.name.clone());
                    let gateway = self.make(config);
                    fresh.push(Arc::clone(&gateway));
                    gateway
                }
            };
            next.by_name.insert(config.name.clone(), Arc::clone(&gateway));
            next.in_order.push(gateway);
        }
        let kept: HashSet<&GatewayId> = next.by_name.keys().collect();
        for old in &before.in_order {
            if !kept.contains(old.name()) {
                applied.removed.push(old.name().clone());
                gone.push(Arc::clone(old));
            }
        }
        for old in &gone {
            old.retire();
        }
        self.registry.store(Arc::new(next));
        for name in &applied.removed {
            self.publish.remove(name);
            self.metrics.forget_gateway(name);
        }
        self.start(fresh);
        self.drain(gone);
        applied
    }

    /// Finds a gateway.
    #[must_use]
    pub fn get(&self, name: &GatewayId) -> Option<Arc<Gateway>> {
        self.registry.load().by_name.get(name).cloned()
    }

    /// Returns every gateway, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Gateway>> {
        self.registry.load().in_order.clone()
    }

    /// Returns what is known of each gateway, in the order of the configuration. Asks nobody.
    #[must_use]
    pub fn statuses(&self) -> Vec<GatewayStatus> {
        let registry = self.registry.load();
        registry
            .in_order
            .iter()
            .map(|gateway| GatewayStatus::of(gateway))
            .collect()
    }

    /// Tells whether every required gateway has given its lists once.
    #[must_use]
    pub fn ready(&self) -> bool {
        let registry = self.registry.load();
        registry
            .in_order
            .iter()
            .all(|gateway| !gateway.config().required || gateway.health.last_list().is_some())
    }

    /// Tells every upstream session of a client that its roots changed.
    pub async fn roots_changed(&self, client: &Client) {
        let all = self.all();
        join_all(all.iter().map(|gateway| gateway.roots_changed(client))).await;
    }

    /// Ends what every gateway holds for a client's scope.
    pub async fn scope_ended(&self, client: &Client) {
        let all = self.all();
        join_all(all.iter().map(|gateway| gateway.scope_ended(client))).await;
    }

    /// Ends every gateway, all at once: calls in flight get `drain` to end.
    pub async fn shut_down(&self, drain: Duration) {
        let all = self.all();
        let hurry = self.supervisor.stopping();
        join_all(all.iter().map(|gateway| gateway.end(drain, &hurry))).await;
    }

    fn make(&self, config: &config::Gateway) -> Arc<Gateway> {
        let transport = (self.factory)(config);
        Arc::new(Gateway::new(config, transport, Arc::clone(&self.metrics)))
    }

    fn start(&self, fresh: Vec<Arc<Gateway>>) {
        for gateway in fresh {
            gateway.show();
            let looks = refresh::run(gateway, Arc::clone(&self.publish));
            self.supervisor.spawn("gateway refresh", looks);
        }
    }

    fn drain(&self, gone: Vec<Arc<Gateway>>) {
        for old in gone {
            let hurry = self.supervisor.stopping();
            self.supervisor.spawn_until_done("gateway drain", async move {
                old.end(DRAIN_TIMEOUT, &hurry).await;
            });
        }
    }
}

/// Tells whether two configurations differ at most in names, in what is allowed, and in what readiness waits for.
fn same_link(old: &config::Gateway, new: &config::Gateway) -> bool {
    let renamed = config::Gateway {
        required: new.required,
        allow: new.allow.clone(),
        deny: new.deny.clone(),
        rename: new.rename.clone(),
        prefix: new.prefix,
        ..old.clone()
    };
    renamed == *new
}

#[cfg(test)]
mod tests;
