//! `toolgate import`: each client's file becomes gateways that load.

use std::collections::BTreeMap;

use toolgate::config::{self, Config, File, Flags, Loaded, Sources, Transport};

use super::Desk;

/// Imports a file and returns the printed text.
fn imported(name: &str, text: &str) -> String {
    let desk = Desk::empty();
    desk.write(name, text);
    let done = desk.run(&["import", name]);
    assert_eq!(done.code, 0, "{}", done.err);
    done.out
}

fn loaded(text: &str, env: &[(&str, &str)]) -> Loaded {
    let file = File {
        name: "gateways.toml".to_owned(),
        text: text.to_owned(),
    };
    let env: BTreeMap<String, String> = env
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    config::load(&Sources::new(Some(file), env, Flags::default()))
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn of<'c>(config: &'c Config, name: &str) -> &'c config::Gateway {
    config
        .gateways
        .iter()
        .find(|gateway| gateway.name.as_str() == name)
        .unwrap_or_else(|| panic!("{name} is there"))
}

fn header<'c>(config: &'c Config, name: &str, header: &str) -> &'c str {
    let (Transport::Http { headers, .. } | Transport::Sse { headers, .. }) = &of(config, name).transport
    else {
        panic!("{name} has headers");
    };
    headers
        .iter()
        .find(|(name, _)| name == header)
        .unwrap()
        .1
        .expose()
}

#[test]
fn claude_desktop_and_claude_code() {
    let text = imported(
        "claude_desktop_config.json",
        r#"{ "mcpServers": {
            "Brave Search": { "command": "npx", "args": ["-y", "@brave/brave-search-mcp-server"], "env": { "BRAVE_API_KEY": "plain-secret" } },
            "gh": { "type": "http", "url": "https://api.example.com/mcp", "headers": { "Authorization": "Bearer ${GH_TOKEN}", "X-Region": "${REGION:-eu}" } },
            "old": { "type": "sse", "url": "https://old.example.com/events" } } }"#,
    );
    let config = loaded(&text, &[("GH_TOKEN", "t")]).config;
    let names: Vec<&str> = config
        .gateways
        .iter()
        .map(|gateway| gateway.name.as_str())
        .collect();
    assert_eq!(names, ["brave-search", "gh", "old"], "in the order of the file");
    assert_eq!(
        of(&config, "brave-search").transport.target(),
        "npx -y @brave/brave-search-mcp-server"
    );
    assert!(
        text.contains("# the value of BRAVE_API_KEY stands here in plain text; better ${BRAVE_API_KEY}"),
        "{text}"
    );
    assert_eq!(header(&config, "gh", "Authorization"), "Bearer t");
    assert_eq!(header(&config, "gh", "X-Region"), "eu");
    assert!(matches!(of(&config, "old").transport, Transport::Sse { .. }));
}

#[test]
fn cursor() {
    let text = imported(
        "mcp.json",
        r#"{
            // servers of this project
            "mcpServers": {
                "remote": { "url": "https://h/mcp", "headers": { "Authorization": "Bearer ${env:GW_TOKEN}" }, },
                "local": { "command": "${userHome}/bin/server", "args": ["--root", "${workspaceFolder}", "a $5 b"], "disabled": true },
            },
        }"#,
    );
    let loaded = loaded(&text, &[("GW_TOKEN", "t"), ("HOME", "/home/me")]);
    assert_eq!(header(&loaded.config, "remote", "Authorization"), "Bearer t");
    assert_eq!(loaded.disabled[0].name, "local");
    let on = text.replace("enabled = false\n", "");
    let config = self::loaded(&on, &[("GW_TOKEN", "t"), ("HOME", "/home/me")]).config;
    let Transport::Stdio { command, .. } = &of(&config, "local").transport else {
        panic!("stdio")
    };
    assert_eq!(command, &["/home/me/bin/server", "--root", ".", "a $5 b"]);
}

