//! Composio's tools in the one list: what a part of multi-execute may be, what a session may not use, app tools that are
//! preloaded, and tools that fail inside a success.

use serde_json::{Value, json};
use toolgate::config::Config;

use crate::fake::{Fake, error_body, odd};
use crate::gate::{ALICE, BOB, Gate, configured, connected, login, message};

async fn gate(fake: &Fake, options: &str, edit: impl Fn(&mut Config)) -> Gate {
    let mut config = configured(fake, "memory", options);
    edit(&mut config);
    let gate = Gate::start_as(&config).await;
    gate.until(|status| status.listed.is_some()).await;
    gate
}

async fn names(gate: &Gate, key: &str) -> Vec<String> {
    let listed = gate.ask(key, "tools/list", json!({})).await;
    let tools = listed["result"]["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{listed}"));
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn multi(gate: &Gate, parts: Value) -> Value {
    let arguments = json!({ "tools": parts, "sync_response_to_workbench": false });
    let params = json!({ "name": "COMPOSIO_MULTI_EXECUTE_TOOL", "arguments": arguments });
    gate.ask(ALICE, "tools/call", params).await
}

fn part(slug: &str) -> Value {
    json!({ "tool_slug": slug, "arguments": {} })
}

fn said(answer: &Value) -> Value {
    let text = answer["result"]["content"][0]["text"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("{answer}"))).unwrap()
}

const TWO: &str = "toolkits = ['github', 'gmail']\n";
const WHO: &str = "GITHUB_GET_THE_AUTHENTICATED_USER";

#[tokio::test]
async fn one_part_that_is_refused_refuses_the_call_and_nothing_is_sent() {
    let fake = connected().await;
    let deny = |config: &mut Config| config.gateways[0].deny = vec!["GITHUB_DELETE_*".to_owned()];
    let gate = gate(&fake, TWO, deny).await;
    for (slug, place) in [
        ("GITHUB_DELETE_A_REPOSITORY", "denied by its own name"),
        (
            "SLACK_SEND_MESSAGE",
            "of a toolkit that the gateway does not have",
        ),
        ("GITHUB", "no tool"),
        ("github_delete_a_repository", "spelt otherwise"),
        ("GITHUB_DELETE_A_REPOSITORY\u{200b}", "spelt otherwise"),
        ("", "no name"),
    ] {
        let answer = multi(&gate, json!([part(WHO), part(slug)])).await;
        assert_eq!(answer["error"]["code"], -32602, "{place}: {answer}");
        let text = message(&answer);
        assert!(
            text.starts_with("Unknown tool: ") && text.contains("part 1 of `tools`"),
            "{place}: {text}"
        );
        assert!(text.contains(slug), "{place}: {text}");
    }
    assert!(fake.executions().is_empty(), "{:?}", fake.executions());
    assert_eq!(fake.calls_of("alice"), 0);
    assert_eq!(login(&multi(&gate, json!([part(WHO)])).await), "alice");
    gate.stop().await;
}

#[tokio::test]
async fn a_part_goes_by_the_names_that_it_would_have() {
    let fake = connected().await;
    for (permitted, right) in [
        (vec!["COMPOSIO_*", "GITHUB_*"], true),
        (vec!["COMPOSIO_*", "composio__GITHUB_*"], true),
        (vec!["COMPOSIO_*"], false),
    ] {
        let permitted: Vec<String> = permitted.into_iter().map(ToOwned::to_owned).collect();
        let gate = gate(&fake, TWO, |config| {
            config.tools.permitted = Some(permitted.clone());
        })
        .await;
        let answer = multi(&gate, json!([part(WHO)])).await;
        assert_eq!(answer.get("error").is_none(), right, "{permitted:?}: {answer}");
        gate.stop().await;
    }
    let allow = |config: &mut Config| config.gateways[0].allow = Some(vec!["COMPOSIO_*".to_owned()]);
    let gate = gate(&fake, TWO, allow).await;
    assert!(multi(&gate, json!([part(WHO)])).await["error"].is_object());
    gate.stop().await;
}

