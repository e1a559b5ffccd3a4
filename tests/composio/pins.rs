//! Which account a call runs with, of several: the one that its user chose, in sessions that are there already, by every
//! way of calling; and never one that is gone. Chosen accounts are pinned in the session, and pins never fall back, so
//! the ledger of the fake says what was used, and its log what the session was told.

use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::{Agent, Era};
use crate::connect::{House, TOOLKITS};
use crate::fake::Fake;
use crate::in_band::{listed, never};

const SEVERAL: &str = "multi_account = true\npreload = ['GMAIL_GET_PROFILE']";
const PROFILE: &str = "GMAIL_GET_PROFILE";

/// Alice with two accounts of Gmail, of which Toolgate knows.
async fn two(fake: &Fake, more: &str) -> (House, String, String) {
    let house = House::start_with(fake, &format!("{TOOLKITS}\n{more}")).await;
    listed(&house).await;
    let (first, second) = (fake.connect("alice", "gmail"), fake.connect("alice", "gmail"));
    // A list learns of the account that the session would use: the newer one, and then the older.
    house.standing("alice", "gmail").await;
    fake.control(&json!({ "do": "account", "id": second, "status": "INACTIVE" }));
    house.standing("alice", "gmail").await;
    fake.control(&json!({ "do": "account", "id": second, "status": "ACTIVE" }));
    let known = house.standing("alice", "gmail").await;
    let active = |id: &String| {
        let accounts = known["accounts"].as_array().unwrap().iter();
        accounts
            .filter(|one| one["id"] == *id && one["status"] == "ACTIVE")
            .count()
    };
    assert_eq!((active(&first), active(&second)), (1, 1), "{known}");
    (house, first, second)
}

async fn choose(house: &House, account: &str) {
    let change = json!({ "accountId": account, "chosen": true });
    let (status, answer) = house
        .rest("alice", Method::PATCH, "/api/integrations/gmail", Some(change))
        .await;
    assert_eq!(status, 200, "{answer}");
}

fn part(account: Option<&str>) -> Value {
    let mut part = json!({ "tool_slug": PROFILE, "arguments": {} });
    if let Some(account) = account {
        part["account"] = json!(account);
    }
    json!({ "tools": [part], "sync_response_to_workbench": false })
}

/// The account that the last execution ran with.
fn used(fake: &Fake) -> Option<String> {
    let all = fake.executions();
    let last = all.last().unwrap();
    assert_eq!(last.user_id, "alice");
    last.account_id.clone()
}

/// What the sessions were told of accounts since, in order; `null`: none are pinned.
fn told(fake: &Fake) -> Vec<Value> {
    let seen = fake.seen();
    let changes = seen.iter().filter(|seen| seen.method == Method::PATCH);
    changes
        .filter_map(|seen| seen.body.get("connected_accounts"))
        .cloned()
        .collect()
}

const MULTI: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";

/// Calls the preloaded tool itself, whose arguments have no place for an account.
async fn directly(agent: &Agent) -> Value {
    agent.call(PROFILE, json!({}), never).await.said()
}

#[tokio::test]
async fn choosing_another_account_changes_the_sessions_that_the_user_has() {
    let fake = Fake::start().await;
    let (house, first, second) = two(&fake, SEVERAL).await;
    let agent = Agent::new(&house, "alice", Era::Modern, false).await;
    let made = house
        .post(
            "alice",
            "/api/tool-router/create-session",
            json!({ "toolkits": ["gmail", "slack"] }),
        )
        .await;
    assert_eq!(made["success"], true, "{made}");
    directly(&agent).await;
    assert_eq!(used(&fake).as_ref(), Some(&second), "unpinned: the newest");
    let sessions = fake.creates_of("alice");
    for (chosen, other) in [(&first, &second), (&second, &first), (&first, &second)] {
        let before = told(&fake).len();
        choose(&house, chosen).await;
        // Both sessions, and the others stay within reach.
        let pins = json!({ "gmail": [chosen, other] });
        assert_eq!(told(&fake)[before..], [pins.clone(), pins]);
        directly(&agent).await;
        assert_eq!(used(&fake).as_ref(), Some(chosen));
    }
    // Chosen again: nothing is to be told. And no session was made anew.
    let before = told(&fake).len();
    choose(&house, &first).await;
    assert_eq!(told(&fake).len(), before);
    assert_eq!(fake.creates_of("alice"), sessions);
    house.stop().await;
}