#[test]
fn vscode_with_inputs() {
    let file = r#"{
        "inputs": [{ "id": "api-key", "type": "promptString", "password": true }],
        "servers": {
            "tool": { "type": "stdio", "command": "uvx", "args": ["mcp-server-fetch"], "env": { "API_KEY": "${input:api-key}" }, "envFile": ".env" },
            "web": { "type": "http", "url": "https://h/sse" } } }"#;
    let text = imported(".vscode/mcp.json", file);
    assert!(text.contains("API_KEY = \"${API_KEY}\""), "{text}");
    assert!(text.contains("# left out: envFile"), "{text}");
    let config = loaded(&text, &[("API_KEY", "k")]).config;
    assert!(
        matches!(of(&config, "web").transport, Transport::Http { .. }),
        "said to be http, whatever the path"
    );
    // VS Code's user settings hold the same below "mcp".
    let settings = format!("{{ \"editor.fontSize\": 12, \"mcp\": {file} }}");
    assert_eq!(
        imported("settings.json", &settings)
            .lines()
            .skip(1)
            .collect::<Vec<_>>(),
        text.lines().skip(1).collect::<Vec<_>>()
    );
}

#[test]
fn windsurf() {
    let text = imported(
        "mcp_config.json",
        r#"{"mcpServers":{"gw":{"serverUrl":"https://h/mcp","headers":{"Authorization":"Bearer ${env:T}"},"disabledTools":["danger"]}}}"#,
    );
    let config = loaded(&text, &[("T", "t")]).config;
    assert_eq!(of(&config, "gw").transport.target(), "https://h/mcp");
    assert_eq!(of(&config, "gw").deny, ["danger"]);
}

#[test]
fn gemini() {
    let text = imported(
        "settings.json",
        r#"{"theme":"dark","mcpServers":{
            "new":{"httpUrl":"https://h/mcp","headers":{"X-Key":"k-$GK"},"timeout":600000,"includeTools":["a","b(x)"],"excludeTools":["c"],"trust":true},
            "old":{"url":"https://h/events"},
            "short":{"command":"server","timeout":30}}}"#,
    );
    let config = loaded(&text, &[("GK", "v")]).config;
    let new = of(&config, "new");
    assert_eq!(header(&config, "new", "X-Key"), "k-v");
    assert_eq!(new.timeout.as_secs(), 600);
    assert_eq!(
        (new.allow.as_deref(), &new.deny[..]),
        (Some(&["a".to_owned(), "b".to_owned()][..]), &["c".to_owned()][..])
    );
    assert!(
        matches!(of(&config, "old").transport, Transport::Sse { .. }),
        "url is the old transport there"
    );
    assert!(text.contains("# timeout = 30 left out"), "{text}");
}

#[test]
fn the_dialect_may_be_said() {
    let desk = Desk::empty();
    desk.write("a.json", r#"{"mcpServers":{"x":{"url":"https://h/events"}}}"#);
    assert!(!desk.run(&["import", "a.json"]).out.contains("sse"));
    assert!(
        desk.run(&["import", "a.json", "--from", "gemini"])
            .out
            .contains("transport = \"sse\"")
    );
}

#[test]
fn names_are_made_valid_and_stay_apart() {
    let text = imported(
        "mcp.json",
        r#"{"mcpServers":{"My Tool!":{"command":"a"},"my__tool":{"command":"b"},"MY-TOOL":{"command":"c"},"@scope/x":{"command":"d"},"日本":{"command":"e"}}}"#,
    );
    let config = loaded(&text, &[]).config;
    let names: Vec<&str> = config
        .gateways
        .iter()
        .map(|gateway| gateway.name.as_str())
        .collect();
    assert_eq!(names, ["my-tool", "my_tool", "my-tool-2", "scope-x", "gateway"]);
    assert!(text.contains("# called \"My Tool!\" there"), "{text}");
}

#[test]
fn odd_values_arrive_as_they_were() {
    let text = imported(
        "mcp.json",
        r#"{"mcpServers":{"x":{"command":"cmd","args":["/c","server","a \"b\" \\ \n \u0007","${config:x}","pa$$word","$HOME"],"env":{"A.B":"1","N":5}},
            "broken":{"args":[]},"worse":3}}"#,
    );
    let config = loaded(&text, &[("HOME", "/h")]).config;
    let Transport::Stdio { command, env, .. } = &of(&config, "x").transport else {
        panic!("stdio")
    };
    assert_eq!(command[1], "a \"b\" \\ \n \u{7}");
    assert_eq!(&command[2..], ["${config:x}", "pa$$word", "/h"]);
    assert_eq!((env[0].0.as_str(), env[0].1.expose()), ("A.B", "1"));
    assert_eq!(env[1].1.expose(), "5");
    assert_eq!(config.gateways.len(), 1);
}

