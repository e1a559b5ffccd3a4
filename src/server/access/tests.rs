use super::*;

fn server(listen: &str) -> config::Server {
    config::Server {
        listen: listen.to_owned(),
        public_url: Some("https://Tools.Example.com/base".parse().unwrap()),
        allowed_origins: vec![
            "https://app.example.org".to_owned(),
            "http://dev.example.org:3000/".to_owned(),
            "vscode-webview://Panel".to_owned(),
        ],
        allowed_hosts: vec!["toolgate".to_owned(), "inside.example.com:8443".to_owned()],
        store: config::StorePlace::Memory,
        drain_timeout: crate::limits::DRAIN_TIMEOUT,
    }
}

fn status(access: &Access, lines: &[(http::HeaderName, &str)]) -> u16 {
    let headers = lines
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
        .collect();
    access
        .check(&Uri::from_static("/mcp"), &headers)
        .map_or_else(|problem| problem.status().as_u16(), |()| 200)
}

fn on_loopback() -> Access {
    Access::new(&server("127.0.0.1:8080"), "127.0.0.1:8080".parse().unwrap()).unwrap()
}

fn on_all_addresses() -> Access {
    Access::new(&server("0.0.0.0:8080"), "0.0.0.0:8080".parse().unwrap()).unwrap()
}

#[test]
fn every_form_of_a_host_is_admitted_or_refused() {
    for (host, on_loopback_is, on_all_is) in [
        ("localhost", 200, 200),
        ("localhost:8080", 200, 200),
        ("LOCALHOST:1", 200, 200),
        ("localhost.", 200, 200),
        ("127.0.0.1:8080", 200, 200),
        ("127.8.8.8", 200, 200),
        ("[::1]:8080", 200, 200),
        ("[::ffff:127.0.0.1]", 200, 200),
        ("tools.example.com", 200, 200),
        ("Tools.Example.COM.:443", 200, 200),
        ("toolgate:8080", 200, 200),
        ("inside.example.com:8443", 200, 200),
        ("192.168.1.5:8080", 403, 200),
        ("[2001:db8::1]", 403, 200),
        ("inside.example.com", 403, 403),
        ("inside.example.com:8444", 403, 403),
        ("evil.example", 403, 403),
        ("localhost.evil.example", 403, 403),
        ("evil.example:8080", 403, 403),
        ("localhost:8080@evil.example", 403, 403),
        ("user@localhost", 403, 403),
        ("localhost:", 403, 403),
        ("localhost:99999", 403, 403),
        ("localhost:80:80", 403, 403),
        ("localhost:+80", 403, 403),
        ("::1", 403, 403),
        ("[::1", 403, 403),
        ("[::1]x", 403, 403),
        ("[fe80::1%25eth0]", 403, 403),
        ("127.1", 403, 403),
        ("2130706433", 403, 403),
        ("0x7f.0.0.1", 403, 403),
        ("local host", 403, 403),
        ("localhost,evil.example", 403, 403),
        ("localhost/evil", 403, 403),
        ("löcalhost", 403, 403),
        ("localhost..", 403, 403),
        ("", 403, 403),
        (".", 403, 403),
        ("*", 403, 403),
    ] {
        assert_eq!(
            status(&on_loopback(), &[(HOST, host)]),
            on_loopback_is,
            "{host} on loopback"
        );
        assert_eq!(
            status(&on_all_addresses(), &[(HOST, host)]),
            on_all_is,
            "{host} on all addresses"
        );
    }
}

