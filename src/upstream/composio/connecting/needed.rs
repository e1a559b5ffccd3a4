//! Reads of an answer whether a toolkit has to be connected first. Only what Composio itself says counts: the errors of
//! tools that were not executed for want of an account, and what its own tool for connections answers.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::Value;
use url::Url;

use crate::config::{ToolPrefixes, is_meta_tool};
use crate::exchange::Answer;
use crate::integrations::composio::{ProviderId, is_toolkit};
use crate::limits::CONNECT_ASKS_MAX;
use crate::protocol::message::Outcome;
use crate::upstream::composio::failed_tool::may_hold_json;

const MANAGE_CONNECTIONS: &str = "COMPOSIO_MANAGE_CONNECTIONS";
/// What an answer must have in it to be looked at.
static MARKS: LazyLock<[Finder<'static>; 3]> = LazyLock::new(|| {
    let marks = [
        "o active connected account",
        "o connected account found",
        "NoActiveConnection",
    ];
    marks.map(Finder::new)
});
/// Each block of a result has it, unless letters of it are written as escapes.
static TYPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("type"));
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r"\u"));
/// Behind this Composio names the toolkit.
const FOR_TOOLKIT: &str = "for toolkit: ";

/// What an answer wants connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream::composio) struct Needed {
    /// Each toolkit once.
    pub(super) wants: Vec<Want>,
    /// Nothing of the call was executed, says Composio.
    pub(super) untouched: bool,
}

/// A toolkit that has to be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) toolkit: String,
    /// Where its user goes, if Composio made a link.
    pub(super) link: Option<(Url, ProviderId)>,
}

/// Reads an answer of a tool; `own` is Composio's name of it. `None`: nothing has to be connected.
pub(super) fn read(
    own: &str,
    toolkits: Option<&[String]>,
    prefixes: &ToolPrefixes,
    answer: &Answer,
) -> Option<Needed> {
    if !worth_reading(own, answer) {
        return None;
    }
    let reading = Reading {
        own,
        toolkits,
        prefixes,
    };
    let needed = match &answer.response.outcome {
        Outcome::Error(error) => reading.of_error(own, &error.message).map(|toolkit| Needed {
            wants: vec![want(toolkit)],
            untouched: true,
        }),
        Outcome::Result(result) => {
            let said = said(&result.raw().read::<Value>()?)?;
            if own == MANAGE_CONNECTIONS {
                managed(&said)
            } else {
                reading.of_said(&said)
            }
        }
    };
    needed.filter(|needed| !needed.wants.is_empty())
}

/// Most answers are not: they are told apart without reading them. A text that is split may have a mark cut in two; each
/// of its blocks says its type.
fn worth_reading(own: &str, answer: &Answer) -> bool {
    let raw = &answer.response.raw;
    if matches!(answer.response.outcome, Outcome::Result(_)) && !may_hold_json(raw) {
        return false;
    }
    let split = || match &answer.response.outcome {
        Outcome::Result(result) => {
            let blocks = result.get("content").and_then(|content| content.array());
            blocks.is_some_and(|blocks| blocks.count() > 1)
        }
        Outcome::Error(_) => false,
    };
    let may_be_split = || TYPE.find_iter(raw).nth(1).is_some() || ESCAPE.find(raw).is_some();
    own == MANAGE_CONNECTIONS
        || (may_be_split() && split())
        || MARKS.iter().any(|mark| mark.find(raw).is_some())
}

/// The JSON in a result's text, which may be split over several blocks.
fn said(result: &Value) -> Option<Value> {
    let blocks = result.get("content")?.as_array()?.iter();
    let whole: String = blocks.filter_map(|block| text(block, "/text")).collect();
    serde_json::from_str(&whole).ok()
}

/// A text somewhere in a value.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn want(toolkit: String) -> Want {
    Want { toolkit, link: None }
}

/// What the tool for connections answers: a link for each toolkit that its user has to connect.
fn managed(said: &Value) -> Option<Needed> {
    let results = said.pointer("/data/results")?.as_object()?;
    let mut wants = Vec::new();
    for (toolkit, result) in results {
        let url = text(result, "/redirect_url").and_then(|url| Url::parse(url).ok());
        let account = text(result, "/connected_account_id").and_then(ProviderId::new);
        let open = text(result, "/status") == Some("initiated") && is_toolkit(toolkit);
        if let (true, Some(url), Some(account)) = (open, url, account)
            && matches!(url.scheme(), "http" | "https")
        {
            let link = Some((url, account));
            wants.push(Want {
                toolkit: toolkit.clone(),
                link,
            });
        }
    }
    wants.truncate(CONNECT_ASKS_MAX);
    Some(Needed {
        wants,
        // It was: the links are its work.
        untouched: false,
    })
}

