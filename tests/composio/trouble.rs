//! What users and operators read when Composio refuses or fails, and what is not done then.

use http::Method;
use serde_json::{Value, json};

use crate::fake::{KEY, Odd, error_body, odd};
use crate::gate::{ALICE, BOB, Gate, connected, login, message};

#[tokio::test]
async fn a_key_that_is_refused_is_named_by_its_variable_and_never_by_its_value() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    assert_eq!(login(&gate.who(ALICE).await), "alice");
    fake.change_key("ak_another");
    // At the API, where bob's session would be made, and at the endpoint of alice's session.
    for key in [BOB, ALICE] {
        let answer = gate.who(key).await;
        let text = message(&answer);
        assert!(
            text.contains("HTTP 401") && text.contains("COMPOSIO_API_KEY") && text.contains("`api_key`"),
            "{text}"
        );
        assert!(!answer.to_string().contains(KEY), "{answer}");
    }
    gate.stop().await;

    let gate = Gate::start_anyhow(&fake).await;
    gate.until(|status| status.last_fault.is_some()).await;
    let page = gate.get("/api/gateways").await;
    assert!(
        page.contains("APIKey_InvalidAPIKey") && page.contains("COMPOSIO_API_KEY"),
        "{page}"
    );
    assert!(!page.contains(KEY), "{page}");
    gate.stop().await;
}

#[tokio::test]
async fn what_composio_says_is_read_in_every_form_that_it_takes() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    let full = error_body(
        400,
        4306,
        "ToolRouterV2_InvalidConnectedAccountIds",
        "the pin is stale",
    );
    let bad = json!({ "error": { "message": "Invalid", "code": "10400", "suggestedFix": "Fix it",
        "errors": ["Error in payload.toolkits: Invalid input"] } });
    for (odd, parts) in [
        (
            odd(400, &full),
            &[
                "HTTP 400",
                "ToolRouterV2_InvalidConnectedAccountIds",
                "the pin is stale",
                "Look at the documentation.",
            ][..],
        ),
        (
            odd(400, &bad),
            &["10400", "Error in payload.toolkits: Invalid input", "Fix it"],
        ),
        (
            odd(403, &json!({ "message": "not on your plan" })),
            &["HTTP 403", "not on your plan"],
        ),
        (odd(502, &Value::Null), &["HTTP 502"]),
        (
            Odd {
                status: 400,
                headers: vec![("content-type", "text/html")],
                body: "<h1>what?</h1>".to_owned(),
            },
            &["HTTP 400"],
        ),
        (
            odd(201, &json!({ "session_id": "trs_x" })),
            &["describes no session"],
        ),
        (
            odd(
                201,
                &json!({ "session_id": "../x", "mcp": { "url": "http://h" } }),
            ),
            &["its id is of another form"],
        ),
        (
            Odd {
                status: 307,
                headers: vec![("location", "http://127.0.0.1:1/trs_")],
                body: String::new(),
            },
            &["redirects", "`base_url`"],
        ),
        (
            odd(201, &json!("x".repeat(2_000_000))),
            &["more than 1048576 bytes"],
        ),
    ] {
        fake.next_create(odd);
        let before = fake.creates_of("bob");
        let answer = gate.who(BOB).await;
        for part in parts {
            assert!(message(&answer).contains(part), "{part}: {answer}");
        }
        assert_eq!(
            fake.creates_of("bob"),
            before + 1,
            "a create that may have been carried out is not sent again"
        );
        // The breaker would open after five faults in a row.
        assert_eq!(login(&gate.who(ALICE).await), "alice");
    }
    assert_eq!(login(&gate.who(BOB).await), "bob");
    gate.stop().await;
}

#[tokio::test]
async fn a_create_that_was_certainly_not_carried_out_is_sent_again() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    fake.next_create(Odd {
        status: 429,
        headers: vec![("retry-after-ms", "20")],
        body: r#"{"message":"Rate limit exceeded. Limit: 2000"}"#.to_owned(),
    });
    assert_eq!(login(&gate.who(ALICE).await), "alice");
    assert_eq!((fake.creates_of("alice"), fake.sessions().len()), (2, 2));

    fake.next_create(Odd {
        status: 429,
        headers: vec![("retry-after", "60")],
        body: r#"{"message":"Rate limit exceeded. Limit: 2000"}"#.to_owned(),
    });
    let answer = gate.who(BOB).await;
    assert!(
        message(&answer).contains("Rate limit exceeded. Limit: 2000"),
        "{answer}"
    );
    assert_eq!(fake.creates_of("bob"), 1, "nobody waits for a minute");
    gate.stop().await;
}

