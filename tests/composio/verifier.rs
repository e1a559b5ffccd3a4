//! Composio's callback identity verification: the browser arrives at a page of the operator's own, which knows whose it
//! is and hands in what it came with.

use serde_json::{Value, json};

use reqwest::Method;

use crate::connect::{BACKEND, House, consent};
use crate::fake::Fake;

const VERIFIER: &str = "https://app.example/verify";
const PATH: &str = "/api/integrations/verify";

/// Goes through the consent page; returns what the browser arrives with at the verifier.
async fn arrive(house: &House, user: &str) -> String {
    let (auth_url, _) = house.begin(user, "github").await;
    let back = consent(&auth_url, "allow").await;
    let uri = back.strip_prefix(&format!("{VERIFIER}?session_uri="));
    uri.unwrap_or_else(|| panic!("{back}")).to_owned()
}

async fn hand_in(house: &House, key: &str, body: Value) -> (u16, Value) {
    house.rest(key, Method::POST, PATH, Some(body)).await
}

#[tokio::test]
async fn a_browser_that_is_verified_is_connected_once_and_for_its_own_user_alone() {
    let fake = Fake::start().await;
    fake.control(&json!({ "do": "callback_verifier", "url": VERIFIER }));
    let house = House::start(&fake).await;
    let uri = arrive(&house, "alice").await;
    assert_eq!(house.standing("alice", "github").await["status"], "PENDING");
    let body = json!({ "sessionUri": uri, "userId": "alice" });
    let (status, settled) = hand_in(&house, BACKEND, body.clone()).await;
    assert_eq!(status, 200, "{settled}");
    assert_eq!(
        (&settled["toolkit"], &settled["status"], &settled["connected"]),
        (&json!("github"), &json!("ACTIVE"), &json!(true))
    );
    let standing = house.standing("alice", "github").await;
    assert_eq!(
        (
            &standing["status"],
            standing["accounts"].as_array().unwrap().len()
        ),
        (&json!("ACTIVE"), 1)
    );
    let (status, refused) = hand_in(&house, BACKEND, body).await;
    assert_eq!(status, 404, "used: {refused}");
    assert!(
        refused["detail"].as_str().unwrap().contains("`sessionUri`"),
        "{refused}"
    );

    // Bob got hold of a link of alice's: the account fails for good, and nobody is connected by it.
    let (auth_url, _) = house.begin("alice", "gmail").await;
    let back = consent(&auth_url, "allow").await;
    let uri = back.split_once("session_uri=").unwrap().1;
    let (status, refused) = hand_in(&house, "bob", json!({ "sessionUri": uri })).await;
    assert_eq!(status, 404, "{refused}");
    for user in ["alice", "bob"] {
        assert_eq!(house.standing(user, "gmail").await["connected"], false, "{user}");
    }
    assert!(!refused.to_string().contains(uri), "{refused}");
    house.stop().await;
}

#[tokio::test]
async fn what_cannot_be_handed_in_is_said() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    for (key, body, status, told) in [
        ("alice", json!({}), 400, "`sessionUri`"),
        ("alice", json!({ "sessionUri": "" }), 400, "`sessionUri`"),
        ("alice", json!({ "sessionUri": 1 }), 400, "`sessionUri`"),
        (
            "alice",
            json!({ "sessionUri": "x".repeat(600) }),
            400,
            "`sessionUri`",
        ),
        (
            "alice",
            json!({ "sessionUri": "session_x", "userId": "bob" }),
            403,
            "",
        ),
        ("alice", json!({ "sessionUri": "session_x" }), 404, "`sessionUri`"),
        ("default", json!({ "sessionUri": "session_x" }), 400, "default"),
        (
            "alice",
            json!({ "sessionUri": "session_x", "gateway": "other" }),
            404,
            "`gateway`",
        ),
    ] {
        let (came, answer) = hand_in(&house, key, body.clone()).await;
        assert_eq!(came, status, "{body}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(told), "{answer}");
    }
    house.stop().await;
}
