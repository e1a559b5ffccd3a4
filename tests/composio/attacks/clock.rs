//! A clock that jumps: what a store holds is moved in time by as much, while the gateway is away.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::{MULTI, WHO, nobody_crossed};
use crate::agent::{Agent, Era};
use crate::catalogue::{multi, never};
use crate::connect::{PATIENCE, TOOLKITS, client, consent, file, look, rest};
use crate::fake::Fake;
use crate::process::{Process, written};

const MINUTE: i64 = 60;
const YEAR: i64 = 365 * 24 * 3600;

async fn ask(process: &Process, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    rest(&client(), &process.url, "alice", method, path, body).await
}

async fn start(folder: &Path, text: &str) -> Process {
    let process = Process::start(folder, text, &[]).await;
    let listed = async {
        while !ask(&process, Method::GET, "/api/tools", None)
            .await
            .1
            .to_string()
            .contains(MULTI)
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listed).await.expect("it lists");
    process
}

/// Adds seconds to every time in a store; returns how many columns there were.
async fn moved(folder: &Path, seconds: i64) -> usize {
    let at = folder.join("t.db");
    let mut store = SqliteConnection::connect(&format!("sqlite://{}", at.display()))
        .await
        .unwrap();
    let columns = "SELECT m.name AS tab, p.name AS col FROM sqlite_master m JOIN pragma_table_info(m.name) p \
                   WHERE m.type = 'table' AND p.name LIKE '%\\_unix\\_%' ESCAPE '\\'";
    let columns = sqlx::query(columns).fetch_all(&mut store).await.unwrap();
    for row in &columns {
        let (table, column): (String, String) = (row.get("tab"), row.get("col"));
        let by = if column.ends_with("_ms") {
            seconds * 1000
        } else {
            seconds
        };
        let sql = format!("UPDATE \"{table}\" SET \"{column}\" = max(0, \"{column}\" + {by})");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut store).await.unwrap();
    }
    store.close().await.unwrap();
    columns.len()
}

#[tokio::test]
async fn a_clock_that_jumps_either_way_loses_no_connection_and_no_session() {
    for seconds in [11 * MINUTE, -11 * MINUTE, 10 * YEAR, -10 * YEAR] {
        let fake = Fake::start().await;
        fake.connect("alice", "github");
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite://{}/t.db", folder.path().display());
        let text = file(&fake, &store, TOOLKITS);
        let process = start(folder.path(), &text).await;
        let legacy = Agent::at(&process.url, "alice", Era::Legacy, false).await;
        legacy.call(MULTI, multi(WHO), never).await.said();
        let begin = async |process: &Process, toolkit: &str| {
            let path = format!("/api/integrations/{toolkit}/connect");
            let (status, begun) = ask(process, Method::POST, &path, Some(json!({}))).await;
            assert_eq!(status, 200, "{seconds}: {begun}");
            begun["authUrl"].as_str().unwrap().to_owned()
        };
        look(&consent(&begin(&process, "gmail").await, "allow").await).await;
        let waits = begin(&process, "slack").await;
        let body = json!({ "toolkits": ["github"] });
        let create = "/api/tool-router/create-session";
        let (_, made) = ask(&process, Method::POST, create, Some(body.clone())).await;
        let before = process.url.clone();
        process.kill();
        assert!(moved(folder.path(), seconds).await > 8);

        let process = start(folder.path(), &text).await;
        // The flow that waited is good or it is not, and either is said.
        let back = consent(&waits, "allow").await.replace(&before, &process.url);
        let shown = look(&back).await;
        assert!(
            matches!(shown.outcome(), "connected" | "failed") && shown.status < 500,
            "{seconds}: {shown:?}"
        );
        let connect = "/api/integrations/slack/connect";
        let (status, again) = ask(&process, Method::POST, connect, Some(json!({}))).await;
        assert_eq!(
            (status, &again["connected"]),
            (200, &json!(true)),
            "{seconds}: Composio knows: {again}"
        );
        // What was connected is, and calls go through the session that there was.
        let (status, page) = ask(&process, Method::GET, "/api/integrations", None).await;
        assert_eq!(status, 200, "{page}");
        for item in page["items"].as_array().unwrap() {
            let right = item["toolkit"] != "notion";
            assert_eq!(item["connected"], right, "{seconds}: {item}");
        }
        for era in [Era::Legacy, Era::Modern] {
            let agent = Agent::at(&process.url, "alice", era, false).await;
            let said = agent.call(MULTI, multi(WHO), never).await.said();
            assert_eq!(
                said["data"]["results"][0]["response"]["data"]["login"], "alice",
                "{said}"
            );
        }
        let (_, same) = ask(&process, Method::POST, create, Some(body)).await;
        assert_eq!(same["sessionId"], made["sessionId"], "{seconds}");
        assert_eq!(fake.creates_of("alice"), 2, "{seconds}");
        let url = made["sessionUrl"]
            .as_str()
            .unwrap()
            .replace(&before, &process.url);
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
        let listed = client()
            .post(url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(list);
        assert_ne!(
            listed.send().await.unwrap().status(),
            401,
            "{seconds}: a session's URL has no age"
        );
        for path in ["/api/executions", "/api/stats", "/api/tool-router/sessions"] {
            let (status, page) = ask(&process, Method::GET, path, None).await;
            assert_eq!(status, 200, "{seconds} {path}: {page}");
        }
        assert_eq!(process.end().await, Some(0));
        let err = written(folder.path()).err;
        assert!(!err.contains("panicked"), "{seconds}: {err}");
        nobody_crossed(&fake);
    }
}
