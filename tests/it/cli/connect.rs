//! `toolgate connect`: each client's own words.

use serde_json::Value;

use super::{Desk, Done};

const WITH_KEY: &str = "[server]\npublic_url = 'https://tools.example.com'\n[auth]\nkeys = [{ user = 'a', key = '0123456789abcdef' }]\n";

fn connect(client: &str) -> Done {
    let done = Desk::with(WITH_KEY).run(&["connect", client]);
    assert_eq!(done.code, 0, "{client}: {}", done.err);
    assert!(
        !done.out.contains("0123456789abcdef"),
        "no key is printed: {}",
        done.out
    );
    assert!(done.out.contains("https://tools.example.com/mcp"), "{}", done.out);
    done
}

/// Returns the JSON of a snippet, without the lines that say where it goes.
fn json(text: &str) -> Value {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("//")).collect();
    serde_json::from_str(&lines.join("\n")).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn clients_that_read_json_get_their_own_keys_and_variables() {
    for (client, top, url, bearer) in [
        ("claude-code", "mcpServers", "url", "Bearer ${TOOLGATE_KEY}"),
        ("cursor", "mcpServers", "url", "Bearer ${env:TOOLGATE_KEY}"),
        ("vscode", "servers", "url", "Bearer ${input:toolgate-key}"),
        (
            "windsurf",
            "mcpServers",
            "serverUrl",
            "Bearer ${env:TOOLGATE_KEY}",
        ),
        ("gemini", "mcpServers", "httpUrl", "Bearer $TOOLGATE_KEY"),
    ] {
        let file = json(&connect(client).out);
        let server = &file[top]["toolgate"];
        assert_eq!(server[url], "https://tools.example.com/mcp", "{client}");
        assert_eq!(server["headers"]["Authorization"], bearer, "{client}");
        let others = ["url", "serverUrl", "httpUrl"]
            .into_iter()
            .filter(|key| *key != url);
        assert!(
            others.into_iter().all(|key| server.get(key).is_none()),
            "{client}"
        );
    }
}

#[test]
fn types_stand_where_a_client_wants_them() {
    assert_eq!(
        json(&connect("claude-code").out)["mcpServers"]["toolgate"]["type"],
        "http"
    );
    let vscode = json(&connect("vscode").out);
    assert_eq!(vscode["servers"]["toolgate"]["type"], "http");
    assert_eq!(vscode["inputs"][0]["id"], "toolgate-key");
    assert_eq!(vscode["inputs"][0]["password"], true);
    assert!(
        connect("claude-code")
            .out
            .contains("claude mcp add --transport http toolgate https://tools.example.com/mcp")
    );
}

#[test]
fn claude_desktop_gets_a_bridge() {
    let server = json(&connect("claude-desktop").out)["mcpServers"]["toolgate"].clone();
    assert_eq!(server["command"], "npx");
    let args: Vec<&str> = server["args"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(
        args,
        [
            "-y",
            "mcp-remote",
            "https://tools.example.com/mcp",
            "--header",
            "Authorization:${AUTH_HEADER}"
        ]
    );
    assert_eq!(server["env"]["AUTH_HEADER"], "Bearer <the key>");
}

#[test]
fn codex_gets_toml_with_the_name_of_the_variable() {
    let file: toml::Table = connect("codex").out.parse().unwrap();
    let server = &file["mcp_servers"]["toolgate"];
    assert_eq!(server["url"].as_str(), Some("https://tools.example.com/mcp"));
    assert_eq!(server["bearer_token_env_var"].as_str(), Some("TOOLGATE_KEY"));
    assert!(server.get("headers").is_none());
}

#[test]
fn programs_get_code_and_shells_get_commands() {
    for (client, parts) in [
        (
            "langchain",
            [
                "MultiServerMCPClient",
                "\"transport\": \"streamable_http\"",
                "os.environ['TOOLGATE_KEY']",
            ],
        ),
        (
            "openai-agents",
            [
                "MCPServerStreamableHttp",
                "cache_tools_list=True",
                "os.environ['TOOLGATE_KEY']",
            ],
        ),
        (
            "inspector",
            [
                "@modelcontextprotocol/inspector --cli",
                "--transport http",
                "Bearer $TOOLGATE_KEY",
            ],
        ),
        (
            "curl",
            [
                "Mcp-Method: tools/list",
                "MCP-Protocol-Version: 2026-07-28",
                "Bearer $TOOLGATE_KEY",
            ],
        ),
        ("chatgpt", ["Connectors", "OAuth", "the proxy must add"]),
    ] {
        let out = connect(client).out;
        for part in parts {
            assert!(out.contains(part), "{client}: {part}: {out}");
        }
    }
}

#[test]
fn without_keys_no_snippet_speaks_of_one() {
    let desk = Desk::empty();
    for client in [
        "claude-code",
        "claude-desktop",
        "cursor",
        "vscode",
        "windsurf",
        "gemini",
        "codex",
        "langchain",
        "openai-agents",
        "inspector",
        "curl",
    ] {
        let done = desk.run(&["connect", client]);
        assert!(
            done.out.contains("http://127.0.0.1:8080/mcp"),
            "{client}: {}",
            done.out
        );
        let text = format!("{}{}", done.out, done.err);
        for word in [
            "Authorization",
            "TOOLGATE_KEY",
            "inputs",
            "bearer_token",
            "import os",
        ] {
            assert!(!text.contains(word), "{client}: {word}: {text}");
        }
    }
}

#[test]
fn a_given_url_and_name_are_used() {
    let done = Desk::empty().run(&["connect", "cursor", "--url", "http://other:9", "--name", "work"]);
    assert_eq!(json(&done.out)["mcpServers"]["work"]["url"], "http://other:9/mcp");
    assert_eq!(Desk::empty().run(&["connect", "cursor", "--name", "a b"]).code, 2);
    assert_eq!(Desk::with("wrong").run(&["connect", "cursor"]).code, 2);
}
