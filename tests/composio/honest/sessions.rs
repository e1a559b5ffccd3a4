//! Creates and changes of sessions, and what is refused.

use serde_json::{Value, json};

use super::{Caller, endpoint};
use crate::fake::{Fake, KEY};

const AT: &str = "/tool_router/session";

#[tokio::test]
async fn one_key_and_exactly_one_is_wanted_everywhere() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let id = caller.session(json!({ "user_id": "u" })).await;
    for path in [
        format!("/api/v3.1{AT}/{id}"),
        "/api/v3/toolkits".to_owned(),
        format!("/tool_router/{id}/mcp"),
    ] {
        for (headers, slug) in [
            (vec![], "APIKey_InvalidAPIKey"),
            (vec![("x-api-key", "ak_wrong")], "APIKey_InvalidAPIKey"),
            (
                vec![("x-api-key", KEY), ("x-user-api-key", "uak_x")],
                "HTTP_Unauthorized",
            ),
        ] {
            let told = caller.with(&headers).send("GET", &path, None).await;
            assert_eq!(
                (told.status, &told.body["error"]["slug"]),
                (401, &json!(slug)),
                "{path}"
            );
            for field in ["message", "code", "slug", "status", "request_id"] {
                assert!(!told.body["error"][field].is_null(), "{field}: {}", told.text);
            }
            assert!(
                !told.text.contains("ak_wrong") && !told.text.contains(KEY),
                "{}",
                told.text
            );
        }
    }
}

#[tokio::test]
async fn what_breaks_the_schema_of_a_create_is_refused_and_the_place_named() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    for (block, place) in [
        (json!({ "toolkit": [] }), "payload: Unrecognized key: 'toolkit'"),
        (
            json!({ "expected_config_version": 1 }),
            "'expected_config_version'",
        ),
        (json!({ "toolkits": ["github"] }), "payload.toolkits"),
        (
            json!({ "toolkits": { "enabled": ["github"] } }),
            "payload.toolkits",
        ),
        (
            json!({ "toolkits": { "enable": [], "disable": [] } }),
            "payload.toolkits",
        ),
        (
            json!({ "tools": { "github": ["GITHUB_GET_REPO"] } }),
            "payload.tools",
        ),
        (json!({ "tags": ["readonly"] }), "payload.tags"),
        (
            json!({ "connected_accounts": { "github": "ca_1" } }),
            "payload.connected_accounts",
        ),
        (
            json!({ "manage_connections": { "enabled": true } }),
            "payload.manage_connections",
        ),
        (
            json!({ "workbench": { "sandbox_size": "huge" } }),
            "payload.workbench",
        ),
        (
            json!({ "multi_account": { "max_accounts_per_toolkit": 11 } }),
            "payload.multi_account",
        ),
        (json!({ "preload": { "tools": "some" } }), "payload.preload"),
        (json!({ "search": true }), "payload.search"),
        (json!({ "user_id": "" }), "payload.user_id: Required"),
        (json!({ "user_id": 7 }), "payload.user_id: Invalid"),
    ] {
        let mut body = json!({ "user_id": "u" });
        for (key, value) in block.as_object().unwrap() {
            body[key] = value.clone();
        }
        let told = caller.post(AT, body).await;
        assert_eq!(told.error(), (400, 10400), "{block}: {}", told.text);
        let errors = told.body["error"]["errors"].to_string();
        assert!(errors.contains(place), "{place}: {errors}");
    }
    assert_eq!(caller.post(AT, json!({})).await.error(), (400, 10400));
    assert_eq!(fake.sessions().len(), 0);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_fails_the_whole_create() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let (own, other) = (fake.connect("u", "github"), fake.connect("v", "github"));
    for (block, code) in [
        (json!({ "toolkits": { "enable": ["nonsense"] } }), 4300),
        (
            json!({ "tools": { "github": { "enable": ["GMAIL_SEND_EMAIL"] } } }),
            4300,
        ),
        (
            json!({ "tools": { "github": { "enable": ["COMPOSIO_SEARCH_TOOLS"] } } }),
            4300,
        ),
        (json!({ "auth_configs": { "github": "ac_none" } }), 4300),
        (json!({ "connected_accounts": { "github": [other] } }), 4306),
        (json!({ "connected_accounts": { "github": ["ca_none"] } }), 4306),
        (json!({ "connected_accounts": { "gmail": [own] } }), 4306),
        (json!({ "connected_accounts": { "github": [own, own] } }), 10400),
        (json!({ "preload": { "tools": "all" } }), 4300),
        (
            json!({ "preload": { "tools": ["GMAIL_SEND_EMAIL"] }, "toolkits": { "enable": ["github"] } }),
            4300,
        ),
        (
            json!({ "preload": { "tools": "all" }, "toolkits": { "enable": ["github"] }, "multi_account": { "enable": true } }),
            4300,
        ),
        (
            json!({ "multi_account": { "enable": false, "max_accounts_per_toolkit": 3 } }),
            4300,
        ),
        (
            json!({ "proxy_execute": { "enable": false }, "workbench": { "enable_proxy_execution": true } }),
            4300,
        ),
    ] {
        let mut body = block.clone();
        body["user_id"] = json!("u");
        let told = caller.post(AT, body).await;
        assert_eq!(told.error(), (400, code), "{block}: {}", told.text);
    }
    assert_eq!(fake.sessions().len(), 0);
    let good = json!({ "user_id": "u", "connected_accounts": { "github": [own] } });
    caller.session(good).await;
}

