//! Gateways over stdio: real processes (`fake.py`) under the real guard, and what they told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolgate::config::{self, EraChoice, Processes, Secret};
use toolgate::exchange::{Answer, CallError};
use toolgate::ids::GatewayId;
use toolgate::supervisor::Supervisor;
use toolgate::upstream::stdio::{self, Host};
use toolgate::upstream::transport::Transport;

use crate::people::Person;

const GUARD: &str = env!("CARGO_BIN_EXE_toolgate");
const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pipes/fake.py");

/// The host of a house with room for so many processes.
pub(crate) struct Bench {
    host: Arc<Host>,
    pub(crate) supervisor: Supervisor,
}

impl Bench {
    pub(crate) fn new(processes_max: usize) -> Self {
        let supervisor = Supervisor::new();
        let mut environment: Vec<_> = std::env::vars_os().collect();
        environment.push(("ALICE_KEY".into(), "must not leak".into()));
        environment.push(("PASSED_ON".into(), "yes".into()));
        let host = Host::new(
            GUARD.into(),
            environment,
            processes_max,
            Duration::from_secs(10),
            supervisor.clone(),
        );
        Self {
            host: Arc::new(host),
            supervisor,
        }
    }

    pub(crate) fn gateway(&self, args: &[&str], processes: Processes, era: EraChoice) -> Arc<dyn Transport> {
        let mut command = vec!["python3".to_owned(), FAKE.to_owned()];
        command.extend(args.iter().map(ToString::to_string));
        self.running(command, processes, era)
    }

    pub(crate) fn fake(&self, mode: &str, processes: Processes) -> Arc<dyn Transport> {
        self.gateway(&[mode], processes, EraChoice::Auto)
    }

    pub(crate) fn running(
        &self,
        command: Vec<String>,
        processes: Processes,
        era: EraChoice,
    ) -> Arc<dyn Transport> {
        let gateway = config::Gateway {
            name: GatewayId::new("fake"),
            transport: config::Transport::Stdio {
                command,
                env: vec![("TOKEN".to_owned(), Secret::new("t0".to_owned()))],
                env_pass: vec!["PASSED_ON".to_owned()],
                cwd: Some("/".into()),
                processes,
                era,
            },
            timeout: Duration::from_secs(15),
            in_flight_max: 8,
            required: false,
            allow: None,
            deny: Vec::new(),
            rename: std::collections::BTreeMap::new(),
            prefix: None,
        };
        stdio::transport(&self.host, &gateway).unwrap()
    }
}

pub(crate) async fn told(
    person: &Person,
    gateway: &Arc<dyn Transport>,
    tool: &str,
) -> Result<Value, CallError> {
    let (route, call, _heard) = person.call(tool, &json!({}));
    gateway.call(&route, call).await.map(|answer| said(&answer))
}

/// What the fake put into its text.
pub(crate) fn said(answer: &Answer) -> Value {
    let message: Value = serde_json::from_slice(&answer.response.raw).unwrap();
    let text = message["result"]["content"][0]["text"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("no text in {message}"))).unwrap()
}

pub(crate) fn runs(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "never came true: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
