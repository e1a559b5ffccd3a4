//! An honest fake of Composio: its API (v3.1 and v3), the MCP endpoint of each session, the pages on which people
//! consent, the older MCP servers, and webhooks. It says what Composio's documents and captured exchanges say; where
//! these say nothing the line is marked `[I]` and stands behind one switch (`switches.rs`). Composio's own SDKs hold it
//! to that (`sdks.rs`). It keeps a ledger of every execution, session and account, and answers oddly only where told.
//!
//! `Fake::start` runs it in the test; `serve.rs` is the same as a program of its own, which can be killed.

mod accounts;
mod answers;
mod asked;
mod auth_configs;
mod catalog;
mod control;
mod executions;
mod exposed;
mod grants;
mod hmac;
mod ledger;
mod links;
mod mcp;
mod meta;
mod meta_calls;
mod meta_schemas;
mod pages;
mod rate;
mod routes;
mod server_mcp;
mod servers;
mod session_blocks;
mod session_rules;
mod session_tools;
mod sessions;
mod switches;
mod toolkits;
mod tools;
mod triggers;
mod webhooks;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) use self::answers::{Odd, error_body, odd};
pub(crate) use self::ledger::{Execution, Seen, digest};
pub(crate) use self::webhooks::client;
use self::world::World;

/// The key of the project that the fake stands for.
pub(crate) const KEY: &str = "ak_s3cret-project-key";
/// Guards the fake's own routes, below `/_fake/`, in the header `x-fake-control`.
pub(crate) const CONTROL: &str = "control-of-the-fake";

/// How a fake is started.
pub(crate) struct Options {
    pub(crate) listen: String,
    pub(crate) key: String,
    pub(crate) control: String,
    /// Where its world is kept; without it a fake forgets when it ends.
    pub(crate) state: Option<PathBuf>,
    /// What it calls itself in URLs; absent: where it listens.
    pub(crate) public_url: Option<String>,
    /// Whether every request is remembered, for tests that look at headers and bodies.
    pub(crate) remembers_requests: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            key: KEY.to_owned(),
            control: CONTROL.to_owned(),
            state: None,
            public_url: None,
            remembers_requests: true,
        }
    }
}

/// A running fake, and the hand that a test has in it.
#[derive(Clone)]
pub(crate) struct Fake {
    world: Arc<Mutex<World>>,
    /// `http://host:port`, where its URLs point.
    pub(crate) origin: String,
    /// `http://host:port`, where it listens.
    pub(crate) address: String,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await.unwrap()
    }

    /// Starts one; it runs until the runtime ends.
    pub(crate) async fn start_with(options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind(&options.listen).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let origin = match &options.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => address.clone(),
        };
        let world = World::open(&origin, &options)?;
        let fake = Self {
            world: Arc::new(Mutex::new(world)),
            origin,
            address,
        };
        let every = |fake: Fake| {
            move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let fake = fake.clone();
                async move { fake.answer(method, uri, headers, body).await }
            }
        };
        let routes = Router::new().fallback(every(fake.clone()));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(fake)
    }

    async fn answer(&self, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
        routes::answer(self, &asked::Asked::new(method, &uri, headers, body)).await
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Does what a test says to the world, and keeps it.
    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world();
        let changed = change(&mut world);
        world.dirty = true;
        world.keep();
        changed
    }

    /// Returns the sessions that are there, with the user of each.
    pub(crate) fn sessions(&self) -> BTreeMap<String, String> {
        let world = self.world();
        let of = |session: &sessions::Session| (session.id.clone(), session.user_id.clone());
        world.sessions.values().map(of).collect()
    }

    /// Returns the toolkits of a session, as Composio shows them.
    pub(crate) fn toolkits_of(&self, session: &str) -> Value {
        let world = self.world();
        let session = &world.sessions[session];
        session_blocks::shown(&session.user_id, &session.blocks)["toolkits"].clone()
    }

    /// Deletes the sessions of a user, as somebody at Composio would.
    pub(crate) fn delete_sessions_of(&self, user: &str) {
        self.change(|world| {
            let ids: Vec<String> = world.sessions.keys().cloned().collect();
            for id in ids {
                if world.sessions[&id].user_id == user {
                    world.delete_session(&id);
                }
            }
        });
    }

    /// Gives a user an ACTIVE account, as if the consent page had been gone through; returns its id.
    pub(crate) fn connect(&self, user: &str, toolkit: &str) -> String {
        self.change(|world| grants::connect(world, user, toolkit, None))
    }

    /// Does what `POST /_fake/control` does.
    pub(crate) fn control(&self, command: &Value) -> Value {
        let done = self.change(|world| control::carry_out(world, command));
        done.unwrap_or_else(|why| panic!("{why}: {command}"))
    }

    /// Returns the accounts as the API shows them.
    pub(crate) fn accounts_of(&self, user: &str) -> Vec<Value> {
        let mut world = self.world();
        world.settle();
        let of = world.accounts.values().filter(|account| account.user_id == user);
        of.map(|account| accounts::shown(&world, account)).collect()
    }

    /// Returns every execution so far, in order.
    pub(crate) fn executions(&self) -> Vec<Execution> {
        self.world().ledger.executions.clone()
    }

    /// Returns the whole ledger: `executions`, `sessions`, `accounts`.
    pub(crate) fn ledger(&self) -> Value {
        self.world().ledger.shown(None)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.world().ledger.seen.clone()
    }

    /// Returns how many creates of a session came for a user, answered well or oddly.
    pub(crate) fn creates_of(&self, user: &str) -> usize {
        let of = |seen: &&Seen| seen.place == "create" && seen.body["user_id"] == user;
        self.seen().iter().filter(of).count()
    }

    /// Returns how many tool calls a user's sessions were sent.
    pub(crate) fn calls_of(&self, user: &str) -> usize {
        let of = |seen: &&Seen| seen.body["method"] == "tools/call" && seen.user.as_deref() == Some(user);
        self.seen().iter().filter(of).count()
    }

    pub(crate) fn change_key(&self, key: &str) {
        self.change(|world| key.clone_into(&mut world.key));
    }

    /// What the next create of a session gets in the place of the honest answer.
    pub(crate) fn next_create(&self, odd: Odd) {
        self.next("create", odd);
    }

    /// What the next tool call at a session's endpoint gets.
    pub(crate) fn next_mcp(&self, odd: Odd) {
        self.next("call", odd);
    }

    /// What the next request at a place (`routes::place`) gets.
    pub(crate) fn next(&self, place: &str, odd: Odd) {
        let mut world = self.world();
        let queue = world.odd.entry(place.to_owned()).or_default();
        queue.push_back(odd);
    }

    /// Has everything answered 503, or honestly again.
    pub(crate) fn is_down(&self, down: bool) {
        self.control(&json!({ "do": "down", "to": down }));
    }

    /// What the endpoint of a deleted session answers.
    pub(crate) fn gone_is(&self, odd: Odd) {
        self.world().gone = Some(odd);
    }

    pub(crate) fn gives_ids(&self) {
        self.control(&json!({ "do": "switch", "name": "mcp_gives_session_ids", "to": true }));
    }

    /// Has sessions name an MCP endpoint at another origin.
    pub(crate) fn puts_mcp_on(&self, origin: &str) {
        self.change(|world| world.mcp_origin = Some(origin.to_owned()));
    }
}
