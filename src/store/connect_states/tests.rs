//! A state is good once, for its time, and says nothing in the store.

use super::*;
use crate::ids::{GatewayId, UserId};

const NOW: u64 = 1_800_000_000;

fn flow(user: &str, account: &str, state: u8) -> NewFlow {
    NewFlow {
        place: Place {
            gateway: GatewayId::new("composio"),
            user: UserId::new(user),
            toolkit: "gmail".to_owned(),
        },
        account: account.to_owned(),
        alias: None,
        state_sha256: [state; 32],
        auth_url: format!("https://connect.example/{account}"),
        expires_unix_s: NOW + 600,
    }
}

fn same(flow: &NewFlow) -> Flow {
    Flow {
        place: flow.place.clone(),
        account: flow.account.clone(),
    }
}

#[tokio::test]
async fn a_state_is_good_once_and_says_the_same_until_it_expires() {
    let states = Store::in_memory().await.unwrap().connect_states();
    let begun = flow("alice", "ca_1", 1);
    states.begin(&begun, Keeping::One, NOW).await.unwrap().unwrap();
    assert_eq!(states.look(&[1; 32], NOW).await.unwrap(), Some(same(&begun)));
    assert_eq!(states.take(&[2; 32], NOW).await.unwrap(), None);
    assert_eq!(states.take(&[1; 32], NOW + 600).await.unwrap(), None, "too old");
    assert_eq!(
        states.take(&[1; 32], NOW + 599).await.unwrap(),
        Some(Taken::Now(same(&begun)))
    );
    for at in [NOW + 1, NOW + 599] {
        assert_eq!(
            states.take(&[1; 32], at).await.unwrap(),
            Some(Taken::Before(same(&begun)))
        );
    }
    assert_eq!(states.take(&[1; 32], NOW + 600).await.unwrap(), None);
}

#[tokio::test]
async fn a_flow_shows_as_pending_but_never_hides_a_connection_that_works() {
    let store = Store::in_memory().await.unwrap();
    let (states, connections) = (store.connect_states(), store.connections());
    let first = flow("alice", "ca_1", 1);
    states.begin(&first, Keeping::One, NOW).await.unwrap().unwrap();
    let shown = connections.at(&first.place).await.unwrap();
    assert_eq!(
        (shown[0].standing, shown[0].pending_until_unix_s),
        (Standing::Pending, Some(NOW + 600))
    );
    let second = flow("alice", "ca_2", 2);
    let displaced = states.begin(&second, Keeping::One, NOW).await.unwrap();
    assert_eq!(displaced, Some(vec!["ca_1".to_owned()]));
    let works = Connection {
        standing: Standing::Active,
        ..connections.at(&first.place).await.unwrap().remove(0)
    };
    connections.put(&works, Keeping::One, NOW).await.unwrap().unwrap();
    let third = flow("alice", "ca_3", 3);
    assert_eq!(
        states.begin(&third, Keeping::One, NOW).await.unwrap(),
        Some(vec![])
    );
    let shown = connections.at(&first.place).await.unwrap();
    assert_eq!(
        (shown.len(), shown[0].account.as_str(), shown[0].standing),
        (1, "ca_2", Standing::Active)
    );
    assert_eq!(states.open(&first.place, NOW).await.unwrap(), 3);
    states.forget(&first.place, "ca_3").await.unwrap();
    assert_eq!(states.open(&first.place, NOW).await.unwrap(), 2);
}

#[tokio::test]
async fn the_newest_link_that_is_good_for_long_enough_is_found_and_is_sealed_at_rest() {
    let store = Store::in_memory().await.unwrap();
    let states = store.connect_states();
    for (account, state) in [("ca_1", 1), ("ca_2", 2)] {
        let begun = flow("alice", account, state);
        states
            .begin(&begun, Keeping::Several, NOW)
            .await
            .unwrap()
            .unwrap();
    }
    let place = flow("alice", "", 0).place;
    let (found, url) = states.newest(&place, NOW + 300).await.unwrap().unwrap();
    assert_eq!(
        (found.account.as_str(), url.as_str()),
        ("ca_2", "https://connect.example/ca_2")
    );
    states.take(&[2; 32], NOW).await.unwrap();
    assert_eq!(
        states.newest(&place, NOW).await.unwrap().unwrap().0.account,
        "ca_1"
    );
    assert_eq!(states.newest(&place, NOW + 600).await.unwrap(), None);
    let urls = sqlx::query_scalar::<_, String>("SELECT auth_url FROM connect_states");
    let urls = urls.fetch_all(store.reader()).await.unwrap();
    assert!(
        urls.len() == 2 && urls.iter().all(|url| !url.contains("connect")),
        "{urls:?}"
    );
}

#[tokio::test]
async fn an_abandoned_flow_is_forgotten_with_the_next_that_begins_and_a_foreign_account_begins_none() {
    let store = Store::in_memory().await.unwrap();
    let (states, connections) = (store.connect_states(), store.connections());
    let abandoned = flow("alice", "ca_1", 1);
    states
        .begin(&abandoned, Keeping::Several, NOW)
        .await
        .unwrap()
        .unwrap();
    let foreign = flow("bob", "ca_1", 2);
    assert_eq!(states.begin(&foreign, Keeping::Several, NOW).await.unwrap(), None);
    assert_eq!(
        states.look(&[2; 32], NOW).await.unwrap(),
        None,
        "nothing was written"
    );
    let next = NewFlow {
        expires_unix_s: NOW + 1_200,
        ..flow("alice", "ca_2", 3)
    };
    states
        .begin(&next, Keeping::Several, NOW + 600)
        .await
        .unwrap()
        .unwrap();
    let shown = connections.at(&next.place).await.unwrap();
    assert_eq!((shown.len(), shown[0].account.as_str()), (1, "ca_2"));
}