#[tokio::test]
async fn every_create_makes_another_session_and_an_answer_says_enabled() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let body = json!({ "user_id": "u", "toolkits": { "enable": ["github"] }, "tags": ["readOnlyHint"],
        "tools": { "github": { "disable": ["GITHUB_DELETE_A_REPOSITORY"] } }, "workbench": { "enable": false } });
    let (first, second) = (caller.session(body.clone()).await, caller.session(body).await);
    assert_ne!(first, second);
    assert!(first.starts_with("trs_") && first.len() == 16, "{first}");
    let told = caller.get(&format!("{AT}/{first}")).await;
    let config = &told.body["config"];
    assert_eq!(config["toolkits"], json!({ "enabled": ["github"] }));
    assert_eq!(config["tags"], json!({ "enabled": ["readOnlyHint"] }));
    assert_eq!(
        config["tools"],
        json!({ "github": { "disabled": ["GITHUB_DELETE_A_REPOSITORY"] } })
    );
    assert_eq!(config["manage_connections"]["enabled"], true);
    assert_eq!(config["workbench"]["enable"], false);
    assert_eq!(
        told.body["mcp"],
        json!({ "type": "http", "url": endpoint(&fake, &first) })
    );
    assert_eq!(told.body["config_version"], 1);
    assert_eq!(
        told.body["tool_router_tools"].as_array().unwrap().len(),
        4,
        "no sandbox"
    );
    // v3 is served as well, and time alone ends nothing.
    fake.control(&json!({ "do": "advance", "ms": 40_000_000_000_u64 }));
    assert_eq!(
        caller
            .send("GET", &format!("/api/v3{AT}/{first}"), None)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_patch_replaces_some_blocks_merges_others_and_null_removes() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let id = caller
        .session(json!({ "user_id": "u", "toolkits": { "enable": ["github"] }, "tags": ["readOnlyHint"],
            "manage_connections": { "callback_url": "https://a.example/cb", "enable_wait_for_connections": true } }))
        .await;
    let at = format!("{AT}/{id}");
    let changed = caller
        .patch(&at, json!({ "toolkits": { "disable": ["slack"] } }))
        .await;
    assert_eq!(
        (changed.status, &changed.body["config_version"]),
        (200, &json!(2))
    );
    assert_eq!(
        changed.body["config"]["toolkits"],
        json!({ "disabled": ["slack"] }),
        "replaced whole"
    );
    assert_eq!(
        changed.body["config"]["tags"],
        json!({ "enabled": ["readOnlyHint"] }),
        "kept"
    );
    let changed = caller
        .patch(&at, json!({ "manage_connections": { "callback_url": null } }))
        .await;
    let connections = &changed.body["config"]["manage_connections"];
    assert_eq!(
        *connections,
        json!({ "enabled": true, "enable_wait_for_connections": true }),
        "merged"
    );
    let changed = caller.patch(&at, json!({ "toolkits": null, "tags": null })).await;
    assert_eq!(
        (
            &changed.body["config"]["toolkits"],
            &changed.body["config"]["tags"]
        ),
        (&Value::Null, &Value::Null)
    );

    // What is refused writes nothing.
    for body in [
        json!({ "user_id": "v" }),
        json!({ "toolkits": ["github"] }),
        json!({ "expected_config_version": 4, "toolkits": { "enable": ["github"] } }),
        json!({ "toolkits": { "enable": ["github"] }, "preload": { "tools": ["GMAIL_SEND_EMAIL"] } }),
    ] {
        assert_eq!(caller.patch(&at, body.clone()).await.status, 400, "{body}");
    }
    assert_eq!(caller.get(&at).await.body["config_version"], 4);
    let history = caller.get(&format!("{at}/config_history?limit=2")).await.body;
    assert_eq!(
        (&history["items"][0]["version"], &history["items"][1]["version"]),
        (&json!(4), &json!(3))
    );
    assert_eq!(
        (&history["items"][0]["is_current"], &history["total_pages"]),
        (&json!(true), &json!(2))
    );
}

