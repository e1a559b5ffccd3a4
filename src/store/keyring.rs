//! The keys of a store, newest first: made at the first start, kept in a file beside the database that only its owner
//! may read, one more from time to time. A line is `unix-seconds hex`. Whoever has the database without this file has
//! no secret; whoever restores a database restores this file with it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::StoreError;
use crate::clock;
use crate::limits::{SEAL_KEYS_MAX, STORE_KEY_AGE_MAX, STORE_KEY_FILE_BYTES_MAX};
use crate::seal::{KEY_BYTES, Sealer};

/// What a key is used for: each gets its own, derived from the one in the file.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// Columns of the store.
    Columns,
    /// What clients hold and hand back.
    Clients,
}

impl Use {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Columns => b"toolgate store columns 1",
            Self::Clients => b"toolgate client texts 1",
        }
    }
}

/// One key with its time.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    made_unix_s: u64,
    bytes: [u8; KEY_BYTES],
}

impl Key {
    fn new(now_unix_s: u64) -> Self {
        Self {
            made_unix_s: now_unix_s,
            bytes: clock::random(),
        }
    }

    fn derived(&self, of: Use) -> [u8; KEY_BYTES] {
        Sha256::new()
            .chain_update(of.label())
            .chain_update(self.bytes)
            .finalize()
            .into()
    }
}

/// The keys, newest first.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keyring(Vec<Key>);

/// Keys are never printed.
impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({})", self.0.len())
    }
}

impl Keyring {
    /// Makes a ring that is gone with the process.
    pub(super) fn passing() -> Self {
        Self(vec![Key::new(0)])
    }

    /// Reads the ring of a file, makes it when there is none, and adds a key when the newest is old.
    pub(super) fn of_file(path: &Path, now_unix_s: u64) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Place {
            path: path.to_owned(),
            source,
        };
        let mut ring = match File::open(path) {
            Ok(file) => Self::read(path, file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let dated = ring.date(now_unix_s);
        if ring.turn(now_unix_s) || dated {
            ring.write(path).map_err(failed)?;
        }
        Ok(ring)
    }

    /// Adds a key to a ring and its file when the newest is old. Tells whether it did.
    pub(super) fn turn_with_file(&mut self, path: &Path, now_unix_s: u64) -> Result<bool, StoreError> {
        let mut next = self.clone();
        let dated = next.date(now_unix_s);
        let turned = next.turn(now_unix_s);
        if !(turned || dated) {
            return Ok(false);
        }
        next.write(path).map_err(|source| StoreError::Place {
            path: path.to_owned(),
            source,
        })?;
        *self = next;
        Ok(turned)
    }

    /// Takes keys of the future, which a clock made that was wrong, for made now: they would not turn until then. Tells
    /// whether there were any.
    fn date(&mut self, now_unix_s: u64) -> bool {
        let mut dated = false;
        for key in self.0.iter_mut().filter(|key| key.made_unix_s > now_unix_s) {
            key.made_unix_s = now_unix_s;
            dated = true;
        }
        if dated {
            tracing::warn!("a key of the store is dated in the future; it is taken for made now");
        }
        dated
    }

    /// Adds a key when there is none or the newest is old. Tells whether it did.
    fn turn(&mut self, now_unix_s: u64) -> bool {
        let due = |key: &Key| now_unix_s.saturating_sub(key.made_unix_s) >= STORE_KEY_AGE_MAX.as_secs();
        let turns = self.0.first().is_none_or(due);
        if turns {
            self.0.insert(0, Key::new(now_unix_s));
            self.0.truncate(SEAL_KEYS_MAX);
        }
        turns
    }

    fn read(path: &Path, file: File) -> Result<Self, StoreError> {
        let mut text = String::new();
        let read = file.take(STORE_KEY_FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|source| StoreError::Place {
            path: path.to_owned(),
            source,
        })?;
        let keys = text.lines().enumerate().map(|(index, line)| {
            parse(line).ok_or(StoreError::KeyFile {
                path: path.to_owned(),
                line: index + 1,
            })
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        // An empty file was cut: a new key would make every secret of the database unreadable without a word.
        if keys.is_empty() {
            return Err(StoreError::KeyFile {
                path: path.to_owned(),
                line: 1,
            });
        }
        Ok(Self(keys))
    }

    /// Writes the file anew beside the old one, so that there is always a whole one.
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        for key in &self.0 {
            writeln!(file, "{} {}", key.made_unix_s, hex(&key.bytes))?;
        }
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        path.parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    /// Takes the newest key into use in a sealer of this ring.
    pub(super) fn turn_sealer(&self, sealer: &Sealer, of: Use) {
        if let Some(newest) = self.0.first() {
            sealer.rotate(&newest.derived(of));
        }
    }

    /// Returns a sealer for one use: the newest key seals, all open.
    pub(super) fn sealer(&self, of: Use) -> Sealer {
        let mut derived = self.0.iter().rev().map(|key| key.derived(of));
        let Some(oldest) = derived.next() else {
            return Sealer::random();
        };
        let sealer = Sealer::new(&oldest);
        for key in derived {
            sealer.rotate(&key);
        }
        sealer
    }
}

fn parse(line: &str) -> Option<Key> {
    let (made, digits) = line.split_once(' ')?;
    let mut bytes = [0; KEY_BYTES];
    if digits.len() != 2 * KEY_BYTES || !digits.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Key {
        made_unix_s: made.parse().ok()?,
        bytes,
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