struct Reading<'a> {
    own: &'a str,
    toolkits: Option<&'a [String]>,
    prefixes: &'a ToolPrefixes,
}

impl Reading<'_> {
    fn of_said(&self, said: &Value) -> Option<Needed> {
        let mut needed = Needed {
            wants: Vec::new(),
            untouched: true,
        };
        let items = said
            .pointer("/data/results")
            .and_then(Value::as_array)
            .filter(|items| !items.is_empty());
        match items {
            Some(items) if is_meta_tool(self.own) => {
                for item in items {
                    let tool = text(item, "/tool_slug").unwrap_or_default();
                    let error = text(item, "/error").or(text(item, "/response/error"));
                    let failed = item.pointer("/response/successful") != Some(&Value::Bool(true));
                    match error
                        .filter(|_| failed)
                        .and_then(|error| self.of_error(tool, error))
                    {
                        Some(toolkit) => add(&mut needed.wants, toolkit),
                        None => needed.untouched = false,
                    }
                }
            }
            _ => {
                if said.get("successful") == Some(&Value::Bool(true)) {
                    return None;
                }
                let error = text(said, "/error").or(text(said, "/error/message"))?;
                add(&mut needed.wants, self.of_error(self.own, error)?);
            }
        }
        Some(needed)
    }

    /// The toolkit that an error wants connected.
    fn of_error(&self, tool: &str, error: &str) -> Option<String> {
        let lacks = error.contains("o active connected account")
            || error.contains("o connected account found")
            || error.contains("NoActiveConnection");
        if !lacks {
            return None;
        }
        let right = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let named = error.split(FOR_TOOLKIT).nth(1).map(|rest| {
            let rest = rest.trim_start_matches(['\'', '"', '`']);
            let end = rest.find(|c| !right(c)).unwrap_or(rest.len());
            rest.get(..end).unwrap_or_default().to_ascii_lowercase()
        });
        let toolkit = named
            .filter(|named| !named.is_empty())
            .or_else(|| self.toolkit_of(tool))?;
        is_toolkit(&toolkit).then_some(toolkit)
    }

    /// The toolkit of a tool, of those that there are; of several that may be it, the longest.
    fn toolkit_of(&self, tool: &str) -> Option<String> {
        let all = self.toolkits?.iter().map(String::as_str);
        let found = self.prefixes.toolkit_of(tool, all);
        found.map(ToOwned::to_owned)
    }
}

