//! One session that we hold at a legacy upstream (2025-11-25, Transports, "Session Management").
//! It declares exactly what its client declared and is used for nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::client::Head;
use super::fault::Fault;
use super::link::Link;
use super::own::{self, Outcome};
use super::probe;
use super::wire::{Refusal, Reply};
use crate::limits::{ANSWERS_AT_ONCE_MAX, FIRST_BYTE_TIMEOUT, UPSTREAM_SESSION_ID_BYTES_MAX};
use crate::protocol::error::{
    INVALID_PARAMS, METHOD_NOT_FOUND, PARSE_ERROR, UNSUPPORTED_VERSION, URL_ELICITATION_REQUIRED,
};
use crate::protocol::headers;
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, Message, RpcId};
use crate::protocol::meta::LogLevel;
use crate::protocol::method::Method;
use crate::upstream::handshake::{self, Handshake};
use crate::upstream::incoming;
use crate::upstream::lists::{Ask, AskError};
use crate::upstream::outgoing::Mapped;

#[derive(Debug)]
pub(super) struct Session {
    link: Arc<Link>,
    /// The negotiated revision and the session's id.
    headers: HeaderMap,
    pub(super) handshake: Handshake,
    /// Whether the client's own ids and tokens go upstream.
    keeps_ids: bool,
    /// The level that the upstream was told.
    level: tokio::sync::Mutex<Option<LogLevel>>,
    /// Places for answers to requests that belong to no call.
    answering: Arc<Semaphore>,
    /// Whether somebody listens on its GET stream.
    pub(super) heard: AtomicBool,
    /// Cancelled when the session is no longer used.
    pub(super) ended: CancellationToken,
}

impl Session {
    pub(super) async fn open(
        link: &Arc<Link>,
        capabilities: &Raw,
        info: &Raw,
        keeps_ids: bool,
    ) -> Result<Self, Fault> {
        let id = link.own_id();
        let params = handshake::initialize_params(capabilities, info);
        let body = own::legacy_request(&id, Method::Initialize, &params);
        let outcome = own::ask(link, &id, body, &HeaderMap::new(), &|_| ()).await?;
        let (handshake, session_id) = match outcome {
            Outcome::Response(response, head) => (read_answer(response)?, session_id(&head)?),
            Outcome::Refused(refusal) => return Err(not_initialized(link, refusal).await),
            Outcome::Nothing => return Err(Fault::NotAMessage("nothing came back".to_owned())),
        };
        let mut headers = HeaderMap::with_capacity(2);
        let version = HeaderValue::from_static(handshake.version.as_str());
        headers.insert(headers::PROTOCOL_VERSION, version);
        if let Some(session_id) = session_id {
            headers.insert(headers::SESSION_ID, session_id);
        }
        let session = Self {
            link: Arc::clone(link),
            headers,
            handshake,
            keeps_ids,
            level: tokio::sync::Mutex::new(None),
            answering: Arc::new(Semaphore::new(ANSWERS_AT_ONCE_MAX)),
            heard: AtomicBool::new(false),
            ended: link.down.child_token(),
        };
        session
            .tell(message::notification(Method::Initialized, None))
            .await?;
        Ok(session)
    }

    /// Returns the headers that every request of the session carries.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns ids for a call: none where the session is one client's own.
    pub(super) fn mapped(&self) -> Mapped {
        if self.keeps_ids {
            return Mapped::default();
        }
        let number = self.link.mint();
        Mapped {
            id: Some(RpcId::number(number)),
            progress_token: Some(Raw::from(number)),
        }
    }

    /// Tells whether a refusal means that the upstream no longer knows the session. Nothing was processed then.
    pub(super) fn forgotten(&self, refusal: &Refusal) -> bool {
        let about_the_request = matches!(
            refusal.code(),
            Some(INVALID_PARAMS | METHOD_NOT_FOUND | PARSE_ERROR | URL_ELICITATION_REQUIRED)
        );
        let status = matches!(
            refusal.status,
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::SERVICE_UNAVAILABLE
        );
        self.headers.contains_key(headers::SESSION_ID) && status && !about_the_request && !refusal.has_words()
    }

