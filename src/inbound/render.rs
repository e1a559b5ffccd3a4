//! An upstream's answer in the client's era. Same era and same id: the bytes that came.
//! Across eras a result gets or loses `resultType`, `ttlMs`, `cacheScope` and `serverInfo`; nothing else changes.

use bytes::Bytes;
use http::StatusCode;

use super::era::Spoken;
use super::fault;
use crate::exchange::Answer;
use crate::protocol::error::RpcError;
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, Outcome, Request};
use crate::protocol::meta;
use crate::protocol::method::Method;
use crate::protocol::splice::Splice;
use crate::protocol::version::Era;
use crate::upstream::outgoing::implementation;

/// What only a modern result carries.
const MODERN_MEMBERS: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

/// Writes an answer to a request. `held` are members of the result that the client holds and hands back: they take the
/// place of what the upstream gave.
pub(super) fn answer(
    request: &Request,
    answer: &Answer,
    spoken: Spoken,
    held: &[(&str, Raw)],
) -> (StatusCode, Bytes) {
    match &answer.response.outcome {
        Outcome::Error(error) => error_answer(request, answer, error, spoken),
        Outcome::Result(result) => {
            let mut splice = Splice::new(&answer.response.raw);
            if let Some(id) = &answer.response.id {
                splice.replace(id.raw(), request.id.raw());
            }
            match (spoken, answer.era) {
                (Spoken::Legacy, Era::Modern) => to_legacy(&mut splice, result),
                (Spoken::Modern, Era::Legacy) => to_modern(&mut splice, result, request.method),
                _ => {}
            }
            for (key, value) in held {
                if let Some(old) = result.get(key) {
                    splice.replace(&old, value);
                }
            }
            (StatusCode::OK, splice.done())
        }
    }
}

fn error_answer(request: &Request, answer: &Answer, error: &RpcError, spoken: Spoken) -> (StatusCode, Bytes) {
    let uri = request.params.as_ref().and_then(|params| params.string("uri"));
    let uri = uri.filter(|_| request.method == Method::ResourcesRead);
    if let Some(translated) = fault::translated(error, spoken, uri.as_deref()) {
        let status = fault::status_of(translated.code, spoken);
        return (status, message::error_response(Some(&request.id), &translated));
    }
    let status = fault::status_of(error.code, spoken);
    let Some(id) = &answer.response.id else {
        return (status, message::error_response(Some(&request.id), error));
    };
    let mut splice = Splice::new(&answer.response.raw);
    splice.replace(id.raw(), request.id.raw());
    (status, splice.done())
}

fn to_legacy(splice: &mut Splice, result: &Object) {
    let Some(meta) = result.object("_meta") else {
        return splice.remove(result, &MODERN_MEMBERS);
    };
    let ours = meta.keys().all(|key| key == meta::SERVER_INFO);
    if ours {
        return splice.remove(result, &[&MODERN_MEMBERS[..], &["_meta"]].concat());
    }
    splice.remove(result, &MODERN_MEMBERS);
    splice.remove(&meta, &[meta::SERVER_INFO]);
}

fn to_modern(splice: &mut Splice, result: &Object, method: Method) {
    let complete = Raw::literal(r#""complete""#);
    let (zero, private) = (Raw::literal("0"), Raw::literal(r#""private""#));
    let mut added: Vec<(&str, &Raw)> = vec![("resultType", &complete)];
    if method == Method::ResourcesRead {
        added.extend([("ttlMs", &zero), ("cacheScope", &private)]);
    }
    added.retain(|(key, _)| !result.has(key));
    let server_info = implementation();
    let fresh_meta =
        Raw::of(&serde_json::json!({ meta::SERVER_INFO: server_info.read::<serde_json::Value>() }));
    match result.object("_meta") {
        Some(meta) if !meta.has(meta::SERVER_INFO) => {
            splice.insert(&meta, &[(meta::SERVER_INFO, &server_info)]);
        }
        Some(_) => {}
        None if result.has("_meta") => {}
        None => added.push(("_meta", &fresh_meta)),
    }
    splice.insert(result, &added);
}
