//! `api = "mcp_servers"`: the older servers as a second path, found or made by name, each user at a URL of their own.

use serde_json::{Value, json};

use crate::agent::{Agent, Era, Went};
use crate::connect::{House, consent, look};
use crate::fake::{Fake, KEY};
use crate::honest::Caller;

const WHO: &str = "GITHUB_GET_THE_AUTHENTICATED_USER";
const OPTIONS: &str =
    "api = 'mcp_servers'\ntoolkits = ['github']\ntools.github.enable = ['GITHUB_GET_THE_AUTHENTICATED_USER']";

async fn listed(house: &House) -> Vec<String> {
    let ready = async {
        loop {
            let tools = house.get("alice", "/api/tools").await;
            let names: Vec<String> = tools["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|tool| tool["name"].as_str().unwrap().to_owned())
                .collect();
            if !names.is_empty() {
                return names;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::connect::PATIENCE, ready)
        .await
        .unwrap()
}

async fn never(params: Value) -> &'static str {
    panic!("asked {params}")
}

async fn allows(params: Value) -> &'static str {
    look(&consent(params["url"].as_str().unwrap(), "allow").await).await;
    "accept"
}

/// How many servers were made.
fn made(fake: &Fake) -> usize {
    let of = |seen: &&crate::fake::Seen| seen.path.ends_with("/mcp/servers/custom");
    fake.seen().iter().filter(of).count()
}

#[tokio::test]
async fn users_of_one_server_have_their_own_urls_and_connections_and_no_session_is_made() {
    let fake = Fake::start().await;
    let house = House::start_with(&fake, OPTIONS).await;
    assert_eq!(listed(&house).await, [WHO], "the allowed tools, and no other");
    // Bob connects over REST, alice in the middle of her call.
    let config =
        json!({ "toolkit": { "slug": "github" }, "auth_config": { "type": "use_composio_managed_auth" } });
    let sent = house
        .http
        .post(format!("{}/api/v3.1/auth_configs", fake.origin))
        .header("x-api-key", KEY);
    let sent = sent
        .header("content-type", "application/json")
        .body(config.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 201);
    assert_eq!(house.standing("bob", "github").await["connected"], false);
    let (shown, _) = house.connect("bob", "github").await;
    assert_eq!(shown.outcome(), "connected", "{shown:?}");
    let standing = house.standing("bob", "github").await;
    assert_eq!(
        (&standing["status"], &standing["connected"]),
        (&json!("ACTIVE"), &json!(true))
    );
    let alice = Agent::new(&house, "alice", Era::Modern, true).await;
    let went = alice.call(WHO, json!({}), allows).await;
    assert_eq!(went.asked.len(), 1, "{went:?}");
    assert_eq!(went.said()["data"]["login"], "alice", "{went:?}");
    let bob = Agent::new(&house, "bob", Era::Legacy, true).await;
    assert_eq!(
        bob.call(WHO, json!({}), never).await.said()["data"]["login"],
        "bob"
    );
    for one in fake.executions().iter().filter(|one| one.successful) {
        assert_eq!(one.account_user_id.as_deref(), Some(one.user_id.as_str()));
    }
    assert_eq!((made(&fake), fake.sessions().len()), (1, 0));
    house.stop().await;
    // Started again: the same server is found by its name.
    let house = House::start_with(&fake, OPTIONS).await;
    listed(&house).await;
    let bob = Agent::new(&house, "bob", Era::Legacy, true).await;
    assert_eq!(
        bob.call(WHO, json!({}), never).await.said()["data"]["login"],
        "bob"
    );
    assert_eq!(made(&fake), 1);
    house.stop().await;
}

/// Deletes the project's servers at Composio; returns how many there were.
async fn delete_servers(fake: &Fake) -> usize {
    let caller = Caller::of(fake);
    let servers = caller.get("/mcp/servers").await.body;
    let all = servers["items"].as_array().unwrap();
    for server in all {
        let path = format!("/mcp/{}", server["id"].as_str().unwrap());
        assert_eq!(caller.delete(&path).await.status, 200);
    }
    all.len()
}

#[tokio::test]
async fn a_server_that_was_deleted_at_composio_is_made_again_and_users_keep_their_connections() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    fake.connect("bob", "github");
    let house = House::start_with(&fake, OPTIONS).await;
    listed(&house).await;
    let alice = Agent::new(&house, "alice", Era::Modern, true).await;
    let bob = Agent::new(&house, "bob", Era::Legacy, true).await;
    let login = |went: Went| went.said()["data"]["login"].clone();
    // Links of both are open while it goes.
    for (agent, user) in [(&alice, "alice"), (&bob, "bob")] {
        assert_eq!(login(agent.call(WHO, json!({}), never).await), user);
    }
    for again in 1..=2 {
        assert_eq!(delete_servers(&fake).await, 1);
        let (first, second) =
            tokio::join!(alice.call(WHO, json!({}), never), bob.call(WHO, json!({}), never));
        assert_eq!((login(first), login(second)), (json!("alice"), json!("bob")));
        assert_eq!(made(&fake), 1 + again, "one for both");
    }
    // And after a start that finds none.
    house.stop().await;
    delete_servers(&fake).await;
    let house = House::start_with(&fake, OPTIONS).await;
    assert_eq!(listed(&house).await, [WHO], "with the tools that are allowed");
    assert_eq!(made(&fake), 4);
    for one in fake.executions() {
        assert_eq!(one.account_user_id.as_deref(), Some(one.user_id.as_str()));
    }
    house.stop().await;
}