#[test]
fn every_form_of_an_origin_is_admitted_or_refused() {
    for (origin, expected) in [
        ("http://localhost", 200),
        ("http://localhost:6274", 200),
        ("HTTP://LocalHost:6274", 200),
        ("https://127.0.0.1", 200),
        ("http://[::1]:3000", 200),
        ("https://tools.example.com", 200),
        ("https://tools.example.com:443", 200),
        ("https://app.example.org", 200),
        ("http://dev.example.org:3000", 200),
        ("vscode-webview://panel", 200),
        ("http://tools.example.com", 403),
        ("https://tools.example.com:8443", 403),
        ("https://app.example.org:444", 403),
        ("http://app.example.org", 403),
        ("http://dev.example.org", 403),
        ("vscode-webview://other", 403),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://localhost@evil.example", 403),
        ("http://user@localhost", 403),
        ("http://localhost/", 403),
        ("http://localhost/path", 403),
        ("http://localhost:6274 http://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("localhost", 403),
        ("file://", 403),
        ("http://", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("http://192.168.1.5:8080", 403),
    ] {
        let lines = [(HOST, "localhost:8080"), (ORIGIN, origin)];
        assert_eq!(status(&on_loopback(), &lines), expected, "{origin}");
        assert_eq!(
            status(&on_all_addresses(), &lines),
            expected,
            "{origin} on all addresses"
        );
    }
}

#[test]
fn a_page_served_at_our_own_address_may_ask_there_and_nowhere_else() {
    let host = (HOST, "192.168.1.5:8080");
    let from = |origin| status(&on_all_addresses(), &[host.clone(), (ORIGIN, origin)]);
    assert_eq!(from("http://192.168.1.5:8080"), 200);
    assert_eq!(from("http://192.168.1.6:8080"), 403);
    let named = Access::new(&server("192.168.1.5:8080"), "192.168.1.5:8080".parse().unwrap()).unwrap();
    assert_eq!(
        status(&named, &[host.clone(), (ORIGIN, "http://192.168.1.5:8080")]),
        200
    );
    assert_eq!(status(&named, &[(HOST, "192.168.1.6:8080")]), 403);
}

#[test]
fn a_request_has_one_host_and_each_of_its_origins_must_do() {
    let access = on_loopback();
    assert_eq!(status(&access, &[]), 400);
    assert_eq!(status(&access, &[(HOST, "localhost"), (HOST, "localhost")]), 400);
    let origins = [
        (HOST, "localhost"),
        (ORIGIN, "http://localhost"),
        (ORIGIN, "https://evil.example"),
    ];
    assert_eq!(status(&access, &origins), 403);
}

#[test]
fn a_target_in_absolute_form_is_checked_as_well() {
    let access = on_loopback();
    let headers: HeaderMap = [(HOST, HeaderValue::from_static("localhost"))]
        .into_iter()
        .collect();
    assert!(
        access
            .check(&Uri::from_static("http://localhost/mcp"), &headers)
            .is_ok()
    );
    assert!(
        access
            .check(&Uri::from_static("http://evil.example/mcp"), &headers)
            .is_err()
    );
}

#[test]
fn what_an_operator_allows_is_allowed() {
    let mut allowing = server("127.0.0.1:8080");
    allowing.allowed_hosts = vec!["*".to_owned()];
    allowing.allowed_origins = vec!["null".to_owned()];
    let access = on_loopback();
    assert_eq!(status(&access, &[(HOST, "any.example")]), 403);
    access.replace(&allowing).unwrap();
    assert_eq!(status(&access, &[(HOST, "any.example")]), 200);
    assert_eq!(status(&access, &[(HOST, "any.example"), (ORIGIN, "null")]), 200);
    assert_eq!(
        status(&access, &[(HOST, "any.example"), (ORIGIN, "http://any.example")]),
        403
    );
    assert_eq!(status(&access, &[(HOST, "a b")]), 403);
}

#[test]
fn an_entry_that_is_neither_host_nor_origin_is_an_error_and_changes_nothing() {
    let access = on_loopback();
    for host in ["http://toolgate", "a b", "", "toolgate:http", "*.example.com"] {
        let bad = config::Server {
            allowed_hosts: vec![host.to_owned()],
            ..server("127.0.0.1:8080")
        };
        assert!(
            matches!(access.replace(&bad), Err(AccessError::Host(_))),
            "{host}"
        );
    }
    for origin in ["toolgate", "https://a/b", "https://", "://x", "x://a b"] {
        let bad = config::Server {
            allowed_origins: vec![origin.to_owned()],
            ..server("127.0.0.1:8080")
        };
        assert!(
            matches!(access.replace(&bad), Err(AccessError::Origin(_))),
            "{origin}"
        );
    }
    assert_eq!(status(&access, &[(HOST, "toolgate")]), 200);
}

#[test]
fn a_server_is_local_when_it_listens_on_loopback_and_is_not_published() {
    let local = config::Server {
        public_url: None,
        ..server("127.0.0.1:8080")
    };
    assert!(is_local(&local, "127.0.0.1:8080".parse().unwrap()));
    assert!(is_local(&local, "[::1]:8080".parse().unwrap()));
    assert!(!is_local(&local, "0.0.0.0:8080".parse().unwrap()));
    assert!(!is_local(
        &server("127.0.0.1:8080"),
        "127.0.0.1:8080".parse().unwrap()
    ));
}
