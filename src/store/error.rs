//! Why the store did not do what was asked.

use std::path::PathBuf;

/// A failure of the store. Texts name places and causes, never what is stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file beside the database cannot be used.
    #[error(
        "{path} cannot be used for the store; set server.store (TOOLGATE_STORE) to a place that may be written, or to `memory`"
    )]
    Place {
        /// Which file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "another Toolgate serves with the store {0}; give this one its own server.store (TOOLGATE_STORE)"
    )]
    InUse(PathBuf),
    /// The file with the keys is not what we wrote.
    #[error("{path} holds no keys of a store, line {line}: put the file back that belongs to the database")]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// The line that cannot be read, from 1.
        line: usize,
    },
    /// The database is newer than we are, or a step of its schema differs from ours.
    #[error("the store's schema does not fit this release")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// A sealed value does not open with the keys there are.
    #[error("a secret in {0} does not open: its key is not there any more, or it was changed")]
    Sealed(&'static str),
    /// A secret is too long to be kept.
    #[error("a secret for {0} is too long to be kept")]
    TooLong(&'static str),
    /// Records of calls that were written together are not as we write them.
    #[error(
        "the records of calls in execution_packs with last_id = {last_id} cannot be read ({why}); put a backup of the store back, or delete that row"
    )]
    Pack {
        /// Which ones.
        last_id: i64,
        /// What is wrong with them.
        why: &'static str,
    },
    /// Records of calls are to be written behind others with greater ids.
    #[error("records of calls are written in the order of their ids")]
    Order,
    /// The database itself.
    #[error("the store failed")]
    Database(#[from] sqlx::Error),
}
