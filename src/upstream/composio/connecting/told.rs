//! How a client that cannot be sent to a page by a question is told where its user goes: in a text after what the tool
//! said, and in `_meta` for programs. What the tool said keeps its bytes.

use bytes::Bytes;
use serde_json::json;
use url::Url;

use crate::exchange::Answer;
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{self, Message, Outcome, Response};
use crate::protocol::splice::Splice;

/// For programs: where the user goes for which toolkit.
const META: &str = "toolgate/connect";

/// What is said of one toolkit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) toolkit: String,
    pub(super) how: How,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The user has to go there.
    Go(Url),
    /// It is connected by now.
    Connected,
    /// No link could be made.
    Not(String),
}

/// Returns the answer with what there is to say.
pub(super) fn with(answer: Answer, told: &[Told]) -> Answer {
    if told.is_empty() {
        return answer;
    }
    let text = text(told);
    let block = json!({ "type": "text", "text": text }).to_string();
    let links: Vec<_> = told
        .iter()
        .filter_map(|told| match &told.how {
            How::Go(url) => Some(json!({ "toolkit": told.toolkit, "url": url.as_str() })),
            _ => None,
        })
        .collect();
    let links = (!links.is_empty()).then(|| Raw::of(&links));
    let written = match &answer.response.outcome {
        Outcome::Result(result) => extended(&answer.response, result, &block, links.as_ref()),
        Outcome::Error(error) => {
            let said = json!({ "type": "text", "text": error.message }).to_string();
            let meta = links.map(|links| format!(r#","_meta":{{"{META}":{}}}"#, links.as_str()));
            let text = format!(
                r#"{{"content":[{said},{block}],"isError":true{}}}"#,
                meta.unwrap_or_default()
            );
            let result = Raw::parse(&Bytes::from(text)).ok();
            let id = answer.response.id.as_ref();
            result.zip(id).map(|(result, id)| message::response(id, &result))
        }
    };
    match written.map(Message::parse) {
        Some(Ok(Message::Response(response))) => Answer { response, ..answer },
        _ => answer,
    }
}

fn extended(response: &Response, result: &Object, block: &str, links: Option<&Raw>) -> Option<Bytes> {
    let content = result.get("content")?;
    let inner = content.as_str().strip_prefix('[')?.strip_suffix(']')?;
    let comma = if inner.trim().is_empty() { "" } else { "," };
    let content_new = Raw::parse(&Bytes::from(format!("[{inner}{comma}{block}]"))).ok()?;
    let mut splice = Splice::new(&response.raw);
    splice.replace(&content, &content_new);
    if let Some(links) = links {
        match result.object("_meta") {
            Some(meta) => splice.set(&meta, META, links),
            None if result.has("_meta") => {}
            None => {
                let meta = Raw::parse(&Bytes::from(format!(r#"{{"{META}":{}}}"#, links.as_str()))).ok()?;
                splice.insert(result, &[("_meta", &meta)]);
            }
        }
    }
    Some(splice.done())
}

fn text(told: &[Told]) -> String {
    let lines = told.iter().map(|told| {
        let toolkit = &told.toolkit;
        match &told.how {
            How::Go(url) => format!(
                "{toolkit} is not connected. Ask the user to open {url} and allow it (the link is good for 10 minutes), then call again."
            ),
            How::Connected => format!("{toolkit} is connected by now. What failed for want of it can be called again."),
            How::Not(why) => format!("{toolkit} is not connected, and no link could be made: {why}"),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::protocol::version::Era;

    fn answer(text: &'static str) -> Answer {
        let Ok(Message::Response(response)) = Message::parse(Bytes::from_static(text.as_bytes())) else {
            panic!("a response")
        };
        Answer {
            response,
            era: Era::Legacy,
        }
    }

    fn go() -> Told {
        let how = How::Go("https://c.example/l?a=1&b=2".parse().unwrap());
        Told {
            toolkit: "gmail".to_owned(),
            how,
        }
    }

    #[test]
    fn a_result_keeps_its_bytes_and_gets_a_text_and_a_link_for_programs() {
        let before = r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":[{"type":"text","text":"{\u0022n\u0022:1e99}"}],"x":1.50}}"#;
        let after = with(answer(before), &[go()]).response.raw;
        let after = std::str::from_utf8(&after).unwrap();
        assert!(
            after.contains(r#"{"type":"text","text":"{\u0022n\u0022:1e99}"},{"#),
            "{after}"
        );
        let value: Value = serde_json::from_str(after).unwrap();
        let text = value["result"]["content"][1]["text"].as_str().unwrap();
        assert!(
            text.contains("https://c.example/l?a=1&b=2") && text.contains("gmail"),
            "{text}"
        );
        let link = &value["result"]["_meta"]["toolgate/connect"][0];
        assert_eq!(
            *link,
            json!({ "toolkit": "gmail", "url": "https://c.example/l?a=1&b=2" })
        );
        assert_eq!(value["result"]["x"], 1.5);
    }

    #[test]
    fn a_meta_that_is_there_keeps_what_it_has() {
        let before = r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"a":1},"content":[]}}"#;
        let after: Value = serde_json::from_slice(&with(answer(before), &[go()]).response.raw).unwrap();
        assert_eq!(after["result"]["_meta"]["a"], 1);
        assert!(after["result"]["_meta"]["toolgate/connect"].is_array());
        assert_eq!(after["result"]["content"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn an_error_becomes_a_failed_result_that_says_where_to_go() {
        let before = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"no account"}}"#;
        let told = [
            go(),
            Told {
                toolkit: "x".to_owned(),
                how: How::Connected,
            },
        ];
        let after: Value = serde_json::from_slice(&with(answer(before), &told).response.raw).unwrap();
        assert_eq!(
            (&after["id"], &after["result"]["isError"]),
            (&json!(7), &json!(true))
        );
        assert_eq!(after["result"]["content"][0]["text"], "no account");
        assert_eq!(
            after["result"]["_meta"]["toolgate/connect"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}
