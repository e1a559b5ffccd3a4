//! What a modern request must carry, and that its headers say the same as its body (2026-07-28, Transports, "Request
//! Headers"; Basic, "_meta"). Strict: a request that two readers could take differently is refused.

use http::{HeaderMap, HeaderName};

use super::era;
use super::fault::Fault;
use crate::catalog::route::Route;
use crate::protocol::headers::{self, decode_value};
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::Request;
use crate::protocol::meta::{self, LogLevel};
use crate::protocol::method::Method;
use crate::protocol::version::{Era, ProtocolVersion};

/// What a modern request says about its client.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) capabilities: Raw,
    pub(super) info: Option<Raw>,
    pub(super) log_level: Option<LogLevel>,
}

/// Checks a request and returns what it declares.
pub(super) fn declared(headers: &HeaderMap, request: &Request) -> Result<Declared, Fault> {
    let meta = request.meta.as_ref();
    let in_body = meta.and_then(|meta| meta.get(meta::PROTOCOL_VERSION));
    let in_header =
        era::version(headers).ok_or_else(|| Fault::header_mismatch("MCP-Protocol-Version is missing"))?;
    if let Some(version) = &in_body {
        let Some(text) = version.string() else {
            return Err(Fault::missing_meta(meta::PROTOCOL_VERSION));
        };
        if text != in_header {
            return Err(Fault::header_mismatch(
                "MCP-Protocol-Version is not the version in `_meta`",
            ));
        }
    }
    if ProtocolVersion::parse(&in_header).map(ProtocolVersion::era) != Some(Era::Modern) {
        return Err(Fault::unsupported_version(&in_header));
    }
    method_and_name(headers, request)?;
    let Some(meta) = meta.filter(|_| in_body.is_some()) else {
        return Err(Fault::missing_meta(meta::PROTOCOL_VERSION));
    };
    let object = |key| meta.get(key).filter(|value| value.as_str().starts_with('{'));
    let capabilities = object(meta::CLIENT_CAPABILITIES);
    let capabilities = capabilities.ok_or_else(|| Fault::missing_meta(meta::CLIENT_CAPABILITIES))?;
    Ok(Declared {
        capabilities,
        info: object(meta::CLIENT_INFO),
        log_level: log_level(meta)?,
    })
}

fn log_level(meta: &Object) -> Result<Option<LogLevel>, Fault> {
    let Some(given) = meta.get(meta::LOG_LEVEL) else {
        return Ok(None);
    };
    let level = given.string().and_then(|level| LogLevel::parse(&level));
    level
        .map(Some)
        .ok_or_else(|| Fault::invalid_params("Invalid params: unknown log level"))
}

fn method_and_name(headers: &HeaderMap, request: &Request) -> Result<(), Fault> {
    let method = request.method_name.string().unwrap_or_default();
    if single(headers, &headers::METHOD)?.as_deref() != Some(&*method) {
        return Err(Fault::header_mismatch(
            "Mcp-Method is missing or not the method of the body",
        ));
    }
    let key = match request.method {
        Method::ToolsCall | Method::PromptsGet => "name",
        Method::ResourcesRead => "uri",
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => "taskId",
        _ => return Ok(()),
    };
    let in_body = request.params.as_ref().and_then(|params| params.string(key));
    let in_header = single(headers, &headers::NAME)?;
    // Without a name the parameters are wrong, which is for the method to say.
    if in_body.is_some() && in_header != in_body {
        return Err(Fault::header_mismatch(
            "Mcp-Name is missing or not the name in the body",
        ));
    }
    Ok(())
}

/// Reads a header that may be there once.
fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Fault> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Fault::header_mismatch(&format!("{name} is there twice")));
    }
    let Some(value) = first else { return Ok(None) };
    decode_value(value)
        .map(Some)
        .ok_or_else(|| Fault::header_mismatch(&format!("{name} is malformed")))
}

/// Checks the headers that mirror arguments of a tool.
pub(super) fn param_headers(headers: &HeaderMap, request: &Request, route: &Route) -> Result<(), Fault> {
    if route.param_headers.is_empty() {
        return Ok(());
    }
    let arguments = request.params.as_ref().and_then(|params| params.get("arguments"));
    let arguments = arguments.unwrap_or(Raw::literal("{}"));
    match route
        .param_headers
        .iter()
        .find(|param| !param.agrees(headers, &arguments))
    {
        None => Ok(()),
        Some(param) => Err(Fault::header_mismatch(&format!(
            "{} is not what the arguments say",
            param.header()
        ))),
    }
}
