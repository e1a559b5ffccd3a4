//! Known problems of Composio that no other file shows as users see them. `README.md` beside this holds each problem
//! against the test that shows how it is met.

use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::{Agent, Era};
use crate::catalogue::{house, multi, never};
use crate::connect::{BACKEND, TOOLKITS, consent, file, look};
use crate::fake::{Fake, KEY, odd};
use crate::honest::Caller;

const WHO: &str = "GITHUB_GET_THE_AUTHENTICATED_USER";
const MULTI: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";

fn login(said: &Value) -> &Value {
    &said["data"]["results"][0]["response"]["data"]["login"]
}

#[tokio::test]
async fn an_endpoint_gets_our_key_whether_its_session_speaks_of_headers_or_not() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    fake.connect("bob", "github");
    let caller = Caller::of(&fake);
    let create = |user: &str| json!({ "user_id": user, "toolkits": { "enable": ["github"] } });
    let made = caller.post("/tool_router/session", create("bob")).await;
    assert!(
        made.body["mcp"].get("headers").is_none(),
        "as Composio answers: {}",
        made.text
    );

    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let alice = Agent::new(&house, "alice", Era::Modern, false).await;
    let went = alice.call(MULTI, multi(WHO), never).await;
    assert_eq!(login(&went.said()), "alice", "{went:?}");
    // Should it speak of some one day, beside whatever else is new: they are not ours to send.
    let mut odder = made.body.clone();
    odder["mcp"]["headers"] = json!({ "x-api-key": "ak_of_another", "authorization": "Bearer x" });
    odder["warnings"] = json!([{ "code": "PRELOAD_TOOLS_HIGH_CONTEXT_USAGE", "message": "many" }]);
    odder["something_new"] = json!([1, null]);
    fake.next_create(odd(201, &odder));
    let bob = Agent::new(&house, "bob", Era::Modern, false).await;
    let went = bob.call(MULTI, multi(WHO), never).await;
    assert_eq!(login(&went.said()), "bob", "{went:?}");
    let seen = fake.seen();
    let ours = seen.iter().filter(|seen| seen.place == "mcp");
    assert!(ours.clone().count() > 2);
    for seen in ours {
        assert_eq!(seen.headers["x-api-key"], KEY, "{seen:?}");
        assert!(!seen.headers.contains_key("authorization"), "{seen:?}");
    }
    house.stop().await;
}

#[tokio::test]
async fn an_account_of_another_user_or_auth_config_is_not_there_and_a_link_for_the_right_one_is() {
    let fake = Fake::start().await;
    // ACTIVE in the dashboard: under another user's name, and under another auth config.
    fake.connect("Alice", "github");
    fake.connect("alice", "github");
    let config =
        json!({ "toolkit": { "slug": "github" }, "auth_config": { "type": "use_composio_managed_auth" } });
    let made = Caller::of(&fake).post("/auth_configs", config).await;
    let id = made.body["auth_config"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", made.text));
    let options = format!("{TOOLKITS}\nauth_configs = {{ github = '{id}' }}");
    let house = house(&file(&fake, "memory", &options)).await;
    let standing = house.standing("alice", "github").await;
    assert_eq!(
        (&standing["connected"], &standing["needsAuth"]),
        (&json!(false), &json!(true)),
        "{standing}"
    );
    let alice = Agent::new(&house, "alice", Era::Modern, false).await;
    let went = alice.call(MULTI, multi(WHO), never).await;
    assert_eq!(went.end["result"]["isError"], true, "{went:?}");
    assert_eq!(
        went.end["result"]["_meta"]["toolgate/connect"][0]["toolkit"], "github",
        "{went:?}"
    );
    let (shown, _) = house.connect("alice", "github").await;
    assert_eq!(shown.outcome(), "connected", "{shown:?}");
    let went = alice.call(MULTI, multi(WHO), never).await;
    assert_eq!(login(&went.said()), "alice", "{went:?}");
    let used = fake.executions().into_iter().filter(|one| one.successful);
    for one in used {
        assert_eq!(
            (one.user_id.as_str(), one.account_user_id.as_deref()),
            ("alice", Some("alice"))
        );
    }
    house.stop().await;
}

#[tokio::test]
async fn a_session_whose_key_is_refused_is_degraded_until_it_is_taken_again_and_nobody_else_is() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    fake.connect("bob", "github");
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let states = async |user: &str| -> Vec<String> {
        let page = house
            .get(BACKEND, &format!("/api/tool-router/sessions?userId={user}"))
            .await;
        let items = page["items"].as_array().unwrap().clone();
        let mut states = Vec::new();
        for item in items {
            let path = format!(
                "/api/tool-router/sessions/{}?userId={user}",
                item["sessionId"].as_str().unwrap()
            );
            assert_eq!(house.get(BACKEND, &path).await["status"], item["status"]);
            states.push(item["status"].as_str().unwrap().to_owned());
        }
        states
    };
    let alice = Agent::new(&house, "alice", Era::Modern, false).await;
    let bob = Agent::new(&house, "bob", Era::Legacy, false).await;
    for agent in [&alice, &bob] {
        agent.call(MULTI, multi(WHO), never).await.said();
    }
    assert_eq!(
        (states("alice").await, states("bob").await),
        (vec!["ACTIVE".to_owned()], vec!["ACTIVE".to_owned()])
    );
    for _ in 0..2 {
        fake.next_mcp(odd(401, &json!({ "message": "no" })));
    }
    let went = alice.call(MULTI, multi(WHO), never).await;
    let told = went.end["error"]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{went:?}"));
    assert!(
        told.contains("HTTP 401") && told.contains("COMPOSIO_API_KEY"),
        "{told}"
    );
    assert_eq!(
        (states("alice").await, states("bob").await),
        (vec!["DEGRADED".to_owned()], vec!["ACTIVE".to_owned()])
    );
    let went = bob.call(MULTI, multi(WHO), never).await;
    assert_eq!(login(&went.said()), "bob", "{went:?}");
    let went = alice.call(MULTI, multi(WHO), never).await;
    assert_eq!(login(&went.said()), "alice", "the user was not dropped: {went:?}");
    assert_eq!(states("alice").await, ["ACTIVE"]);
    assert_eq!(fake.creates_of("alice"), 1);
    house.stop().await;
}