#[tokio::test]
async fn a_disconnected_account_is_taken_out_of_the_sessions_before_it_is_deleted() {
    let fake = Fake::start().await;
    let (house, first, second) = two(&fake, SEVERAL).await;
    let agent = Agent::new(&house, "alice", Era::Modern, false).await;
    choose(&house, &first).await;
    directly(&agent).await;
    assert_eq!(used(&fake).as_ref(), Some(&first));
    let before = fake.seen().len();
    let path = format!("/api/integrations/gmail?accountId={first}");
    let (status, answer) = house.rest("alice", Method::DELETE, &path, None).await;
    assert_eq!((status, answer), (200, json!({ "disconnected": 1 })));
    let seen = fake.seen();
    let at = |wanted: &dyn Fn(&crate::fake::Seen) -> bool| seen[before..].iter().position(wanted).unwrap();
    let unpinned = at(&|seen| seen.method == Method::PATCH && seen.body["connected_accounts"].is_null());
    let deleted = at(&|seen| seen.method == Method::DELETE && seen.path.ends_with(&first));
    assert!(unpinned < deleted, "{unpinned} {deleted}");
    // The very next calls run, with the account that is left.
    assert_eq!(directly(&agent).await["successful"], true);
    assert_eq!(used(&fake).as_ref(), Some(&second));
    let went = agent.call(MULTI, part(None), never).await;
    assert_eq!(went.said()["successful"], true, "{went:?}");
    assert_eq!(used(&fake).as_ref(), Some(&second));
    assert!(
        fake.executions().iter().all(|one| one.successful),
        "no call met a dead pin"
    );
    house.stop().await;
}

#[tokio::test]
async fn an_account_that_is_found_gone_or_switched_off_is_taken_out_and_comes_back() {
    let fake = Fake::start().await;
    let (house, first, second) = two(&fake, SEVERAL).await;
    let agent = Agent::new(&house, "alice", Era::Modern, false).await;
    choose(&house, &first).await;
    for (enabled, account) in [(false, &second), (true, &first)] {
        let change = json!({ "accountId": first, "enabled": enabled });
        let (status, answer) = house
            .rest("alice", Method::PATCH, "/api/integrations/gmail", Some(change))
            .await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(directly(&agent).await["successful"], true);
        assert_eq!(used(&fake).as_ref(), Some(account), "enabled: {enabled}");
    }
    fake.control(&json!({ "do": "delete_account", "id": first }));
    let standing = house.standing("alice", "gmail").await;
    assert_eq!(told(&fake).last(), Some(&Value::Null), "{standing}");
    assert_eq!(directly(&agent).await["successful"], true);
    assert_eq!(used(&fake).as_ref(), Some(&second));
    house.stop().await;
}

#[tokio::test]
async fn a_choice_that_could_not_be_told_is_told_with_the_next_look() {
    let fake = Fake::start().await;
    let (house, first, _) = two(&fake, SEVERAL).await;
    let agent = Agent::new(&house, "alice", Era::Modern, false).await;
    fake.is_down(true);
    let change = json!({ "accountId": first, "chosen": true });
    let (status, answer) = house
        .rest("alice", Method::PATCH, "/api/integrations/gmail", Some(change))
        .await;
    assert!(status >= 500, "{status} {answer}");
    fake.is_down(false);
    house.standing("alice", "gmail").await;
    directly(&agent).await;
    assert_eq!(used(&fake).as_ref(), Some(&first));
    house.stop().await;
}

#[tokio::test]
async fn parts_of_multi_execute_that_name_no_account_run_with_the_chosen_one() {
    let fake = Fake::start().await;
    let (house, first, second) = two(&fake, SEVERAL).await;
    let agent = Agent::new(&house, "alice", Era::Modern, false).await;
    choose(&house, &first).await;
    for (named, account) in [(None, &first), (Some(second.as_str()), &second)] {
        let went = agent.call(MULTI, part(named), never).await;
        assert_eq!(went.said()["successful"], true, "{went:?}");
        assert_eq!(used(&fake).as_ref(), Some(account));
    }
    let seen = fake.seen();
    let calls = seen.iter().filter(|seen| seen.body["params"]["name"] == MULTI);
    let accounts: Vec<&Value> = calls
        .map(|seen| &seen.body["params"]["arguments"]["tools"][0]["account"])
        .collect();
    assert_eq!(accounts, [&json!(first), &json!(second)], "beside `tool_slug`");
    // By REST the same.
    let path = format!("/api/integrations/gmail/tools/{PROFILE}");
    house.post("alice", &path, json!({})).await;
    assert_eq!(used(&fake).as_ref(), Some(&first));
    house.stop().await;
}

