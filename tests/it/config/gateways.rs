//! Gateways: what one may be, and what is said of one that cannot work.

use super::{good, load, problems, problems_with};

#[test]
fn gateways_keep_the_order_of_the_file() {
    let text = "[gateways.zeta]\nurl='http://localhost/1'\n[gateways.alpha]\nurl='http://localhost/2'\n\
                [gateways.mid]\nurl='http://localhost/3'\n";
    let names: Vec<String> = good(text)
        .config
        .gateways
        .iter()
        .map(|gateway| gateway.name.to_string())
        .collect();
    assert_eq!(names, ["zeta", "alpha", "mid"]);
}

#[test]
fn two_gateways_of_one_name_are_refused() {
    let problems =
        problems("[gateways.a]\nurl='http://localhost/1'\n[gateways.a]\nurl='http://localhost/2'\n");
    assert!(
        problems[0].starts_with("gateways.toml:3: not TOML: duplicate key"),
        "{problems:?}"
    );
}

#[test]
fn a_gateway_that_is_turned_off_needs_none_of_its_variables() {
    let text = "[gateways.brave]\nenabled_if_env = 'BRAVE_API_KEY'\ncommand = ['brave']\nenv = { BRAVE_API_KEY = '${BRAVE_API_KEY}' }\n\
                [gateways.off]\nenabled = false\nurl = '${NOWHERE}'\n\
                [gateways.maybe]\nenabled = '${MAYBE:-false}'\nurl = '${NOWHERE}'\n";
    let off = good(text);
    assert!(off.config.gateways.is_empty());
    let reasons: Vec<(&str, &str)> = off
        .disabled
        .iter()
        .map(|disabled| (disabled.name.as_str(), disabled.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            ("brave", "BRAVE_API_KEY is not set"),
            ("off", "enabled = false"),
            ("maybe", "enabled = false")
        ]
    );
    let on = load(text, &[("BRAVE_API_KEY", "k")]).unwrap();
    assert_eq!(on.config.gateways[0].name.as_str(), "brave");
    assert!(
        load(text, &[("BRAVE_API_KEY", "")])
            .unwrap()
            .config
            .gateways
            .is_empty()
    );
}

#[test]
fn a_gateway_that_cannot_work_is_refused_with_what_would() {
    for (gateway, part) in [
        ("timeout_ms = 500", "gateways.x: needs a url"),
        (
            "url = 'http://localhost/'\ncommand = ['y']",
            "not both (the command is at gateways.toml:3)",
        ),
        ("url = 'ftp://localhost/'", "must begin with http"),
        ("url = 'mcp'", "must be a whole URL"),
        ("url = 'http://u:s3cret@localhost/'", "without user and password"),
        (
            "url = 'http://localhost/'\ntransport = 'stdio'",
            "needs a command",
        ),
        (
            "url = 'http://localhost/'\nargs = ['a']",
            "gateways.x.args: goes with a command",
        ),
        (
            "url = 'http://localhost/'\nprocesses = 'shared'",
            "goes with a command",
        ),
        (
            "url = 'http://localhost/sse'\nera = 'modern'",
            "does not go with the sse transport",
        ),
        (
            "url = 'http://localhost/'\nheaders = { Host = 'x' }",
            "set by Toolgate itself",
        ),
        (
            "url = 'http://localhost/'\nheaders = { Mcp-Session-Id = 'x' }",
            "set by Toolgate itself",
        ),
        (
            "url = 'http://localhost/'\nheaders = { 'a b' = 'x' }",
            "no name of a header",
        ),
        (
            "url = 'http://localhost/'\nheaders = { A = \"s3cret\\n\" }",
            "cannot carry",
        ),
        (
            "url = 'http://localhost/'\nheaders = { A = '1', a = '2' }",
            "stands twice",
        ),
        ("command = []", "must begin with the program"),
        ("command = ''", "must begin with the program"),
        (
            "command = 'uvx mcp-server-fetch'",
            "write command = [\"uvx\", \"mcp-server-fetch\"]",
        ),
        ("command = ['a']\nargs = ['b']", "put them into the list"),
        ("command = ['a']\nheaders = { A = 'b' }", "goes with a url"),
        ("command = ['a']\ntransport = 'http'", "needs a url"),
        ("command = ['a']\nenv = { 'A=B' = 'c' }", "name of a variable"),
        ("command = ['a']\nenv_pass = ['']", "name of a variable"),
        (
            "command = ['a']\nenabled_if_env = '$A'\nenabled = true",
            "name of a variable",
        ),
        (
            "command = ['a']\nallow = ['{a']",
            "gateways.x.allow[0]: is no pattern",
        ),
        ("command = ['a']\ndeny = ['']", "must not be empty"),
        (
            "command = ['a']\nrename = { b = 'has blank' }",
            "the new name must be",
        ),
        (
            "command = ['a']\nrename = { b = 'n', c = 'n' }",
            "another rename already gives",
        ),
        ("command = ['a']\nin_flight_max = 0", "from 1 to"),
    ] {
        let env = [("$A", "on")];
        let problems = problems_with(&format!("[gateways.x]\n{gateway}\n"), &env);
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{gateway}: {problems:?}"
        );
        assert!(!problems.concat().contains("s3cret"), "{problems:?}");
    }
}

#[test]
fn names_of_gateways_are_checked() {
    for name in [
        "Brave",
        "-a",
        "_a",
        "a__b",
        "a_",
        "a.b",
        "größe",
        "a-name-of-more-than-thirty-two-chars",
    ] {
        let problems = problems(&format!("[gateways.\"{name}\"]\nurl = 'http://localhost/'\n"));
        assert!(problems[0].contains("name must be"), "{name}: {problems:?}");
    }
    for name in [
        "a",
        "0",
        "my_tool",
        "my-tool-2",
        "a-name-of-exactly-thirty-two-cha",
    ] {
        good(&format!("[gateways.{name}]\nurl = 'http://localhost/'\n"));
    }
}

#[test]
fn the_transport_follows_from_what_is_given() {
    let kind = |gateway: &str| {
        good(&format!("[gateways.x]\n{gateway}\n")).config.gateways[0]
            .transport
            .name()
    };
    assert_eq!(kind("url = 'http://localhost/mcp'"), "http");
    assert_eq!(kind("url = 'http://localhost/sse'"), "sse");
    assert_eq!(kind("url = 'http://localhost/sse'\ntransport = 'http'"), "http");
    assert_eq!(kind("url = 'http://localhost/mcp'\ntransport = 'sse'"), "sse");
    assert_eq!(kind("command = ['a']"), "stdio");
    assert_eq!(kind("command = 'a'\ntransport = 'stdio'"), "stdio");
}

#[test]
fn a_secret_header_over_http_to_another_host_is_a_warning() {
    let warnings = |url: &str, header: &str| {
        good(&format!(
            "[gateways.x]\nurl = '{url}'\nheaders = {{ {header} = 's3cret' }}\n"
        ))
        .warnings
    };
    let warned = warnings("http://mcp-brave:8080/mcp", "Authorization");
    assert_eq!(
        warned,
        ["gateways.toml:3: gateways.x.headers.Authorization: goes unencrypted over http:// to mcp-brave"]
    );
    assert!(warnings("https://mcp-brave/mcp", "Authorization").is_empty());
    assert!(warnings("http://127.0.0.1:1/mcp", "Authorization").is_empty());
    assert!(warnings("http://mcp-brave/mcp", "X-Region").is_empty());
}
