//! Executing: whose account a call takes, what REST answers, and the older MCP servers.

use serde_json::{Value, json};

use super::endpoint::{WHO, names, session};
use super::{Caller, endpoint};
use crate::fake::Fake;

#[tokio::test]
async fn several_accounts_want_one_chosen_and_a_pin_never_falls_back() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let old = fake.connect("u", "github");
    let new = fake.control(&json!({ "do": "connect", "user": "u", "toolkit": "github", "alias": "work" }));
    let new = new["connected_account_id"].as_str().unwrap().to_owned();
    let multi =
        json!({ "user_id": "u", "multi_account": { "enable": true, "require_explicit_selection": true } });
    let url = endpoint(&fake, &caller.session(multi).await);
    let run = async |url: &str, account: Option<&str>| {
        let mut item = json!({ "tool_slug": WHO, "arguments": { "account": "work" } });
        if let Some(account) = account {
            item["account"] = json!(account);
        }
        let arguments = json!({ "tools": [item], "sync_response_to_workbench": false });
        caller.call(url, "COMPOSIO_MULTI_EXECUTE_TOOL", arguments).await["data"]["results"][0].clone()
    };
    let used = |result: &Value| {
        result["response"]["data"]["connected_account_id"]
            .as_str()
            .map(str::to_owned)
    };
    let refused = run(&url, None).await;
    let error = refused["error"].as_str().unwrap();
    assert!(
        error.contains("Multiple github accounts connected") && error.contains("work"),
        "{error}"
    );
    assert_eq!(used(&run(&url, Some("work")).await), Some(new.clone()));
    assert_eq!(used(&run(&url, Some(&old)).await), Some(old.clone()));
    assert!(
        run(&url, Some("nobody")).await["error"]
            .as_str()
            .unwrap()
            .contains("No github account matches")
    );

    // Without the mode: the one that was connected last; a pin is taken, also when it is dead.
    let plain = endpoint(&fake, &caller.session(json!({ "user_id": "u" })).await);
    assert_eq!(used(&run(&plain, None).await), Some(new));
    let pinned = json!({ "user_id": "u", "connected_accounts": { "github": [old] } });
    let pinned = endpoint(&fake, &caller.session(pinned).await);
    assert_eq!(used(&run(&pinned, None).await), Some(old.clone()));
    fake.control(&json!({ "do": "account", "id": old, "status": "REVOKED" }));
    assert!(
        run(&pinned, None).await["error"]
            .as_str()
            .unwrap()
            .contains("No active connected account")
    );
}

#[tokio::test]
async fn execute_answers_200_for_failed_tools_4302_without_an_account_and_asks_where_somebody_must_approve() {
    let (fake, caller, id, _) = session(json!({ "user_id": "u",
        "toolkits": { "enable": ["github", "gmail"], "require_approval": ["gmail"] } }))
    .await;
    fake.connect("u", "gmail");
    let at = format!("/tool_router/session/{id}/execute");
    assert_eq!(
        caller.post(&at, json!({ "tool_slug": WHO })).await.error(),
        (400, 4302)
    );
    fake.control(&json!({ "do": "switch", "name": "no_connection_status", "to": 422 }));
    assert_eq!(
        caller.post(&at, json!({ "tool_slug": WHO })).await.error(),
        (422, 4302)
    );
    let told = caller
        .post(&at, json!({ "tool_slug": "SLACK_SEND_MESSAGE" }))
        .await;
    assert_eq!((told.status, &told.body["result_type"]), (200, &json!("failed")));
    assert!(
        told.body["error"]
            .as_str()
            .unwrap()
            .starts_with("[Session Restriction]")
    );

    let mut body = json!({ "tool_slug": "GMAIL_GET_PROFILE", "arguments": {} });
    let asked = caller.post(&at, body.clone()).await.body;
    assert_eq!(asked["result_type"], "input_required");
    assert_eq!(asked["input_requests"]["approval"]["type"], "elicitation");
    assert_eq!(fake.executions().iter().filter(|one| one.successful).count(), 0);
    body["request_state"] = asked["request_state"].clone();
    body["input_responses"] = json!({ "approval": { "action": "decline" } });
    assert_eq!(caller.post(&at, body.clone()).await.body["result_type"], "failed");
    body["input_responses"] = json!({ "approval": { "action": "accept" } });
    assert_eq!(caller.post(&at, body.clone()).await.body["data"]["login"], "u");
    body["request_state"] = json!("another");
    assert_eq!(caller.post(&at, body).await.status, 400);
    fake.control(&json!({ "do": "switch", "name": "result_type", "to": false }));
    let old = caller
        .post(
            &at,
            json!({ "tool_slug": "COMPOSIO_REMOTE_BASH_TOOL", "arguments": { "command": "echo x" } }),
        )
        .await;
    assert_eq!((old.status, &old.body["result_type"]), (200, &Value::Null));
    for (part, body) in [
        ("search", json!({ "queries": [] })),
        (
            "search",
            json!({ "queries": vec![json!({ "use_case": "x" }); 8] }),
        ),
        ("execute", json!({})),
        (
            "execute",
            json!({ "tool_slug": "COMPOSIO_MULTI_EXECUTE_TOOL", "arguments": { "tools": [] } }),
        ),
        ("execute_meta", json!({ "slug": WHO, "arguments": {} })),
    ] {
        let told = caller
            .post(&format!("/tool_router/session/{id}/{part}"), body)
            .await;
        assert_eq!(told.error(), (400, 10400), "{part}: {}", told.text);
    }
}

