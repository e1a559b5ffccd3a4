//! A client's message made fit for an upstream of either era, by splices: names, ids, tokens, `_meta`.
//! (2026-07-28, Basic, "_meta"; facts on translation: what one era has and the other has not.)

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::catalog::route::Route;
use crate::exchange::Call;
use crate::protocol::headers;
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, Message, Request, RpcId};
use crate::protocol::meta;
use crate::protocol::method::Method;
use crate::protocol::splice::Splice;
use crate::protocol::version::{Era, ProtocolVersion};

/// What only a modern request carries.
const MODERN_META: [&str; 4] = [
    meta::PROTOCOL_VERSION,
    meta::CLIENT_CAPABILITIES,
    meta::CLIENT_INFO,
    meta::LOG_LEVEL,
];
const MODERN_PARAMS: [&str; 2] = ["inputResponses", "requestState"];

/// Ids that replace the client's where a link is shared by several clients. `None` leaves the client's own.
#[derive(Clone, Debug, Default)]
pub struct Mapped {
    /// The request's id.
    pub id: Option<RpcId>,
    /// Its progress token; only put in where the client gave one.
    pub progress_token: Option<Raw>,
}

/// What a retry carries beside the request itself. It needs a new id.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    /// `inputResponses`; `None` when nothing was asked.
    pub responses: Option<Raw>,
    /// `requestState`, as it came.
    pub state: Option<Raw>,
}

/// Writes the message for a legacy upstream.
#[must_use]
pub fn legacy(route: &Route, call: &Call, mapped: &Mapped) -> Bytes {
    let with_meta = call.traceparent.as_ref().map(|_| with_meta(&call.request));
    let request = with_meta.as_ref().unwrap_or(&call.request);
    let mut splice = Splice::new(&request.raw);
    rename(&mut splice, route, request);
    map(&mut splice, request, mapped);
    if let Some(params) = &request.params {
        splice.remove(params, &MODERN_PARAMS);
    }
    match (&request.meta, &call.traceparent) {
        (Some(meta), Some(traceparent)) => {
            let removed: Vec<&str> = MODERN_META.into_iter().chain([meta::TRACEPARENT]).collect();
            let traceparent = Raw::from(traceparent.as_str());
            splice.rework(meta, &removed, &[(meta::TRACEPARENT, &traceparent)]);
        }
        (Some(meta), None) => splice.remove(meta, &MODERN_META),
        (None, _) => {}
    }
    splice.done()
}

/// Writes the message for a modern upstream. A legacy client's session data becomes `_meta`.
#[must_use]
pub fn modern(route: &Route, call: &Call, mapped: &Mapped) -> Bytes {
    let state = call.request_state.as_ref();
    write_modern(route, call, mapped, &["requestState"], None, state)
}

/// Writes the message again with what the upstream asked for; `mapped` must give it a new id.
#[must_use]
pub fn modern_retry(route: &Route, call: &Call, mapped: &Mapped, retry: &Retry) -> Bytes {
    let (responses, state) = (retry.responses.as_ref(), retry.state.as_ref());
    write_modern(route, call, mapped, &MODERN_PARAMS, responses, state)
}

fn write_modern(
    route: &Route,
    call: &Call,
    mapped: &Mapped,
    removed: &[&str],
    responses: Option<&Raw>,
    state: Option<&Raw>,
) -> Bytes {
    let request = with_meta(&call.request);
    let mut splice = Splice::new(&request.raw);
    rename(&mut splice, route, &request);
    map(&mut splice, &request, mapped);
    let (Some(params), Some(meta)) = (&request.params, &request.meta) else {
        return splice.done();
    };
    let responses = responses.map(|responses| ("inputResponses", responses));
    let state = state.map(|state| ("requestState", state));
    let given: Vec<(&str, &Raw)> = responses.into_iter().chain(state).collect();
    splice.rework(params, removed, &given);
    let mut added: Vec<(&str, Raw)> = Vec::new();
    if call.client.version.era() == Era::Legacy {
        added.push((
            meta::PROTOCOL_VERSION,
            Raw::from(ProtocolVersion::MODERN_LATEST.as_str()),
        ));
        added.push((meta::CLIENT_CAPABILITIES, call.client.capabilities.clone()));
        added.extend(call.client.info.clone().map(|info| (meta::CLIENT_INFO, info)));
        added.extend(
            call.log_level
                .map(|level| (meta::LOG_LEVEL, Raw::from(level.as_str()))),
        );
    }
    if let Some(traceparent) = &call.traceparent {
        added.push((meta::TRACEPARENT, Raw::from(traceparent.as_str())));
    }
    let (there, missing): (Vec<_>, Vec<_>) = added.iter().partition(|(key, _)| meta.has(key));
    for (key, value) in there {
        splice.set(meta, key, value);
    }
    let missing: Vec<(&str, &Raw)> = missing.into_iter().map(|(key, value)| (*key, value)).collect();
    splice.insert(meta, &missing);
    splice.done()
}

