//! Accounts and the pages on which people consent.

use serde_json::{Value, json};

use super::Caller;
use crate::fake::Fake;

const MINUTES_10: u64 = 600_000;

/// A fake, somebody who asks it, a session, and a link of it.
async fn linked(toolkit: &str, callback: Option<&str>) -> (Fake, Caller, String, Value) {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let session = caller.session(json!({ "user_id": "u" })).await;
    let mut body = json!({ "toolkit": toolkit });
    if let Some(callback) = callback {
        body["callback_url"] = json!(callback);
    }
    let link = caller.link(&session, body).await;
    assert_eq!(link.status, 201, "{}", link.text);
    (fake, caller, session, link.body)
}

async fn status(caller: &Caller, id: &Value) -> (String, Value) {
    let told = caller
        .get(&format!("/connected_accounts/{}", id.as_str().unwrap()))
        .await;
    (
        told.body["status"].as_str().unwrap().to_owned(),
        told.body["status_reason"].clone(),
    )
}

#[tokio::test]
async fn a_flow_goes_from_initializing_over_initiated_to_active_and_back_to_the_callback() {
    let (_fake, caller, session, link) = linked("github", Some("https://a.example/cb?state=s%201&x=y")).await;
    let id = &link["connected_account_id"];
    assert_eq!(status(&caller, id).await.0, "INITIALIZING");
    let url = link["redirect_url"].as_str().unwrap();
    assert!(url.ends_with(link["link_token"].as_str().unwrap()));
    let page = caller.send("GET", url, None).await;
    assert!(
        page.text.contains("<form method=\"post\">") && !page.text.contains("<script"),
        "{}",
        page.text
    );
    assert_eq!(status(&caller, id).await.0, "INITIATED");
    let sent = caller.press(url, "allow").await;
    let expected = format!(
        "https://a.example/cb?state=s%201&x=y&status=success&connected_account_id={}",
        id.as_str().unwrap()
    );
    assert_eq!(
        (sent.status, sent.headers["location"].to_str().unwrap()),
        (303, expected.as_str())
    );
    assert_eq!(status(&caller, id).await, ("ACTIVE".to_owned(), Value::Null));
    let toolkits = caller
        .get(&format!(
            "/tool_router/session/{session}/toolkits?toolkits=github"
        ))
        .await;
    assert_eq!(toolkits.body["items"][0]["connected_account"]["id"], *id);
    // A link is good for one decision.
    assert_eq!(caller.send("GET", url, None).await.status, 410);
    assert_eq!(caller.decide(url, "decision=allow").await.status, 410);
}

#[tokio::test]
async fn who_denies_gets_failed_and_the_callback_hears_it() {
    let (_fake, caller, _, link) = linked("github", Some("https://a.example/cb")).await;
    let sent = caller.press(link["redirect_url"].as_str().unwrap(), "deny").await;
    assert!(
        sent.headers["location"]
            .to_str()
            .unwrap()
            .contains("?status=failed&connected_account_id=ca_")
    );
    let (status, reason) = status(&caller, &link["connected_account_id"]).await;
    assert_eq!(
        (status.as_str(), reason),
        ("FAILED", json!("OAuth callback failed during token exchange"))
    );
}

#[tokio::test]
async fn a_flow_that_nobody_finishes_expires_after_ten_minutes() {
    let (fake, caller, _, link) = linked("github", None).await;
    let (id, url) = (
        &link["connected_account_id"],
        link["redirect_url"].as_str().unwrap(),
    );
    fake.control(&json!({ "do": "advance", "ms": MINUTES_10 - 5_000 }));
    assert_eq!(caller.send("GET", url, None).await.status, 200);
    fake.control(&json!({ "do": "advance", "ms": 5_000 }));
    let reason = "Connection initiation did not complete within 10 minutes";
    assert_eq!(status(&caller, id).await, ("EXPIRED".to_owned(), json!(reason)));
    assert_eq!(caller.send("GET", url, None).await.status, 410);
}

#[tokio::test]
async fn a_form_can_ask_for_an_api_key_and_a_page_stands_in_for_a_callback() {
    let (_fake, caller, _, link) = linked("serpapi", None).await;
    let url = link["redirect_url"].as_str().unwrap();
    assert!(
        caller
            .send("GET", url, None)
            .await
            .text
            .contains("name=\"api_key\"")
    );
    assert_eq!(caller.decide(url, "decision=allow&api_key=").await.status, 400);
    let told = caller.decide(url, "decision=allow&api_key=k").await;
    assert!(
        told.status == 200 && told.text.contains("Connected"),
        "{}",
        told.text
    );
    assert_eq!(status(&caller, &link["connected_account_id"]).await.0, "ACTIVE");
}

#[tokio::test]
async fn links_are_refused_for_toolkits_without_authentication_of_composios() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let session = caller
        .session(json!({ "user_id": "u", "toolkits": { "disable": ["slack"] } }))
        .await;
    for (toolkit, code) in [
        ("hackernews", 4326),
        ("twitter", 4308),
        ("slack", 4300),
        ("nonsense", 4300),
    ] {
        assert_eq!(
            caller.link(&session, json!({ "toolkit": toolkit })).await.error(),
            (400, code),
            "{toolkit}"
        );
    }
    // With an app of one's own it goes; a session that was made before sees it too.
    let body = json!({ "toolkit": { "slug": "twitter" }, "auth_config": { "type": "use_custom_auth",
        "authScheme": "OAUTH2", "credentials": { "client_id": "c", "client_secret": "s" } } });
    let config = caller.post("/auth_configs", body).await;
    assert_eq!(config.status, 201, "{}", config.text);
    assert_eq!(
        caller
            .link(&session, json!({ "toolkit": "twitter" }))
            .await
            .status,
        201
    );
    // Each link is another account, also when one is connected, unless that is switched.
    fake.connect("u", "github");
    for _ in 0..2 {
        assert_eq!(
            caller.link(&session, json!({ "toolkit": "github" })).await.status,
            201
        );
    }
    assert_eq!(fake.accounts_of("u").len(), 4);
    fake.control(&json!({ "do": "switch", "name": "link_is_reused", "to": true }));
    assert_eq!(
        caller.link(&session, json!({ "toolkit": "github" })).await.status,
        201
    );
    assert_eq!(fake.accounts_of("u").len(), 4);
}