#[tokio::test]
async fn where_calls_must_name_their_account_none_is_put_in() {
    let fake = Fake::start().await;
    let (house, first, _) = two(&fake, "multi_account = true\nmulti_account_explicit = true").await;
    let agent = Agent::new(&house, "alice", Era::Modern, false).await;
    choose(&house, &first).await;
    let went = agent.call(MULTI, part(None), never).await;
    let said = went.said();
    let error = said["data"]["results"][0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("Multiple gmail accounts connected"), "{said}");
    let went = agent.call(MULTI, part(Some(&first)), never).await;
    assert_eq!(went.said()["successful"], true, "{went:?}");
    assert_eq!(used(&fake).as_ref(), Some(&first));
    house.stop().await;
}

#[tokio::test]
async fn a_call_that_meets_an_account_which_went_elsewhere_goes_on_with_another() {
    let fake = Fake::start().await;
    let house = House::start_with(&fake, &format!("{TOOLKITS}\n{SEVERAL}")).await;
    listed(&house).await;
    let first = fake.connect("alice", "gmail");
    house.standing("alice", "gmail").await;
    choose(&house, &first).await;
    let agent = Agent::new(&house, "alice", Era::Modern, false).await;
    directly(&agent).await;
    assert_eq!(told(&fake), [json!({ "gmail": [first] })]);
    // At Composio it goes and another comes; nobody tells Toolgate.
    fake.control(&json!({ "do": "delete_account", "id": first }));
    let second = fake.connect("alice", "gmail");
    let said = directly(&agent).await;
    assert_eq!(said["successful"], true, "{said}");
    assert_eq!(used(&fake), Some(second));
    assert_eq!(told(&fake).last(), Some(&Value::Null));
    // With none left the user is sent to connect one.
    let ids: Vec<Value> = fake
        .accounts_of("alice")
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    for id in ids {
        fake.control(&json!({ "do": "delete_account", "id": id }));
    }
    let went = agent.call(PROFILE, json!({}), never).await;
    assert!(went.last_text().contains("Ask the user to open"), "{went:?}");
    house.stop().await;
}

#[tokio::test]
async fn whichever_of_several_pins_composio_takes_there_is_a_setting_with_which_it_is_the_chosen_one() {
    for (first_is_taken, setting) in [(true, "all"), (true, "chosen"), (false, "chosen")] {
        let fake = Fake::start().await;
        fake.control(&json!({ "do": "switch", "name": "first_pin_is_taken", "to": first_is_taken }));
        let more = format!("{SEVERAL}\nmulti_account_pins = '{setting}'");
        let (house, first, second) = two(&fake, &more).await;
        let agent = Agent::new(&house, "alice", Era::Modern, false).await;
        choose(&house, &first).await;
        let pins = match setting {
            "all" => json!({ "gmail": [first, second] }),
            _ => json!({ "gmail": [first] }),
        };
        directly(&agent).await;
        assert_eq!(told(&fake).last(), Some(&pins), "{setting}");
        assert_eq!(used(&fake).as_ref(), Some(&first), "{first_is_taken} {setting}");
        // What only `all` can: a part that names another account runs with it. With the chosen one alone none does.
        let went = agent.call(MULTI, part(Some(&second)), never).await.said();
        assert_eq!(went["successful"], setting == "all", "{went}");
        house.stop().await;
    }
    // What the setting is there for.
    let fake = Fake::start().await;
    fake.control(&json!({ "do": "switch", "name": "first_pin_is_taken", "to": false }));
    let (house, first, second) = two(&fake, SEVERAL).await;
    let agent = Agent::new(&house, "alice", Era::Modern, false).await;
    choose(&house, &first).await;
    directly(&agent).await;
    assert_eq!(used(&fake), Some(second));
    house.stop().await;
}
