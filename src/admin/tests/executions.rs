//! The record of calls as REST shows it: to whom, in which order, by which conditions.

use super::*;

/// Calls tools as their users; every call of `b_only` fails.
async fn called(calls: &[(&str, &str)]) -> Rig {
    let rig = rig(|call| {
        let params = call.request.params.as_ref();
        let failed = params.and_then(|params| params.string("name")).as_deref() == Some("b_only");
        let result = if failed {
            r#"{"content":[],"isError":true}"#
        } else {
            r#"{"content":[{"type":"text","text":"ok"}],"token":"s3cret"}"#
        };
        Box::pin(ready(Ok(came(result))))
    })
    .await;
    for (key, tool) in calls {
        let path = format!("/tools/{tool}/test");
        let got = rig.post(key, &path, r#"{"password":"s3cret"}"#).await;
        assert_eq!(got.status, 200);
    }
    rig
}

impl Rig {
    async fn items(&self, key: &str, query: &str) -> Vec<Value> {
        let got = self.get(key, &format!("/executions{query}")).await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.json()["items"].as_array().unwrap().clone()
    }

    async fn seen(&self, key: &str, query: &str) -> Vec<String> {
        let items = self.items(key, query).await;
        let told = |item: &Value| {
            format!(
                "{} {}",
                item["userId"].as_str().unwrap(),
                item["tool"].as_str().unwrap()
            )
        };
        items.iter().map(told).collect()
    }
}

#[tokio::test]
async fn a_call_is_listed_with_everything_that_is_known_of_it() {
    let rig = called(&[("alice", "echo"), ("alice", "b_only")]).await;
    let items = rig.items("alice", "").await;
    let (failed, echo) = (&items[0], &items[1]);
    assert_eq!(
        (&echo["gateway"], &echo["tool"], &echo["status"], &echo["error"]),
        (&"a".into(), &"echo".into(), &"SUCCESS".into(), &Value::Null)
    );
    assert_eq!(
        (&failed["gateway"], &failed["status"], &failed["error"]),
        (
            &"b".into(),
            &"FAILED".into(),
            &"the tool says that it failed".into()
        )
    );
    assert_eq!(
        (&echo["requestId"], &echo["sessionId"]),
        (&"rq-1".into(), &Value::Null)
    );
    assert!(echo["durationMs"].as_f64().unwrap() >= 0.0 && echo["requestBytes"].as_u64().unwrap() > 50);
    let started = crate::clock::unix_ms_of(echo["startedAt"].as_str().unwrap()).unwrap();
    assert!(crate::clock::unix_ms().abs_diff(started) < 60_000);
    let whole = rig
        .get("alice", &format!("/executions/{}", echo["id"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(whole["arguments"], serde_json::json!({ "password": "***" }));
    assert_eq!(whole["result"]["token"], "***");
    for (key, value) in echo.as_object().unwrap() {
        assert_eq!(&whole[key], value);
    }
}

#[tokio::test]
async fn users_see_their_own_calls_and_who_acts_for_users_sees_all() {
    let rig = called(&[("alice", "echo"), ("bob", "echo"), ("alice", "b_only")]).await;
    assert_eq!(rig.seen("alice", "").await, ["alice b_only", "alice echo"]);
    assert_eq!(rig.seen("alice", "?userId=alice").await.len(), 2);
    assert_eq!(rig.seen("bob", "").await, ["bob echo"]);
    assert_eq!(
        rig.seen("backend", "").await,
        ["alice b_only", "bob echo", "alice echo"]
    );
    assert_eq!(rig.seen("backend", "?userId=bob").await, ["bob echo"]);
    assert_eq!(rig.seen("backend", "?user=nobody").await, [""; 0]);
    assert_eq!(
        rig.seen("narrow", "").await,
        ["alice echo"],
        "b_only is not its tool"
    );
    rig.get("bob", "/executions?userId=alice").await.problem(403);
    rig.get("bob", "/stats?userId=alice").await.problem(403);
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    let of_alice = rig.items("alice", "").await;
    let (b_only, echo) = (id(&of_alice[0]), id(&of_alice[1]));
    let unknown = crate::ids::ExecutionId::first_of(7).to_string();
    for (key, foreign) in [("bob", &b_only), ("bob", &echo), ("narrow", &b_only)] {
        let told = rig.get(key, &format!("/executions/{foreign}")).await.problem(404);
        let right = rig.get(key, &format!("/executions/{unknown}")).await.problem(404);
        assert_eq!(
            told.replace(foreign, &unknown),
            right,
            "foreign and unknown look alike"
        );
    }
    for key in ["alice", "backend"] {
        assert_eq!(rig.get(key, &format!("/executions/{echo}")).await.status, 200);
    }
    let calls = async |key| rig.get(key, "/stats").await.json()["total"]["calls"].clone();
    assert_eq!(
        [
            calls("alice").await,
            calls("bob").await,
            calls("backend").await,
            calls("narrow").await
        ],
        [2, 1, 3, 1]
    );
}

#[tokio::test]
async fn conditions_leave_out_the_others_and_bad_ones_are_named() {
    let rig = called(&[("alice", "echo"), ("alice", "b_only"), ("alice", "b__echo")]).await;
    for (query, seen) in [
        ("?gateway=b", &["alice b__echo", "alice b_only"][..]),
        ("?tool=echo", &["alice echo"]),
        ("?status=FAILED", &["alice b_only"]),
        ("?status=PENDING", &[]),
        ("?gateway=b&status=SUCCESS", &["alice b__echo"]),
        ("?to=2026-01-01T00:00:00Z", &[]),
        ("?from=2026-01-01T00:00:00Z&limit=1", &["alice b__echo"]),
    ] {
        assert_eq!(rig.seen("alice", query).await, seen, "{query}");
    }
    for (query, named) in [
        ("?status=failed", "status"),
        ("?from=yesterday", "from"),
        ("?to=2026-01-01", "to"),
        ("?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("?limit=201", "limit"),
        ("?cursor=x", "cursor"),
        ("?tools=echo", "\"tools\""),
        ("?user=alice&userId=alice", "userId"),
        ("?userId=", "userId"),
    ] {
        let key = if query == "?userId=" { "backend" } else { "alice" };
        let detail = rig.get(key, &format!("/executions{query}")).await.problem(400);
        assert!(detail.contains(named), "{query}: {detail}");
    }
    rig.get("alice", "/stats?cursor=x").await.problem(400);
}

#[tokio::test]
async fn cursors_lead_through_all_pages_for_who_they_were_given_to() {
    let rig = called(&[("alice", "echo"), ("alice", "b_only"), ("alice", "b__echo")]).await;
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = rig.get("alice", &format!("/executions{query}")).await.json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["tool"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
        rig.get("bob", &format!("/executions{query}")).await.problem(400);
        rig.get("alice", &format!("/tools{query}")).await.problem(400);
    }
    assert_eq!(seen, ["b__echo", "b_only", "echo"]);
    let of_tools = rig.get("alice", "/tools?limit=1").await.json();
    let of_tools = of_tools["nextCursor"].as_str().unwrap();
    let path = format!("/executions?cursor={of_tools}");
    rig.get("alice", &path).await.problem(400);
}

#[tokio::test]
async fn statistics_count_calls_and_failures() {
    let rig = called(&[("alice", "echo"), ("alice", "echo"), ("alice", "b_only")]).await;
    let stats = rig.get("alice", "/stats").await.json();
    assert_eq!(
        (
            &stats["total"]["calls"],
            &stats["total"]["failures"],
            &stats["complete"]
        ),
        (&3.into(), &1.into(), &true.into())
    );
    let tools = stats["tools"].as_array().unwrap();
    assert_eq!(
        (&tools[0]["tool"], &tools[0]["calls"]),
        (&"echo".into(), &2.into())
    );
    assert!(tools[0]["p50Ms"].as_f64().unwrap() <= tools[0]["p99Ms"].as_f64().unwrap());
    let gateways = stats["gateways"].as_array().unwrap();
    assert_eq!(
        (&gateways[1]["gateway"], &gateways[1]["failures"]),
        (&"b".into(), &1.into())
    );
    let newest = rig.items("alice", "?limit=1").await;
    let last = stats["days"].as_array().unwrap().last().unwrap();
    let started = newest[0]["startedAt"].as_str().unwrap();
    assert!(started.starts_with(last["day"].as_str().unwrap()), "{started}");
    let none = rig.get("alice", "/stats?gateway=nobody").await.json();
    assert_eq!(
        (&none["total"]["calls"], &none["since"]),
        (&0.into(), &Value::Null)
    );
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_said_so() {
    let rig = called(&[]).await;
    rig.store.close().await;
    for path in ["/executions", "/stats"] {
        let detail = rig.get("alice", path).await.problem(503);
        assert!(
            detail.contains("the store failed; try again") && detail.contains("the log"),
            "{detail}"
        );
    }
}