    /// Reads a refusal of a request of this session: a fault, or the upstream's own error as the answer.
    pub(super) fn refused(&self, refusal: Refusal) -> Result<message::Response, Fault> {
        if self.forgotten(&refusal) {
            return Err(Fault::Forgotten(refusal.status));
        }
        if let Some(gone) = self.link.gone(&refusal) {
            return Err(gone);
        }
        if let Some(worded) = refusal.worded() {
            return Err(worded);
        }
        let (status, detail) = (refusal.status, refusal.detail());
        match (refusal.error, status) {
            (Some(error), _) => Ok(error),
            (None, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
                Err(Fault::WrongEra { status, detail })
            }
            (None, _) => Err(Fault::Status { status, detail }),
        }
    }

    /// Sends a request of our own.
    pub(super) async fn ask(
        self: &Arc<Self>,
        method: Method,
        params: &[(&'static str, Raw)],
    ) -> Result<Object, Fault> {
        let id = self.link.own_id();
        let body = own::legacy_request(&id, method, params);
        let aside = |message| self.aside(message);
        let response = match own::ask(&self.link, &id, body, &self.headers, &aside).await? {
            Outcome::Response(response, _) => response,
            Outcome::Refused(refusal) => self.refused(refusal)?,
            Outcome::Nothing => return Err(Fault::NotAMessage("nothing came back".to_owned())),
        };
        match response.outcome {
            message::Outcome::Result(result) => Ok(result),
            message::Outcome::Error(error) => Err(Fault::Refused {
                method: method.as_str(),
                error,
            }),
        }
    }

    /// Sends a notification, or a response to a request of the upstream.
    pub(super) async fn tell(&self, body: Bytes) -> Result<(), Fault> {
        let (reply, _) = self
            .link
            .wire
            .post(body, &self.headers, FIRST_BYTE_TIMEOUT)
            .await?;
        match reply {
            Reply::Refused(refusal) if self.forgotten(&refusal) => Err(Fault::Forgotten(refusal.status)),
            Reply::Refused(refusal) => Err(refusal.into_fault()),
            _ => Ok(()),
        }
    }

    /// Answers a request in the background. A flood of them is not answered.
    pub(super) fn answer_later(self: &Arc<Self>, body: Bytes) {
        let Ok(place) = Arc::clone(&self.answering).try_acquire_owned() else {
            tracing::debug!(gateway.id = %self.link.gateway, "too many requests of an upstream at once; one is not answered");
            return;
        };
        let session = Arc::clone(self);
        self.link.supervisor.spawn("answer to an upstream", async move {
            if let Err(fault) = session.tell(body).await {
                tracing::debug!(gateway.id = %session.link.gateway, reason = %fault, "an upstream did not take an answer");
            }
            drop(place);
        });
    }

    /// Sends a notification in the background.
    pub(super) fn tell_later(self: &Arc<Self>, body: Bytes) {
        let session = Arc::clone(self);
        self.link.supervisor.spawn("message to an upstream", async move {
            if let Err(fault) = session.tell(body).await {
                tracing::debug!(gateway.id = %session.link.gateway, reason = %fault, "an upstream did not take a message");
            }
        });
    }

    /// Deals with a message that belongs to no call.
    fn aside(self: &Arc<Self>, message: Message) {
        match message {
            Message::Request(request) => self.answer_later(incoming::answer_outside(&request)),
            Message::Notification(notification) if is_list_change(notification.method) => {
                self.link.announced(notification.method);
            }
            Message::Notification(_) => {}
            Message::Response(_) => self.link.stray(),
        }
    }

    /// Tells whether a level need not be asked for. While somebody else asks, who waits will know.
    pub(super) fn has_level(&self, wanted: LogLevel) -> bool {
        if !self.handshake.offers.logging {
            return true;
        }
        let Ok(level) = self.level.try_lock() else {
            return false;
        };
        level.is_some_and(|level| level == wanted || (!self.keeps_ids && level < wanted))
    }

    /// Asks for log messages from a level on, when that differs from what was asked before. A session that calls
    /// share is set to the lowest level that any of them wanted; each filters for itself.
    pub(super) async fn set_level(self: &Arc<Self>, wanted: LogLevel) -> Result<(), Fault> {
        if !self.handshake.offers.logging {
            return Ok(());
        }
        let mut level = self.level.lock().await;
        let needed = match *level {
            Some(current) if !self.keeps_ids => current.min(wanted),
            _ => wanted,
        };
        if *level == Some(needed) {
            return Ok(());
        }
        let params = [("level", Raw::from(needed.as_str()))];
        match self.ask(Method::SetLevel, &params).await {
            Err(fault @ (Fault::Forgotten(_) | Fault::Unreachable(_))) => return Err(fault),
            Err(fault) => {
                tracing::debug!(gateway.id = %self.link.gateway, reason = %fault, "an upstream took no log level");
            }
            Ok(_) => {}
        }
        *level = Some(needed);
        Ok(())
    }

    /// Ends the session at the upstream.
    pub(super) async fn end(&self) {
        self.ended.cancel();
        if self.headers.contains_key(headers::SESSION_ID) {
            self.link.wire.delete(&self.headers).await;
        }
    }

    /// Claims the GET stream; true for the first who asks.
    pub(super) fn claim_hearing(&self) -> bool {
        !self.heard.swap(true, Ordering::AcqRel)
    }
}

pub(super) fn is_list_change(method: Method) -> bool {
    matches!(
        method,
        Method::ToolsListChanged | Method::PromptsListChanged | Method::ResourcesListChanged
    )
}

fn read_answer(response: message::Response) -> Result<Handshake, Fault> {
    match response.outcome {
        message::Outcome::Result(result) => Ok(Handshake::of_initialize(&result)?),
        message::Outcome::Error(error) if error.code == UNSUPPORTED_VERSION => Err(Fault::WrongEra {
            status: StatusCode::OK,
            detail: format!(": {} (code {})", error.message, error.code),
        }),
        message::Outcome::Error(error) => Err(Fault::Refused {
            method: Method::Initialize.as_str(),
            error,
        }),
    }
}

fn session_id(head: &Head) -> Result<Option<HeaderValue>, Fault> {
    let Some(id) = head.get(&headers::SESSION_ID) else {
        return Ok(None);
    };
    let text = head.text(&headers::SESSION_ID);
    match HeaderValue::from_str(text) {
        Ok(value) if text.len() == id.len() && id.len() <= UPSTREAM_SESSION_ID_BYTES_MAX => {
            Ok((!value.is_empty()).then_some(value))
        }
        _ => Err(Fault::NotAMessage(
            "its session id cannot be sent back".to_owned(),
        )),
    }
}

/// Makes the fault of a refused `initialize`, and looks whether the upstream speaks the transport before this one.
async fn not_initialized(link: &Link, refusal: Refusal) -> Fault {
    if let Some(gone) = link.gone(&refusal) {
        return gone;
    }
    if let Some(worded) = refusal.worded() {
        return worded;
    }
    let (status, detail) = (refusal.status, refusal.detail());
    if !matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
    ) {
        return refusal.into_fault();
    }
    if refusal.code() != Some(UNSUPPORTED_VERSION) && probe::speaks_old_sse(&link.wire).await {
        link.old_sse.store(true, Ordering::Release);
        return Fault::OldTransport;
    }
    Fault::WrongEra { status, detail }
}

/// Lists through a session; keeps the fault that `AskError` cannot name.
pub(super) struct SessionAsk<'a> {
    pub(super) session: &'a Arc<Session>,
    pub(super) fault: std::sync::Mutex<Option<Fault>>,
}

impl Ask for SessionAsk<'_> {
    fn ask(
        &self,
        method: Method,
        params: Vec<(&'static str, Raw)>,
    ) -> BoxFuture<'_, Result<Object, AskError>> {
        Box::pin(async move {
            match self.session.ask(method, &params).await {
                Ok(result) => Ok(result),
                Err(Fault::Refused { error, .. }) => Err(AskError::Refused(error)),
                Err(fault) => {
                    let text = fault.to_string();
                    *self
                        .fault
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(fault);
                    Err(AskError::Failed(text))
                }
            }
        })
    }
}
