//! Connections outlive a gateway that is killed at any point of a flow: states are the same before and after.

use std::net::TcpListener;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::connect::{TOOLKITS, client, consent, file, look, rest, standings};
use crate::fake::Fake;
use crate::process::Process;

async fn start(folder: &Path, port: u16, fake: &Fake) -> Process {
    let store = format!("sqlite://{}/toolgate.db", folder.display());
    let text = file(fake, &store, TOOLKITS).replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    Process::start(folder, &text, &[]).await
}

async fn ask(gateway: &Process, user: &str, method: Method, path: &str, body: Option<Value>) -> Value {
    let (status, answer) = rest(&client(), &gateway.url, user, method, path, body).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// How every toolkit stands for alice, of Toolgate's own knowledge: nothing that was lost is healed by Composio.
async fn remembered(gateway: &Process, fake: &Fake) -> Value {
    fake.is_down(true);
    let page = ask(gateway, "alice", Method::GET, "/api/integrations", None).await;
    fake.is_down(false);
    standings(&page)
}

#[tokio::test]
async fn a_gateway_that_is_killed_at_any_point_of_a_flow_goes_on_with_it() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let connect = "/api/integrations/github/connect";
    // One that works, one that failed, one that waits.
    let gateway = start(folder.path(), port, &fake).await;
    for (toolkit, decision) in [("gmail", "allow"), ("slack", "deny")] {
        let path = format!("/api/integrations/{toolkit}/connect");
        let begun = ask(&gateway, "alice", Method::POST, &path, Some(json!({}))).await;
        look(&consent(begun["authUrl"].as_str().unwrap(), decision).await).await;
    }
    let begun = ask(&gateway, "alice", Method::POST, connect, Some(json!({}))).await;
    let before = remembered(&gateway, &fake).await;
    for told in [
        "[\"github\",\"PENDING\"",
        "[\"gmail\",\"ACTIVE\"",
        "[\"slack\",\"FAILED\"",
    ] {
        assert!(before.to_string().contains(told), "{before}");
    }
    // Killed after the link was made: the state is good, and the list says the same.
    gateway.kill();
    let gateway = start(folder.path(), port, &fake).await;
    assert_eq!(remembered(&gateway, &fake).await, before);
    // Killed while the user is at the provider: the browser finds nobody, and comes again.
    gateway.kill();
    let back = consent(begun["authUrl"].as_str().unwrap(), "allow").await;
    assert!(client().get(&back).send().await.is_err());
    let gateway = start(folder.path(), port, &fake).await;
    let shown = look(&back).await;
    assert_eq!(shown.outcome(), "connected", "{shown:?}");
    let before = remembered(&gateway, &fake).await;
    assert!(before.to_string().contains("[\"github\",\"ACTIVE\""), "{before}");
    // Killed after it came back: the page says the same, once more is not twice.
    gateway.kill();
    let gateway = start(folder.path(), port, &fake).await;
    assert_eq!(remembered(&gateway, &fake).await, before);
    assert_eq!(look(&back).await.outcome(), "connected");
    let again = ask(&gateway, "alice", Method::POST, connect, Some(json!({}))).await;
    assert_eq!(again, json!({ "connected": true, "needsAuth": false }));
    let accounts = fake.accounts_of("alice");
    let active = accounts.iter().filter(|one| one["status"] == "ACTIVE").count();
    assert_eq!(active, 2, "{accounts:?}");
    // Sealed at rest, and no state in the clear.
    gateway.kill();
    let mut bytes = std::fs::read(folder.path().join("toolgate.db")).unwrap();
    bytes.extend(std::fs::read(folder.path().join("toolgate.db-wal")).unwrap_or_default());
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!has(begun["state"].as_str().unwrap()) && !has("/link/lk_"));
}
