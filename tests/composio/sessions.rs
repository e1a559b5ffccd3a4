//! Each user's session: made once, used by nobody else, made again when it was deleted, deleted at the end.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use toolgate::integrations::Projects;
use toolgate::integrations::connections::Connections;
use toolgate::store::Store;
use toolgate::supervisor::Supervisor;
use toolgate::upstream::factory::factory;

use crate::binary;
use crate::fake::{KEY, Odd, error_body, odd};
use crate::gate::{ALICE, BOB, Gate, NOBODY, configuration, connected, login, message};

#[tokio::test]
async fn two_users_have_two_sessions_and_neither_reaches_the_others() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    let answers = tokio::join!(
        gate.who(ALICE),
        gate.who(BOB),
        gate.who(ALICE),
        gate.who(BOB),
        gate.who(ALICE)
    );
    for (answer, user) in [
        (answers.0, "alice"),
        (answers.1, "bob"),
        (answers.2, "alice"),
        (answers.3, "bob"),
        (answers.4, "alice"),
    ] {
        assert_eq!(login(&answer), user);
    }
    assert_eq!((fake.calls_of("alice"), fake.calls_of("bob")), (3, 2));
    for user in ["alice", "bob", "toolgate-listing"] {
        assert_eq!(fake.creates_of(user), 1, "{user}");
    }
    for seen in fake.seen() {
        assert_eq!(seen.headers["x-api-key"], KEY);
        for header in ["authorization", "cookie", "x-user-id", "x-user-api-key"] {
            assert!(!seen.headers.contains_key(header), "{seen:?}");
        }
        if seen.place == "create" {
            let user = &seen.body["user_id"];
            let body = json!({ "user_id": user, "toolkits": { "enable": ["github", "gmail"] },
                "manage_connections": { "enable": true } });
            assert_eq!(seen.body, body);
        }
    }
    gate.stop().await;
}

#[tokio::test]
async fn the_meta_tools_stand_in_the_one_list_and_nothing_shows_a_sessions_url() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    let listed = gate.ask(ALICE, "tools/list", json!({})).await;
    let names: Vec<&str> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(names.contains(&"COMPOSIO_SEARCH_TOOLS"), "{names:?}");
    // A schema with a union type is as it came.
    let schema = &listed["result"]["tools"][0]["inputSchema"]["properties"]["session_id"]["type"];
    assert_eq!(*schema, json!(["string", "null"]));

    let page = gate.get("/api/gateways").await;
    assert!(page.contains(r#""transport":"composio""#), "{page}");
    assert!(page.contains(&format!(r#""target":"{}""#, fake.origin)), "{page}");
    assert!(!page.contains("trs_") && !page.contains(KEY), "{page}");
    gate.stop().await;
}

#[tokio::test]
async fn a_session_that_was_deleted_is_made_again_and_the_call_is_executed_once() {
    let rpc =
        json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32001, "message": "Session not found" } });
    let page = Odd {
        status: 404,
        headers: vec![("content-type", "text/html")],
        body: "<h1>not found</h1>".to_owned(),
    };
    let forms = [
        None,
        Some(odd(404, &rpc)),
        Some(odd(410, &error_body(410, 1, "Gone", "gone"))),
        Some(page),
    ];
    for (index, form) in forms.into_iter().enumerate() {
        for gives_ids in [false, true] {
            let fake = connected().await;
            if let Some(form) = form.clone() {
                fake.gone_is(form);
            }
            if gives_ids {
                fake.gives_ids();
            }
            let gate = Gate::start(&fake).await;
            assert_eq!(login(&gate.who(ALICE).await), "alice");
            fake.delete_sessions_of("alice");
            assert_eq!(
                login(&gate.who(ALICE).await),
                "alice",
                "form {index}, {gives_ids}"
            );
            assert_eq!(
                (fake.creates_of("alice"), fake.calls_of("alice")),
                (2, 2),
                "form {index}, {gives_ids}"
            );
            assert_eq!(login(&gate.who(ALICE).await), "alice");
            assert_eq!(fake.creates_of("alice"), 2);
            gate.stop().await;
        }
    }
}

#[tokio::test]
async fn the_session_that_lists_is_made_again_as_well() {
    let fake = connected().await;
    let config = configuration(&fake);
    let supervisor = Supervisor::new();
    let store = Store::in_memory().await.unwrap();
    let projects = Arc::new(Projects::new(&config.gateways, store.clone(), supervisor.clone()));
    let public_url = "http://127.0.0.1".parse().unwrap();
    let connections = Arc::new(Connections::new(store, projects, &public_url));
    let make = factory(
        &config.limits,
        "no-guard".into(),
        Vec::new(),
        connections,
        &supervisor,
    );
    let link = make(&config.gateways[0]);
    for made in 1..=2 {
        assert_eq!(link.list().await.unwrap().tools.len(), 6);
        assert_eq!(link.list().await.unwrap().tools.len(), 6);
        assert_eq!(fake.creates_of("toolgate-listing"), made);
        fake.delete_sessions_of("toolgate-listing");
    }
    link.shut_down().await;
    supervisor.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_forgets_for_a_moment_costs_no_session() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    assert_eq!(login(&gate.who(ALICE).await), "alice");
    fake.next_mcp(odd(404, &error_body(404, 1, "X", "not found")));
    assert_eq!(login(&gate.who(ALICE).await), "alice");
    assert_eq!(fake.creates_of("alice"), 1);
    let looks = fake.seen();
    let looks = looks
        .iter()
        .filter(|seen| seen.place == "session" && seen.method == Method::GET);
    assert_eq!(looks.count(), 1);
    gate.stop().await;
}

#[tokio::test]
async fn a_user_called_default_gets_no_session_and_reads_why() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    let answer = gate.who(NOBODY).await;
    assert!(
        message(&answer).contains("the user `default` can have no Composio session"),
        "{answer}"
    );
    assert_eq!(fake.creates_of("default"), 0);
    gate.stop().await;
}

#[tokio::test]
async fn what_was_made_is_deleted_at_the_end() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    assert_eq!(login(&gate.who(ALICE).await), "alice");
    assert_eq!(fake.sessions().len(), 2);
    gate.stop().await;
    assert_eq!(fake.sessions().len(), 0, "{:?}", fake.sessions());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_in_the_environment_alone_makes_a_gateway() {
    let fake = connected().await;
    fake.connect("local", "github");
    let origin = fake.origin.clone();
    let run = move |args: &'static [&'static str]| {
        let env = [
            ("COMPOSIO_API_KEY", KEY),
            ("COMPOSIO_BASE_URL", &origin),
            ("TOOLGATE_LISTEN", "127.0.0.1:1"),
        ];
        binary::toolgate(args, &env)
    };
    let (checked, called) = tokio::task::spawn_blocking(move || {
        let call = &[
            "call",
            "COMPOSIO_SEARCH_TOOLS",
            "--json",
            r#"queries=[{"use_case":"star a repo"}]"#,
        ];
        (run(&["check"]), run(call))
    })
    .await
    .unwrap();
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert!(
        checked.out.contains("composio") && checked.out.contains(&fake.origin),
        "{}",
        checked.out
    );
    assert_eq!(called.code, 0, "{}", called.err);
    assert!(called.out.contains(r#"\"login\":\"local\""#), "{}", called.out);
    assert!(!format!("{checked:?}{called:?}").contains(KEY));
    assert_eq!(
        fake.sessions().len(),
        0,
        "those of the command are deleted when it ends"
    );
}
