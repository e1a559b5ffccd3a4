//! Webhooks: signed, fresh, each once; what one says of an account is looked up.

use serde_json::{Value, json};

use crate::connect::{House, TOOLKITS, WEBHOOK_SECRET, client, send_webhook};
use crate::fake::Fake;

fn with_secret() -> String {
    format!("{TOOLKITS}\nwebhook_secret = '{WEBHOOK_SECRET}'")
}

async fn send(fake: &Fake, house: &House, mut command: Value) -> Value {
    command["url"] = json!(format!("{}/api/webhooks/composio", house.url));
    if command.get("secret").is_none() {
        command["secret"] = json!(WEBHOOK_SECRET);
    }
    let answers = send_webhook(fake, &command).await;
    let answers = answers
        .as_array()
        .or(answers["deliveries"].as_array())
        .or(answers["sent"].as_array());
    answers.unwrap_or_else(|| panic!("{command}"))[0]["status"].clone()
}

#[tokio::test]
async fn an_expired_account_is_known_without_asking_and_a_webhook_counts_once() {
    let fake = Fake::start().await;
    let house = House::start_with(&fake, &with_secret()).await;
    house.connect("alice", "github").await;
    let id = fake.accounts_of("alice")[0]["id"].as_str().unwrap().to_owned();
    let becomes = |status: &str| fake.control(&json!({ "do": "account", "id": id, "status": status }));
    let told =
        |message: &str| json!({ "type": "composio.connected_account.expired", "account": id, "id": message });
    let known = async || house.remembered(&fake, "alice").await[0][1].clone();
    becomes("EXPIRED");
    assert_eq!(known().await, "ACTIVE", "nobody has told");
    assert_eq!(send(&fake, &house, told("msg_1")).await, 200);
    assert_eq!(known().await, "FAILED", "the webhook has told");

    // Mended meanwhile, which a list finds out, and then over again: the same webhook has no effect any more.
    becomes("ACTIVE");
    assert_eq!(house.standing("alice", "github").await["status"], "ACTIVE");
    becomes("EXPIRED");
    let before = fake.seen().len();
    assert_eq!(send(&fake, &house, told("msg_1")).await, 200);
    assert_eq!(fake.seen().len(), before, "nothing was looked up");
    assert_eq!(known().await, "ACTIVE");
    // One of its own has.
    assert_eq!(send(&fake, &house, told("msg_2")).await, 200);
    assert_eq!(known().await, "FAILED");

    // A late one of an account that works: Composio is asked, and its word counts.
    becomes("ACTIVE");
    assert_eq!(house.standing("alice", "github").await["status"], "ACTIVE");
    assert_eq!(send(&fake, &house, told("msg_3")).await, 200);
    assert_eq!(known().await, "ACTIVE");
    house.stop().await;
}

#[tokio::test]
async fn a_webhook_is_taken_at_its_word_while_composio_cannot_be_asked() {
    let fake = Fake::start().await;
    let house = House::start_with(&fake, &with_secret()).await;
    house.connect("alice", "github").await;
    let id = fake.accounts_of("alice")[0]["id"].as_str().unwrap().to_owned();
    fake.control(&json!({ "do": "account", "id": id, "status": "EXPIRED" }));
    fake.is_down(true);
    let told = json!({ "type": "composio.connected_account.expired", "account": id });
    assert_eq!(send(&fake, &house, told).await, 200);
    assert_eq!(house.remembered(&fake, "alice").await[0][1], "FAILED");
    house.stop().await;
}

#[tokio::test]
async fn only_what_is_signed_and_fresh_is_taken() {
    let fake = Fake::start().await;
    let house = House::start_with(&fake, &with_secret()).await;
    let trigger = |more: Value| {
        let mut command = json!({ "type": "composio.trigger.message", "metadata": { "trigger_slug": "GITHUB_STAR", "trigger_id": "ti_1" } });
        for (key, value) in more.as_object().unwrap() {
            command[key] = value.clone();
        }
        command
    };
    assert_eq!(send(&fake, &house, trigger(json!({}))).await, 200);
    assert_eq!(
        send(&fake, &house, trigger(json!({ "secret": "another" }))).await,
        401
    );
    assert_eq!(send(&fake, &house, trigger(json!({ "tamper": true }))).await, 401);
    assert_eq!(
        send(&fake, &house, trigger(json!({ "timestamp": 1_700_000_000 }))).await,
        401
    );
    assert_eq!(
        send(&fake, &house, json!({ "type": "composio.something.new" })).await,
        200
    );
    // What is no webhook at all.
    let post = |headers: Vec<(&'static str, &'static str)>, body: Vec<u8>| {
        let mut request = client().post(format!("{}/api/webhooks/composio", house.url));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async move { request.body(body).send().await.unwrap().status().as_u16() }
    };
    assert_eq!(post(vec![], b"{}".to_vec()).await, 400);
    let all = || {
        vec![
            ("webhook-id", "msg_9"),
            ("webhook-timestamp", "1"),
            ("webhook-signature", "v1,AAAA"),
        ]
    };
    assert_eq!(post(all(), b"{}".to_vec()).await, 401);
    assert_eq!(post(all(), vec![b' '; 1024 * 1024 + 1]).await, 413);
    house.stop().await;
}

#[tokio::test]
async fn without_a_secret_there_is_no_such_place() {
    let fake = Fake::start().await;
    let house = House::start(&fake).await;
    let told = json!({ "type": "composio.trigger.message" });
    assert_eq!(send(&fake, &house, told).await, 404);
    house.stop().await;
}

#[tokio::test]
async fn a_webhook_of_another_users_account_changes_nothing() {
    let fake = Fake::start().await;
    let house = House::start_with(&fake, &with_secret()).await;
    house.connect("alice", "github").await;
    let id = fake.accounts_of("alice")[0]["id"].as_str().unwrap().to_owned();
    // Whoever looked would see it.
    fake.control(&json!({ "do": "account", "id": id, "status": "EXPIRED" }));
    let before = fake.seen().len();
    let data = json!({ "id": id, "user_id": "bob", "status": "EXPIRED", "toolkit": { "slug": "github" } });
    let told = json!({ "type": "composio.connected_account.expired", "data": data });
    assert_eq!(send(&fake, &house, told).await, 200);
    let odd = json!({ "type": "composio.connected_account.expired", "data": { "id": 7 } });
    assert_eq!(send(&fake, &house, odd).await, 200);
    assert_eq!(fake.seen().len(), before, "nothing was looked up");
    assert_eq!(house.remembered(&fake, "alice").await[0][1], "ACTIVE");
    house.stop().await;
}
