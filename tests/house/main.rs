//! Keeps the house in order: reads `src/` and fails when an import points to the same rung or upward, when a top module
//! stands on no rung, when a file is longer than [`LINES_MAX`], and when a file is called `mod.rs`.
//!
//! Test code is read like any other: what a test needs from a higher rung is a test of the higher rung. `main.rs` and
//! `lib.rs` are on top of everything. Links in comments, and text in strings, are no imports.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot read the sources fails"
)]

mod scan;
mod tables;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use scan::{code_of, tokens};

/// The rungs, lowest first. Names on one rung do not import each other, the first rung aside.
const RUNGS: [&[&str]; 17] = [
    &["limits", "ids", "clock", "supervisor", "seal"],
    &["protocol"],
    &["config", "telemetry"],
    &["store"],
    &["identity"],
    &["catalog"],
    &["policy"],
    &["exchange"],
    &["integrations"],
    &["upstream"],
    &["proxy"],
    &["web"],
    &["server", "inbound", "admin", "console"],
    &["tasks"],
    &["app"],
    &["cli"],
    // The roots: they name every module.
    &["lib", "main"],
];

/// No file is longer; 400 is the aim.
const LINES_MAX: usize = 500;

fn rung(module: &str) -> Option<usize> {
    RUNGS.iter().position(|names| names.contains(&module))
}

/// A file of `src/`.
struct Source {
    /// Below `src/`, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The top module that the file belongs to.
    fn top(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many `super` lead from the file to the root of the package.
    fn depth(&self) -> usize {
        self.path.split('/').count()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders): (Vec<PathBuf>, _) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of src/") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).expect("text"),
        path: path
            .strip_prefix(&root)
            .expect("below src/")
            .to_str()
            .expect("a name in UTF-8")
            .replace('\\', "/"),
    };
    found.into_iter().map(read).collect()
}

/// The top modules that a file names, with the line of each: behind `crate::`, in `crate::{…}`, and behind as many
/// `super::` as lead to the root. `*` stands for all of them.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let code = code_of(&source.text);
    let tokens = tokens(&code);
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|(_, token)| *token == text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut next = at + 1;
        if is(at, "crate") && is(next, "::") && !(at > 1 && is(at - 1, "::")) {
            next += 1;
            found.extend(named(&tokens, next));
        } else if is(at, "super") && is(next, "::") {
            let mut ups = 1;
            next += 1;
            while is(next, "super") && is(next + 1, "::") {
                (ups, next) = (ups + 1, next + 2);
            }
            // Inside an inline module one `super` more is needed; a child's name is not a top module's then.
            if ups >= source.depth() {
                let outside = |(_, name): &(usize, String)| rung(name).is_some();
                found.extend(named(&tokens, next).into_iter().filter(outside));
            }
        }
        at = next;
    }
    found
}

/// The first names of a path, or of each path of a group.
fn named(tokens: &[(usize, &str)], at: usize) -> Vec<(usize, String)> {
    let Some((line, first)) = tokens.get(at) else {
        return Vec::new();
    };
    if *first != "{" {
        return vec![(*line, (*first).to_owned())];
    }
    let (mut found, mut open, mut begins) = (Vec::new(), 0, false);
    for (line, token) in &tokens[at..] {
        match *token {
            "{" => (open, begins) = (open + 1, open == 0),
            "}" if open == 1 => break,
            "}" => open -= 1,
            "," => begins = open == 1,
            name if begins => {
                found.push((*line, name.to_owned()));
                begins = false;
            }
            _ => {}
        }
    }
    found
}

/// What is wrong with the imports of a file.
fn wrong_imports(source: &Source) -> Vec<String> {
    let top = source.top();
    let Some(own) = rung(top) else {
        return vec![format!(
            "src/{}: `{top}` stands on no rung of tests/house",
            source.path
        )];
    };
    let wrong = |(line, name): (usize, String)| {
        let why = match rung(&name) {
            _ if name == top => return None,
            Some(0) if own == 0 => return None,
            Some(other) if other < own => return None,
            Some(other) if other == own => format!("`{name}` stands on the same rung as `{top}`"),
            Some(_) => format!("`{name}` stands above `{top}`"),
            None => format!("`{name}` is no module on a rung of tests/house"),
        };
        Some(format!("src/{}:{line}: {why}", source.path))
    };
    imports(source).into_iter().filter_map(wrong).collect()
}

