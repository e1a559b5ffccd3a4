//! The real clients: each is a driver of `tests/kit` that plays a job and prints a report (`clients/driver.mjs` has the
//! contract). A [`Script`] names its steps, so that a test asks the [`Report`] by name and judges content.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::kit;

/// A real client and the era that it is told to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// npm `@modelcontextprotocol/sdk` 1.x: legacy only.
    Sdk1,
    /// npm `@modelcontextprotocol/client` 2.x.
    Client2(Era),
    /// `PyPI` `mcp` 2.x.
    PyMcp(Era),
    /// The crate `rmcp`.
    Rmcp(Era),
}

/// Which era a client is told to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
    /// Found by the client's own probing; a gateway that speaks both gets the modern one.
    Auto,
}

impl Client {
    /// Every client in every era that it can be told to speak.
    pub(crate) const ALL: [Self; 10] = [
        Self::Sdk1,
        Self::Client2(Era::Legacy),
        Self::Client2(Era::Modern),
        Self::Client2(Era::Auto),
        Self::PyMcp(Era::Legacy),
        Self::PyMcp(Era::Modern),
        Self::PyMcp(Era::Auto),
        Self::Rmcp(Era::Legacy),
        Self::Rmcp(Era::Modern),
        Self::Rmcp(Era::Auto),
    ];

    /// The era that it ends up with at a server of both eras.
    pub(crate) fn speaks(self) -> Era {
        match self {
            Self::Sdk1 | Self::Client2(Era::Legacy) | Self::PyMcp(Era::Legacy) | Self::Rmcp(Era::Legacy) => {
                Era::Legacy
            }
            _ => Era::Modern,
        }
    }

    fn era(self) -> &'static str {
        match self {
            Self::Sdk1 => "legacy",
            Self::Client2(era) | Self::PyMcp(era) | Self::Rmcp(era) => match era {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
                Era::Auto => "auto",
            },
        }
    }

    fn command(self) -> Command {
        let script = |program: &str, name: &str| {
            let mut command = Command::new(program);
            command.arg(kit::file(name));
            command
        };
        match self {
            Self::Sdk1 => script("node", "clients/sdk1.mjs"),
            Self::Client2(_) => script("node", "clients/client2.mjs"),
            Self::PyMcp(_) => script(&kit::python("python"), "clients/pymcp.py"),
            Self::Rmcp(_) => {
                let built = kit::top().join("target/rmcp-client/debug/rmcp-client");
                assert!(built.exists(), "the rmcp client is not built: run `make deps`");
                Command::new(built)
            }
        }
    }

    /// Plays a script at `url`.
    pub(crate) fn play(self, url: &str, key: Option<&str>, script: Script) -> Report {
        let mut job = json!({ "url": url, "era": self.era(), "steps": script.steps });
        if let Some(key) = key {
            job["key"] = json!(key);
        }
        if !script.answers.is_null() {
            job["answers"] = script.answers;
        }
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{self:?} does not start: {e}"));
        child
            .stdin
            .take()
            .unwrap()
            .write_all(job.to_string().as_bytes())
            .unwrap();
        // Every driver ends by itself after the job's own time limit.
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!(
                "{self:?} gave no report: {e}\n{}\n{errors}",
                String::from_utf8_lossy(&output.stdout)
            )
        });
        assert!(report["hung"].is_null(), "{self:?} hung: {report:#}\n{errors}");
        assert!(
            report["connect_error"].is_null(),
            "{self:?} did not connect: {:#}\n{errors}",
            report["connect_error"]
        );
        Report {
            client: self,
            labels: script.labels,
            told: report,
        }
    }
}

/// What a client is to do, step by step.
#[derive(Default)]
pub(crate) struct Script {
    labels: Vec<&'static str>,
    steps: Vec<Value>,
    answers: Value,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Declares elicitation, sampling and roots, and answers them so.
    pub(crate) fn answering(mut self, answers: Value) -> Self {
        self.answers = answers;
        self
    }

    /// A step of any kind, under a name of its own.
    pub(crate) fn step(mut self, label: &'static str, step: Value) -> Self {
        assert!(!self.labels.contains(&label), "two steps are called {label}");
        self.labels.push(label);
        self.steps.push(step);
        self
    }

    /// A call of a tool.
    pub(crate) fn call(self, label: &'static str, name: &str, arguments: Value) -> Self {
        self.step(
            label,
            json!({ "op": "call", "name": name, "arguments": arguments }),
        )
    }
}

/// What a client saw.
pub(crate) struct Report {
    client: Client,
    labels: Vec<&'static str>,
    told: Value,
}

impl Report {
    /// A field of the report itself.
    pub(crate) fn fact(&self, name: &str) -> &Value {
        &self.told[name]
    }

    /// The whole entry of a step.
    pub(crate) fn entry(&self, label: &str) -> &Value {
        let at = self
            .labels
            .iter()
            .position(|l| *l == label)
            .unwrap_or_else(|| panic!("no step {label}"));
        &self.told["steps"][at]
    }

    /// What a step gave; panics when it failed.
    pub(crate) fn value(&self, label: &str) -> &Value {
        let entry = self.entry(label);
        assert!(
            entry["ok"] == true,
            "{:?}: step {label} failed: {entry:#}",
            self.client
        );
        &entry["value"]
    }

    /// The error that a step ended with; panics when it did not fail.
    pub(crate) fn error(&self, label: &str) -> &Value {
        let entry = self.entry(label);
        assert!(
            entry["ok"] == false,
            "{:?}: step {label} did not fail: {entry:#}",
            self.client
        );
        &entry["error"]
    }

    /// All text of a call's result; panics when it is a tool error.
    pub(crate) fn text(&self, label: &str) -> String {
        let value = self.value(label);
        assert!(
            value["isError"] != true,
            "{:?}: {label} is a tool error: {value:#}",
            self.client
        );
        text_of(value)
    }

    /// All text of a call's result that is a tool error.
    pub(crate) fn tool_error(&self, label: &str) -> String {
        let value = self.value(label);
        assert!(
            value["isError"] == true,
            "{:?}: {label} is no tool error: {value:#}",
            self.client
        );
        text_of(value)
    }

    /// The names of a list.
    pub(crate) fn names(&self, label: &str) -> Vec<String> {
        let list = self
            .value(label)
            .as_array()
            .unwrap_or_else(|| panic!("{label} is no list"));
        list.iter()
            .map(|one| one["name"].as_str().unwrap_or("?").to_owned())
            .collect()
    }
}

fn text_of(result: &Value) -> String {
    let parts = result["content"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    parts
        .iter()
        .filter_map(|part| part["text"].as_str())
        .collect::<Vec<_>>()
        .join("\n")
}
