//! Opens a pipe and finds out how to speak on it: `server/discover` first, `initialize` where that means nothing
//! (2026-07-28, Basic, "Backward Compatibility"; facts §2.2). What a server cannot be, a downgrade is not guessed
//! from: a server that goes silent or ends on the probe is started anew before `initialize`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::link::Link;
use super::news::News;
use super::session::{Session, object_of, request};
use super::{Connect, Owner, Setting};
use crate::config::EraChoice;
use crate::exchange::{Client, Scope};
use crate::limits::STDIO_PROBE_TIMEOUT;
use crate::protocol::error::{
    INVALID_PARAMS, METHOD_NOT_FOUND, MISSING_CAPABILITY, RpcError, UNSUPPORTED_VERSION,
};
use crate::protocol::json::{Object, Raw};
use crate::protocol::method::Method;
use crate::protocol::splice::Splice;
use crate::protocol::version::Era;
use crate::upstream::handshake::{Handshake, HandshakeError, initialize_params};
use crate::upstream::lists::AskError;
use crate::upstream::outgoing;

/// What a pipe of several clients declares at `initialize`; each question is held against what its client declared.
const EVERY_CAPABILITY: Raw =
    Raw::literal(r#"{"roots":{},"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}}}"#);

/// Why there is no pipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::upstream) enum OpenError {
    /// Every place is taken.
    #[error("every place for a process is taken")]
    Busy,
    /// It could not be opened, or the handshake failed.
    #[error("{0}")]
    Failed(String),
}

