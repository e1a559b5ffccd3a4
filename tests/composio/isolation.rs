//! Many users at once, while gateway and fake are killed and started again: no call reaches another user's session or
//! account, nothing runs twice, no session is made twice, no connection is lost. The fake's ledger is the judge of the
//! calls; of the connections it is Toolgate's own list, while Composio cannot be asked.
//! `TOOLGATE_ISOLATION_CALLS` is how many calls there are, where 20,000 are too many.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::connect::standings;
use crate::fake::{KEY, client, digest};
use crate::honest::Caller;
use crate::program::Program;

const USERS: usize = 200;
const CALLS: usize = 20_000;
/// How many callers there are at a time.
const CALLERS: usize = 16;
/// How often each of gateway and fake is killed.
const KILLS: usize = 3;
const BACKEND: &str = "key-of-a-backend-0123456789";
/// How often a call is tried while somebody is down; each try has arguments of its own, so that its digest tells it.
const TRIES: usize = 200;
const TOOLS: [(&str, &str); 2] = [
    ("github", "GITHUB_GET_THE_AUTHENTICATED_USER"),
    ("gmail", "GMAIL_GET_PROFILE"),
];

/// `toolgate serve` in a folder.
struct Gateway {
    child: Child,
    listen: String,
}

impl Gateway {
    fn start(folder: &Path, listen: &str, composio: &str) -> Self {
        let config = folder.join("gateways.toml");
        let store = folder.join("t.db");
        let text = format!(
            "[server]\nlisten = '{listen}'\nstore = 'sqlite://{}'\n\
             [auth]\nkeys = [{{ user = 'backend', key = '{BACKEND}', acts_for_users = true }}]\n\
             [gateways.composio]\nkind = 'composio'\napi_key = '{KEY}'\nbase_url = '{composio}'\n\
             toolkits = ['github', 'gmail']\n",
            store.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_toolgate"))
            .args(["serve", "--config"])
            .arg(&config)
            .current_dir(folder)
            .env_clear()
            .env("TOOLGATE_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "it ends before it listens");
        }
        std::thread::spawn(move || out.lines().for_each(drop));
        let url = line.trim().trim_start_matches("listening on http://");
        let listen = url.trim_end_matches("/mcp").to_owned();
        Self { child, listen }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run knows: whose arguments are whose, and who has which account.
struct Run {
    http: reqwest::Client,
    /// Where the gateway is.
    url: String,
    /// User and toolkit to account.
    accounts: BTreeMap<(String, String), String>,
    done: AtomicUsize,
    tries: AtomicUsize,
    /// The digest of each try's arguments, and for whom it was.
    sent: Mutex<BTreeMap<String, String>>,
}

fn user(number: usize) -> String {
    format!("user-{:03}", number % USERS)
}

impl Run {
    /// Calls a tool for a user until it has run; what comes back must be the user's own.
    async fn call(&self, number: usize) {
        let (user, (toolkit, tool)) = (user(number), TOOLS[number / USERS % 2]);
        for _ in 0..TRIES {
            let attempt = self.tries.fetch_add(1, Ordering::Relaxed);
            let arguments = json!({ "attempt": attempt });
            let sent = (digest(&arguments), user.clone());
            self.sent.lock().unwrap().extend([sent]);
            let item = json!({ "tool_slug": tool, "arguments": arguments });
            let Some(answer) = self.try_once(&user, &item).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let result = &answer["data"]["results"][0]["response"]["data"];
            if result.is_null() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            assert_eq!(result["login"], user, "{answer}");
            assert_eq!(
                result["connected_account_id"],
                self.accounts[&(user.clone(), toolkit.to_owned())]
            );
            assert_eq!(
                result["arguments"]["attempt"], attempt,
                "another call's answer: {answer}"
            );
            self.done.fetch_add(1, Ordering::Relaxed);
            return;
        }
        panic!("call {number} of {user} never ran");
    }

    /// One try; `None` when nothing of use came back.
    async fn try_once(&self, user: &str, item: &Value) -> Option<Value> {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let tool = "COMPOSIO_MULTI_EXECUTE_TOOL";
        let arguments = json!({ "tools": [item], "sync_response_to_workbench": false });
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let request = self
            .http
            .post(format!("{}/mcp", self.url))
            .header("authorization", format!("Bearer {BACKEND}"))
            .header("x-user-id", user)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .timeout(Duration::from_mins(1));
        let text = request
            .body(body.to_string())
            .send()
            .await
            .ok()?
            .text()
            .await
            .ok()?;
        let data = text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .next_back();
        let answer: Value = serde_json::from_str(data.unwrap_or(&text)).ok()?;
        serde_json::from_str(answer["result"]["content"][0]["text"].as_str()?).ok()
    }

    /// Returns every user's list of toolkits.
    async fn lists(self: &Arc<Self>) -> BTreeMap<String, Value> {
        let mut asking = JoinSet::new();
        for user in (0..USERS).map(user) {
            let request = self
                .http
                .get(format!("{}/api/integrations?userId={user}", self.url))
                .header("authorization", format!("Bearer {BACKEND}"))
                .timeout(Duration::from_mins(1));
            asking.spawn(async move {
                let text = request.send().await.unwrap().text().await.unwrap();
                (
                    user,
                    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")),
                )
            });
        }
        asking.join_all().await.into_iter().collect()
    }

    /// A list learns of the accounts. One for which Composio could not be asked, on a busy machine, is asked for again.
    async fn learns(self: &Arc<Self>) {
        let checked = |page: &Value| {
            let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
            items.iter().all(|item| item["checked"] == true)
        };
        for _ in 0..TRIES {
            if self.lists().await.values().all(checked) {
                return;
            }
        }
        panic!("Composio was never asked for all of them");
    }

    /// Returns how every user's toolkits stand, of Toolgate's own knowledge: nothing that was lost is healed by Composio.
    async fn remembered(self: &Arc<Self>, caller: &Caller) -> BTreeMap<String, Value> {
        caller.control(json!({ "do": "down", "to": true })).await;
        let lists = self.lists().await;
        caller.control(json!({ "do": "down", "to": false })).await;
        let of = |(user, page): (String, Value)| (user, standings(&page));
        lists.into_iter().map(of).collect()
    }

    /// How they must stand: each toolkit works, with the user's own account.
    fn own(&self, standings: &BTreeMap<String, Value>) {
        assert_eq!(standings.len(), USERS);
        for (user, toolkits) in standings {
            for (at, (toolkit, _)) in TOOLS.iter().enumerate() {
                let of = &toolkits[at];
                assert_eq!(
                    (&of[0], &of[1]),
                    (&json!(toolkit), &json!("ACTIVE")),
                    "{user}: {of}"
                );
                assert_eq!(of[3].as_array().unwrap().len(), 1, "{user}: {of}");
                let account = &self.accounts[&(user.clone(), (*toolkit).to_owned())];
                assert_eq!(of[3][0]["id"], *account, "{user}: {of}");
            }
        }
    }

    /// Has many callers make these calls at once.
    async fn all(self: &Arc<Self>, calls: std::ops::Range<usize>) {
        let next = Arc::new(AtomicUsize::new(calls.start));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (run, next, end) = (Arc::clone(self), Arc::clone(&next), calls.end);
            callers.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    run.call(number).await;
                }
            });
        }
        while let Some(done) = callers.join_next().await {
            done.unwrap();
        }
    }
}

