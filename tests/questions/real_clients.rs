//! Real clients of each era answer the questions of every upstream, through the drivers of `tests/kit/clients`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cells::{KINDS, Kind, UPSTREAMS};
use crate::fleet::{ALICE, Fleet, shared};

/// A driver, and the program that runs it.
const SDK1: (&str, &str) = ("node", "sdk1.mjs");
const CLIENT2: (&str, &str) = ("node", "client2.mjs");
const PYTHON: (&str, &str) = ("py/bin/python", "pymcp.py");

#[test]
fn real_clients_of_the_legacy_era_answer_every_upstream() {
    let fleet = shared();
    for client in [SDK1, PYTHON] {
        answers_everything(&fleet, client, "legacy", "2025-11-25");
    }
}

#[test]
fn real_clients_of_the_modern_era_answer_every_upstream() {
    let fleet = shared();
    for client in [CLIENT2, PYTHON] {
        answers_everything(&fleet, client, "modern", "2026-07-28");
    }
}

fn answers_everything(fleet: &Fleet, client: (&str, &str), era: &str, version: &str) {
    let cells: Vec<_> = UPSTREAMS
        .into_iter()
        .flat_map(|upstream| KINDS.map(|kind| (upstream.gateway, kind)))
        .collect();
    let steps: Vec<Value> = cells
        .iter()
        .map(|(gateway, kind)| {
            let arguments = json!({ "label": client.1, "kind": kind.name(), "rounds": 2, "count": 2 });
            json!({ "op": "call", "name": format!("{gateway}__ask"), "arguments": arguments })
        })
        .collect();
    let report = play(
        client,
        &json!({
            "url": fleet.mcp(), "key": ALICE, "era": era, "steps": steps,
            "answers": { "elicitation": { "action": "accept", "content": { "name": "Ada" } }, "sampling": "sung", "roots": [{ "uri": "file:///srv/here", "name": "here" }] },
        }),
    );
    assert_eq!(report["version"], version, "{report:#}");
    for ((gateway, kind), step) in cells.iter().zip(report["steps"].as_array().unwrap()) {
        let heard = &step["value"]["structuredContent"]["heard"];
        let rounds = heard
            .as_array()
            .unwrap_or_else(|| panic!("{gateway} {kind:?}: {step:#}"));
        assert_eq!(rounds.len(), 2, "{gateway} {kind:?}: {heard}");
        for answer in rounds.iter().flat_map(|round| round.as_array().unwrap()) {
            let result = &answer["result"];
            let said = match kind {
                Kind::Form => &result["content"]["name"],
                Kind::Url => &result["action"],
                Kind::Sampling => &result["content"]["text"],
                Kind::Roots => &result["roots"][0]["uri"],
            };
            let expected = match kind {
                Kind::Form => "Ada",
                Kind::Url => "accept",
                Kind::Sampling => "sung",
                Kind::Roots => "file:///srv/here",
            };
            assert_eq!(said, expected, "{gateway} {kind:?}: {heard}");
        }
    }
    let asked = report["questions"].as_array().unwrap().len();
    assert_eq!(asked, cells.len() * 4, "each question once");
}

fn play((program, driver): (&str, &str), job: &Value) -> Value {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let deps = std::env::var_os("TOOLGATE_DEPS").map_or_else(|| top.join(".deps"), PathBuf::from);
    let installed = deps
        .join("npm/node_modules/@modelcontextprotocol/client")
        .exists();
    assert!(installed, "the real clients are not installed: run `make deps`");
    let program = match program {
        "node" => PathBuf::from(program),
        program => deps.join(program),
    };
    let mut child = Command::new(program)
        .arg(top.join("tests/kit/clients").join(driver))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(job.to_string().as_bytes()).unwrap();
    drop(stdin);
    // A driver ends by itself after its own time limit.
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{driver} gave no report: {error}\n{told}"))
}
