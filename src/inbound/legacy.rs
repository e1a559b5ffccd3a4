//! Requests of legacy clients (2025-03-26 to 2025-11-25). A session is needed only where something needs one: lists
//! and plain calls are served without, for clients that do not echo their `Mcp-Session-Id`.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use super::era::Spoken;
use super::exchange::{Asked, Context, Running};
use super::fault::Fault;
use super::operation::Operation;
use super::session::Session;
use super::stream::{self, Asking, Held, Voice};
use super::{Endpoint, Sent, Text, capabilities, input_required, lists, render, reply};
use crate::exchange::{Answer, CallError, Client, Question, Scope};
use crate::limits::CLIENT_WORDS_BYTES_MAX;
use crate::protocol::error::URL_ELICITATION_REQUIRED;
use crate::protocol::headers;
use crate::protocol::json::Raw;
use crate::protocol::message::{self, Message, Notification, Outcome, Request, RpcId};
use crate::protocol::meta::LogLevel;
use crate::protocol::method::Method;
use crate::protocol::version::ProtocolVersion;
use crate::proxy::ProxyError;
use crate::upstream::outgoing::implementation;

impl Endpoint {
    pub(super) async fn legacy(self: Arc<Self>, sent: &Sent, message: Box<Message>) -> Response<Body> {
        if let Message::Request(request) = &*message
            && request.method == Method::Initialize
        {
            let mut operation = Operation::begin(&self, sent, request, initialized_version(request));
            let done = Box::pin(self.initialize(sent, request)).await;
            operation.done(&done);
            return done.unwrap_or_else(|fault| fail(&request.id, fault, sent));
        }
        let session = match self.session_of(sent).await {
            Ok(session) => session,
            Err(response) => {
                if let Message::Request(request) = &*message {
                    let version = ProtocolVersion::LEGACY_LATEST;
                    Operation::begin(&self, sent, request, version).refused(&Fault::session_not_found());
                }
                return *response;
            }
        };
        match *message {
            Message::Request(request) => self.legacy_request(sent, session, Box::new(request)).await,
            Message::Notification(notification) => {
                Box::pin(self.legacy_notification(session.as_ref(), &notification)).await;
                reply::accepted()
            }
            Message::Response(response) => {
                if !session.is_some_and(|session| session.questions.answer(&response)) {
                    tracing::debug!("an answer to no open question was dropped");
                }
                reply::accepted()
            }
        }
    }

    /// Finds the session that a request names; 404 for unknown, foreign and ended ones alike.
    pub(super) async fn session_of(&self, sent: &Sent) -> Result<Option<Arc<Session>>, Box<Response<Body>>> {
        let Some(id) = sent.headers.get(headers::SESSION_ID) else {
            return Ok(None);
        };
        let found = match id.to_str() {
            Ok(id) => self.sessions.find(&sent.principal, id).await,
            Err(_) => None,
        };
        found.map(Some).ok_or_else(|| {
            let fault = Fault::session_not_found().named(&sent.request_id);
            Box::new(reply::error(StatusCode::NOT_FOUND, None, &fault))
        })
    }

