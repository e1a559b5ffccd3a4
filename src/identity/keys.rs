//! Every key's SHA-256 with its principal. A look-up compares with all of them, whichever matches, so that how long
//! it takes says nothing about the keys.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::KeyToolsError;
use super::principal::{KeyLabel, Principal, ToolGlobs};
use crate::config;

/// One key of the configuration.
pub(super) struct KnownKey {
    sha256: [u8; 32],
    /// Whom the key stands for.
    pub(super) principal: Arc<Principal>,
}

impl KnownKey {
    /// Compiles a key's globs.
    pub(super) fn new(key: &config::Key) -> Result<Self, KeyToolsError> {
        let tools = key
            .tools
            .as_deref()
            .map(ToolGlobs::new)
            .transpose()
            .map_err(|source| KeyToolsError {
                user: key.user.clone(),
                source,
            })?;
        let label = KeyLabel::of(&key.sha256);
        Ok(Self {
            sha256: key.sha256,
            principal: Arc::new(Principal::of_key(
                key.user.clone(),
                label,
                key.acts_for_users,
                tools,
            )),
        })
    }
}

/// The hash is not printed: a weak key could be guessed from it.
impl std::fmt::Debug for KnownKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.principal.fmt(f)
    }
}

/// All keys.
#[derive(Debug)]
pub(super) struct KeyRing(Vec<KnownKey>);

impl KeyRing {
    pub(super) fn new(keys: Vec<KnownKey>) -> Self {
        Self(keys)
    }

    /// Returns whose key this is.
    pub(super) fn find(&self, key: &[u8]) -> Option<&KnownKey> {
        let presented: [u8; 32] = Sha256::digest(key).into();
        let mut found = Choice::from(0);
        let mut at = 0_u64;
        for (index, known) in (0_u64..).zip(&self.0) {
            let equal = known.sha256.ct_eq(&presented);
            found |= equal;
            at.conditional_assign(&index, equal);
        }
        if bool::from(found) {
            self.0.get(usize::try_from(at).ok()?)
        } else {
            None
        }
    }
}
