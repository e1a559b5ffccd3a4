//! Sessions of the Tool Router by REST, and the URL of one session: what it opens, and that it opens nothing else.

use http::Method;
use serde_json::{Value, json};
use toolgate::config::{self, Config, Key};
use toolgate::ids::UserId;

use crate::fake::{Fake, error_body, odd};
use crate::gate::{ALICE, BOB, Gate, configured, connected};

const BACKEND: &str = "key-of-the-backend-01";
const NARROW: &str = "key-of-alice-narrow";
const OPTIONS: &str = "toolkits = ['github', 'gmail', 'slack']\npreload = ['GITHUB_GET_THE_AUTHENTICATED_USER', 'GMAIL_GET_PROFILE']\n";

fn keyed(mut config: Config) -> Config {
    let key = |user: &str, key: &str, acts_for_users, tools: Option<Vec<String>>| Key {
        user: UserId::new(user),
        sha256: <sha2::Sha256 as sha2::Digest>::digest(key.as_bytes()).into(),
        acts_for_users,
        tools,
    };
    let auth: &mut config::Auth = config.auth.as_mut().unwrap();
    auth.keys.push(key("backend", BACKEND, true, None));
    auth.keys
        .push(key("alice", NARROW, false, Some(vec!["brave_*".to_owned()])));
    config
}

async fn gate(fake: &Fake) -> Gate {
    let gate = Gate::start_as(&keyed(configured(fake, "memory", OPTIONS))).await;
    gate.until(|status| status.listed.is_some()).await;
    gate
}

async fn send(gate: &Gate, key: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = gate
        .http
        .request(method, format!("{}{path}", gate.url))
        .header("authorization", format!("Bearer {key}"));
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert!(!text.contains("trs_") && !text.contains("tool_router"), "{text}");
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")),
    )
}

async fn create(gate: &Gate, key: &str, body: Value) -> (String, String) {
    let (status, made) = send(
        gate,
        key,
        Method::POST,
        "/api/tool-router/create-session",
        Some(body),
    )
    .await;
    assert_eq!((status, &made["success"]), (200, &json!(true)), "{made}");
    assert_eq!(made.as_object().unwrap().len(), 3);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("sessionId"), text("sessionUrl"))
}

async fn names(gate: &Gate, url: &str) -> Vec<String> {
    let (_, listed) = gate.ask_at(url, None, "tools/list", json!({})).await;
    let tools = listed["result"]["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{listed}"));
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

fn login(answer: &Value) -> Value {
    let text = answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_str::<Value>(text).unwrap()["data"]["login"].clone()
}

#[tokio::test]
async fn a_sessions_url_opens_its_own_tools_for_its_own_user_and_nothing_else() {
    let fake = connected().await;
    let gate = gate(&fake).await;
    let (id, url) = create(&gate, ALICE, json!({ "toolkits": ["github"] })).await;
    assert!(url.starts_with(&format!("{}/mcp/s/", gate.url)), "{url}");
    let listed = names(&gate, &url).await;
    assert!(
        listed.contains(&"GITHUB_GET_THE_AUTHENTICATED_USER".to_owned()),
        "{listed:?}"
    );
    assert!(listed.contains(&"COMPOSIO_SEARCH_TOOLS".to_owned()), "{listed:?}");
    assert!(!listed.contains(&"GMAIL_GET_PROFILE".to_owned()), "{listed:?}");
    let call = |name: &str| json!({ "name": name, "arguments": {} });
    let (_, answer) = gate
        .ask_at(
            &url,
            None,
            "tools/call",
            call("GITHUB_GET_THE_AUTHENTICATED_USER"),
        )
        .await;
    assert_eq!(login(&answer), "alice");
    let (_, answer) = gate
        .ask_at(&url, None, "tools/call", call("GMAIL_GET_PROFILE"))
        .await;
    assert_eq!(
        answer["error"]["message"], "Unknown tool: GMAIL_GET_PROFILE",
        "as one that nobody has"
    );
    let parts = json!({ "tools": [{ "tool_slug": "GMAIL_GET_PROFILE", "arguments": {} }] });
    let multi = json!({ "name": "COMPOSIO_MULTI_EXECUTE_TOOL", "arguments": parts });
    let (_, answer) = gate.ask_at(&url, None, "tools/call", multi).await;
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("Unknown tool: GMAIL_GET_PROFILE")
    );
    // The session that was executed in is the one with these toolkits, and alice's own is another one.
    let used: Vec<_> = fake
        .executions()
        .into_iter()
        .map(|done| (done.user_id, done.tool))
        .collect();
    assert_eq!(
        used,
        [("alice".to_owned(), "GITHUB_GET_THE_AUTHENTICATED_USER".to_owned())]
    );

    // The token is no key, and a key is no token.
    let token = url.rsplit('/').next().unwrap();
    let (status, _) = send(&gate, token, Method::GET, "/api/tools", None).await;
    assert_eq!(status, 401);
    let (status, _) = send(
        &gate,
        token,
        Method::GET,
        &format!("/api/tool-router/sessions/{id}"),
        None,
    )
    .await;
    assert_eq!(status, 401);
    let (status, _) = gate
        .ask_at(&format!("{}/mcp", gate.url), None, "tools/list", json!({}))
        .await;
    assert_eq!(status, 401);
    for wrong in [ALICE, "", "0", &token[..63]] {
        let (status, _) = gate
            .ask_at(
                &format!("{}/mcp/s/{wrong}", gate.url),
                None,
                "tools/list",
                json!({}),
            )
            .await;
        assert!(matches!(status, 401 | 404), "{wrong}: {status}");
    }
    gate.stop().await;
}