#[test]
fn what_belongs_to_sessions_does_not_go_with_servers() {
    let errors = |options: &str| {
        let file = toolgate::config::File {
            name: "gateways.toml".to_owned(),
            text: format!(
                "[gateways.c]\nkind = 'composio'\napi_key = 'ak_1'\napi = 'mcp_servers'\n{options}\n"
            ),
        };
        let (environment, flags) = (
            std::collections::BTreeMap::new(),
            toolgate::config::Flags::default(),
        );
        let sources = toolgate::config::Sources::new(Some(file), environment, flags);
        match toolgate::config::load(&sources) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        }
    };
    let one = "toolkits = ['gmail']\n";
    for (options, told) in [
        ("workbench = true".to_owned(), vec!["c.api: ", "c.workbench: "]),
        (format!("{one}tags = ['readOnlyHint']"), vec!["c.tags: "]),
        (format!("{one}preload = ['GMAIL_X']"), vec!["c.preload: "]),
        (format!("{one}multi_account = true"), vec!["c.multi_account: "]),
        (
            format!("{one}tools.gmail.disable = ['GMAIL_X']"),
            vec!["c.tools.gmail.disable: does not go with", "`enable`", "`deny`"],
        ),
        (
            format!("{one}tools.gmail.tags = ['readOnlyHint']"),
            vec!["c.tools.gmail.tags: does not go with", "`enable`"],
        ),
        (
            "toolkits = ['gmail', 'github']\ntools.gmail.enable = ['GMAIL_X']".to_owned(),
            vec!["c.tools: must `enable` tools of github, too"],
        ),
        (
            "auth_configs = { slack = 'ac_1', gmail = 'ac_2' }\ntools.gmail.enable = ['GMAIL_X']".to_owned(),
            vec!["c.tools: must `enable` tools of slack, too"],
        ),
        (format!("{one}tools.gmail.enable = ['GMAIL_X']"), vec![]),
        ("auth_configs = { slack = 'ac_1' }".to_owned(), vec![]),
    ] {
        let errors = errors(&options);
        assert_eq!(errors.is_empty(), told.is_empty(), "{options}: {errors}");
        for told in told {
            assert!(errors.contains(told), "{options}: {errors}");
        }
    }
}
