//! Reload: the file is looked at every [`limits::CONFIG_POLL_INTERVAL`], and when poked (SIGHUP). A file that does not
//! load is logged and the old configuration stays. Looking is by (mtime, length, inode), which survives swaps by rename.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Notify, watch};

use super::{Config, ConfigErrors, Loaded, Sources, load};
use crate::limits;
use crate::supervisor::Supervisor;

/// What tells one state of a file from another; `None`: the file is not there.
type Mark = Option<(SystemTime, u64, u64)>;

/// Starts the task that reloads. Every configuration that differs from the one before arrives at the receiver.
///
/// `poke` asks for a reload now, whether the file changed or not: files behind `${file:…}` may have.
pub fn watch(
    supervisor: &Supervisor,
    sources: Sources,
    current: Config,
    poke: Arc<Notify>,
) -> watch::Receiver<Arc<Config>> {
    let (sender, receiver) = watch::channel(Arc::new(current));
    supervisor.spawn("config-watch", run(sources, sender, poke));
    receiver
}

async fn run(sources: Sources, sender: watch::Sender<Arc<Config>>, poke: Arc<Notify>) {
    let path = sources.path();
    // The file may have changed since it was read for the start: the first look always loads.
    let mut seen = None;
    loop {
        let poked = tokio::select! {
            () = poke.notified() => true,
            () = tokio::time::sleep(limits::CONFIG_POLL_INTERVAL) => false,
        };
        let mut now = look(&path).await;
        if !poked && seen == Some(now) {
            continue;
        }
        // An editor may be in the middle of it.
        loop {
            tokio::time::sleep(limits::CONFIG_SETTLE).await;
            let later = look(&path).await;
            if later == now {
                break;
            }
            now = later;
        }
        let first = seen.replace(now).is_none();
        if now.is_none() && !first {
            tracing::warn!(config.file = %path.display(), "the configuration file is gone; going on with what it said");
            continue;
        }
        reload(&sources, &sender).await;
    }
}

async fn reload(sources: &Sources, sender: &watch::Sender<Arc<Config>>) {
    let sources = sources.clone();
    let read = tokio::task::spawn_blocking(move || load_again(&sources)).await;
    match read {
        Ok(Ok(loaded)) => {
            let changed = sender.send_if_modified(|current| {
                let differs = **current != loaded.config;
                if differs {
                    *current = Arc::new(loaded.config);
                }
                differs
            });
            if changed {
                for warning in &loaded.warnings {
                    tracing::warn!(config.warning = warning, "the configuration has a warning");
                }
                tracing::info!("the configuration was reloaded");
            }
        }
        Ok(Err(errors)) => {
            for problem in errors.problems() {
                tracing::error!(
                    config.problem = %problem,
                    "the configuration has a problem; going on with the old one"
                );
            }
        }
        Err(error) => {
            tracing::error!(%error, "the configuration could not be read; going on with the old one");
        }
    }
}

fn load_again(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    load(&sources.again()?)
}

async fn look(path: &Path) -> Mark {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
