//! Rows of Composio's error catalogue that no other file shows as users see them. `README.md` beside this holds each row
//! against the test that shows it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::{Agent, Era};
use crate::connect::{House, TOOLKITS, consent, file, key, look};
use crate::fake::{Fake, KEY, error_body, odd};
use crate::honest::Caller;

const WHO: &str = "GITHUB_GET_THE_AUTHENTICATED_USER";
const MULTI: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";

pub(crate) fn multi(tool: &str) -> Value {
    json!({ "tools": [{ "tool_slug": tool, "arguments": {} }], "sync_response_to_workbench": false })
}

pub(crate) async fn never(params: Value) -> &'static str {
    panic!("asked {params}")
}

/// A house whose tools are listed.
pub(crate) async fn house(text: &str) -> House {
    let house = House::start_file(text, std::collections::BTreeMap::new()).await;
    let listed = async {
        while house.get("alice", "/api/tools").await["items"]
            .as_array()
            .unwrap()
            .is_empty()
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::connect::PATIENCE, listed)
        .await
        .unwrap();
    house
}

#[tokio::test]
async fn two_credentials_at_once_never_go_out_and_composios_word_on_them_is_read() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    // A client that brings keys of Composio's beside its own.
    let params = json!({ "name": MULTI, "arguments": multi(WHO), "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {} } });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let request = house
        .http
        .post(format!("{}/mcp", house.url))
        .header("x-api-key", key("alice"))
        .header("x-user-api-key", "uak_of_the_client")
        .header("x-org-api-key", "oak_of_the_client")
        .header("x-project-id", "pr_of_the_client")
        .header("cookie", "session=of-the-client")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", MULTI);
    let text = request.body(body.to_string()).send().await.unwrap().text().await;
    assert!(
        text.as_ref().unwrap().contains(r#"\"login\":\"alice\""#),
        "{text:?}"
    );
    for seen in fake.seen() {
        assert_eq!(seen.headers.get_all("x-api-key").iter().count(), 1, "{seen:?}");
        assert_eq!(seen.headers["x-api-key"], KEY);
        for header in [
            "x-user-api-key",
            "x-org-api-key",
            "x-project-id",
            "authorization",
            "cookie",
        ] {
            assert!(!seen.headers.contains_key(header), "{seen:?}");
        }
    }

    // Somebody between us and Composio adds one: its refusal, in its own words, to who calls and to who asks by REST.
    let both = [("x-api-key", KEY), ("x-user-api-key", "uak_1")];
    let refused = Caller::of(&fake).with(&both).get("/toolkits").await;
    assert_eq!(
        (refused.status, &refused.body["error"]["slug"]),
        (401, &json!("HTTP_Unauthorized"))
    );
    fake.next_create(odd(401, &refused.body));
    let bob = Agent::new(&house, "bob", Era::Modern, false).await;
    let went = bob.call(MULTI, multi(WHO), never).await;
    let told = went.end["error"]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{went:?}"));
    assert!(
        told.contains("HTTP_Unauthorized: Multiple authentication modes"),
        "{told}"
    );
    fake.next_create(odd(401, &refused.body));
    let path = "/api/tool-router/create-session";
    let (status, told) = house
        .rest("bob", Method::POST, path, Some(json!({ "toolkits": ["gmail"] })))
        .await;
    assert_eq!(status, 502, "{told}");
    let told = told["detail"].as_str().unwrap();
    assert!(
        told.contains("HTTP_Unauthorized: Multiple authentication modes"),
        "{told}"
    );
    house.stop().await;
}

#[tokio::test]
async fn no_connected_account_found_is_a_link_whichever_way_it_comes() {
    // 1803 as `/tools/execute` words it, without the name of a toolkit: it is the tool's.
    let servers = "api = 'mcp_servers'\ntoolkits = ['github']\ntools.github.enable = ['GITHUB_GET_THE_AUTHENTICATED_USER']";
    for (options, tool, arguments) in [
        (TOOLKITS, MULTI, multi(WHO)),
        ("toolkits = ['github']\npreload = 'all'", WHO, json!({})),
        (servers, WHO, json!({})),
    ] {
        let fake = Fake::start().await;
        let said = "No connected account found";
        fake.control(&json!({ "do": "switch", "name": "no_account_message", "to": said }));
        // The older servers are made of auth configs.
        let config = json!({ "toolkit": { "slug": "github" }, "auth_config": { "type": "use_composio_managed_auth" } });
        Caller::of(&fake).post("/auth_configs", config).await;
        let house = house(&file(&fake, "memory", options)).await;
        for era in [Era::Legacy, Era::Modern] {
            let alice = Agent::new(&house, "alice", era, false).await;
            let went = alice.call(tool, arguments.clone(), never).await;
            assert_eq!(went.end["result"]["isError"], true, "{options} {went:?}");
            assert!(went.said().to_string().contains(said), "{options} {went:?}");
            let link = &went.end["result"]["_meta"]["toolgate/connect"][0];
            assert_eq!(link["toolkit"], "github", "{options} {went:?}");
            assert!(went.last_text().contains("github is not connected"), "{went:?}");
        }
        if options == TOOLKITS {
            let path = format!("/api/integrations/github/tools/{WHO}");
            let answer = house.post("alice", &path, json!({})).await;
            assert_eq!(
                (&answer["successful"], &answer["error"]),
                (&json!(false), &json!(said)),
                "{answer}"
            );
            let url = answer["authUrl"].as_str().unwrap_or_else(|| panic!("{answer}"));
            assert_eq!(look(&consent(url, "allow").await).await.outcome(), "connected");
            // An account that works, and Composio says it all the same: its word, and no link.
            fake.control(&json!({ "do": "fail_tool", "tool": WHO, "message": said }));
            let answer = house.post("alice", &path, json!({})).await;
            assert_eq!(
                (&answer["error"], answer.get("authUrl")),
                (&json!(said), None),
                "{answer}"
            );
        }
        house.stop().await;
    }
}

#[tokio::test]
async fn a_toolkit_without_authentication_of_composios_says_what_is_missing_until_there_is_an_auth_config() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite://{}/t.db", folder.path().display());
    let options = "toolkits = ['github', 'twitter']";
    let first = house(&file(&fake, &store, options)).await;
    let connect = "/api/integrations/twitter/connect";
    let (status, told) = first.rest("alice", Method::POST, connect, Some(json!({}))).await;
    assert_eq!(status, 409, "{told}");
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("COMPOSIO_AUTH_CONFIG_TWITTER"),
        "{told}"
    );
    for (era, asks) in [(Era::Legacy, true), (Era::Modern, true), (Era::Modern, false)] {
        let alice = Agent::new(&first, "alice", era, asks).await;
        let went = alice.call(MULTI, multi("TWITTER_USER_LOOKUP_ME"), never).await;
        assert_eq!(went.end["result"]["isError"], true, "{went:?}");
        let told = went.last_text();
        assert!(
            told.contains("twitter is not connected, and no link could be made"),
            "{told}"
        );
        assert!(told.contains("auth config"), "{told}");
    }
    assert_eq!(fake.accounts_of("alice").len(), 0);
    first.stop().await;

    // The operator makes one: the session that was there before it gets it, and stays.
    let body = json!({ "toolkit": { "slug": "twitter" }, "auth_config": { "type": "use_custom_auth",
        "authScheme": "OAUTH2", "credentials": { "client_id": "c", "client_secret": "s" } } });
    let made = Caller::of(&fake).post("/auth_configs", body).await;
    let id = made.body["auth_config"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", made.text));
    let options = format!("{options}\nauth_configs = {{ twitter = '{id}' }}");
    let second = house(&file(&fake, &store, &options)).await;
    let (shown, _) = second.connect("alice", "twitter").await;
    assert_eq!(shown.outcome(), "connected", "{shown:?}");
    let alice = Agent::new(&second, "alice", Era::Modern, false).await;
    let went = alice.call(MULTI, multi("TWITTER_USER_LOOKUP_ME"), never).await;
    assert_eq!(
        went.said()["data"]["results"][0]["response"]["data"]["login"],
        "alice",
        "{went:?}"
    );
    assert_eq!(fake.creates_of("alice"), 1);
    second.stop().await;
}

#[tokio::test]
async fn what_a_session_may_not_use_comes_in_composios_words_as_a_failed_tool() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let options = "toolkits = ['github', 'gmail']\ntools.github.enable = ['GITHUB_GET_REPO']";
    let house = house(&file(&fake, "memory", options)).await;
    let path = format!("/api/integrations/github/tools/{WHO}");
    let narrowed = json!({ "toolkits": { "enable": ["gmail"] }, "tools": null });
    for (change, said) in [
        (None, format!("[Session Restriction] Tool '{WHO}' is not allowed")),
        (
            Some(narrowed),
            "[Session Restriction] Toolkit 'github' is not allowed".to_owned(),
        ),
    ] {
        if let Some(change) = change {
            // Somebody at Composio narrows the session.
            for (id, _) in fake.sessions().into_iter().filter(|(_, user)| user == "alice") {
                let changed = Caller::of(&fake)
                    .patch(&format!("/tool_router/session/{id}"), change.clone())
                    .await;
                assert_eq!(changed.status, 200, "{}", changed.text);
            }
        }
        for era in [Era::Legacy, Era::Modern] {
            let alice = Agent::new(&house, "alice", era, false).await;
            let went = alice.call(MULTI, multi(WHO), never).await;
            assert_eq!(went.end["result"]["isError"], true, "{went:?}");
            assert_eq!(went.said()["data"]["results"][0]["error"], said, "{went:?}");
            assert!(
                went.end["result"]["_meta"].get("toolgate/connect").is_none(),
                "nothing is to be connected: {went:?}"
            );
        }
        let answer = house.post("alice", &path, json!({})).await;
        assert_eq!(
            (&answer["successful"], &answer["error"]),
            (&json!(false), &json!(said)),
            "{answer}"
        );
    }
    house.stop().await;
}

