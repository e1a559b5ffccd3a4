//! What happened, in order: every execution, every session and account ever made. Nothing is taken out again. Beside a
//! state file it is a file of lines, to which each entry is added before the answer leaves.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use axum::http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::world::hex;

/// A tool that ran, or was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Execution {
    /// The order among all entries.
    pub(crate) seq: u64,
    pub(crate) at_ms: u64,
    /// The session that it ran in; `tools/execute` and the older servers have none.
    pub(crate) session_id: Option<String>,
    pub(crate) user_id: String,
    /// Whose token was used; tools without authentication need none, and a refused call got none.
    pub(crate) account_id: Option<String>,
    /// To whom that account belongs.
    pub(crate) account_user_id: Option<String>,
    pub(crate) tool: String,
    /// SHA-256 of the arguments as JSON with sorted keys, in hexadecimal.
    pub(crate) arguments_sha256: String,
    /// `mcp`, `multi_execute`, `execute`, `proxy_execute`, `tools_execute` or `server`.
    pub(crate) via: String,
    pub(crate) successful: bool,
}

/// A session as it was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) seq: u64,
    pub(super) at_ms: u64,
    pub(super) session_id: String,
    pub(super) user_id: String,
    /// As the request had them.
    pub(super) toolkits: Value,
}

/// An account as it was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Opened {
    pub(super) seq: u64,
    pub(super) at_ms: u64,
    pub(super) account_id: String,
    pub(super) user_id: String,
    pub(super) toolkit: String,
    pub(super) auth_config_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
enum Entry {
    Execution(Execution),
    Session(Made),
    Account(Opened),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// What it was about, see `routes::place`.
    pub(crate) place: &'static str,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// Whose session it was about.
    pub(crate) user: Option<String>,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) executions: Vec<Execution>,
    sessions: Vec<Made>,
    accounts: Vec<Opened>,
    pub(super) seen: Vec<Seen>,
    remembers_requests: bool,
    pub(super) requests: u64,
    seq: u64,
    file: Option<File>,
}

impl Ledger {
    pub(super) fn open(file: Option<PathBuf>, remembers_requests: bool) -> io::Result<Self> {
        let mut ledger = Self {
            remembers_requests,
            ..Self::default()
        };
        let Some(file) = file else { return Ok(ledger) };
        let kept = if file.exists() {
            std::fs::read_to_string(&file)?
        } else {
            String::new()
        };
        // A line that a killed fake did not finish was not answered either.
        let whole = kept.rfind('\n').map_or(0, |end| end + 1);
        for line in kept[..whole].lines() {
            ledger.enter(serde_json::from_str(line)?);
        }
        let opened = OpenOptions::new().create(true).append(true).open(&file)?;
        opened.set_len(whole as u64)?;
        ledger.file = Some(opened);
        Ok(ledger)
    }

    fn enter(&mut self, entry: Entry) {
        let seq = match &entry {
            Entry::Execution(one) => one.seq,
            Entry::Session(one) => one.seq,
            Entry::Account(one) => one.seq,
        };
        self.seq = self.seq.max(seq);
        match entry {
            Entry::Execution(one) => self.executions.push(one),
            Entry::Session(one) => self.sessions.push(one),
            Entry::Account(one) => self.accounts.push(one),
        }
    }

    fn add(&mut self, entry: Entry) {
        if let Some(file) = &mut self.file {
            let line = serde_json::to_string(&entry).unwrap_or_default() + "\n";
            if let Err(error) = file.write_all(line.as_bytes()) {
                panic!("the fake's ledger cannot be written: {error}");
            }
        }
        self.enter(entry);
    }

    pub(super) fn executed(&mut self, mut one: Execution) {
        one.seq = self.seq + 1;
        self.add(Entry::Execution(one));
    }

    pub(super) fn session_made(&mut self, mut one: Made) {
        one.seq = self.seq + 1;
        self.add(Entry::Session(one));
    }

    pub(super) fn account_made(&mut self, mut one: Opened) {
        one.seq = self.seq + 1;
        self.add(Entry::Account(one));
    }

    pub(super) fn came(&mut self, seen: Seen) {
        self.requests += 1;
        if self.remembers_requests {
            self.seen.push(seen);
        }
    }

    /// Returns the ledger, or what is in it of one user.
    pub(super) fn shown(&self, user: Option<&str>) -> Value {
        let ours = |of: &str| user.is_none_or(|user| user == of);
        let executions: Vec<&Execution> = self.executions.iter().filter(|one| ours(&one.user_id)).collect();
        let sessions: Vec<&Made> = self.sessions.iter().filter(|one| ours(&one.user_id)).collect();
        let accounts: Vec<&Opened> = self.accounts.iter().filter(|one| ours(&one.user_id)).collect();
        json!({ "executions": executions, "sessions": sessions, "accounts": accounts, "requests": self.requests })
    }
}

/// Returns the digest of a tool's arguments.
pub(crate) fn digest(arguments: &Value) -> String {
    hex(&Sha256::digest(arguments.to_string()))
}