    /// Answers `initialize` from memory and opens a session (2025-11-25, Lifecycle).
    async fn initialize(&self, sent: &Sent, request: &Request) -> Result<Response<Body>, Fault> {
        let params = request.params.as_ref();
        if params
            .and_then(|params| params.string("protocolVersion"))
            .is_none()
        {
            return Err(Fault::invalid_params(
                "Invalid params: `protocolVersion` must be a string",
            ));
        }
        let object = |key| {
            let given = params.and_then(|params| params.get(key));
            let given = given.filter(|value| value.object().is_ok());
            given.map(|value| kept(key, &value)).transpose()
        };
        let declared = object("capabilities")?.unwrap_or(Raw::literal("{}"));
        let info = object("clientInfo")?;
        let capabilities = capabilities::of_legacy_client(&declared);
        let version = initialized_version(request);
        let session = self
            .sessions
            .open(&sent.principal, version, capabilities, info)
            .await
            .map_err(|error| Fault::internal(&error.to_string()))?;
        let view = self.parts.proxy.view(&sent.principal);
        let instructions = view
            .snapshot()
            .instructions()
            .map(|text| format!(r#","instructions":{}"#, Raw::from(text).as_str()));
        let result = format!(
            r#"{{"protocolVersion":"{version}","capabilities":{},"serverInfo":{}{}}}"#,
            capabilities::ours(view.snapshot(), Spoken::Legacy),
            implementation().as_str(),
            instructions.unwrap_or_default(),
        );
        let result = Raw::parse(&result.into()).map_err(|_| Fault::internal("no result could be written"))?;
        let mut response = reply::json(StatusCode::OK, message::response(&request.id, &result));
        if let Ok(id) = HeaderValue::from_str(session.id.as_str()) {
            response.headers_mut().insert(headers::SESSION_ID, id);
        }
        Ok(response)
    }

    async fn legacy_request(
        self: Arc<Self>,
        sent: &Sent,
        session: Option<Arc<Session>>,
        request: Box<Request>,
    ) -> Response<Body> {
        let mut operation = Operation::begin(&self, sent, &request, version_of(session.as_ref()));
        if !is_forwarded(request.method) {
            let done = Box::pin(self.legacy_local(sent, session.as_ref(), &request)).await;
            operation.done(&done);
            return match done {
                Ok(text) => reply::json(StatusCode::OK, text),
                Err(fault) => fail(&request.id, fault, sent),
            };
        }
        let asked = Asked::new(&request, sent);
        let running = match self.begin_legacy(sent, session.as_ref(), *request, &operation) {
            Ok(running) => running,
            Err(fault) => {
                operation.refused(&fault);
                return fail(&asked.request.id, fault, sent);
            }
        };
        let held = Held::by_session(session.as_ref());
        let voice = LegacyVoice {
            asked,
            session: session.clone(),
            operation,
        };
        stream::respond(&self, running, voice, held, session.as_ref()).await
    }

    /// Starts a call that belongs to an upstream.
    pub(super) fn begin_legacy(
        &self,
        sent: &Sent,
        session: Option<&Arc<Session>>,
        request: Request,
        operation: &Operation,
    ) -> Result<Running, Fault> {
        let cancel = CancellationToken::new();
        let in_flight = match session {
            Some(session) => {
                let begun = session.begin(&request.id, &cancel);
                Some(begun.ok_or_else(|| Fault::invalid_request("Invalid request: the id is in use"))?)
            }
            None => None,
        };
        let context = Context {
            client: client_of(sent, session),
            log_level: session.map(|session| session.level()),
            request_state: None,
            task: None,
            cancel,
            in_flight,
            operation,
        };
        self.start(request, context)
    }

    /// Answers what no upstream is asked for.
    pub(super) async fn legacy_local(
        &self,
        sent: &Sent,
        session: Option<&Arc<Session>>,
        request: &Request,
    ) -> Result<Text, Fault> {
        if let Some(kind) = lists::kind_of(request.method) {
            return self.list(sent, request, kind, Spoken::Legacy);
        }
        let done = || Ok(message::response(&request.id, &Raw::literal("{}")));
        let text = |key: &str| request.params.as_ref().and_then(|params| params.string(key));
        match request.method {
            Method::Ping => done(),
            Method::SetLevel => {
                let level = text("level").and_then(|level| LogLevel::parse(&level));
                let level =
                    level.ok_or_else(|| Fault::invalid_params("Invalid params: unknown log level"))?;
                if let Some(session) = session {
                    session.set_level(level);
                    self.sessions.note(session);
                }
                done()
            }
            Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
                let session = session.ok_or_else(Fault::no_session)?;
                let uri = text("uri")
                    .ok_or_else(|| Fault::invalid_params("Invalid params: `uri` must be a string"))?;
                match request.method {
                    Method::ResourcesSubscribe => self.watch(sent, session, &uri).await?,
                    _ => self.unwatch(session, &uri).await?,
                }
                done()
            }
            _ => Err(Fault::method_not_found(
                &request.method_name.string().unwrap_or_default(),
            )),
        }
    }

    async fn watch(&self, sent: &Sent, session: &Arc<Session>, uri: &str) -> Result<(), Fault> {
        let _place = self.place(sent.principal.user())?;
        let client = client_of(sent, Some(session));
        let watched = self.parts.proxy.watch_resource(&client, uri).await;
        let route = watched.map_err(|error| Fault::of(&error, Spoken::Legacy))?;
        if session.watch(&route) {
            self.sessions.note(session);
            return Ok(());
        }
        self.parts.metrics.limit_hit("resource_subscriptions");
        let _ = self.parts.proxy.unwatch_resource(&client, &route).await;
        Err(Fault::invalid_request(
            "Too many resource subscriptions in this session",
        ))
    }

    /// Ends a subscription; one that never was has ended already.
    async fn unwatch(&self, session: &Arc<Session>, uri: &str) -> Result<(), Fault> {
        let Some(route) = session.unwatch(uri) else {
            return Ok(());
        };
        self.sessions.note(session);
        let ended = self.parts.proxy.unwatch_resource(&session.client, &route).await;
        ended.map_err(|error| Fault::of(&error, Spoken::Legacy))
    }

    pub(super) async fn legacy_notification(
        &self,
        session: Option<&Arc<Session>>,
        notification: &Notification,
    ) {
        let Some(session) = session else { return };
        match notification.method {
            Method::Cancelled => {
                let id = notification
                    .params
                    .as_ref()
                    .and_then(|params| params.get("requestId"));
                if let Some(id) = id.and_then(RpcId::new) {
                    session.cancel(&id);
                }
            }
            Method::RootsListChanged => self.parts.proxy.gateways().roots_changed(&session.client).await,
            _ => {}
        }
    }
}

/// Returns what a client says of itself as it is kept beyond its request: within bounds, and nothing else with it.
pub(super) fn kept(key: &str, value: &Raw) -> Result<Raw, Fault> {
    if value.as_bytes().len() > CLIENT_WORDS_BYTES_MAX {
        return Err(Fault::invalid_params(format!(
            "Invalid params: `{key}` has more than {CLIENT_WORDS_BYTES_MAX} bytes"
        )));
    }
    Ok(value.clone().detached())
}

/// Tells whether an upstream answers a method.
pub(super) fn is_forwarded(method: Method) -> bool {
    matches!(
        method,
        Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::Complete
    )
}

fn fail(id: &RpcId, fault: Fault, sent: &Sent) -> Response<Body> {
    let status = fault.status(Spoken::Legacy);
    reply::error(status, Some(id), &fault.named(&sent.request_id))
}

/// Returns the revision that a client speaks; without a session the first that had none.
pub(super) fn version_of(session: Option<&Arc<Session>>) -> ProtocolVersion {
    session.map_or(ProtocolVersion::V2025_03_26, |session| session.client.version)
}

/// Returns the revision that an `initialize` comes to.
fn initialized_version(request: &Request) -> ProtocolVersion {
    let asked = request
        .params
        .as_ref()
        .and_then(|params| params.string("protocolVersion"));
    ProtocolVersion::negotiate_legacy(&asked.unwrap_or_default())
}

/// Returns the session's client with the rights that this request came with: another key, or the same one with other
/// rights by now.
fn client_of(sent: &Sent, session: Option<&Arc<Session>>) -> Arc<Client> {
    let principal = sent.principal.clone();
    match session {
        Some(session) if Arc::ptr_eq(&session.client.principal, &principal) => session.client.clone(),
        Some(session) => Arc::new(Client {
            principal,
            ..(*session.client).clone()
        }),
        None => Arc::new(Client {
            principal,
            scope: Scope::Stateless,
            version: version_of(None),
            capabilities: Raw::literal("{}"),
            info: None,
            outbox: None,
        }),
    }
}

/// How a legacy client reads a running call.
struct LegacyVoice {
    asked: Asked,
    session: Option<Arc<Session>>,
    operation: Operation,
}

impl Voice for LegacyVoice {
    fn notification(&mut self, notification: Notification) -> Option<Text> {
        Some(notification.raw)
    }

