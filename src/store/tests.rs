//! What holds for the store as a whole: one owner, keys that turn, a schema that only goes forward.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::limits::STORE_KEY_AGE_MAX;
use crate::seal::Purpose;

const NOW: u64 = 1_800_000_000;

fn place(folder: &tempfile::TempDir) -> StorePlace {
    StorePlace::File(folder.path().join("data/toolgate.db"))
}

/// Opens a database file with no schema of ours, made where there is none.
pub(super) async fn bare(path: &std::path::Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqlitePool::connect_with(options).await.unwrap()
}

async fn reopened(place: &StorePlace, now_unix_s: u64) -> Store {
    Store::open(place, now_unix_s).await.unwrap()
}

#[tokio::test]
async fn a_store_is_made_where_there_is_none_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = reopened(&place(&folder), NOW).await;
    store.close().await;
    let mode = |name: &str| {
        let path = folder.path().join("data").join(name);
        path.metadata().unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("toolgate.db.keys"), 0o600);
}

#[tokio::test]
async fn a_store_has_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = reopened(&place(&folder), NOW).await;
    assert!(matches!(
        Store::open(&place(&folder), NOW).await,
        Err(StoreError::InUse(_))
    ));
    drop(first);
    reopened(&place(&folder), NOW).await;
}

#[tokio::test]
async fn what_clients_hold_opens_after_a_restart_and_a_turn_of_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let text = {
        let store = reopened(&place(&folder), NOW).await;
        let sealer = store.sealer();
        sealer.seal(Purpose::Session, b"alice", b"x", u64::MAX).unwrap()
    };
    for turns in 0..3 {
        let later = NOW + turns * STORE_KEY_AGE_MAX.as_secs();
        let store = reopened(&place(&folder), later).await;
        let opened = store.sealer().open(Purpose::Session, b"alice", &text, later);
        assert_eq!(opened, Ok(b"x".to_vec()), "after {turns} turns");
        assert_eq!(store.sealer().is_newest(&text), turns == 0);
    }
}

#[tokio::test]
async fn a_secret_opens_for_its_column_and_its_owner_only() {
    let store = Store::in_memory().await.unwrap();
    let vault = store.vault();
    let sealed = vault.seal("t.c", "alice", b"secret").unwrap();
    assert_eq!(vault.open("t.c", "alice", &sealed).unwrap(), b"secret");
    assert!(vault.open("t.c", "bob", &sealed).is_err());
    assert!(vault.open("t.d", "alice", &sealed).is_err());
    let clients = store.sealer();
    assert!(
        clients.open(Purpose::Stored, b"t.c\0alice", &sealed, 0).is_err(),
        "clients' texts have a key of their own"
    );
}

#[tokio::test]
async fn a_cut_or_strange_file_of_keys_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    reopened(&place(&folder), NOW).await.close().await;
    let keys = folder.path().join("data/toolgate.db.keys");
    let good = fs::read_to_string(&keys).unwrap();
    for (text, line) in [
        (String::new(), 1),
        (good[..40].to_owned(), 1),
        (format!("{good}junk\n"), 2),
    ] {
        fs::write(&keys, text).unwrap();
        match Store::open(&place(&folder), NOW).await {
            Err(StoreError::KeyFile { line: found, .. }) => assert_eq!(found, line),
            other => panic!("{other:?}"),
        }
    }
    fs::write(&keys, good).unwrap();
    reopened(&place(&folder), NOW).await;
}

#[tokio::test]
async fn a_database_of_a_later_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = reopened(&place(&folder), NOW).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .execute(store.durable())
    .await
    .unwrap();
    store.close().await;
    drop(store);
    let refused = Store::open(&place(&folder), NOW).await;
    assert!(matches!(refused, Err(StoreError::Schema(_))), "{refused:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data"), "a file").unwrap();
    let refused = Store::open(&place(&folder), NOW).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("data") && text.contains("TOOLGATE_STORE"), "{text}");
}

