//! Who calls. What belongs to a user (sessions, cursors, caches, upstream sessions) belongs to [`Principal::user`]
//! and is sealed with [`Principal::binding`]; what a caller may *see* depends on the key as well, through its
//! [`ToolGlobs`]: callers with the same globs share a view.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::LOCAL_USER;
use crate::config::{ToolPrefixes, is_meta_tool};
use crate::ids::{GatewayId, UserId};

/// Who calls, with what their key allows. Two principals are equal when they are the same user, and came by the URL of
/// the same session or by none.
#[derive(Clone, Debug)]
pub struct Principal {
    user: UserId,
    key: Option<KeyLabel>,
    acts_for_users: bool,
    tools: Option<ToolGlobs>,
    session: Option<Arc<SessionGrant>>,
}

/// What the URL of one Composio session gives: this session's tools and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionGrant {
    /// Our own id of the session.
    pub id: Arc<str>,
    /// Its gateway.
    pub gateway: GatewayId,
    /// Its toolkits; `None`: those of the configuration.
    pub toolkits: Option<Vec<String>>,
}

impl SessionGrant {
    /// Tells whether a gateway's tool, by its own name, is one of the session's.
    #[must_use]
    pub fn has(&self, gateway: &GatewayId, own: &str, prefixes: &ToolPrefixes) -> bool {
        let of_some =
            |toolkits: &Vec<String>| toolkits.iter().any(|toolkit| prefixes.may_be_of(own, toolkit));
        self.gateway == *gateway && (is_meta_tool(own) || self.toolkits.as_ref().is_none_or(of_some))
    }
}

impl Principal {
    /// The user of an installation without keys.
    pub(super) fn local() -> Self {
        Self {
            user: UserId::new(LOCAL_USER),
            key: None,
            acts_for_users: false,
            tools: None,
            session: None,
        }
    }

    /// Whom a key stands for.
    pub(super) fn of_key(
        user: UserId,
        key: KeyLabel,
        acts_for_users: bool,
        tools: Option<ToolGlobs>,
    ) -> Self {
        Self {
            user,
            key: Some(key),
            acts_for_users,
            tools,
            session: None,
        }
    }

    /// Whom a session's own URL stands for: its user, with that session alone.
    pub(super) fn of_session(user: UserId, key: KeyLabel, session: SessionGrant) -> Self {
        Self {
            user,
            key: Some(key),
            acts_for_users: false,
            tools: None,
            session: Some(Arc::new(session)),
        }
    }

    /// The same key speaking for another user; `None` when it may not. Acting for users is not handed on.
    pub(super) fn acting_for(&self, user: UserId) -> Option<Self> {
        self.acts_for_users.then(|| Self {
            user,
            acts_for_users: false,
            ..self.clone()
        })
    }

    /// Returns the user: the border of isolation.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Returns which key proved it, in a form for logs; `None` for the local user.
    #[must_use]
    pub fn key(&self) -> Option<KeyLabel> {
        self.key
    }

    /// Tells whether the key may name other users.
    #[must_use]
    pub fn acts_for_users(&self) -> bool {
        self.acts_for_users
    }

    /// Returns what the key restricts its bearer to; `None`: no restriction.
    #[must_use]
    pub fn tools(&self) -> Option<&ToolGlobs> {
        self.tools.as_ref()
    }

    /// Returns the one session that it is restricted to; `None`: it came with a key.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<SessionGrant>> {
        self.session.as_ref()
    }

    /// Returns what sealed texts are bound to: the user, so that a new key of the same user opens them; and the session
    /// whose URL it was, which opens nothing of its user's own.
    #[must_use]
    pub fn binding(&self) -> Vec<u8> {
        let user = [b"user:", self.user.as_str().as_bytes()].concat();
        match &self.session {
            None => user,
            Some(session) => [&user[..], b" session:", session.id.as_bytes()].concat(),
        }
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        let id = |of: &Self| of.session.as_ref().map(|session| Arc::clone(&session.id));
        self.user == other.user && id(self) == id(other)
    }
}

impl Eq for Principal {}

impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.user.hash(state);
    }
}

/// A key in logs: the first bytes of its SHA-256, which say nothing about the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyLabel(u64);

impl KeyLabel {
    /// Makes the label of a key with this SHA-256.
    #[must_use]
    pub fn of(sha256: &[u8; 32]) -> Self {
        let head = sha256.first_chunk::<8>().copied().unwrap_or_default();
        Self(u64::from_be_bytes(head))
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Globs over exposed tool names. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ToolGlobs(Arc<GlobSet>);

impl ToolGlobs {
    /// Compiles globs; `*` matches any characters, `/` included, since names are not paths.
    pub(super) fn new(globs: &[String]) -> Result<Self, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            set.add(Glob::new(glob)?);
        }
        Ok(Self(Arc::new(set.build()?)))
    }

    /// Tells whether one of the globs matches a name.
    #[must_use]
    pub fn admits(&self, exposed_name: &str) -> bool {
        self.0.is_match(exposed_name)
    }

    /// Tells whether two are the same compiled set, which makes what they admit the same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
