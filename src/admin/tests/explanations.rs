use super::*;

async fn explained(rig: &Rig, key: &str, name: &str) -> Value {
    let got = rig.get(key, &format!("/tools/{name}/explain")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    got.json()
}

fn outcomes(explained: &Value) -> Vec<&str> {
    let reasons = explained["reasons"].as_array().unwrap();
    reasons
        .iter()
        .map(|reason| reason["outcome"].as_str().unwrap())
        .collect()
}

fn detail(explained: &Value, reason: usize) -> &str {
    explained["reasons"][reason]["detail"].as_str().unwrap()
}

#[tokio::test]
async fn a_name_that_leads_somewhere_says_where_and_who_else_has_one() {
    let rig = quiet().await;
    let echo = explained(&rig, "alice", "echo").await;
    assert_eq!((&echo["name"], &echo["callable"]), (&"echo".into(), &true.into()));
    assert_eq!(outcomes(&echo), ["callable", "renamed", "waiting"]);
    let [first, second] = [&echo["reasons"][0], &echo["reasons"][1]];
    assert_eq!(
        (&first["gateway"]["name"], &first["gateway"]["state"]),
        (&"a".into(), &"up".into())
    );
    assert_eq!(
        (&second["exposedName"], &second["takenBy"]),
        (&"b__echo".into(), &"a".into())
    );
    assert_eq!(
        detail(&echo, 1),
        "what gateway b calls by this name is known as b__echo, because the bare name belongs to gateway a"
    );
    let prefixed = explained(&rig, "alice", "b__echo").await;
    assert_eq!(
        detail(&prefixed, 0),
        "this name leads to gateway b, where it is echo; that name belongs to gateway a"
    );
    assert_eq!(
        (
            &prefixed["reasons"][0]["ownName"],
            &prefixed["reasons"][0]["takenBy"]
        ),
        (&"echo".into(), &"a".into())
    );
    let odd = explained(&rig, "alice", "odd").await;
    assert_eq!(
        (outcomes(&odd), &odd["callable"]),
        (vec!["renamed"], &false.into())
    );
    assert!(detail(&odd, 0).contains("known as even, by `rename`"), "{odd}");
    let even = explained(&rig, "alice", "even").await;
    assert_eq!(detail(&even, 0), "this name leads to gateway a, where it is odd");
}

#[tokio::test]
async fn a_hidden_tool_names_the_setting_that_hides_it() {
    let rig = quiet().await;
    let secret = explained(&rig, "alice", "secret").await;
    assert_eq!(
        (outcomes(&secret), &secret["callable"]),
        (vec!["hidden"], &false.into())
    );
    assert_eq!(secret["reasons"][0]["setting"], "[gateways.a] deny");
    assert_eq!(secret["reasons"][0]["gateway"]["name"], "a");
}

#[tokio::test]
async fn a_key_with_tools_learns_nothing_about_other_names() {
    let rig = quiet().await;
    let there = rig.get("narrow", "/tools/b_only/explain").await.text;
    let not_there = rig.get("narrow", "/tools/nonsense/explain").await.text;
    assert_eq!(there.replace("b_only", "nonsense"), not_there);
    assert!(there.contains("[auth] tools of this key"), "{there}");
    let echo = explained(&rig, "narrow", "echo").await;
    assert_eq!(
        outcomes(&echo),
        ["callable"],
        "nothing of gateways that are not its business"
    );
    let nope = explained(&rig, "narrow", "nope").await;
    assert_eq!(outcomes(&nope), ["unknown"]);
    assert!(!nope.to_string().contains("late"), "{nope}");
}

#[tokio::test]
async fn a_tool_that_waits_for_its_name_says_for_whom() {
    let rig = quiet().await;
    let waiting = explained(&rig, "alice", "last_only").await;
    assert_eq!(outcomes(&waiting), ["waiting"]);
    assert_eq!(waiting["reasons"][0]["waitsFor"], serde_json::json!(["late"]));
    rig.all_looked();
    assert_eq!(
        outcomes(&explained(&rig, "alice", "last_only").await),
        ["callable"]
    );
    let taken = explained(&rig, "alice", "echo").await;
    assert_eq!(outcomes(&taken), ["callable", "renamed", "nameTaken"]);
    assert_eq!(taken["reasons"][2]["takenBy"], "a");
    assert!(detail(&taken, 2).contains("[gateways.last] rename"), "{taken}");
}

#[tokio::test]
async fn an_unknown_name_tells_which_gateways_have_not_spoken() {
    let rig = quiet().await;
    let unknown = explained(&rig, "alice", "no%2Fsuch%20tool").await;
    assert_eq!(
        (&unknown["name"], outcomes(&unknown)),
        (&"no/such tool".into(), vec!["unknown"])
    );
    assert!(
        detail(&unknown, 0).contains("Gateway late has not given its lists yet: it is down for"),
        "{unknown}"
    );
    assert!(detail(&unknown, 0).ends_with("connection refused"), "{unknown}");
    assert_eq!(unknown["reasons"][0]["waitsFor"], serde_json::json!(["late"]));
    assert_eq!(rig.get("alice", "/tools/%FF/explain").await.status, 400);
}

#[tokio::test]
async fn a_tool_of_a_gateway_that_is_down_says_since_when_and_why() {
    let rig = rig(|_| {
        Box::pin(ready(Err(CallError::Timeout {
            gateway: GatewayId::new("a"),
            timeout_ms: 5,
        })))
    })
    .await;
    for _ in 0..crate::limits::BREAKER_FAULTS {
        rig.post("alice", "/tools/echo/test", "{}").await.problem(504);
    }
    let down = explained(&rig, "alice", "echo").await;
    assert_eq!(
        (&down["callable"], outcomes(&down)[0]),
        (&false.into(), "gatewayDown")
    );
    assert_eq!(
        detail(&down, 0),
        "this name leads to gateway a. The gateway is down for 0 s: no answer within 5 ms"
    );
    assert_eq!(down["reasons"][0]["gateway"]["breaker"], "open");
}
