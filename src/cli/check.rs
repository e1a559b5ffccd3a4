//! `toolgate check`: what the configuration comes to, without binding or starting anything.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::table::Table;
use super::{Failure, output};
use crate::config::{self, Config, Gateway, Loaded, Sources, Transport};

pub(super) fn run(sources: &Sources) -> Result<(), Failure> {
    let mut loaded = config::load(sources)?;
    let path = sources.env.get("PATH").map_or("", String::as_str);
    loaded.warnings.extend(missing_programs(&loaded.config, path));
    output::print(&report(sources, &loaded))?;
    for warning in &loaded.warnings {
        output::say(&format!("warning: {warning}"));
    }
    Ok(())
}

fn report(sources: &Sources, loaded: &Loaded) -> String {
    let config = &loaded.config;
    let mut text = String::new();
    let from = sources
        .file
        .as_ref()
        .map_or("none; the environment and the defaults", |file| &file.name);
    let _ = writeln!(text, "file       {from}");
    let _ = writeln!(text, "listen     {}", config.server.listen);
    let users = config.auth.as_ref().map_or_else(
        || "one local user, no key needed".to_owned(),
        |auth| {
            let users: BTreeSet<&str> = auth.keys.iter().map(|key| key.user.as_str()).collect();
            users.into_iter().collect::<Vec<_>>().join(", ")
        },
    );
    let _ = writeln!(text, "users      {users}");
    let permitted = config.tools.permitted.as_ref();
    let permitted = permitted.map_or_else(|| "all tools".to_owned(), |globs| globs.join(", "));
    let _ = writeln!(text, "permitted  {permitted}\n");
    text.push_str(&gateways(loaded).text());
    text
}

fn gateways(loaded: &Loaded) -> Table {
    let mut table = Table::new(&[
        "GATEWAY",
        "TRANSPORT",
        "ERA",
        "TIMEOUT",
        "IN FLIGHT",
        "REQUIRED",
        "PERMITTED",
        "TARGET",
    ]);
    for gateway in &loaded.config.gateways {
        let word = if gateway.required { "yes" } else { "no" };
        table.row(vec![
            gateway.name.to_string(),
            gateway.transport.name().to_owned(),
            gateway.transport.era().name().to_owned(),
            format!("{:?}", gateway.timeout),
            gateway.in_flight_max.to_string(),
            word.to_owned(),
            permitted(gateway),
            gateway.transport.target(),
        ]);
    }
    for disabled in &loaded.disabled {
        let mut row = vec![disabled.name.clone()];
        row.extend(["off", "-", "-", "-", "-", "-"].map(ToOwned::to_owned));
        row.push(disabled.reason.clone());
        table.row(row);
    }
    table
}

fn permitted(gateway: &Gateway) -> String {
    let mut text = gateway
        .allow
        .as_ref()
        .map_or_else(|| "all".to_owned(), |allow| allow.join(" "));
    if gateway.allow.as_ref().is_some_and(Vec::is_empty) {
        "none".clone_into(&mut text);
    }
    if !gateway.deny.is_empty() {
        let _ = write!(text, ", not {}", gateway.deny.join(" "));
    }
    text
}

/// Says which programs are not there: the gateway would stay down.
fn missing_programs(config: &Config, path: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for gateway in &config.gateways {
        let Transport::Stdio { command, cwd, .. } = &gateway.transport else {
            continue;
        };
        let Some(program) = command.first() else {
            continue;
        };
        let there = if program.contains('/') {
            cwd.as_deref().unwrap_or(Path::new("")).join(program).is_file() || Path::new(program).is_file()
        } else {
            std::env::split_paths(path).any(|folder| folder.join(program).is_file())
        };
        if !there {
            missing.push(format!(
                "gateways.{}.command: {program} is not there",
                gateway.name
            ));
        }
        if let Some(cwd) = cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
            missing.push(format!(
                "gateways.{}.cwd: {} is no folder",
                gateway.name,
                cwd.display()
            ));
        }
    }
    missing
}
