//! Sessions outlive the gateway: found again after a restart, looked at, changed in place with the configuration, made
//! anew when Composio deleted them; and what is known of a request that nobody heard the end of.

use serde_json::{Value, json};
use toolgate::config::StorePlace;
use toolgate::ids::GatewayId;
use toolgate::store::Store;

use crate::fake::{Fake, Seen, odd};
use crate::gate::{ALICE, BOB, Gate, configured, connected, login, message};

const TOOLKITS: &str = "toolkits = ['github', 'gmail']\n";

/// A folder with a store, whose gateway is started again and again.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn store(&self) -> String {
        format!("sqlite://{}/t.db", self.folder.path().display())
    }

    async fn gate(&self, fake: &Fake, options: &str) -> Gate {
        let gate = Gate::start_as(&configured(fake, &self.store(), options)).await;
        gate.until(|status| status.listed.is_some()).await;
        gate
    }
}

fn changes(fake: &Fake) -> Vec<Value> {
    let patches = |seen: &Seen| seen.method == "PATCH" && seen.place == "session";
    fake.seen()
        .into_iter()
        .filter(patches)
        .map(|seen| seen.body)
        .collect()
}

#[tokio::test]
async fn a_restart_finds_every_session_again() {
    let (fake, place) = (connected().await, Place::new());
    for _ in 0..3 {
        let gate = place.gate(&fake, TOOLKITS).await;
        assert_eq!(login(&gate.who(ALICE).await), "alice");
        assert_eq!(login(&gate.who(BOB).await), "bob");
        gate.stop().await;
        assert_eq!(fake.sessions().len(), 3, "they are not deleted at the end");
    }
    for user in ["alice", "bob", "toolgate-listing"] {
        assert_eq!(fake.creates_of(user), 1, "{user}");
    }
    assert!(changes(&fake).is_empty());
}

#[tokio::test]
async fn a_session_that_was_deleted_while_the_gateway_was_away_is_made_again() {
    let (fake, place) = (connected().await, Place::new());
    let gate = place.gate(&fake, TOOLKITS).await;
    assert_eq!(login(&gate.who(ALICE).await), "alice");
    gate.stop().await;
    fake.delete_sessions_of("alice");
    let gate = place.gate(&fake, TOOLKITS).await;
    assert_eq!(login(&gate.who(ALICE).await), "alice");
    assert_eq!((fake.creates_of("alice"), fake.calls_of("alice")), (2, 2));
    gate.stop().await;
}

#[tokio::test]
async fn changed_options_change_the_session_in_place_and_are_said_once() {
    let (fake, place) = (connected().await, Place::new());
    let options = [
        TOOLKITS,
        "toolkits = ['github', 'gmail', 'slack']\nworkbench = false\n",
        "toolkits = ['github', 'gmail', 'slack']\nworkbench = false\n",
        TOOLKITS,
    ];
    for options in options {
        let gate = place.gate(&fake, options).await;
        assert_eq!(login(&gate.who(ALICE).await), "alice");
        assert_eq!(login(&gate.who(ALICE).await), "alice");
        gate.stop().await;
    }
    let wide =
        json!({ "toolkits": { "enable": ["github", "gmail", "slack"] }, "workbench": { "enable": false } });
    let back = json!({ "toolkits": { "enable": ["github", "gmail"] }, "workbench": null });
    // Of the session that lists, and of alice's.
    assert_eq!(changes(&fake), [wide.clone(), wide, back.clone(), back]);
    assert_eq!(fake.creates_of("alice"), 1);
    assert!(
        !fake
            .seen()
            .iter()
            .any(|seen| seen.body.to_string().contains("expected_config_version"))
    );
}

#[tokio::test]
async fn an_auth_config_that_came_later_reaches_the_sessions_that_are_there() {
    let (fake, place) = (connected().await, Place::new());
    let gate = place.gate(&fake, TOOLKITS).await;
    let made = gate
        .http
        .post(format!("{}/api/v3.1/auth_configs", fake.origin))
        .header("x-api-key", crate::fake::KEY)
        .header("content-type", "application/json")
        .body(r#"{"toolkit":{"slug":"gmail"},"auth_config":{"type":"use_composio_managed_auth"}}"#)
        .send();
    let made: Value = serde_json::from_str(&made.await.unwrap().text().await.unwrap()).unwrap();
    let id = made["auth_config"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{made}"));
    assert_eq!(login(&gate.who(ALICE).await), "alice");
    gate.stop().await;
    let gate = place
        .gate(&fake, &format!("{TOOLKITS}auth_configs = {{ gmail = '{id}' }}\n"))
        .await;
    let _ = gate.who(ALICE).await;
    let said = json!({ "auth_configs": { "gmail": id } });
    assert!(changes(&fake).contains(&said), "{:?}", changes(&fake));
    gate.stop().await;
}

#[tokio::test]
async fn a_create_that_may_have_made_a_session_is_not_sent_again_by_itself_and_stays_noted() {
    let (fake, place) = (connected().await, Place::new());
    let gate = place.gate(&fake, TOOLKITS).await;
    fake.next_create(odd(502, &json!({ "message": "bad gateway" })));
    let answer = gate.who(ALICE).await;
    assert!(message(&answer).contains("HTTP 502"), "{answer}");
    assert_eq!(fake.creates_of("alice"), 1);
    assert_eq!(
        login(&gate.who(ALICE).await),
        "alice",
        "the next call tries again"
    );
    // What Composio certainly refused leaves nothing behind.
    fake.next_create(odd(403, &json!({ "message": "no" })));
    let answer = gate.who(BOB).await;
    assert!(message(&answer).contains("HTTP 403"), "{answer}");
    gate.stop().await;
    let at = StorePlace::File(place.folder.path().join("t.db"));
    let store = Store::open(&at, 1_800_000_000).await.unwrap();
    let doubtful = store
        .composio_sessions()
        .doubtful(&GatewayId::new("composio"))
        .await
        .unwrap();
    assert_eq!(doubtful, 1);
    let creates = fake.seen().into_iter().filter(|seen| seen.place == "create");
    let mut ids: Vec<_> = creates.map(|seen| seen.headers["x-request-id"].clone()).collect();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "each create has an id of its own");
}