impl From<AskError> for OpenError {
    fn from(error: AskError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<HandshakeError> for OpenError {
    fn from(error: HandshakeError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What is needed to open the pipes of one gateway.
pub(super) struct Opener<C> {
    connect: C,
    setting: Setting,
    /// The era that was found. Forgotten when a handshake in it fails.
    found: Mutex<Option<Era>>,
}

impl<C: Connect> Opener<C> {
    pub(super) fn new(connect: C, setting: Setting) -> Self {
        Self {
            connect,
            setting,
            found: Mutex::new(None),
        }
    }

    pub(super) fn setting(&self) -> &Setting {
        &self.setting
    }

    /// Returns the era that was found last.
    pub(super) fn era(&self) -> Option<Era> {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a pipe for an owner, whose client asks for it.
    pub(super) async fn open(
        &self,
        owner: &Owner,
        client: Option<&Client>,
        news: News,
    ) -> Result<Session, OpenError> {
        let opening = Opening {
            opener: self,
            owner,
            news,
            declared: declared(owner, client),
            info: introduced(owner, client),
        };
        let known = self.era();
        let opened = match (self.setting.era, known) {
            (EraChoice::Legacy, _) | (EraChoice::Auto, Some(Era::Legacy)) => opening.legacy().await,
            (EraChoice::Modern, _) | (EraChoice::Auto, Some(Era::Modern)) => opening.modern().await,
            (EraChoice::Auto, None) => opening.either().await,
        };
        self.remember(&opened);
        let (link, handshake) = opened?;
        let session = Session::new(
            &self.setting.gateway,
            link,
            handshake,
            self.setting.timeout,
            Arc::clone(&opening.news.watches),
        );
        for (uri, error) in session.settle().await {
            let gateway = &self.setting.gateway;
            tracing::warn!(gateway.id = %gateway, uri = &*uri, %error, "a resource is no longer watched upstream");
        }
        Ok(session)
    }
}

impl<C> Opener<C> {
    fn remember(&self, opened: &Opened) {
        let era = match opened {
            Ok((_, handshake)) => Some(handshake.version.era()),
            Err(OpenError::Busy) => return,
            Err(OpenError::Failed(_)) => None,
        };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = era;
    }
}

/// One attempt.
struct Opening<'a, C> {
    opener: &'a Opener<C>,
    owner: &'a Owner,
    news: News,
    declared: Raw,
    info: Raw,
}

type Opened = Result<(Link, Handshake), OpenError>;

impl<C: Connect> Opening<'_, C> {
    async fn legacy(&self) -> Opened {
        let link = self.connect().await?;
        let handshake = self
            .initialize(&link)
            .await
            .map_err(|error| named(&link, error))?;
        Ok((link, handshake))
    }

    async fn modern(&self) -> Opened {
        let link = self.connect().await?;
        let result = self.discover(&link, self.timeout()).await;
        let result = result.map_err(|error| named(&link, error.into()))?;
        Ok((link, Handshake::of_discover(&result)?))
    }

    /// Probes. A server that answers is spoken to in the same process; one that does not is started anew.
    async fn either(&self) -> Opened {
        let link = self.connect().await?;
        match self.discover(&link, STDIO_PROBE_TIMEOUT).await {
            Ok(result) => match Handshake::of_discover(&result) {
                Ok(handshake) => return Ok((link, handshake)),
                Err(reason) => self.legacy_because(&reason.to_string()),
            },
            Err(AskError::Refused(error)) => self.legacy_because(&error.message),
            Err(AskError::Failed(reason)) => {
                self.legacy_because(&reason);
                link.close("it did not answer the probe");
                link.closed().await;
                return self.legacy_or_late().await;
            }
        }
        let handshake = self
            .initialize(&link)
            .await
            .map_err(|error| named(&link, error))?;
        Ok((link, handshake))
    }

    /// Initializes; a server that was only slow to start, and knows nothing of `initialize`, is modern after all.
    async fn legacy_or_late(&self) -> Opened {
        let link = self.connect().await?;
        let told = match self.ask_initialize(&link).await {
            Err(AskError::Refused(error)) if is_modern(&error) => {
                let result = self.discover(&link, self.timeout()).await;
                let result = result.map_err(|error| named(&link, error.into()))?;
                return Ok((link, Handshake::of_discover(&result)?));
            }
            told => told.map_err(|error| named(&link, error.into()))?,
        };
        let handshake = self.initialized(&link, &told)?;
        Ok((link, handshake))
    }

    async fn initialize(&self, link: &Link) -> Result<Handshake, OpenError> {
        let told = self.ask_initialize(link).await?;
        self.initialized(link, &told)
    }

    async fn ask_initialize(&self, link: &Link) -> Result<Object, AskError> {
        let params = object_of(&initialize_params(&self.declared, &self.info));
        let write = |id: &_| request(id, Method::Initialize, &params);
        link.ask(self.timeout(), write).await
    }

    fn initialized(&self, link: &Link, told: &Object) -> Result<Handshake, OpenError> {
        let handshake = Handshake::of_initialize(told)?;
        if !link.notify(Method::Initialized, None) {
            tracing::debug!(gateway.id = %self.opener.setting.gateway, "lost right after the handshake");
        }
        Ok(handshake)
    }

    async fn discover(&self, link: &Link, timeout: Duration) -> Result<Object, AskError> {
        let nothing = Raw::literal("{}");
        let write = |id: &_| outgoing::own_modern_request(id, Method::Discover, &[], &nothing);
        link.ask(timeout, write).await
    }

    async fn connect(&self) -> Result<Link, OpenError> {
        let (link, port) = Link::new(&self.opener.setting.gateway, self.owner, self.news.clone());
        self.opener.connect.connect(port).await?;
        Ok(link)
    }

    fn timeout(&self) -> Duration {
        self.opener.setting.timeout
    }

    fn legacy_because(&self, reason: &str) {
        let gateway = &self.opener.setting.gateway;
        tracing::debug!(gateway.id = %gateway, reason, "no answer to server/discover, so it is legacy");
    }
}

/// How the pipe ended says more than that there was no answer.
fn named(link: &Link, error: OpenError) -> OpenError {
    link.ended()
        .map_or(error, |ended| OpenError::Failed(ended.reason))
}

/// Tells whether an error to `initialize` is one that a modern server gives.
fn is_modern(error: &RpcError) -> bool {
    matches!(
        error.code,
        UNSUPPORTED_VERSION | MISSING_CAPABILITY | METHOD_NOT_FOUND | INVALID_PARAMS
    )
}

/// Returns what is declared at `initialize`: what the client of a session declared, and nothing else; everything on a
/// pipe whose calls come from clients that differ.
fn declared(owner: &Owner, client: Option<&Client>) -> Raw {
    match (owner, client) {
        (Owner::Conversation(_, Scope::Session(_)), Some(client)) => without_tasks(&client.capabilities),
        _ => EVERY_CAPABILITY,
    }
}

/// Tasks of 2025-11-25 are methods of their own, which have no route here.
fn without_tasks(capabilities: &Raw) -> Raw {
    let mut splice = Splice::new(capabilities.as_bytes());
    if let Ok(members) = capabilities.object() {
        splice.remove(&members, &["tasks"]);
    }
    Raw::parse(&splice.done()).unwrap_or(Raw::literal("{}"))
}

/// Returns who we say we are: the client of a session, or ourselves.
fn introduced(owner: &Owner, client: Option<&Client>) -> Raw {
    match (owner, client) {
        (Owner::Conversation(_, Scope::Session(_)), Some(client)) => client.info.clone(),
        _ => None,
    }
    .unwrap_or_else(outgoing::implementation)
}