fn texts<'a>(entries: &'a Value, key: &'a str) -> impl Iterator<Item = &'a str> {
    entries
        .as_array()
        .unwrap()
        .iter()
        .map(move |entry| entry[key].as_str().unwrap())
}

/// Looks through the ledger.
fn judge(ledger: &Value, run: &Run) {
    let (sessions, executions) = (&ledger["sessions"], &ledger["executions"]);
    let owners: BTreeMap<&str, &str> = texts(sessions, "session_id")
        .zip(texts(sessions, "user_id"))
        .collect();
    let mut of_user: BTreeMap<&str, usize> = BTreeMap::new();
    for user in owners.values() {
        *of_user.entry(user).or_default() += 1;
    }
    let twice: Vec<_> = of_user.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "sessions were made twice: {twice:?}");
    assert_eq!(of_user.len(), USERS + 1, "each user's, and the one that lists");

    let sent = run.sent.lock().unwrap();
    let mut seen = BTreeSet::new();
    for one in executions.as_array().unwrap() {
        let owner = owners[one["session_id"].as_str().unwrap()];
        assert_eq!(one["user_id"], owner, "{one}");
        let digest = one["arguments_sha256"].as_str().unwrap();
        assert_eq!(
            sent[digest], owner,
            "a call reached another user's session: {one}"
        );
        assert!(seen.insert(digest), "it ran twice: {one}");
        if one["successful"] == true {
            assert_eq!(one["account_user_id"], owner, "another user's account: {one}");
        }
    }
    assert!(seen.len() >= run.done.load(Ordering::Relaxed));
}

