//! `/api/integrations` as REST: who may ask for whom, what is wrong with a request, pages, and what toolkits there are.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::connect::{BACKEND, House, TOOLKITS, consent, file, look};
use crate::fake::{Fake, error_body, odd};
use crate::in_band::listed;

#[tokio::test]
async fn a_key_that_acts_for_users_names_them_and_no_other_key_does() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let begun = house
        .post(
            BACKEND,
            "/api/integrations/github/connect",
            json!({ "userId": "carol" }),
        )
        .await;
    let back = consent(begun["authUrl"].as_str().unwrap(), "allow").await;
    let settled = json!({ "userId": "carol", "state": begun["state"] });
    let settled = house
        .post(BACKEND, "/api/integrations/github/complete", settled)
        .await;
    assert_eq!(
        (&settled["status"], &settled["connected"]),
        (&json!("ACTIVE"), &json!(true))
    );
    assert_eq!(look(&back).await.outcome(), "connected");
    let listed = house
        .get(BACKEND, "/api/integrations?userId=carol&toolkit=github")
        .await;
    assert_eq!(listed["items"][0]["connected"], true);
    for (method, path, body) in [
        (Method::GET, "/api/integrations?userId=carol", None),
        (Method::DELETE, "/api/integrations/github?userId=carol", None),
        (
            Method::POST,
            "/api/integrations/github/connect",
            Some(json!({ "userId": "carol" })),
        ),
        (
            Method::POST,
            "/api/integrations/github/complete",
            Some(json!({ "userId": "carol" })),
        ),
        (
            Method::PATCH,
            "/api/integrations/github",
            Some(json!({ "userId": "carol", "enabled": false })),
        ),
        (
            Method::POST,
            "/api/integrations/github/tools/GITHUB_GET_THE_AUTHENTICATED_USER?userId=carol",
            Some(json!({})),
        ),
    ] {
        let (status, answer) = house.rest("alice", method.clone(), path, body).await;
        assert_eq!(status, 403, "{method} {path}: {answer}");
        assert!(
            answer["detail"].as_str().unwrap().contains("`userId`"),
            "{answer}"
        );
    }
    // Another's state is nobody's, and is not used up by trying.
    let (_, state) = house.begin("bob", "github").await;
    let (status, _) = house
        .rest(
            "alice",
            Method::POST,
            "/api/integrations/github/complete",
            Some(json!({ "state": state })),
        )
        .await;
    assert_eq!(status, 404);
    let settled = house
        .post(
            "bob",
            "/api/integrations/github/complete",
            json!({ "state": state }),
        )
        .await;
    assert_eq!(settled["status"], "PENDING");
    assert_eq!(
        house
            .get(BACKEND, "/api/integrations?userId=carol&toolkit=github")
            .await["items"][0]["connected"],
        true
    );
    house.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_of_its_field() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    for (path, body, status, named) in [
        (
            "/api/integrations/github/connect",
            json!({ "user": "x" }),
            400,
            "\"user\"",
        ),
        (
            "/api/integrations/github/connect",
            json!({ "reconnect": "yes" }),
            400,
            "`reconnect`",
        ),
        (
            "/api/integrations/github/connect",
            json!({ "alias": 1 }),
            400,
            "`alias`",
        ),
        (
            "/api/integrations/github/connect",
            json!({ "gateway": "nobody" }),
            404,
            "`gateway`",
        ),
        (
            "/api/integrations/github/complete",
            json!({ "state": "x" }),
            400,
            "`state`",
        ),
        ("/api/integrations/github/complete", json!({}), 404, "github"),
        ("/api/integrations/hubspot/connect", json!({}), 404, "hubspot"),
        ("/api/integrations/..%2Fx/connect", json!({}), 404, "toolkit"),
    ] {
        let (got, answer) = house.rest("alice", Method::POST, path, Some(body.clone())).await;
        assert_eq!(got, status, "{path} {body}: {answer}");
        assert!(
            answer["detail"].as_str().unwrap().contains(named),
            "{path} {body}: {answer}"
        );
    }
    for (query, named) in [
        ("?limit=0", "limit"),
        ("?cursor=x", "cursor"),
        ("?what=1", "what"),
    ] {
        let (got, answer) = house
            .rest("alice", Method::GET, &format!("/api/integrations{query}"), None)
            .await;
        assert_eq!(got, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains(named), "{answer}");
    }
    for (body, named) in [
        (json!({}), "`enabled`"),
        (json!({ "chosen": true }), "`accountId`"),
        (json!({ "chosen": false, "accountId": "ca_1" }), "`chosen`"),
    ] {
        let (got, answer) = house
            .rest("alice", Method::PATCH, "/api/integrations/github", Some(body))
            .await;
        assert_eq!(got, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains(named), "{answer}");
    }
    // The nobody of Composio.
    let (got, answer) = house
        .rest(
            "default",
            Method::POST,
            "/api/integrations/github/connect",
            Some(json!({})),
        )
        .await;
    assert_eq!(got, 400, "{answer}");
    // A key that may use nothing of the gateway knows nothing of it.
    let (got, _) = house
        .rest(
            "narrow",
            Method::POST,
            "/api/integrations/github/connect",
            Some(json!({})),
        )
        .await;
    assert_eq!(got, 404);
    assert_eq!(house.get("narrow", "/api/integrations").await["items"], json!([]));
    house.stop().await;
}

