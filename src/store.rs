//! What outlives the process, in SQLite (design §5). SQL is written here and nowhere else: an aggregate is one file and
//! one type, with plain rows going in and out. Secrets and upstream URLs are sealed before they are written.
//! A killed process loses nothing that was committed; what was written through [`Store::durable`] outlives a power cut.
//! Never on the way of a call, except for what a memory beside it did not know.

mod client_sessions;
pub mod composio_sessions;
pub mod connect_states;
pub mod connections;
mod error;
pub mod executions;
mod keyring;
mod migrations;
mod name_claims;
mod vault;
pub mod webhook_ids;

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlitePool};

pub use self::client_sessions::{Changing, ClientSessions, Forgotten, KeptSession};
pub use self::error::StoreError;
use self::keyring::{Keyring, Use};
pub use self::name_claims::{NameClaim, NameClaims};
use self::vault::Vault;
use crate::config::StorePlace;
use crate::limits::{STORE_BUSY_TIMEOUT, STORE_CACHE_KIB, STORE_READERS_MAX, STORE_WAIT_MAX};
use crate::seal::Sealer;
use crate::supervisor::Supervisor;

/// The store. Clones share it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    reader: SqlitePool,
    quick: SqlitePool,
    durable: SqlitePool,
    vault: Vault,
    clients: Arc<Sealer>,
    keys: Mutex<Keyring>,
    keys_path: Option<PathBuf>,
    /// Held for as long as the process lives; a store in memory needs none.
    lock: Option<File>,
}

impl Store {
    /// Opens the store, makes it where there is none, and brings its schema to this release's.
    ///
    /// # Errors
    /// [`StoreError`]: a place that cannot be written, a store that another process has, keys that are not its own, a
    /// schema of a later release.
    pub async fn open(place: &StorePlace, now_unix_s: u64) -> Result<Self, StoreError> {
        match place {
            StorePlace::Memory => Self::in_memory().await,
            StorePlace::File(path) => Self::at(path, now_unix_s).await,
        }
    }

    /// Makes a store that is gone with the process.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn in_memory() -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        // The database lives as long as its one connection.
        let pool = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(STORE_WAIT_MAX)
            .connect_with(options)
            .await?;
        let pools = [pool.clone(), pool.clone(), pool];
        Self::migrated(pools, Keyring::passing(), None, None).await
    }

    async fn at(path: &Path, now_unix_s: u64) -> Result<Self, StoreError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|source| place_error(folder, source))?;
        }
        let lock = lock(path)?;
        let keys_path = beside(path, ".keys");
        let keys = Keyring::of_file(&keys_path, now_unix_s)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(STORE_BUSY_TIMEOUT)
            .pragma("cache_size", format!("-{STORE_CACHE_KIB}"));
        let pool = |synchronous, connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(STORE_WAIT_MAX)
                // What fails for want of space SQLite rolls back by itself. sqlx does not hear of it, takes the
                // transaction for open, and begins none on that connection ever again.
                .before_acquire(|connection, _| {
                    let sound = !connection.is_in_transaction();
                    Box::pin(async move { Ok(sound) })
                })
                .connect_lazy_with(options.clone().synchronous(synchronous))
        };
        let pools = [
            pool(SqliteSynchronous::Normal, STORE_READERS_MAX),
            pool(SqliteSynchronous::Normal, 1),
            pool(SqliteSynchronous::Full, 1),
        ];
        Self::migrated(pools, keys, Some(keys_path), Some(lock)).await
    }

    async fn migrated(
        pools: [SqlitePool; 3],
        keys: Keyring,
        keys_path: Option<PathBuf>,
        lock: Option<File>,
    ) -> Result<Self, StoreError> {
        let [reader, quick, durable] = pools;
        migrations::migrator().run(&durable).await?;
        let store = Self(Arc::new(Parts {
            reader,
            quick,
            durable,
            vault: Vault::new(keys.sealer(Use::Columns)),
            clients: Arc::new(keys.sealer(Use::Clients)),
            keys: Mutex::new(keys),
            keys_path,
            lock,
        }));
        store.reseal().await?;
        Ok(store)
    }

    /// Takes another key into use when the newest has been used for [`crate::limits::STORE_KEY_AGE_MAX`]: it seals from
    /// now on, what is stored is sealed with it anew, and what clients hold goes on opening.
    ///
    /// # Errors
    /// [`StoreError::Place`]: the file of keys cannot be written, the keys stay; [`StoreError::Database`]: some rows
    /// stay sealed with the key before, until the next start.
    pub async fn turn_keys(&self, now_unix_s: u64) -> Result<(), StoreError> {
        let Some(path) = &self.0.keys_path else {
            return Ok(());
        };
        {
            let mut keys = self.0.keys.lock().unwrap_or_else(PoisonError::into_inner);
            if !keys.turn_with_file(path, now_unix_s)? {
                return Ok(());
            }
            keys.turn_sealer(&self.0.clients, Use::Clients);
            keys.turn_sealer(self.0.vault.sealer(), Use::Columns);
        }
        self.reseal().await
    }

    async fn reseal(&self) -> Result<(), StoreError> {
        let rows = self.vault().reseal(self).await?;
        if rows > 0 {
            tracing::info!(
                store.rows = rows,
                "stored secrets were sealed with the newest key"
            );
        }
        Ok(())
    }

    /// Tells whether what is written is there for the next process.
    #[must_use]
    pub fn outlives_us(&self) -> bool {
        self.0.lock.is_some()
    }

    /// Returns a sealer for what clients hold and hand back: it opens what the process before this one sealed.
    #[must_use]
    pub fn sealer(&self) -> Arc<Sealer> {
        self.0.clients.clone()
    }

    /// Starts the writer of clients' sessions; call it once. A store in memory keeps none: they end with the process.
    #[must_use]
    pub fn client_sessions(&self, supervisor: &Supervisor) -> ClientSessions {
        if self.0.lock.is_none() {
            return ClientSessions::forgetful();
        }
        ClientSessions::start(self, supervisor)
    }

    /// Writes what is left and closes every connection.
    pub async fn close(&self) {
        self.0.reader.close().await;
        self.0.quick.close().await;
        self.0.durable.close().await;
    }

    /// For reading.
    fn reader(&self) -> &SqlitePool {
        &self.0.reader
    }

    /// For rows that must survive the process.
    fn quick(&self) -> &SqlitePool {
        &self.0.quick
    }

    /// For rows that must survive the machine, because something elsewhere would be orphaned without them.
    fn durable(&self) -> &SqlitePool {
        &self.0.durable
    }

    /// Seals and opens secrets.
    fn vault(&self) -> &Vault {
        &self.0.vault
    }
}

/// One process a store: what two remember of the same sessions would not be the same.
fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = beside(path, ".lock");
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(|source| place_error(&lock_path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(place_error(&lock_path, source)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    PathBuf::from(beside)
}

fn place_error(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Place {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