#[tokio::test]
async fn parts_that_cannot_be_read_or_are_too_many_are_refused() {
    let fake = connected().await;
    let gate = gate(&fake, TWO, |_| ()).await;
    let all: Vec<Value> = (0..51).map(|_| part(WHO)).collect();
    for (parts, told) in [
        (json!(all), "at most 50 parts"),
        (json!([{ "arguments": {} }]), "`tool_slug`"),
        (json!([WHO]), "`tool_slug`"),
        (json!([{ "tool_slug": 1 }]), "`tool_slug`"),
        (json!({}), "a list `tools`"),
        (Value::Null, "a list `tools`"),
    ] {
        let answer = multi(&gate, parts).await;
        assert!(message(&answer).contains(told), "{answer}");
    }
    assert!(fake.executions().is_empty());
    let fifty = multi(&gate, json!(all[..50])).await;
    assert_eq!(said(&fifty)["data"]["success_count"], 50);
    gate.stop().await;
}

#[tokio::test]
async fn what_stands_in_arguments_is_left_alone_account_too() {
    let fake = connected().await;
    let gate = gate(&fake, TWO, |_| ()).await;
    let part = json!({ "tool_slug": WHO, "arguments": { "account": "bob", "n": 12_345_678_901_234_567_890_u64 }, "account": "x" });
    let answer = multi(&gate, json!([part.clone()])).await;
    assert!(answer.get("error").is_none(), "{answer}");
    let sent = fake
        .seen()
        .into_iter()
        .rev()
        .find(|seen| seen.body["method"] == "tools/call")
        .unwrap();
    assert_eq!(sent.body["params"]["arguments"]["tools"][0], part);
    gate.stop().await;
}

#[tokio::test]
async fn a_tool_that_failed_inside_a_success_says_so_and_keeps_its_content() {
    let fake = connected().await;
    let gate = gate(&fake, &format!("{TWO}preload = ['{WHO}']\n"), |_| ()).await;
    fake.control(&json!({ "do": "fail_tool", "tool": WHO, "message": "GitHub says no" }));
    let call = json!({ "name": WHO, "arguments": {} });
    let answer = gate.ask(ALICE, "tools/call", call.clone()).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(
        (&said(&answer)["successful"], &said(&answer)["error"]),
        (&json!(false), &json!("GitHub says no"))
    );
    let answer = gate.ask(ALICE, "tools/call", call).await;
    assert_ne!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(said(&answer)["data"]["login"], "alice");

    // Of several parts one fails: Composio's word for the whole decides.
    fake.control(&json!({ "do": "fail_tool", "tool": WHO, "message": "no" }));
    let answer = multi(&gate, json!([part(WHO), part(WHO)])).await;
    let whole = said(&answer);
    assert_eq!(whole["data"]["error_count"], 1, "{whole}");
    let told = answer["result"]["isError"].as_bool().unwrap_or(false);
    assert_eq!(told, whole["successful"] == false, "{answer}");
    gate.stop().await;
}

