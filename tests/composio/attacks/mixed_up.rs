//! What comes from the other side: answers of Composio that are another's, links that are no pages, browsers that bring
//! what no browser brings; and another process that has the store.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::{MULTI, WHO, as_user, nobody_crossed, told};
use crate::agent::{Agent, Era};
use crate::catalogue::{house, multi, never};
use crate::connect::{TOOLKITS, consent, file, look};
use crate::fake::{Fake, odd};
use crate::honest::Caller;

#[tokio::test]
async fn a_session_that_is_another_users_is_not_taken_for_ones_own() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    fake.connect("bob", "github");
    let caller = Caller::of(&fake);
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let alice = Agent::new(&house, "alice", Era::Modern, false).await;
    alice.call(MULTI, multi(WHO), never).await.said();
    let (id, _) = fake
        .sessions()
        .into_iter()
        .find(|(_, user)| user == "alice")
        .unwrap();
    let alices = caller.get(&format!("/tool_router/session/{id}")).await.body;
    // A cache between us and Composio gives bob what was alice's, when his is made and when it is looked at.
    fake.next_create(odd(201, &alices));
    let bob = Agent::new(&house, "bob", Era::Modern, false).await;
    let went = bob.call(MULTI, multi(WHO), never).await;
    let told = went.end["error"]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{went:?}"));
    assert!(told.contains("another user"), "{told}");
    assert!(
        fake.sessions().contains_key(&id),
        "alice's is not ours to delete for bob"
    );
    let went = bob.call(MULTI, multi(WHO), never).await;
    assert_eq!(
        went.said()["data"]["results"][0]["response"]["data"]["login"],
        "bob",
        "{went:?}"
    );
    let went = alice.call(MULTI, multi(WHO), never).await;
    assert_eq!(
        went.said()["data"]["results"][0]["response"]["data"]["login"],
        "alice",
        "{went:?}"
    );
    assert!(
        fake.executions()
            .iter()
            .all(|one| one.user_id != "alice" || one.session_id.as_ref() == Some(&id))
    );
    nobody_crossed(&fake);
    house.stop().await;
}

#[tokio::test]
async fn a_link_that_is_no_page_is_handed_to_nobody() {
    let fake = Fake::start().await;
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    house.standing("alice", "github").await;
    for url in [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//h/link",
        "",
        "http://",
    ] {
        let link = json!({ "link_token": "lk_x", "redirect_url": url, "connected_account_id": "ca_x" });
        fake.next("link", odd(201, &link));
        let path = "/api/integrations/github/connect";
        let (status, answer) = house.rest("alice", Method::POST, path, Some(json!({}))).await;
        assert_eq!(status, 502, "{url}: {answer}");
        fake.next("link", odd(201, &link));
        let alice = Agent::new(&house, "alice", Era::Modern, true).await;
        let went = alice.call(MULTI, multi(WHO), never).await;
        assert!(
            went.last_text().contains("no link could be made"),
            "{url}: {went:?}"
        );
    }
    assert_eq!(house.standing("alice", "github").await["accounts"], json!([]));
    house.stop().await;
}

