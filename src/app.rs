//! The composition root: builds the house bottom-up, owns its start, its reloads and its stop.

mod names;
mod reload;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use url::Url;

use crate::admin;
use crate::catalog::{Catalog, Naming};
use crate::clock;
use crate::config::{self, Config, Sources};
use crate::identity::{Identity, KeyToolsError, SessionTokens};
use crate::inbound::{self, McpService};
use crate::integrations::Projects;
use crate::integrations::connections::Connections;
use crate::limits::STORE_KEY_LOOK_INTERVAL;
use crate::policy::{Policy, Rules, RulesError};
use crate::proxy::{Proxy, Recorder};
use crate::server::{
    Access, AccessError, Bounds, Drained, GatewayReadiness, Listener, Mounts, Probes, Readiness, Server,
    Shutdown, metrics_may_be_open,
};
use crate::store::{Store, StoreError};
use crate::supervisor::Supervisor;
use crate::telemetry::Metrics;
use crate::upstream::factory;
use crate::upstream::gateways::{GatewayStatus, Gateways};
use crate::upstream::health::LinkState;
use crate::upstream::stdio;

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {listen}: {source}; choose another address with --listen or [server] listen")]
    Listen {
        /// What was asked for.
        listen: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("{}", told(.0))]
    Store(#[from] StoreError),
    /// `allowed_hosts` or `allowed_origins` cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A key's `tools` cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyToolsError),
    /// A glob of the policy cannot be read.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

/// A failure of the store with what is behind it.
fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut behind = std::error::Error::source(error);
    while let Some(cause) = behind {
        text = format!("{text}: {cause}");
        behind = cause.source();
    }
    text
}

/// What is given from outside beside the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `toolgate` executable that guards stdio children.
    pub guard: OsString,
    /// Our environment, of which stdio children get what they may.
    pub environment: Vec<(OsString, OsString)>,
}

impl Options {
    /// Takes this process's own executable and environment.
    #[must_use]
    pub fn of_this_process() -> Self {
        let environment = config::environment()
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self {
            guard: stdio::own_binary(),
            environment,
        }
    }
}

/// A Toolgate that has bound its address and begun to reach its gateways.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    parts: Parts,
    server: Server,
    shutdown: Shutdown,
}

/// What a reload changes.
#[derive(Clone, Debug)]
struct Parts {
    catalog: Arc<Catalog>,
    policy: Arc<Policy>,
    identity: Arc<Identity>,
    access: Arc<Access>,
    projects: Arc<Projects>,
    connections: Arc<Connections>,
    gateways: Arc<Gateways>,
    metrics: Arc<Metrics>,
    store: Store,
    recorder: Recorder,
    supervisor: Supervisor,
    generation: Arc<AtomicU64>,
}

impl App {
    /// Binds, builds everything and lets the gateways start; does not wait for them. Serves from [`Self::run`] on.
    ///
    /// # Errors
    /// [`StartError`], by cause; nothing is left running then.
    pub async fn start(config: &Config, options: Options) -> Result<Self, StartError> {
        let listen = &config.server.listen;
        let bound = Listener::bind(listen).await;
        let listener = bound.map_err(|source| StartError::Listen {
            listen: listen.clone(),
            source,
        })?;
        let address = listener.address();
        let store = Store::open(&config.server.store, clock::unix_s()).await?;
        let supervisor = Supervisor::new();
        let shutdown = Shutdown::new();
        let metrics = Arc::new(Metrics::new());
        let kept = store.name_claims().load().await?;
        let catalog = Arc::new(Catalog::with_names(Naming::of(config), kept));
        supervisor.spawn("keys", turn_keys(store.clone()));
        supervisor.spawn("names", names::keep(store.clone(), catalog.clone()));
        let policy = Arc::new(Policy::new(catalog.clone(), Rules::of(config)?));
        let projects = Arc::new(Projects::new(&config.gateways, store.clone(), supervisor.clone()));
        let public_url = public_url(&config.server, address)?;
        let connections = Connections::new(store.clone(), projects.clone(), &public_url);
        let connections = Arc::new(connections);
        let make = factory::factory(
            &config.limits,
            options.guard,
            options.environment,
            connections.clone(),
            &supervisor,
        );
        let gateways = Arc::new(Gateways::new(
            make,
            catalog.clone(),
            supervisor.clone(),
            metrics.clone(),
        ));
        let recorder = Recorder::start(&config.executions, &store, &metrics, &supervisor).await?;
        let parts = Parts {
            identity: Arc::new(Identity::new(config.auth.as_ref())?),
            access: Arc::new(Access::new(&config.server, address)?),
            generation: Arc::new(AtomicU64::new(1)),
            catalog,
            policy,
            projects,
            connections,
            gateways,
            metrics,
            store,
            recorder,
            supervisor,
        };
        let server = parts.server(config, listener, &shutdown);
        parts.metrics.config_generation(1);
        parts.gateways.apply(&config.gateways);
        Ok(Self {
            address,
            parts,
            server,
            shutdown,
        })
    }

