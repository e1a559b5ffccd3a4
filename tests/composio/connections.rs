//! Connections as users meet them: connect, come back, list, disconnect. One for each user and toolkit, only what
//! Composio says counts, and nobody reaches another's.

use reqwest::Method;
use serde_json::{Value, json};

use crate::connect::{House, TOOLKITS, consent, look};
use crate::fake::{Fake, odd};

fn statuses(fake: &Fake, user: &str) -> Vec<String> {
    let accounts = fake.accounts_of(user);
    let mut words: Vec<String> = accounts
        .iter()
        .map(|one| one["status"].as_str().unwrap().to_owned())
        .collect();
    words.sort();
    words
}

#[tokio::test]
async fn a_user_connects_a_toolkit_by_a_link_and_comes_back_to_a_page_of_ours() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let before = house.standing("alice", "github").await;
    assert_eq!(
        (&before["status"], &before["connected"], &before["needsAuth"]),
        (&Value::Null, &json!(false), &json!(true))
    );
    let (auth_url, state) = house.begin("alice", "github").await;
    assert_eq!(house.standing("alice", "github").await["status"], "PENDING");
    let back = consent(&auth_url, "allow").await;
    assert!(
        back.starts_with(&format!("{}/api/integrations/callback?state={state}&", house.url)),
        "{back}"
    );
    let shown = look(&back).await;
    assert_eq!((shown.status, shown.outcome()), (200, "connected"), "{shown:?}");
    assert!(
        !shown.html.contains("ca_") && !shown.html.contains("alice") && !shown.html.contains(&state),
        "{shown:?}"
    );
    assert!(!shown.html.contains("<script"), "{shown:?}");
    for (header, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(shown.headers[header], value);
    }
    let policy = shown.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    let after = house.standing("alice", "github").await;
    assert_eq!(
        (
            &after["status"],
            &after["connected"],
            &after["needsAuth"],
            &after["checked"]
        ),
        (&json!("ACTIVE"), &json!(true), &json!(false), &json!(true)),
        "{after}"
    );
    // Loaded again the page says the same, and does nothing.
    assert_eq!(look(&back).await.outcome(), "connected");
    // Bob has nothing of it.
    assert_eq!(house.standing("bob", "github").await["connected"], false);
    // Another connect has nothing to do.
    let again = house
        .post("alice", "/api/integrations/github/connect", json!({}))
        .await;
    assert_eq!(again, json!({ "connected": true, "needsAuth": false }));
    assert_eq!(statuses(&fake, "alice"), ["ACTIVE"]);
    house.stop().await;
}

#[tokio::test]
async fn what_a_browser_says_is_no_proof() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let (auth_url, state) = house.begin("alice", "github").await;
    let callback = format!("{}/api/integrations/callback", house.url);
    let bobs = fake.connect("bob", "github");
    // Another's account, which is active: this ends the flow and connects nothing.
    let shown = look(&format!(
        "{callback}?state={state}&status=success&connected_account_id={bobs}"
    ))
    .await;
    assert_eq!((shown.status, shown.outcome()), (400, "failed"), "{shown:?}");
    assert_ne!(house.standing("alice", "github").await["status"], "ACTIVE");
    // `status=success` without having been at the provider.
    let (_, state) = house.begin("alice", "gmail").await;
    let shown = look(&format!("{callback}?state={state}&status=success")).await;
    assert_eq!((shown.status, shown.outcome()), (200, "pending"), "{shown:?}");
    // States that are none.
    for query in [
        "",
        "?state=",
        "?state=x",
        &format!("?state={}", "A".repeat(43)),
        "?status=success",
    ] {
        let shown = look(&format!("{callback}{query}")).await;
        assert_eq!((shown.status, shown.outcome()), (400, "failed"), "{query}");
        assert!(shown.html.contains("connect again"), "{shown:?}");
    }
    // What is reflected nowhere cannot be run: the page names nothing that came.
    let shown = look(&format!("{callback}?state=%3Cscript%3Ealert(1)%3C/script%3E")).await;
    assert!(!shown.html.contains("alert"), "{shown:?}");
    // Who did go to the provider with the burnt state is told what Composio says: the account is alice's own.
    let back = consent(&auth_url, "allow").await;
    assert_eq!(look(&back).await.outcome(), "connected");
    house.stop().await;
}

#[tokio::test]
async fn an_account_of_another_user_or_toolkit_is_not_taken_on_even_if_composio_gives_it() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let bobs = fake.connect("bob", "github");
    let alices_gmail = fake.connect("alice", "gmail");
    for account in [&bobs, &alices_gmail] {
        let link = json!({ "link_token": "lk_x", "redirect_url": format!("{}/link/lk_x", fake.origin), "connected_account_id": account });
        fake.next("link", odd(201, &link));
        let (_, state) = house.begin("alice", "github").await;
        let shown = look(&format!(
            "{}/api/integrations/callback?state={state}&status=success&connected_account_id={account}",
            house.url
        ))
        .await;
        assert_eq!(shown.outcome(), "failed", "{shown:?}");
        assert_eq!(house.standing("alice", "github").await["connected"], false);
    }
    // Bob's connection is still bob's.
    assert_eq!(house.standing("bob", "github").await["connected"], true);
    house.stop().await;
}

