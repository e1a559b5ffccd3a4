use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::protocol::version::ProtocolVersion;
use crate::upstream::handshake::Offers;

/// Answers by a function of method and cursor, and keeps what was asked.
struct Fake<F> {
    answer: F,
    asked: Mutex<Vec<(Method, Option<String>)>>,
}

impl<F: Fn(Method, Option<&str>, usize) -> Result<String, AskError> + Send + Sync> Ask for Fake<F> {
    fn ask(
        &self,
        method: Method,
        params: Vec<(&'static str, Raw)>,
    ) -> BoxFuture<'_, Result<Object, AskError>> {
        let cursor = params
            .iter()
            .find(|(key, _)| *key == "cursor")
            .and_then(|(_, value)| value.string())
            .map(std::borrow::Cow::into_owned);
        let mut asked = self.asked.lock().unwrap();
        asked.push((method, cursor.clone()));
        let answer = (self.answer)(method, cursor.as_deref(), asked.len());
        Box::pin(async move { answer.map(|text| Raw::parse(&Bytes::from(text)).unwrap().object().unwrap()) })
    }
}

fn fake<F: Fn(Method, Option<&str>, usize) -> Result<String, AskError>>(answer: F) -> Fake<F> {
    Fake {
        answer,
        asked: Mutex::new(Vec::new()),
    }
}

fn tools_only() -> Handshake {
    Handshake {
        extensions: Vec::new(),
        version: ProtocolVersion::V2025_11_25,
        offers: Offers {
            tools: true,
            ..Offers::default()
        },
        instructions: None,
        server_info: None,
    }
}

fn tool(name: &str) -> String {
    format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#)
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.tools.iter().map(|item| &*item.own).collect()
}

async fn run(ask: &dyn Ask, handshake: &Handshake) -> Result<Listing, ListError> {
    collect(ask, &GatewayId::new("g"), handshake).await
}

#[tokio::test]
async fn every_page_is_read_and_an_empty_cursor_is_a_cursor() {
    let ask = fake(|_, cursor, _| {
        Ok(match cursor {
            None => format!(r#"{{"tools":[{}],"nextCursor":"","ttlMs":9000}}"#, tool("a")),
            Some("") => format!(r#"{{"tools":[{}],"nextCursor":"2","ttlMs":7000}}"#, tool("b")),
            _ => format!(r#"{{"tools":[{}],"ttlMs":8000}}"#, tool("c")),
        })
    });
    let listing = run(&ask, &tools_only()).await.unwrap();
    assert_eq!(names(&listing), ["a", "b", "c"]);
    assert_eq!(listing.ttl, Some(Duration::from_secs(7)));
    assert_eq!(ask.asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_cursor_that_comes_again_ends_the_list() {
    let ask = fake(|_, _, n| {
        Ok(format!(
            r#"{{"tools":[{}],"nextCursor":"x"}}"#,
            tool(&n.to_string())
        ))
    });
    let listing = run(&ask, &tools_only()).await.unwrap();
    assert_eq!(names(&listing), ["1", "2"]);
}

#[tokio::test]
async fn endless_pages_and_endless_entries_are_cut() {
    let ask = fake(|_, _, n| {
        Ok(format!(
            r#"{{"tools":[{}],"nextCursor":"{n}"}}"#,
            tool(&n.to_string())
        ))
    });
    let listing = run(&ask, &tools_only()).await.unwrap();
    assert_eq!(listing.tools.len(), LIST_PAGES_MAX);
    let many: Vec<String> = (0..LIST_ITEMS_PER_GATEWAY_MAX + 5)
        .map(|n| tool(&n.to_string()))
        .collect();
    let page = format!(r#"{{"tools":[{}],"nextCursor":"more"}}"#, many.join(","));
    let ask = fake(|_, _, _| Ok(page.clone()));
    let listing = run(&ask, &tools_only()).await.unwrap();
    assert_eq!(listing.tools.len(), LIST_ITEMS_PER_GATEWAY_MAX);
    assert_eq!(
        ask.asked.lock().unwrap().len(),
        1,
        "no page is asked for beyond the bound"
    );
}

#[tokio::test]
async fn lists_that_are_endless_in_bytes_or_in_rubbish_are_cut() {
    let large = |n: usize| {
        let padding = "x".repeat(crate::limits::LIST_ITEM_BYTES_MAX - 100);
        format!(r#"{{"name":"{n}","inputSchema":{{}},"x":"{padding}"}}"#)
    };
    let ask = fake(|_, _, n| Ok(format!(r#"{{"tools":[{}],"nextCursor":"{n}"}}"#, large(n))));
    let listing = run(&ask, &tools_only()).await.unwrap();
    let bytes: usize = listing.tools.iter().map(|item| item.raw.as_bytes().len()).sum();
    assert!(bytes <= LIST_BYTES_MAX && bytes > LIST_BYTES_MAX / 2, "{bytes}");
    let rubbish = format!("{}0", "0,".repeat(LIST_ITEMS_PER_GATEWAY_MAX));
    let ask = fake(|_, _, n| Ok(format!(r#"{{"tools":[{rubbish}],"nextCursor":"{n}"}}"#)));
    assert!(run(&ask, &tools_only()).await.unwrap().tools.is_empty());
    assert_eq!(ask.asked.lock().unwrap().len(), 1);
    let cursor = "c".repeat(UPSTREAM_CURSOR_BYTES_MAX + 1);
    let ask = fake(|_, _, n| Ok(format!(r#"{{"tools":[],"nextCursor":"{cursor}{n}"}}"#)));
    assert!(run(&ask, &tools_only()).await.unwrap().tools.is_empty());
    assert_eq!(ask.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn bad_entries_and_doubles_are_left_out() {
    let page = format!(
        r#"{{"tools":[7,{{}},{},{{"name":"n"}},{}]}}"#,
        tool("a"),
        tool("a")
    );
    let ask = fake(|_, _, _| Ok(page.clone()));
    assert_eq!(names(&run(&ask, &tools_only()).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_list_that_is_not_there_is_empty_and_failing_tools_are_an_error() {
    let mut all = tools_only();
    all.offers.resources = true;
    all.offers.prompts = true;
    let ask = fake(|method, _, _| match method {
        Method::ToolsList => Ok(format!(r#"{{"tools":[{}]}}"#, tool("a"))),
        Method::TemplatesList => Err(AskError::Refused(RpcError::new(METHOD_NOT_FOUND, "no"))),
        Method::PromptsList => Err(AskError::Refused(RpcError::new(-32603, "broken"))),
        _ => Ok(r#"{"resources":[{"uri":"a://b"}]}"#.to_owned()),
    });
    let listing = run(&ask, &all).await.unwrap();
    assert_eq!((listing.tools.len(), listing.resources.len()), (1, 1));
    assert!(listing.prompts.is_empty() && listing.templates.is_empty());
    let ask = fake(|_, _, _| Err(AskError::Refused(RpcError::new(-32603, "broken"))));
    assert_eq!(
        run(&ask, &tools_only()).await.unwrap_err().0,
        "tools/list: broken (code -32603)"
    );
    let ask = fake(|_, _, _| Ok(r#"{"tools":{}}"#.to_owned()));
    assert!(run(&ask, &tools_only()).await.is_err());
}
