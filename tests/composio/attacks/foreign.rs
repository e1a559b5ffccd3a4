//! What is another's: session ids, URLs, accounts, users.

use reqwest::Method;
use serde_json::json;

use super::{MULTI, WHO, as_user, modern, nobody_crossed, post, told};
use crate::agent::{Agent, Era};
use crate::catalogue::{house, multi, never};
use crate::connect::{BACKEND, TOOLKITS, file, rest};
use crate::fake::Fake;

#[tokio::test]
async fn a_session_id_opens_nothing_for_another_user_or_at_another_url() {
    let fake = Fake::start().await;
    for user in ["alice", "bob"] {
        fake.connect(user, "github");
        fake.connect(user, "gmail");
    }
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let alice = Agent::new(&house, "alice", Era::Legacy, false).await;
    alice.call(MULTI, multi(WHO), never).await.said();
    let mut tokens = Vec::new();
    for toolkit in ["github", "gmail"] {
        let body = json!({ "toolkits": [toolkit] });
        let made = house.post("alice", "/api/tool-router/create-session", body).await;
        let url = made["sessionUrl"].as_str().unwrap().to_owned();
        tokens.push(url.rsplit('/').next().unwrap().to_owned());
    }
    let before = fake.calls_of("alice");
    let body = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": { "name": MULTI, "arguments": multi(WHO) } })
    .to_string();
    let with = |path: String, id: &str| {
        post(&house, &path)
            .header("mcp-protocol-version", "2025-11-25")
            .header("mcp-session-id", id)
            .body(body.clone())
    };
    // Of the key's session at another's key, and at the URLs of the same user.
    let id = alice.session().unwrap();
    for request in [
        with("/mcp".to_owned(), id).header("authorization", as_user("bob")),
        with("/mcp".to_owned(), id)
            .header("authorization", as_user(BACKEND))
            .header("x-user-id", "bob"),
        with(format!("/mcp/s/{}", tokens[0]), id),
    ] {
        let (status, text) = told(request).await;
        assert_eq!(status, 404, "{text}");
    }
    // Of one URL at the other, and at the user's own key.
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" } });
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }).to_string();
    let opened = post(&house, &format!("/mcp/s/{}", tokens[0]))
        .body(hello)
        .send()
        .await
        .unwrap();
    let id = opened.headers()["mcp-session-id"].to_str().unwrap();
    for request in [
        with(format!("/mcp/s/{}", tokens[1]), id),
        with("/mcp".to_owned(), id).header("authorization", as_user("alice")),
        with("/mcp".to_owned(), id).header("authorization", as_user("bob")),
    ] {
        let (status, text) = told(request).await;
        assert_eq!(status, 404, "{text}");
    }
    assert_eq!((fake.calls_of("alice"), fake.calls_of("bob")), (before, 0));
    // It was the ids, not the house.
    let (status, text) = told(with(format!("/mcp/s/{}", tokens[0]), id)).await;
    assert!(status == 200 && text.contains(r#"\"login\":\"alice\""#), "{text}");
    // Whoever holds a session's URL is its user, whatever else they bring.
    for (name, value) in [
        ("authorization", as_user("bob")),
        ("x-api-key", "key-of-bob-0123".to_owned()),
        ("x-user-id", "bob".to_owned()),
    ] {
        let call = json!({ "name": MULTI, "arguments": multi(WHO) });
        let request = modern(&house, &format!("/mcp/s/{}", tokens[0]), "tools/call", call);
        let (status, text) = told(request.header(name, value)).await;
        assert!(!text.contains(r#"\"login\":\"bob\""#), "{name}: {status} {text}");
    }
    assert_eq!(fake.calls_of("bob"), 0);
    nobody_crossed(&fake);
    house.stop().await;
}

#[tokio::test]
async fn another_users_account_cannot_be_named_by_any_door() {
    let fake = Fake::start().await;
    for options in [TOOLKITS.to_owned(), format!("{TOOLKITS}\nmulti_account = true")] {
        let alices = fake.connect("alice", "github");
        let bobs = fake.connect("bob", "github");
        let house = house(&file(&fake, "memory", &options)).await;
        for user in ["alice", "bob"] {
            assert_eq!(house.standing(user, "github").await["connected"], true);
        }
        let one = "/api/integrations/github";
        let changes = [
            json!({ "accountId": alices, "enabled": false }),
            json!({ "accountId": alices, "chosen": true }),
        ];
        for change in changes {
            let (status, answer) = house.rest("bob", Method::PATCH, one, Some(change)).await;
            assert!(matches!(status, 400 | 404 | 409), "{status} {answer}");
        }
        let path = format!("{one}?accountId={alices}");
        let (status, answer) = house.rest("bob", Method::DELETE, &path, None).await;
        assert_eq!(status, 404, "{answer}");
        let path = format!("/api/integrations/github/tools/{WHO}?accountId={alices}");
        let (_, answer) = house.rest("bob", Method::POST, &path, Some(json!({}))).await;
        assert_ne!(answer["data"]["login"], "alice", "{answer}");
        let bob = Agent::new(&house, "bob", Era::Modern, false).await;
        let mut part = multi(WHO);
        part["tools"][0]["account"] = json!(alices);
        let went = bob.call(MULTI, part, never).await;
        assert!(
            !went.end.to_string().contains(r#"\"login\":\"alice\""#),
            "{went:?}"
        );
        for (user, id) in [("alice", &alices), ("bob", &bobs)] {
            let accounts = fake.accounts_of(user);
            let its = accounts.iter().find(|one| one["id"] == json!(id)).unwrap();
            assert_eq!(its["status"], "ACTIVE", "{user}");
        }
        assert_eq!(
            house.standing("alice", "github").await["accounts"][0]["id"],
            json!(alices)
        );
        nobody_crossed(&fake);
        house.stop().await;
        for id in [alices, bobs] {
            fake.control(&json!({ "do": "delete_account", "id": id }));
        }
    }
}

#[tokio::test]
async fn users_with_odd_names_are_refused_or_are_users_of_their_own() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    fake.connect("bob", "github");
    let servers = "api = 'mcp_servers'\ntoolkits = ['github']\ntools.github.enable = ['GITHUB_GET_THE_AUTHENTICATED_USER']";
    for (options, tool, arguments) in [(TOOLKITS, MULTI, multi(WHO)), (servers, WHO, json!({}))] {
        let house = house(&file(&fake, "memory", options)).await;
        let ask = |user: &[u8]| {
            let call = json!({ "name": tool, "arguments": arguments });
            modern(&house, "/mcp", "tools/call", call)
                .header("authorization", as_user(BACKEND))
                .header(
                    "x-user-id",
                    reqwest::header::HeaderValue::from_bytes(user).unwrap(),
                )
        };
        let sessions = fake.sessions().len();
        // No names: refused before anybody is asked.
        let long = "a".repeat(10_000);
        for none in [
            "",
            " ",
            "ali ce",
            "alic\u{435}",
            "alice\u{200b}",
            "a\u{301}lice",
            "\u{ff41}lice",
            "a\tb",
            &long,
        ] {
            let (status, text) = told(ask(none.as_bytes())).await;
            assert!(matches!(status, 400 | 401 | 431), "{none:?}: {status} {text}");
            let body = json!({ "userId": none });
            let path = "/api/integrations/github/connect";
            let (status, text) = house.rest(BACKEND, Method::POST, path, Some(body)).await;
            assert_eq!(status, 400, "{none:?}: {text}");
        }
        let (_, text) = told(ask(&[0xff, b'a'])).await;
        assert!(!text.contains("login"), "{text}");
        // The nobody of Composio.
        let (_, text) = told(ask(b"default")).await;
        assert!(text.contains("the user `default` can have no"), "{text}");
        assert_eq!(fake.sessions().len(), sessions);
        // Names that mean something elsewhere are names like any other: their users have nothing of alice's or bob's.
        let longest = "b".repeat(128);
        for odd in [
            "Alice",
            "alice.",
            "alice,bob",
            "alice%2Cbob",
            "x&user_id=alice",
            "x%26user_id=alice",
            "alice#x",
            "alice?x",
            "../alice",
            "alice/../bob",
            "*",
            "null",
            "';DROP--",
            "{\"$ne\":1}",
            "toolgate-listing",
            &longest,
        ] {
            let (status, text) = told(ask(odd.as_bytes())).await;
            assert_eq!(status, 200, "{odd}: {text}");
            assert!(!text.contains("login"), "{odd}: {text}");
            // Each as the query's and the body's user too: not connected, and not alice.
            let query: String = url::form_urlencoded::byte_serialize(odd.as_bytes()).collect();
            let path = format!("/api/integrations?toolkit=github&userId={query}");
            let page = house.get(BACKEND, &path).await;
            assert_eq!(page["items"][0]["connected"], false, "{odd}: {page}");
        }
        nobody_crossed(&fake);
        assert!(fake.executions().iter().all(|one| !one.successful));
        house.stop().await;
    }
}

#[tokio::test]
async fn a_key_that_stands_for_one_user_names_no_other_at_any_door() {
    let fake = Fake::start().await;
    fake.connect("bob", "github");
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    house
        .post(
            "bob",
            "/api/tool-router/create-session",
            json!({ "toolkits": ["github"] }),
        )
        .await;
    let before = fake.seen().len();
    let call = json!({ "name": MULTI, "arguments": multi(WHO) });
    let request = modern(&house, "/mcp", "tools/call", call)
        .header("authorization", as_user("alice"))
        .header("x-user-id", "bob");
    assert_eq!(told(request).await.0, 403);
    let named = Some(json!({ "userId": "bob" }));
    for (method, path, body) in [
        (Method::POST, "/api/tool-router/create-session", named.clone()),
        (Method::GET, "/api/tool-router/sessions?userId=bob", None),
        (Method::POST, "/api/integrations/github/connect", named),
        (Method::GET, "/api/executions?userId=bob", None),
        (Method::GET, "/api/stats?userId=bob", None),
    ] {
        let (status, answer) = rest(&house.http, &house.url, "alice", method, path, body).await;
        assert!(matches!(status, 400 | 403), "{path}: {status} {answer}");
    }
    assert_eq!(fake.seen().len(), before, "nobody at Composio was asked");
    house.stop().await;
}
