//! Each option of a gateway of kind `composio`: what Composio is told of it, and what comes of it for the user.

use serde_json::{Value, json};

use crate::agent::{Agent, Era};
use crate::connect::{House, consent, look};
use crate::fake::Fake;
use crate::honest::Caller;
use crate::in_band::{listed, never};

const MULTI: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";

/// The body of the create of alice's session, its user aside.
fn told(fake: &Fake) -> Value {
    let seen = fake.seen();
    let mut creates = seen
        .iter()
        .filter(|seen| seen.place == "create" && seen.body["user_id"] == "alice");
    let mut body = creates.next().unwrap().body.clone();
    assert!(creates.next().is_none(), "one session");
    body.as_object_mut().unwrap().remove("user_id");
    body
}

async fn names(house: &House) -> Vec<String> {
    let tools = house.get("alice", "/api/tools").await;
    let all = tools["items"].as_array().unwrap().iter();
    all.map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

/// What comes of tools as parts of one multi-execute; `None`: the tool ran.
async fn parts(house: &House, slugs: &[&str]) -> Vec<Option<String>> {
    let agent = Agent::new(house, "alice", Era::Modern, false).await;
    let part = |slug: &&str| {
        let arguments = json!({ "owner": "o", "repo": "r", "message_id": "1" });
        json!({ "tool_slug": slug, "arguments": arguments })
    };
    let tools: Vec<Value> = slugs.iter().map(part).collect();
    let arguments = json!({ "tools": tools, "sync_response_to_workbench": false });
    let said = agent.call(MULTI, arguments, never).await.said();
    let results = said["data"]["results"].as_array().unwrap().iter();
    let error = |result: &Value| {
        let error = result["error"].as_str().or(result["response"]["error"].as_str());
        error.map(str::to_owned)
    };
    results.map(error).collect()
}

#[tokio::test]
async fn toolkits_tools_and_tags_are_what_a_session_reaches() {
    let fake = Fake::start().await;
    for toolkit in ["github", "gmail", "slack"] {
        fake.connect("alice", toolkit);
    }
    let house = House::start_with(
        &fake,
        "toolkits = ['github', 'gmail', 'slack']\ntags = ['readOnlyHint', '!destructiveHint']\n\
         tools.github.disable = ['GITHUB_DELETE_A_REPOSITORY']\ntools.gmail.enable = ['GMAIL_DELETE_MESSAGE']",
    )
    .await;
    listed(&house).await;
    let came = parts(
        &house,
        &[
            "GITHUB_GET_THE_AUTHENTICATED_USER",
            "GITHUB_DELETE_A_REPOSITORY",
            "GMAIL_DELETE_MESSAGE",
            "GMAIL_GET_PROFILE",
            "SLACK_SEND_MESSAGE",
        ],
    )
    .await;
    let refused: Vec<bool> = came
        .iter()
        .map(|error| {
            error
                .as_ref()
                .is_some_and(|error| error.contains("[Session Restriction]"))
        })
        .collect();
    assert_eq!(refused, [false, true, false, true, true], "{came:?}");
    assert_eq!(
        told(&fake),
        json!({
            "toolkits": { "enable": ["github", "gmail", "slack"] },
            "tools": { "github": { "disable": ["GITHUB_DELETE_A_REPOSITORY"] },
                "gmail": { "enable": ["GMAIL_DELETE_MESSAGE"] } },
            "tags": { "enable": ["readOnlyHint"], "disable": ["destructiveHint"] },
            "manage_connections": { "enable": true },
        })
    );
    house.stop().await;
}

#[tokio::test]
async fn preload_and_workbench_decide_on_what_stands_in_the_list() {
    let sandbox = ["COMPOSIO_REMOTE_WORKBENCH", "COMPOSIO_REMOTE_BASH_TOOL"];
    for (options, block, has_sandbox, has_meta) in [
        ("", json!({}), true, true),
        (
            "workbench = false",
            json!({ "workbench": { "enable": false } }),
            false,
            true,
        ),
        (
            "workbench = true\npreload = ['GMAIL_GET_PROFILE']",
            json!({ "workbench": { "enable": true }, "preload": { "tools": ["GMAIL_GET_PROFILE"] } }),
            true,
            true,
        ),
        (
            "preload = 'all'",
            json!({ "workbench": { "enable": false }, "preload": { "tools": "all" },
                "search": { "enable": false }, "execute": { "enable_multi_execute": false },
                "manage_connections": { "enable": false } }),
            false,
            false,
        ),
    ] {
        let fake = Fake::start().await;
        fake.connect("alice", "gmail");
        let house = House::start_with(&fake, &format!("toolkits = ['gmail']\n{options}")).await;
        listed(&house).await;
        let names = names(&house).await;
        let has = |name: &&str| names.iter().any(|other| other == name);
        assert_eq!(sandbox.iter().all(has), has_sandbox, "{options}: {names:?}");
        assert_eq!(has(&MULTI), has_meta, "{options}: {names:?}");
        assert_eq!(
            has(&"GMAIL_GET_PROFILE"),
            options.contains("preload"),
            "{options}: {names:?}"
        );
        house.standing("alice", "gmail").await;
        let mut expected =
            json!({ "toolkits": { "enable": ["gmail"] }, "manage_connections": { "enable": true } });
        for (name, block) in block.as_object().unwrap() {
            expected[name] = block.clone();
        }
        assert_eq!(told(&fake), expected, "{options}");
        house.stop().await;
    }
}

#[tokio::test]
async fn the_limits_of_several_accounts_are_told_and_kept() {
    let fake = Fake::start().await;
    let house = House::start_with(
        &fake,
        "toolkits = ['gmail']\nmulti_account = true\nmulti_account_max = 2\nmulti_account_explicit = true",
    )
    .await;
    listed(&house).await;
    let path = "/api/integrations/gmail/connect";
    for alias in ["work", "home"] {
        let begun = house.post("alice", path, json!({ "alias": alias })).await;
        look(&consent(begun["authUrl"].as_str().unwrap(), "allow").await).await;
    }
    let third = house
        .rest(
            "alice",
            reqwest::Method::POST,
            path,
            Some(json!({ "alias": "third" })),
        )
        .await;
    assert_eq!(third.0, 409, "{third:?}");
    assert!(third.1["detail"].as_str().unwrap().contains('2'), "{third:?}");
    assert_eq!(fake.accounts_of("alice").len(), 2);
    assert_eq!(
        told(&fake)["multi_account"],
        json!({ "enable": true, "max_accounts_per_toolkit": 2, "require_explicit_selection": true })
    );
    let came = parts(&house, &["GMAIL_GET_PROFILE"]).await;
    let error = came[0].as_deref().unwrap();
    assert!(error.contains("work") && error.contains("home"), "{error}");
    // One goes, and another may come.
    let standing = house.standing("alice", "gmail").await;
    let id = standing["accounts"][0]["id"].as_str().unwrap();
    let path = format!("/api/integrations/gmail?accountId={id}");
    house.rest("alice", reqwest::Method::DELETE, &path, None).await;
    house.begin("alice", "gmail").await;
    house.stop().await;
}

#[tokio::test]
async fn without_several_accounts_nothing_is_said_of_them_and_there_is_one() {
    let fake = Fake::start().await;
    let house = House::start_with(&fake, "toolkits = ['gmail']").await;
    house.connect("alice", "gmail").await;
    let again = house
        .post("alice", "/api/integrations/gmail/connect", json!({}))
        .await;
    assert_eq!(again["connected"], true, "{again}");
    assert_eq!(fake.accounts_of("alice").len(), 1);
    assert_eq!(told(&fake).get("multi_account"), None);
    house.stop().await;
}

#[tokio::test]
async fn a_callback_of_ones_own_gets_the_browser_with_its_state_and_hands_it_in() {
    let fake = Fake::start().await;
    let callback = "https://app.example/done?from=composio";
    let house = House::start_with(
        &fake,
        &format!("toolkits = ['gmail']\ncallback_url = '{callback}'"),
    )
    .await;
    let (auth_url, state) = house.begin("alice", "gmail").await;
    let back = consent(&auth_url, "allow").await;
    assert!(back.starts_with(&format!("{callback}&state={state}&")), "{back}");
    let settled = house
        .post(
            "alice",
            "/api/integrations/gmail/complete",
            json!({ "state": state }),
        )
        .await;
    assert_eq!(
        (&settled["status"], &settled["connected"]),
        (&json!("ACTIVE"), &json!(true))
    );
    // What Composio's own tool begins goes there, too.
    assert_eq!(
        told(&fake)["manage_connections"],
        json!({ "enable": true, "callback_url": callback })
    );
    house.stop().await;
}

#[tokio::test]
async fn connections_are_made_with_the_auth_config_that_is_named() {
    let fake = Fake::start().await;
    let caller = Caller::of(&fake);
    let mut ids = Vec::new();
    for name in ["one", "other"] {
        let config = json!({ "type": "use_composio_managed_auth", "name": name });
        let body = json!({ "toolkit": { "slug": "gmail" }, "auth_config": config });
        let made = caller.post("/auth_configs", body).await.body;
        ids.push(made["auth_config"]["id"].as_str().unwrap().to_owned());
    }
    for id in &ids {
        let options = format!("toolkits = ['gmail', 'github']\nauth_configs = {{ gmail = '{id}' }}");
        let house = House::start_with(&fake, &options).await;
        let (shown, _) = house.connect("bob", "gmail").await;
        assert_eq!(shown.outcome(), "connected");
        house.stop().await;
        let accounts = fake.accounts_of("bob");
        assert!(
            accounts.iter().any(|one| one["auth_config"]["id"] == *id),
            "{accounts:?}"
        );
    }
    // The environment says it as well.
    let file = crate::connect::file(&fake, "memory", "toolkits = ['gmail']");
    let environment = [("COMPOSIO_AUTH_CONFIG_GMAIL".to_owned(), ids[0].clone())];
    let house = House::start_file(&file, environment.into()).await;
    house.connect("alice", "gmail").await;
    assert_eq!(told(&fake)["auth_configs"], json!({ "gmail": ids[0] }));
    house.stop().await;
}
