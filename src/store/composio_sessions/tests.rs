//! One session a place, tokens that open one session, and requests that nobody heard the end of.

use super::*;
use crate::config::StorePlace;

const NOW: u64 = 1_800_000_000;

fn place(user: &str, toolkits: &[&str]) -> SessionPlace {
    let toolkits: Vec<String> = toolkits.iter().map(|slug| (*slug).to_owned()).collect();
    SessionPlace {
        gateway: GatewayId::new("c"),
        user: UserId::new(user),
        toolkits: (!toolkits.is_empty()).then_some(toolkits),
    }
}

fn theirs(name: &str) -> Theirs {
    Theirs {
        session_id: format!("trs_{name}"),
        mcp_url: format!("https://h/tool_router/trs_{name}/mcp"),
    }
}

async fn made(sessions: &ComposioSessions, place: &SessionPlace, id: &str) -> String {
    let request = format!("request of {id}");
    let had = sessions.begin(place, id, &request, NOW).await.unwrap();
    assert!(sessions.made(&request, &had, &theirs(id), "{}").await.unwrap());
    had
}

#[tokio::test]
async fn a_user_has_one_session_for_a_set_of_toolkits_and_keeps_its_id_when_it_is_made_again() {
    let sessions = Store::in_memory().await.unwrap().composio_sessions();
    let places = [place("alice", &[]), place("alice", &["gmail"]), place("bob", &[])];
    for (index, place) in places.iter().enumerate() {
        assert_eq!(
            made(&sessions, place, &format!("s{index}")).await,
            format!("s{index}")
        );
    }
    assert_eq!(made(&sessions, &places[0], "another").await, "s0");
    let found = sessions.at(&places[0]).await.unwrap().unwrap();
    assert_eq!(
        (found.theirs, found.place),
        (Some(theirs("another")), places[0].clone())
    );
    assert_eq!(
        sessions
            .count(&GatewayId::new("c"), &UserId::new("alice"))
            .await
            .unwrap(),
        2
    );
    assert_eq!(sessions.doubtful(&GatewayId::new("c")).await.unwrap(), 0);
    let ids = |rows: Vec<SessionRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    let alice = UserId::new("alice");
    assert_eq!(
        ids(sessions.of_user(&alice, None, 9).await.unwrap()),
        ["s0", "s1"]
    );
    assert_eq!(
        ids(sessions.of_user(&alice, Some("s0"), 9).await.unwrap()),
        ["s1"]
    );
    assert!(
        !sessions
            .set_toolkits("s0", &["gmail".to_owned()], "{}")
            .await
            .unwrap()
    );
    assert!(
        sessions
            .set_toolkits("s0", &["slack".to_owned()], "{}")
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_request_without_an_end_stays_noted_after_a_restart_and_no_secret_stands_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let at = StorePlace::File(path.clone());
    {
        let store = Store::open(&at, NOW).await.unwrap();
        let sessions = store.composio_sessions();
        made(&sessions, &place("alice", &[]), "s1").await;
        sessions.begin(&place("bob", &[]), "s2", "r2", NOW).await.unwrap();
        sessions
            .begin(&place("carol", &[]), "s3", "r3", NOW)
            .await
            .unwrap();
        sessions.not_made("r3").await.unwrap();
        store.close().await;
    }
    let sessions = Store::open(&at, NOW).await.unwrap().composio_sessions();
    let found = sessions.at(&place("alice", &[])).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.theirs), ("s1", Some(theirs("s1"))));
    let bobs = sessions.at(&place("bob", &[])).await.unwrap().unwrap();
    assert_eq!(bobs.theirs, None);
    let gateway = GatewayId::new("c");
    assert_eq!(sessions.doubtful(&gateway).await.unwrap(), 1);
    let later = NOW + COMPOSIO_CREATE_NOTED_MAX.as_secs() + 1;
    made_at(&sessions, &place("dave", &[]), later).await;
    assert_eq!(sessions.doubtful(&gateway).await.unwrap(), 0, "not for ever");
    for suffix in ["", "-wal"] {
        let mut file = path.clone().into_os_string();
        file.push(suffix);
        let bytes = std::fs::read(file).unwrap_or_default();
        assert!(!bytes.windows(4).any(|part| part == b"trs_"), "in t.db{suffix}");
    }
}

async fn made_at(sessions: &ComposioSessions, place: &SessionPlace, now: u64) {
    sessions.begin(place, "late", "late", now).await.unwrap();
    assert!(
        sessions
            .made("late", "late", &theirs("late"), "{}")
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_token_opens_its_session_until_that_is_removed_or_newer_ones_took_its_place() {
    let sessions = Store::in_memory().await.unwrap().composio_sessions();
    made(&sessions, &place("alice", &["gmail"]), "s1").await;
    made(&sessions, &place("bob", &["gmail"]), "s2").await;
    sessions.add_token("s2", &[255; 32], NOW).await.unwrap();
    for number in 0..=u8::try_from(COMPOSIO_SESSION_TOKENS_MAX).unwrap() {
        let now = NOW + u64::from(number);
        sessions.add_token("s1", &[number; 32], now).await.unwrap();
    }
    let id = async |token: u8| {
        let found = sessions.by_token(&[token; 32]).await.unwrap();
        found.map(|row| row.id)
    };
    assert_eq!(id(0).await, None, "the oldest made room");
    assert_eq!(id(1).await.as_deref(), Some("s1"));
    assert!(sessions.remove("s1").await.unwrap());
    assert_eq!((id(1).await, id(255).await.as_deref()), (None, Some("s2")));
    assert!(!sessions.remove("s1").await.unwrap());
    let request = "late answer";
    sessions
        .begin(&place("carol", &[]), "s3", request, NOW)
        .await
        .unwrap();
    sessions.remove("s3").await.unwrap();
    assert!(!sessions.made(request, "s3", &theirs("s3"), "{}").await.unwrap());
}
