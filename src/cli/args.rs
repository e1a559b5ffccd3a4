//! The words of the command line and their help. What is said here must be enough to act on.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const AFTER_HELP: &str = "\
Begin here:
  toolgate import ~/.cursor/mcp.json --write   take over the servers of a client
  toolgate check                               look at what the configuration comes to
  toolgate serve                               serve them all at http://127.0.0.1:8080/mcp
  toolgate connect claude-code                 print what the client needs

Exit codes:
  0  done
  1  it did not work: the tool answered an error, nothing answers, not ready
  2  the command line or the configuration is wrong";

/// One MCP endpoint in front of many tool gateways.
#[derive(Debug, Parser)]
#[command(
    name = "toolgate",
    version,
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100
)]
pub(super) struct Arguments {
    /// The configuration file [default: gateways.toml, if it is there; environment: `TOOLGATE_CONFIG`]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the gateways' tools at one URL until SIGTERM or Ctrl-C
    #[command(after_help = "\
Without [auth] and TOOLGATE_KEY it serves one local user, on loopback addresses only.
SIGHUP reads the configuration again; so does a change of the file.

  toolgate serve --config gateways.toml
  TOOLGATE_KEY=tg_… toolgate serve --listen 0.0.0.0:8080")]
    Serve(Serve),
    /// Check the configuration and print what it comes to, without binding or starting anything
    #[command(
        after_help = "Ends with 2 when anything is wrong, saying file, line, key and what would be right."
    )]
    Check(Check),
    /// List the tools that a running Toolgate offers
    Tools(Tools),
    /// Call a tool
    #[command(after_help = "\
A value is JSON when it parses as JSON, and text otherwise: max=5 is a number, q=rust is text, zip='\"01\"' is text.
Ends with 1 when the tool answers an error.

  toolgate call fetch url=https://example.com max_length=500
  toolgate call create_issue --args '{\"title\": \"Broken\", \"labels\": [\"bug\"]}'
  cat arguments.json | toolgate call create_issue -")]
    Call(Call),
    /// Turn a client's JSON file of MCP servers into gateways
    #[command(after_help = "\
Reads mcp.json and its like of Claude Desktop, Claude Code, Cursor, VS Code, Windsurf and Gemini CLI.

  toolgate import ~/.cursor/mcp.json > gateways.toml
  toolgate import .vscode/mcp.json --write")]
    Import(Import),
    /// Print what a client needs to connect here
    Connect(Connect),
    /// Ask a running Toolgate whether it is ready: 0 when it is, 1 when not
    #[command(after_help = "For container health checks: HEALTHCHECK CMD [\"toolgate\", \"health\"]")]
    Health(Health),
    /// Make and hash keys
    Keys(Keys),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address and port [default: 127.0.0.1:8080; environment: `TOOLGATE_LISTEN`]
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
    /// What to log: a level, or a filter such as info,toolgate=debug [environment: `TOOLGATE_LOG`]
    #[arg(long, value_name = "FILTER")]
    pub(super) log: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Check as if this address were served
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
    /// Print every key of the configuration, with type, default and meaning, as Markdown
    #[arg(long)]
    pub(super) keys: bool,
}

/// Which Toolgate to talk to.
#[derive(Debug, Args)]
pub(super) struct At {
    /// The MCP endpoint [default: where the configuration listens; if nothing does, the gateways are started for this
    /// one command]
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// The key to send; better in the environment as `TOOLGATE_KEY`, where other users cannot see it
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Tools {
    /// Print the list as JSON, as it came
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) at: At,
}

#[derive(Debug, Args)]
pub(super) struct Call {
    /// The tool's name, as `toolgate tools` prints it
    pub(super) tool: String,
    /// Arguments; a lone `-` reads them as a JSON object from stdin
    #[arg(value_name = "KEY=VALUE")]
    pub(super) arguments: Vec<String>,
    /// Arguments as a JSON object; KEY=VALUE goes over it
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub(super) args: Option<String>,
    /// Print the whole result as JSON, as it came
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) at: At,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The client's file; `-` reads stdin
    pub(super) file: PathBuf,
    /// Append to the configuration file rather than print
    #[arg(long)]
    pub(super) write: bool,
    /// Whose file it is, where the file itself does not tell (Gemini CLI means the old transport by `url`)
    #[arg(long, value_name = "CLIENT")]
    pub(super) from: Option<From>,
}

/// Clients whose files read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum From {
    /// Claude Desktop, Claude Code, Cursor, VS Code, Windsurf.
    Other,
    /// Gemini CLI.
    Gemini,
}

#[derive(Debug, Args)]
pub(super) struct Connect {
    /// The client
    pub(super) client: Client,
    /// The MCP endpoint as the client reaches it [default: `server.public_url`, or where the configuration listens]
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// What the client shall call it
    #[arg(long, value_name = "NAME", default_value = "toolgate")]
    pub(super) name: String,
}

/// Clients with a snippet of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    ClaudeCode,
    ClaudeDesktop,
    Cursor,
    Vscode,
    Windsurf,
    Gemini,
    Codex,
    Chatgpt,
    Langchain,
    OpenaiAgents,
    Inspector,
    Curl,
}

#[derive(Debug, Args)]
pub(super) struct Health {
    /// The URL to ask [default: /readyz where the configuration listens]
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    pub(super) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a random key and print it with its hash
    New,
    /// Print the line of a key's hash for [auth]
    Hash {
        /// The key; better on stdin, where other users and the shell's history cannot see it
        key: Option<String>,
    },
}
