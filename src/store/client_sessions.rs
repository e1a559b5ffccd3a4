//! Sessions of legacy clients, so that a restart goes on with them. One task writes; what waits is written together, in
//! one statement a kind of change. A session is known to be written before its client hears of it; that it was used,
//! changed or ended follows by itself. In a store that is gone with the process nothing is kept.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::sync::{mpsc, oneshot};

use super::{Store, StoreError};
use crate::limits::{SESSION_WRITES_MAX, SESSION_WRITES_TOGETHER_MAX};
use crate::supervisor::Supervisor;

const INSERT: &str = "INSERT OR REPLACE INTO client_sessions \
    (id_sha256, user_id, protocol, capabilities, client_info, log_level, watched, opened_unix_s, used_unix_s) \
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
    value ->> 8 FROM json_each(?)";
const UPDATE: &str = "UPDATE client_sessions SET log_level = given.value ->> 1, watched = given.value ->> 2, \
    used_unix_s = given.value ->> 3 FROM json_each(?) AS given WHERE id_sha256 = given.value ->> 0";
const DELETE: &str = "DELETE FROM client_sessions WHERE id_sha256 IN (SELECT value FROM json_each(?))";
const FIND: &str = "SELECT user_id, protocol, capabilities, client_info, log_level, watched, opened_unix_s, used_unix_s \
    FROM client_sessions WHERE id_sha256 = ?";
const EXPIRE: &str = "DELETE FROM client_sessions WHERE opened_unix_s <= ? OR used_unix_s <= ?";

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSession {
    /// SHA-256 of its id, in base64url.
    pub id_sha256: String,
    /// Whose it is.
    pub user: String,
    /// The revision that was agreed on.
    pub protocol: String,
    /// What the client can do: a JSON object.
    pub capabilities: String,
    /// What the client calls itself: a JSON object.
    pub client_info: Option<String>,
    /// When it was opened, in seconds of wall time.
    pub opened_unix_s: u64,
    /// What changes.
    pub now: Changing,
}

/// What changes of a session while it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changing {
    /// From which level on the client wants log messages; a number of the caller's.
    pub log_level: u8,
    /// URIs of resources that the client watches.
    pub watched: Vec<String>,
    /// When it was last used, in seconds of wall time.
    pub used_unix_s: u64,
}

/// Sessions of legacy clients. Clones share the one writer.
#[derive(Clone, Debug)]
pub struct ClientSessions(Option<Writer>);

#[derive(Clone, Debug)]
struct Writer {
    store: Store,
    writes: mpsc::Sender<Write>,
    /// Whose end is not written yet: they are not to be found again.
    ending: Arc<Mutex<HashSet<String>>>,
}

#[derive(Debug)]
enum Write {
    Keep(Box<KeptSession>, oneshot::Sender<Result<(), StoreError>>),
    Change(String, Changing),
    /// The sender is dropped once it is written.
    Forget(String, oneshot::Sender<()>),
}

impl ClientSessions {
    /// Keeps nothing: sessions end with the process.
    #[must_use]
    pub fn forgetful() -> Self {
        Self(None)
    }

    /// Starts the writer.
    pub(super) fn start(store: &Store, supervisor: &Supervisor) -> Self {
        let (writes, queue) = mpsc::channel(SESSION_WRITES_MAX);
        let (writing, stopping) = (store.clone(), supervisor.stopping());
        let ending: Arc<Mutex<HashSet<String>>> = Arc::default();
        let ended = ending.clone();
        supervisor.spawn_until_done("session writer", async move {
            let mut queue = queue;
            loop {
                let mut writes = Vec::new();
                tokio::select! {
                    () = stopping.cancelled(), if !queue.is_closed() => queue.close(),
                    count = queue.recv_many(&mut writes, SESSION_WRITES_TOGETHER_MAX) => {
                        if count == 0 {
                            return;
                        }
                    }
                }
                let forgotten = writing.write_sessions(writes).await;
                let mut ended = locked(&ended);
                for id in forgotten {
                    ended.remove(&id);
                }
            }
        });
        Self(Some(Writer {
            store: store.clone(),
            writes,
            ending,
        }))
    }

    /// Keeps a session; returns when it is written.
    ///
    /// # Errors
    /// [`StoreError::Database`]: it is not written.
    pub async fn keep(&self, session: KeptSession) -> Result<(), StoreError> {
        let Some(writer) = &self.0 else {
            return Ok(());
        };
        let (told, written) = oneshot::channel();
        let write = Write::Keep(Box::new(session), told);
        if writer.writes.send(write).await.is_err() {
            return Err(StoreError::Database(sqlx::Error::PoolClosed));
        }
        written
            .await
            .unwrap_or(Err(StoreError::Database(sqlx::Error::PoolClosed)))
    }

    /// Notes what changed of a session. When too much waits to be written, this is not.
    pub fn change(&self, id_sha256: &str, now: Changing) {
        if let Some(writer) = &self.0 {
            let _ = writer.writes.try_send(Write::Change(id_sha256.to_owned(), now));
        }
    }

