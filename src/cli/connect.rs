//! `toolgate connect`: the snippet that a client needs, with that client's own words.

use std::fmt::Write as _;

use serde_json::json;
use url::Url;

use super::args::{Client, Connect};
use super::output::{print, say};
use super::{Failure, target};
use crate::config::{self, Flags, KEY_VARIABLE, Sources};

/// What a snippet is made of.
#[derive(Clone, Debug)]
struct Endpoint {
    /// What the client calls us.
    name: String,
    /// Our MCP endpoint.
    url: Url,
    /// Whether a key is wanted.
    key: bool,
}

pub(super) fn run(connect: &Connect, flags: Flags) -> Result<(), Failure> {
    let endpoint = endpoint(connect, flags)?;
    let snippet = snippet(connect.client, &endpoint);
    print(&snippet.text)?;
    if endpoint.key && snippet.wants_variable {
        say(&format!(
            "The client reads the key from the environment variable {KEY_VARIABLE}."
        ));
    }
    Ok(())
}

fn endpoint(connect: &Connect, flags: Flags) -> Result<Endpoint, Failure> {
    let name = connect.name.clone();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        let text = "--name must be letters, digits, - and _: clients build the names of tools with it";
        return Err(Failure::Usage(text.to_owned()));
    }
    let given = connect.url.as_deref().map(target::mcp_url).transpose()?;
    let loaded = Sources::read(flags).and_then(|sources| config::load(&sources));
    let config = match (loaded, &given) {
        (Ok(loaded), _) => loaded.config,
        // Somebody else's Toolgate: nothing is known of it but its URL.
        (Err(_), Some(url)) => {
            let url = url.clone();
            return Ok(Endpoint { name, url, key: true });
        }
        (Err(errors), None) => return Err(errors.into()),
    };
    let url = match (given, config.server.public_url) {
        (Some(url), _) => url,
        (None, Some(public)) => target::mcp_url(public.as_str())?,
        (None, None) => target::local_url(&config.server.listen, "/mcp")?,
    };
    let key = config.auth.is_some();
    Ok(Endpoint { name, url, key })
}

/// Text for a client.
struct Snippet {
    text: String,
    /// Whether the client reads the key from the environment.
    wants_variable: bool,
}

fn snippet(client: Client, endpoint: &Endpoint) -> Snippet {
    let text = match client {
        Client::ClaudeCode => claude_code(endpoint),
        Client::ClaudeDesktop => claude_desktop(endpoint),
        Client::Cursor => cursor(endpoint),
        Client::Vscode => vscode(endpoint),
        Client::Windsurf => windsurf(endpoint),
        Client::Gemini => gemini(endpoint),
        Client::Codex => codex(endpoint),
        Client::Chatgpt => chatgpt(endpoint),
        Client::Langchain => langchain(endpoint),
        Client::OpenaiAgents => openai_agents(endpoint),
        Client::Inspector => inspector(endpoint),
        Client::Curl => curl(endpoint),
    };
    let asks = matches!(client, Client::Vscode | Client::ClaudeDesktop | Client::Chatgpt);
    Snippet {
        text,
        wants_variable: !asks,
    }
}

/// A JSON file with one server. `bearer` is how this client writes the key.
fn file(
    comment: &str,
    top: &str,
    endpoint: &Endpoint,
    mut server: serde_json::Value,
    bearer: &str,
) -> String {
    if endpoint.key
        && let Some(server) = server.as_object_mut()
    {
        server.insert(
            "headers".to_owned(),
            json!({ "Authorization": format!("Bearer {bearer}") }),
        );
    }
    let file = json!({ top: { &endpoint.name: server } });
    format!("// {comment}\n{file:#}\n")
}

fn claude_code(endpoint: &Endpoint) -> String {
    let Endpoint { name, url, key } = endpoint;
    let mut command = format!("claude mcp add --transport http {name} {url}");
    if *key {
        let _ = write!(command, " --header \"Authorization: Bearer ${KEY_VARIABLE}\"");
    }
    let server = json!({ "type": "http", "url": url.as_str() });
    let comment = format!("{command}\n// or, in .mcp.json of a project:");
    file(
        &comment,
        "mcpServers",
        endpoint,
        server,
        &format!("${{{KEY_VARIABLE}}}"),
    )
}

fn cursor(endpoint: &Endpoint) -> String {
    let comment = "~/.cursor/mcp.json, or .cursor/mcp.json of a project";
    let server = json!({ "url": endpoint.url.as_str() });
    file(
        comment,
        "mcpServers",
        endpoint,
        server,
        &format!("${{env:{KEY_VARIABLE}}}"),
    )
}

fn windsurf(endpoint: &Endpoint) -> String {
    let comment = "~/.codeium/windsurf/mcp_config.json";
    let server = json!({ "serverUrl": endpoint.url.as_str() });
    file(
        comment,
        "mcpServers",
        endpoint,
        server,
        &format!("${{env:{KEY_VARIABLE}}}"),
    )
}

fn gemini(endpoint: &Endpoint) -> String {
    let comment = "~/.gemini/settings.json";
    let server = json!({ "httpUrl": endpoint.url.as_str() });
    file(
        comment,
        "mcpServers",
        endpoint,
        server,
        &format!("${KEY_VARIABLE}"),
    )
}