#[test]
fn a_comment_cannot_be_left() {
    let text = imported(
        "mcp.json",
        "{\"mcpServers\":{\"x\\n[gateways.evil]\\ncommand=['rm']\\n#\":{\"command\":\"a\",\"k\\ney\":1}}}",
    );
    let config = loaded(&text, &[]).config;
    assert_eq!(config.gateways.len(), 1);
}

#[test]
fn writing_appends_and_leaves_what_is_there() {
    let desk = Desk::with("# mine\n[gateways.fetch]\ncommand = ['mine']");
    desk.write(
        "mcp.json",
        r#"{"mcpServers":{"fetch":{"command":"theirs"},"new":{"command":"x","env":{"K":"${env:K}"}}}}"#,
    );
    let done = desk.run(&["import", "mcp.json", "--write"]);
    assert_eq!((done.code, done.out.as_str()), (0, ""));
    assert!(
        done.err.contains("gateways.fetch is there already"),
        "{}",
        done.err
    );
    assert!(done.err.contains("set before the start: K"), "{}", done.err);
    let text = desk.read("gateways.toml");
    assert!(
        text.starts_with("# mine\n[gateways.fetch]\ncommand = ['mine']\n\n"),
        "{text}"
    );
    let config = loaded(&text, &[("K", "k")]).config;
    assert_eq!(of(&config, "fetch").transport.target(), "mine");
    assert_eq!(of(&config, "new").transport.target(), "x");
    let again = desk.run(&["import", "mcp.json", "--write"]);
    assert!(
        again.err.contains("gateways.new is there already"),
        "{}",
        again.err
    );
    assert_eq!(
        loaded(&desk.read("gateways.toml"), &[("K", "k")])
            .config
            .gateways
            .len(),
        2
    );
}

#[test]
fn a_file_is_made_where_there_is_none() {
    let desk = Desk::empty();
    desk.write("mcp.json", r#"{"mcpServers":{"a":{"command":"x"}}}"#);
    assert_eq!(
        desk.run(&["import", "mcp.json", "--write", "--config", "other.toml"])
            .code,
        0
    );
    assert_eq!(loaded(&desk.read("other.toml"), &[]).config.gateways.len(), 1);
}

#[test]
fn what_is_no_file_of_a_client_is_said_with_its_line() {
    let desk = Desk::empty();
    desk.write("bad.json", "{\n\"mcpServers\": {\n\"a\": }\n}");
    desk.write("other.json", "{\"name\": \"x\"}");
    let bad = desk.run(&["import", "bad.json"]);
    assert_eq!(bad.code, 1);
    assert!(bad.err.starts_with("toolgate: bad.json:3: "), "{}", bad.err);
    assert!(
        desk.run(&["import", "other.json"])
            .err
            .contains("neither `mcpServers` nor `servers`")
    );
    assert_eq!(desk.run(&["import", "nowhere.json"]).code, 1);
    let stdin = desk.run_with(&["import", "-"], &[], "{\"servers\":{\"a\":{\"command\":\"x\"}}}");
    assert_eq!(
        (stdin.code, stdin.out.as_str()),
        (0, "[gateways.a]\ncommand = [\"x\"]\n")
    );
}
