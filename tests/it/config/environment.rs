//! The environment and the flags over the file.

use std::collections::BTreeMap;

use toolgate::config::{self, Flags, LogFormat, Sources, Transport};

use super::{load, problems_with, sources};

/// Returns (name, target) of every gateway.
fn gateways(text: &str, env: &[(&str, &str)]) -> Vec<(String, String)> {
    let config = load(text, env).unwrap_or_else(|errors| panic!("{errors}")).config;
    let of = |gateway: &config::Gateway| (gateway.name.to_string(), gateway.transport.target());
    config.gateways.iter().map(of).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn each_layer_overrides_the_one_before() {
    let text = "[server]\nlisten = '127.0.0.1:1'\ndrain_timeout_ms = 1\n[log]\nlevel = 'warn'\n";
    let env = [
        ("TOOLGATE_LISTEN", "127.0.0.1:2"),
        ("TOOLGATE_LOG", "debug"),
        ("TOOLGATE_LOG_FORMAT", "json"),
    ];
    let mut sources = sources(text, &env);
    let config = config::load(&sources).unwrap().config;
    assert_eq!(
        (config.server.listen.as_str(), config.log.level.as_str()),
        ("127.0.0.1:2", "debug")
    );
    assert_eq!(config.log.format, Some(LogFormat::Json));
    assert_eq!(config.server.drain_timeout.as_millis(), 1);
    sources.flags = Flags {
        listen: Some("127.0.0.1:3".to_owned()),
        log: Some("trace".to_owned()),
        ..Flags::default()
    };
    let config = config::load(&sources).unwrap().config;
    assert_eq!(
        (config.server.listen.as_str(), config.log.level.as_str()),
        ("127.0.0.1:3", "trace")
    );
}

#[test]
fn the_environment_sets_what_it_is_said_to_set() {
    let env = [
        ("TOOLGATE_PUBLIC_URL", "https://tools.example.com"),
        (
            "TOOLGATE_ALLOWED_ORIGINS",
            "https://a.example.com, https://b.example.com",
        ),
        ("TOOLGATE_ALLOWED_HOSTS", "tools.example.com"),
        ("TOOLGATE_DRAIN_TIMEOUT_MS", "1500"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
    ];
    let config = load("", &env).unwrap().config;
    assert_eq!(
        config.server.public_url.unwrap().as_str(),
        "https://tools.example.com/"
    );
    assert_eq!(
        config.server.allowed_origins,
        ["https://a.example.com", "https://b.example.com"]
    );
    assert_eq!(config.server.allowed_hosts, ["tools.example.com"]);
    assert_eq!(config.server.drain_timeout.as_millis(), 1500);
    assert_eq!(
        config.telemetry.otlp_endpoint.unwrap().as_str(),
        "http://collector:4318/"
    );
}

#[test]
fn empty_variables_count_as_not_set() {
    let env = [
        ("TOOLGATE_LISTEN", ""),
        ("PERMITTED_TOOLS", " "),
        ("MCP_GATEWAY_URLS", ""),
        ("MCP_BRAVE_URL", ""),
        ("TOOLGATE_KEY", ""),
    ];
    let config = load("", &env).unwrap().config;
    assert_eq!(config.server.listen, "127.0.0.1:8080");
    assert_eq!(
        (config.tools.permitted, config.auth, config.gateways.len()),
        (None, None, 0)
    );
}

#[test]
fn the_environment_of_an_older_deployment_works_as_it_stands() {
    let env = [
        (
            "MCP_GATEWAY_URLS",
            "http://mcp-brave:8080/mcp, http://mcp-fetch:8080/mcp,http://mcp-fetch:8081/mcp",
        ),
        ("MCP_FETCH_URL", "http://mcp-fetch:8080/mcp"),
        ("MCP_MY_TOOL_URL", "http://tool:1/sse"),
        ("PERMITTED_TOOLS", "[\"brave_web_search\", \"fetch\"]"),
        ("COMPOSIO_API_KEY", "s3cret"),
    ];
    assert_eq!(
        gateways("", &env),
        pairs(&[
            ("fetch", "http://mcp-fetch:8080/mcp"),
            ("my_tool", "http://tool:1/sse"),
            ("brave", "http://mcp-brave:8080/mcp"),
            ("fetch-8081", "http://mcp-fetch:8081/mcp"),
            ("composio", "https://backend.composio.dev"),
        ])
    );
    let loaded = load("", &env).unwrap();
    assert!(!format!("{loaded:?}").contains("s3cret"));
    assert_eq!(
        loaded.config.tools.permitted.unwrap(),
        ["brave_web_search", "fetch"]
    );
    assert!(matches!(
        loaded.config.gateways[1].transport,
        Transport::Sse { .. }
    ));
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn permitted_tools_may_be_written_with_commas() {
    let env = [("PERMITTED_TOOLS", "brave_*, fetch ,")];
    let config = load("[tools]\npermitted = ['other']\n", &env).unwrap().config;
    assert_eq!(config.tools.permitted.unwrap(), ["brave_*", "fetch"]);
}

#[test]
fn a_url_of_the_environment_replaces_the_one_of_the_file() {
    let text = "[gateways.brave]\nurl = 'http://localhost:1/mcp'\ntimeout_ms = 700\n[gateways.b]\nurl = 'http://localhost:2/mcp'\n";
    let env = [("MCP_BRAVE_URL", "http://localhost:3/mcp")];
    assert_eq!(
        gateways(text, &env),
        pairs(&[
            ("brave", "http://localhost:3/mcp"),
            ("b", "http://localhost:2/mcp")
        ])
    );
    assert_eq!(
        load(text, &env).unwrap().config.gateways[0].timeout.as_millis(),
        700
    );
}

#[test]
fn urls_that_the_file_has_already_are_not_added_again() {
    let text =
        "[gateways.search]\nurl = 'http://mcp-brave:8080/mcp'\n[gateways.fetch]\ncommand = ['fetch']\n";
    let env = [(
        "MCP_GATEWAY_URLS",
        "http://mcp-brave:8080/mcp/,http://mcp-fetch:9/mcp",
    )];
    assert_eq!(
        gateways(text, &env),
        pairs(&[
            ("search", "http://mcp-brave:8080/mcp"),
            ("fetch", "fetch"),
            ("fetch-9", "http://mcp-fetch:9/mcp"),
        ])
    );
}

#[test]
fn problems_of_the_environment_name_the_variable() {
    let env = [
        ("MCP_GATEWAY_URLS", "mcp-brave:8080,http://ok/mcp,nonsense"),
        ("MCP_FETCH_URL", "not-a-url"),
        ("MCP_A__B_URL", "http://localhost/"),
        ("PERMITTED_TOOLS", "[1]"),
        ("TOOLGATE_DRAIN_TIMEOUT_MS", "soon"),
        ("TOOLGATE_LOG_FORMAT", "xml"),
        ("TOOLGATE_LISTEN", "nowhere"),
    ];
    let problems = problems_with("", &env);
    for part in [
        "environment MCP_GATEWAY_URLS: gateways: must be URLs",
        "environment MCP_FETCH_URL: gateways.fetch.url: must be a whole URL",
        "environment MCP_A__B_URL: gateways.a__b: a gateway's name must be",
        "environment PERMITTED_TOOLS: tools.permitted: must be a JSON array",
        "environment TOOLGATE_DRAIN_TIMEOUT_MS: server.drain_timeout_ms: must be a whole number",
        "environment TOOLGATE_LOG_FORMAT: log.format: must be \"json\" or \"pretty\"",
    ] {
        assert!(
            problems.iter().any(|problem| problem.starts_with(part)),
            "{part}: {problems:#?}"
        );
    }
    let twice = problems_with(
        "",
        &[
            ("MCP_A_URL", "http://localhost/1"),
            ("MCP_a_URL", "http://localhost/2"),
        ],
    );
    assert_eq!(
        twice,
        [
            "environment MCP_a_URL: gateways.a: two variables, which differ in upper and lower case, name this gateway"
        ]
    );
    let url_and_command = problems_with(
        "[gateways.a]\ncommand = ['x']\n",
        &[("MCP_A_URL", "http://localhost/")],
    );
    assert_eq!(
        url_and_command,
        [
            "environment MCP_A_URL: gateways.a.url: a gateway has a url or a command, not both (the command is at gateways.toml:2)"
        ]
    );
}

#[test]
fn a_problem_of_a_flag_names_the_flag() {
    let flags = Flags {
        listen: Some("0.0.0.0:1".to_owned()),
        ..Flags::default()
    };
    let errors = config::load(&Sources::new(None, BTreeMap::new(), flags)).unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("--listen: server.listen: 0.0.0.0:1 is reachable"),
        "{errors}"
    );
}

#[test]
fn toolgate_key_admits_one_local_user_and_does_not_lock_out_the_file() {
    let env = [
        ("TOOLGATE_KEY", "0123456789abcdef-env"),
        ("TOOLGATE_LISTEN", "0.0.0.0:1"),
    ];
    let alone = load("", &env).unwrap().config.auth.unwrap();
    assert_eq!(alone.keys[0].user.as_str(), "local");
    let text = "[auth]\nkeys = [{ user = 'alice', key = '0123456789abcdef-file' }]\n";
    let both = load(text, &env).unwrap().config.auth.unwrap();
    let users: Vec<&str> = both.keys.iter().map(|key| key.user.as_str()).collect();
    assert_eq!(users, ["alice", "local"]);
    let same = load(text, &[("TOOLGATE_KEY", "0123456789abcdef-file")])
        .unwrap()
        .config
        .auth
        .unwrap();
    assert_eq!((same.keys.len(), same.keys[0].user.as_str()), (1, "alice"));
}

#[test]
fn a_mistyped_variable_is_a_warning_and_a_foreign_one_is_not() {
    let env = [
        ("TOOLGATE_LISTN", "127.0.0.1:1"),
        ("TOOLGATE_PORT_8080_TCP", "tcp://10.0.0.1"),
        ("TOOLGATE_SERVICE_HOST", "10.0.0.1"),
    ];
    let warnings = load("[gateways.a]\nurl='http://localhost/'\n", &env)
        .unwrap()
        .warnings;
    assert_eq!(
        warnings,
        ["environment TOOLGATE_LISTN: unknown variable, did you mean TOOLGATE_LISTEN?"]
    );
}

#[test]
fn the_file_that_flags_or_environment_name_must_be_there() {
    let flags = Flags {
        config: Some("nowhere/gateways.toml".into()),
        ..Flags::default()
    };
    let errors = Sources::new(None, BTreeMap::new(), flags).again().unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("nowhere/gateways.toml: cannot be read: "),
        "{errors}"
    );
    let env = BTreeMap::from([("TOOLGATE_CONFIG".to_owned(), "also/nowhere.toml".to_owned())]);
    let errors = Sources::new(None, env, Flags::default()).again().unwrap_err();
    assert!(errors.to_string().starts_with("also/nowhere.toml: "), "{errors}");
}

#[test]
fn the_listen_address_is_known_even_from_a_broken_file() {
    let text = "[server]\nlisten = '127.0.0.1:7'\nlisen = 1\n[gateways.x]\nurl = '${NOT_SET}'\n";
    assert_eq!(config::listen_address(&sources(text, &[])), "127.0.0.1:7");
    assert_eq!(
        config::listen_address(&sources("not toml", &[("TOOLGATE_LISTEN", "127.0.0.1:8")])),
        "127.0.0.1:8"
    );
    assert_eq!(
        config::listen_address(&sources("not toml", &[])),
        "127.0.0.1:8080"
    );
}