    /// Asks on the call's own stream; the answer comes as a POST of its own. Without a session it would have no way
    /// back: the question is dropped then, and the upstream told so.
    fn question(&mut self, question: Question, running: Running) -> Asking {
        let text = self
            .session
            .as_ref()
            .and_then(|session| session.questions.ask(question));
        Asking::GoesOn(text, running)
    }

    fn answer(&mut self, answer: Result<Answer, ProxyError>) -> Option<(StatusCode, Text)> {
        self.operation.called(&answer);
        answer_text(&self.asked, answer, version_of(self.session.as_ref()))
    }
}

/// Writes an answer for a legacy client of a revision; `None` for a request that it cancelled.
pub(super) fn answer_text(
    asked: &Asked,
    answer: Result<Answer, ProxyError>,
    version: ProtocolVersion,
) -> Option<(StatusCode, Text)> {
    let must_visit = |answer: &Answer| match &answer.response.outcome {
        Outcome::Error(error) if error.code == URL_ELICITATION_REQUIRED => Some(error.clone()),
        _ => None,
    };
    match answer {
        Ok(answer)
            if version < ProtocolVersion::V2025_11_25
                && let Some(error) = must_visit(&answer) =>
        {
            let error = input_required::for_older(&error);
            Some((
                StatusCode::OK,
                message::error_response(Some(&asked.request.id), &error),
            ))
        }
        Ok(answer) if answer.response.passed.is_some() => None,
        Ok(answer) => Some(render::answer(&asked.request, &answer, Spoken::Legacy, &[])),
        Err(ProxyError::Call(CallError::Cancelled)) => None,
        Err(error) => {
            let fault = Fault::of(&error, Spoken::Legacy);
            let status = fault.status(Spoken::Legacy);
            let error = fault.named(&asked.request_id);
            Some((status, message::error_response(Some(&asked.request.id), &error)))
        }
    }
}
