use super::*;

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|gateway| gateway["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn gateways_are_shown_as_they_stand_without_secrets() {
    let rig = quiet().await;
    let got = rig.get("alice", "/gateways").await;
    assert_eq!(got.status, 200);
    assert!(!got.text.contains("s3cret"), "{}", got.text);
    let page = got.json();
    assert_eq!(names(&page), ["a", "b", "late", "last"]);
    let (a, b, late) = (&page["items"][0], &page["items"][1], &page["items"][2]);
    assert_eq!(
        (&a["transport"], &a["target"]),
        (&"http".into(), &"http://127.0.0.1:9/mcp?***".into())
    );
    assert_eq!(
        (&a["state"], &a["era"], &a["breaker"]),
        (&"up".into(), &"modern".into(), &"closed".into())
    );
    assert_eq!(
        (&a["required"], &a["looked"], &a["inFlight"]),
        (&true.into(), &true.into(), &0.into())
    );
    assert_eq!(
        (&a["lastGoodList"]["tools"], &a["lastError"]),
        (&4.into(), &Value::Null)
    );
    assert_eq!(
        (&b["transport"], &b["target"]),
        (&"stdio".into(), &"server --token ***".into())
    );
    assert_eq!(
        (&late["state"], &late["lastGoodList"]),
        (&"down".into(), &Value::Null)
    );
    assert_eq!(late["lastError"]["text"], "connection refused");
}

#[tokio::test]
async fn a_gateway_shows_its_latency_and_its_open_breaker() {
    let rig = rig(|call| {
        let name = call
            .request
            .params
            .as_ref()
            .and_then(|params| params.string("name"));
        Box::pin(ready(match name.as_deref() {
            Some("echo") => Ok(came(r#"{"content":[]}"#)),
            _ => Err(CallError::Timeout {
                gateway: GatewayId::new("b"),
                timeout_ms: 5,
            }),
        }))
    })
    .await;
    rig.post("alice", "/tools/echo/test", "{}").await;
    for _ in 0..crate::limits::BREAKER_FAULTS {
        rig.post("alice", "/tools/b_only/test", "{}").await.problem(504);
    }
    let page = rig.get("alice", "/gateways").await.json();
    assert!(page["items"][0]["latencyMs"].as_f64().unwrap() > 0.0);
    let b = &page["items"][1];
    assert_eq!((&b["breaker"], &b["state"]), (&"open".into(), &"down".into()));
    assert_eq!(b["lastError"]["text"], "no answer within 5 ms");
    assert!(b["retryInMs"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_key_with_tools_sees_the_gateways_of_those() {
    let rig = quiet().await;
    assert_eq!(names(&rig.get("narrow", "/gateways").await.json()), ["a"]);
    rig.get("alice", "/gateways?limit=1").await.problem(400);
}