#[tokio::test]
async fn what_is_too_much_for_a_meta_tool_is_told_as_composio_tells_it() {
    let fake = Fake::start().await;
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let alice = Agent::new(&house, "alice", Era::Modern, false).await;
    let queries: Vec<Value> = (0..8)
        .map(|number| json!({ "use_case": format!("use {number}") }))
        .collect();
    let went = alice
        .call("COMPOSIO_SEARCH_TOOLS", json!({ "queries": queries }), never)
        .await;
    assert_eq!(went.end["result"]["isError"], true, "{went:?}");
    assert!(
        went.said()["error"].as_str().unwrap().contains("1 to 7"),
        "{went:?}"
    );
    let went = alice
        .call("COMPOSIO_SEARCH_TOOLS", json!({ "queries": queries[..7] }), never)
        .await;
    assert_eq!(went.said()["successful"], true, "{went:?}");
    house.stop().await;
}

#[tokio::test]
async fn names_stay_within_what_clients_take_however_long_the_gateways_is() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let long = "a-gateway-with-the-longest-name-";
    let text = file(
        &fake,
        "memory",
        "toolkits = ['github']\npreload = 'all'\nprefix = 'always'",
    );
    let house = house(&text.replace("[gateways.composio]", &format!("[gateways.{long}]"))).await;
    let tools = house.get("alice", "/api/tools").await;
    let names: Vec<String> = tools["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.len() > 4, "{names:?}");
    assert!(
        names
            .iter()
            .all(|name| name.len() <= 64 && name.starts_with(long)),
        "{names:?}"
    );
    let alice = Agent::new(&house, "alice", Era::Modern, false).await;
    let mut logins = 0;
    for name in &names {
        // Most want arguments; each reaches a tool of its own.
        let went = alice.call(name, json!({}), never).await;
        logins += usize::from(went.said()["data"]["login"] == "alice");
    }
    let reached: std::collections::BTreeSet<String> =
        fake.executions().into_iter().map(|one| one.tool).collect();
    assert_eq!((logins, reached.len()), (1, names.len()), "{reached:?}");
    house.stop().await;
}

#[tokio::test]
async fn a_tool_that_blocks_is_waited_for_and_its_caller_alone() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    fake.connect("bob", "github");
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let bash = "COMPOSIO_REMOTE_BASH_TOOL";
    fake.control(&json!({ "do": "delay", "tool": bash, "ms": 3_000 }));
    let alice = Agent::new(&house, "alice", Era::Legacy, false).await;
    let bob = Agent::new(&house, "bob", Era::Modern, false).await;
    bob.call(MULTI, multi(WHO), never).await.said();
    let began = std::time::Instant::now();
    let waits = alice.call(bash, json!({ "command": "echo done" }), never);
    let quick = async {
        let went = bob.call(MULTI, multi(WHO), never).await;
        (went, began.elapsed())
    };
    let (waited, (quick, took)) = tokio::join!(waits, quick);
    assert_eq!(waited.said()["data"]["stdout"], "done\n", "{waited:?}");
    assert_eq!(login(&quick.said()), "bob");
    assert!(took < std::time::Duration::from_secs(3), "{took:?}");
    let (status, _) = house.rest("alice", Method::GET, "/api/gateways", None).await;
    assert_eq!(status, 200);
    house.stop().await;
}

#[tokio::test]
async fn a_link_that_composio_gives_again_is_as_good_as_a_new_one() {
    for (reused, accounts) in [(true, 1), (false, 2)] {
        let fake = Fake::start().await;
        fake.control(&json!({ "do": "switch", "name": "link_is_reused", "to": reused }));
        let house = house(&file(&fake, "memory", TOOLKITS)).await;
        let (first, first_state) = house.begin("alice", "gmail").await;
        let (second, second_state) = house.begin("alice", "gmail").await;
        assert_eq!((first == second, first_state == second_state), (reused, false));
        assert_eq!(fake.accounts_of("alice").len(), accounts);
        let back = consent(&second, "allow").await;
        assert_eq!(look(&back).await.outcome(), "connected", "{reused}");
        let standing = house.standing("alice", "gmail").await;
        assert_eq!(
            (
                &standing["status"],
                standing["accounts"].as_array().unwrap().len()
            ),
            (&json!("ACTIVE"), 1)
        );
        let again = house
            .post("alice", "/api/integrations/gmail/connect", json!({}))
            .await;
        assert_eq!(again["connected"], true, "{again}");
        house.stop().await;
    }
}
