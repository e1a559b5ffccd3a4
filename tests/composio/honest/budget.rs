//! Pages, budgets, odd answers, and the fake's own routes.

use serde_json::json;

use super::Caller;
use crate::fake::{Fake, odd};

#[tokio::test]
async fn lists_come_in_pages_with_cursors_and_limits_that_are_clamped() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    for user in 0..60 {
        fake.connect(&format!("u{user}"), "github");
    }
    let (mut cursor, mut ids, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let told = caller.get(&format!("/connected_accounts?limit=25{cursor}")).await;
        pages += 1;
        assert_eq!(
            (
                &told.body["total_items"],
                &told.body["total_pages"],
                &told.body["current_page"]
            ),
            (&json!(60), &json!(3), &json!(pages))
        );
        ids.extend(
            told.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["id"].to_string()),
        );
        match told.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), pages), (60, 3));
    assert_eq!(
        caller.get("/connected_accounts?cursor=nonsense").await.error(),
        (400, 10400)
    );
    assert_eq!(
        caller.get("/connected_accounts?limit=0").await.error(),
        (400, 10400)
    );
    // The session's toolkits: 20 when nothing is said, 50 at most; auth configs: 50, whatever is advertised.
    let body =
        json!({ "toolkit": { "slug": "github" }, "auth_config": { "type": "use_composio_managed_auth" } });
    for _ in 0..55 {
        assert_eq!(caller.post("/auth_configs", body.clone()).await.status, 201);
    }
    assert_eq!(
        caller.get("/auth_configs?limit=200").await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        50
    );
    let id = caller.session(json!({ "user_id": "u" })).await;
    let toolkits = caller
        .get(&format!("/tool_router/session/{id}/toolkits?limit=4"))
        .await;
    assert_eq!(toolkits.body["items"].as_array().unwrap().len(), 4);
    assert!(toolkits.body["next_cursor"].is_string());
}

#[tokio::test]
async fn the_budget_is_told_in_headers_and_a_429_is_a_bare_message() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let told = caller.get("/toolkits").await;
    assert_eq!(
        (
            &told.headers["x-ratelimit"],
            &told.headers["x-ratelimit-window-size"]
        ),
        (&"10000".parse().unwrap(), &"60s".parse().unwrap())
    );
    fake.control(&json!({ "do": "rate_limit", "per_minute": 3 }));
    fake.control(&json!({ "do": "advance", "ms": 60_000 }));
    for left in ["2", "1", "0"] {
        assert_eq!(
            caller.get("/toolkits").await.headers["x-ratelimit-remaining"],
            left
        );
    }
    let told = caller.get("/toolkits").await;
    assert_eq!(
        (told.status, told.text.as_str()),
        (429, r#"{"message":"Rate limit exceeded. Limit: 3"}"#)
    );
    let seconds: u64 = told.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    fake.control(&json!({ "do": "advance", "ms": 60_000 }));
    assert_eq!(caller.get("/toolkits").await.status, 200);
}

#[tokio::test]
async fn its_own_routes_want_their_own_token_and_let_it_answer_oddly() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    assert_eq!(
        caller.send("GET", "/_fake/ledger", None).await.status,
        401,
        "the project's key opens nothing there"
    );
    let command = json!({ "do": "odd", "place": "create", "status": 503, "count": 2, "headers": { "retry-after": "1" }, "body": "busy" });
    caller.control(command).await;
    for status in [503, 503, 201] {
        assert_eq!(
            caller
                .post("/tool_router/session", json!({ "user_id": "u" }))
                .await
                .status,
            status
        );
    }
    fake.next("api", odd(418, &json!({})));
    assert_eq!(caller.get("/toolkits").await.status, 418);
    assert_eq!(caller.ledger().await["sessions"].as_array().unwrap().len(), 1);
    let hand = caller.with(&[("x-fake-control", crate::fake::CONTROL)]);
    let refused = hand
        .send("POST", "/_fake/control", Some(json!({ "do": "nonsense" })))
        .await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let began = std::time::Instant::now();
    caller
        .control(json!({ "do": "delay", "tool": "COMPOSIO_SEARCH_TOOLS", "ms": 80 }))
        .await;
    let id = caller.session(json!({ "user_id": "u" })).await;
    caller
        .post(
            &format!("/tool_router/session/{id}/execute"),
            json!({ "tool_slug": "COMPOSIO_SEARCH_TOOLS" }),
        )
        .await;
    assert!(began.elapsed().as_millis() >= 80);
}
