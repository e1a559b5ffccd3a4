//! What Composio refuses on the way to a connection, by the catalogue of its errors: what is sent again, what users and
//! operators read, and what is left as it was.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::connect::{House, TOOLKITS, consent, look};
use crate::fake::{Fake, KEY, Odd, error_body, odd};

const CONNECT: &str = "/api/integrations/github/connect";

fn limited(header: &'static str, value: &'static str) -> Odd {
    Odd {
        status: 429,
        headers: vec![(header, value)],
        body: r#"{"message":"Rate limit exceeded. Limit: 2000"}"#.to_owned(),
    }
}

fn refused() -> Odd {
    odd(
        401,
        &error_body(401, 801, "APIKey_InvalidAPIKey", "Invalid API key: ak_s3c******"),
    )
}

/// Returns the method and path of what came, below the API, since there were `before` requests.
fn came(fake: &Fake, before: usize) -> Vec<String> {
    let seen = fake.seen();
    let ends = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    seen[before..]
        .iter()
        .map(|seen| format!("{} {}", seen.method, ends(&seen.path)))
        .collect()
}

#[tokio::test]
async fn a_session_that_is_refused_for_a_dead_account_is_made_once_more_without_the_choice() {
    let fake = Fake::start().await;
    let more = format!("{TOOLKITS}\nmulti_account = true");
    let house = House::start_with(&fake, &more).await;
    for alias in ["work", "home"] {
        let begun = json!({ "alias": alias });
        let begun = house
            .post("alice", "/api/integrations/gmail/connect", begun)
            .await;
        look(&consent(begun["authUrl"].as_str().unwrap(), "allow").await).await;
    }
    let standing = house.standing("alice", "gmail").await;
    let id = standing["accounts"][1]["id"].as_str().unwrap().to_owned();
    let change = json!({ "accountId": id, "chosen": true });
    let path = "/api/integrations/gmail";
    let (status, answer) = house.rest("alice", Method::PATCH, path, Some(change)).await;
    assert_eq!(status, 200, "{answer}");

    // The account goes at Composio, and so does the session: the next one names an account that is not there.
    fake.control(&json!({ "do": "delete_account", "id": id }));
    fake.delete_sessions_of("alice");
    let before = fake.creates_of("alice");
    house.begin("alice", "github").await;
    let creates = fake.seen();
    let creates = creates
        .iter()
        .filter(|seen| seen.place == "create" && seen.body["user_id"] == "alice");
    let pins: Vec<Value> = creates
        .skip(before)
        .map(|seen| seen.body["connected_accounts"].clone())
        .collect();
    assert_eq!(pins.len(), 2, "{pins:?}");
    let other = &standing["accounts"][0]["id"];
    assert_eq!(pins[0], json!({ "gmail": [id, other] }));
    assert_eq!(pins[1], Value::Null);
    house.stop().await;
}

#[tokio::test]
async fn a_link_that_the_budget_refused_is_asked_for_again_when_the_wait_is_short() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    house.standing("alice", "github").await;
    fake.next("link", limited("retry-after-ms", "20"));
    let before = fake.seen().len();
    house.begin("alice", "github").await;
    let links = came(&fake, before);
    let links = links.iter().filter(|came| *came == "POST link").count();
    assert_eq!((links, fake.accounts_of("alice").len()), (2, 1));

    fake.next("link", limited("retry-after", "37"));
    let began = Instant::now();
    let (status, answer) = house.rest("bob", Method::POST, CONNECT, Some(json!({}))).await;
    assert_eq!(status, 503, "{answer}");
    let text = answer.to_string();
    assert!(text.contains("Rate limit exceeded. Limit: 2000"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(30), "nobody waits for it");
    assert_eq!(fake.accounts_of("bob").len(), 0);
    house.stop().await;
}