/// VS Code asks for the key once and keeps it.
fn vscode(endpoint: &Endpoint) -> String {
    let server = json!({ "type": "http", "url": endpoint.url.as_str() });
    let comment = ".vscode/mcp.json";
    let servers = file(comment, "servers", endpoint, server, "${input:toolgate-key}");
    if !endpoint.key {
        return servers;
    }
    let inputs = json!([{
        "id": "toolgate-key",
        "type": "promptString",
        "description": "Key of Toolgate",
        "password": true
    }]);
    let servers = servers.trim_end().trim_end_matches('}').trim_end();
    let inputs = format!("{inputs:#}").replace('\n', "\n  ");
    format!("{servers},\n  \"inputs\": {inputs}\n}}\n")
}

/// Claude Desktop reads only processes from its file; mcp-remote is one that speaks HTTP.
fn claude_desktop(endpoint: &Endpoint) -> String {
    let mut args = vec!["-y", "mcp-remote", endpoint.url.as_str()];
    if endpoint.url.scheme() == "http" {
        args.push("--allow-http");
    }
    let server = if endpoint.key {
        // No blank after the colon: some systems split arguments there.
        args.extend(["--header", "Authorization:${AUTH_HEADER}"]);
        json!({ "command": "npx", "args": args, "env": { "AUTH_HEADER": "Bearer <the key>" } })
    } else {
        json!({ "command": "npx", "args": args })
    };
    let file = json!({ "mcpServers": { &endpoint.name: server } });
    format!(
        "// claude_desktop_config.json (Settings, Developer, Edit Config). Needs Node.js.\n\
         // A Connector (Settings, Connectors) works without it, but reaches only public HTTPS URLs and sends no key.\n\
         {file:#}\n"
    )
}

fn codex(endpoint: &Endpoint) -> String {
    let Endpoint { name, url, key } = endpoint;
    let mut text = format!("# ~/.codex/config.toml\n[mcp_servers.{name}]\nurl = \"{url}\"\n");
    if *key {
        let _ = writeln!(text, "bearer_token_env_var = \"{KEY_VARIABLE}\"");
    }
    text.push_str("tool_timeout_sec = 120\n");
    text
}

fn chatgpt(endpoint: &Endpoint) -> String {
    let mut text = format!(
        "ChatGPT: Settings, Connectors, Create (developer mode), with the MCP server URL\n\n  {}\n\n",
        endpoint.url
    );
    if endpoint.url.scheme() != "https" {
        text.push_str("ChatGPT reaches only public HTTPS URLs: put a proxy with a certificate in front, and set\nserver.public_url to its URL.\n");
    }
    if endpoint.key {
        text.push_str(
            "ChatGPT sends no key of its own, only OAuth, which this version of Toolgate does not have: the proxy must add\n\
             `Authorization: Bearer …`, and decide by itself who may come in.\n",
        );
    }
    text
}

fn langchain(endpoint: &Endpoint) -> String {
    let Endpoint { name, url, key } = endpoint;
    let import = if *key { "import os\n\n" } else { "" };
    let headers = python_headers(*key, 8);
    format!(
        "# pip install langchain-mcp-adapters\n{import}from langchain_mcp_adapters.client import MultiServerMCPClient\n\n\
         client = MultiServerMCPClient({{\n    \"{name}\": {{\n        \"transport\": \"streamable_http\",\n        \
         \"url\": \"{url}\",\n{headers}    }},\n}})\ntools = await client.get_tools()\n"
    )
}

fn openai_agents(endpoint: &Endpoint) -> String {
    let Endpoint { name, url, key } = endpoint;
    let import = if *key { "import os\n\n" } else { "" };
    let headers = python_headers(*key, 8);
    format!(
        "# pip install openai-agents\n{import}from agents.mcp import MCPServerStreamableHttp\n\n\
         server = MCPServerStreamableHttp(\n    name=\"{name}\",\n    params={{\n        \"url\": \"{url}\",\n{headers}    }},\n    \
         cache_tools_list=True,\n    client_session_timeout_seconds=120,\n)\n"
    )
}

fn python_headers(key: bool, indent: usize) -> String {
    if !key {
        return String::new();
    }
    let blanks = " ".repeat(indent);
    format!("{blanks}\"headers\": {{\"Authorization\": f\"Bearer {{os.environ['{KEY_VARIABLE}']}}\"}},\n")
}

fn inspector(endpoint: &Endpoint) -> String {
    let header = if endpoint.key {
        format!(" \\\n  --header \"Authorization: Bearer ${KEY_VARIABLE}\"")
    } else {
        String::new()
    };
    format!(
        "npx @modelcontextprotocol/inspector --cli {} --transport http --method tools/list{header}\n",
        endpoint.url
    )
}

fn curl(endpoint: &Endpoint) -> String {
    let header = if endpoint.key {
        format!(" \\\n  -H \"Authorization: Bearer ${KEY_VARIABLE}\"")
    } else {
        String::new()
    };
    format!(
        "curl -sS {}{header} \\\n  -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \\\n  \
         -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/list' \\\n  \
         -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{{\"_meta\":{{\
         \"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
         \"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}'\n",
        endpoint.url
    )
}
