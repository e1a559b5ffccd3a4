//! What a reload sees and sends. Time is paused; files are real.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use toolgate::config::{self, Config, Flags, Sources, diff};
use toolgate::limits;
use toolgate::supervisor::Supervisor;

use super::good;

struct Watched {
    folder: tempfile::TempDir,
    supervisor: Supervisor,
    poke: Arc<Notify>,
    changes: watch::Receiver<Arc<Config>>,
}

impl Watched {
    fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateways.toml");
        std::fs::write(&path, text).unwrap();
        let flags = Flags {
            config: Some(path),
            ..Flags::default()
        };
        let sources = Sources::new(None, std::collections::BTreeMap::new(), flags)
            .again()
            .unwrap();
        let config = config::load(&sources).unwrap().config;
        let (supervisor, poke) = (Supervisor::new(), Arc::new(Notify::new()));
        let changes = config::watch(&supervisor, sources, config, Arc::clone(&poke));
        Self {
            folder,
            supervisor,
            poke,
            changes,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("gateways.toml")
    }

    /// Waits until a new configuration is there.
    async fn changed(&mut self) -> Arc<Config> {
        tokio::time::timeout(Duration::from_mins(1), self.changes.changed())
            .await
            .expect("a change is seen")
            .unwrap();
        self.changes.borrow_and_update().clone()
    }

    /// Lets several looks pass and tells whether any sent something.
    async fn quiet(&mut self) -> bool {
        let several = limits::CONFIG_POLL_INTERVAL * 5;
        tokio::time::timeout(several, self.changes.changed())
            .await
            .is_err()
    }
}

fn names(config: &Config) -> Vec<&str> {
    config
        .gateways
        .iter()
        .map(|gateway| gateway.name.as_str())
        .collect()
}

fn swap_in(path: &Path, text: &str) {
    let other = path.with_extension("new");
    std::fs::write(&other, text).unwrap();
    std::fs::rename(&other, path).unwrap();
}

const ONE: &str = "[gateways.one]\nurl = 'http://localhost/1'\n";
const TWO: &str = "[gateways.two]\nurl = 'http://localhost/2'\n";

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_loaded_and_sent() {
    let mut watched = Watched::start(ONE);
    assert!(watched.quiet().await, "nothing changed yet");
    std::fs::write(watched.path(), format!("{ONE}{TWO}")).unwrap();
    assert_eq!(names(&*watched.changed().await), ["one", "two"]);
    watched.supervisor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_swapped_by_rename_is_seen_again_and_again() {
    let mut watched = Watched::start(ONE);
    for text in [TWO, ONE, TWO] {
        swap_in(&watched.path(), text);
        let config = watched.changed().await;
        assert_eq!(names(&config), [if text == ONE { "one" } else { "two" }]);
    }
    watched.supervisor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_with_an_error_changes_nothing_until_it_is_mended() {
    let mut watched = Watched::start(ONE);
    std::fs::write(watched.path(), "[gateways.one]\nulr = 'http://localhost/1'\n").unwrap();
    assert!(watched.quiet().await);
    assert_eq!(names(&watched.changes.borrow()), ["one"]);
    std::fs::write(watched.path(), TWO).unwrap();
    assert_eq!(names(&*watched.changed().await), ["two"]);
    watched.supervisor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_changes_nothing_until_it_is_back() {
    let mut watched = Watched::start(ONE);
    assert!(watched.quiet().await);
    std::fs::remove_file(watched.path()).unwrap();
    assert!(watched.quiet().await);
    std::fs::write(watched.path(), TWO).unwrap();
    assert_eq!(names(&*watched.changed().await), ["two"]);
    watched.supervisor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poke_reads_files_behind_references_again() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "old").unwrap();
    let text = format!(
        "[gateways.one]\nurl = 'http://localhost/${{file:{}}}'\n",
        secret.path().display()
    );
    let mut watched = Watched::start(&text);
    assert!(watched.quiet().await);
    std::fs::write(secret.path(), "new").unwrap();
    assert!(watched.quiet().await, "the file itself did not change");
    watched.poke.notify_one();
    let config = watched.changed().await;
    assert_eq!(config.gateways[0].transport.target(), "http://localhost/new");
    watched.supervisor.stop().await;
}

#[test]
fn a_diff_names_what_changed_and_nothing_else() {
    let gateway =
        |name: &str, rest: &str| format!("[gateways.{name}]\nurl = 'http://localhost/{name}'\n{rest}\n");
    let old = good(&[gateway("same", ""), gateway("gone", ""), gateway("other", "")].concat()).config;
    let new = good(
        &[
            gateway("new", ""),
            gateway("other", "timeout_ms = 200"),
            gateway("same", ""),
        ]
        .concat(),
    )
    .config;
    let changes = diff(&old, &new);
    assert_eq!(
        changes.added.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["new"]
    );
    assert_eq!(
        changes
            .removed
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["gone"]
    );
    assert_eq!(
        changes
            .changed
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["other"]
    );
    assert!(!changes.auth_changed && !changes.tools_changed && changes.needs_restart.is_empty());
    assert!(diff(&old, &old).is_empty());
}

#[test]
fn a_diff_tells_keys_tools_and_what_needs_a_restart_apart() {
    let old = good("").config;
    let with = |text: &str| diff(&old, &good(text).config);
    assert!(with("[auth]\nkeys = [{ user = 'a', key = '0123456789abcdef' }]\n").auth_changed);
    assert!(with("[tools]\nprefix = 'never'\n").tools_changed);
    assert_eq!(
        with("[server]\nlisten = '127.0.0.1:1'\n").needs_restart,
        ["server.listen"]
    );
    assert_eq!(
        with(
            "[log]\nlevel = 'warn'\n[limits]\npage_items_max = 9\n[telemetry]\notlp_endpoint = 'http://c/'\n"
        )
        .needs_restart,
        ["log", "telemetry", "limits"]
    );
}