#[tokio::test]
async fn the_list_is_told_a_page_at_a_time_and_from_memory_while_composio_is_away() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    house.connect("alice", "github").await;
    let (mut seen, mut path) = (Vec::new(), "/api/integrations?limit=1".to_owned());
    loop {
        let page = house.get("alice", &path).await;
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["toolkit"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        // A cursor is its caller's.
        let (status, _) = house
            .rest(
                "bob",
                Method::GET,
                &format!("/api/integrations?cursor={cursor}"),
                None,
            )
            .await;
        assert_eq!(status, 400);
        path = format!("/api/integrations?limit=1&cursor={cursor}");
        assert!(seen.len() < 10);
    }
    seen.sort();
    assert_eq!(seen, ["github", "gmail", "notion", "slack"]);
    for _ in 0..4 {
        fake.next("api", odd(503, &error_body(503, 1, "Down", "down for a while")));
    }
    let page = house.get("alice", "/api/integrations").await;
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 4, "{page}");
    assert!(items.iter().all(|item| item["checked"] == false), "{page}");
    let github = items.iter().find(|item| item["toolkit"] == "github").unwrap();
    assert_eq!(github["status"], "ACTIVE");
    house.stop().await;
}

#[tokio::test]
async fn a_toolkit_without_accounts_is_connected_and_one_without_an_app_says_what_is_missing() {
    let fake = Fake::start().await;
    let house = House::start_with(&fake, "toolkits = ['hackernews', 'github']").await;
    let begun = house
        .post("alice", "/api/integrations/hackernews/connect", json!({}))
        .await;
    assert_eq!(begun, json!({ "connected": true, "needsAuth": false }));
    assert_eq!(house.standing("alice", "hackernews").await["connected"], true);
    let refusal = error_body(
        400,
        4308,
        "ToolRouterV2_NoManagedAuth",
        "No managed auth for github",
    );
    fake.next("link", odd(400, &refusal));
    let (status, answer) = house
        .rest(
            "alice",
            Method::POST,
            "/api/integrations/github/connect",
            Some(json!({})),
        )
        .await;
    assert_eq!(status, 409, "{answer}");
    assert!(
        answer["detail"]
            .as_str()
            .unwrap()
            .contains("COMPOSIO_AUTH_CONFIG_GITHUB"),
        "{answer}"
    );
    // 4326, should it come from the link itself.
    let refusal = error_body(400, 4326, "ToolRouterV2_ToolkitsIsNoAuth", "no auth");
    fake.next("link", odd(400, &refusal));
    let begun = house
        .post("alice", "/api/integrations/github/connect", json!({}))
        .await;
    assert_eq!(begun["connected"], true);
    house.stop().await;
}

#[tokio::test]
async fn an_executed_tool_says_where_its_record_is() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let house = House::start(&fake).await;
    listed(&house).await;
    let path = "/api/integrations/github/tools/GITHUB_GET_THE_AUTHENTICATED_USER";
    let mut ids = Vec::new();
    for (failing, status) in [(false, "SUCCESS"), (true, "FAILED")] {
        if failing {
            fake.control(&json!({ "do": "fail_tool", "tool": "GITHUB_GET_THE_AUTHENTICATED_USER" }));
        }
        let done = house.post("alice", path, json!({})).await;
        assert_eq!(done["successful"], !failing, "{done}");
        let id = done["executionId"].as_str().unwrap_or_else(|| panic!("{done}"));
        let record = house.get("alice", &format!("/api/executions/{id}")).await;
        assert_eq!(
            (
                &record["id"],
                &record["userId"],
                &record["gateway"],
                &record["status"]
            ),
            (&json!(id), &json!("alice"), &json!("composio"), &json!(status)),
            "{record}"
        );
        ids.push(id.to_owned());
        let (status, _) = house
            .rest("bob", Method::GET, &format!("/api/executions/{id}"), None)
            .await;
        assert_eq!(status, 404, "it is alice's");
    }
    assert_ne!(ids[0], ids[1]);
    house.stop().await;
    // Where nothing is recorded there is nothing to name.
    let text = file(&fake, "memory", TOOLKITS) + "\n[executions]\nenabled = false\n";
    let house = House::start_file(&text, BTreeMap::new()).await;
    listed(&house).await;
    let done = house.post("alice", path, json!({})).await;
    assert_eq!(
        (&done["successful"], &done["executionId"]),
        (&json!(true), &Value::Null),
        "{done}"
    );
    house.stop().await;
}
