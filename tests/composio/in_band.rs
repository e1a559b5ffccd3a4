//! A call that needs a connection: its user is sent to the page by a question where the client can ask, else by the
//! result. Nothing is executed twice.

use serde_json::{Value, json};

use crate::agent::{Agent, Era, Went};
use crate::connect::{House, TOOLKITS, consent, look};
use crate::fake::{Fake, error_body, odd};

const WHO: &str = "GITHUB_GET_THE_AUTHENTICATED_USER";
const MULTI: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";

fn multi(tools: &[&str]) -> Value {
    let item = |tool: &&str| json!({ "tool_slug": tool, "arguments": {} });
    json!({ "tools": tools.iter().map(item).collect::<Vec<_>>(), "sync_response_to_workbench": false })
}

/// A user who goes where the question leads and allows it.
async fn allows(params: Value) -> &'static str {
    let shown = look(&consent(params["url"].as_str().unwrap(), "allow").await).await;
    assert_eq!(shown.outcome(), "connected", "{shown:?}");
    "accept"
}

pub(crate) async fn never(params: Value) -> &'static str {
    panic!("asked {params}")
}

fn runs(fake: &Fake, tool: &str) -> usize {
    let ran = |one: &&crate::fake::Execution| one.tool == tool && one.successful;
    fake.executions().iter().filter(ran).count()
}

