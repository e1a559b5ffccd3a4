//! Calls to a modern upstream: one POST each, no session; closing the response stream is the cancellation
//! (2026-07-28, Transports, Streamable HTTP).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};

use super::fault::Fault;
use super::large::Read;
use super::legacy::Failed;
use super::link::{Link, traced};
use super::listen::Listeners;
use super::own;
use super::probe::{self, Discovered};
use super::stream::EventStream;
use super::wire::{Refusal, Reply};
use crate::catalog::listing::Listing;
use crate::catalog::route::Route;
use crate::exchange::{Call, Client};
use crate::protocol::error::{
    BAD_REQUEST_LEGACY, HEADER_MISMATCH, SESSION_NOT_FOUND_LEGACY, UNSUPPORTED_VERSION,
};
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, Message, Outcome, Response};
use crate::protocol::method::Method;
use crate::protocol::version::Era;
use crate::upstream::incoming::{Incoming, Taken};
use crate::upstream::lists::{self, Ask, AskError};
use crate::upstream::outgoing::{self, Mapped};
use crate::upstream::rounds::{Next, Rounds};

#[derive(Debug)]
pub(super) struct Modern {
    link: Arc<Link>,
    listeners: Listeners,
}

impl Modern {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            listeners: Listeners::new(Arc::clone(&link)),
            link,
        }
    }

    /// Carries out a call.
    pub(super) async fn call(&self, route: &Route, call: &Call) -> Result<Response, Failed> {
        match self.attempt(route, call).await {
            Err(fault) if fault.broke() && route.repeatable => {
                tracing::info!(gateway.id = %self.link.gateway, reason = %fault, "a call that may be repeated is sent again");
                self.attempt(route, call).await
            }
            outcome => outcome,
        }
        .map_err(Failed::after)
    }

    async fn attempt(&self, route: &Route, call: &Call) -> Result<Response, Fault> {
        let mut incoming = Incoming::new(call, &Mapped::default());
        let mut rounds = Rounds::new(call, self.link.question_timeout);
        let headers = outgoing::modern_headers(route, &call.request);
        let headers = traced(&headers, call);
        let mut body = outgoing::modern(route, call, &Mapped::default());
        loop {
            let response = tokio::select! {
                biased;
                () = call.cancel.cancelled() => return Err(Fault::Cancelled),
                response = self.exchange(body, &headers, call, &mut incoming) => response?,
            };
            let retry = match rounds.next(&mut incoming, response).await? {
                Next::Answer(response) => return Ok(response),
                Next::Again(retry) => retry,
            };
            let id = self.link.own_id();
            incoming.sent_again(id.clone());
            let mapped = Mapped {
                id: Some(id),
                progress_token: None,
            };
            body = outgoing::modern_retry(route, call, &mapped, &retry);
        }
    }

    /// Posts a request and reads its response.
    async fn exchange(
        &self,
        body: Bytes,
        headers: &HeaderMap,
        call: &Call,
        incoming: &mut Incoming<'_>,
    ) -> Result<Response, Fault> {
        let reply = self.link.wire.post_call(body, headers).await?;
        let response = match reply {
            Reply::Json(body) => self.take_whole(body, call, incoming).await?,
            Reply::Large(large) => match large.read(call, incoming.id(), Era::Modern).await? {
                Read::Whole(body) => self.take_whole(body, call, incoming).await?,
                Read::Passed(response) => response,
            },
            Reply::Events(stream) => self.read_stream(stream.of_call(), call, incoming).await?,
            Reply::Accepted => return Err(Fault::NotAMessage("nothing came back".to_owned())),
            Reply::Refused(refusal) => match self.link.gone(&refusal) {
                Some(gone) => return Err(gone),
                None => refused(refusal)?,
            },
        };
        match &response.outcome {
            Outcome::Error(error) if error.code == HEADER_MISMATCH => {
                // The list is asked for again; the caller knows whether to send the call again.
                self.link.changed();
                Err(Fault::Stale)
            }
            Outcome::Error(error) if error.code == UNSUPPORTED_VERSION => Err(Fault::WrongEra {
                status: StatusCode::BAD_REQUEST,
                detail: format!(": {} (code {})", error.message, error.code),
            }),
            _ => Ok(response),
        }
    }

    async fn take_whole(
        &self,
        body: Bytes,
        call: &Call,
        incoming: &mut Incoming<'_>,
    ) -> Result<Response, Fault> {
        let response = self.take(own::read_json(body)?, call, incoming).await?;
        response.ok_or_else(|| Fault::NotAMessage("not a response to the request".to_owned()))
    }

    async fn read_stream(
        &self,
        mut stream: Box<EventStream>,
        call: &Call,
        incoming: &mut Incoming<'_>,
    ) -> Result<Response, Fault> {
        loop {
            // What is there already is taken before anything is waited for.
            let message = match stream.ready_message()? {
                Some(message) => Some(message),
                None => stream.next_message().await?,
            };
            let Some(message) = message else { break };
            if let Some(response) = self.take(message, call, incoming).await? {
                stream.finish(&self.link.supervisor);
                return Ok(response);
            }
        }
        Err(stream.no_answer())
    }

    /// Deals with one message; returns the response when it is the one.
    async fn take(
        &self,
        message: Message,
        call: &Call,
        incoming: &mut Incoming<'_>,
    ) -> Result<Option<Response>, Fault> {
        if matches!(message, Message::Request(_)) {
            // A modern upstream asks by `input_required`; a client never posts a response.
            tracing::debug!(gateway.id = %self.link.gateway, "a modern upstream sent a request; it was dropped");
            return Ok(None);
        }
        match incoming.take(message).await? {
            Taken::Answer(response) => return Ok(Some(response)),
            Taken::ListsChanged(method) => self.link.announced(method),
            Taken::Stray => self.link.stray(),
            Taken::Outside(notification) => self.listeners.outside(&call.client, &notification),
            Taken::Done | Taken::Send(_) | Taken::Asked(_) => {}
        }
        Ok(None)
    }

    /// Asks for every list, and listens for changes afterwards.
    pub(super) async fn list(&self) -> Result<Listing, Fault> {
        let handshake = match probe::discover(&self.link).await? {
            Discovered::Modern(handshake) => handshake,
            Discovered::Legacy => {
                return Err(Fault::WrongEra {
                    status: StatusCode::OK,
                    detail: ": `server/discover` is not there".to_owned(),
                });
            }
        };
        let listing = lists::collect(self, &self.link.gateway, &handshake).await;
        let listing = listing.map_err(|error| Fault::List(error.0))?;
        self.listeners.hear_lists(handshake.offers);
        Ok(listing)
    }

    /// Starts or ends telling a client's outbox of changes of a resource.
    pub(super) async fn watch_resource(
        &self,
        route: &Route,
        client: &Arc<Client>,
        wanted: bool,
    ) -> Result<(), Fault> {
        self.listeners.watch(route, client, wanted).await
    }

    /// Ends the listen streams of a client's session.
    pub(super) fn scope_ended(&self, client: &Client) {
        self.listeners.scope_ended(client);
    }

    /// Ends the listen streams that nobody needs.
    pub(super) fn sweep(&self) {
        self.listeners.sweep();
    }

    /// Ends every listen stream.
    pub(super) fn shut_down(&self) {
        self.listeners.shut_down();
    }

    async fn ask_once(&self, method: Method, params: &[(&'static str, Raw)]) -> Result<Object, AskError> {
        let id = self.link.own_id();
        let body = outgoing::own_modern_request(&id, method, params, &Raw::literal("{}"));
        let headers = outgoing::modern_headers_of(method.as_str());
        let aside = |message: Message| {
            if matches!(message, Message::Response(_)) {
                self.link.stray();
            }
        };
        let failed = |fault: Fault| AskError::Failed(fault.to_string());
        let outcome = own::ask(&self.link, &id, body, &headers, &aside).await;
        let response = match outcome.map_err(failed)? {
            own::Outcome::Response(response, _) => response,
            own::Outcome::Refused(refusal) => refused(refusal).map_err(failed)?,
            own::Outcome::Nothing => return Err(AskError::Failed("nothing came back".to_owned())),
        };
        match response.outcome {
            message::Outcome::Result(result) => Ok(result),
            message::Outcome::Error(error) => Err(AskError::Refused(error)),
        }
    }
}

impl Ask for Modern {
    fn ask(
        &self,
        method: Method,
        params: Vec<(&'static str, Raw)>,
    ) -> BoxFuture<'_, Result<Object, AskError>> {
        Box::pin(async move { self.ask_once(method, &params).await })
    }
}

/// Reads a status of 400 or more: the upstream's own error, or a sign that it is no modern upstream any more.
fn refused(refusal: Refusal) -> Result<Response, Fault> {
    if let Some(worded) = refusal.worded() {
        return Err(worded);
    }
    let (status, detail, code) = (refusal.status, refusal.detail(), refusal.code());
    let odd = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
    );
    match (refusal.error, code) {
        (None, _) | (_, Some(BAD_REQUEST_LEGACY | SESSION_NOT_FOUND_LEGACY)) if odd => {
            Err(Fault::WrongEra { status, detail })
        }
        (Some(error), _) => Ok(error),
        (None, _) => Err(Fault::Status { status, detail }),
    }
}
