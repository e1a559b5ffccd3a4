//! Gateways started for one command, when no Toolgate runs: the same house on a free loopback port.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use url::Url;

use super::Failure;
use super::target::local_url;
use crate::app::{App, Options};
use crate::clock;
use crate::config::{Auth, Config, Key, LOCAL_USER, Secret, StorePlace};
use crate::ids::UserId;
use crate::limits::STARTUP_DEADLINE;
use crate::server::{Drained, Shutdown};

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A Toolgate inside this process.
#[derive(Debug)]
pub(super) struct InProcess {
    /// Its MCP endpoint.
    pub(super) url: Url,
    /// The key that it wants.
    pub(super) key: Option<Secret>,
    shutdown: Shutdown,
    served: JoinHandle<Drained>,
}

impl InProcess {
    /// Ends the gateways; waits until their processes are gone.
    pub(super) async fn stop(self) {
        self.shutdown.begin();
        let _ = self.served.await;
    }
}

/// Starts the gateways of a configuration in this process, reachable with one key that nobody else has, and waits
/// until each has answered or had its chance.
///
/// # Errors
/// What keeps it from starting.
pub(super) async fn start_in_process(mut config: Config) -> Result<InProcess, Failure> {
    let secret: [u8; 32] = clock::random();
    let key = URL_SAFE_NO_PAD.encode(secret);
    let only = Key {
        user: UserId::new(LOCAL_USER),
        sha256: Sha256::digest(key.as_bytes()).into(),
        acts_for_users: false,
        tools: None,
    };
    config.auth = Some(Auth { keys: vec![only] });
    "127.0.0.1:0".clone_into(&mut config.server.listen);
    // The store of the configuration belongs to the Toolgate that serves it.
    config.server.store = StorePlace::Memory;
    let app = App::start(&config, Options::of_this_process())
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let (url, shutdown) = (local_url(&app.address().to_string(), "/mcp")?, app.shutdown());
    let statuses = app.gateways();
    let served = serve(app);
    let deadline = clock::now() + STARTUP_DEADLINE;
    while clock::now() < deadline && !statuses().iter().all(|status| status.looked) {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(InProcess {
        url,
        key: Some(Secret::new(key)),
        shutdown,
        served,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the supervisor belongs to the app that this runs"
)]
fn serve(app: App) -> JoinHandle<Drained> {
    tokio::spawn(app.run())
}
