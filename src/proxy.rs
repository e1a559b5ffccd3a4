//! What a request does, once it is known who sent it and what it asks: resolve, admit, call, record.
//! Nobody here knows an era or a transport. The only way from a client's message to an upstream.

mod answer_uris;
mod asker;
mod composio_parts;
mod error;
mod executions;
mod places;

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::catalog::listing::Kind;
use crate::catalog::route::Route;
use crate::config::Transport;
use crate::exchange::{Answer, Call, CallError, Client};
use crate::identity::Principal;
use crate::ids::ExecutionId;
use crate::limits::URI_BYTES_MAX;
use crate::policy::{Permit, Policy, View};
use crate::protocol::error::{INVALID_PARAMS, RESOURCE_NOT_FOUND_LEGACY};
use crate::protocol::json::Object;
use crate::protocol::message::{Outcome, Request};
use crate::protocol::method::Method;
use crate::protocol::version::Era;
use crate::upstream::gateway::Gateway;
use crate::upstream::gateways::Gateways;

pub use self::error::ProxyError;
pub use self::executions::Recorder;
pub use self::places::{Place, Places};

/// Gateways that are asked for a URI that nobody lists, one after the other.
const READ_CANDIDATES_MAX: usize = 8;

/// Joins policy and upstreams.
#[derive(Debug)]
pub struct Proxy {
    policy: Arc<Policy>,
    gateways: Arc<Gateways>,
    places: Places,
    recorder: Recorder,
}

impl Proxy {
    /// Makes it of its two halves.
    #[must_use]
    pub fn new(policy: Arc<Policy>, gateways: Arc<Gateways>) -> Self {
        Self {
            policy,
            gateways,
            places: Places::default(),
            recorder: Recorder::off(),
        }
    }

    /// Has every call of a tool recorded.
    #[must_use]
    pub fn recording(mut self, recorder: Recorder) -> Self {
        self.recorder = recorder;
        self
    }

    /// Returns what a principal may see now.
    #[must_use]
    pub fn view(&self, principal: &Principal) -> Arc<View> {
        self.policy.view(principal)
    }

    /// Returns all gateways.
    #[must_use]
    pub fn gateways(&self) -> &Arc<Gateways> {
        &self.gateways
    }

    /// Returns the places of users' calls, which every door takes before it calls.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Carries out a request that belongs to an upstream. Cancelled by `call.cancel` or by dropping the future.
    pub async fn call(&self, call: impl Into<Box<Call>>) -> Result<Answer, ProxyError> {
        // Each step below would otherwise hold the call once more.
        let call = call.into();
        match call.request.method {
            Method::ToolsCall => self.call_tool(call, None).await,
            Method::PromptsGet => self.get_prompt(call).await,
            Method::ResourcesRead => self.read_resource(call).await,
            Method::Complete => self.complete(call).await,
            Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => self.reach_task(call).await,
            _ => Err(ProxyError::UnknownMethod),
        }
    }

    /// Carries out a call of a tool, and says under which id it was recorded; `None`: it was not. Cancelled as
    /// [`Self::call`].
    pub async fn call_recorded(
        &self,
        call: impl Into<Box<Call>>,
    ) -> (Result<Answer, ProxyError>, Option<ExecutionId>) {
        let (tell, told) = oneshot::channel();
        let outcome = self.call_tool(call.into(), Some(tell)).await;
        (outcome, self.recorder.told(told).await)
    }

    async fn call_tool(
        &self,
        mut call: Box<Call>,
        tell: Option<oneshot::Sender<ExecutionId>>,
    ) -> Result<Answer, ProxyError> {
        let name = name_of(&call.request, "name")?;
        let permit = self
            .admit(&call.client, Kind::Tool, &name)
            .ok_or(ProxyError::UnknownTool(name))?;
        self.admit_parts(permit.route(), &call)?;
        call.streams &= !self.recorder.keeps_results();
        let recording = self.recorder.begin(&call, permit.route()).await?;
        if let Some(tell) = tell {
            recording.tell(tell);
        }
        let outcome = self.forward(permit, call).await;
        recording.end(&outcome);
        outcome
    }

