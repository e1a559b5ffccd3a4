//! The mock upstream: an MCP server over Streamable HTTP of either era, made to cost next to nothing.
//! It stands for several gateways at once: `/0/mcp` is one called `<name>0`, and so on.
//! Their tools are called `<name>0_<kind>`: `echo` answers with its argument, `blob` with a megabyte, `progress` with a
//! stream of progress events and then a result, `sleep` after a while; `tool_0001` and so on only fill the list.
//! Answers depend on the request alone, so that whoever asked can check them. Below `/api/` it passes for Composio's API.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::pieces::{Pieces, STAMP};
use crate::{composio, serve};

/// What one `tools/list` entry weighs, about what real servers send: 200 of them are the 229 KiB of the goal.
const TOOL_BYTES: usize = 1_172;
/// The text of a `blob`.
pub(crate) const BLOB_BYTES: usize = 1 << 20;
/// Where a list is cut into pages.
const PAGE_ITEMS: usize = 500;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const SERVER_INFO: &str =
    r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench","version":"1.0.0"}}"#;

/// Which revisions it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

/// What a mock upstream is.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) era: Era,
    /// Tools in each list, the four that do something included.
    pub(crate) tools: usize,
    /// How many it stands for.
    pub(crate) gateways: usize,
}

#[derive(Debug)]
struct Upstream {
    settings: Settings,
    /// By gateway.
    pages: Vec<Vec<String>>,
    blob: Bytes,
    sessions: AtomicU64,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a str>,
    #[serde(borrow, default)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Option<&'a str>,
    #[serde(borrow, default)]
    cursor: Option<&'a str>,
    #[serde(borrow, default)]
    arguments: Option<Arguments<'a>>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(default)]
    events: usize,
    /// Between two events, and before a `sleep` answers.
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    token: Option<&'a RawValue>,
}

/// Serves until its standard input ends.
pub(crate) async fn run(settings: Settings) -> Result<(), String> {
    let upstream = Arc::new(Upstream {
        pages: (0..settings.gateways)
            .map(|gateway| pages(&settings, gateway))
            .collect(),
        blob: blob().into(),
        sessions: AtomicU64::new(0),
        settings,
    });
    serve::serve(move || {
        let upstream = Arc::clone(&upstream);
        service_fn(move |request| {
            let upstream = Arc::clone(&upstream);
            async move { Ok::<_, Infallible>(upstream.answer(request).await) }
        })
    })
    .await
}

/// Makes the text of a `blob`: as many different bytes as JSON lets through unescaped.
pub(crate) fn blob() -> String {
    let alphabet = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;:-_";
    let letters = (0..BLOB_BYTES).map(|at| char::from(alphabet[(at * 7 + at / 64) % alphabet.len()]));
    letters.collect()
}

/// Makes the pages of the list, each the inside of a JSON array.
fn pages(settings: &Settings, gateway: usize) -> Vec<String> {
    let name = format!("{}{gateway}", settings.name);
    let kinds = ["echo", "blob", "progress", "sleep"];
    let names = (0..settings.tools).map(|index| match kinds.get(index) {
        Some(kind) => format!("{name}_{kind}"),
        None => format!("{name}_tool_{index:04}"),
    });
    let tools: Vec<String> = names.map(|name| tool(&name)).collect();
    tools.chunks(PAGE_ITEMS).map(|page| page.join(",")).collect()
}

fn tool(name: &str) -> String {
    let mut out = format!(
        r#"{{"name":"{name}","title":"A tool of the bench","inputSchema":{{"type":"object","properties":{{"text":{{"type":"string","description":"what to say"}},"events":{{"type":"integer","minimum":0}},"delay_ms":{{"type":"integer","minimum":0}}}},"additionalProperties":false}},"annotations":{{"readOnlyHint":true,"openWorldHint":false}},"description":""#
    );
    while out.len() < TOOL_BYTES - 2 {
        let room = TOOL_BYTES - 2 - out.len();
        let text = "Says what it was told, for whoever wants to know how long that takes. ";
        out.push_str(&text[..room.min(text.len())]);
    }
    out.push_str("\"}");
    out
}