#[tokio::test]
async fn the_optimistic_lock_answers_409_where_it_is_switched_on() {
    let fake = Fake::start().await;
    fake.control(&json!({ "do": "switch", "name": "config_version_lock", "to": true }));
    let caller = Caller::of(&fake);
    let at = format!("{AT}/{}", caller.session(json!({ "user_id": "u" })).await);
    let body =
        |version: u64| json!({ "toolkits": { "enable": ["github"] }, "expected_config_version": version });
    assert_eq!(caller.patch(&at, body(1)).await.status, 200);
    assert_eq!(caller.patch(&at, body(1)).await.status, 409);
    assert_eq!(caller.get(&at).await.body["config_version"], 2);
}

#[tokio::test]
async fn a_deleted_session_is_404_everywhere_and_its_users_accounts_stay() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    fake.connect("u", "github");
    let id = caller.session(json!({ "user_id": "u" })).await;
    let at = format!("{AT}/{id}");
    assert_eq!(
        caller.delete(&at).await.body,
        json!({ "session_id": id, "deleted": true })
    );
    assert_eq!(caller.delete(&at).await.status, 404);
    for path in ["", "/toolkits", "/tools", "/config_history"] {
        let told = caller.get(&format!("{at}{path}")).await;
        assert_eq!(
            (told.status, &told.body["error"]["slug"]),
            (404, &json!("ToolRouterV2_SessionNotFound")),
            "{path}"
        );
    }
    for (path, body) in [
        ("/link", json!({ "toolkit": "github" })),
        ("/execute", json!({ "tool_slug": "GITHUB_GET_REPO" })),
        ("/search", json!({ "queries": [{ "use_case": "x" }] })),
        ("/attach", json!({})),
    ] {
        assert_eq!(
            caller.post(&format!("{at}{path}"), body).await.status,
            404,
            "{path}"
        );
    }
    assert_eq!(
        caller
            .rpc(&endpoint(&fake, &id), "tools/list", json!({}))
            .await
            .0
            .status,
        404
    );
    assert_eq!(fake.accounts_of("u").len(), 1);
    let sessions = fake.ledger()["sessions"].clone();
    assert_eq!(sessions[0]["session_id"], id, "the ledger forgets nothing");
}

#[tokio::test]
async fn a_create_that_was_carried_out_can_be_answered_as_if_it_had_failed() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    fake.control(&json!({ "do": "fail_creates", "count": 1 }));
    assert_eq!(caller.post(AT, json!({ "user_id": "u" })).await.status, 500);
    assert_eq!(fake.sessions().len(), 1, "an orphan");
    fake.control(&json!({ "do": "fail_creates", "count": 1, "how": "cut" }));
    let http = crate::fake::client().post(format!("{}/api/v3.1{AT}", fake.origin));
    let cut = http
        .header("x-api-key", KEY)
        .body(r#"{"user_id":"u"}"#)
        .send()
        .await;
    let broke = match cut {
        Ok(answer) => answer.text().await.is_err(),
        Err(_) => true,
    };
    assert!(broke);
    assert_eq!(fake.sessions().len(), 2);
    assert_eq!(caller.post(AT, json!({ "user_id": "u" })).await.status, 201);
}
