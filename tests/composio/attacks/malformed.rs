//! Bodies that are none: webhooks with the right signature, REST, and arguments that two readers might read differently.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;

use super::{MULTI, WHO, as_user, nobody_crossed, post, told};
use crate::catalogue::house;
use crate::connect::{House, TOOLKITS, WEBHOOK_SECRET, file};
use crate::fake::Fake;

fn now_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn signature(id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).unwrap();
    mac.update(&[format!("{id}.{timestamp}.").as_bytes(), body].concat());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// A webhook that is signed as it should be.
fn webhook(house: &House, id: &str, timestamp: &str, body: &[u8]) -> reqwest::RequestBuilder {
    house
        .http
        .post(format!("{}/api/webhooks/composio", house.url))
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature(id, timestamp, body))
        .body(body.to_vec())
}

fn nested(open: &str, close: &str, depth: usize) -> Vec<u8> {
    format!("{}1{}", open.repeat(depth), close.repeat(depth)).into_bytes()
}

#[tokio::test]
async fn webhooks_that_are_signed_and_no_webhooks_change_nothing() {
    let fake = Fake::start().await;
    let options = format!("{TOOLKITS}\nwebhook_secret = '{WEBHOOK_SECRET}'");
    let house = house(&file(&fake, "memory", &options)).await;
    house.connect("alice", "github").await;
    let id = fake.accounts_of("alice")[0]["id"].as_str().unwrap().to_owned();
    // Whoever looked would see it.
    fake.control(&json!({ "do": "account", "id": id, "status": "EXPIRED" }));
    let before = fake.seen().len();
    let expired = "composio.connected_account.expired";
    let whole = format!(
        r#"{{"type":"{expired}","data":{{"id":"{id}","user_id":"alice","toolkit":{{"slug":"github"}},"status":"EXPIRED"}}}}"#
    );
    let twice = whole.replacen('{', &format!(r#"{{"type":"{expired}","#), 1);
    let mut invalid = whole.clone().into_bytes();
    let at = invalid.windows(5).position(|part| part == b"alice").unwrap();
    invalid[at] = 0xff;
    let deep = [
        b"{\"type\":\"x\",\"data\":".to_vec(),
        nested("[", "]", 100_000),
        b"}".to_vec(),
    ]
    .concat();
    let objects = [
        b"{\"type\":\"x\",\"data\":".to_vec(),
        nested("{\"a\":", "}", 50_000),
        b"}".to_vec(),
    ]
    .concat();
    let now = now_s().to_string();
    for (number, (what, body)) in [
        ("empty", Vec::new()),
        ("truncated", whole.as_bytes()[..whole.len() - 1].to_vec()),
        ("a key twice", twice.into_bytes()),
        ("no UTF-8", invalid),
        ("deep", deep),
        ("deep objects", objects),
        ("no object", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("no type", b"{}".to_vec()),
        ("another type", br#"{"type":7}"#.to_vec()),
        ("two of them", [whole.as_bytes(), whole.as_bytes()].concat()),
        ("a NUL", b"{\"type\":\"x\0\"}".to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, text) = told(webhook(&house, &format!("msg_{number}"), &now, &body)).await;
        assert_eq!(status, 400, "{what}: {text}");
    }
    // They can be read, and what they say of an account is none.
    for (number, data) in [
        json!(null),
        json!([]),
        json!("x"),
        json!({ "id": 7 }),
        json!({ "id": "../../x", "user_id": "alice", "toolkit": { "slug": "github" }, "status": "EXPIRED" }),
        json!({ "id": id, "user_id": ["alice"], "toolkit": "github", "status": 1 }),
        json!({ "id": id, "user_id": "alice", "toolkit": { "slug": "gmail" }, "status": "EXPIRED" }),
        json!({ "id": format!("{id}\u{0}"), "user_id": "alice", "toolkit": { "slug": "github" }, "status": "EXPIRED" }),
        json!({ "id": "x".repeat(900_000) }),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({ "type": expired, "data": data }).to_string();
        let (status, text) = told(webhook(&house, &format!("msg_d{number}"), &now, body.as_bytes())).await;
        assert_eq!(status, 200, "{number}: {text}");
    }
    assert_eq!(fake.seen().len(), before, "nothing was looked up");
    // Right but for one header.
    let right = |id: &str, timestamp: &str| webhook(&house, id, timestamp, whole.as_bytes());
    let long = "m".repeat(10_000);
    let far = u64::MAX.to_string();
    for (what, request) in [
        ("long id", right(&long, &now)),
        ("time that is none", right("msg_t1", "now")),
        ("time of the future", right("msg_t2", &far)),
        ("time before 1970", right("msg_t3", "-1")),
        ("time with a sign", right("msg_t4", &format!("+{now}0"))),
        ("time of the past", right("msg_t5", "0")),
        (
            "another's id",
            right("msg_t6", &now).header("webhook-id", "msg_t7"),
        ),
    ] {
        let before = fake.seen().len();
        let (status, text) = told(request).await;
        // A second header of one name is either refused or not looked at; it never makes another webhook.
        let fine = what == "another's id" && status == 200;
        assert!(fine || matches!(status, 400 | 401), "{what}: {status} {text}");
        if !fine {
            assert_eq!(fake.seen().len(), before, "{what}: nothing was looked up");
            assert_eq!(house.remembered(&fake, "alice").await[0][1], "ACTIVE", "{what}");
        }
    }
    // The house stands: a right one is taken.
    assert_eq!(told(right("msg_right", &now)).await.0, 200);
    assert_eq!(house.remembered(&fake, "alice").await[0][1], "FAILED");
    house.stop().await;
}

#[tokio::test]
async fn bodies_of_rest_that_are_none_are_told_so_and_reach_nobody() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let house = house(&file(&fake, "memory", TOOLKITS)).await;
    let made = house
        .post(
            "alice",
            "/api/tool-router/create-session",
            json!({ "toolkits": ["github"] }),
        )
        .await;
    let session = format!(
        "/api/tool-router/sessions/{}",
        made["sessionId"].as_str().unwrap()
    );
    let tool = format!("/api/integrations/github/tools/{WHO}");
    let doors = [
        ("POST", "/api/tool-router/create-session"),
        ("PATCH", &session),
        ("POST", "/api/integrations/github/connect"),
        ("POST", "/api/integrations/github/complete"),
        ("PATCH", "/api/integrations/github"),
        ("POST", &tool),
        ("POST", "/api/tools/COMPOSIO_SEARCH_TOOLS/test"),
    ];
    let before = fake.seen().len();
    for (what, body) in [
        ("truncated", b"{\"toolkits\":[\"github\"".to_vec()),
        ("deep", nested("[", "]", 100_000)),
        ("deep objects", nested("{\"a\":", "}", 50_000)),
        (
            "deep in a field",
            [b"{\"toolkits\":".to_vec(), nested("[", "]", 5_000), b"}".to_vec()].concat(),
        ),
        ("no UTF-8", b"{\"userId\":\"\xff\xfe\"}".to_vec()),
        ("a lone surrogate", br#"{"userId":"\ud800"}"#.to_vec()),
        ("an array", b"[]".to_vec()),
        ("a string", b"\"x\"".to_vec()),
        ("a number", b"1e999".to_vec()),
        ("null", b"null".to_vec()),
        ("NaN", b"{\"a\":NaN}".to_vec()),
        ("a comment", b"{/* */}".to_vec()),
        ("two of them", b"{}{}".to_vec()),
        ("a mark of the byte order", b"\xef\xbb\xbf{}".to_vec()),
        ("a blank", b" ".to_vec()),
        (
            "a key twice",
            br#"{"toolkits":["gmail"],"toolkits":["github"],"userId":"alice","userId":"alice"}"#.to_vec(),
        ),
    ] {
        for (method, path) in doors {
            // Arguments are a tool's own: what is JSON goes on as it came, and the tool's own reader says what it is to it.
            let of_arguments = path == tool || path.ends_with("/test");
            if of_arguments && matches!(what, "a lone surrogate" | "a key twice") {
                continue;
            }
            let request = house
                .http
                .request(method.parse().unwrap(), format!("{}{path}", house.url))
                .header("authorization", as_user("alice"))
                .header("content-type", "application/json")
                .body(body.clone());
            let (status, text) = told(request).await;
            assert_eq!(status, 400, "{what} to {method} {path}: {text}");
            let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(
                problem["detail"].is_string() && problem["status"] == 400,
                "{what} {path}: {text}"
            );
        }
    }
    assert_eq!(fake.seen().len(), before);
    house.stop().await;
}

#[tokio::test]
async fn parts_that_two_readers_would_read_differently_are_not_sent() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let options = format!("{TOOLKITS}\ndeny = ['GITHUB_DELETE_*', 'COMPOSIO_REMOTE_*']");
    let house = house(&file(&fake, "memory", &options)).await;
    let denied = r#"{"tool_slug":"GITHUB_DELETE_A_REPOSITORY","arguments":{"owner":"o","repo":"r"}}"#;
    let fine = format!(r#"{{"tool_slug":"{WHO}","arguments":{{}}}}"#);
    let before = fake.calls_of("alice");
    for arguments in [
        // One key twice, one of them spelt with an escape.
        format!(r#"{{"tools":[{fine}],"tools":[{denied}]}}"#),
        format!(r#"{{"tools":[{denied}],"tools":[{fine}]}}"#),
        format!(r#"{{"tools":[{fine}],"\u0074ools":[{denied}]}}"#),
        format!(r#"{{"tools":[{{"tool_slug":"{WHO}","tool_slug":"GITHUB_DELETE_A_REPOSITORY","arguments":{{}}}}]}}"#),
        format!(r#"{{"tools":[{{"tool_slug":"{WHO}","tool\u005fslug":"GITHUB_DELETE_A_REPOSITORY","arguments":{{}}}}]}}"#),
        // Escapes in the name itself are what they mean.
        r#"{"tools":[{"tool_slug":"GITHUB\u005fDELETE\u005fA_REPOSITORY","arguments":{}}]}"#.to_owned(),
        // A tool that carries tools of its own.
        format!(r#"{{"tools":[{{"tool_slug":"{MULTI}","arguments":{{"tools":[{denied}]}}}}]}}"#),
        r#"{"tools":[{"tool_slug":"COMPOSIO_MANAGE_CONNECTIONS","arguments":{"toolkits":["github"],"reinitiate_all":true}}]}"#.to_owned(),
        r#"{"tools":[{"tool_slug":"COMPOSIO_REMOTE_WORKBENCH","arguments":{"code_to_execute":"print(1)"}}]}"#.to_owned(),
        // A list that is a text.
        format!(r#"{{"tools":{}}}"#, json!(format!("[{denied}]"))),
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{MULTI}","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"t","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        );
        let request = post(&house, "/mcp")
            .header("authorization", as_user("alice"))
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", MULTI)
            .body(body);
        let (status, text) = told(request).await;
        assert!(text.contains(r#""error""#), "{arguments}: {status} {text}");
        assert_eq!(fake.calls_of("alice"), before, "{arguments} was sent: {text}");
        // The same by REST.
        let request = post(&house, &format!("/api/tools/{MULTI}/test"))
            .header("authorization", as_user("alice"))
            .body(arguments.clone());
        let (status, text) = told(request).await;
        assert!(status >= 400 || text.contains(r#""isError":true"#), "{arguments}: {status} {text}");
        assert_eq!(fake.calls_of("alice"), before, "{arguments} was sent: {text}");
    }
    assert!(fake.executions().is_empty(), "{:?}", fake.executions());
    nobody_crossed(&fake);
    house.stop().await;
}