#[tokio::test]
async fn one_session_for_a_user_and_a_set_of_toolkits_however_often_and_at_once_it_is_asked_for() {
    let fake = connected().await;
    let gate = gate(&fake).await;
    let both = || create(&gate, ALICE, json!({ "toolkits": ["gmail", "github", "gmail"] }));
    let made = futures_util::future::join_all((0..8).map(|_| both())).await;
    assert!(made.iter().all(|(id, _)| *id == made[0].0), "{made:?}");
    let (again, _) = create(&gate, ALICE, json!({ "toolkits": ["github", "gmail"] })).await;
    assert_eq!(again, made[0].0);
    assert_eq!(fake.creates_of("alice"), 1);
    // Every one of the URLs is good.
    for (_, url) in &made {
        assert!(!names(&gate, url).await.is_empty());
    }
    // All toolkits, and none, are those of the configuration: the session that the user's own calls go through.
    let (all, _) = create(&gate, ALICE, json!({ "toolkits": ["github", "gmail", "slack"] })).await;
    let (none, _) = create(&gate, ALICE, json!({})).await;
    assert_eq!(all, none);
    let _ = gate.who(ALICE).await;
    assert_eq!(fake.creates_of("alice"), 2);
    let (other, _) = create(&gate, BOB, json!({ "toolkits": ["github", "gmail"] })).await;
    assert_ne!(other, made[0].0);
    gate.stop().await;
}

#[tokio::test]
async fn a_deleted_sessions_url_opens_nothing_and_the_users_connections_stay() {
    let fake = connected().await;
    let gate = gate(&fake).await;
    let (id, url) = create(&gate, ALICE, json!({ "toolkits": ["github"] })).await;
    let path = format!("/api/tool-router/sessions/{id}");
    assert_eq!(
        send(&gate, BOB, Method::DELETE, &path, None).await.0,
        404,
        "another user's"
    );
    assert_eq!(
        send(&gate, ALICE, Method::DELETE, &path, None).await,
        (200, json!({ "success": true }))
    );
    assert_eq!(send(&gate, ALICE, Method::DELETE, &path, None).await.0, 404);
    assert_eq!(gate.ask_at(&url, None, "tools/list", json!({})).await.0, 401);
    assert_eq!(
        fake.sessions().values().filter(|user| *user == "alice").count(),
        0
    );
    assert_eq!(fake.accounts_of("alice").len(), 1);
    gate.stop().await;
}

#[tokio::test]
async fn toolkits_change_in_place_and_the_url_stays_good() {
    let fake = connected().await;
    let gate = gate(&fake).await;
    let (id, url) = create(&gate, ALICE, json!({ "toolkits": ["github"] })).await;
    let path = format!("/api/tool-router/sessions/{id}");
    let change = |body: Value| send(&gate, ALICE, Method::PATCH, &path, Some(body));
    let (status, shown) = change(json!({ "toolkits": ["gmail"] })).await;
    assert_eq!((status, &shown["toolkits"]), (200, &json!(["gmail"])), "{shown}");
    let listed = names(&gate, &url).await;
    assert!(listed.contains(&"GMAIL_GET_PROFILE".to_owned()), "{listed:?}");
    assert!(
        !listed.contains(&"GITHUB_GET_THE_AUTHENTICATED_USER".to_owned()),
        "{listed:?}"
    );
    assert_eq!(fake.creates_of("alice"), 1);
    let asked = fake
        .seen()
        .into_iter()
        .find(|seen| seen.method == "PATCH")
        .unwrap();
    let said = json!({ "toolkits": { "enable": ["gmail"] }, "preload": { "tools": ["GMAIL_GET_PROFILE"] } });
    assert_eq!(asked.body, said);
    create(&gate, ALICE, json!({ "toolkits": ["slack"] })).await;
    assert_eq!(
        change(json!({ "toolkits": ["slack"] })).await.0,
        409,
        "there is another one with these"
    );
    assert_eq!(
        change(json!({ "toolkits": ["slack", "gmail", "github"] }))
            .await
            .0,
        409,
        "the configuration's"
    );
    assert_eq!(change(json!({ "toolkits": [] })).await.0, 400);
    gate.stop().await;
}

