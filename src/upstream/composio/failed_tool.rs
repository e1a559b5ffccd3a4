//! A tool that failed inside a success: Composio answers `{"successful": false, …}` as the text of a result without
//! `isError`. Clients and the record are told by the flag; not a byte of the content changes.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::exchange::Answer;
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{Message, Outcome};
use crate::protocol::splice::Splice;

/// What every result of Composio's tools begins from; whatever else there is may be anything.
#[derive(Deserialize)]
struct Said {
    successful: Option<bool>,
    #[serde(default)]
    error: Option<Problem>,
    result_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Problem {
    Text(String),
    Other(IgnoredAny),
}

/// Returns the answer with `isError`, if its text says that the tool failed.
pub(super) fn marked(answer: Answer) -> Answer {
    let Outcome::Result(result) = &answer.response.outcome else {
        return answer;
    };
    if !may_hold_json(&answer.response.raw)
        || result.get("isError").and_then(|flag| flag.bool()) == Some(true)
        || !says_failed(result)
    {
        return answer;
    }
    let mut splice = Splice::new(&answer.response.raw);
    splice.set(result, "isError", &Raw::literal("true"));
    match Message::parse(splice.done()) {
        Ok(Message::Response(response)) => Answer { response, ..answer },
        _ => answer,
    }
}

/// Tells whether a text in an answer can be a JSON object that has members: the quotes around their names are escaped
/// where they stand within a text.
pub(super) fn may_hold_json(answer: &[u8]) -> bool {
    memchr::memchr(b'\\', answer).is_some()
}

/// A large answer comes in several blocks of text, which are one JSON text together.
fn says_failed(result: &Object) -> bool {
    let blocks = result.get("content").and_then(|content| content.array());
    let mut text = String::new();
    for block in blocks.into_iter().flatten() {
        let Ok(block) = block.object() else { continue };
        if block.string("type").as_deref() == Some("text") {
            text.push_str(&block.string("text").unwrap_or_default());
        }
    }
    // A list would be read by the places of its items.
    if !text.trim_start().starts_with('{') {
        return false;
    }
    let Ok(said) = serde_json::from_str::<Said>(&text) else {
        return false;
    };
    match (said.successful, said.result_type.as_deref()) {
        (Some(successful), _) => !successful,
        (None, Some("failed" | "blocked")) => true,
        (None, Some(_)) => false,
        (None, None) => match said.error {
            Some(Problem::Text(error)) => !error.is_empty(),
            Some(Problem::Other(_)) | None => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::version::Era;

    fn answer(result: &str) -> Answer {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let Ok(Message::Response(response)) = Message::parse(Bytes::from(text)) else {
            panic!("a response")
        };
        Answer {
            response,
            era: Era::Legacy,
        }
    }

    fn raw(answer: &Answer) -> String {
        String::from_utf8(answer.response.raw.to_vec()).unwrap()
    }

    fn said(texts: &[&str]) -> String {
        let blocks: Vec<Value> = texts
            .iter()
            .map(|text| json!({ "type": "text", "text": text }))
            .collect();
        json!({ "content": blocks }).to_string()
    }

    #[test]
    fn a_tool_that_failed_is_an_error_and_its_content_stays_as_it_came() {
        let result = r#"{ "content" : [{"text":"{\"successful\":false,\"big\":1e400,\"error\":\"no\"}","type":"text"}] }"#;
        let marked = marked(answer(result));
        let right = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"isError":true,{}}}"#,
            &result[1..]
        );
        assert_eq!(raw(&marked), right);
        assert!(marked.error_type().is_some());
    }

    #[test]
    fn what_says_nothing_of_a_failure_passes_as_it_is() {
        for text in [
            r#"{"successful":true,"data":{},"error":null}"#,
            r#"{"successful":true,"data":{"successful":false},"error":"a part failed"}"#,
            r#"{"data":{},"error":null}"#,
            r#"{"data":{},"error":""}"#,
            r#"{"data":{},"error":{"a":1}}"#,
            r#"{"result_type":"completed","error":"odd"}"#,
            "successful: false",
            "[]",
            r#"[false,"no",null]"#,
            "",
        ] {
            let before = answer(&said(&[text]));
            let bytes = raw(&before);
            assert_eq!(raw(&marked(before)), bytes, "{text}");
        }
        let before = answer(r#"{"content":[],"structuredContent":{"successful":false}}"#);
        let bytes = raw(&before);
        assert_eq!(raw(&marked(before)), bytes);
    }

    #[test]
    fn every_way_of_saying_it_is_understood() {
        for texts in [
            vec![r#"{"successful":false,"data":{},"error":"no"}"#],
            vec![r#"{"data":{},"successful":"#, "false}"],
            vec![r#"{"data":{},"error":"no"}"#],
            vec![r#"{"result_type":"failed","data":{}}"#],
            vec![r#"{"result_type":"blocked","message":"by a hook"}"#],
        ] {
            assert!(marked(answer(&said(&texts))).error_type().is_some(), "{texts:?}");
        }
        let already = r#"{"isError":true,"content":[]}"#;
        assert_eq!(raw(&marked(answer(already))), raw(&answer(already)));
        let flagged = r#"{"isError":false,"content":[{"type":"text","text":"{\"successful\":false}"}]}"#;
        assert!(raw(&marked(answer(flagged))).contains(r#""isError":true"#));
    }
}