pub(crate) async fn listed(house: &House) {
    let ready = async {
        loop {
            let tools = house.get("alice", "/api/tools").await;
            if !tools["items"].as_array().unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::connect::PATIENCE, ready)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_that_can_ask_its_user_has_the_call_go_on_once_it_is_connected() {
    for era in [Era::Legacy, Era::Modern] {
        let fake = Fake::start().await;
        let house = House::start(&fake).await;
        listed(&house).await;
        let agent = Agent::new(&house, "alice", era, true).await;
        let went = agent.call(MULTI, multi(&[WHO]), allows).await;
        assert_eq!(went.asked.len(), 1, "{era:?} {went:?}");
        let asked = &went.asked[0];
        assert_eq!(asked["mode"], "url");
        assert!(asked["message"].as_str().unwrap().contains("github"), "{asked}");
        assert!(
            asked["url"].as_str().unwrap().starts_with(&fake.origin),
            "{asked}"
        );
        assert_eq!(
            asked.get("elicitationId").is_some(),
            era == Era::Legacy,
            "{asked}"
        );
        let said = went.said();
        assert_eq!(
            said["data"]["results"][0]["response"]["data"]["login"], "alice",
            "{era:?} {said}"
        );
        assert_ne!(went.end["result"]["isError"], true);
        assert_eq!(runs(&fake, WHO), 1);
        let ended: Vec<&Value> = went
            .heard
            .iter()
            .filter(|told| told["method"] == "notifications/elicitation/complete")
            .collect();
        match era {
            Era::Legacy => assert_eq!(ended[0]["params"]["elicitationId"], asked["elicitationId"]),
            Era::Modern => assert_eq!(ended.len(), 0),
        }
        assert_eq!(house.standing("alice", "github").await["status"], "ACTIVE");
        // Now it just works, and nothing is asked.
        let went = agent.call(MULTI, multi(&[WHO]), never).await;
        assert_eq!(went.said()["successful"], true);
        house.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_cannot_ask_gets_the_link_in_the_result_and_the_same_one_again() {
    for era in [Era::Legacy, Era::Modern] {
        let fake = Fake::start().await;
        let house = House::start(&fake).await;
        listed(&house).await;
        let agent = Agent::new(&house, "alice", era, false).await;
        let mut links = Vec::new();
        for _ in 0..3 {
            let went: Went = agent.call(MULTI, multi(&[WHO]), never).await;
            assert_eq!(went.end["result"]["isError"], true, "{went:?}");
            assert_eq!(
                went.said()["successful"],
                false,
                "what the tool said is still there"
            );
            let link = &went.end["result"]["_meta"]["toolgate/connect"][0];
            assert_eq!(link["toolkit"], "github", "{went:?}");
            let url = link["url"].as_str().unwrap().to_owned();
            assert!(
                went.last_text().contains(&url) && went.last_text().contains("call again"),
                "{went:?}"
            );
            links.push(url);
        }
        links.dedup();
        assert_eq!(links.len(), 1, "calls that fail do not pile up accounts");
        assert_eq!(fake.accounts_of("alice").len(), 1);
        assert_eq!(
            look(&consent(&links[0], "allow").await).await.outcome(),
            "connected"
        );
        let went = agent.call(MULTI, multi(&[WHO]), never).await;
        assert_eq!(
            went.said()["data"]["results"][0]["response"]["data"]["login"],
            "alice"
        );
        house.stop().await;
    }
}

#[tokio::test]
async fn a_user_who_says_no_is_not_asked_again_by_the_same_call() {
    for action in ["decline", "cancel"] {
        let fake = Fake::start().await;
        let house = House::start(&fake).await;
        listed(&house).await;
        let agent = Agent::new(&house, "alice", Era::Modern, true).await;
        let went = agent.call(MULTI, multi(&[WHO]), |_| async move { action }).await;
        assert_eq!(
            (went.asked.len(), &went.end["result"]["isError"]),
            (1, &json!(true)),
            "{went:?}"
        );
        assert!(went.last_text().contains("github is not connected"), "{went:?}");
        assert_eq!(fake.executions().iter().filter(|one| one.successful).count(), 0);
        house.stop().await;
    }
}

#[tokio::test]
async fn what_was_executed_in_part_is_not_sent_again() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    listed(&house).await;
    fake.connect("alice", "github");
    let agent = Agent::new(&house, "alice", Era::Legacy, true).await;
    let mail = "GMAIL_FETCH_EMAILS";
    let went = agent.call(MULTI, multi(&[WHO, mail]), allows).await;
    assert_eq!(went.asked.len(), 1, "{went:?}");
    assert_eq!(runs(&fake, WHO), 1, "once");
    assert_eq!(runs(&fake, mail), 0);
    assert!(went.last_text().contains("gmail is connected by now"), "{went:?}");
    // Two toolkits, none connected: both are asked for, then all goes on.
    let agent = Agent::new(&house, "bob", Era::Modern, true).await;
    let went = agent.call(MULTI, multi(&[WHO, mail]), allows).await;
    assert_eq!(went.asked.len(), 2, "{went:?}");
    assert_eq!(went.said()["data"]["success_count"], 2, "{went:?}");
    house.stop().await;
}

#[tokio::test]
async fn a_link_that_composio_made_is_a_question_as_well_and_its_tool_is_not_called_twice() {
    for era in [Era::Legacy, Era::Modern] {
        let fake = Fake::start().await;
        let house = House::start(&fake).await;
        listed(&house).await;
        let agent = Agent::new(&house, "alice", era, true).await;
        let arguments = json!({ "toolkits": ["github"] });
        let visit = |params: Value| async move {
            let http = crate::connect::client();
            let sent = http
                .post(params["url"].as_str().unwrap())
                .header("content-type", "application/x-www-form-urlencoded");
            sent.body("decision=allow").send().await.unwrap();
            "accept"
        };
        let went = agent
            .call("COMPOSIO_MANAGE_CONNECTIONS", arguments.clone(), visit)
            .await;
        assert_eq!(went.asked.len(), 1, "{went:?}");
        assert!(
            went.last_text().contains("github is connected by now"),
            "{went:?}"
        );
        assert_eq!(
            fake.accounts_of("alice").len(),
            1,
            "{era:?}: one link, one account"
        );
        assert_eq!(house.standing("alice", "github").await["status"], "ACTIVE");
        let went = agent
            .call("COMPOSIO_MANAGE_CONNECTIONS", arguments.clone(), never)
            .await;
        assert_eq!(went.said()["data"]["results"]["github"]["status"], "active");
        // Who cannot be asked finds the link in the result.
        let agent = Agent::new(&house, "bob", era, false).await;
        let went = agent.call("COMPOSIO_MANAGE_CONNECTIONS", arguments, never).await;
        assert_eq!(
            went.end["result"]["_meta"]["toolgate/connect"][0]["toolkit"], "github",
            "{went:?}"
        );
        house.stop().await;
    }
}

#[tokio::test]
async fn an_app_tool_of_the_list_is_connected_likewise_whatever_form_its_answer_has() {
    for (name, to) in [
        ("mcp_sets_is_error", json!(true)),
        ("mcp_block_bytes", json!(20)),
        ("mcp_answers_json", json!(true)),
        ("mcp_gives_session_ids", json!(true)),
        ("mcp_protocol_version", json!("2025-03-26")),
        ("mcp_protocol_version", json!("2025-11-25")),
        ("mcp_other_methods_status", json!(404)),
    ] {
        let fake = Fake::start().await;
        fake.control(&json!({ "do": "switch", "name": name, "to": to }));
        let options = "toolkits = ['github']\npreload = 'all'\nera = 'auto'";
        let house = House::start_with(&fake, options).await;
        listed(&house).await;
        let agent = Agent::new(&house, "alice", Era::Legacy, true).await;
        let went = agent.call(WHO, json!({}), allows).await;
        assert_eq!(went.asked.len(), 1, "{name}: {went:?}");
        assert_eq!(runs(&fake, WHO), 1, "{name}");
        house.stop().await;
    }
}

#[tokio::test]
async fn whichever_status_a_missing_connection_comes_with_its_user_is_sent_to_connect() {
    for status in [400, 403, 404, 409, 422] {
        let fake = Fake::start().await;
        let house = House::start_with(&fake, "toolkits = ['github']\npreload = ['GITHUB_GET_REPO']").await;
        listed(&house).await;
        let text = "No active connected account found for toolkit: github";
        let lacking = || {
            odd(
                status,
                &error_body(status, 4302, "ToolRouterV2_NoActiveConnection", text),
            )
        };
        let asks = Agent::new(&house, "alice", Era::Legacy, true).await;
        let arguments = json!({ "owner": "o", "repo": "r" });
        fake.next_mcp(lacking());
        let went = asks.call("GITHUB_GET_REPO", arguments, allows).await;
        assert_eq!(went.asked.len(), 1, "{status}: {went:?}");
        assert_eq!(went.said()["successful"], true, "{status}: {went:?}");
        assert_eq!(runs(&fake, "GITHUB_GET_REPO"), 1, "{status}");
        // Who cannot ask reads the link, and what is no such thing stays what it is.
        let cannot = Agent::new(&house, "bob", Era::Modern, false).await;
        fake.next_mcp(lacking());
        let went = cannot.call("GITHUB_GET_REPO", json!({}), never).await;
        assert!(
            went.last_text().contains("Ask the user to open"),
            "{status}: {went:?}"
        );
        fake.next_mcp(odd(
            403,
            &error_body(403, 1, "HTTP_Forbidden", "not on your plan"),
        ));
        let went = cannot.call("GITHUB_GET_REPO", json!({}), never).await;
        let told = went.end["error"]["message"].as_str().unwrap_or_default();
        assert!(
            told.contains("not on your plan") && told.contains("403"),
            "{went:?}"
        );
        house.stop().await;
    }
}

#[tokio::test]
async fn one_tool_is_executed_over_rest_for_the_user_that_the_key_names() {
    let fake = Fake::start().await;
    let house = House::start_with(&fake, &format!("{TOOLKITS}\ndeny = ['COMPOSIO_REMOTE_*']")).await;
    listed(&house).await;
    let path = format!("/api/integrations/github/tools/{WHO}");
    let answer = house.post("alice", &path, json!({})).await;
    assert_eq!(
        (&answer["successful"], &answer["data"]),
        (&json!(false), &json!({})),
        "{answer}"
    );
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("No active connected account"),
        "{answer}"
    );
    let url = answer["authUrl"].as_str().unwrap();
    look(&consent(url, "allow").await).await;
    let answer = house.post("alice", &path, json!({})).await;
    assert_eq!(
        (&answer["successful"], &answer["error"]),
        (&json!(true), &Value::Null),
        "{answer}"
    );
    assert_eq!(answer["data"]["login"], "alice");
    assert!(answer.get("authUrl").is_none());
    let answer = house
        .post("backend", &format!("{path}?userId=alice"), json!({}))
        .await;
    assert_eq!(answer["data"]["login"], "alice");
    for (path, status) in [
        (
            "/api/integrations/github/tools/GMAIL_FETCH_EMAILS".to_owned(),
            404,
        ),
        ("/api/integrations/hubspot/tools/HUBSPOT_X".to_owned(), 404),
        (
            "/api/integrations/github/tools/COMPOSIO_REMOTE_WORKBENCH".to_owned(),
            404,
        ),
    ] {
        let (got, answer) = house
            .rest("alice", reqwest::Method::POST, &path, Some(json!({})))
            .await;
        assert_eq!(got, status, "{path}: {answer}");
    }
    // A key that may not use the multi-execute tool has no way around it.
    let (got, _) = house
        .rest("narrow", reqwest::Method::POST, &path, Some(json!({})))
        .await;
    assert_eq!(got, 404);
    let failing = json!({ "do": "fail_tool", "tool": WHO, "message": "the app says no" });
    fake.control(&failing);
    let answer = house.post("alice", &path, json!({})).await;
    assert_eq!(
        (&answer["successful"], &answer["error"]),
        (&json!(false), &json!("the app says no")),
        "{answer}"
    );
    house.stop().await;
}