#[tokio::test]
async fn a_look_at_an_account_that_the_budget_or_the_key_refuses_leaves_the_flow_as_it_was() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let (auth_url, state) = house.begin("alice", "github").await;
    let back = consent(&auth_url, "allow").await;
    let complete = "/api/integrations/github/complete";
    let limit = |calls: Option<u64>| fake.control(&json!({ "do": "rate_limit", "per_minute": calls }));
    for (trouble, status, part) in [
        ("budget", 503, "Rate limit exceeded"),
        ("key", 502, "COMPOSIO_API_KEY"),
    ] {
        if trouble == "budget" {
            limit(Some(0));
        } else {
            fake.change_key("ak_another");
        }
        // Both who may look: the browser that comes back, and the program that began. Each asks once, since neither
        // is told to come again soon.
        let before = fake.seen().len();
        let shown = look(&back).await;
        assert_eq!((shown.status, shown.outcome()), (502, "failed"), "{shown:?}");
        assert!(shown.html.contains("It is not known yet"), "{shown:?}");
        assert!(!shown.html.contains(KEY), "{shown:?}");
        let body = json!({ "state": state });
        let (code, answer) = house.rest("alice", Method::POST, complete, Some(body)).await;
        assert_eq!(code, status, "{answer}");
        assert!(answer.to_string().contains(part), "{answer}");
        assert_eq!(came(&fake, before).len(), 2, "{trouble}");
        assert_eq!(house.remembered(&fake, "alice").await[0][1], "PENDING");
        limit(None);
        fake.change_key(KEY);
    }
    assert_eq!(look(&back).await.outcome(), "connected");
    house.stop().await;
}

#[tokio::test]
async fn a_grant_that_cannot_be_taken_back_now_is_no_reason_to_keep_the_account() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    house.connect("alice", "github").await;
    let conflict = error_body(
        409,
        1812,
        "ConnectedAccount_Conflict",
        "The account is in no state for it",
    );
    fake.next("api", odd(409, &conflict));
    let id = fake.accounts_of("alice")[0]["id"].as_str().unwrap().to_owned();
    let before = fake.seen().len();
    let path = "/api/integrations/github";
    let (status, answer) = house.rest("alice", Method::DELETE, path, None).await;
    assert_eq!((status, answer), (200, json!({ "disconnected": 1 })));
    assert_eq!(
        came(&fake, before),
        ["POST revoke".to_owned(), format!("DELETE {id}")]
    );
    assert_eq!(fake.accounts_of("alice").len(), 0);
    house.stop().await;
}

#[tokio::test]
async fn a_key_that_is_refused_while_disconnecting_leaves_the_connection_as_it_was() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    house.connect("alice", "github").await;
    let path = "/api/integrations/github";
    // At the revoke, and at the delete after it.
    for come in [vec![refused()], vec![odd(409, &json!({})), refused()]] {
        for odd in come {
            fake.next("api", odd);
        }
        let (status, answer) = house.rest("alice", Method::DELETE, path, None).await;
        assert_eq!(status, 502, "{answer}");
        let text = answer.to_string();
        assert!(text.contains("COMPOSIO_API_KEY") && !text.contains(KEY), "{text}");
        assert_eq!(house.remembered(&fake, "alice").await[0][1], "ACTIVE");
        assert_eq!(fake.accounts_of("alice")[0]["status"], "ACTIVE");
    }
    let (status, _) = house.rest("alice", Method::DELETE, path, None).await;
    assert_eq!(status, 200);
    house.stop().await;
}

#[tokio::test]
async fn a_link_that_may_have_been_made_or_is_not_allowed_is_asked_for_once_and_a_lost_session_costs_nobody_one()
 {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    house.standing("alice", "github").await;
    let broken = error_body(500, 4301, "ToolRouterV2_InternalServerError", "Something broke");
    let forbidden = json!({ "message": "Tool Router is not enabled for this project" });
    for (odd, part) in [
        (odd(500, &broken), "ToolRouterV2_InternalServerError"),
        (
            odd(403, &forbidden),
            "Tool Router is not enabled for this project",
        ),
    ] {
        fake.next("link", odd);
        let before = fake.seen().len();
        let (status, answer) = house.rest("alice", Method::POST, CONNECT, Some(json!({}))).await;
        assert_eq!(status, 502, "{answer}");
        assert!(answer.to_string().contains(part), "{answer}");
        let links = came(&fake, before);
        assert_eq!(links.iter().filter(|came| *came == "POST link").count(), 1);
        assert_eq!(fake.accounts_of("alice").len(), 0);
    }
    // Deleted at Composio: there is another session, and one link.
    fake.delete_sessions_of("alice");
    let before = fake.creates_of("alice");
    house.begin("alice", "github").await;
    assert_eq!(fake.creates_of("alice"), before + 1);
    assert_eq!(fake.accounts_of("alice").len(), 1);
    house.stop().await;
}
