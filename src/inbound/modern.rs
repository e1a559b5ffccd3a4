//! Requests of modern clients (2026-07-28): stateless, each with its own metadata. A client that goes away cancels its
//! call. Questions come back as `input_required`, never as requests.

use std::sync::Arc;

use axum::body::Body;
use http::{Response, StatusCode};
use tokio_util::sync::CancellationToken;

use super::era::Spoken;
use super::exchange::{Asked, Context, Running};
use super::fault::Fault;
use super::modern_check::{self, Declared};
use super::operation::Operation;
use super::parked::{ParkedId, Resumed};
use super::request_state::{self, State};
use super::stream::{self, Asking, Held, Voice};
use super::{
    Endpoint, Sent, Text, capabilities, input_required, legacy, listen, lists, render, reply, task_id,
};
use crate::catalog::listing::Kind;
use crate::exchange::{Answer, Client, Question, Scope, Task};
use crate::ids::GatewayId;
use crate::protocol::error::{RpcError, URL_ELICITATION_REQUIRED};
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, Message, Notification, Outcome, Request};
use crate::protocol::meta;
use crate::protocol::method::Method;
use crate::protocol::splice::Splice;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::proxy::ProxyError;

/// What we answer `server/discover` with, newest first.
const SUPPORTED_VERSIONS: &str = r#"["2026-07-28","2025-11-25","2025-06-18","2025-03-26"]"#;

impl Endpoint {
    pub(super) async fn modern(self: Arc<Self>, sent: &Sent, message: Box<Message>) -> Response<Body> {
        let request = match *message {
            Message::Request(request) => Box::new(request),
            // The core has no notifications of clients over HTTP; those of extensions are nobody's here.
            Message::Notification(_) => return reply::accepted(),
            Message::Response(_) => {
                let fault = Fault::invalid_request("Invalid request: clients post requests, never responses");
                return reply::error(StatusCode::BAD_REQUEST, None, &fault.named(&sent.request_id));
            }
        };
        let mut operation = Operation::begin(&self, sent, &request, ProtocolVersion::MODERN_LATEST);
        match self.modern_request(sent, &request, &operation).await {
            Ok(Ready::Response(response)) => {
                operation.answered();
                response
            }
            Ok(Ready::Running(running, mut voice)) => {
                voice.operation = Some(operation);
                let held = Held::by_client(&running.cancel);
                stream::respond(&self, running, *voice, held, None).await
            }
            Err(fault) => {
                operation.refused(&fault);
                let status = fault.status(Spoken::Modern);
                reply::error(status, Some(&request.id), &fault.named(&sent.request_id))
            }
        }
    }

