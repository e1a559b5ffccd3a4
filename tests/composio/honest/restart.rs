//! The program: killed in the middle of its work and started again, it has forgotten nothing that it had answered.

use std::time::Duration;

use serde_json::json;

use super::Caller;
use crate::program::Program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fake_that_was_killed_goes_on_with_its_world_and_its_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(folder.path(), "127.0.0.1:0");
    let caller = Caller::at(&program.url);
    let session = caller
        .session(json!({ "user_id": "u", "toolkits": { "enable": ["github"] } }))
        .await;
    let link = caller.link(&session, json!({ "toolkit": "github" })).await.body;
    caller
        .press(link["redirect_url"].as_str().unwrap(), "allow")
        .await;
    caller.control(json!({ "do": "advance", "ms": 1_000_000 })).await;

    // Calls are on their way while it is killed: what was answered is in the ledger, exactly once.
    let calls = tokio::spawn({
        let (caller, at) = (caller.clone(), format!("/tool_router/session/{session}/execute"));
        async move {
            let mut answered = 0;
            loop {
                let body = json!({ "tool_slug": "GITHUB_GET_THE_AUTHENTICATED_USER", "arguments": { "n": answered } });
                let request = caller.http.post(format!("{}/api/v3.1{at}", caller.base));
                let request = request
                    .header("x-api-key", crate::fake::KEY)
                    .body(body.to_string());
                match request.send().await {
                    Ok(answer) if answer.status() == 200 => answered += 1,
                    _ => return answered,
                }
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let url = program.url.clone();
    program.kill();
    let answered: usize = calls.await.unwrap();
    assert!(answered > 3, "{answered}");

    let again = Program::start(folder.path(), url.trim_start_matches("http://"));
    assert_eq!(again.url, url);
    let told = caller.get(&format!("/tool_router/session/{session}")).await;
    assert_eq!(
        (told.status, &told.body["config"]["toolkits"]),
        (200, &json!({ "enabled": ["github"] }))
    );
    let account = caller
        .get(&format!(
            "/connected_accounts/{}",
            link["connected_account_id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(account.body["status"], "ACTIVE");
    let ledger = caller.ledger().await;
    let executions = ledger["executions"].as_array().unwrap();
    // The last one may have been carried out without its answer having left.
    assert!(
        (answered..=answered + 1).contains(&executions.len()),
        "{answered} {}",
        executions.len()
    );
    assert_eq!(ledger["sessions"].as_array().unwrap().len(), 1);
    let seqs: Vec<u64> = executions
        .iter()
        .map(|one| one["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
    let body = json!({ "tool_slug": "GITHUB_GET_THE_AUTHENTICATED_USER", "arguments": {} });
    assert_eq!(
        caller
            .post(&format!("/tool_router/session/{session}/execute"), body)
            .await
            .body["data"]["login"],
        "u"
    );
}