/// Gives every user an account of each toolkit.
async fn connect_all(caller: &Caller) -> BTreeMap<(String, String), String> {
    let mut accounts = BTreeMap::new();
    for user in (0..USERS).map(user) {
        for (toolkit, _) in TOOLS {
            let made = caller
                .control(json!({ "do": "connect", "user": user, "toolkit": toolkit }))
                .await;
            let id = made["connected_account_id"].as_str().unwrap().to_owned();
            accounts.insert((user.clone(), toolkit.to_owned()), id);
        }
    }
    accounts
}

/// Returns the accounts that work, as Composio's API lists them.
async fn active(caller: &Caller) -> BTreeSet<String> {
    let mut page = "/connected_accounts?limit=1000&statuses=ACTIVE".to_owned();
    let mut active = BTreeSet::new();
    loop {
        let listed = caller.get(&page).await.body;
        active.extend(texts(&listed["items"], "id").map(str::to_owned));
        match listed["next_cursor"].as_str() {
            Some(next) => page = format!("/connected_accounts?limit=1000&statuses=ACTIVE&cursor={next}"),
            None => return active,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_users_calls_mixed_with_kills_of_gateway_and_fake_stay_each_users_own() {
    let calls = std::env::var("TOOLGATE_ISOLATION_CALLS").map_or(CALLS, |calls| calls.parse().unwrap());
    let (gate_folder, fake_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut fake = Program::start(fake_folder.path(), "127.0.0.1:0");
    let caller = Caller::at(&fake.url);
    let accounts = connect_all(&caller).await;
    let mut gateway = Gateway::start(gate_folder.path(), "127.0.0.1:0", &fake.url);
    let run = Arc::new(Run {
        http: client(),
        url: format!("http://{}", gateway.listen),
        accounts,
        done: AtomicUsize::new(0),
        tries: AtomicUsize::new(0),
        sent: Mutex::default(),
    });
    // Every user's first calls come at once, two each.
    run.all(0..2 * USERS).await;
    run.learns().await;
    let before = run.remembered(&caller).await;
    run.own(&before);

    let rest = tokio::spawn({
        let run = Arc::clone(&run);
        async move { run.all(2 * USERS..calls).await }
    });
    for kill in 1..=2 * KILLS {
        let until = 2 * USERS + (calls - 2 * USERS) * kill / (2 * KILLS + 1);
        while run.done.load(Ordering::Relaxed) < until && !rest.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!rest.is_finished(), "the calls ended before the kills did");
        if kill % 2 == 0 {
            gateway.kill();
            gateway = Gateway::start(gate_folder.path(), &gateway.listen.clone(), &fake.url);
        } else {
            fake.kill();
            fake = Program::start(fake_folder.path(), fake.url.clone().trim_start_matches("http://"));
        }
    }
    rest.await.unwrap();
    assert_eq!(run.done.load(Ordering::Relaxed), calls);

    assert_eq!(run.remembered(&caller).await, before, "a connection was lost");
    judge(&caller.ledger().await, &run);
    assert_eq!(
        active(&caller).await,
        run.accounts.values().cloned().collect::<BTreeSet<_>>()
    );
}
