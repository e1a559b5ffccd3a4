//! Gateways of kind `composio`: their keys, and what makes one.

use std::time::Duration;

use toolgate::config::{EraChoice, Transport};

use super::{good, load, problems, problems_with};

/// Returns name, API and key of each gateway.
fn gateways(text: &str, env: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let config = load(text, env).unwrap_or_else(|errors| panic!("{errors}")).config;
    let of = |gateway: &toolgate::config::Gateway| {
        let Transport::Composio(composio) = &gateway.transport else {
            return (
                gateway.name.to_string(),
                gateway.transport.target(),
                String::new(),
            );
        };
        let base_url = composio.base_url.as_str().to_owned();
        (
            gateway.name.to_string(),
            base_url,
            composio.api_key.expose().to_owned(),
        )
    };
    config.gateways.iter().map(of).collect()
}

fn one(name: &str, base_url: &str, key: &str) -> (String, String, String) {
    (name.to_owned(), base_url.to_owned(), key.to_owned())
}

const OFFICIAL: &str = "https://backend.composio.dev/";

#[test]
fn every_key_of_a_composio_gateway_reaches_the_configuration() {
    let text = "[gateways.apps]\nkind = 'composio'\napi_key = ' ak_s3cret '\nbase_url = 'http://127.0.0.1:9'\n\
                toolkits = ['gmail', 'github']\nera = 'auto'\ntimeout_ms = 300_000\n";
    let loaded = good(text);
    let gateway = &loaded.config.gateways[0];
    let Transport::Composio(composio) = &gateway.transport else {
        panic!("composio")
    };
    assert_eq!(
        (composio.base_url.as_str(), composio.api_key.expose()),
        ("http://127.0.0.1:9/", "ak_s3cret")
    );
    assert_eq!(composio.toolkits.as_deref().unwrap(), ["gmail", "github"]);
    assert_eq!(
        (composio.era, gateway.timeout),
        (EraChoice::Auto, Duration::from_mins(5))
    );
    let shown = (gateway.transport.name(), gateway.transport.target());
    assert_eq!(shown, ("composio", "http://127.0.0.1:9".to_owned()));
    assert!(!format!("{loaded:?}").contains("s3cret"));
}

#[test]
fn what_is_not_written_is_composios_own_api_a_handshake_and_time_for_tools_that_block() {
    let text = "[gateways.apps]\nkind = 'composio'\napi_key = 'ak_1'\n";
    let gateway = &good(text).config.gateways[0];
    let Transport::Composio(composio) = &gateway.transport else {
        panic!("composio")
    };
    assert_eq!(
        (composio.base_url.as_str(), &composio.toolkits, composio.era),
        (OFFICIAL, &None, EraChoice::Legacy)
    );
    assert!(gateway.timeout > Duration::from_secs(200));
}

#[test]
fn the_environment_makes_a_gateway_or_fills_those_that_are_there() {
    let env = [("COMPOSIO_API_KEY", "ak_env")];
    let both = [
        ("COMPOSIO_API_KEY", "ak_env"),
        ("COMPOSIO_BASE_URL", "http://localhost:9"),
    ];
    assert_eq!(gateways("", &env), [one("composio", OFFICIAL, "ak_env")]);
    assert_eq!(
        gateways("", &both),
        [one("composio", "http://localhost:9/", "ak_env")]
    );
    assert_eq!(gateways("", &[both[1]]), []);

    let other = "[gateways.apps]\nkind = 'composio'\n";
    assert_eq!(gateways(other, &env), [one("apps", OFFICIAL, "ak_env")]);
    let own = "[gateways.apps]\nkind = 'composio'\napi_key = 'ak_own'\nbase_url = 'https://own.example'\n";
    assert_eq!(
        gateways(own, &both),
        [one("apps", "https://own.example/", "ak_own")]
    );
    let off = "[gateways.composio]\nkind = 'composio'\nenabled = false\n";
    assert_eq!(gateways(off, &env), []);
}

#[test]
fn a_gateway_of_that_name_and_another_kind_stays_what_it_is() {
    let key = ("COMPOSIO_API_KEY", "ak_env");
    for (text, env) in [
        ("[gateways.composio]\nurl = 'http://localhost:1/mcp'\n", vec![key]),
        ("", vec![key, ("MCP_COMPOSIO_URL", "http://localhost:1/mcp")]),
    ] {
        assert_eq!(
            gateways(text, &env),
            [one("composio", "http://localhost:1/mcp", "")]
        );
        let warnings = load(text, &env).unwrap().warnings;
        assert!(
            warnings.iter().any(|warning| warning.contains("is not used")),
            "{warnings:?}"
        );
    }
}

