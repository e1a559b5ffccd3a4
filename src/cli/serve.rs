//! `toolgate serve`: runs until SIGTERM, and says on stdout where it listens and what its gateways came to.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::output::{print, say};
use super::table::Table;
use super::{Failure, target};
use crate::app::{App, Options};
use crate::clock;
use crate::config::{self, Loaded, LogFormat, Sources};
use crate::limits::STARTUP_DEADLINE;
use crate::server::Drained;
use crate::telemetry::{self, Format, Settings};
use crate::upstream::gateways::GatewayStatus;
use crate::upstream::health::LinkState;

/// How often the table looks whether every gateway has answered.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn run(sources: Sources) -> Result<(), Failure> {
    let Loaded { config, warnings, .. } = config::load(&sources)?;
    for warning in &warnings {
        say(&format!("toolgate: warning: {warning}"));
    }
    let flush = telemetry::init(&Settings {
        level: &config.log.level,
        format: config.log.format.map(|format| match format {
            LogFormat::Json => Format::Json,
            LogFormat::Pretty => Format::Pretty,
        }),
        otlp_endpoint: config.telemetry.otlp_endpoint.as_ref(),
    });
    let flush = flush.map_err(|error| Failure::Failed(error.to_string()))?;
    let app = App::start(&config, Options::of_this_process())
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let shutdown = app.shutdown();
    let reload = Arc::new(Notify::new());
    app.follow(sources, config, reload.clone());
    let url = target::local_url(&app.address().to_string(), "/mcp")?;
    print(&format!("listening on {url}\n"))?;
    let drained = tokio::select! {
        drained = app_run(app, &url) => drained,
        error = deaf(shutdown.on_signals()) => return Err(error.into()),
        error = deaf(reload_on_hangup(&reload)) => return Err(error.into()),
    };
    // The exporter waits for its collector, which a runtime's thread must not.
    let flushed = tokio::task::spawn_blocking(move || flush.finish()).await;
    if flushed.is_err() {
        say("toolgate: the last spans were not exported");
    }
    match drained {
        Drained::Clean => Ok(()),
        Drained::Cut => {
            say("toolgate: some calls did not end in time and were cut");
            Ok(())
        }
    }
}

/// Serves, and prints the table once the gateways have had their chance to answer.
async fn app_run(app: App, url: &url::Url) -> Drained {
    let statuses = app.gateways();
    let report = async {
        let deadline = clock::now() + STARTUP_DEADLINE;
        while clock::now() < deadline && !statuses().iter().all(|status| status.looked) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let connect = format!("connect an agent to {url}, or see: toolgate connect --help\n");
        let _ = print(&format!("{}{connect}", table(&statuses())));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        drained = app.run() => drained,
        () = report => Drained::Clean,
    }
}

fn table(statuses: &[GatewayStatus]) -> String {
    let mut table = Table::new(&[
        "GATEWAY",
        "TRANSPORT",
        "ERA",
        "STATE",
        "TOOLS",
        "PROMPTS",
        "RESOURCES",
    ]);
    for status in statuses {
        let count = |of: fn(&crate::upstream::health::Listed) -> usize| {
            status
                .listed
                .as_ref()
                .map_or_else(|| "-".to_owned(), |listed| of(listed).to_string())
        };
        let state = match (status.state, &status.last_fault) {
            (LinkState::Up, _) => "up".to_owned(),
            (LinkState::Unknown, None) => "starting".to_owned(),
            (_, Some(fault)) => format!("down: {}", super::output::harmless(&fault.text)),
            (LinkState::Down, None) => "down".to_owned(),
        };
        table.row(vec![
            status.name.to_string(),
            status.transport.to_owned(),
            status
                .era
                .map_or("-", |era| match era {
                    crate::protocol::version::Era::Legacy => "legacy",
                    crate::protocol::version::Era::Modern => "modern",
                })
                .to_owned(),
            state,
            count(|listed| listed.tools),
            count(|listed| listed.prompts),
            count(|listed| listed.resources),
        ]);
    }
    table.text()
}

/// Asks for a reload at every SIGHUP.
async fn reload_on_hangup(reload: &Notify) -> std::io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    while hangups.recv().await.is_some() {
        reload.notify_one();
    }
    Ok(())
}

/// Listens for signals as long as the process lives; ends only when the operating system does not let us.
async fn deaf(listening: impl Future<Output = std::io::Result<()>>) -> std::io::Error {
    match listening.await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}
