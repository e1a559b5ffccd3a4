//! The whole connect flow in a real browser: link, consent page, our callback page, loaded again, disconnect. Debian's
//! Chromium, which `make deps` installs; where it is missing the test fails, unless `TOOLGATE_NO_BROWSER=1` says that it
//! is to be left out.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::connect::House;
use crate::fake::Fake;

/// Says where Chromium is; `None`: it is to be left out.
fn chromium() -> Option<PathBuf> {
    if std::env::var("TOOLGATE_NO_BROWSER").is_ok_and(|word| word == "1") {
        println!("LEFT OUT: the connect flow in a real browser; TOOLGATE_NO_BROWSER=1 says so");
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|program| program.is_file());
    Some(found.expect("Chromium is missing: run `make deps`, or set TOOLGATE_NO_BROWSER=1 to leave this out"))
}

/// Goes through steps in the browser; returns what was seen after each.
async fn browse(chromium: &Path, steps: &Value) -> Value {
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kit/clients/browser.mjs");
    let output = Command::new("node")
        .arg(driver)
        .arg(chromium)
        .arg(steps.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("node");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{out}\n{err}"))
}

#[tokio::test]
async fn a_person_connects_a_toolkit_in_a_real_browser_and_disconnects_it() {
    let Some(chromium) = chromium() else { return };
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let (auth_url, state) = house.begin("alice", "github").await;
    let steps = json!([{ "go": auth_url }, { "click": "#allow" }, { "reload": true }]);
    let saw = browse(&chromium, &steps).await;
    let (consent, back, again) = (&saw["seen"][0], &saw["seen"][1], &saw["seen"][2]);
    assert!(
        consent["title"].as_str().unwrap().starts_with("Connect "),
        "{saw}"
    );
    for page in [back, again] {
        assert_eq!(
            (&page["outcome"], &page["title"]),
            (&json!("connected"), &json!("github is connected")),
            "{saw}"
        );
        assert!(
            page["text"].as_str().unwrap().contains("You can close this page"),
            "{saw}"
        );
        let url = page["url"].as_str().unwrap();
        assert!(
            url.starts_with(&format!("{}/api/integrations/callback?state={state}", house.url)),
            "{saw}"
        );
        assert_eq!(page["scripts"], 0);
        // The page's policy lets its style through, and nothing was refused.
        assert_eq!(page["styled"], "612px", "{saw}");
    }
    let refused = |text: &&Value| {
        text.as_str()
            .unwrap_or_default()
            .contains("Content Security Policy")
    };
    assert_eq!(
        saw["heard"].as_array().unwrap().iter().filter(refused).count(),
        0,
        "{saw}"
    );
    assert_eq!(house.standing("alice", "github").await["status"], "ACTIVE");
    let (status, _) = house
        .rest("alice", Method::DELETE, "/api/integrations/github", None)
        .await;
    assert_eq!(status, 200);
    assert_eq!(house.standing("alice", "github").await["status"], Value::Null);
    // The old page says nothing more of it; a person who refuses reads so.
    let (auth_url, _) = house.begin("alice", "github").await;
    let steps = json!([{ "go": back["url"] }, { "go": auth_url }, { "click": "#deny" }]);
    let saw = browse(&chromium, &steps).await;
    assert_eq!(saw["seen"][0]["outcome"], "failed", "{saw}");
    assert_eq!(saw["seen"][2]["outcome"], "failed", "{saw}");
    assert!(
        saw["seen"][2]["text"].as_str().unwrap().contains("connect again"),
        "{saw}"
    );
    house.stop().await;
}