#[test]
fn a_composio_gateway_that_cannot_work_is_refused_with_what_would() {
    let head = "[gateways.c]\nkind = 'composio'\n";
    let keyed = format!("{head}api_key = 'ak_s3cret'\n");
    for (text, line) in [
        (head.to_owned(), "gateways.toml:1: gateways.c: needs api_key"),
        (
            format!("{head}api_key = ' '\n"),
            "gateways.toml:3: gateways.c.api_key: must not be empty",
        ),
        (
            format!("{head}api_key = 'ak s3cret'\n"),
            "gateways.toml:3: gateways.c.api_key: must be at most",
        ),
        (
            format!("{keyed}base_url = 'http://composio.example'\n"),
            "gateways.toml:4: gateways.c.base_url: must begin with https://",
        ),
        (
            format!("{keyed}base_url = 'https://composio.example/api?x=1'\n"),
            "gateways.toml:4: gateways.c.base_url: must be scheme, host and port alone",
        ),
        (
            format!("{keyed}toolkits = []\n"),
            "gateways.toml:4: gateways.c.toolkits: must not be empty",
        ),
        (
            format!("{keyed}toolkits = ['gmail', 'Git Hub', 'gmail']\n"),
            "gateways.toml:4: gateways.c.toolkits[1]: must be the slug of a toolkit",
        ),
        (
            format!("{keyed}url = 'https://h/mcp'\n"),
            "gateways.toml:4: gateways.c.url: does not go with kind",
        ),
        (
            format!("{keyed}command = ['x']\n"),
            "gateways.toml:4: gateways.c.command: does not go with kind",
        ),
        (
            "[gateways.c]\nurl = 'https://h/mcp'\napi_key = 'ak_s3cret'\n".to_owned(),
            "gateways.toml:3: gateways.c.api_key: goes with a kind = \"composio\"",
        ),
        (
            "[gateways.c]\nkind = 'zapier'\n".to_owned(),
            "gateways.toml:2: gateways.c.kind: must be \"composio\"",
        ),
    ] {
        let problems = problems(&text);
        assert!(
            problems.iter().any(|problem| problem.starts_with(line)),
            "{text}: {problems:?}"
        );
        assert!(!problems.concat().contains("s3cret"), "{problems:?}");
    }
    let env = [
        ("COMPOSIO_API_KEY", "ak_1"),
        ("COMPOSIO_BASE_URL", "http://10.0.0.1"),
    ];
    let problems = problems_with("", &env);
    assert!(
        problems[0].starts_with("environment COMPOSIO_BASE_URL: gateways.composio.base_url: "),
        "{problems:?}"
    );
}

#[test]
fn a_key_of_another_sort_is_noticed() {
    for key in ["uak_1", "ck_1"] {
        let loaded = load("", &[("COMPOSIO_API_KEY", key)]).unwrap();
        assert!(
            loaded.warnings[0].contains("a project's key begins with ak_"),
            "{:?}",
            loaded.warnings
        );
    }
}

#[test]
fn an_auth_config_of_the_environment_goes_to_gateways_that_have_the_toolkit_and_none_of_their_own_for_it() {
    let of = |text: &str, env: &[(&str, &str)]| {
        let config = load(text, env).unwrap_or_else(|errors| panic!("{errors}")).config;
        let Transport::Composio(composio) = &config.gateways[0].transport else {
            panic!("composio")
        };
        composio.auth_configs.clone().into_iter().collect::<Vec<_>>()
    };
    let pair = |toolkit: &str, id: &str| (toolkit.to_owned(), id.to_owned());
    let env = [
        ("COMPOSIO_API_KEY", "ak_1"),
        ("COMPOSIO_AUTH_CONFIG_GITHUB", "ac_1"),
    ];
    assert_eq!(of("", &env), [pair("github", "ac_1")]);
    let with = |more: &str| format!("[gateways.apps]\nkind = 'composio'\napi_key = 'ak_1'\n{more}\n");
    assert_eq!(
        of(&with("toolkits = ['github']"), &env[1..]),
        [pair("github", "ac_1")]
    );
    assert_eq!(of(&with("toolkits = ['gmail']"), &env[1..]), []);
    let own = with("auth_configs = { github = 'ac_own' }");
    assert_eq!(of(&own, &env[1..]), [pair("github", "ac_own")]);
    let dashed = [("COMPOSIO_AUTH_CONFIG_MICROSOFT_TEAMS", "ac_2")];
    assert_eq!(
        of(&with("toolkits = ['microsoft-teams']"), &dashed),
        [pair("microsoft-teams", "ac_2")]
    );
}