#[tokio::test]
async fn who_refuses_at_the_provider_reads_so_and_may_connect_again() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let (auth_url, _) = house.begin("alice", "github").await;
    let shown = look(&consent(&auth_url, "deny").await).await;
    assert_eq!((shown.status, shown.outcome()), (200, "failed"));
    assert!(
        shown.html.contains("was not connected") && shown.html.contains("connect again"),
        "{shown:?}"
    );
    let standing = house.standing("alice", "github").await;
    assert_eq!(standing["status"], "FAILED");
    assert!(
        standing["reason"]
            .as_str()
            .unwrap()
            .contains("OAuth callback failed"),
        "{standing}"
    );
    let (shown, _) = house.connect("alice", "github").await;
    assert_eq!(shown.outcome(), "connected");
    assert_eq!(
        house.standing("alice", "github").await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // The account that failed went when another took its place.
    assert_eq!(statuses(&fake, "alice"), ["ACTIVE"]);
    house.stop().await;
}

#[tokio::test]
async fn an_abandoned_flow_expires_and_heals_and_never_hides_the_good_one() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let (_, state) = house.begin("alice", "github").await;
    fake.control(&json!({ "do": "advance", "ms": 11 * 60_000 }));
    let settled = house
        .post(
            "alice",
            "/api/integrations/github/complete",
            json!({ "state": state }),
        )
        .await;
    assert_eq!(
        (&settled["status"], &settled["connected"]),
        (&json!("FAILED"), &json!(false))
    );
    assert!(
        settled["reason"].as_str().unwrap().contains("10 minutes"),
        "{settled}"
    );
    // Connected elsewhere meanwhile, with failed rows that are older and newer: what works counts.
    let good = fake.connect("alice", "github");
    let bad = fake.connect("alice", "github");
    fake.control(&json!({ "do": "account", "id": bad, "status": "EXPIRED" }));
    let standing = house.standing("alice", "github").await;
    assert_eq!(
        (&standing["status"], &standing["accounts"][0]["id"]),
        (&json!("ACTIVE"), &json!(good)),
        "{standing}"
    );
    let again = house
        .post("alice", "/api/integrations/github/connect", json!({}))
        .await;
    assert_eq!(again["connected"], true);
    house.stop().await;
}

#[tokio::test]
async fn every_status_of_composio_is_told_in_our_words_and_only_active_is_connected() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let id = fake.connect("alice", "github");
    assert_eq!(house.standing("alice", "github").await["status"], "ACTIVE");
    for (theirs, ours, reason) in [
        ("INACTIVE", "INACTIVE", "Connection status updated by user"),
        ("FAILED", "FAILED", "OAuth callback failed during token exchange"),
        ("EXPIRED", "FAILED", "Permanent auth error during token refresh"),
        ("REVOKED", "REVOKED", "Revoked via user-initiated revoke endpoint"),
    ] {
        fake.control(&json!({ "do": "account", "id": id, "status": theirs }));
        let standing = house.standing("alice", "github").await;
        assert_eq!(
            (&standing["status"], &standing["reason"]),
            (&json!(ours), &json!(reason)),
            "{theirs}: {standing}"
        );
        assert_eq!(
            (&standing["connected"], &standing["needsAuth"]),
            (&json!(false), &json!(true))
        );
        fake.control(&json!({ "do": "account", "id": id, "status": "ACTIVE" }));
        assert_eq!(
            house.standing("alice", "github").await["status"],
            "ACTIVE",
            "it heals"
        );
    }
    // Deleted there: it says so here.
    fake.control(&json!({ "do": "delete_account", "id": id }));
    let standing = house.standing("alice", "github").await;
    assert_eq!(standing["status"], "FAILED");
    assert!(
        standing["reason"]
            .as_str()
            .unwrap()
            .contains("does not have the account"),
        "{standing}"
    );
    house.stop().await;
}