    async fn modern_request(
        self: &Arc<Self>,
        sent: &Sent,
        request: &Request,
        operation: &Operation,
    ) -> Result<Ready, Fault> {
        let declared = modern_check::declared(&sent.headers, request)?;
        if let Some(kind) = lists::kind_of(request.method) {
            return self
                .list(sent, request, kind, Spoken::Modern)
                .map(|text| Ready::Response(reply::json(StatusCode::OK, text)));
        }
        match request.method {
            Method::Discover => self.discover(sent, request).map(Ready::Response),
            Method::Listen => Box::pin(listen::stream(self, sent, request, declared))
                .await
                .map(Ready::Response),
            Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
                self.modern_call(sent, request, &declared, operation)
            }
            method if legacy::is_forwarded(method) => self.modern_call(sent, request, &declared, operation),
            _ => Err(Fault::method_not_found(
                &request.method_name.string().unwrap_or_default(),
            )),
        }
    }

    /// Answers `server/discover` from memory.
    fn discover(&self, sent: &Sent, request: &Request) -> Result<Response<Body>, Fault> {
        let view = self.parts.proxy.view(&sent.principal);
        let instructions = view
            .snapshot()
            .instructions()
            .map(|text| format!(r#","instructions":{}"#, Raw::from(text).as_str()));
        let result = format!(
            r#"{{"supportedVersions":{SUPPORTED_VERSIONS},"capabilities":{}{},{}}}"#,
            capabilities::ours(view.snapshot(), Spoken::Modern),
            instructions.unwrap_or_default(),
            lists::modern_members(None),
        );
        let result = Raw::parse(&result.into()).map_err(|_| Fault::internal("no result could be written"))?;
        Ok(reply::json(
            StatusCode::OK,
            message::response(&request.id, &result),
        ))
    }

    fn modern_call(
        self: &Arc<Self>,
        sent: &Sent,
        request: &Request,
        declared: &Declared,
        operation: &Operation,
    ) -> Result<Ready, Fault> {
        let params = request.params.as_ref();
        let mut gateway = None;
        if request.method == Method::ToolsCall
            && let Some(name) = params.and_then(|params| params.string("name"))
        {
            let view = self.parts.proxy.view(&sent.principal);
            let route = view.snapshot().resolve(Kind::Tool, &name);
            // A hidden tool's headers are nobody's business: that it is not there is all that the caller hears.
            if let Some(route) = route.filter(|route| view.admit(&sent.principal, route).is_ok()) {
                modern_check::param_headers(&sent.headers, request, route)?;
                gateway = Some(route.gateway.clone());
            }
        }
        let client = client_of(sent, declared);
        let mut voice = Box::new(ModernVoice {
            endpoint: self.clone(),
            asked: Asked::new(request, sent),
            sent: sent.again(),
            gateway,
            client: client.clone(),
            questions: 0,
            operation: None,
        });
        let held_id = params.and_then(|params| params.string("taskId"));
        let sealer = &self.parts.sealer;
        let mut context = Context {
            client,
            log_level: declared.log_level,
            request_state: None,
            task: held_id.and_then(|id| task_id::read(sealer, &sent.principal, &id)),
            cancel: CancellationToken::new(),
            in_flight: None,
            operation,
        };
        match self.state_of(sent, request)? {
            Some(State::Parked(id)) => match self.resume(sent, request, &id)? {
                Resumed::Running(running, unsaid, questions) => {
                    voice.questions = questions;
                    Ok(Ready::Running(running.with_unsaid(unsaid), voice))
                }
                Resumed::Asking(id) => {
                    let text = voice
                        .input_required(&id)
                        .ok_or_else(|| Fault::internal("no question could be written"))?;
                    Ok(Ready::Response(reply::json(StatusCode::OK, text)))
                }
            },
            Some(State::Visit) if input_required::declines(answers_of(request).as_ref()) => {
                Err(Fault::not_visited())
            }
            state => {
                if let Some(State::Upstream(raw)) = state {
                    context.request_state = Some(raw);
                }
                let running = self.start(request.clone(), context)?;
                Ok(Ready::Running(running, voice))
            }
        }
    }

    /// Opens the state that a retry carries.
    fn state_of(&self, sent: &Sent, request: &Request) -> Result<Option<State>, Fault> {
        let Some(text) = request
            .params
            .as_ref()
            .and_then(|params| params.get("requestState"))
        else {
            return Ok(None);
        };
        let invalid = || {
            Fault::invalid_params("Invalid params: `requestState` is not one of this request, or has expired")
        };
        let text = text.string().ok_or_else(invalid)?;
        request_state::read(&self.parts.sealer, &sent.principal, request, &text)
            .map(Some)
            .ok_or_else(invalid)
    }

    fn resume(&self, sent: &Sent, request: &Request, id: &ParkedId) -> Result<Resumed, Fault> {
        self.parked
            .resume(id, sent.principal.user(), answers_of(request).as_ref())
            .ok_or_else(|| {
                Fault::invalid_params(
                    "Invalid params: the call that `requestState` names is over; start it again",
                )
            })
    }
}

fn answers_of(request: &Request) -> Option<Object> {
    request.params.as_ref()?.object("inputResponses")
}

fn client_of(sent: &Sent, declared: &Declared) -> Arc<Client> {
    Arc::new(Client {
        principal: sent.principal.clone(),
        scope: Scope::Stateless,
        version: ProtocolVersion::MODERN_LATEST,
        capabilities: declared.capabilities.clone(),
        info: declared.info.clone(),
        outbox: None,
    })
}

/// What a request comes to, as far as it is known without waiting for an upstream.
enum Ready {
    /// All of the answer.
    Response(Response<Body>),
    /// A call that runs, and how its client reads it.
    Running(Running, Box<ModernVoice>),
}

/// How a modern client reads a running call.
struct ModernVoice {
    endpoint: Arc<Endpoint>,
    asked: Asked,
    sent: Sent,
    client: Arc<Client>,
    /// Who has the tool that is called.
    gateway: Option<GatewayId>,
    /// Questions of this call that were asked in earlier rounds.
    questions: usize,
    /// Told of the end.
    operation: Option<Operation>,
}

impl ModernVoice {
    /// Writes the `input_required` result of a parked call.
    fn input_required(&self, id: &ParkedId) -> Option<Text> {
        let requests = self.endpoint.parked.input_requests(id)?;
        let state = self.sealed(&State::Parked(*id))?;
        input_required::response(&self.asked.request.id, &requests, &state)
    }

    /// Sends the client to the URLs that a legacy upstream wants visited before the call. Only three methods can ask.
    fn visit(&self, error: &RpcError) -> Result<Text, Fault> {
        let params = Raw::literal(r#"{"mode":"url"}"#).object().ok();
        if !self.client.can_answer(Method::ElicitationCreate, params.as_ref()) {
            let required = serde_json::json!({ "elicitation": { "url": {} } });
            return Err(Fault::missing_capability(required));
        }
        let asks = matches!(
            self.asked.request.method,
            Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead
        );
        let requests = input_required::url_requests(error).filter(|_| asks);
        requests
            .zip(self.sealed(&State::Visit))
            .and_then(|(requests, state)| input_required::response(&self.asked.request.id, &requests, &state))
            .ok_or_else(|| Fault::internal(&error.message))
    }

    /// Seals what an upstream's result gives the client to hold; `None` when that is too long.
    fn held(&self, answer: &Answer) -> Option<Vec<(&'static str, Raw)>> {
        let mut held = Vec::new();
        let (Era::Modern, Outcome::Result(result)) = (answer.era, &answer.response.outcome) else {
            return Some(held);
        };
        if let Some(given) = result.get("requestState") {
            held.push(("requestState", self.sealed(&State::Upstream(given))?));
        }
        let Some(own) = result.string("taskId") else {
            return Some(held);
        };
        let params = self.asked.request.params.as_ref()?;
        let id = match (self.asked.request.method, result.string("resultType").as_deref()) {
            (Method::ToolsCall, Some("task")) => {
                let (gateway, tool) = (self.gateway.clone()?, params.string("name")?);
                let sealer = &self.endpoint.parts.sealer;
                Raw::from(
                    task_id::write(sealer, &self.sent.principal, &Task { gateway, tool, own })?.as_str(),
                )
            }
            (Method::TasksGet | Method::TasksUpdate | Method::TasksCancel, _) => params.get("taskId")?,
            _ => return Some(held),
        };
        held.push(("taskId", id));
        Some(held)
    }

    fn sealed(&self, state: &State) -> Option<Raw> {
        let sealer = &self.endpoint.parts.sealer;
        let text = request_state::write(sealer, &self.sent.principal, &self.asked.request, state)?;
        Some(Raw::from(text.as_str()))
    }

    fn failed(&self, fault: Fault) -> (StatusCode, Text) {
        let status = fault.status(Spoken::Modern);
        (
            status,
            message::error_response(Some(&self.asked.request.id), &fault.named(&self.asked.request_id)),
        )
    }
}

impl Voice for ModernVoice {
    fn notification(&mut self, notification: Notification) -> Option<Text> {
        let token = self
            .asked
            .request
            .meta
            .as_ref()
            .and_then(|meta| meta.get(meta::PROGRESS_TOKEN));
        match notification.method {
            Method::Progress => {}
            // A url elicitation has no id in this era, so nobody could tell which one ended.
            Method::ElicitationComplete => return None,
            _ => return Some(notification.raw),
        }
        // A retry may report under another token than the request that began the call.
        let (Some(token), Some(params)) = (token, &notification.params) else {
            return None;
        };
        let mut splice = Splice::new(&notification.raw);
        splice.set(params, meta::PROGRESS_TOKEN, &token);
        Some(splice.done())
    }

    fn question(&mut self, question: Question, running: Running) -> Asking {
        let (user, request) = (self.sent.principal.user(), &self.asked.request);
        let parked = (self.endpoint.parked).park(user, request, question, running, self.questions);
        let text = parked.and_then(|id| {
            let text = self.input_required(&id);
            if text.is_none() {
                self.endpoint.parked.abandon(&id);
            }
            text
        });
        let said = text
            .ok_or_else(|| Fault::internal("too many or too large calls wait for answers; try again later"));
        if let Some(operation) = &mut self.operation {
            operation.done(&said);
        }
        Asking::Ends(said.unwrap_or_else(|fault| self.failed(fault).1))
    }

    fn answer(&mut self, answer: Result<Answer, ProxyError>) -> Option<(StatusCode, Text)> {
        if let Some(operation) = &mut self.operation {
            operation.called(&answer);
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Some(self.failed(Fault::of(&error, Spoken::Modern))),
        };
        if answer.response.passed.is_some() {
            return None;
        }
        match &answer.response.outcome {
            Outcome::Error(error) if error.code == URL_ELICITATION_REQUIRED => {
                return Some(match self.visit(error) {
                    Ok(text) => (StatusCode::OK, text),
                    Err(fault) => self.failed(fault),
                });
            }
            Outcome::Result(result) if answer.era == Era::Modern => {
                if let Err(fault) = input_required::check(&self.client, result) {
                    return Some(self.failed(fault));
                }
            }
            _ => {}
        }
        let Some(held) = self.held(&answer) else {
            return Some(self.failed(Fault::internal("what the gateway gave to hold is too long")));
        };
        Some(render::answer(
            &self.asked.request,
            &answer,
            Spoken::Modern,
            &held,
        ))
    }
}
