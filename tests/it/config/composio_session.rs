//! What the sessions of a gateway of kind `composio` may use: each option, and each that Composio would refuse.

use toolgate::config::{Composio, MultiAccount, Pins, Preload, Tags, ToolChoice, Transport};

use super::{good, problems};

const HEAD: &str = "[gateways.c]\nkind = 'composio'\napi_key = 'ak_s3cret'\n";

fn composio(options: &str) -> Composio {
    let config = good(&format!("{HEAD}{options}")).config;
    match &config.gateways[0].transport {
        Transport::Composio(composio) => (**composio).clone(),
        other => panic!("{other:?}"),
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn every_option_reaches_the_configuration() {
    let options = composio(
        "toolkits = ['github', 'gmail', 'slack']\ntags = ['readOnlyHint', '!destructiveHint']\n\
         auth_configs = { github = 'ac_1' }\npreload = ['GMAIL_SEND_EMAIL']\nworkbench = false\n\
         multi_account = true\nmulti_account_max = 3\nmulti_account_explicit = true\n\
         multi_account_pins = 'chosen'\nmulti_account_reinitiate = true\n\
         callback_url = 'https://app.example/done'\nwebhook_secret = 'whsec_1'\n\
         [gateways.c.tools]\ngithub = { disable = ['GITHUB_DELETE_A_REPOSITORY'] }\n\
         gmail.enable = ['GMAIL_SEND_EMAIL']\nslack.tags = ['readOnlyHint']\n",
    );
    assert_eq!(options.auth_configs["github"], "ac_1");
    let prefixes = composio(
        "toolkits = ['drive']\ntool_prefixes = { drive = 'GDRIVE' }\npreload = ['GDRIVE_LIST']\n\
         [gateways.c.tools]\ndrive.enable = ['GDRIVE_LIST']\n",
    );
    assert!(prefixes.tool_prefixes.may_be_of("GDRIVE_LIST", "drive"));
    assert_eq!(options.preload, Preload::Tools(texts(&["GMAIL_SEND_EMAIL"])));
    assert_eq!(options.workbench, Some(false));
    assert_eq!(
        options.multi_account,
        Some(MultiAccount {
            max: 3,
            explicit: true,
            pins: Pins::Chosen,
            reinitiate: true,
        })
    );
    assert_eq!(options.callback_url.unwrap().as_str(), "https://app.example/done");
    assert_eq!(options.webhook_secret.unwrap().expose(), "whsec_1");
    let tags = Tags {
        enable: texts(&["readOnlyHint"]),
        disable: texts(&["destructiveHint"]),
    };
    assert_eq!(options.tags, tags);
    let github = ToolChoice::Disable(texts(&["GITHUB_DELETE_A_REPOSITORY"]));
    assert_eq!(options.tools["github"], github);
    assert_eq!(
        options.tools["gmail"],
        ToolChoice::Enable(texts(&["GMAIL_SEND_EMAIL"]))
    );
    assert!(matches!(&options.tools["slack"], ToolChoice::Tags(tags) if tags.enable == ["readOnlyHint"]));
}

#[test]
fn what_is_not_written_is_left_to_composio() {
    let options = composio("");
    assert_eq!(
        (options.preload, options.workbench, options.multi_account),
        (Preload::Nothing, None, None)
    );
    assert!(options.tools.is_empty() && options.tags.is_empty() && options.auth_configs.is_empty());
    assert_eq!((options.callback_url, options.webhook_secret), (None, None));
    assert_eq!(
        composio("toolkits = ['gmail']\npreload = 'all'\n").preload,
        Preload::All
    );
    let defaults = MultiAccount {
        max: 5,
        explicit: false,
        pins: Pins::All,
        reinitiate: false,
    };
    assert_eq!(composio("multi_account = true\n").multi_account, Some(defaults));
}

#[test]
fn what_composio_would_refuse_is_refused_with_what_would_do() {
    for (options, line) in [
        ("preload = 'all'", "c.preload: \"all\" needs `toolkits`"),
        (
            "preload = 'most'",
            "c.preload: must be a list of tools, or \"all\"",
        ),
        ("preload = ['gmail']", "c.preload[0]: must be the slug of a tool"),
        (
            "preload = ['COMPOSIO_SEARCH_TOOLS']",
            "c.preload[0]: is a tool of the Tool Router itself",
        ),
        (
            "toolkits = ['gmail']\npreload = ['GITHUB_X']",
            "c.preload[0]: is of no toolkit among",
        ),
        (
            "preload = ['GITHUB_X']\ntools = { github = { disable = ['GITHUB_X'] } }",
            "c.preload[0]: is left out by `tools.github`",
        ),
        (
            "toolkits = ['gmail']\npreload = 'all'\nmulti_account = true",
            "c.multi_account: does not go with preload = \"all\"",
        ),
        (
            "multi_account_max = 3",
            "c.multi_account_max: goes with multi_account",
        ),
        (
            "multi_account = true\nmulti_account_max = 11",
            "c.multi_account_max: must be a whole number from 2 to 10",
        ),
        (
            "multi_account_explicit = true",
            "c.multi_account_explicit: goes with multi_account",
        ),
        (
            "multi_account_pins = 'chosen'",
            "c.multi_account_pins: goes with multi_account",
        ),
        (
            "multi_account_reinitiate = true",
            "c.multi_account_reinitiate: goes with multi_account",
        ),
        (
            "multi_account = true\nmulti_account_pins = 'first'",
            "c.multi_account_pins: must be \"all\" or \"chosen\"",
        ),
        ("tags = ['readonly']", "c.tags[0]: must be one of readOnlyHint"),
        (
            "auth_configs = { gmail = 'x' }",
            "c.auth_configs.gmail: must be the id of an auth config",
        ),
        (
            "auth_configs = { Gmail = 'ac_1' }",
            "c.auth_configs.Gmail: must be the slug of a toolkit",
        ),
        (
            "toolkits = ['slack']\nauth_configs = { gmail = 'ac_1' }",
            "c.auth_configs.gmail: is not among `toolkits`",
        ),
        (
            "tools = { gmail = { enable = ['GITHUB_X'] } }",
            "c.tools.gmail.enable[0]: must be the slug of a tool of gmail",
        ),
        (
            "tools = { gmail = { enable = [], disable = [] } }",
            "c.tools.gmail: must have one of",
        ),
        (
            "tools = { gmail = { only = [] } }",
            "c.tools.gmail.only: unknown key; known here: enable, disable, tags",
        ),
        (
            "tools = { gmail = ['GMAIL_X'] }",
            "c.tools.gmail: must be a table with enable, disable, tags",
        ),
        (
            "tools = { gmail = { disable = ['COMPOSIO_X'] } }",
            "c.tools.gmail.disable[0]: must be the slug",
        ),
        (
            "tool_prefixes = { gmail = 'GMAIL_' }",
            "c.tool_prefixes.gmail: must be how the slugs of its tools begin",
        ),
        (
            "tool_prefixes = { gmail = 'COMPOSIO' }",
            "c.tool_prefixes.gmail: must be how the slugs of its tools begin",
        ),
        (
            "toolkits = ['slack']\ntool_prefixes = { gmail = 'G' }",
            "c.tool_prefixes.gmail: is not among `toolkits`",
        ),
        (
            "callback_url = 'http://app.example/done'",
            "c.callback_url: must begin with https://",
        ),
        ("webhook_secret = ' '", "c.webhook_secret: must be 1 to"),
    ] {
        let problems = problems(&format!("{HEAD}{options}\n"));
        let found = problems
            .iter()
            .any(|problem| problem.contains(&format!(": gateways.{line}")));
        assert!(found, "{options}: {problems:?}");
    }
    let other = "[gateways.c]\nurl = 'https://h/mcp'\npreload = 'all'\n";
    assert!(problems(other)[0].contains("gateways.c.preload: goes with a kind = \"composio\""));
}
