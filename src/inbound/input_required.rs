//! `input_required` results (2026-07-28, "Multi Round-Trip Requests") that modern clients get: those that we write for
//! what a legacy upstream asks, and those of modern upstreams, which must not ask what a client did not declare.

use serde_json::{Map, Value, json};

use super::Text;
use super::fault::Fault;
use crate::exchange::Client;
use crate::limits::QUESTIONS_PER_CALL_MAX;
use crate::protocol::error::{INTERNAL_ERROR, RpcError};
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, RpcId};
use crate::protocol::method::Method;
use crate::protocol::splice::Splice;

/// Writes a response that asks.
pub(super) fn response(id: &RpcId, requests: &Raw, state: &Raw) -> Option<Text> {
    let result = format!(
        r#"{{"resultType":"input_required","inputRequests":{},"requestState":{}}}"#,
        requests.as_str(),
        state.as_str(),
    );
    Some(message::response(id, &Raw::parse(&result.into()).ok()?))
}

/// Returns parameters of a question as modern clients know them: a url elicitation has no id of its own there.
pub(super) fn modern_params(params: &Object) -> Option<Raw> {
    if !params.has("elicitationId") {
        return Some(params.raw());
    }
    let mut splice = Splice::new(params.raw().as_bytes());
    splice.remove(params, &["elicitationId"]);
    Raw::parse(&splice.done()).ok()
}

/// Checks that an upstream's result asks nothing but what the client declared.
///
/// # Errors
/// What the upstream should have said instead: the capabilities that are missing.
pub(super) fn check(client: &Client, result: &Object) -> Result<(), Fault> {
    if result.string("resultType").as_deref() != Some("input_required") {
        return Ok(());
    }
    let Some(requests) = result.object("inputRequests") else {
        return Ok(());
    };
    let mut missing = Map::new();
    for (_, request) in requests.entries() {
        let Ok(request) = request.object() else { continue };
        let method = Method::parse(&request.string("method").unwrap_or_default());
        let params = request.object("params");
        if !client.can_answer(method, params.as_ref()) {
            add_needed(&mut missing, method, params.as_ref());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Fault::missing_capability(missing.into()))
}

/// Notes what a client must declare to be asked. Questions of extensions are theirs to judge.
fn add_needed(missing: &mut Map<String, Value>, method: Method, params: Option<&Object>) {
    let (capability, detail) = match method {
        Method::ElicitationCreate if mode_is_url(params) => ("elicitation", Some("url")),
        Method::ElicitationCreate => ("elicitation", Some("form")),
        Method::SamplingCreateMessage if params.is_some_and(|params| params.has("tools")) => {
            ("sampling", Some("tools"))
        }
        Method::SamplingCreateMessage => ("sampling", None),
        Method::RootsList => ("roots", None),
        _ => return,
    };
    let entry = missing.entry(capability).or_insert_with(|| json!({}));
    if let (Some(entry), Some(detail)) = (entry.as_object_mut(), detail) {
        entry.insert(detail.to_owned(), json!({}));
    }
}

fn mode_is_url(params: Option<&Object>) -> bool {
    params.and_then(|params| params.string("mode")).as_deref() == Some("url")
}

/// Makes `inputRequests` of what a legacy upstream says with -32042: URLs to be visited before the call is tried again
/// (2025-11-25, Elicitation, "URL Elicitation Required Error"). `None` when it names none.
pub(super) fn url_requests(error: &RpcError) -> Option<Raw> {
    let requests: Vec<String> = visits(error)
        .iter()
        .filter_map(modern_params)
        .enumerate()
        .map(|(n, params)| {
            format!(
                r#""q{}":{{"method":"elicitation/create","params":{}}}"#,
                n + 1,
                params.as_str()
            )
        })
        .collect();
    let text = format!("{{{}}}", requests.join(","));
    Raw::parse(&text.into()).ok().filter(|_| !requests.is_empty())
}

/// Writes -32042 for clients of a revision that has no such code: a person can still read where to go.
pub(super) fn for_older(error: &RpcError) -> RpcError {
    let urls: Vec<String> = visits(error)
        .iter()
        .filter_map(|params| params.string("url"))
        .collect();
    RpcError {
        code: INTERNAL_ERROR,
        message: format!("{}; first open {}", error.message, urls.join(" and ")),
        data: error.data.clone(),
    }
}

/// Reads the url elicitations of a -32042.
fn visits(error: &RpcError) -> Vec<Object> {
    let data = error.data.as_ref().and_then(|data| data.object().ok());
    let elicitations = data.and_then(|data| data.get("elicitations")?.array());
    elicitations
        .into_iter()
        .flatten()
        .take(QUESTIONS_PER_CALL_MAX)
        .filter_map(|params| params.object().ok())
        .filter(|params| mode_is_url(Some(params)) && params.has("url"))
        .collect()
}

/// Tells whether a retry says that a URL will not be visited. What it leaves out is asked again by the upstream.
pub(super) fn declines(answers: Option<&Object>) -> bool {
    let action = |answer: Raw| answer.object().ok()?.string("action");
    answers.is_some_and(|answers| {
        answers
            .entries()
            .any(|(_, answer)| action(answer).as_deref() != Some("accept"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &'static str) -> Object {
        Raw::literal(text).object().unwrap()
    }

    #[test]
    fn urls_to_visit_become_requests_without_the_ids_of_the_other_era() {
        let mut error = RpcError::new(-32042, "visit");
        assert!(url_requests(&error).is_none());
        error.data = Some(Raw::literal(
            r#"{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://a/","message":"A"},7,{"mode":"form"}]}"#,
        ));
        assert_eq!(
            url_requests(&error).unwrap().as_str(),
            r#"{"q1":{"method":"elicitation/create","params":{"mode":"url","url":"https://a/","message":"A"}}}"#
        );
        let older = for_older(&error);
        assert_eq!(
            (older.code, &*older.message),
            (-32603, "visit; first open https://a/")
        );
        assert_eq!(older.data, error.data);
        error.data = Some(Raw::literal(r#"{"elicitations":[]}"#));
        assert!(url_requests(&error).is_none());
    }

    #[test]
    fn anything_but_accept_declines_and_nothing_does_not() {
        assert!(!declines(None));
        assert!(!declines(Some(&object("{}"))));
        assert!(!declines(Some(&object(r#"{"q1":{"action":"accept"}}"#))));
        assert!(declines(Some(&object(r#"{"q1":{"action":"decline"}}"#))));
        assert!(declines(Some(&object(r#"{"q1":7}"#))));
    }
}