#[tokio::test]
async fn a_user_without_a_connection_reads_what_composio_says() {
    let fake = connected().await;
    let gate = gate(&fake, &format!("{TWO}preload = ['GMAIL_GET_PROFILE']\n"), |_| ()).await;
    let answer = gate
        .ask(
            ALICE,
            "tools/call",
            json!({ "name": "GMAIL_GET_PROFILE", "arguments": {} }),
        )
        .await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(
        said(&answer)["error"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .contains("no active connect"),
        "{answer}"
    );
    gate.stop().await;
}

#[tokio::test]
async fn preloaded_tools_stand_in_the_list_of_every_user_and_reach_their_own_accounts() {
    let fake = connected().await;
    let some = gate(&fake, &format!("{TWO}preload = ['{WHO}']\n"), |_| ()).await;
    let listed = names(&some, ALICE).await;
    assert!(
        listed.contains(&WHO.to_owned()) && listed.contains(&"COMPOSIO_SEARCH_TOOLS".to_owned()),
        "{listed:?}"
    );
    assert_eq!(listed, names(&some, BOB).await);
    for (key, user) in [(ALICE, "alice"), (BOB, "bob")] {
        let answer = some
            .ask(key, "tools/call", json!({ "name": WHO, "arguments": {} }))
            .await;
        assert_eq!(said(&answer)["data"]["login"], user, "{answer}");
    }
    some.stop().await;

    let deny = |config: &mut Config| config.gateways[0].deny = vec!["*_DELETE_*".to_owned()];
    let all = gate(&fake, &format!("{TWO}preload = 'all'\n"), deny).await;
    let listed = names(&all, ALICE).await;
    assert!(listed.len() > 5, "{listed:?}");
    let right = |name: &String| name.starts_with("GITHUB_") || name.starts_with("GMAIL_");
    assert!(
        listed.iter().all(right) && !listed.iter().any(|name| name.contains("DELETE")),
        "{listed:?}"
    );
    for hidden in [
        "GITHUB_DELETE_A_REPOSITORY",
        "SLACK_SEND_MESSAGE",
        "COMPOSIO_SEARCH_TOOLS",
    ] {
        let answer = all
            .ask(ALICE, "tools/call", json!({ "name": hidden, "arguments": {} }))
            .await;
        assert_eq!(message(&answer), format!("Unknown tool: {hidden}"));
    }
    all.stop().await;
}

#[tokio::test]
async fn each_error_of_a_create_is_read_by_the_user() {
    let fake = connected().await;
    for (status, code, slug, text, part) in [
        (
            400,
            10400,
            "HTTP_BadRequest",
            "Invalid request",
            "HTTP_BadRequest: Invalid request",
        ),
        (
            400,
            4300,
            "ToolRouterV2_BadRequest",
            "custom tool schema",
            "ToolRouterV2_BadRequest: custom tool schema",
        ),
        (
            403,
            10403,
            "HTTP_Forbidden",
            "feature off",
            "does not allow this to the project",
        ),
        (
            401,
            801,
            "APIKey_InvalidAPIKey",
            "Invalid API key",
            "COMPOSIO_API_KEY",
        ),
        (
            401,
            10401,
            "HTTP_Unauthorized",
            "Multiple authentication modes",
            "COMPOSIO_API_KEY",
        ),
        (
            500,
            1,
            "ToolRouterV2_InternalServerError",
            "oops",
            "ToolRouterV2_InternalServerError: oops",
        ),
    ] {
        let gate = gate(&fake, TWO, |_| ()).await;
        fake.next_create(odd(status, &error_body(status, code, slug, text)));
        let answer = gate.who(ALICE).await;
        assert!(message(&answer).contains(part), "{slug}: {answer}");
        assert_eq!(
            login(&gate.who(ALICE).await),
            "alice",
            "the next call tries again"
        );
        gate.stop().await;
    }
}

async fn manage(gate: &Gate, arguments: Value) -> Value {
    let params = json!({ "name": "COMPOSIO_MANAGE_CONNECTIONS", "arguments": arguments });
    gate.ask(ALICE, "tools/call", params).await
}

#[tokio::test]
async fn working_connections_are_not_replaced_by_an_agent_unless_the_operator_allows_it() {
    let fake = connected().await;
    let before = fake.accounts_of("alice").len();
    let one = gate(&fake, TWO, |_| ()).await;
    let several = gate(&fake, &format!("{TWO}multi_account = true\n"), |_| ()).await;
    for (alone, part) in [(&one, "`reconnect`"), (&several, "`multi_account_reinitiate`")] {
        for again in [json!(true), json!("true"), json!(1)] {
            let answer = manage(alone, json!({ "toolkits": ["github"], "reinitiate_all": again })).await;
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
            assert!(message(&answer).contains(part), "{answer}");
        }
    }
    several.stop().await;
    let alone = one;
    assert_eq!(fake.calls_of("alice"), 0, "nothing was sent");
    // Without it what works stays, and what is missing gets its link.
    for kept in [json!({}), json!({ "reinitiate_all": false })] {
        let mut arguments = kept;
        arguments["toolkits"] = json!(["github"]);
        let said = said(&manage(&alone, arguments).await);
        assert_eq!(said["data"]["results"]["github"]["status"], "active", "{said}");
    }
    assert_eq!(fake.accounts_of("alice").len(), before);
    alone.stop().await;
    // Where the operator allows it, it is Composio's to say what becomes of the one that works.
    let allowed = format!("{TWO}multi_account = true\nmulti_account_reinitiate = true\n");
    let several = gate(&fake, &allowed, |_| ()).await;
    let answer = manage(
        &several,
        json!({ "toolkits": ["github"], "reinitiate_all": true }),
    )
    .await;
    assert_eq!(
        said(&answer)["data"]["results"]["github"]["status"],
        "initiated",
        "{answer}"
    );
    several.stop().await;
}

#[tokio::test]
async fn a_toolkit_that_the_caller_does_not_have_cannot_be_connected_or_waited_for() {
    let fake = connected().await;
    for (name, to) in [("waiting_is_there", json!(true)), ("wait_ms", json!(50))] {
        fake.control(&json!({ "do": "switch", "name": name, "to": to }));
    }
    let gate = gate(&fake, TWO, |_| ()).await;
    let made = gate
        .http
        .post(format!("{}/api/tool-router/create-session", gate.url))
        .header("authorization", format!("Bearer {ALICE}"))
        .header("content-type", "application/json")
        .body(json!({ "toolkits": ["github"] }).to_string());
    let made: Value = serde_json::from_str(&made.send().await.unwrap().text().await.unwrap()).unwrap();
    let narrow = made["sessionUrl"].as_str().unwrap();
    let wide = format!("{}/mcp", gate.url);
    for (url, key, toolkit, right) in [
        (wide.as_str(), Some(ALICE), "slack", false),
        (&wide, Some(ALICE), "gmail", true),
        (&wide, Some(ALICE), "GMAIL", true),
        (narrow, None, "gmail", false),
        (narrow, None, "github", true),
    ] {
        for tool in ["COMPOSIO_MANAGE_CONNECTIONS", "COMPOSIO_WAIT_FOR_CONNECTIONS"] {
            let arguments = json!({ "toolkits": ["github", toolkit] });
            let params = json!({ "name": tool, "arguments": arguments });
            let before = (fake.accounts_of("alice").len(), fake.calls_of("alice"));
            let (_, answer) = gate.ask_at(url, key, "tools/call", params).await;
            assert_eq!(answer.get("error").is_none(), right, "{tool} {toolkit}: {answer}");
            let after = (fake.accounts_of("alice").len(), fake.calls_of("alice"));
            if right {
                assert!(after.1 > before.1, "{tool} {toolkit}: {answer}");
            } else {
                assert_eq!(message(&answer), format!("Unknown toolkit: {toolkit}"));
                assert_eq!(after, before, "nothing was begun, and nothing sent");
            }
        }
    }
    for toolkits in [
        json!("github"),
        json!(null),
        json!([1]),
        json!([{ "toolkit": "github" }]),
    ] {
        let answer = manage(&gate, json!({ "toolkits": toolkits })).await;
        assert!(message(&answer).contains("`toolkits`"), "{answer}");
    }
    gate.stop().await;
}

#[tokio::test]
async fn tools_that_do_not_begin_with_their_toolkit_are_known_by_the_prefix_that_is_configured() {
    let fake = connected().await;
    let odd = "toolkits = ['github', 'odd_names']\npreload = ['GITHUB_GET_REPO']\n";
    let said_so = format!("{odd}tool_prefixes = {{ odd_names = 'ODDLY' }}\n")
        .replace("'GITHUB_GET_REPO'", "'GITHUB_GET_REPO', 'ODDLY_CALLED'");
    for (options, right) in [(odd, false), (&said_so, true)] {
        let gate = gate(&fake, options, |_| ()).await;
        let answer = multi(&gate, json!([part("ODDLY_CALLED")])).await;
        assert_eq!(answer.get("error").is_none(), right, "{answer}");
        let send = |path: &str, body: Value| {
            let request = gate.http.post(format!("{}{path}", gate.url));
            let request = request.header("authorization", format!("Bearer {ALICE}"));
            let request = request
                .header("content-type", "application/json")
                .body(body.to_string());
            async move {
                let text = request.send().await.unwrap().text().await.unwrap();
                serde_json::from_str::<Value>(&text).unwrap()
            }
        };
        let done = send("/api/integrations/odd_names/tools/ODDLY_CALLED", json!({})).await;
        assert_eq!(done["successful"] == true, right, "{done}");
        // The URL of a session with this toolkit alone.
        let made = send(
            "/api/tool-router/create-session",
            json!({ "toolkits": ["odd_names"] }),
        )
        .await;
        let url = made["sessionUrl"].as_str().unwrap();
        let (_, listed) = gate.ask_at(url, None, "tools/list", json!({})).await;
        let tools = listed["result"]["tools"].as_array().unwrap();
        let apps: Vec<&str> = tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .filter(|name| !name.starts_with("COMPOSIO_"))
            .collect();
        let expected: &[&str] = if right { &["ODDLY_CALLED"] } else { &[] };
        assert_eq!(apps, expected);
        let arguments = json!({ "tools": [part("ODDLY_CALLED")], "sync_response_to_workbench": false });
        let params = json!({ "name": "COMPOSIO_MULTI_EXECUTE_TOOL", "arguments": arguments });
        let (_, answer) = gate.ask_at(url, None, "tools/call", params).await;
        assert_eq!(answer.get("error").is_none(), right, "{answer}");
        gate.stop().await;
    }
}