/// Makes the headers of a modern call: version, method, name, mirrored arguments.
#[must_use]
pub fn modern_headers(route: &Route, request: &Request) -> HeaderMap {
    let mut found = modern_headers_of(request.method.as_str());
    if matches!(
        request.method,
        Method::ToolsCall
            | Method::PromptsGet
            | Method::ResourcesRead
            | Method::TasksGet
            | Method::TasksUpdate
            | Method::TasksCancel
    ) {
        found.insert(headers::NAME, headers::encode_value(&route.own));
    }
    if !route.param_headers.is_empty()
        && let Some(arguments) = request.params.as_ref().and_then(|params| params.get("arguments"))
    {
        found.extend(
            route
                .param_headers
                .iter()
                .filter_map(|param| param.value(&arguments)),
        );
    }
    found
}

/// Makes the headers of a modern request that has no name: version and method.
#[must_use]
pub fn modern_headers_of(method: &str) -> HeaderMap {
    let mut found = HeaderMap::with_capacity(4);
    let version = HeaderValue::from_static(ProtocolVersion::MODERN_LATEST.as_str());
    found.insert(headers::PROTOCOL_VERSION, version);
    if let Ok(method) = HeaderValue::from_str(method) {
        found.insert(headers::METHOD, method);
    }
    found
}

/// Writes a request of our own (lists, discover, ping …) with the `_meta` that a modern upstream wants.
#[must_use]
pub fn own_modern_request(id: &RpcId, method: Method, params: &[(&str, Raw)], capabilities: &Raw) -> Bytes {
    let mut members = String::new();
    for (key, value) in params {
        members.extend([",", Raw::from(*key).as_str(), ":", value.as_str()]);
    }
    let params = format!(
        r#"{{"_meta":{{"{}":"{}","{}":{},"{}":{}}}{members}}}"#,
        meta::PROTOCOL_VERSION,
        ProtocolVersion::MODERN_LATEST,
        meta::CLIENT_CAPABILITIES,
        capabilities.as_str(),
        meta::CLIENT_INFO,
        implementation().as_str(),
    );
    let method = Raw::from(method.as_str());
    Raw::parse(&Bytes::from(params)).map_or_else(
        |_| Bytes::new(),
        |params| message::request(id, &method, Some(&params)),
    )
}

/// Returns our own `Implementation` object, for what we ask and answer ourselves.
#[must_use]
pub fn implementation() -> Raw {
    Raw::literal(concat!(
        r#"{"name":"toolgate","title":"Toolgate","version":""#,
        env!("CARGO_PKG_VERSION"),
        r#""}"#
    ))
}

/// Puts the gateway's own name where the client wrote the exposed one.
fn rename(splice: &mut Splice, route: &Route, request: &Request) {
    if route.own == route.exposed {
        return;
    }
    let Some(params) = &request.params else { return };
    let own = Raw::from(&*route.own);
    match request.method {
        Method::ToolsCall | Method::PromptsGet => replace(splice, params, "name", &own),
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
            replace(splice, params, "taskId", &own);
        }
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            replace(splice, params, "uri", &own);
        }
        Method::Complete => {
            if let Some(reference) = params.object("ref") {
                replace(splice, &reference, "name", &own);
                replace(splice, &reference, "uri", &own);
            }
        }
        _ => {}
    }
}

fn replace(splice: &mut Splice, object: &Object, key: &str, with: &Raw) {
    if let Some(value) = object.get(key) {
        splice.replace(&value, with);
    }
}

fn map(splice: &mut Splice, request: &Request, mapped: &Mapped) {
    if let Some(id) = &mapped.id {
        splice.replace(request.id.raw(), id.raw());
    }
    if let (Some(token), Some(meta)) = (&mapped.progress_token, &request.meta) {
        replace(splice, meta, meta::PROGRESS_TOKEN, token);
    }
}

/// Returns the request with `params` and `_meta` objects, adding empty ones where they are missing.
fn with_meta(request: &Request) -> Request {
    if request.meta.is_some() {
        return request.clone();
    }
    let mut splice = Splice::new(&request.raw);
    match &request.params {
        Some(params) => splice.set(params, "_meta", &Raw::literal("{}")),
        None => {
            if let Some(envelope) = Raw::parse(&request.raw).ok().and_then(|raw| raw.object().ok()) {
                splice.insert(&envelope, &[("params", &Raw::literal(r#"{"_meta":{}}"#))]);
            }
        }
    }
    match Message::parse(splice.done()) {
        Ok(Message::Request(request)) => request,
        _ => request.clone(),
    }
}
