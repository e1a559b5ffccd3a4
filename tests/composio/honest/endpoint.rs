//! A session's MCP endpoint, its meta tools, and executing over REST.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Caller, endpoint};
use crate::fake::Fake;

pub(super) const WHO: &str = "GITHUB_GET_THE_AUTHENTICATED_USER";

/// A fake, somebody who asks it, a session with this configuration, and its endpoint.
pub(super) async fn session(body: Value) -> (Fake, Caller, String, String) {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let id = caller.session(body).await;
    let url = endpoint(&fake, &id);
    (fake, caller, id, url)
}

pub(super) fn names(said: &Value) -> Vec<&str> {
    let tools = said["result"]["tools"].as_array().unwrap().iter();
    tools.map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_takes_each_post_by_itself_and_answers_an_event_or_json() {
    let (fake, caller, _, url) = session(json!({ "user_id": "u" })).await;
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    for accept in ["application/json", "text/event-stream"] {
        let mut one = caller.clone();
        one.headers.push(("accept", accept.to_owned()));
        let told = one.send("POST", &url, Some(message.clone())).await;
        assert_eq!((told.status, &told.body["error"]["code"]), (406, &json!(-32000)));
    }
    let (told, said) = caller.rpc(&url, "tools/list", json!({})).await;
    assert!(told.text.starts_with("event: message\ndata: {"), "{}", told.text);
    assert_eq!(names(&said).len(), 6);
    let (told, said) = caller
        .rpc(&url, "initialize", json!({ "protocolVersion": "2025-06-18" }))
        .await;
    assert_eq!(said["result"]["protocolVersion"], "2025-06-18");
    assert!(!told.headers.contains_key("mcp-session-id"));
    let mut one = caller.clone();
    one.headers
        .push(("accept", "application/json, text/event-stream".to_owned()));
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(one.send("POST", &url, Some(note)).await.status, 202);

    for (name, to) in [
        ("mcp_answers_json", json!(true)),
        ("mcp_gives_session_ids", json!(true)),
        ("mcp_protocol_version", json!("2025-03-26")),
        ("mcp_block_bytes", json!(16)),
    ] {
        fake.control(&json!({ "do": "switch", "name": name, "to": to }));
    }
    let (told, said) = caller
        .rpc(&url, "initialize", json!({ "protocolVersion": "2025-06-18" }))
        .await;
    assert_eq!(told.body, said, "JSON, as it stands");
    assert_eq!(said["result"]["protocolVersion"], "2025-03-26");
    assert!(told.headers.contains_key("mcp-session-id"));
    let arguments = json!({ "command": "echo hello to you all" });
    let params = json!({ "name": "COMPOSIO_REMOTE_BASH_TOOL", "arguments": arguments });
    let (_, said) = caller.rpc(&url, "tools/call", params).await;
    assert!(said["result"]["content"].as_array().unwrap().len() > 3, "{said}");
    let whole = caller.call(&url, "COMPOSIO_REMOTE_BASH_TOOL", arguments).await;
    assert_eq!(whole["data"]["stdout"], "hello to you all\n");
}

#[tokio::test]
async fn what_is_switched_off_in_a_session_is_not_in_its_list() {
    for (body, missing) in [
        (
            json!({ "workbench": { "enable": false } }),
            &["COMPOSIO_REMOTE_WORKBENCH", "COMPOSIO_REMOTE_BASH_TOOL"][..],
        ),
        (
            json!({ "manage_connections": { "enable": false } }),
            &["COMPOSIO_MANAGE_CONNECTIONS"],
        ),
        (
            json!({ "execute": { "enable_multi_execute": false } }),
            &["COMPOSIO_MULTI_EXECUTE_TOOL"],
        ),
        (
            json!({ "search": { "enable": false } }),
            &["COMPOSIO_SEARCH_TOOLS"],
        ),
    ] {
        let mut whole = body.clone();
        whole["user_id"] = json!("u");
        let (_fake, caller, id, url) = session(whole).await;
        let (_, said) = caller.rpc(&url, "tools/list", json!({})).await;
        for name in missing {
            assert!(!names(&said).contains(name), "{body}");
            let at = format!("/tool_router/session/{id}/execute");
            assert_eq!(
                caller
                    .post(&at, json!({ "tool_slug": name, "arguments": {} }))
                    .await
                    .status,
                400,
                "{name}"
            );
        }
    }
    let (_fake, caller, _, url) =
        session(json!({ "user_id": "u", "manage_connections": { "enable_wait_for_connections": true } }))
            .await;
    assert!(
        names(&caller.rpc(&url, "tools/list", json!({})).await.1).contains(&"COMPOSIO_WAIT_FOR_CONNECTIONS")
    );
}

#[tokio::test]
async fn direct_tools_are_listed_with_their_schemas_and_run_as_the_sessions_user() {
    let (fake, caller, _, url) = session(json!({ "user_id": "u", "toolkits": { "enable": ["github"] },
        "tools": { "github": { "tags": ["readOnlyHint"] } }, "preload": { "tools": "all" },
        "manage_connections": { "enable": false }, "workbench": { "enable": false }, "search": { "enable": false },
        "execute": { "enable_multi_execute": false } }))
    .await;
    let (_, said) = caller.rpc(&url, "tools/list", json!({})).await;
    assert_eq!(names(&said), [WHO, "GITHUB_GET_REPO", "GITHUB_GET_A_REPOSITORY"]);
    let tool = &said["result"]["tools"][1];
    assert_eq!(tool["inputSchema"]["required"], json!(["owner", "repo"]));
    assert_eq!(
        (
            &tool["annotations"]["readOnlyHint"],
            &tool["annotations"]["destructiveHint"]
        ),
        (&json!(true), &json!(false))
    );

    let said = caller.call(&url, WHO, json!({})).await;
    assert_eq!(
        said["error"],
        "No active connected account found for toolkit: github"
    );
    assert_eq!(said["successful"], false);
    fake.connect("v", "github");
    assert_eq!(
        caller.call(&url, WHO, json!({})).await["successful"],
        false,
        "another user's account is none of ours"
    );
    let account = fake.connect("u", "github");
    let said = caller.call(&url, WHO, json!({})).await;
    assert_eq!(
        (&said["data"]["login"], &said["data"]["connected_account_id"]),
        (&json!("u"), &json!(account))
    );
    fake.control(&json!({ "do": "fail_tool", "tool": WHO, "message": "the app is down" }));
    let said = caller.call(&url, WHO, json!({})).await;
    assert_eq!(
        (&said["error"], &said["data"]["status_code"]),
        (&json!("the app is down"), &json!(422))
    );
    let (_, refused) = caller
        .rpc(
            &url,
            "tools/call",
            json!({ "name": "GITHUB_DELETE_A_REPOSITORY" }),
        )
        .await;
    assert_eq!(refused["error"]["code"], -32602, "not in the list, not there");
    let books: Vec<(bool, Option<String>)> = fake
        .executions()
        .into_iter()
        .map(|one| (one.successful, one.account_user_id))
        .collect();
    let u = || Some("u".to_owned());
    assert_eq!(books, [(false, None), (false, None), (true, u()), (false, u())]);
}

#[tokio::test]
async fn multi_execute_answers_each_item_in_order_by_its_own_fate() {
    let (fake, caller, _, url) =
        session(json!({ "user_id": "u", "toolkits": { "enable": ["github", "gmail", "hackernews"] } })).await;
    fake.connect("u", "github");
    let item = |slug: &str| json!({ "tool_slug": slug, "arguments": {} });
    let tools = json!([
        item(WHO),
        item("SLACK_LIST_ALL_CHANNELS"),
        item("GMAIL_GET_PROFILE"),
        item("NO_SUCH_TOOL"),
        item("GITHUB_GET_REPO"),
        item("HACKERNEWS_GET_FRONTPAGE")
    ]);
    let arguments = json!({ "tools": tools, "sync_response_to_workbench": false });
    let data = caller.call(&url, "COMPOSIO_MULTI_EXECUTE_TOOL", arguments).await["data"].clone();
    assert_eq!(
        (&data["total_count"], &data["success_count"], &data["error_count"]),
        (&json!(6), &json!(2), &json!(4))
    );
    let results = data["results"].as_array().unwrap();
    for (index, result) in results.iter().enumerate() {
        assert_eq!(
            (&result["index"], &result["tool_slug"]),
            (&json!(index), &tools[index]["tool_slug"])
        );
    }
    assert_eq!(results[0]["response"]["data"]["login"], "u");
    assert_eq!(
        results[1]["error"],
        "[Session Restriction] Toolkit 'slack' is not allowed"
    );
    assert_eq!(
        results[2]["error"],
        "No active connected account found for toolkit: gmail"
    );
    assert_eq!(results[3]["error"], "Tool NO_SUCH_TOOL not found");
    assert_eq!(
        (
            &results[4]["response"]["successful"],
            &results[4]["response"]["data"]["status_code"]
        ),
        (&json!(false), &json!(400))
    );
    assert_eq!(results[5]["response"]["successful"], true);
    let many: Vec<Value> = (0..51).map(|_| item(WHO)).collect();
    let arguments = json!({ "tools": many, "sync_response_to_workbench": false });
    assert!(
        caller.call(&url, "COMPOSIO_MULTI_EXECUTE_TOOL", arguments).await["error"]
            .as_str()
            .unwrap()
            .contains("1 to 50")
    );
}

#[tokio::test]
async fn connections_are_managed_in_band_and_waited_for() {
    let (fake, caller, _, url) = session(json!({ "user_id": "u", "toolkits": { "enable": ["github", "twitter", "hackernews"] },
        "manage_connections": { "enable_wait_for_connections": true, "callback_url": "https://a.example/cb" } }))
    .await;
    let toolkits = json!({ "toolkits": ["github", "slack", "twitter", "hackernews"] });
    let data = caller.call(&url, "COMPOSIO_MANAGE_CONNECTIONS", toolkits).await["data"].clone();
    let summary = json!({ "total_toolkits": 4, "active_connections": 1, "initiated_connections": 1, "failed_connections": 2 });
    assert_eq!(data["summary"], summary);
    let results = &data["results"];
    assert!(
        results["slack"]["error_message"]
            .as_str()
            .unwrap()
            .contains("[Session Restriction]")
    );
    assert!(
        results["twitter"]["error_message"]
            .as_str()
            .unwrap()
            .contains("no Composio-managed")
    );
    let link = results["github"]["redirect_url"].as_str().unwrap().to_owned();

    let waiting = tokio::spawn({
        let (caller, url) = (caller.clone(), url.clone());
        async move {
            caller
                .call(
                    &url,
                    "COMPOSIO_WAIT_FOR_CONNECTIONS",
                    json!({ "toolkits": ["github"] }),
                )
                .await
        }
    });
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert!(!waiting.is_finished(), "it blocks");
    let sent = caller.press(&link, "allow").await;
    assert!(
        sent.headers["location"]
            .to_str()
            .unwrap()
            .starts_with("https://a.example/cb?status=success")
    );
    let said = tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(said["data"]["results"]["github"]["status"], "ACTIVE");

    let github = json!({ "toolkits": ["github"] });
    let data = caller.call(&url, "COMPOSIO_MANAGE_CONNECTIONS", github).await["data"].clone();
    assert_eq!(data["results"]["github"]["status"], "active");
    let again = json!({ "toolkits": ["github"], "reinitiate_all": true });
    let data = caller.call(&url, "COMPOSIO_MANAGE_CONNECTIONS", again).await["data"].clone();
    assert_eq!(
        (
            &data["results"]["github"]["status"],
            &data["results"]["github"]["was_reinitiated"]
        ),
        (&json!("initiated"), &json!(true))
    );
    fake.control(&json!({ "do": "switch", "name": "wait_ms", "to": 50 }));
    let nobody = caller
        .call(
            &url,
            "COMPOSIO_WAIT_FOR_CONNECTIONS",
            json!({ "toolkits": ["twitter"] }),
        )
        .await;
    assert_eq!(nobody["data"]["results"]["twitter"]["status"], "NOT_FOUND");
}