    /// Forgets a session. When too much waits to be written it stays until it has expired, unused.
    pub fn forget(&self, id_sha256: &str) -> Forgotten {
        let (sender, forgotten) = oneshot::channel();
        let Some(writer) = &self.0 else {
            return Forgotten(forgotten);
        };
        locked(&writer.ending).insert(id_sha256.to_owned());
        if writer
            .writes
            .try_send(Write::Forget(id_sha256.to_owned(), sender))
            .is_err()
        {
            locked(&writer.ending).remove(id_sha256);
            tracing::warn!("the end of a session was not written down: too many writes wait");
        }
        Forgotten(forgotten)
    }

    /// Looks for a session.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn find(&self, id_sha256: &str) -> Result<Option<KeptSession>, StoreError> {
        let Some(writer) = &self.0 else {
            return Ok(None);
        };
        if locked(&writer.ending).contains(id_sha256) {
            return Ok(None);
        }
        let row = sqlx::query(FIND)
            .bind(id_sha256)
            .fetch_optional(writer.store.reader())
            .await?;
        Ok(row.map(|row| read(id_sha256, &row)).transpose()?)
    }

    /// Drops what was opened or last used at these times or before.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn expire(&self, opened_unix_s: u64, used_unix_s: u64) -> Result<u64, StoreError> {
        let Some(writer) = &self.0 else {
            return Ok(0);
        };
        let done = sqlx::query(EXPIRE)
            .bind(seconds(opened_unix_s))
            .bind(seconds(used_unix_s))
            .execute(writer.store.quick())
            .await?;
        Ok(done.rows_affected())
    }
}

/// The end of a session that is being written.
#[derive(Debug)]
pub struct Forgotten(oneshot::Receiver<()>);

impl Forgotten {
    /// Waits until it is written, or cannot be.
    pub async fn written(self) {
        // Nothing is ever sent: that the sender is gone says it.
        let _ = self.0.await;
    }
}

impl Store {
    /// Writes changes together. Returns what was forgotten.
    async fn write_sessions(&self, writes: Vec<Write>) -> Vec<String> {
        let (mut kept, mut told, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut forgotten, mut waiting) = (Vec::new(), Vec::new());
        for write in writes {
            match write {
                Write::Keep(session, tell) => {
                    kept.push(KeptRow::from(*session));
                    told.push(tell);
                }
                Write::Change(id, now) => {
                    changed.push((id, now.log_level, json(&now.watched), now.used_unix_s));
                }
                Write::Forget(id, sender) => {
                    forgotten.push(id);
                    waiting.push(sender);
                }
            }
        }
        // In this order: what is changed or forgotten was kept before.
        let inserted = self.write_rows(INSERT, &kept).await;
        for tell in told {
            let _ = tell.send(match &inserted {
                Ok(()) => Ok(()),
                Err(error) => Err(again(error)),
            });
        }
        let rest = [
            self.write_rows(UPDATE, &changed).await,
            self.write_rows(DELETE, &forgotten).await,
        ];
        for error in rest.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "changes of sessions were not written down");
        }
        forgotten
    }

    async fn write_rows(&self, sql: &'static str, rows: &[impl Serialize]) -> Result<(), sqlx::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let written = sqlx::query(sql).bind(json(rows)).execute(self.quick()).await;
        written.map(|_| ())
    }
}

/// A row in the order of the statement.
#[derive(Serialize)]
struct KeptRow(
    String,
    String,
    String,
    String,
    Option<String>,
    u8,
    String,
    u64,
    u64,
);

impl From<KeptSession> for KeptRow {
    fn from(kept: KeptSession) -> Self {
        let now = kept.now;
        Self(
            kept.id_sha256,
            kept.user,
            kept.protocol,
            kept.capabilities,
            kept.client_info,
            now.log_level,
            json(&now.watched),
            kept.opened_unix_s,
            now.used_unix_s,
        )
    }
}

fn read(id_sha256: &str, row: &SqliteRow) -> Result<KeptSession, sqlx::Error> {
    let whole = |index: usize| row.try_get::<i64, _>(index);
    let watched: String = row.try_get(5)?;
    Ok(KeptSession {
        id_sha256: id_sha256.to_owned(),
        user: row.try_get(0)?,
        protocol: row.try_get(1)?,
        capabilities: row.try_get(2)?,
        client_info: row.try_get(3)?,
        opened_unix_s: whole(6)?.unsigned_abs(),
        now: Changing {
            log_level: u8::try_from(whole(4)?).unwrap_or_default(),
            watched: serde_json::from_str(&watched).unwrap_or_default(),
            used_unix_s: whole(7)?.unsigned_abs(),
        },
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    // Strings, numbers and lists of them.
    serde_json::to_string(value).unwrap_or_default()
}

fn seconds(unix_s: u64) -> i64 {
    i64::try_from(unix_s).unwrap_or(i64::MAX)
}

/// One failure, told to each who waits for the same write.
fn again(error: &sqlx::Error) -> StoreError {
    StoreError::Database(sqlx::Error::Protocol(error.to_string()))
}
