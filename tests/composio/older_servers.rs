//! `api = "mcp_servers"`: the older servers as a second path, found or made by name, each user at a URL of their own.

use serde_json::{Value, json};

use crate::agent::{Agent, Era};
use crate::connect::{House, consent, look};
use crate::fake::{Fake, KEY};

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

#[tokio::test]
async fn what_belongs_to_sessions_does_not_go_with_servers() {
    let file = toolgate::config::File {
        name: "gateways.toml".to_owned(),
        text: "[gateways.c]\nkind = 'composio'\napi_key = 'ak_1'\napi = 'mcp_servers'\nworkbench = true\n"
            .to_owned(),
    };
    let sources = toolgate::config::Sources::new(
        Some(file),
        std::collections::BTreeMap::new(),
        toolgate::config::Flags::default(),
    );
    let errors = toolgate::config::load(&sources).unwrap_err().to_string();
    assert!(
        errors.contains("auth_configs") && errors.contains("workbench"),
        "{errors}"
    );
}
