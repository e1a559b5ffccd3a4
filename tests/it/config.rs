//! The configuration: what is written, and what it comes to or what is said about it.

mod composio;
mod composio_session;
mod environment;
mod file;
mod gateways;
mod reference;
mod reload;

use std::collections::BTreeMap;
use std::time::Duration;

use toolgate::config::StorePlace;
use toolgate::config::{
    self, ConfigErrors, EraChoice, File, Flags, Loaded, LogFormat, Names, Prefix, Processes, Sources,
    Transport,
};
use toolgate::limits;

/// Makes sources of a file's text and an environment.
fn sources(text: &str, env: &[(&str, &str)]) -> Sources {
    let file = File {
        name: "gateways.toml".to_owned(),
        text: text.to_owned(),
    };
    let env: BTreeMap<String, String> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Sources::new(Some(file), env, Flags::default())
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    config::load(&sources(text, env))
}

fn good(text: &str) -> Loaded {
    load(text, &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn problems(text: &str) -> Vec<String> {
    problems_with(text, &[])
}

fn problems_with(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let errors = load(text, env).expect_err("the configuration is wrong");
    errors.to_string().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn nothing_at_all_is_a_configuration_with_the_defaults() {
    let loaded = config::load(&Sources::new(None, BTreeMap::new(), Flags::default())).unwrap();
    let config = loaded.config;
    assert_eq!(config.server.listen, "127.0.0.1:8080");
    assert_eq!(config.server.drain_timeout, limits::DRAIN_TIMEOUT);
    assert_eq!(config.auth, None);
    assert_eq!(config.tools.permitted, None);
    assert_eq!(config.tools.prefix, Prefix::OnConflict);
    assert_eq!(config.tools.names, Names::Portable);
    assert_eq!(config.log.level, "info");
    assert_eq!(config.limits.in_flight_max, limits::IN_FLIGHT_MAX);
    assert_eq!(config.limits.session_idle_max, limits::SESSION_IDLE_MAX);
    assert!(config.gateways.is_empty());
    assert!(
        loaded.warnings[0].contains("none is configured"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn every_key_of_the_file_reaches_the_configuration() {
    let text = r#"
[server]
listen = "0.0.0.0:9000"
public_url = "https://tools.example.com"
allowed_origins = ["https://App.example.com:443"]
allowed_hosts = ["tools.example.com", "*"]
drain_timeout_ms = 5_000

[auth]
keys = [
  { user = "alice", key = "0123456789abcdef0123", tools = ["brave_*"] },
  { user = "backend", key_sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08", acts_for_users = true },
]

[tools]
permitted = ["brave_web_search", "everything_*"]
prefix = "always"
names = "as_is"

[log]
level = "info,toolgate=debug"
format = "pretty"

[telemetry]
otlp_endpoint = "http://collector:4318"

[limits]
page_items_max = 7
question_timeout_ms = 9_000

[gateways.brave]
url = "https://brave.example.com/mcp"
headers = { Authorization = "Bearer s3cret" }
era = "legacy"
timeout_ms = 60_000
in_flight_max = 4
required = true
allow = ["brave_*"]
deny = ["brave_summarizer"]
rename = { brave_web_search = "search" }
prefix = "never"

[gateways.fetch]
command = "uvx"
args = ["mcp-server-fetch"]
env = { HTTPS_PROXY = "http://proxy" }
env_pass = ["LC_ALL"]
cwd = "somewhere"
processes = "per_user"

[gateways.old]
transport = "sse"
url = "http://127.0.0.1:3001/events"
"#;
    let config = good(text).config;
    assert_eq!(config.server.listen, "0.0.0.0:9000");
    assert_eq!(
        config.server.public_url.unwrap().as_str(),
        "https://tools.example.com/"
    );
    assert_eq!(config.server.allowed_origins, ["https://app.example.com"]);
    assert_eq!(config.server.allowed_hosts, ["tools.example.com", "*"]);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(5));
    let keys = config.auth.unwrap().keys;
    assert_eq!(keys[0].user.as_str(), "alice");
    assert_eq!(keys[0].tools.as_deref(), Some(&["brave_*".to_owned()][..]));
    assert!(!keys[0].acts_for_users && keys[1].acts_for_users);
    // SHA-256 of "test", as coreutils print it.
    assert_eq!(keys[1].sha256[..4], [0x9f, 0x86, 0xd0, 0x81]);
    assert_eq!(
        config.tools.permitted.unwrap(),
        ["brave_web_search", "everything_*"]
    );
    assert_eq!(
        (config.tools.prefix, config.tools.names),
        (Prefix::Always, Names::AsIs)
    );
    assert_eq!(
        (config.log.level.as_str(), config.log.format),
        ("info,toolgate=debug", Some(LogFormat::Pretty))
    );
    assert_eq!(
        config.telemetry.otlp_endpoint.unwrap().as_str(),
        "http://collector:4318/"
    );
    assert_eq!(config.limits.page_items_max, 7);
    assert_eq!(config.limits.question_timeout, Duration::from_secs(9));

    let [brave, fetch, old] = &config.gateways[..] else {
        panic!("three gateways")
    };
    let Transport::Http { url, headers, era } = &brave.transport else {
        panic!("http")
    };
    assert_eq!(
        (url.as_str(), *era),
        ("https://brave.example.com/mcp", EraChoice::Legacy)
    );
    assert_eq!(
        (headers[0].0.as_str(), headers[0].1.expose()),
        ("Authorization", "Bearer s3cret")
    );
    assert_eq!(
        (brave.timeout, brave.in_flight_max, brave.required),
        (Duration::from_mins(1), 4, true)
    );
    assert_eq!(brave.allow.as_deref(), Some(&["brave_*".to_owned()][..]));
    assert_eq!(brave.deny, ["brave_summarizer"]);
    assert_eq!(brave.rename["brave_web_search"], "search");
    assert_eq!(brave.prefix, Some(Prefix::Never));
    let Transport::Stdio {
        command,
        env,
        env_pass,
        cwd,
        processes,
        era,
    } = &fetch.transport
    else {
        panic!("stdio")
    };
    assert_eq!(command, &["uvx", "mcp-server-fetch"]);
    assert_eq!(
        (env[0].0.as_str(), env[0].1.expose()),
        ("HTTPS_PROXY", "http://proxy")
    );
    assert_eq!(env_pass, &["LC_ALL"]);
    assert_eq!(cwd.as_deref().unwrap().to_str(), Some("somewhere"));
    assert_eq!((*processes, *era), (Processes::PerUser, EraChoice::Auto));
    assert_eq!(
        (fetch.timeout, fetch.in_flight_max),
        (limits::CALL_TIMEOUT, limits::IN_FLIGHT_PER_GATEWAY_MAX)
    );
    assert!(matches!(old.transport, Transport::Sse { .. }));
}

#[test]
fn the_example_of_the_design_is_read() {
    let text = r#"
[server]
listen = "127.0.0.1:8080"
store = "sqlite://data/toolgate.db"
[gateways.composio]
kind = "composio"
api_key = "${COMPOSIO_API_KEY}"
toolkits = ["gmail", "github"]
"#;
    let config = load(text, &[("COMPOSIO_API_KEY", "s3cret")]).unwrap().config;
    assert_eq!(config.server.store, StorePlace::File("data/toolgate.db".into()));
}

#[test]
fn a_store_is_a_path_or_memory_and_nothing_else() {
    for (store, place) in [
        ("memory", StorePlace::Memory),
        ("sqlite:///a/b.db", StorePlace::File("/a/b.db".into())),
    ] {
        let text = format!("[server]\nstore = '{store}'\n");
        assert_eq!(good(&text).config.server.store, place);
    }
    for store in [
        "",
        "sqlite://",
        "sqlite::memory:",
        "postgres://host/db",
        "data/toolgate.db",
        "sqlite://a?mode=ro",
    ] {
        assert_eq!(
            problems(&format!("[server]\nstore = '{store}'\n")),
            ["gateways.toml:2: server.store: must be `sqlite://PATH` or `memory`"]
        );
    }
}

#[test]
fn other_addresses_than_loopback_need_a_key_and_the_error_says_how_to_set_one() {
    for listen in [
        "0.0.0.0:8080",
        "[::]:8080",
        "10.0.0.7:8080",
        "tools.example.com:8080",
    ] {
        let problems = problems(&format!("[server]\nlisten = '{listen}'\n"));
        assert!(
            problems[0].starts_with("gateways.toml:2: server.listen: "),
            "{problems:?}"
        );
        assert!(
            problems[0].contains("toolgate keys new") && problems[0].contains("TOOLGATE_KEY"),
            "{problems:?}"
        );
    }
    for listen in ["127.0.0.1:0", "[::1]:8080", "localhost:8080"] {
        assert_eq!(
            good(&format!("[server]\nlisten = '{listen}'\n"))
                .config
                .server
                .listen,
            listen
        );
    }
    let with_key =
        "[server]\nlisten = '0.0.0.0:8080'\n[auth]\nkeys = [{ user = 'a', key = '0123456789abcdef' }]\n";
    assert_eq!(good(with_key).config.server.listen, "0.0.0.0:8080");
}

#[test]
fn an_address_of_the_wrong_form_is_answered_with_the_right_form() {
    for (listen, right) in [
        ("8080", "such as 127.0.0.1:8080"),
        (":8080", "such as 127.0.0.1:8080"),
        ("localhost", "such as 127.0.0.1:8080"),
        ("127.0.0.1:99999", "an address and a port"),
        ("http://127.0.0.1:80", "an address and a port"),
    ] {
        let problems = problems(&format!("[server]\nlisten = '{listen}'\n"));
        assert!(problems[0].contains(right), "{listen}: {problems:?}");
    }
}

#[test]
fn keys_that_cannot_be_meant_are_refused_and_never_printed() {
    for (keys, part) in [
        ("[]", "admits nobody"),
        (
            "[{ key = 's3cret-s3cret-s3cret' }]",
            "auth.keys[0]: user: missing",
        ),
        ("[{ user = 'a' }]", "auth.keys[0]: key: missing"),
        (
            "[{ user = 'a b', key = 's3cret-s3cret-s3cret' }]",
            "auth.keys[0].user: must be",
        ),
        ("[{ user = 'a', key = '' }]", "auth.keys[0].key: is empty"),
        ("[{ user = 'a', key = 's3cret s3cret s3cret' }]", "visible ASCII"),
        (
            "[{ user = 'a', key = 's3cret-s3cret-s3cret', key_sha256 = 'x' }]",
            "not both",
        ),
        ("[{ user = 'a', key_sha256 = 's3cret' }]", "64 hex digits"),
        (
            "[{ user = 'a', key = 's3cret-s3cret-s3cret' }, { user = 'b', key = 's3cret-s3cret-s3cret' }]",
            "the same key as auth.keys[0]",
        ),
        ("['s3cret']", "auth.keys[0]: must be a table"),
        (
            "[{ user = 'a', key = 's3cret-s3cret-s3cret', tools = ['a[b'] }]",
            "auth.keys[0].tools[0]: is no pattern",
        ),
    ] {
        let problems = problems(&format!("[auth]\nkeys = {keys}\n"));
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{keys}: {problems:?}"
        );
        assert!(!problems.concat().contains("s3cret"), "{problems:?}");
    }
    let short = good("[auth]\nkeys = [{ user = 'a', key = 's3cret' }]\n");
    assert!(short.warnings[0].contains("can be guessed"));
    assert!(!format!("{short:?}").contains("s3cret"));
}

#[test]
fn one_user_may_have_several_keys() {
    let text = "[auth]\nkeys = [{ user = 'a', key = '0123456789abcdef0' }, { user = 'a', key = '0123456789abcdef1' }]\n";
    assert_eq!(good(text).config.auth.unwrap().keys.len(), 2);
}

#[test]
fn limits_that_contradict_each_other_are_refused_at_the_line_that_was_written() {
    assert_eq!(
        problems("[limits]\nin_flight_max = 10\n"),
        [
            "gateways.toml:2: limits.in_flight_max: limits.in_flight_per_user_max (64) must not be above limits.in_flight_max (10)"
        ]
    );
    assert!(problems("[limits]\nsession_idle_max_ms = 90_000_000\n")[0].contains("session_age_max_ms"));
}

#[test]
fn patterns_of_permitted_tools_are_compiled() {
    assert!(
        problems("[tools]\npermitted = ['ok_*', 'a[']\n")[0]
            .starts_with("gateways.toml:2: tools.permitted[1]: is no pattern")
    );
    assert!(
        good("[tools]\npermitted = []\n")
            .warnings
            .iter()
            .any(|warning| warning.contains("nobody may use any tool"))
    );
}

#[test]
fn secrets_do_not_stand_in_what_a_configuration_prints() {
    let text = "[auth]\nkeys = [{ user = 'a', key = 's3cret-s3cret-s3cret' }]\n\
                [gateways.a]\nurl = 'https://h/mcp?key=s3cret'\nheaders = { A = 's3cret' }\n\
                [gateways.b]\ncommand = ['x', '--token', 's3cret']\nenv = { A = 's3cret' }\n";
    let sources = sources(text, &[("SOME_KEY", "s3cret")]);
    let printed = format!("{sources:?} {:?}", config::load(&sources).unwrap());
    assert!(!printed.contains("s3cret"), "{printed}");
    assert!(printed.contains("https://h/mcp"), "{printed}");
}

proptest::proptest! {
    #[test]
    fn no_text_of_a_file_makes_the_loader_fall_over(text in "[\\[\\]a-z.=\"'{}$:#\\n 0-9_-]{0,200}") {
        let _ = load(&text, &[]);
    }

    #[test]
    fn a_file_that_is_cut_or_damaged_anywhere_is_read_or_refused(at in 0_usize..2_500, with in "[\\PC\\n]{0,3}") {
        let whole = include_str!("../../gateways.toml");
        let mut text: String = whole.chars().take(at).collect();
        text.push_str(&with);
        text.extend(whole.chars().skip(at + 1));
        if let Err(errors) = load(&text, &[]) {
            proptest::prop_assert!(!errors.problems().is_empty());
        }
    }
}