    /// Looks at what a tool would call in its turn, before anything is sent.
    fn admit_parts(&self, route: &Route, call: &Call) -> Result<(), ProxyError> {
        let gateway = self.gateway(route)?;
        let config = gateway.config();
        match &config.transport {
            Transport::Composio(options) => {
                let view = self.view(&call.client.principal);
                composio_parts::admit(&view, options, route, call)
            }
            _ => Ok(()),
        }
    }

    async fn get_prompt(&self, call: Box<Call>) -> Result<Answer, ProxyError> {
        let name = name_of(&call.request, "name")?;
        let permit = self
            .admit(&call.client, Kind::Prompt, &name)
            .ok_or(ProxyError::UnknownPrompt(name))?;
        self.forward(permit, call).await
    }

    /// Reads from the gateway that lists the URI or has a template for it; a URI that nobody lists is asked of those
    /// that may know it, in turn. Reading changes nothing, so asking twice does no harm.
    async fn read_resource(&self, mut call: Box<Call>) -> Result<Answer, ProxyError> {
        let uri = name_of(&call.request, "uri")?;
        let view = self.view(&call.client.principal);
        let routes = view.snapshot().resolve_uri(&uri);
        let mut permits: Vec<Permit> = routes
            .iter()
            .filter_map(|route| view.admit(&call.client.principal, route).ok())
            .collect();
        permits.truncate(READ_CANDIDATES_MAX);
        let several = permits.len() > 1;
        if let Some((gateway, state)) = call.request_state.as_ref().and_then(asker::of) {
            permits.retain(|permit| permit.route().gateway == gateway);
            call.request_state = state;
        }
        if routes.iter().any(|route| route.index.is_some())
            && let Some(permit) = permits.pop()
        {
            return self.forward(permit, call).await;
        }
        let mut failed = None;
        for (index, permit) in permits.into_iter().enumerate() {
            let gateway = permit.route().gateway.clone();
            match self.forward(permit, Box::new(call.again())).await {
                Ok(answer) if is_not_found(&answer) => {}
                Ok(answer) if several => return Ok(asker::noted(&gateway, answer)),
                Ok(answer) => return Ok(answer),
                Err(error @ ProxyError::Call(CallError::Cancelled)) => return Err(error),
                // Of the likeliest one it is not known that it has no such resource.
                Err(error) if index == 0 => failed = Some(error),
                Err(_) => {}
            }
        }
        Err(failed.unwrap_or(ProxyError::UnknownResource(uri)))
    }

    /// Asks the gateway that works on a task, if the caller may still use the tool.
    async fn reach_task(&self, call: Box<Call>) -> Result<Answer, ProxyError> {
        let exposed = name_of(&call.request, "taskId")?;
        let task = call.task.clone().ok_or(ProxyError::UnknownTask)?;
        let permit = self.admit(&call.client, Kind::Tool, &task.tool);
        let permit = permit
            .filter(|permit| permit.route().gateway == task.gateway)
            .ok_or(ProxyError::UnknownTask)?;
        self.forward(permit.for_task(&exposed, &task.own), call).await
    }

    /// Completes at the gateway that has the prompt or template which the argument belongs to.
    async fn complete(&self, call: Box<Call>) -> Result<Answer, ProxyError> {
        let reference = call
            .request
            .params
            .as_ref()
            .and_then(|params| params.object("ref"));
        let reference = reference.ok_or(ProxyError::InvalidParams("`ref` must be an object"))?;
        let text = |key| reference.string(key);
        let permit = match text("type").as_deref() {
            Some("ref/prompt") => {
                let name = text("name").ok_or(ProxyError::InvalidParams("`ref.name` must be a string"))?;
                self.admit(&call.client, Kind::Prompt, &name)
                    .ok_or(ProxyError::UnknownPrompt(name))?
            }
            Some("ref/resource") => {
                let uri = text("uri").ok_or(ProxyError::InvalidParams("`ref.uri` must be a string"))?;
                let template = self.admit(&call.client, Kind::Template, &uri);
                let permit = template.or_else(|| self.admit(&call.client, Kind::Resource, &uri));
                permit.ok_or(ProxyError::UnknownResource(uri))?
            }
            _ => {
                return Err(ProxyError::InvalidParams(
                    "`ref.type` must be ref/prompt or ref/resource",
                ));
            }
        };
        self.forward(permit, call).await
    }