    /// Returns where it listens; tells the port that was asked for as 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what begins and hastens the end.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Returns what is known of the gateways, now and later.
    pub fn gateways(&self) -> impl Fn() -> Vec<GatewayStatus> + Send + Sync + 'static {
        let gateways = self.parts.gateways.clone();
        move || gateways.statuses()
    }

    /// Takes changes of the configuration file into use from now on; a poke asks for a look at once (SIGHUP).
    pub fn follow(&self, sources: Sources, config: Config, poke: Arc<Notify>) {
        self.parts.follow(sources, config, poke);
    }

    /// Serves until the end begins, lets calls in flight end, then ends every gateway.
    pub async fn run(self) -> Drained {
        let drained = self.server.run().await;
        let Parts {
            gateways,
            supervisor,
            store,
            recorder,
            projects,
            ..
        } = self.parts;
        gateways.shut_down(crate::limits::GATEWAY_STOP_TIMEOUT).await;
        let _ = tokio::time::timeout(crate::limits::LINK_END_TIMEOUT, projects.end()).await;
        supervisor.stop().await;
        recorder.finish().await;
        store.close().await;
        drained
    }
}

impl Parts {
    fn server(&self, config: &Config, listener: Listener, shutdown: &Shutdown) -> Server {
        let proxy = Proxy::new(self.policy.clone(), self.gateways.clone());
        let proxy = Arc::new(proxy.recording(self.recorder.clone()));
        let sealer = self.store.sealer();
        let admin = admin::Parts {
            proxy: proxy.clone(),
            connections: self.connections.clone(),
            sealer: sealer.clone(),
            metrics: self.metrics.clone(),
            projects: self.projects.clone(),
            public_url: config.server.public_url.clone(),
            limits: config.limits.clone(),
            executions: self.store.executions(),
            recorder: self.recorder.clone(),
        };
        let mcp = McpService::new(inbound::Parts {
            kept: self.store.client_sessions(&self.supervisor),
            proxy,
            catalog: self.catalog.clone(),
            sealer,
            metrics: self.metrics.clone(),
            supervisor: self.supervisor.clone(),
            limits: config.limits.clone(),
            draining: shutdown.draining(),
        });
        let mounts = Mounts {
            mcp,
            api: admin::router(admin.clone()),
            open: admin::open_router(admin),
            probes: Probes::new(shutdown.clone(), self.readiness()),
            metrics: self.metrics.clone(),
            identity: self.identity.clone(),
            session_tokens: SessionTokens::new(self.store.clone()),
            open_metrics: metrics_may_be_open(&config.server, listener.address()),
        };
        let bounds = Bounds::from(config);
        Server::new(
            listener,
            mounts,
            self.access.clone(),
            bounds,
            self.supervisor.clone(),
            shutdown.clone(),
        )
    }

    fn readiness(&self) -> impl Fn() -> Readiness + Send + Sync + 'static {
        let (gateways, generation) = (self.gateways.clone(), self.generation.clone());
        move || Readiness {
            generation: generation.load(Ordering::Relaxed),
            gateways: gateways.statuses().into_iter().map(readiness).collect(),
        }
    }
}

/// Looks now and then whether it is time for another key.
async fn turn_keys(store: Store) {
    loop {
        tokio::time::sleep(STORE_KEY_LOOK_INTERVAL).await;
        if let Err(error) = store.turn_keys(clock::unix_s()).await {
            tracing::warn!(error = told(&error), "the keys of the store were not turned");
        }
    }
}

/// Where browsers reach us: as configured, or else on this machine.
fn public_url(server: &config::Server, listening: SocketAddr) -> Result<Url, StartError> {
    if let Some(url) = &server.public_url {
        return Ok(url.clone());
    }
    let here = if listening.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], listening.port()))
    } else {
        listening
    };
    Url::parse(&format!("http://{here}")).map_err(|error| StartError::Listen {
        listen: here.to_string(),
        source: std::io::Error::other(error),
    })
}

/// What readiness is judged by: a gateway that only had its time to answer has not been looked at.
fn readiness(status: GatewayStatus) -> GatewayReadiness {
    GatewayReadiness {
        name: status.name,
        required: status.required,
        looked: status.listed.is_some(),
        up: status.state == LinkState::Up,
        since: clock::now()
            .checked_sub(status.state_for)
            .unwrap_or_else(clock::now),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::limits::STARTUP_DEADLINE;
    use crate::upstream::fake::{Fake, gateway_config, listing};

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_only_had_its_time_to_answer_is_not_looked_at() {
        for (answers, looked) in [(true, true), (false, false)] {
            let make = Box::new(move |_: &config::Gateway| {
                let silent = Fake::new().on_list(|_| pending());
                let lists = Fake::new().on_list(|_| ready(Ok(listing(&["echo"]))));
                Arc::new(if answers { lists } else { silent })
                    as Arc<dyn crate::upstream::transport::Transport>
            });
            let (supervisor, metrics) = (Supervisor::new(), Arc::new(Metrics::new()));
            let gateways = Gateways::new(make, Arc::new(Catalog::default()), supervisor, metrics);
            gateways.apply(&[gateway_config("g")]);
            tokio::time::sleep(STARTUP_DEADLINE * 2).await;
            let status = gateways.statuses().remove(0);
            assert!(status.looked, "its names need not be waited for any more");
            assert_eq!(readiness(status).looked, looked);
        }
    }
}
