//! Bad moments: a disk that takes no more, and a process that is killed between Composio's answer and its own store.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::{MULTI, WHO, nobody_crossed};
use crate::agent::{Agent, Era};
use crate::catalogue::{multi, never};
use crate::connect::{BACKEND, PATIENCE, TOOLKITS, client, consent, file, look, rest};
use crate::fake::Fake;
use crate::process::{Process, written};

async fn ask(process: &Process, user: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    rest(&client(), &process.url, user, method, path, body).await
}

async fn listed(process: &Process) {
    let ready = async {
        loop {
            let (_, tools) = ask(process, "alice", Method::GET, "/api/tools", None).await;
            if tools.to_string().contains(MULTI) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("it lists");
}

fn configuration(folder: &Path, fake: &Fake) -> String {
    let store = format!("sqlite://{}/toolgate.db", folder.display());
    file(fake, &store, TOOLKITS)
}

async fn works(process: &Process, user: &str) {
    let agent = Agent::at(&process.url, user, Era::Modern, false).await;
    let went = agent.call(MULTI, multi(WHO), never).await;
    let said = went.said();
    assert_eq!(
        said["data"]["results"][0]["response"]["data"]["login"], user,
        "{went:?}"
    );
}

#[tokio::test]
async fn a_full_disk_stops_what_must_be_kept_and_nothing_else_and_leaves_no_orphan() {
    let fake = Fake::start().await;
    for user in ["alice", "bob", "late"] {
        fake.connect(user, "github");
    }
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(folder.path(), &fake);
    let process = Process::start(folder.path(), &text, &[("TOOLGATE_LOG", "warn")]).await;
    listed(&process).await;
    works(&process, "alice").await;
    let alice = Agent::at(&process.url, "alice", Era::Legacy, false).await;
    alice.call(MULTI, multi(WHO), never).await.said();

    let (status, page) = ask(&process, "alice", Method::GET, "/api/integrations", None).await;
    assert_eq!(status, 200, "{page}");

    // No file of it may grow any more.
    let db = folder.path().join("toolgate.db-wal");
    let size = std::fs::metadata(&db).unwrap().len();
    process.limit_files(size);
    let (sessions, accounts) = (fake.sessions().len(), fake.accounts_of("late").len());
    let mut refused = 0;
    for _ in 0..5 {
        // Who has a session goes on.
        let went = alice.call(MULTI, multi(WHO), never).await;
        assert_eq!(went.said()["successful"], true, "{went:?}");
        let path = "/api/tool-router/create-session";
        let body = json!({ "userId": "late", "toolkits": ["github"] });
        let (status, told) = ask(&process, BACKEND, Method::POST, path, Some(body)).await;
        assert!(matches!(status, 200 | 503), "{status} {told}");
        if status != 200 {
            refused += 1;
            assert!(
                told["detail"].as_str().unwrap().contains("the store failed"),
                "{told}"
            );
        }
        let path = "/api/integrations/gmail/connect";
        let (status, told) = ask(&process, "alice", Method::POST, path, Some(json!({}))).await;
        assert!(matches!(status, 200 | 429 | 503), "{status} {told}");
    }
    assert!(refused > 0, "the disk was not full");
    assert_eq!(
        fake.sessions().len(),
        sessions,
        "a session that cannot be kept is not left behind"
    );
    assert_eq!(fake.accounts_of("late").len(), accounts);
    let (status, page) = ask(&process, "alice", Method::GET, "/api/integrations", None).await;
    assert_eq!(status, 200, "{page}");
    let (status, _) = ask(&process, "alice", Method::GET, "/metrics", None).await;
    assert_eq!(status, 200);

    // There is room again: all works, without a restart and after one.
    process.limit_files(u64::MAX);
    works(&process, "bob").await;
    let body = json!({ "userId": "late", "toolkits": ["github"] });
    let path = "/api/tool-router/create-session";
    let (status, told) = ask(&process, BACKEND, Method::POST, path, Some(body)).await;
    assert_eq!(status, 200, "{told}");
    process.kill();
    let process = Process::start(folder.path(), &text, &[("TOOLGATE_LOG", "warn")]).await;
    listed(&process).await;
    for user in ["alice", "bob"] {
        works(&process, user).await;
        assert_eq!(fake.creates_of(user), 1);
    }
    nobody_crossed(&fake);
    let err = written(folder.path()).err;
    assert!(!err.contains("panicked"), "{err}");
}

#[tokio::test]
async fn a_session_that_was_made_and_not_written_down_is_made_once_more_and_then_stays() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(folder.path(), &fake);
    let process = Process::start(folder.path(), &text, &[]).await;
    listed(&process).await;
    // Carried out, and the answer never comes.
    fake.control(&json!({ "do": "fail_creates", "how": "cut" }));
    let agent = Agent::at(&process.url, "alice", Era::Modern, false).await;
    let went = agent.call(MULTI, multi(WHO), never).await;
    assert!(went.end["error"]["message"].is_string(), "{went:?}");
    process.kill();
    // Killed while Composio works on it.
    let process = Process::start(folder.path(), &text, &[]).await;
    listed(&process).await;
    fake.control(&json!({ "do": "delay", "tool": "alice", "ms": 2_000 }));
    let path = "/api/tool-router/create-session";
    let body = json!({ "toolkits": ["gmail"] });
    let asked = ask(&process, "alice", Method::POST, path, Some(body.clone()));
    let asked = tokio::time::timeout(std::time::Duration::from_millis(500), asked).await;
    assert!(asked.is_err(), "{asked:?}");
    process.kill();
    fake.control(&json!({ "do": "delay", "tool": "alice", "ms": 0 }));
    for _ in 0..2 {
        let process = Process::start(folder.path(), &text, &[]).await;
        listed(&process).await;
        works(&process, "alice").await;
        let (status, made) = ask(&process, "alice", Method::POST, path, Some(body.clone())).await;
        assert_eq!(status, 200, "{made}");
        process.kill();
    }
    // Two that nobody heard of, and then one for each.
    assert_eq!(fake.creates_of("alice"), 4);
    let used: std::collections::BTreeSet<_> = fake
        .executions()
        .into_iter()
        .filter_map(|one| one.session_id)
        .collect();
    assert_eq!(used.len(), 1, "{used:?}");
    nobody_crossed(&fake);
}

#[tokio::test]
async fn a_change_of_toolkits_that_a_kill_cuts_short_can_be_asked_for_again() {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(folder.path(), &fake);
    let process = Process::start(folder.path(), &text, &[]).await;
    listed(&process).await;
    let path = "/api/tool-router/create-session";
    let (_, made) = ask(
        &process,
        "alice",
        Method::POST,
        path,
        Some(json!({ "toolkits": ["github"] })),
    )
    .await;
    let one = format!(
        "/api/tool-router/sessions/{}",
        made["sessionId"].as_str().unwrap()
    );
    fake.control(&json!({ "do": "delay", "tool": "gmail", "ms": 2_000 }));
    let wide = Some(json!({ "toolkits": ["gmail", "github"] }));
    let asked = ask(&process, "alice", Method::PATCH, &one, wide.clone());
    let asked = tokio::time::timeout(std::time::Duration::from_millis(500), asked).await;
    assert!(asked.is_err(), "{asked:?}");
    process.kill();
    fake.control(&json!({ "do": "delay", "tool": "gmail", "ms": 0 }));
    let process = Process::start(folder.path(), &text, &[]).await;
    listed(&process).await;
    let (_, shown) = ask(&process, "alice", Method::GET, &one, None).await;
    assert_eq!(
        shown["toolkits"],
        json!(["github"]),
        "what was not carried out is not told"
    );
    let (status, shown) = ask(&process, "alice", Method::PATCH, &one, wide).await;
    assert_eq!(
        (status, &shown["toolkits"]),
        (200, &json!(["github", "gmail"])),
        "{shown}"
    );
    // And a flow in the middle of which it is killed.
    let connect = "/api/integrations/gmail/connect";
    let (_, begun) = ask(&process, "alice", Method::POST, connect, Some(json!({}))).await;
    let back = consent(begun["authUrl"].as_str().unwrap(), "allow").await;
    let port = process.url.clone();
    process.kill();
    let process = Process::start(folder.path(), &text, &[]).await;
    let shown = look(&back.replace(&port, &process.url)).await;
    assert_eq!(shown.outcome(), "connected", "{shown:?}");
    nobody_crossed(&fake);
}

#[tokio::test]
async fn a_change_of_toolkits_that_was_carried_out_and_not_written_down_is_undone_by_asking_for_the_old() {
    for again in ["rest", "call"] {
        let fake = Fake::start().await;
        fake.connect("alice", "github");
        let folder = tempfile::tempdir().unwrap();
        let text = configuration(folder.path(), &fake);
        let process = Process::start(folder.path(), &text, &[]).await;
        listed(&process).await;
        let path = "/api/tool-router/create-session";
        let narrow = json!({ "toolkits": ["github"] });
        let (_, made) = ask(&process, "alice", Method::POST, path, Some(narrow.clone())).await;
        let id = made["sessionId"].as_str().unwrap().to_owned();
        let one = format!("/api/tool-router/sessions/{id}");
        let sessions = fake.sessions();
        let (theirs, _) = sessions.iter().find(|(_, user)| *user == "alice").unwrap();
        let has = |fake: &Fake| fake.toolkits_of(theirs);
        assert_eq!(has(&fake), json!({ "enabled": ["github"] }));
        fake.control(&json!({ "do": "hold", "method": "PATCH", "end": theirs, "ms": 60_000 }));
        let wide = json!({ "toolkits": ["gmail", "github"] });
        let asked = ask(&process, "alice", Method::PATCH, &one, Some(wide));
        let asked = tokio::time::timeout(std::time::Duration::from_millis(500), asked).await;
        assert!(asked.is_err(), "{asked:?}");
        assert_eq!(
            has(&fake),
            json!({ "enabled": ["github", "gmail"] }),
            "carried out"
        );
        process.kill();
        fake.control(&json!({ "do": "let_go" }));
        let process = Process::start(folder.path(), &text, &[]).await;
        listed(&process).await;
        let (_, shown) = ask(&process, "alice", Method::GET, &one, None).await;
        assert_eq!(shown["toolkits"], json!(["github"]), "nobody was told otherwise");
        // Asked for as it was: the very toolkits that are shown, or the session's own use.
        let (status, told) = match again {
            "rest" => ask(&process, "alice", Method::PATCH, &one, Some(narrow)).await,
            _ => ask(&process, "alice", Method::POST, path, Some(narrow)).await,
        };
        assert_eq!(status, 200, "{told}");
        assert_eq!(has(&fake), json!({ "enabled": ["github"] }), "{again}");
        let changes = |fake: &Fake| {
            let seen = fake.seen().into_iter();
            seen.filter(|seen| seen.method == Method::PATCH).count()
        };
        let before = changes(&fake);
        let narrow = json!({ "toolkits": ["github"] });
        let (status, _) = ask(&process, "alice", Method::PATCH, &one, Some(narrow)).await;
        assert_eq!(
            (status, changes(&fake)),
            (200, before),
            "nothing is in doubt any more"
        );
        process.kill();
    }
}