fn told(mut faults: Vec<String>) -> String {
    faults.dedup();
    faults.iter().fold(String::new(), |mut text, fault| {
        let _ = write!(text, "\n  {fault}");
        text
    })
}

#[test]
fn imports_run_downward() {
    let sources = sources();
    assert!(sources.len() > 50, "src/ was not found");
    let faults: Vec<String> = sources.iter().flat_map(wrong_imports).collect();
    assert!(faults.is_empty(), "imports must run downward:{}", told(faults));
}

#[test]
fn files_are_short() {
    let faults: Vec<String> = sources()
        .iter()
        .map(|source| (source.text.lines().count(), &source.path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("src/{path}: {lines} lines"))
        .collect();
    assert!(
        faults.is_empty(),
        "at most {LINES_MAX} lines (find the border):{}",
        told(faults)
    );
}

#[test]
fn a_module_is_a_file_beside_its_folder() {
    let sources = sources();
    let faults: Vec<String> = sources
        .iter()
        .filter(|source| source.path == "mod.rs" || source.path.ends_with("/mod.rs"))
        .map(|source| format!("src/{}", source.path))
        .collect();
    assert!(
        faults.is_empty(),
        "`name.rs` beside `name/`, no `mod.rs`:{}",
        told(faults)
    );
}

/// What the rules say of a text.
fn judged(path: &str, text: &str) -> Vec<String> {
    let source = Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    wrong_imports(&source)
}

#[test]
fn an_import_upward_is_found_however_it_is_written() {
    for text in [
        "use crate::server::Server;",
        "use crate::{limits, server};",
        "use crate::{\n    limits::{A, B},\n    proxy::Proxy,\n};",
        "fn f() { crate::proxy::call() }",
        "fn f(x: &crate :: cli :: Args) {}",
        "pub(in crate::cli) fn f() {}",
        "use super::super::server;",
        "mod tests { use super::super::super::server; }",
        "#[cfg(test)]\nmod tests { use crate::app::App; }",
        "fn f<'a>(x: &'a str, y: char) { let q = '\"'; crate::cli::run() }",
        "const A: &str = r#\"quote \" inside\"#; use crate::cli;",
        "const A: char = '\\''; use crate::cli;",
    ] {
        assert_eq!(judged("upstream/gateway.rs", text).len(), 1, "{text}");
    }
}

#[test]
fn an_import_of_a_neighbour_or_of_nobody_is_found() {
    assert_eq!(
        judged("config/load.rs", "\nuse crate::telemetry::Metrics;"),
        ["src/config/load.rs:2: `telemetry` stands on the same rung as `config`"]
    );
    assert_eq!(judged("proxy.rs", "use crate::util::x;").len(), 1);
    assert_eq!(judged("proxy.rs", "use crate::*;").len(), 1);
    assert_eq!(judged("util/text.rs", "").len(), 1, "a module on no rung");
}

#[test]
fn what_runs_downward_or_is_no_import_passes() {
    for (path, text) in [
        ("upstream/gateway.rs", "use crate::{limits::A, policy::Permit};"),
        ("upstream/gateway.rs", "use crate::upstream::breaker;"),
        (
            "upstream/gateway.rs",
            "use super::breaker; mod tests { use super::super::health; }",
        ),
        (
            "upstream/gateway.rs",
            "// use crate::server\n/* crate::cli /* crate::app */ */",
        ),
        ("upstream/gateway.rs", "//! See [`proxy`](crate::proxy)."),
        (
            "upstream/gateway.rs",
            "const A: &str = \"crate::server\\\" crate::cli\";",
        ),
        (
            "upstream/gateway.rs",
            "const A: &str = r##\"crate::server \"# crate::cli\"##;",
        ),
        ("limits.rs", "use crate::clock;"),
        ("catalog.rs", "mod tests { use super::naming; }"),
        ("lib.rs", "pub mod server;"),
        ("cli/run.rs", "use crate::app::App; use crate::server;"),
    ] {
        assert_eq!(judged(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}