#[tokio::test]
async fn users_see_their_own_and_backends_name_whom_they_speak_for() {
    let fake = connected().await;
    let gate = gate(&fake).await;
    let (first, _) = create(
        &gate,
        BACKEND,
        json!({ "userId": "alice", "toolkits": ["github"] }),
    )
    .await;
    let (second, _) = create(&gate, ALICE, json!({ "toolkits": ["gmail"] })).await;
    create(&gate, BOB, json!({ "toolkits": ["gmail"] })).await;
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
        items
            .iter()
            .map(|item| item["sessionId"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut right = vec![first.clone(), second];
    right.sort_unstable();
    let list = "/api/tool-router/sessions";
    let (_, all) = send(&gate, ALICE, Method::GET, list, None).await;
    assert_eq!(ids(&all), right);
    let (_, all) = send(&gate, BACKEND, Method::GET, &format!("{list}?userId=alice"), None).await;
    assert_eq!(ids(&all), right);
    let (_, page) = send(&gate, ALICE, Method::GET, &format!("{list}?limit=1"), None).await;
    assert_eq!(ids(&page), right[..1]);
    let next = format!("{list}?limit=1&cursor={}", page["nextCursor"].as_str().unwrap());
    let (_, page) = send(&gate, ALICE, Method::GET, &next, None).await;
    assert_eq!((ids(&page), page.get("nextCursor")), (right[1..].to_vec(), None));
    assert_eq!(
        send(&gate, BOB, Method::GET, &next, None).await.0,
        400,
        "a cursor is its user's"
    );
    assert_eq!(
        send(&gate, ALICE, Method::GET, &format!("{list}?userId=bob"), None)
            .await
            .0,
        403
    );
    let one = format!("{list}/{first}");
    let (_, shown) = send(&gate, ALICE, Method::GET, &one, None).await;
    let right = json!({ "sessionId": first, "userId": "alice", "gateway": "composio", "toolkits": ["github"],
        "status": "ACTIVE", "createdAt": shown["createdAt"] });
    assert_eq!(shown, right);
    assert!(shown["createdAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(send(&gate, BOB, Method::GET, &one, None).await.0, 404);
    assert_eq!(
        send(&gate, BACKEND, Method::GET, &format!("{one}?userId=alice"), None)
            .await
            .0,
        200
    );
    gate.stop().await;
}

#[tokio::test]
async fn a_bad_body_is_told_which_field_it_is_and_what_composio_says_is_said() {
    let fake = connected().await;
    let gate = gate(&fake).await;
    let post = |key: &'static str, body: Value| {
        let gate = &gate;
        async move {
            let (status, told) = send(
                gate,
                key,
                Method::POST,
                "/api/tool-router/create-session",
                Some(body),
            )
            .await;
            (status, told["detail"].as_str().unwrap_or_default().to_owned())
        }
    };
    for (key, body, status, part) in [
        (
            ALICE,
            json!({ "toolkits": "gmail" }),
            400,
            "`toolkits` must be a list",
        ),
        (ALICE, json!({ "toolkits": ["gmail", 1] }), 400, "`toolkits[1]`"),
        (
            ALICE,
            json!({ "toolkits": ["Git Hub"] }),
            400,
            "`toolkits[0]` must be the slug",
        ),
        (
            ALICE,
            json!({ "toolkits": ["notion"] }),
            400,
            "the toolkit notion is not among",
        ),
        (ALICE, json!({ "toolkit": ["gmail"] }), 400, "\"toolkit\""),
        (ALICE, json!({ "userId": "bob" }), 403, "`userId`"),
        (BACKEND, json!({ "userId": "a b" }), 400, "`userId`"),
        (
            BACKEND,
            json!({ "userId": "default" }),
            400,
            "`userId` is refused",
        ),
        (ALICE, json!({ "gateway": "brave" }), 400, "`gateway`"),
        (NARROW, json!({ "toolkits": ["gmail"] }), 403, "without `tools`"),
    ] {
        let told = post(key, body.clone()).await;
        assert!(told.0 == status && told.1.contains(part), "{body}: {told:?}");
    }
    fake.next_create(odd(503, &error_body(503, 1, "Down", "later")));
    let told = post(ALICE, json!({ "toolkits": ["gmail"] })).await;
    assert!(told.0 == 503 && told.1.contains("Down: later"), "{told:?}");
    fake.next_create(odd(400, &error_body(400, 4300, "ToolRouterV2_BadRequest", "odd")));
    let told = post(ALICE, json!({ "toolkits": ["gmail"] })).await;
    assert!(
        told.0 == 502 && told.1.contains("ToolRouterV2_BadRequest: odd"),
        "{told:?}"
    );
    gate.stop().await;
}