impl Upstream {
    async fn answer(&self, request: Request<Incoming>) -> Response<Pieces> {
        let (head, body) = request.into_parts();
        if composio::is_api(head.uri.path()) {
            let body = body.collect().await.map(http_body_util::Collected::to_bytes);
            return composio::answer(&head, &body.unwrap_or_default(), &self.sessions);
        }
        match head.method {
            Method::POST => {}
            Method::GET if self.settings.era == Era::Legacy => return listening(),
            Method::DELETE if self.settings.era == Era::Legacy => return status(StatusCode::NO_CONTENT),
            _ => return status(StatusCode::METHOD_NOT_ALLOWED),
        }
        let Ok(body) = body.collect().await else {
            return status(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        let gateway = head
            .uri
            .path()
            .split('/')
            .nth(1)
            .and_then(|first| first.parse().ok())
            .unwrap_or(0);
        let Ok(message) = serde_json::from_slice::<Message>(&body) else {
            return status(StatusCode::BAD_REQUEST);
        };
        let Some(id) = message.id else {
            return status(StatusCode::ACCEPTED);
        };
        match (self.settings.era, message.method.unwrap_or_default()) {
            (Era::Legacy, "initialize") => return self.initialize(id.get()),
            (Era::Legacy, _)
                if head
                    .headers
                    .get(VERSION)
                    .is_some_and(|version| version == "2026-07-28") =>
            {
                return failed(id.get(), -32000, "Unsupported protocol version");
            }
            (Era::Legacy, _) if !self.knows(&head.headers) => return status(StatusCode::NOT_FOUND),
            (Era::Modern, "server/discover") => return discover(id.get()),
            (_, "tools/list") => return self.list(gateway, id.get(), message.params.as_ref()),
            (_, "tools/call") => {}
            _ => return failed(id.get(), -32601, "Method not found"),
        }
        match &message.params {
            Some(params) => self.call(id.get(), params).await,
            None => failed(id.get(), -32602, "Invalid params"),
        }
    }

    /// Sessions are numbered, so that knowing one takes no table.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let number = (headers.get(SESSION)).and_then(|value| {
            value
                .to_str()
                .ok()?
                .strip_prefix("bench-session-")?
                .parse::<u64>()
                .ok()
        });
        number.is_some_and(|number| number < self.sessions.load(Ordering::Relaxed))
    }

    fn initialize(&self, id: &str) -> Response<Pieces> {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let mut response = json(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"bench","version":"1.0.0"}}}}}}"#
        ));
        if let Ok(value) = HeaderValue::from_str(&format!("bench-session-{number:012}")) {
            response.headers_mut().insert(SESSION, value);
        }
        response
    }

    fn list(&self, gateway: usize, id: &str, params: Option<&Params>) -> Response<Pieces> {
        let page = params
            .and_then(|params| params.cursor?.parse::<usize>().ok())
            .unwrap_or(0);
        let pages = self.pages.get(gateway).map(Vec::as_slice).unwrap_or_default();
        let Some(items) = pages.get(page) else {
            return failed(id, -32602, "Invalid cursor");
        };
        let next = if page + 1 < pages.len() {
            format!(r#","nextCursor":"{}""#, page + 1)
        } else {
            String::new()
        };
        let modern = match self.settings.era {
            Era::Modern => {
                format!(r#","resultType":"complete","ttlMs":600000,"cacheScope":"public",{SERVER_INFO}"#)
            }
            Era::Legacy => String::new(),
        };
        json(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{items}]{next}{modern}}}}}"#
        ))
    }

    async fn call(&self, id: &str, params: &Params<'_>) -> Response<Pieces> {
        let kind = params
            .name
            .and_then(|name| name.split_once('_'))
            .map_or("", |(_, kind)| kind);
        let arguments = params.arguments.as_ref();
        let text = arguments
            .and_then(|arguments| arguments.text)
            .map_or("\"\"", RawValue::get);
        let delay = Duration::from_millis(arguments.map_or(0, |arguments| arguments.delay_ms));
        match kind {
            "echo" => json(self.result(id, text)),
            "sleep" => {
                tokio::time::sleep(delay).await;
                json(self.result(id, text))
            }
            "blob" => {
                let whole = self.result(id, "\"\"");
                let at = whole.find("\"\"").map_or(0, |at| at + 1);
                let (before, after) = whole.split_at(at);
                let pieces = vec![
                    before.to_owned().into(),
                    self.blob.clone(),
                    after.to_owned().into(),
                ];
                with_body("application/json", Pieces::known(pieces))
            }
            "progress" => {
                let token = params
                    .meta
                    .as_ref()
                    .and_then(|meta| meta.token)
                    .map_or("null", RawValue::get);
                let count = arguments.map_or(0, |arguments| arguments.events);
                let mut events: Vec<Bytes> = (1..=count).map(|at| progress(token, at, count)).collect();
                events.push(event(&self.result(id, text)));
                let mut response = with_body("text/event-stream", Pieces::streamed(events, delay));
                let headers = response.headers_mut();
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
                response
            }
            _ => failed(id, -32602, "Unknown tool"),
        }
    }

    /// Writes a result with one text, given as a JSON string.
    fn result(&self, id: &str, text: &str) -> String {
        let content = format!(r#""content":[{{"type":"text","text":{text}}}]"#);
        match self.settings.era {
            Era::Legacy => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{content}}}}}"#),
            Era::Modern => format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete",{content},{SERVER_INFO}}}}}"#
            ),
        }
    }
}

fn discover(id: &str) -> Response<Pieces> {
    json(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}}}},"ttlMs":600000,"cacheScope":"public",{SERVER_INFO}}}}}"#
    ))
}

fn progress(token: &str, at: usize, of: usize) -> Bytes {
    event(&format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{at},"total":{of},"message":"step {at} of {of}, sent {STAMP}"}}}}"#
    ))
}

fn event(data: &str) -> Bytes {
    let mut out = String::with_capacity(data.len() + 24);
    let _ = write!(out, "event: message\ndata: {data}\n\n");
    out.into()
}

fn failed(id: &str, code: i64, message: &str) -> Response<Pieces> {
    let mut response = json(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#
    ));
    if code == -32000 {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    response
}

/// A stream on which nothing is ever said.
fn listening() -> Response<Pieces> {
    with_body(
        "text/event-stream",
        Pieces::endless(Bytes::from_static(b": open\n\n")),
    )
}

fn json(text: String) -> Response<Pieces> {
    with_body("application/json", Pieces::known(vec![text.into()]))
}

pub(crate) fn with_body(content_type: &'static str, body: Pieces) -> Response<Pieces> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn status(status: StatusCode) -> Response<Pieces> {
    let mut response = Response::new(Pieces::known(Vec::new()));
    *response.status_mut() = status;
    response
}