#[tokio::test]
async fn initiating_is_retired_where_composios_own_app_is_used() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    fake.connect("u", "github");
    let config = fake.accounts_of("u")[0]["auth_config"]["id"].clone();
    let body = json!({ "auth_config": { "id": config }, "connection": { "user_id": "u" } });
    let told = caller.post("/connected_accounts", body).await;
    let message = told.body["error"]["message"].as_str().unwrap();
    assert_eq!(told.status, 400);
    assert!(
        message.contains("no longer supported") && message.contains("/api/v3/connected_accounts/link"),
        "{message}"
    );
}

#[tokio::test]
async fn accounts_are_disabled_enabled_revoked_and_deleted() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let id = fake.connect("u", "github");
    let at = format!("/connected_accounts/{id}");
    let said = caller
        .patch(&format!("{at}/status"), json!({ "enabled": false }))
        .await;
    assert_eq!(said.body, json!({ "success": true }));
    assert_eq!(
        status(&caller, &json!(id)).await,
        ("INACTIVE".to_owned(), json!("Connection status updated by user"))
    );
    assert_eq!(
        caller.post(&format!("{at}/revoke"), Value::Null).await.status,
        409,
        "only what is ACTIVE is revoked"
    );
    caller
        .patch(&format!("{at}/status"), json!({ "enabled": true }))
        .await;
    let revoked = caller.send("POST", &format!("/api/v3.1{at}/revoke"), None).await;
    assert_eq!(
        revoked.body["connected_account"],
        json!({ "id": id, "status": "REVOKED" })
    );
    assert_eq!(
        caller
            .send("POST", &format!("/api/v3.1{at}/revoke"), None)
            .await
            .status,
        200,
        "again"
    );
    assert_eq!(caller.delete(&at).await.body, json!({ "success": true }));
    for answer in [
        caller.get(&at).await,
        caller.delete(&at).await,
        caller.patch(&at, json!({ "alias": "x" })).await,
    ] {
        assert_eq!(answer.status, 404);
    }
    let notion = fake.connect("u", "notion");
    assert_eq!(
        caller
            .post(&format!("/connected_accounts/{notion}/revoke"), Value::Null)
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn the_list_of_accounts_is_cut_by_what_is_asked_for() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let first = fake.connect("u", "github");
    let second = fake.connect("u", "github");
    fake.connect("v", "github");
    fake.connect("u", "gmail");
    fake.control(&json!({ "do": "account", "id": first, "status": "EXPIRED" }));
    let ids = async |query: &str| -> Vec<String> {
        let told = caller.get(&format!("/connected_accounts?{query}")).await;
        let items = told.body["items"].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        ids("user_ids=u&toolkit_slugs=github&statuses=ACTIVE%2CINITIATED").await,
        std::slice::from_ref(&second)
    );
    assert_eq!(
        ids("user_ids=u&toolkit_slugs=github").await,
        [second.clone(), first.clone()],
        "newest first"
    );
    assert_eq!(ids("user_ids=u,v").await.len(), 4);
    assert_eq!(ids("user_ids=nobody").await.len(), 0);
    // An alias is one account's of a user and toolkit, and "" clears it.
    let rename = async |id: &str, alias: &str| {
        caller
            .patch(&format!("/connected_accounts/{id}"), json!({ "alias": alias }))
            .await
            .status
    };
    assert_eq!(
        (rename(&first, "work").await, rename(&second, "work").await),
        (200, 400)
    );
    assert_eq!(
        (rename(&first, "").await, rename(&second, "work").await),
        (200, 200)
    );
}

#[tokio::test]
async fn a_callback_verifier_says_whose_browser_it_was() {
    for (user, expected, becomes) in [("u", 200, "ACTIVE"), ("mallory", 400, "FAILED")] {
        let (fake, caller, _, link) = linked("github", Some("https://a.example/cb")).await;
        fake.control(&json!({ "do": "callback_verifier", "url": "https://a.example/verify" }));
        let sent = caller
            .press(link["redirect_url"].as_str().unwrap(), "allow")
            .await;
        let location = sent.headers["location"].to_str().unwrap().to_owned();
        let uri = location
            .strip_prefix("https://a.example/verify?session_uri=")
            .unwrap();
        assert_eq!(
            status(&caller, &link["connected_account_id"]).await.0,
            "INITIATED"
        );
        let body = json!({ "session_uri": uri, "user_id": user });
        let told = caller
            .post("/connected_accounts/complete_auth", body.clone())
            .await;
        assert_eq!(told.status, expected, "{}", told.text);
        assert_eq!(status(&caller, &link["connected_account_id"]).await.0, becomes);
        assert_eq!(
            caller
                .post("/connected_accounts/complete_auth", body)
                .await
                .status,
            404,
            "single use"
        );
    }
}