    /// Starts telling a client's outbox of changes of a resource. Returns the route that is watched: notifications
    /// carry the exposed URI, or the gateway's own of something below.
    pub async fn watch_resource(&self, client: &Arc<Client>, uri: &str) -> Result<Arc<Route>, ProxyError> {
        let view = self.view(&client.principal);
        if uri.len() > URI_BYTES_MAX {
            return Err(ProxyError::InvalidParams("a URI is too long"));
        }
        let routes = view.snapshot().resolve_uri(uri);
        let permit = routes
            .iter()
            .find_map(|route| view.admit(&client.principal, route).ok());
        let permit = permit.ok_or_else(|| ProxyError::UnknownResource(uri.to_owned()))?;
        let route = permit.route().clone();
        self.gateway(&route)?.watch_resource(permit, client).await?;
        Ok(route)
    }

    /// Ends that. Needs no permit: what was given may be taken back.
    pub async fn unwatch_resource(&self, client: &Arc<Client>, route: &Route) -> Result<(), ProxyError> {
        Ok(self.gateway(route)?.unwatch_resource(route, client).await?)
    }

    /// Finds a name and proves that the client may use it. `None` for refused and unknown alike.
    fn admit(&self, client: &Client, kind: Kind, name: &str) -> Option<Permit> {
        let view = self.view(&client.principal);
        let route = view.snapshot().resolve(kind, name)?;
        match view.admit(&client.principal, route) {
            Ok(permit) => Some(permit),
            Err(rule) => {
                tracing::debug!(gateway.id = %route.gateway, ?rule, "refused as unknown");
                None
            }
        }
    }

    async fn forward(&self, permit: Permit, mut call: Box<Call>) -> Result<Answer, ProxyError> {
        let route = permit.route().clone();
        call.streams &= !answer_uris::maps(self.view(&call.client.principal).snapshot(), &route);
        let gateway = self.gateway(&route)?;
        let (method, principal) = (call.request.method, call.client.principal.clone());
        // Only a modern upstream can find our headers out of date, and has then not looked at the call.
        let spare = (gateway.era() == Some(Era::Modern)).then(|| Box::new(call.again()));
        let mut outcome = gateway.call(permit, call).await;
        if let (Err(CallError::Stale { .. }), Some(call)) = (&outcome, spare) {
            tokio::select! {
                biased;
                () = call.cancel.cancelled() => return Err(CallError::Cancelled.into()),
                () = gateway.refreshed() => {}
            }
            let view = self.view(&principal);
            let fresh = view
                .snapshot()
                .resolve(route.kind, &route.exposed)
                .filter(|fresh| fresh.gateway == route.gateway)
                .unwrap_or(&route);
            if let Ok(permit) = view.admit(&principal, fresh) {
                outcome = gateway.call(permit, call).await;
            }
        }
        let view = self.view(&principal);
        Ok(answer_uris::exposed(view.snapshot(), &route, method, outcome?))
    }

    fn gateway(&self, route: &Route) -> Result<Arc<Gateway>, ProxyError> {
        let id = &route.gateway;
        let gone = || CallError::Unavailable {
            gateway: id.clone(),
            reason: "it is no longer configured".to_owned(),
        };
        Ok(self.gateways.get(id).ok_or_else(gone)?)
    }
}

fn name_of(request: &Request, key: &'static str) -> Result<String, ProxyError> {
    let wrong = match key {
        "uri" => "`uri` must be a string",
        "taskId" => "`taskId` must be a string",
        _ => "`name` must be a string",
    };
    let name = request
        .params
        .as_ref()
        .and_then(|params: &Object| params.string(key))
        .ok_or(ProxyError::InvalidParams(wrong))?;
    // Nothing that is listed is longer: it would be compared with all of it, and said back in the error.
    if key != "taskId" && name.len() > URI_BYTES_MAX {
        return Err(ProxyError::InvalidParams("a name is too long"));
    }
    Ok(name)
}

fn is_not_found(answer: &Answer) -> bool {
    match &answer.response.outcome {
        Outcome::Error(error) => matches!(error.code, RESOURCE_NOT_FOUND_LEGACY | INVALID_PARAMS),
        Outcome::Result(_) => false,
    }
}

#[cfg(test)]
mod tests;
