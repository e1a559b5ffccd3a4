//! Real peers: both of Composio's own SDKs and a real MCP client go through everything that the fake does, and take
//! every answer. `make deps` installs them; where they are missing these tests fail.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fake::{CONTROL, Fake, KEY, client};

fn deps(part: &str) -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let deps = std::env::var_os("TOOLGATE_DEPS").map_or_else(|| top.join(".deps"), PathBuf::from);
    let found = deps.join(part);
    assert!(found.exists(), "{} is missing: run `make deps`", found.display());
    found
}

/// Runs a driver of `tests/kit/clients` to its end; returns what it prints.
async fn drive(program: PathBuf, driver: &str, argument: String, stdin: String) -> Value {
    let driver = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/kit/clients")
        .join(driver);
    let done = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(program)
            .arg(driver)
            .arg(argument)
            .env("COMPOSIO_DISABLE_TELEMETRY", "true")
            .env_remove("COMPOSIO_BASE_URL")
            .env_remove("COMPOSIO_API_KEY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = done.await.unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|_| panic!("{out}\n{err}"))
}

/// A webhook as a receiver got it, for the SDKs' own verifiers.
async fn webhook(fake: &Fake) -> Value {
    let (came, mut comes) = mpsc::channel::<(HeaderMap, Bytes)>(1);
    let receiver = Router::new().fallback(move |headers: HeaderMap, body: Bytes| async move {
        came.send((headers, body)).await.unwrap();
        "taken"
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let account = fake.connect("hooked", "gmail");
    let http = client();
    let command = json!({ "do": "send_webhook", "type": "composio.trigger.message", "account": account,
        "url": url, "secret": "whsec_of_the_test", "data": { "subject": "hello" },
        "metadata": { "log_id": "log_1", "trigger_slug": "GMAIL_NEW_GMAIL_MESSAGE", "trigger_id": "ti_1" } });
    let request = http
        .post(format!("{}/_fake/control", fake.origin))
        .header("x-fake-control", CONTROL);
    let sent = request
        .body(command.to_string())
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(sent.contains("\"answer\":\"taken\""), "{sent}");
    let (headers, body) = comes.recv().await.unwrap();
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    json!({ "id": header("webhook-id"), "timestamp": header("webhook-timestamp"),
        "signature": header("webhook-signature"), "secret": "whsec_of_the_test",
        "payload": String::from_utf8(body.to_vec()).unwrap() })
}

/// What both SDKs have to have seen.
fn judge(done: &Value, user: &str, names: &dyn Fn(&str) -> String) {
    let of = |name: &str| &done[names(name)];
    let id = done["created"]["id"].as_str().unwrap();
    assert!(id.starts_with("trs_"), "{id}");
    assert_eq!(done["used"]["id"], id);
    assert_eq!(done["created"]["mcp"]["headers"]["x-api-key"], KEY);
    assert!(
        done["created"]["mcp"]["url"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/tool_router/{id}/mcp"))
    );
    assert_eq!(done["before"].as_array().unwrap().len(), 3);

    let account = done["account"]["id"].as_str().unwrap();
    assert_eq!(done["link"]["id"], account);
    assert_eq!(done["link"]["status"], "INITIATED");
    assert_eq!(done["redirect"]["status"], 303);
    assert_eq!(
        done["redirect"]["location"],
        format!("https://app.example/cb?state=abc&status=success&connected_account_id={account}")
    );
    assert_eq!(done["account"]["status"], "ACTIVE");

    assert_eq!(done["executed"]["data"]["login"], user);
    assert_eq!(done["executed"]["error"], Value::Null);
    assert_eq!(done["failed"]["data"]["status_code"], 400);
    assert!(done["failed"]["error"].as_str().unwrap().contains("owner, repo"));
    let managed = &done["meta"]["data"]["results"];
    assert_eq!(
        (&managed["github"]["status"], &managed["gmail"]["status"]),
        (&json!("active"), &json!("initiated"))
    );
    assert!(
        managed["gmail"]["redirect_url"]
            .as_str()
            .unwrap()
            .contains("/link/lk_")
    );
    assert_eq!(
        (&done["proxied"]["status"], &done["proxied"]["data"]["login"]),
        (&json!(200), &json!(user))
    );
    assert_eq!(done["unconnected"]["status"], 400);
    assert!(
        done["unconnected"]["text"]
            .as_str()
            .unwrap()
            .contains("No active connected account found")
    );
    assert_eq!(done["tools"].as_array().unwrap().len(), 6);
    assert_eq!(
        done["direct"],
        json!(["HACKERNEWS_GET_FRONTPAGE", "HACKERNEWS_GET_USER"])
    );
    assert_eq!(of("tool_execute")["data"]["login"], user);
    assert_eq!(of("tool_list").as_array().unwrap().len(), 6);
    assert_eq!(done["toolkit"], "github");

    assert_eq!(done["listed"].as_array().unwrap().len(), 1);
    assert_eq!(done["listed"][0]["id"], account);
    assert_eq!(done["second"]["class"], "ComposioMultipleConnectedAccountsError");
    assert_eq!(
        done["retired"]["class"],
        "ComposioLegacyConnectedAccountsEndpointRetiredError"
    );
    assert!(
        done["denied"]["location"]
            .as_str()
            .unwrap()
            .starts_with("https://app.example/cb?status=failed&")
    );
    assert!(of("denied_wait")["text"].as_str().unwrap().contains("FAILED"));
    assert_eq!(
        (&done["disabled"], &done["enabled"]),
        (&json!("INACTIVE"), &json!("ACTIVE"))
    );
    assert_eq!(of("gone_account")["status"], 404);
    assert_eq!(of("config_disabled"), "DISABLED");

    assert_eq!(done["server"]["tools"], json!(["SERPAPI_SEARCH"]));
    assert!(
        done["instance"]["url"]
            .as_str()
            .unwrap()
            .ends_with(&format!("?user_id={user}"))
    );
    assert_eq!(of("server_deleted")["deleted"], true);

    assert_eq!(
        (&done["gone"]["class"], &done["gone"]["status"]),
        (&json!("NotFoundError"), &json!(404))
    );
    assert!(
        done["gone"]["text"]
            .as_str()
            .unwrap()
            .contains("Tool router session with ID")
    );
    assert_eq!(
        (&done["refused"]["class"], &done["refused"]["status"]),
        (&json!("AuthenticationError"), &json!(401))
    );

    assert!(done["webhook"]["version"].as_str().unwrap().contains("V3"));
    assert_eq!(done["webhook"]["raw"]["data"]["subject"], "hello");
    assert!(
        of("webhook_tampered")["class"]
            .as_str()
            .unwrap()
            .contains("SignatureVerification")
    );
    assert!(
        of("webhook_old")["class"]
            .as_str()
            .unwrap()
            .contains("Verification")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn composios_python_sdk_takes_every_answer_and_each_fits_its_generated_model() {
    let fake = Fake::start().await;
    let job = json!({ "url": fake.origin, "key": KEY, "webhook": webhook(&fake).await });
    let report = drive(
        deps("composio-py/bin/python"),
        "composio-python.py",
        job.to_string(),
        String::new(),
    )
    .await;
    assert_eq!(report["violations"], json!([]));
    let routes = report["routes"].as_object().unwrap();
    assert!(routes.len() > 50, "{routes:?}");
    let done = &report["done"];
    judge(done, "py_user", &str::to_owned);
    assert_eq!(done["updated"], json!(["github", "slack"]));
    assert_eq!(done["history"], json!([2, 1]));
    assert_eq!(done["bare_list"]["status"], 400);
    assert_eq!(done["alias"], "work");
    assert_eq!(done["revoked"]["connected_account"]["status"], "REVOKED");
    assert_eq!(done["keyed"], json!({ "status": "ACTIVE", "waited": "ACTIVE" }));
    for (name, status, code) in [
        ("no_auth", 400, 4326),
        ("restricted", 400, 4300),
        ("unknown_key", 400, 10400),
        ("enabled", 400, 10400),
        ("foreign_pin", 400, 4306),
        ("instance_again", 409, 10409),
        ("not_revocable", 409, 10409),
    ] {
        let answer = &done["raw"][name];
        assert_eq!(
            (&answer["status"], &answer["body"]["error"]["code"]),
            (&json!(status), &json!(code)),
            "{name}"
        );
    }
    assert_eq!(done["raw"]["pending"]["body"]["status"], "INITIATED");
    fake_kept_the_books(&fake, "py_user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn composios_typescript_sdk_takes_every_answer_without_a_warning() {
    let fake = Fake::start().await;
    let job = json!({ "url": fake.origin, "key": KEY, "webhook": webhook(&fake).await });
    deps("composio-js/node_modules/@composio/core");
    let node = deps("suite/node_modules/.bin/node");
    let report = drive(node, "composio-js.mjs", job.to_string(), String::new()).await;
    for warning in report["warnings"].as_array().unwrap() {
        // That it finds several accounts is what the driver brings about.
        assert!(
            warning.as_str().unwrap().contains("Warn:AllowMultiple"),
            "{warning}"
        );
    }
    let done = &report["done"];
    let camel = |name: &str| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..])
    };
    judge(done, "js_user", &camel);
    assert_eq!(
        done["updated"],
        json!({ "version": 2, "toolkits": ["github", "slack"] })
    );
    assert_eq!(done["connected"], json!(["github"]));
    fake_kept_the_books(&fake, "js_user");
}

/// Whatever ran for the user ran with an account of the user.
fn fake_kept_the_books(fake: &Fake, user: &str) {
    let ran = fake.executions();
    assert!(ran.iter().filter(|one| one.successful).count() >= 3, "{ran:?}");
    for one in ran {
        assert_eq!(one.user_id, user);
        assert!(one.account_user_id.is_none_or(|of| of == user));
    }
    assert!(fake.ledger()["sessions"].as_array().unwrap().len() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_mcp_client_uses_a_sessions_endpoint_and_an_older_servers() {
    let fake = Fake::start().await;
    fake.connect("mia", "github");
    let http = client();
    let post = async |path: &str, body: Value| -> Value {
        let request = http
            .post(format!("{}/api/v3.1{path}", fake.origin))
            .header("x-api-key", KEY);
        let text = request
            .body(body.to_string())
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let body = json!({ "user_id": "mia", "toolkits": { "enable": ["github"] },
        "preload": { "tools": ["GITHUB_GET_THE_AUTHENTICATED_USER"] } });
    let session = post("/tool_router/session", body).await;
    let config = fake.accounts_of("mia")[0]["auth_config"]["id"].clone();
    let body = json!({ "name": "mias server", "auth_config_ids": [config],
        "allowed_tools": ["GITHUB_GET_THE_AUTHENTICATED_USER"] });
    let server = post("/mcp/servers", body).await;
    let urls = [
        (session["mcp"]["url"].as_str().unwrap().to_owned(), 7),
        (format!("{}?user_id=mia", server["mcp_url"].as_str().unwrap()), 1),
    ];
    for (url, tools) in urls {
        let job = json!({ "url": url, "era": "legacy", "headers": { "x-api-key": KEY }, "steps": [
            { "op": "tools" },
            { "op": "call", "name": "GITHUB_GET_THE_AUTHENTICATED_USER", "arguments": {} },
        ] });
        let report = drive(
            deps("suite/node_modules/.bin/node"),
            "sdk1.mjs",
            String::new(),
            job.to_string(),
        )
        .await;
        assert_eq!(report["connect_error"], Value::Null, "{report}");
        assert_eq!(
            report["steps"][0]["value"].as_array().unwrap().len(),
            tools,
            "{report}"
        );
        let text = report["steps"][1]["value"]["content"][0]["text"]
            .as_str()
            .unwrap();
        let said: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            (&said["successful"], &said["data"]["login"]),
            (&json!(true), &json!("mia"))
        );
    }
    let via: Vec<String> = fake.executions().into_iter().map(|one| one.via).collect();
    assert_eq!(via, ["mcp", "server"]);
}
