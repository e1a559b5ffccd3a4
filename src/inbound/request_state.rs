//! `requestState` as modern clients hold it: sealed, bound to the principal, the request and its arguments, with an
//! expiry (2026-07-28, "Multi Round-Trip Requests"). Hostile input until it has opened.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock;
use crate::identity::Principal;
use crate::limits::SEALED_AGE_MAX;
use crate::protocol::json::Raw;
use crate::protocol::message::Request;
use crate::seal::{Purpose, Sealer};

const UPSTREAM: u8 = b'u';
const PARKED: u8 = b'p';
const VISIT: u8 = b'v';

/// What a state stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// The state that the upstream gave, to be given back to it.
    Upstream(Raw),
    /// The id of a call of ours that waits for answers.
    Parked([u8; 16]),
    /// The client was sent to URLs; the call starts again afterwards.
    Visit,
}

/// Seals a state for the request that it answers.
pub(super) fn write(
    sealer: &Sealer,
    principal: &Principal,
    request: &Request,
    state: &State,
) -> Option<String> {
    let payload = match state {
        State::Upstream(raw) => [&[UPSTREAM][..], raw.as_bytes()].concat(),
        State::Parked(id) => [&[PARKED][..], id].concat(),
        State::Visit => vec![VISIT],
    };
    let expires = clock::unix_s() + SEALED_AGE_MAX.as_secs();
    sealer
        .seal(
            Purpose::RequestState,
            &binding(principal, request),
            &payload,
            expires,
        )
        .ok()
}

/// Opens the state that a retry carries; `None` when it was not made for this very request.
pub(super) fn read(sealer: &Sealer, principal: &Principal, request: &Request, text: &str) -> Option<State> {
    let payload = sealer
        .open(
            Purpose::RequestState,
            &binding(principal, request),
            text,
            clock::unix_s(),
        )
        .ok()?;
    let (tag, rest) = payload.split_first()?;
    match *tag {
        UPSTREAM => Raw::parse(&rest.to_vec().into()).ok().map(State::Upstream),
        PARKED => rest.try_into().ok().map(State::Parked),
        VISIT => rest.is_empty().then_some(State::Visit),
        _ => None,
    }
}

/// Principal, method, name and a digest of the arguments, however they are spelt.
fn binding(principal: &Principal, request: &Request) -> Vec<u8> {
    let params = request.params.as_ref();
    let text = |key: &str| params.and_then(|params| params.string(key)).unwrap_or_default();
    let arguments = params.and_then(|params| params.get("arguments"));
    let arguments = arguments.unwrap_or(Raw::literal("null"));
    // What no value holds (numbers beyond all bounds, deep nesting) counts as it is spelt.
    let arguments = arguments
        .read()
        .map_or_else(|| arguments.as_str().to_owned(), |read: Value| read.to_string());
    let mut digest = Sha256::new();
    for part in [request.method.as_str(), &text("name"), &text("uri"), &arguments] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    [principal.binding(), vec![0], digest.finalize().to_vec()].concat()
}
