//! Finds out which era an upstream speaks (2026-07-28, Versioning, "Backward Compatibility"). Only an answer that a
//! legacy server gives makes it legacy: refused credentials, faults and time-outs never do, they are errors.

use http::StatusCode;

use super::fault::Fault;
use super::link::Link;
use super::own::{self, Outcome};
use super::wire::{Refusal, Reply, Wire};
use crate::protocol::error::{HEADER_MISMATCH, MISSING_CAPABILITY, RpcError, UNSUPPORTED_VERSION};
use crate::protocol::json::Raw;
use crate::protocol::message;
use crate::protocol::method::Method;
use crate::upstream::handshake::{self, Handshake, HandshakeError};
use crate::upstream::outgoing;

/// What `server/discover` shows.
#[derive(Clone, Debug)]
pub(super) enum Discovered {
    Modern(Handshake),
    /// `initialize` is worth a try.
    Legacy,
}

/// Asks `server/discover`.
pub(super) async fn discover(link: &Link) -> Result<Discovered, Fault> {
    let id = link.own_id();
    let body = outgoing::own_modern_request(&id, Method::Discover, &[], &Raw::literal("{}"));
    let headers = outgoing::modern_headers_of(Method::Discover.as_str());
    let outcome = match own::ask(link, &id, body, &headers, &|_| ()).await {
        Ok(outcome) => outcome,
        // A page, an empty answer, something else in the place of a message: not a modern server.
        Err(Fault::ContentType { .. } | Fault::NotAMessage(_)) => return Ok(Discovered::Legacy),
        Err(fault) => return Err(fault),
    };
    match outcome {
        Outcome::Nothing => Ok(Discovered::Legacy),
        Outcome::Response(response, _) => match response.outcome {
            message::Outcome::Result(result) => match Handshake::of_discover(&result) {
                Ok(handshake) => Ok(Discovered::Modern(handshake)),
                Err(HandshakeError::OnlyLegacy | HandshakeError::Missing(_)) => Ok(Discovered::Legacy),
                Err(error) => Err(error.into()),
            },
            message::Outcome::Error(error) => error_says(&error).unwrap_or(Ok(Discovered::Legacy)),
        },
        Outcome::Refused(refusal) => refusal_says(refusal),
    }
}

fn refusal_says(refusal: Refusal) -> Result<Discovered, Fault> {
    if let Some(message::Outcome::Error(error)) = refusal.error.as_ref().map(|error| &error.outcome)
        && let Some(said) = error_says(error)
    {
        return said;
    }
    // Refused for now, not for good.
    let later = matches!(
        refusal.status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY
    );
    if refusal.status.is_server_error() || later {
        return Err(refusal.into_fault());
    }
    Ok(Discovered::Legacy)
}

/// Reads an error that only a modern server gives; `None` for any other.
fn error_says(error: &RpcError) -> Option<Result<Discovered, Fault>> {
    match error.code {
        UNSUPPORTED_VERSION => Some(match handshake::mutual_modern(&supported(error)) {
            Err(HandshakeError::OnlyLegacy) => Ok(Discovered::Legacy),
            // It names the revision that we asked in, and refused it all the same.
            Ok(_) => Err(refused(error)),
            Err(error) => Err(error.into()),
        }),
        HEADER_MISMATCH | MISSING_CAPABILITY => Some(Err(refused(error))),
        _ => None,
    }
}

fn refused(error: &RpcError) -> Fault {
    Fault::Refused {
        method: Method::Discover.as_str(),
        error: error.clone(),
    }
}

fn supported(error: &RpcError) -> Vec<String> {
    let named = (error.data.as_ref())
        .and_then(|data| data.object().ok())
        .and_then(|data| data.get("supported")?.array());
    named
        .into_iter()
        .flatten()
        .filter_map(|version| version.string().map(std::borrow::Cow::into_owned))
        .collect()
}

/// Tells whether a GET is answered with the `endpoint` event of 2024-11-05.
pub(super) async fn speaks_old_sse(wire: &Wire) -> bool {
    let Ok(Reply::Events(mut stream)) = wire.get(&http::HeaderMap::new()).await else {
        return false;
    };
    let first = tokio::time::timeout(crate::limits::CONNECT_TIMEOUT, stream.next_event()).await;
    matches!(first, Ok(Ok(Some(event))) if event.event == "endpoint")
}