#[tokio::test]
async fn disconnecting_takes_the_grant_back_and_deletes_it_and_tolerates_what_cannot_be_taken_back() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    // Notion's tokens cannot be revoked: 400.
    for toolkit in ["github", "notion"] {
        house.connect("alice", toolkit).await;
        let path = format!("/api/integrations/{toolkit}");
        let (status, answer) = house.rest("alice", Method::DELETE, &path, None).await;
        assert_eq!((status, answer), (200, json!({ "disconnected": 1 })), "{toolkit}");
        assert_eq!(statuses(&fake, "alice"), Vec::<String>::new());
        assert_eq!(house.standing("alice", toolkit).await["status"], Value::Null);
        let (status, answer) = house.rest("alice", Method::DELETE, &path, None).await;
        assert_eq!(status, 404, "{answer}");
    }
    // In no state for it: 409. Gone already: nothing is left to do.
    for status in ["FAILED", "REVOKED", "gone"] {
        let id = fake.connect("alice", "github");
        assert_eq!(house.standing("alice", "github").await["connected"], true);
        if status == "gone" {
            fake.control(&json!({ "do": "delete_account", "id": id }));
        } else {
            fake.control(&json!({ "do": "account", "id": id, "status": status }));
        }
        let (code, _) = house
            .rest("alice", Method::DELETE, "/api/integrations/github", None)
            .await;
        assert_eq!(code, 200, "{status}");
        assert_eq!(fake.accounts_of("alice").len(), 0, "{status}");
    }
    let (shown, _) = house.connect("alice", "github").await;
    assert_eq!(shown.outcome(), "connected", "and connected again");
    house.stop().await;
}

#[tokio::test]
async fn reconnecting_keeps_the_old_account_until_the_new_one_works() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    house.connect("alice", "github").await;
    let old = house.standing("alice", "github").await["accounts"][0]["id"].clone();
    let begun = house
        .post(
            "alice",
            "/api/integrations/github/connect",
            json!({ "reconnect": true }),
        )
        .await;
    let auth_url = begun["authUrl"].as_str().unwrap();
    let standing = house.standing("alice", "github").await;
    assert_eq!(
        (&standing["status"], &standing["accounts"][0]["id"]),
        (&json!("ACTIVE"), &old)
    );
    look(&consent(auth_url, "allow").await).await;
    let standing = house.standing("alice", "github").await;
    assert_eq!(standing["accounts"].as_array().unwrap().len(), 1);
    assert_ne!(standing["accounts"][0]["id"], old);
    assert_eq!(statuses(&fake, "alice"), ["ACTIVE"], "the old one is gone");
    house.stop().await;
}

#[tokio::test]
async fn several_accounts_stand_beside_each_other_only_where_wanted_and_no_more_than_wanted() {
    let fake = Fake::start().await;
    let house = House::start_with(
        &fake,
        &format!("{TOOLKITS}\nmulti_account = true\nmulti_account_max = 2"),
    )
    .await;
    let mut ids = Vec::new();
    for alias in ["work", "home"] {
        let begun = house
            .post(
                "alice",
                "/api/integrations/gmail/connect",
                json!({ "alias": alias }),
            )
            .await;
        assert_eq!(begun["needsAuth"], true, "{begun}");
        look(&consent(begun["authUrl"].as_str().unwrap(), "allow").await).await;
    }
    let standing = house.standing("alice", "gmail").await;
    for account in standing["accounts"].as_array().unwrap() {
        assert_eq!(account["status"], "ACTIVE", "{standing}");
        ids.push(account["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 2, "{standing}");
    let (status, answer) = house
        .rest(
            "alice",
            Method::POST,
            "/api/integrations/gmail/connect",
            Some(json!({})),
        )
        .await;
    assert_eq!(status, 409, "{answer}");
    let change = json!({ "accountId": ids[1], "chosen": true });
    let (status, answer) = house
        .rest("alice", Method::PATCH, "/api/integrations/gmail", Some(change))
        .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["accounts"][0]["id"], &answer["accounts"][0]["chosen"]),
        (&json!(ids[1]), &json!(true))
    );
    // Switched off, by name where there are several.
    let (status, _) = house
        .rest(
            "alice",
            Method::PATCH,
            "/api/integrations/gmail",
            Some(json!({ "enabled": false })),
        )
        .await;
    assert_eq!(status, 400);
    let change = json!({ "accountId": ids[0], "enabled": false });
    let (status, answer) = house
        .rest("alice", Method::PATCH, "/api/integrations/gmail", Some(change))
        .await;
    assert_eq!(status, 200, "{answer}");
    let off = answer["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["id"] == json!(ids[0]))
        .unwrap()
        .clone();
    assert_eq!(off["status"], "INACTIVE");
    // One goes, the other stays.
    let path = format!("/api/integrations/gmail?accountId={}", ids[0]);
    let (status, answer) = house.rest("alice", Method::DELETE, &path, None).await;
    assert_eq!((status, answer), (200, json!({ "disconnected": 1 })));
    assert_eq!(
        house.standing("alice", "gmail").await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    house.stop().await;
}

#[tokio::test]
async fn links_that_nobody_uses_are_bounded() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    for _ in 0..5 {
        house.begin("alice", "github").await;
    }
    let (status, answer) = house
        .rest(
            "alice",
            Method::POST,
            "/api/integrations/github/connect",
            Some(json!({})),
        )
        .await;
    assert_eq!(status, 429, "{answer}");
    house.begin("alice", "gmail").await;
    house.begin("bob", "github").await;
    assert_eq!(
        house.standing("alice", "github").await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    house.stop().await;
}