#[tokio::test]
async fn keys_turn_while_the_store_is_open_and_what_was_sealed_before_opens() {
    let folder = tempfile::tempdir().unwrap();
    let store = reopened(&place(&folder), NOW).await;
    let (clients, vault) = (store.sealer(), store.vault());
    let text = clients.seal(Purpose::Session, b"alice", b"x", u64::MAX).unwrap();
    let sealed = vault.seal("t.c", "alice", b"secret").unwrap();
    store.turn_keys(NOW + 1).await.unwrap();
    assert!(clients.is_newest(&text), "it is not time yet");
    store.turn_keys(NOW + STORE_KEY_AGE_MAX.as_secs()).await.unwrap();
    assert!(!clients.is_newest(&text));
    assert_eq!(
        clients.open(Purpose::Session, b"alice", &text, NOW),
        Ok(b"x".to_vec())
    );
    assert_eq!(vault.open("t.c", "alice", &sealed).unwrap(), b"secret");
    let newer = clients.seal(Purpose::Session, b"alice", b"y", u64::MAX).unwrap();
    store.close().await;
    drop((store, clients));
    let again = reopened(&place(&folder), NOW).await;
    assert_eq!(
        again.sealer().open(Purpose::Session, b"alice", &newer, NOW),
        Ok(b"y".to_vec())
    );
}

#[tokio::test]
async fn a_database_of_every_earlier_schema_is_brought_forward_with_its_rows() {
    for (step, earlier) in migrations::earlier().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toolgate.db");
        let old = bare(&path).await;
        earlier.run(&old).await.unwrap();
        sqlx::query(
            "INSERT INTO client_sessions VALUES ('id', 'alice', '2025-11-25', '{}', NULL, 1, '[\"a://b\"]', 10, 20)",
        )
        .execute(&old)
        .await
        .unwrap();
        sqlx::query("INSERT INTO name_claims VALUES ('tools', 'fetch', 'a', 'fetch', 1, 'r')")
            .execute(&old)
            .await
            .unwrap();
        old.close().await;
        let store = reopened(&StorePlace::File(path), NOW).await;
        let supervisor = Supervisor::new();
        let kept = store
            .client_sessions(&supervisor)
            .find("id")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (
                kept.user.as_str(),
                kept.opened_unix_s,
                kept.now.watched.as_slice()
            ),
            ("alice", 10, &["a://b".to_owned()][..]),
            "from step {}",
            step + 1
        );
        assert_eq!(store.name_claims().load().await.unwrap()[0].exposed, "fetch");
        supervisor.stop().await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_key_of_the_future_turns_after_the_usual_time_however_often_the_store_is_opened() {
    let (folder, year) = (tempfile::tempdir().unwrap(), 365 * 24 * 3600);
    let age = STORE_KEY_AGE_MAX.as_secs();
    let keys = || {
        let file = folder.path().join("data/toolgate.db.keys");
        std::fs::read_to_string(file).unwrap().lines().count()
    };
    // The first time by a clock that is a year ahead.
    for (now, count) in [(NOW + year, 1), (NOW, 1), (NOW + age - 1, 1), (NOW + age, 2)] {
        reopened(&place(&folder), now).await.close().await;
        assert_eq!(keys(), count, "{now}");
    }
    // So does one that is met while the store is open.
    let store = reopened(&place(&folder), NOW + 2 * year).await;
    let text = store
        .sealer()
        .seal(Purpose::Session, b"alice", b"x", u64::MAX)
        .unwrap();
    for (now, newest) in [
        (NOW + year, true),
        (NOW + year + age - 1, true),
        (NOW + year + age, false),
    ] {
        store.turn_keys(now).await.unwrap();
        assert_eq!(store.sealer().is_newest(&text), newest, "{now}");
        let opened = store.sealer().open(Purpose::Session, b"alice", &text, NOW);
        assert_eq!(opened, Ok(b"x".to_vec()));
    }
}