#[tokio::test]
async fn the_key_does_not_go_to_another_host_and_the_session_there_is_deleted() {
    let (fake, other) = (connected().await, connected().await);
    let gate = Gate::start(&fake).await;
    fake.puts_mcp_on(&other.origin);
    let answer = gate.who(ALICE).await;
    assert!(
        message(&answer).contains("on another host, where the key does not go"),
        "{answer}"
    );
    assert_eq!(other.seen().len(), 0);
    assert_eq!(fake.sessions().len(), 1, "that of the listing user");
    let deletes = fake.seen();
    let deletes = deletes.iter().filter(|seen| seen.method == Method::DELETE);
    assert_eq!(deletes.count(), 1);
    gate.stop().await;
}

#[tokio::test]
async fn a_call_that_may_have_been_carried_out_is_not_sent_again() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    for (status, part) in [(500, "HTTP 500"), (429, "HTTP 429")] {
        assert_eq!(login(&gate.who(ALICE).await), "alice");
        let before = fake.calls_of("alice");
        fake.next_mcp(odd(status, &json!({ "message": "no" })));
        let answer = gate.who(ALICE).await;
        assert!(message(&answer).contains(part), "{answer}");
        assert_eq!(
            (fake.calls_of("alice"), fake.creates_of("alice")),
            (before + 1, 1)
        );
    }
    gate.stop().await;
}

#[tokio::test]
async fn a_key_that_is_refused_after_minutes_of_success_is_tried_once_more_and_the_session_stays() {
    let fake = connected().await;
    let gate = Gate::start(&fake).await;
    let refused = || fake.next_mcp(odd(401, &json!({ "message": "no" })));
    assert_eq!(login(&gate.who(ALICE).await), "alice");
    refused();
    assert_eq!(login(&gate.who(ALICE).await), "alice", "once is nothing");
    refused();
    refused();
    let answer = gate.who(ALICE).await;
    assert!(message(&answer).contains("COMPOSIO_API_KEY"), "{answer}");
    assert_eq!(login(&gate.who(ALICE).await), "alice", "the user was not dropped");
    assert_eq!(fake.creates_of("alice"), 1);
    gate.stop().await;
}

#[tokio::test]
async fn what_composio_says_at_a_sessions_endpoint_is_read_too_and_shuts_nobody_else_out() {
    let stale = error_body(400, 4300, "ToolRouterV2_BadRequest", "that cannot be");
    let telling = json!({ "error": { "message": format!("{KEY} may not use trs_x"),
        "slug": "S", "errors": ["x".repeat(5000)] } });
    let rpc =
        json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32602, "message": "no such field" } });
    let broken = error_body(500, 1, "ToolRouterV2_InternalServerError", "we are sorry");
    let limited = |headers| Odd {
        status: 429,
        headers,
        body: r#"{"message":"Rate limit exceeded. Limit: 2000"}"#.to_owned(),
    };
    for gives_ids in [false, true] {
        let fake = connected().await;
        let gate = Gate::start(&fake).await;
        if gives_ids {
            fake.gives_ids();
        }
        assert_eq!(login(&gate.who(ALICE).await), "alice");
        for (odd, parts) in [
            (
                limited(vec![("retry-after", "60")]),
                &["HTTP 429", "Rate limit exceeded. Limit: 2000", "in 60 seconds"][..],
            ),
            (
                limited(vec![]),
                &["Rate limit exceeded. Limit: 2000", "try again later"],
            ),
            (
                odd(400, &stale),
                &["HTTP 400", "ToolRouterV2_BadRequest", "that cannot be"],
            ),
            (odd(400, &telling), &["HTTP 400", "S: *** may not use ***"]),
            (odd(400, &rpc), &["no such field"]),
            (
                odd(500, &broken),
                &["HTTP 500", "ToolRouterV2_InternalServerError", "we are sorry"],
            ),
        ] {
            let before = fake.calls_of("alice");
            fake.next_mcp(odd);
            let answer = gate.who(ALICE).await;
            for part in parts {
                assert!(message(&answer).contains(part), "{part}: {answer}");
            }
            assert!(!answer.to_string().contains(KEY), "{answer}");
            assert!(message(&answer).len() < 1000, "{answer}");
            assert_eq!(
                (fake.calls_of("alice"), fake.creates_of("alice")),
                (before + 1, 1),
                "it is not sent again"
            );
            assert_eq!(login(&gate.who(ALICE).await), "alice");
        }
        // What is wrong with one user's session is no fault of the gateway.
        for _ in 0..6 {
            fake.next_mcp(odd(400, &stale));
            assert!(message(&gate.who(ALICE).await).contains("that cannot be"));
        }
        let barred = error_body(403, 1, "HTTP_Forbidden", "not on your plan");
        for status in [403, 409].repeat(3) {
            fake.next_mcp(odd(status, &barred));
            assert!(message(&gate.who(ALICE).await).contains("not on your plan"));
        }
        assert_eq!(login(&gate.who(ALICE).await), "alice");
        for _ in 0..6 {
            fake.next_create(odd(400, &stale));
            assert!(message(&gate.who(BOB).await).contains("that cannot be"));
        }
        assert_eq!(login(&gate.who(ALICE).await), "alice");
        assert_eq!(login(&gate.who(BOB).await), "bob");
        gate.stop().await;
    }
}
