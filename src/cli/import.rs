//! `toolgate import`: a client's JSON file of MCP servers becomes gateways.

mod jsonc;
mod server;
mod write;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use super::Failure;
use super::args::{From, Import};
use super::output::{print, say};
use crate::config::{self, Flags, Sources};
use crate::limits;
use server::Dialect;

pub(super) fn run(import: &Import, flags: &Flags) -> Result<(), Failure> {
    let text = read(&import.file)?;
    let servers = servers(&text, &import.file)?;
    let dialect = dialect(import, &servers);
    let sources = Sources::new(None, config::environment(), flags.clone());
    let there = if import.write {
        written(&sources)?
    } else {
        String::new()
    };
    let mut taken = names(&there)?;
    let mut blocks = Vec::new();
    for (name, server) in &servers.0 {
        let own = server::name(name);
        if import.write && taken.contains(&own) {
            say(&format!("{name}: gateways.{own} is there already; left as it is"));
            continue;
        }
        let own = unused(&own, &taken);
        taken.insert(own.clone());
        match server::block(&own, name, server, dialect) {
            Ok(block) => blocks.push(block),
            Err(reason) => say(&format!("{name}: left out: {reason}")),
        }
    }
    let text = write::text(&blocks, &import.file);
    if import.write {
        append(&sources.path(), &there, &text)?;
        say(&format!(
            "{} gateways written to {}",
            blocks.len(),
            sources.path().display()
        ));
    } else {
        print(&text)?;
    }
    let variables: BTreeSet<&str> = blocks
        .iter()
        .flat_map(|block| &block.variables)
        .map(String::as_str)
        .collect();
    if !variables.is_empty() {
        let variables: Vec<&str> = variables.into_iter().collect();
        say(&format!("set before the start: {}", variables.join(", ")));
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    let max = limits::CONFIG_FILE_BYTES_MAX as u64;
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(max).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(max).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    Ok(text)
}

/// Servers by name, in the order of the file.
#[derive(Debug, Default)]
struct Servers(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Servers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("servers by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Servers, A::Error> {
                let mut servers = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    servers.push(entry);
                }
                Ok(Servers(servers))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Where clients keep their servers: `mcpServers` mostly, `servers` in VS Code, below `mcp` in its settings.
#[derive(Debug, Deserialize)]
struct Top {
    #[serde(rename = "mcpServers")]
    mcp_servers: Option<Servers>,
    servers: Option<Servers>,
    mcp: Option<Below>,
}

#[derive(Debug, Deserialize)]
struct Below {
    servers: Option<Servers>,
}

fn servers(text: &str, path: &Path) -> Result<Servers, Failure> {
    let top: Top = serde_json::from_str(&jsonc::plain(text))
        .map_err(|error| Failure::Failed(format!("{}:{}: {error}", path.display(), error.line())))?;
    let below = top.mcp.and_then(|mcp| mcp.servers);
    top.mcp_servers.or(top.servers).or(below).ok_or_else(|| {
        let text = "no servers in it: neither `mcpServers` nor `servers` is there";
        Failure::Failed(format!("{}: {text}", path.display()))
    })
}

/// Gemini CLI writes `httpUrl` for Streamable HTTP, so that its `url` is the old transport.
fn dialect(import: &Import, servers: &Servers) -> Dialect {
    let named = import.file.components().any(|part| part.as_os_str() == ".gemini");
    let speaks = servers
        .0
        .iter()
        .any(|(_, server)| server.get("httpUrl").is_some());
    match import.from {
        Some(From::Gemini) => Dialect::Gemini,
        None if named || speaks => Dialect::Gemini,
        _ => Dialect::Other,
    }
}

/// Returns what stands in the configuration file.
fn written(sources: &Sources) -> Result<String, Failure> {
    let path = sources.path();
    if !path.exists() {
        return Ok(String::new());
    }
    read(&path)
}

fn names(there: &str) -> Result<BTreeSet<String>, Failure> {
    let table: toml::Table = there.parse().map_err(|_| {
        Failure::Usage("the configuration file is not TOML; `toolgate check` says where".to_owned())
    })?;
    let gateways = table.get("gateways").and_then(toml::Value::as_table);
    Ok(gateways
        .into_iter()
        .flat_map(toml::Table::keys)
        .cloned()
        .collect())
}

fn unused(name: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..=limits::GATEWAYS_MAX).map(|number| {
        let number = format!("-{number}");
        let base: String = name
            .chars()
            .take(limits::GATEWAY_NAME_BYTES_MAX - number.len())
            .collect();
        format!("{base}{number}")
    });
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| name.to_owned())
}

fn append(path: &Path, there: &str, text: &str) -> Result<(), Failure> {
    let gap = match there {
        "" => "",
        there if there.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let written = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{gap}{text}").as_bytes()));
    written.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}