#[tokio::test]
async fn an_older_server_wants_a_user_and_serves_the_tools_that_it_allows() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    fake.connect("u", "github");
    let config = fake.accounts_of("u")[0]["auth_config"]["id"].clone();
    for name in ["abc", "has_underscore", &"x".repeat(31)] {
        let told = caller.post("/mcp/servers/custom", json!({ "name": name })).await;
        assert_eq!(told.error(), (400, 10400), "{name}");
    }
    let body = json!({ "name": "my-server", "auth_config_ids": [config], "allowed_tools": [WHO] });
    let server = caller.post("/mcp/servers/custom", body).await;
    assert_eq!(server.status, 201, "{}", server.text);
    let at = format!("{}/v3/mcp/{}", fake.origin, server.body["id"].as_str().unwrap());
    assert_eq!(
        caller.rpc(&at, "tools/list", json!({})).await.0.status,
        400,
        "for whom?"
    );
    for url in [format!("{at}?user_id=u"), format!("{at}/mcp?user_id=u")] {
        assert_eq!(names(&caller.rpc(&url, "tools/list", json!({})).await.1), [WHO]);
        assert_eq!(caller.call(&url, WHO, json!({})).await["data"]["login"], "u");
    }
    let said = caller.call(&format!("{at}?user_id=v"), WHO, json!({})).await;
    assert_eq!(said["successful"], false);
    let nobody = caller.with(&[]);
    assert_eq!(
        nobody
            .rpc(&format!("{at}?user_id=u"), "tools/list", json!({}))
            .await
            .0
            .status,
        401
    );
    fake.control(&json!({ "do": "switch", "name": "require_mcp_api_key", "to": false }));
    assert_eq!(
        nobody
            .rpc(&format!("{at}?user_id=u"), "tools/list", json!({}))
            .await
            .0
            .status,
        200
    );
}

#[tokio::test]
async fn what_is_not_known_of_composio_stands_behind_switches() {
    let (fake, caller, _, url) = session(json!({ "user_id": "u" })).await;
    fake.connect("u", "github");
    let item = |slug: &str| json!({ "tool_slug": slug, "arguments": {} });
    let arguments =
        json!({ "tools": [item(WHO), item("NO_SUCH_TOOL")], "sync_response_to_workbench": false });
    for (fails, successful) in [("all", true), ("any", false), ("never", true)] {
        fake.control(&json!({ "do": "switch", "name": "multi_execute_fails", "to": fails }));
        let said = caller
            .call(&url, "COMPOSIO_MULTI_EXECUTE_TOOL", arguments.clone())
            .await;
        assert_eq!(
            (&said["successful"], &said["data"]["error_count"]),
            (&json!(successful), &json!(1)),
            "{fails}"
        );
    }
    fake.control(&json!({ "do": "switch", "name": "mcp_unknown_tool_is_an_error", "to": false }));
    assert_eq!(
        caller.call(&url, "NO_SUCH_TOOL", json!({})).await["error"],
        "Tool NO_SUCH_TOOL not found"
    );
    fake.control(&json!({ "do": "switch", "name": "mcp_other_methods_status", "to": 404 }));
    assert_eq!(caller.send("GET", &url, None).await.status, 404);
    assert_eq!(caller.get("/session_configs").await.status, 403);
    fake.control(&json!({ "do": "gone", "status": 410, "body": "gone" }));
    fake.delete_sessions_of("u");
    assert_eq!(caller.rpc(&url, "tools/list", json!({})).await.0.status, 410);
}
