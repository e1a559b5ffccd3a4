//! A Toolgate whose users connect toolkits: REST on one side, and on the other a person with a browser who goes where
//! the link leads.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use toolgate::app::{App, Options};
use toolgate::config::{self, File, Flags, Sources};
use toolgate::server::{Drained, Shutdown};

use crate::fake::{CONTROL, Fake, KEY};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Users with a key each: `key-of-NAME-0123`. This one acts for others.
pub(crate) const BACKEND: &str = "backend";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_0123456789abcdef";

/// What stands in `gateways.toml`; `more` goes into the gateway's table.
pub(crate) fn file(fake: &Fake, store: &str, more: &str) -> String {
    format!(
        "[server]\nlisten = '127.0.0.1:0'\nstore = '{store}'\n[auth]\nkeys = [\n\
         {{ user = 'alice', key = '{}' }},\n{{ user = 'bob', key = '{}' }},\n{{ user = 'default', key = '{}' }},\n\
         {{ user = 'backend', key = '{}', acts_for_users = true }},\n\
         {{ user = 'alice', key = '{}', tools = ['nothing*'] }},\n]\n\
         [gateways.composio]\nkind = 'composio'\napi_key = '{KEY}'\nbase_url = '{}'\n{more}\n",
        key("alice"),
        key("bob"),
        key("default"),
        key(BACKEND),
        key("narrow"),
        fake.origin
    )
}

pub(crate) fn key(user: &str) -> String {
    format!("key-of-{user}-0123")
}

/// The toolkits that most tests use.
pub(crate) const TOOLKITS: &str = "toolkits = ['github', 'gmail', 'notion', 'slack']";

pub(crate) struct House {
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    shutdown: Shutdown,
    served: JoinHandle<Drained>,
}

/// What a browser was shown.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) html: String,
}

impl Shown {
    pub(crate) fn outcome(&self) -> &str {
        let rest = self.html.split("data-outcome=\"").nth(1);
        rest.and_then(|rest| rest.split('"').next()).unwrap_or("")
    }
}

/// A client that follows nothing, as a person who reads every address would.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .tls_certs_only(std::iter::empty());
    http.build().unwrap()
}

/// Goes through a consent page; returns where the browser is sent.
pub(crate) async fn consent(auth_url: &str, decision: &str) -> String {
    let http = client();
    let page = http.get(auth_url).send().await.unwrap();
    assert_eq!(page.status(), 200, "{}", page.text().await.unwrap());
    let form = format!("decision={decision}&api_key=a-key");
    let sent = http
        .post(auth_url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    let location = sent
        .headers()
        .get("location")
        .map(|to| to.to_str().unwrap().to_owned());
    match location {
        Some(location) => location,
        None => panic!("{}", sent.text().await.unwrap()),
    }
}

/// Looks at a page.
pub(crate) async fn look(url: &str) -> Shown {
    let response = client().get(url).send().await.unwrap();
    Shown {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        html: response.text().await.unwrap(),
    }
}

impl House {
    pub(crate) async fn start(fake: &Fake) -> Self {
        Self::start_with(fake, TOOLKITS).await
    }

    pub(crate) async fn start_with(fake: &Fake, more: &str) -> Self {
        Self::start_file(&file(fake, "memory", more), BTreeMap::new()).await
    }

    pub(crate) async fn start_file(text: &str, environment: BTreeMap<String, String>) -> Self {
        let file = File {
            name: "gateways.toml".to_owned(),
            text: text.to_owned(),
        };
        let sources = Sources::new(Some(file), environment, Flags::default());
        let config = config::load(&sources).unwrap_or_else(|errors| panic!("{errors:?}"));
        let options = Options {
            guard: env!("CARGO_BIN_EXE_toolgate").into(),
            environment: Vec::new(),
        };
        let app = App::start(&config.config, options).await.unwrap();
        Self {
            url: format!("http://{}", app.address()),
            http: client(),
            shutdown: app.shutdown(),
            served: tokio::spawn(app.run()),
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.begin();
        self.served.await.unwrap();
    }

    /// Asks REST as a user.
    pub(crate) async fn rest(
        &self,
        user: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        rest(&self.http, &self.url, user, method, path, body).await
    }

    pub(crate) async fn get(&self, user: &str, path: &str) -> Value {
        let (status, answer) = self.rest(user, Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub(crate) async fn post(&self, user: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.rest(user, Method::POST, path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// How a toolkit stands for a user.
    pub(crate) async fn standing(&self, user: &str, toolkit: &str) -> Value {
        let page = self
            .get(user, &format!("/api/integrations?toolkit={toolkit}"))
            .await;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
        page["items"][0].clone()
    }

    /// What Toolgate itself knows of a user's toolkits: what its list says while Composio cannot be asked.
    pub(crate) async fn remembered(&self, fake: &Fake, user: &str) -> Value {
        fake.is_down(true);
        let page = self.get(user, "/api/integrations").await;
        fake.is_down(false);
        standings(&page)
    }

    /// Begins to connect; returns where the user goes and the state.
    pub(crate) async fn begin(&self, user: &str, toolkit: &str) -> (String, String) {
        let answer = self
            .post(user, &format!("/api/integrations/{toolkit}/connect"), json!({}))
            .await;
        let text = |key: &str| {
            answer[key]
                .as_str()
                .unwrap_or_else(|| panic!("{answer}"))
                .to_owned()
        };
        assert_eq!(
            (&answer["status"], &answer["needsAuth"]),
            (&json!("PENDING"), &json!(true)),
            "{answer}"
        );
        (text("authUrl"), text("state"))
    }

    /// Goes the whole way; returns what the browser was shown at the end, and the address.
    pub(crate) async fn connect(&self, user: &str, toolkit: &str) -> (Shown, String) {
        let (auth_url, _) = self.begin(user, toolkit).await;
        let back = consent(&auth_url, "allow").await;
        (look(&back).await, back)
    }
}

/// How the toolkits of a list from memory stand: each with its name, status, reason and accounts.
pub(crate) fn standings(page: &Value) -> Value {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            assert_eq!(item["checked"], false, "Composio was asked: {page}");
            json!([item["toolkit"], item["status"], item["reason"], item["accounts"]])
        })
        .collect()
}

pub(crate) async fn rest(
    http: &reqwest::Client,
    url: &str,
    user: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let request = http
        .request(method, format!("{url}{path}"))
        .header("authorization", format!("Bearer {}", key(user)));
    let request = match body {
        Some(body) => request
            .header("content-type", "application/json")
            .body(body.to_string()),
        None => request,
    };
    let answer = tokio::time::timeout(PATIENCE, request.send())
        .await
        .unwrap()
        .unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert!(!text.contains("trs_") && !text.contains(KEY), "{text}");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Has the fake send webhooks; returns what it was answered.
pub(crate) async fn send_webhook(fake: &Fake, command: &Value) -> Value {
    let mut command = command.clone();
    command["do"] = json!("send_webhook");
    let sent = client()
        .post(format!("{}/_fake/control", fake.address))
        .header("x-fake-control", CONTROL)
        .header("content-type", "application/json")
        .body(command.to_string())
        .send()
        .await
        .unwrap();
    serde_json::from_str(&sent.text().await.unwrap()).unwrap()
}
