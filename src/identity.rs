//! From a credential to a [`Principal`]: the only place where a request becomes somebody.
//! Reads `Authorization: Bearer` or `X-API-Key`, and `X-User-Id` for keys that may act for users. Never the query
//! string, never a session id. Keys are known by their SHA-256 alone and compared in constant time over all keys.
//! Without `[auth]` everybody is the one local user (configuration sees to it that we then listen on loopback only).
//! Called by `server` for every request and by nobody else; does no I/O.

mod keys;
mod principal;
mod session_tokens;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use self::keys::{KeyRing, KnownKey};
pub use self::principal::{KeyLabel, Principal, SessionGrant, ToolGlobs};
pub use self::session_tokens::SessionTokens;
use crate::config;
use crate::ids::UserId;
use crate::limits;

/// `X-API-Key`: a key, for clients that cannot set `Authorization`.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// `X-User-Id`: for whom a key with `acts_for_users` speaks.
const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
/// The user of an installation without `[auth]`.
pub const LOCAL_USER: &str = "local";

/// Why a request is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No key was sent.
    #[error("no key was sent")]
    Missing,
    /// A key was sent that nobody has.
    #[error("the key is not known")]
    Unknown,
    /// The credential cannot be read: which key is meant is not clear.
    #[error("the credential is malformed: {0}")]
    Malformed(&'static str),
    /// `X-User-Id` is not a user id.
    #[error("X-User-Id must be 1 to 128 visible ASCII characters, once")]
    InvalidUser,
    /// It cannot be found out now.
    #[error("the store does not answer")]
    Unavailable,
    /// `X-User-Id` names somebody for whom the key may not speak.
    #[error("this key may not act for other users")]
    MayNotAct,
}

/// A glob of a key's `tools` that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the tools of a key of user {user} cannot be read")]
pub struct KeyToolsError {
    /// Whose key it is.
    pub user: UserId,
    /// What is wrong with which glob.
    #[source]
    pub source: globset::Error,
}

/// Knows all keys. Shared; a reload swaps the keys under it.
#[derive(Debug)]
pub struct Identity {
    who: ArcSwap<Who>,
}

#[derive(Debug)]
enum Who {
    Local(Arc<Principal>),
    Keys(KeyRing),
}

impl Identity {
    /// Makes it from `[auth]`; without that everybody is the user [`LOCAL_USER`].
    ///
    /// # Errors
    /// [`KeyToolsError`] for the first glob that cannot be read.
    pub fn new(auth: Option<&config::Auth>) -> Result<Self, KeyToolsError> {
        Ok(Self {
            who: ArcSwap::from_pointee(who(auth)?),
        })
    }

    /// Takes other keys into use, for requests from now on.
    ///
    /// # Errors
    /// [`KeyToolsError`]; the keys before stay in use then.
    pub fn replace(&self, auth: Option<&config::Auth>) -> Result<(), KeyToolsError> {
        self.who.store(Arc::new(who(auth)?));
        Ok(())
    }

    /// Tells whether a key is needed at all.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        matches!(**self.who.load(), Who::Keys(_))
    }

    /// Finds out who sent a request.
    ///
    /// # Errors
    /// [`AuthError`]; it never says whether a user exists.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, AuthError> {
        let who = self.who.load();
        let known = match &**who {
            Who::Local(local) => return may_speak_as(local, named_user(headers)?),
            Who::Keys(keys) => keys.find(presented_key(headers)?).ok_or(AuthError::Unknown)?,
        };
        may_speak_as(&known.principal, named_user(headers)?)
    }
}

/// Returns for whom a request speaks that names a user by its own means (a body's or a query's `userId`).
///
/// # Errors
/// [`AuthError::InvalidUser`], and [`AuthError::MayNotAct`] when the key stands for another user.
pub fn speaking_for(principal: &Arc<Principal>, user: &str) -> Result<Arc<Principal>, AuthError> {
    if !is_user_id(user.as_bytes()) {
        return Err(AuthError::InvalidUser);
    }
    may_speak_as(principal, Some(UserId::new(user)))
}

fn who(auth: Option<&config::Auth>) -> Result<Who, KeyToolsError> {
    let Some(auth) = auth else {
        return Ok(Who::Local(Arc::new(Principal::local())));
    };
    let keys = auth.keys.iter().map(KnownKey::new).collect::<Result<_, _>>()?;
    Ok(Who::Keys(KeyRing::new(keys)))
}

/// The principal of a key, or the user whom it names if it may.
fn may_speak_as(principal: &Arc<Principal>, user: Option<UserId>) -> Result<Arc<Principal>, AuthError> {
    match user {
        Some(user) if user != *principal.user() => principal
            .acting_for(user)
            .map(Arc::new)
            .ok_or(AuthError::MayNotAct),
        _ => Ok(Arc::clone(principal)),
    }
}

/// The one key that the request carries. The same key in both headers is one key.
fn presented_key(headers: &HeaderMap) -> Result<&[u8], AuthError> {
    let bearer = single(headers, &AUTHORIZATION)
        .map_err(|()| AuthError::Malformed("several Authorization headers"))?
        .map(bearer_token)
        .transpose()?;
    let api_key = single(headers, &API_KEY)
        .map_err(|()| AuthError::Malformed("several X-API-Key headers"))?
        .map(HeaderValue::as_bytes);
    let key = match (bearer, api_key) {
        (None, None) => return Err(AuthError::Missing),
        (Some(key), None) | (None, Some(key)) => key,
        (Some(bearer), Some(api_key)) if bearer == api_key => bearer,
        (Some(_), Some(_)) => return Err(AuthError::Malformed("two different keys")),
    };
    if key.is_empty() || !key.iter().all(u8::is_ascii_graphic) {
        return Err(AuthError::Malformed("a key is visible ASCII without blanks"));
    }
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(AuthError::Unknown);
    }
    Ok(key)
}

/// RFC 6750 §2.1; the scheme in any case (RFC 9110 §11.1).
fn bearer_token(value: &HeaderValue) -> Result<&[u8], AuthError> {
    let value = value.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer".len()).unwrap_or((value, b""));
    match token.split_first() {
        Some((b' ', token)) if scheme.eq_ignore_ascii_case(b"Bearer") => Ok(token.trim_ascii()),
        _ => Err(AuthError::Malformed(
            "Authorization is not of the form Bearer <key>",
        )),
    }
}

/// The user whom the request names, if it names one.
fn named_user(headers: &HeaderMap) -> Result<Option<UserId>, AuthError> {
    let Some(value) = single(headers, &USER_ID).map_err(|()| AuthError::InvalidUser)? else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(user) if is_user_id(value.as_bytes()) => Ok(Some(UserId::new(user))),
        _ => Err(AuthError::InvalidUser),
    }
}

fn is_user_id(user: &[u8]) -> bool {
    (1..=limits::USER_ID_BYTES_MAX).contains(&user.len()) && user.iter().all(u8::is_ascii_graphic)
}

/// The header's value if it is there once; an error if it is there more often.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests;