#[tokio::test]
async fn a_change_that_collides_is_tried_again_and_told_when_it_goes_on_colliding() {
    let fake = Fake::start().await;
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let made = json!({ "toolkits": ["github"] });
    let made = house.post("alice", "/api/tool-router/create-session", made).await;
    let one = format!(
        "/api/tool-router/sessions/{}",
        made["sessionId"].as_str().unwrap()
    );
    let change = |slug: &str| Some(json!({ "toolkits": [slug] }));
    let conflict = error_body(
        409,
        10409,
        "HTTP_Conflict",
        "The config version is another by now",
    );
    fake.next("session", odd(409, &conflict));
    let (status, shown) = house.rest("alice", Method::PATCH, &one, change("gmail")).await;
    assert_eq!((status, &shown["toolkits"]), (200, &json!(["gmail"])), "{shown}");
    for _ in 0..3 {
        fake.next("session", odd(409, &conflict));
    }
    let (status, told) = house.rest("alice", Method::PATCH, &one, change("slack")).await;
    assert_eq!(status, 503, "{told}");
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("The config version is another by now"),
        "{told}"
    );
    assert_eq!(
        house.get("alice", &one).await["toolkits"],
        json!(["gmail"]),
        "nothing was written"
    );
    // Deleted at Composio: the change is kept for the one that is made on its next use.
    fake.delete_sessions_of("alice");
    let (status, shown) = house.rest("alice", Method::PATCH, &one, change("slack")).await;
    assert_eq!((status, &shown["toolkits"]), (200, &json!(["slack"])), "{shown}");
    house.stop().await;
}
