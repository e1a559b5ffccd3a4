//! Gateways that are child processes (all revisions, Transports, "stdio"): a message is a line, stderr is for the
//! log. Processes are shared, or one for each user or session; they start on first use, never outlive the gateway,
//! and never see more of its environment than they are meant to.

pub mod guard;
mod lines;
mod places;
mod pump;
mod spawn;
mod stderr;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use self::places::Places;
use self::pump::Running;
use self::spawn::Program;
use self::stderr::Tail;
use super::duplex::{Connect, Duplex, OpenError, Port, Setting};
use super::transport::Transport;
use crate::config;
use crate::ids::GatewayId;
use crate::supervisor::Supervisor;

/// What all stdio gateways share.
#[derive(Debug)]
pub struct Host {
    guard: OsString,
    environment: Vec<(OsString, OsString)>,
    places: Places,
    question_timeout: Duration,
    supervisor: Supervisor,
}

impl Host {
    /// Makes it. `guard` is the toolgate binary ([`own_binary`]); `environment` is ours, of which a server gets what it
    /// may; `processes_max` bounds the processes of all gateways together.
    #[must_use]
    pub fn new(
        guard: OsString,
        environment: Vec<(OsString, OsString)>,
        processes_max: usize,
        question_timeout: Duration,
        supervisor: Supervisor,
    ) -> Self {
        Self {
            guard,
            environment,
            places: Places::new(processes_max),
            question_timeout,
            supervisor,
        }
    }
}

/// Returns the path of the running binary, which stays good when the file is replaced by a newer one.
#[must_use]
pub fn own_binary() -> OsString {
    if cfg!(target_os = "linux") {
        return "/proc/self/exe".into();
    }
    std::env::current_exe().map_or_else(|_| "toolgate".into(), Into::into)
}

/// Makes the link of a gateway; `None` when it is not a stdio gateway. Nothing is started yet.
#[must_use]
pub fn transport(host: &Arc<Host>, gateway: &config::Gateway) -> Option<Arc<dyn Transport>> {
    let config::Transport::Stdio {
        command,
        env,
        env_pass,
        cwd,
        processes,
        era,
    } = &gateway.transport
    else {
        return None;
    };
    let server = Server {
        gateway: gateway.name.clone(),
        program: Program {
            command: command.clone(),
            env: env.clone(),
            env_pass: env_pass.clone(),
            cwd: cwd.clone(),
        },
        host: Arc::clone(host),
    };
    let setting = Setting {
        gateway: gateway.name.clone(),
        shares: *processes,
        era: *era,
        timeout: gateway.timeout,
        question_timeout: host.question_timeout,
    };
    Some(Arc::new(Duplex::new(server, setting, &host.supervisor)))
}

/// Starts the processes of one gateway.
struct Server {
    gateway: GatewayId,
    program: Program,
    host: Arc<Host>,
}

impl Connect for Server {
    fn connect(&self, port: Port) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(self.start(port))
    }
}

impl Server {
    async fn start(&self, port: Port) -> Result<(), OpenError> {
        let host = &self.host;
        let place = host.places.take(&port.tenant).await.ok_or(OpenError::Busy)?;
        let spawned = self.program.spawn(&host.guard, &host.environment);
        let mut child = spawned.map_err(OpenError::Failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(OpenError::Failed("its guard has no pipes".to_owned()));
        };
        let (tail, (drained, when_drained)) = (Tail::default(), oneshot::channel());
        let draining = tail.clone().drain(self.gateway.clone(), stderr);
        host.supervisor.spawn("stderr of a gateway", async move {
            draining.await;
            let _ = drained.send(());
        });
        let running = Running {
            gateway: self.gateway.clone(),
            child,
            stdin,
            stdout,
            tail,
            drained: when_drained,
            place,
        };
        let stopping = host.supervisor.stopping();
        let run = running.run(port, stopping);
        host.supervisor.spawn_until_done("stdio server", run);
        Ok(())
    }
}
