//! One row where one may be, several where several may, and an account at one user.

use super::*;

const NOW: u64 = 1_800_000_000;

pub(in crate::store) fn place_of(user: &str, toolkit: &str) -> Place {
    Place {
        gateway: GatewayId::new("composio"),
        user: UserId::new(user),
        toolkit: toolkit.to_owned(),
    }
}

fn connection(user: &str, account: &str, standing: Standing) -> Connection {
    Connection {
        place: place_of(user, "gmail"),
        account: account.to_owned(),
        alias: None,
        standing,
        reason: None,
        chosen: false,
        pending_until_unix_s: (standing == Standing::Pending).then_some(NOW + 600),
    }
}

async fn connections() -> Connections {
    Store::in_memory().await.unwrap().connections()
}

async fn accounts(connections: &Connections, user: &str) -> Vec<(String, Standing, bool)> {
    let found = connections.at(&place_of(user, "gmail")).await.unwrap();
    let told = |one: Connection| (one.account, one.standing, one.chosen);
    found.into_iter().map(told).collect()
}

#[tokio::test]
async fn where_one_may_be_another_takes_its_place() {
    let connections = connections().await;
    let put = |account: &'static str, standing| {
        let connections = connections.clone();
        async move {
            let written = connection("alice", account, standing);
            connections.put(&written, Keeping::One, NOW).await.unwrap()
        }
    };
    assert_eq!(put("ca_1", Standing::Failed).await, Some(vec![]));
    assert_eq!(
        put("ca_1", Standing::Active).await,
        Some(vec![]),
        "itself makes no room"
    );
    assert_eq!(put("ca_2", Standing::Active).await, Some(vec!["ca_1".to_owned()]));
    assert_eq!(
        accounts(&connections, "alice").await,
        [("ca_2".to_owned(), Standing::Active, false)]
    );
}

#[tokio::test]
async fn where_several_may_be_they_stand_beside_each_other_with_one_chosen() {
    let connections = connections().await;
    for account in ["ca_1", "ca_2", "ca_3"] {
        let written = connection("alice", account, Standing::Active);
        connections
            .put(&written, Keeping::Several, NOW)
            .await
            .unwrap()
            .unwrap();
    }
    let place = place_of("alice", "gmail");
    for account in ["ca_1", "ca_3", "ca_3"] {
        assert!(connections.choose(&place, account).await.unwrap());
    }
    assert!(!connections.choose(&place, "ca_9").await.unwrap());
    let found = accounts(&connections, "alice").await;
    let chosen: Vec<&str> = found
        .iter()
        .filter(|one| one.2)
        .map(|one| one.0.as_str())
        .collect();
    assert_eq!((found.len(), chosen), (3, vec!["ca_3"]));
    // Turned back to one: the others make room.
    let written = connection("alice", "ca_2", Standing::Active);
    let mut displaced = connections
        .put(&written, Keeping::One, NOW)
        .await
        .unwrap()
        .unwrap();
    displaced.sort();
    assert_eq!(displaced, ["ca_1", "ca_3"]);
    assert_eq!(accounts(&connections, "alice").await.len(), 1);
}

#[tokio::test]
async fn an_account_of_one_user_never_becomes_anothers() {
    let connections = connections().await;
    let alices = connection("alice", "ca_1", Standing::Active);
    connections
        .put(&alices, Keeping::One, NOW)
        .await
        .unwrap()
        .unwrap();
    for keeping in [Keeping::One, Keeping::Several] {
        let bobs = connection("bob", "ca_1", Standing::Active);
        assert_eq!(connections.put(&bobs, keeping, NOW).await.unwrap(), None);
    }
    assert_eq!(accounts(&connections, "bob").await, []);
    assert!(
        !connections
            .remove(&place_of("bob", "gmail"), "ca_1")
            .await
            .unwrap()
    );
    assert_eq!(accounts(&connections, "alice").await.len(), 1);
}

#[tokio::test]
async fn the_schema_itself_holds_one_account_a_user_and_toolkit() {
    let store = Store::in_memory().await.unwrap();
    let insert = |slot: &'static str, account: &'static str, user: &'static str, chosen: i64| {
        let store = store.clone();
        async move {
            sqlx::query(
                "INSERT INTO connections (gateway, user_id, toolkit, slot, account_id, status, chosen, updated_unix_s) \
                 VALUES ('g', ?, 'gmail', ?, ?, 'ACTIVE', ?, 0)",
            )
            .bind(user)
            .bind(slot)
            .bind(account)
            .bind(chosen)
            .execute(store.durable())
            .await
            .is_ok()
        }
    };
    assert!(insert("", "ca_1", "alice", 0).await);
    assert!(!insert("", "ca_2", "alice", 0).await, "a second one");
    assert!(
        !insert("other", "ca_2", "alice", 0).await,
        "a slot of another name"
    );
    assert!(!insert("", "ca_1", "bob", 0).await, "another user's account");
    assert!(insert("ca_3", "ca_3", "alice", 1).await);
    assert!(!insert("ca_4", "ca_4", "alice", 1).await, "a second chosen one");
}

#[tokio::test]
async fn how_an_account_stands_is_noted_wherever_it_is() {
    let connections = connections().await;
    let pending = connection("alice", "ca_1", Standing::Pending);
    connections
        .put(&pending, Keeping::One, NOW)
        .await
        .unwrap()
        .unwrap();
    let gateway = GatewayId::new("composio");
    for standing in Standing::ALL {
        let why = Some("because");
        assert!(
            connections
                .set_standing(&gateway, "ca_1", standing, why, NOW)
                .await
                .unwrap()
        );
        let found = connections.of_account(&gateway, "ca_1").await.unwrap().unwrap();
        assert_eq!((found.standing, found.reason.as_deref()), (standing, why));
        assert_eq!(
            found.pending_until_unix_s.is_some(),
            standing == Standing::Pending
        );
    }
    assert!(
        !connections
            .set_standing(&gateway, "ca_9", Standing::Failed, None, NOW)
            .await
            .unwrap()
    );
    assert_eq!(
        connections
            .of_user(&gateway, &UserId::new("alice"))
            .await
            .unwrap()
            .len(),
        1
    );
}
