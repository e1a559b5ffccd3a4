//! `toolgate serve`: hands the configuration and its changes to the composition root.

use super::{Failure, output};
use crate::config::{self, Sources};

pub(super) async fn run(sources: Sources) -> Result<(), Failure> {
    let loaded = config::load(&sources)?;
    for warning in &loaded.warnings {
        output::say(&format!("toolgate: warning: {warning}"));
    }
    start(sources, loaded).await
}

/// The seam: `app` takes the configuration, starts [`config::watch`] with its supervisor, and serves until it is told
/// to stop.
#[expect(clippy::unused_async, reason = "serving will await")]
async fn start(_sources: Sources, _loaded: config::Loaded) -> Result<(), Failure> {
    Err(Failure::Failed("this build cannot serve yet".to_owned()))
}