fn add(wants: &mut Vec<Want>, toolkit: String) {
    let known = wants.iter().any(|want| want.toolkit == toolkit);
    if !known && wants.len() < CONNECT_ASKS_MAX {
        wants.push(want(toolkit));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::protocol::message::Message;
    use crate::protocol::version::Era;

    const MULTI: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";

    fn answer(message: &Value) -> Answer {
        let Ok(Message::Response(response)) = Message::parse(Bytes::from(message.to_string())) else {
            panic!("a response")
        };
        Answer {
            response,
            era: Era::Legacy,
        }
    }

    fn of(own: &str, said: &Value) -> Option<Needed> {
        let result = json!({ "content": [{ "type": "text", "text": said.to_string() }] });
        let toolkits = ["gmail".to_owned(), "github".to_owned()];
        read(
            own,
            Some(&toolkits),
            &ToolPrefixes::default(),
            &answer(&json!({ "jsonrpc": "2.0", "id": 1, "result": result })),
        )
    }

    fn toolkits(needed: &Needed) -> Vec<&str> {
        needed.wants.iter().map(|want| want.toolkit.as_str()).collect()
    }

    #[test]
    fn a_tool_that_lacks_an_account_names_its_toolkit_and_was_not_executed() {
        for error in [
            "No active connected account found for toolkit: gmail",
            "No active connected account found for toolkit: 'gmail'.",
            "ToolRouterV2_NoActiveConnection",
            "No connected account found",
        ] {
            let needed = of(
                "GMAIL_SEND_EMAIL",
                &json!({ "successful": false, "data": {}, "error": error }),
            )
            .unwrap();
            assert_eq!(
                (toolkits(&needed), needed.untouched),
                (vec!["gmail"], true),
                "{error}"
            );
        }
    }

    #[test]
    fn of_several_parts_each_toolkit_is_wanted_once_and_one_that_ran_is_noted() {
        let lacks = |tool: &str, toolkit: &str| json!({ "tool_slug": tool, "error": format!("No active connected account found for toolkit: {toolkit}") });
        let items = [
            lacks("GMAIL_A", "gmail"),
            lacks("GMAIL_B", "gmail"),
            lacks("GITHUB_A", "github"),
        ];
        let needed = of(
            MULTI,
            &json!({ "successful": false, "data": { "results": items }, "error": "3 failed" }),
        )
        .unwrap();
        assert_eq!(
            (toolkits(&needed), needed.untouched),
            (vec!["gmail", "github"], true)
        );
        for ran in [
            json!({ "tool_slug": "GITHUB_A", "response": { "successful": true, "data": {} } }),
            json!({ "tool_slug": "GITHUB_A", "response": { "successful": false, "error": "rate limited" } }),
            json!({ "tool_slug": "GITHUB_A", "error": "bad arguments" }),
        ] {
            let items = [lacks("GMAIL_A", "gmail"), ran];
            let needed = of(
                MULTI,
                &json!({ "successful": true, "data": { "results": items } }),
            )
            .unwrap();
            assert_eq!((toolkits(&needed), needed.untouched), (vec!["gmail"], false));
        }
    }

    #[test]
    fn what_a_tool_found_is_not_what_composio_says() {
        let text = "No active connected account found for toolkit: gmail";
        for said in [
            json!({ "successful": true, "data": { "body": text }, "error": null }),
            json!({ "successful": true, "data": { "error": text }, "error": text }),
            json!({ "successful": false, "data": { "message": text }, "error": "not found" }),
        ] {
            assert_eq!(of("GMAIL_FETCH", &said), None, "{said}");
        }
        let item = json!({ "tool_slug": "GMAIL_FETCH", "response": { "successful": true, "data": { "redirect_url": text }, "error": text } });
        assert_eq!(
            of(
                MULTI,
                &json!({ "successful": true, "data": { "results": [item] } })
            ),
            None
        );
        // A tool of an app may have a list of results of its own.
        let said = json!({ "successful": true, "data": { "results": [{ "error": text }] } });
        assert_eq!(of("GMAIL_FETCH", &said), None);
    }

    #[test]
    fn links_that_composio_made_are_passed_on_and_nothing_else_that_looks_like_one() {
        let one = |status: &str, url: &str| json!({ "status": status, "redirect_url": url, "connected_account_id": "ca_1" });
        let said =
            |results: Value| json!({ "successful": true, "data": { "results": results }, "error": null });
        let needed = of(
            MANAGE_CONNECTIONS,
            &said(json!({
                "gmail": one("initiated", "https://connect.composio.dev/link/lk_1"),
                "github": { "status": "active", "redirect_url": null },
                "slack": one("failed", "https://x.example/"),
                "notion": one("initiated", "javascript:alert(1)"),
            })),
        )
        .unwrap();
        assert_eq!((toolkits(&needed), needed.untouched), (vec!["gmail"], false));
        assert_eq!(needed.wants[0].link.as_ref().unwrap().1.as_str(), "ca_1");
        assert_eq!(
            of(
                MANAGE_CONNECTIONS,
                &said(json!({ "gmail": { "status": "active", "redirect_url": null } }))
            ),
            None
        );
        let elsewhere = said(json!({ "gmail": one("initiated", "https://x.example/") }));
        assert_eq!(of("GMAIL_FETCH", &elsewhere), None);
    }

    #[test]
    fn an_error_of_the_protocol_says_it_too() {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32000, "message": "ToolRouterV2_NoActiveConnection: No active connected account found for toolkit: github" } });
        let needed = read("GITHUB_STAR", None, &ToolPrefixes::default(), &answer(&message)).unwrap();
        assert_eq!(toolkits(&needed), ["github"]);
        let other =
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32000, "message": "redirect_url" } });
        assert_eq!(
            read("GITHUB_STAR", None, &ToolPrefixes::default(), &answer(&other)),
            None
        );
    }

    #[test]
    fn a_text_that_is_split_within_the_mark_is_read_all_the_same() {
        let said =
            json!({ "successful": false, "error": "No active connected account found for toolkit: gmail" });
        let said = said.to_string();
        let (one, two) = said.split_at(said.find("active").unwrap() + 3);
        let plain = json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [
            { "type": "text", "text": one }, { "type": "text", "text": two },
        ] } })
        .to_string();
        assert!(MARKS.iter().all(|mark| mark.find(plain.as_bytes()).is_none()));
        for text in [plain.clone(), plain.replace(r#""type""#, r#""t\u0079pe""#)] {
            let Ok(Message::Response(response)) = Message::parse(Bytes::from(text.clone())) else {
                panic!("{text}")
            };
            let answer = Answer {
                response,
                era: Era::Legacy,
            };
            let needed = read("GMAIL_SEND_EMAIL", None, &ToolPrefixes::default(), &answer).unwrap();
            assert_eq!(toolkits(&needed), ["gmail"]);
        }
    }
}
