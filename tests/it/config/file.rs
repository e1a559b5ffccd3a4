//! The text of the file: keys, types, references, and where a problem is said to be.

use std::time::Duration;

use toolgate::config::Transport;

use super::{load, problems, problems_with};

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_right_one() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\n\n[gateways.brave]\nurl = \"http://localhost/mcp\"\ntimout_ms = 5\n";
    assert_eq!(
        problems(text),
        ["gateways.toml:6: gateways.brave.timout_ms: unknown key, did you mean timeout_ms?"]
    );
    assert_eq!(
        problems("[gateway.brave]\nurl = 'x'\n"),
        ["gateways.toml:1: gateway: unknown key, did you mean gateways?"]
    );
    assert_eq!(
        problems("[tools]\ncolour = 'red'\n"),
        ["gateways.toml:2: tools.colour: unknown key; known here: permitted, prefix, names"]
    );
    assert!(problems("[mcpServers.x]\n")[0].contains("toolgate import"));
}

#[test]
fn all_problems_of_a_file_are_reported_together_in_its_order() {
    let text = r#"
[server]
listen = 8080
drain_timeout_ms = -1
[log]
level = "inof"
[tools]
prefix = "sometimes"
permitted = "fetch"
[gateways.a]
url = "localhost:3001/mcp"
[gateways.b]
command = ["x"]
timeout_ms = "60s"
era = "modren"
[gateways.c]
url = "${NOT_SET_ANYWHERE}"
headers = ["x"]
"#;
    assert_eq!(
        problems(text),
        [
            "gateways.toml:3: server.listen: must be a string, and is a number",
            "gateways.toml:4: server.drain_timeout_ms: must be a whole number from 0 to 3600000",
            "gateways.toml:6: log.level: must be one of off, error, warn, info, debug, trace, or a filter such as \"info,toolgate=debug\"",
            "gateways.toml:8: tools.prefix: must be \"never\" or \"on_conflict\" or \"always\", not \"sometimes\"",
            "gateways.toml:9: tools.permitted: must be a list of strings, and is a string",
            "gateways.toml:11: gateways.a.url: must begin with http:// or https://, not localhost:",
            "gateways.toml:14: gateways.b.timeout_ms: must be a whole number from 100 to 86400000, and is a string",
            "gateways.toml:15: gateways.b.era: must be \"auto\" or \"legacy\" or \"modern\", not \"modren\"; did you mean \"modern\"?",
            "gateways.toml:17: gateways.c.url: variable NOT_SET_ANYWHERE is not set; set it, or give a default: ${NOT_SET_ANYWHERE:-default}",
            "gateways.toml:18: gateways.c.headers: must be a table of strings, and is a list",
        ]
    );
}

#[test]
fn what_is_not_toml_is_reported_with_its_line_and_without_the_text() {
    let problems = problems(
        "[server]\nlisten = \"127.0.0.1:1\"\n[auth]\nkeys = [{ user = \"a\", key = s3cret-value }]\n",
    );
    assert!(
        problems[0].starts_with("gateways.toml:4: not TOML: "),
        "{problems:?}"
    );
    assert!(!problems.concat().contains("s3cret"), "{problems:?}");
}

#[test]
fn a_byte_order_mark_does_not_shift_the_lines() {
    let problems = problems("\u{feff}[server]\nlisen = 'x'\n");
    assert_eq!(
        problems,
        ["gateways.toml:2: server.lisen: unknown key, did you mean listen?"]
    );
}

#[test]
fn references_are_expanded_in_strings_lists_tables_numbers_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    std::fs::write(&secret, "from-file\n").unwrap();
    let text = format!(
        "[gateways.a]\nurl = \"http://${{HOST:-localhost}}:${{PORT}}/mcp\"\ntimeout_ms = \"${{TIMEOUT:-2500}}\"\n\
         required = \"${{REQUIRED}}\"\nheaders = {{ X-Token = \"${{file:{}}}\", X-Other = \"$${{PORT}}\" }}\n\
         [gateways.b]\ncommand = [\"${{PROGRAM}}\", \"--port=${{PORT}}\"]\n",
        secret.display()
    );
    let env = [("PORT", "3001"), ("REQUIRED", "true"), ("PROGRAM", "server")];
    let config = load(&text, &env).unwrap().config;
    let Transport::Http { url, headers, .. } = &config.gateways[0].transport else {
        panic!("http")
    };
    assert_eq!(url.as_str(), "http://localhost:3001/mcp");
    assert_eq!(config.gateways[0].timeout, Duration::from_millis(2_500));
    assert!(config.gateways[0].required);
    let header = |name: &str| {
        headers
            .iter()
            .find(|(header, _)| header == name)
            .unwrap()
            .1
            .expose()
    };
    assert_eq!(header("X-Token"), "from-file");
    assert_eq!(header("X-Other"), "${PORT}");
    let Transport::Stdio { command, .. } = &config.gateways[1].transport else {
        panic!("stdio")
    };
    assert_eq!(command, &["server", "--port=3001"]);
}

#[test]
fn a_missing_variable_is_named_at_the_line_of_the_string_it_stands_in() {
    let text =
        "[gateways.a]\ncommand = [\n  \"x\",\n  \"--key=${A_KEY}\",\n]\n[gateways.a.env]\nB = \"${B_KEY}\"\n";
    assert_eq!(
        problems(text),
        [
            "gateways.toml:4: gateways.a.command[1]: variable A_KEY is not set; set it, or give a default: ${A_KEY:-default}",
            "gateways.toml:7: gateways.a.env.B: variable B_KEY is not set; set it, or give a default: ${B_KEY:-default}",
        ]
    );
}

#[test]
fn a_reference_that_gives_no_number_is_refused_without_printing_it() {
    let text =
        "[gateways.a]\nurl = 'http://localhost/'\ntimeout_ms = '${T}'\nera = '${T}'\nenabled = '${T}'\n";
    let problems = problems_with(text, &[("T", "s3cret")]);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(!problems.concat().contains("s3cret"), "{problems:?}");
}
