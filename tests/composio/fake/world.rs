//! Everything that the fake knows, its clock, and the file that it is kept in.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Options;
use super::accounts::{Account, Status};
use super::answers::Odd;
use super::auth_configs::AuthConfig;
use super::control::Failing;
use super::ledger::Ledger;
use super::links::Link;
use super::rate::Rate;
use super::servers::Server;
use super::sessions::Session;
use super::switches::Switches;
use super::triggers::Trigger;
use super::webhooks::Subscription;

/// How long somebody has for a flow, and how long a link is good.
pub(super) const FLOW_MS: u64 = 10 * 60 * 1000;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct World {
    #[serde(skip)]
    pub(super) origin: String,
    #[serde(skip)]
    pub(super) control: String,
    pub(super) key: String,
    pub(super) mcp_origin: Option<String>,
    /// By how much the clock was set forward.
    pub(super) advanced_ms: u64,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) auth_configs: BTreeMap<String, AuthConfig>,
    pub(super) links: BTreeMap<String, Link>,
    pub(super) servers: BTreeMap<String, Server>,
    pub(super) triggers: BTreeMap<String, Trigger>,
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    pub(super) switches: Switches,
    pub(super) rate: Rate,
    pub(super) failing: Failing,
    /// The project's `oauth_callback_verifier_url`.
    pub(super) callback_verifier: Option<String>,
    /// Counts what was made, so that an order among them is known.
    pub(super) made: u64,
    #[serde(skip)]
    pub(super) ledger: Ledger,
    #[serde(skip)]
    pub(super) odd: BTreeMap<String, VecDeque<Odd>>,
    #[serde(skip)]
    pub(super) gone: Option<Odd>,
    /// Whatever is asked is answered 503.
    #[serde(skip)]
    pub(super) down: bool,
    #[serde(skip)]
    pub(super) dirty: bool,
    #[serde(skip)]
    state: Option<PathBuf>,
}

impl World {
    /// Opens the world of a state file, or a new one.
    pub(super) fn open(origin: &str, options: &Options) -> io::Result<Self> {
        let kept = match &options.state {
            Some(file) if file.exists() => Some(std::fs::read(file)?),
            _ => None,
        };
        let mut world: Self = match kept {
            Some(kept) => serde_json::from_slice(&kept)?,
            None => Self {
                key: options.key.clone(),
                ..Self::default()
            },
        };
        origin.clone_into(&mut world.origin);
        world.control.clone_from(&options.control);
        world.state.clone_from(&options.state);
        let file = options.state.as_ref().map(|state| state.with_extension("ledger"));
        world.ledger = Ledger::open(file, options.remembers_requests)?;
        world.dirty = true;
        world.keep();
        Ok(world)
    }

    /// Writes what has changed, so that whoever opens the file sees the old world or the new one.
    pub(super) fn keep(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let Some(file) = &self.state else { return };
        let beside = file.with_extension("new");
        let written = serde_json::to_vec(&self)
            .map_err(io::Error::from)
            .and_then(|bytes| std::fs::write(&beside, bytes))
            .and_then(|()| std::fs::rename(&beside, file));
        if let Err(error) = written {
            panic!("the fake's state cannot be kept in {}: {error}", file.display());
        }
    }

    /// Milliseconds since 1970, as far as anybody here is concerned.
    pub(super) fn now_ms(&self) -> u64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(real.as_millis()).unwrap_or(u64::MAX) + self.advanced_ms
    }

    /// Lets come about what time brings: flows that nobody finished expire.
    pub(super) fn settle(&mut self) {
        let now = self.now_ms();
        for account in self.accounts.values_mut() {
            let open = matches!(account.status, Status::Initializing | Status::Initiated);
            if open && now >= account.begun_ms + FLOW_MS {
                account.become_(
                    Status::Expired,
                    Some("Connection initiation did not complete within 10 minutes"),
                    now,
                );
                self.dirty = true;
            }
        }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.made += 1;
        self.dirty = true;
        self.made
    }
}

/// Returns `prefix` and twelve random characters that are safe in a URL.
pub(super) fn id(prefix: &str) -> String {
    const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let signs = random::<12>().map(|byte| char::from(SIGNS[usize::from(byte) % SIGNS.len()]));
    format!("{prefix}{}", signs.iter().collect::<String>())
}

/// Returns a random UUID.
pub(super) fn uuid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    [
        &bytes[..4],
        &bytes[4..6],
        &bytes[6..8],
        &bytes[8..10],
        &bytes[10..],
    ]
    .map(hex)
    .join("-")
}

/// Returns bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap_or_else(|error| panic!("no randomness: {error}"));
    bytes
}

/// Returns a time as ISO 8601 with milliseconds.
pub(super) fn iso(ms: u64) -> String {
    let (days, day_ms) = (ms / 86_400_000, ms % 86_400_000);
    // The calendar counted from 1 March of year 0, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (day_ms / 3_600_000, day_ms / 60_000 % 60);
    let (second, milli) = (day_ms / 1000 % 60, day_ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}