#[tokio::test]
async fn paths_and_queries_that_no_client_sends_reach_nobody() {
    let fake = Fake::start().await;
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let (_, state) = house.begin("alice", "github").await;
    let before = fake.seen().len();
    for toolkit in [
        "GitHub",
        "github%00",
        "github%20",
        "github%2F..",
        "..%2Fgithub",
        "%2e%2e",
        "github;x",
        "github%0d%0aX",
        "%ff",
        "gith%C3%BCb",
        "*",
        &"g".repeat(5_000),
    ] {
        for (method, path) in [
            ("POST", format!("/api/integrations/{toolkit}/connect")),
            ("POST", format!("/api/integrations/{toolkit}/complete")),
            ("PATCH", format!("/api/integrations/{toolkit}")),
            ("DELETE", format!("/api/integrations/{toolkit}")),
            ("POST", format!("/api/integrations/{toolkit}/tools/{WHO}")),
            ("POST", format!("/api/integrations/github/tools/{toolkit}")),
            ("GET", format!("/api/tool-router/sessions/{toolkit}")),
            ("DELETE", format!("/api/tool-router/sessions/{toolkit}")),
            ("GET", format!("/api/executions/{toolkit}")),
        ] {
            let body = (method != "DELETE" && method != "GET").then_some(r#"{"enabled":false}"#);
            let request = house
                .http
                .request(method.parse().unwrap(), format!("{}{path}", house.url))
                .header("authorization", as_user("alice"))
                .header("content-type", "application/json")
                .body(body.unwrap_or_default());
            let (status, text) = told(request).await;
            assert!((400..500).contains(&status), "{method} {path}: {status} {text}");
        }
    }
    let callback = format!("{}/api/integrations/callback", house.url);
    for query in [
        format!("state={}", "A".repeat(10_000)),
        format!("state={state}A&connected_account_id=ca_1"),
        format!("STATE={state}"),
        format!("state[]={state}"),
        format!("x={}&state=", "&".repeat(5_000)),
        format!("state=%ff%fe&state={state}"),
        "state=%".to_owned(),
        format!("connected_account_id={}", "ca_".repeat(3_000)),
    ] {
        let shown = look(&format!("{callback}?{query}")).await;
        assert!(matches!(shown.status, 400 | 414 | 431), "{query}: {shown:?}");
        assert!(!shown.html.contains(&state), "{shown:?}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let request = house.http.request(method, format!("{callback}?state={state}"));
        assert_eq!(told(request).await.0, 405);
    }
    assert_eq!(fake.seen().len(), before);
    // A prober that asks for the head alone does not use the state up.
    let head = house
        .http
        .head(format!("{callback}?state={state}"))
        .send()
        .await
        .unwrap();
    assert!(head.status().as_u16() < 500, "{head:?}");
    assert_eq!(house.standing("alice", "github").await["status"], "PENDING");
    house.stop().await;
}

#[tokio::test]
async fn a_store_that_somebody_else_writes_to_is_waited_for_and_told_of() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("t.db");
    let house = house(&file(&fake, &format!("sqlite://{}", at.display()), TOOLKITS)).await;
    let alice = Agent::new(&house, "alice", Era::Modern, false).await;
    alice.call(MULTI, multi(WHO), never).await.said();
    let mut other = sqlx::SqliteConnection::connect(&format!("sqlite://{}", at.display()))
        .await
        .unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let (sessions, accounts) = (fake.sessions().len(), fake.accounts_of("bob").len());
    let create = "/api/tool-router/create-session";
    let asked = house.rest(
        "bob",
        Method::POST,
        create,
        Some(json!({ "toolkits": ["gmail"] })),
    );
    let calls = alice.call(MULTI, multi(WHO), never);
    let ((status, answer), went) = tokio::join!(asked, calls);
    assert_eq!((status, fake.sessions().len()), (503, sessions), "{answer}");
    assert_eq!(
        went.said()["successful"],
        true,
        "who has a session goes on: {went:?}"
    );
    let path = "/api/integrations/github/connect";
    let (status, answer) = house.rest("bob", Method::POST, path, Some(json!({}))).await;
    assert!(matches!(status, 500 | 503), "{status} {answer}");
    assert_eq!(
        fake.accounts_of("bob").len(),
        accounts,
        "nobody could have come back"
    );
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    let begun: Value = house.post("bob", path, json!({})).await;
    let shown = look(&consent(begun["authUrl"].as_str().unwrap(), "allow").await).await;
    assert_eq!(shown.outcome(), "connected", "{shown:?}");
    house.stop().await;
}

#[tokio::test]
async fn a_look_that_is_older_than_what_was_settled_since_writes_nothing() {
    for how in ["another", "none"] {
        let fake = Fake::start().await;
        let house = house(&file(&fake, "memory", TOOLKITS)).await;
        let (shown, _) = house.connect("alice", "github").await;
        assert_eq!(shown.outcome(), "connected");
        let first = house.standing("alice", "github").await["accounts"][0]["id"].clone();
        // Composio's answer, which knows the first account, is on its way for as long as all that follows takes.
        fake.control(&json!({ "do": "hold", "method": "GET", "end": "/toolkits", "ms": 4_000 }));
        let looks = |fake: &Fake| {
            let seen = fake.seen().into_iter();
            seen.filter(|seen| seen.path.ends_with("/toolkits")).count()
        };
        let before = looks(&fake);
        let settled = async {
            while looks(&fake) == before {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            fake.control(&json!({ "do": "let_go" }));
            if how == "none" {
                let ended = house
                    .rest("alice", Method::DELETE, "/api/integrations/github", None)
                    .await;
                assert_eq!(ended, (200, json!({ "disconnected": 1 })));
                return None;
            }
            let path = "/api/integrations/github/connect";
            let begun = house.post("alice", path, json!({ "reconnect": true })).await;
            let back = consent(begun["authUrl"].as_str().unwrap(), "allow").await;
            assert_eq!(look(&back).await.outcome(), "connected");
            let now = house.standing("alice", "github").await;
            Some(now["accounts"][0]["id"].clone())
        };
        let (old, second) = tokio::join!(house.standing("alice", "github"), settled);
        assert_ne!(second.as_ref(), Some(&first), "{how}");
        let accounts = |item: &Value| -> Vec<Value> {
            let accounts = item["accounts"].as_array().unwrap().iter();
            accounts.map(|one| one["id"].clone()).collect()
        };
        let right: Vec<Value> = second.into_iter().collect();
        assert_eq!(accounts(&old), right, "{how}: {old}");
        // And nothing of it is left when Composio cannot be asked.
        fake.is_down(true);
        let known = house.get("alice", "/api/integrations").await;
        let github = known["items"].as_array().unwrap().iter();
        let github = github.filter(|item| item["toolkit"] == "github");
        assert!(
            github.clone().all(|item| accounts(item) == right),
            "{how}: {known}"
        );
        house.stop().await;
    }
}
