use super::*;
use sha2::{Digest, Sha256};

fn key(user: &str, key: &str) -> config::Key {
    config::Key {
        user: UserId::new(user),
        sha256: Sha256::digest(key).into(),
        acts_for_users: false,
        tools: None,
    }
}

fn identity() -> Identity {
    let keys = vec![
        key("alice", "alice-1"),
        key("alice", "alice-2"),
        config::Key {
            tools: Some(vec!["brave_*".to_owned(), "fetch".to_owned()]),
            ..key("bob", "bob-1")
        },
        config::Key {
            acts_for_users: true,
            tools: Some(vec!["fetch".to_owned()]),
            ..key("backend", "backend-1")
        },
    ];
    Identity::new(Some(&config::Auth { keys })).unwrap()
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

fn user_of(lines: &[(&'static str, &str)]) -> Result<String, AuthError> {
    identity()
        .authenticate(&headers(lines))
        .map(|who| who.user().to_string())
}

#[test]
fn every_accepted_form_of_a_key_names_its_user() {
    let forms: &[(&[(&'static str, &str)], &str)] = &[
        (&[("authorization", "Bearer alice-1")], "alice"),
        (&[("authorization", "Bearer alice-2")], "alice"),
        (&[("authorization", "bearer bob-1")], "bob"),
        (&[("authorization", "BEARER   bob-1  ")], "bob"),
        (&[("x-api-key", "backend-1")], "backend"),
        (
            &[("authorization", "Bearer bob-1"), ("x-api-key", "bob-1")],
            "bob",
        ),
        (&[("authorization", "Bearer bob-1"), ("x-user-id", "bob")], "bob"),
        (
            &[("authorization", "Bearer backend-1"), ("x-user-id", "carol")],
            "carol",
        ),
        (
            &[("authorization", "Bearer backend-1"), ("x-user-id", "alice")],
            "alice",
        ),
        (
            &[
                ("authorization", "Bearer backend-1"),
                ("x-user-id", "auth0|42@example.com"),
            ],
            "auth0|42@example.com",
        ),
    ];
    for (lines, user) in forms {
        assert_eq!(user_of(lines).as_deref(), Ok(*user), "{lines:?}");
    }
}

#[test]
fn every_other_form_is_refused_for_its_own_reason() {
    let long_key = "k".repeat(limits::KEY_BYTES_MAX + 1);
    let long_user = "u".repeat(limits::USER_ID_BYTES_MAX + 1);
    let forms: &[(&[(&'static str, &str)], AuthError)] = &[
        (&[], AuthError::Missing),
        (&[("cookie", "key=alice-1")], AuthError::Missing),
        (&[("mcp-session-id", "alice-1")], AuthError::Missing),
        (&[("x-user-id", "alice")], AuthError::Missing),
        (&[("authorization", "Bearer alice-3")], AuthError::Unknown),
        (&[("authorization", "Bearer alice")], AuthError::Unknown),
        (&[("authorization", "Bearer ALICE-1")], AuthError::Unknown),
        (&[("x-api-key", &long_key)], AuthError::Unknown),
        (
            &[("authorization", "Bearer")],
            AuthError::Malformed("Authorization is not of the form Bearer <key>"),
        ),
        (
            &[("authorization", "alice-1")],
            AuthError::Malformed("Authorization is not of the form Bearer <key>"),
        ),
        (
            &[("authorization", "Beareralice-1")],
            AuthError::Malformed("Authorization is not of the form Bearer <key>"),
        ),
        (
            &[("authorization", "Basic YWxpY2U6YWxpY2UtMQ==")],
            AuthError::Malformed("Authorization is not of the form Bearer <key>"),
        ),
        (
            &[("authorization", "Bearer ")],
            AuthError::Malformed("a key is visible ASCII without blanks"),
        ),
        (
            &[("authorization", "Bearer alice-1 bob-1")],
            AuthError::Malformed("a key is visible ASCII without blanks"),
        ),
        (
            &[("authorization", "Bearer alice-1, Bearer bob-1")],
            AuthError::Malformed("a key is visible ASCII without blanks"),
        ),
        (
            &[("x-api-key", "")],
            AuthError::Malformed("a key is visible ASCII without blanks"),
        ),
        (
            &[
                ("authorization", "Bearer alice-1"),
                ("authorization", "Bearer alice-1"),
            ],
            AuthError::Malformed("several Authorization headers"),
        ),
        (
            &[("x-api-key", "alice-1"), ("x-api-key", "bob-1")],
            AuthError::Malformed("several X-API-Key headers"),
        ),
        (
            &[("authorization", "Bearer alice-1"), ("x-api-key", "bob-1")],
            AuthError::Malformed("two different keys"),
        ),
        (
            &[("authorization", "Bearer alice-1"), ("x-user-id", "bob")],
            AuthError::MayNotAct,
        ),
        (
            &[("authorization", "Bearer backend-1"), ("x-user-id", "")],
            AuthError::InvalidUser,
        ),
        (
            &[("authorization", "Bearer backend-1"), ("x-user-id", "two words")],
            AuthError::InvalidUser,
        ),
        (
            &[("authorization", "Bearer backend-1"), ("x-user-id", "zoë")],
            AuthError::InvalidUser,
        ),
        (
            &[("authorization", "Bearer backend-1"), ("x-user-id", &long_user)],
            AuthError::InvalidUser,
        ),
        (
            &[
                ("authorization", "Bearer backend-1"),
                ("x-user-id", "a"),
                ("x-user-id", "b"),
            ],
            AuthError::InvalidUser,
        ),
        (
            &[("authorization", "Bearer alice-1"), ("x-user-id", "")],
            AuthError::InvalidUser,
        ),
    ];
    for (lines, error) in forms {
        assert_eq!(user_of(lines), Err(*error), "{lines:?}");
    }
}

#[test]
fn the_longest_user_id_is_accepted() {
    let user = "u".repeat(limits::USER_ID_BYTES_MAX);
    assert_eq!(
        user_of(&[("x-api-key", "backend-1"), ("x-user-id", &user)]),
        Ok(user)
    );
}

#[test]
fn without_auth_everybody_is_the_local_user_whatever_is_sent() {
    let identity = Identity::new(None).unwrap();
    for lines in [
        &[][..],
        &[("authorization", "Bearer x")],
        &[("authorization", "Basic x")],
        &[("x-user-id", "local")],
    ] {
        assert_eq!(
            identity.authenticate(&headers(lines)).unwrap().user().as_str(),
            LOCAL_USER,
            "{lines:?}"
        );
    }
    assert_eq!(
        identity
            .authenticate(&headers(&[("x-user-id", "alice")]))
            .unwrap_err(),
        AuthError::MayNotAct
    );
    assert!(!identity.needs_key());
}

#[test]
fn the_same_user_by_two_keys_is_the_same_principal() {
    let identity = identity();
    let by = |key| identity.authenticate(&headers(&[("x-api-key", key)])).unwrap();
    let acted = identity
        .authenticate(&headers(&[("x-api-key", "backend-1"), ("x-user-id", "alice")]))
        .unwrap();
    assert_eq!(by("alice-1"), by("alice-2"));
    assert_eq!(by("alice-1"), acted);
    assert_eq!(by("alice-1").binding(), acted.binding());
    assert_ne!(by("alice-1"), by("bob-1"));
    assert_ne!(by("alice-1").binding(), by("bob-1").binding());
}

#[test]
fn a_keys_tools_follow_it_to_the_user_for_whom_it_acts() {
    let identity = identity();
    let bob = identity
        .authenticate(&headers(&[("x-api-key", "bob-1")]))
        .unwrap();
    assert!(bob.tools().unwrap().admits("brave_web_search"));
    assert!(!bob.tools().unwrap().admits("echo"));
    let acted = identity
        .authenticate(&headers(&[("x-api-key", "backend-1"), ("x-user-id", "alice")]))
        .unwrap();
    assert!(acted.tools().unwrap().admits("fetch"));
    assert!(!acted.tools().unwrap().admits("brave_web_search"));
    assert!(!acted.acts_for_users());
}

#[test]
fn replaced_keys_count_from_the_next_request_and_bad_ones_change_nothing() {
    let identity = identity();
    let alice = headers(&[("x-api-key", "alice-1")]);
    let bad = config::Key {
        tools: Some(vec!["[".to_owned()]),
        ..key("eve", "eve-1")
    };
    assert!(identity.replace(Some(&config::Auth { keys: vec![bad] })).is_err());
    assert!(identity.authenticate(&alice).is_ok());
    identity
        .replace(Some(&config::Auth {
            keys: vec![key("carol", "carol-1")],
        }))
        .unwrap();
    assert_eq!(identity.authenticate(&alice), Err(AuthError::Unknown));
    assert!(
        identity
            .authenticate(&headers(&[("x-api-key", "carol-1")]))
            .is_ok()
    );
}

#[test]
fn nothing_that_is_printed_shows_a_key() {
    let printed = format!("{:?}", identity());
    assert!(!printed.contains("alice-1") && !printed.contains("backend-1"));
}
