//! Keys and their users.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::Checker;
use crate::config::problem::Place;
use crate::config::raw::{RawAuth, RawKey};
use crate::config::{Auth, Key};
use crate::ids::UserId;
use crate::limits::{KEY_BYTES_MAX, USER_ID_BYTES_MAX};

/// A shorter key can be guessed.
const KEY_BYTES_MIN: usize = 16;

impl Checker<'_> {
    /// Checks `[auth]`. The outer `None`: there are problems; the inner: there is no `[auth]`.
    #[expect(clippy::option_option, reason = "absent and wrong are two things")]
    pub(super) fn auth(&mut self, raw: Option<&RawAuth>) -> Option<Option<Auth>> {
        let Some(raw) = raw else {
            return Some(None);
        };
        if raw.keys.is_empty() {
            self.problem(
                "auth.keys",
                "[auth] without a key admits nobody; add one (`toolgate keys new` makes it)",
            );
            return None;
        }
        let mut keys: Vec<Key> = Vec::new();
        let mut seen: BTreeMap<[u8; 32], (usize, UserId)> = BTreeMap::new();
        for (index, entry) in raw.keys.iter().enumerate() {
            let Some(key) = self.key(index, entry) else {
                continue;
            };
            let path = format!("auth.keys[{index}]");
            if let Some((first, user)) = seen.get(&key.sha256) {
                // `TOOLGATE_KEY` may repeat a key of the file: the file knows better whose it is.
                if *user != key.user && !matches!(self.places.of(&path), Place::Variable(_)) {
                    let text = format!("the same key as auth.keys[{first}], for another user");
                    self.problem(&path, text);
                }
                continue;
            }
            seen.insert(key.sha256, (index, key.user.clone()));
            keys.push(key);
        }
        (!keys.is_empty()).then_some(Some(Auth { keys }))
    }

    fn key(&mut self, index: usize, raw: &RawKey) -> Option<Key> {
        let path = format!("auth.keys[{index}]");
        let user = raw.user.as_deref().unwrap_or_default();
        let user_right =
            !user.is_empty() && user.len() <= USER_ID_BYTES_MAX && user.chars().all(|c| c.is_ascii_graphic());
        if raw.user.is_none() {
            self.problem(&path, "user: missing; say whom the key stands for");
        } else if !user_right {
            let text = format!("must be 1 to {USER_ID_BYTES_MAX} visible ASCII characters without blanks");
            self.problem(&format!("{path}.user"), text);
        }
        if let Some(tools) = &raw.tools {
            self.globs(&format!("{path}.tools"), tools);
        }
        let sha256 = self.sha256(&path, raw);
        Some(Key {
            user: user_right.then(|| UserId::new(user))?,
            sha256: sha256?,
            acts_for_users: raw.acts_for_users,
            tools: raw.tools.clone(),
        })
    }

    fn sha256(&mut self, path: &str, raw: &RawKey) -> Option<[u8; 32]> {
        match (raw.key.as_deref(), raw.key_sha256.as_deref()) {
            (Some(key), None) => {
                if key.is_empty() {
                    self.problem(
                        &format!("{path}.key"),
                        "is empty; make one with `toolgate keys new`",
                    );
                    return None;
                }
                if !key.chars().all(|c| c.is_ascii_graphic()) {
                    let text = "must be visible ASCII characters without blanks, as it travels in a header";
                    self.problem(&format!("{path}.key"), text);
                    return None;
                }
                if key.len() > KEY_BYTES_MAX {
                    self.problem(
                        &format!("{path}.key"),
                        format!("is longer than {KEY_BYTES_MAX} bytes"),
                    );
                    return None;
                }
                if key.len() < KEY_BYTES_MIN {
                    let text = format!(
                        "is shorter than {KEY_BYTES_MIN} characters and can be guessed; `toolgate keys new` makes a good one"
                    );
                    self.warning(&format!("{path}.key"), text);
                }
                Some(Sha256::digest(key.as_bytes()).into())
            }
            (None, Some(hex)) => {
                let sha256 = from_hex(hex.trim());
                if sha256.is_none() {
                    let text = "must be 64 hex digits; `toolgate keys hash` prints them";
                    self.problem(&format!("{path}.key_sha256"), text);
                }
                sha256
            }
            (Some(_), Some(_)) => {
                self.problem(path, "must have key or key_sha256, not both");
                None
            }
            (None, None) => {
                self.problem(path, "key: missing; give key or key_sha256");
                None
            }
        }
    }
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
