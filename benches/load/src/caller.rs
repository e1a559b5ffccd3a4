//! One client and what it does over and over: an operation, whose every answer is checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::http::{Answer, Connection};
use crate::pieces::now_ns;
use crate::template::{self, Door, Speaks, Template};

/// Numbers of calls begin here, so that all have ten digits and none begins with 0.
const FIRST: u64 = 1_000_000_000;
/// Numbers that one client may use up.
const STRIDE: u64 = 5_000_000;

/// What a client does.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// `tools/call` with a text of 64 bytes that comes back.
    Echo,
    /// `tools/call` that gives this text back: a megabyte of it.
    Blob(Arc<str>),
    /// `tools/call` that reports progress this often, with a pause before each event.
    Progress { events: usize, pause_ms: u64 },
    /// `tools/list` of so many tools on one page.
    List { tools: usize },
    /// `initialize`, then DELETE of the session; its latency is that of `initialize`.
    Initialize,
    /// `tools/call` that takes so long.
    Sleep { ms: u64 },
}

/// Whom a client talks to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) address: SocketAddr,
    pub(crate) doors: Vec<Door>,
    pub(crate) speaks: Speaks,
    /// Upstreams whose tools are called; clients take turns.
    pub(crate) upstreams: Vec<String>,
    pub(crate) operation: Operation,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Caller {
    connection: Connection,
    operation: Operation,
    door: Door,
    session: Option<String>,
    request: Template,
    /// Parts of the answer that must be there.
    expected: Vec<Template>,
    next: u64,
    /// How long events were under way, in ns; paced streams only.
    pub(crate) delays: Vec<u32>,
}

impl Talk {
    fn tool(&self, index: usize) -> String {
        let kind = match self.operation {
            Operation::Blob(_) => "blob",
            Operation::Progress { .. } => "progress",
            Operation::Sleep { .. } => "sleep",
            _ => "echo",
        };
        format!("{}_{kind}", self.upstreams[index % self.upstreams.len()])
    }

    /// Connects the client of an index; a legacy one opens its session.
    pub(crate) async fn connect(&self, index: usize) -> Result<Caller, String> {
        let mut connection = Connection::open(self.address).await?;
        let door = self.doors[index % self.doors.len()].clone();
        let mut session = None;
        if self.speaks == Speaks::Legacy && !matches!(self.operation, Operation::Initialize) {
            session = Some(initialize(&mut connection, &door).await?);
        }
        let text = format!(r#""client {index:04} says ########## and nothing else, in 64 bytes."#);
        let text = format!("{text:.<65}\"");
        let (arguments, meta) = match self.operation {
            Operation::Progress { events, pause_ms } => (
                format!(r#"{{"events":{events},"delay_ms":{pause_ms},"text":{text}}}"#),
                r#""progressToken":##########"#,
            ),
            Operation::Sleep { ms } => (format!(r#"{{"delay_ms":{ms},"text":{text}}}"#), ""),
            _ => (format!(r#"{{"text":{text}}}"#), ""),
        };
        let (mut method, mut name, mut params) = ("tools/list", None, String::new());
        if !matches!(self.operation, Operation::List { .. }) {
            let tool = self.tool(index);
            params = format!(r#""name":"{tool}","arguments":{arguments}"#);
            (method, name) = ("tools/call", Some(tool));
        }
        let request = match (self.speaks, &self.operation) {
            (_, Operation::Initialize) => template::legacy(&door, None, INITIALIZE),
            (Speaks::Legacy, _) => {
                let meta = if meta.is_empty() {
                    String::new()
                } else {
                    format!(r#","_meta":{{{meta}}}"#)
                };
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":##########,"method":"{method}","params":{{{params}{meta}}}}}"#
                );
                template::legacy(&door, session.as_deref(), &body)
            }
            (Speaks::Modern, _) => {
                let comma = |text: String| if text.is_empty() { text } else { format!("{text},") };
                let meta = if meta.is_empty() {
                    String::new()
                } else {
                    format!(",{meta}")
                };
                template::modern(&door, method, name.as_deref(), &comma(params), &meta)
            }
        };
        let mut expected = vec![
            Template::new(r#""id":##########"#),
            Template::new(r#""result":{"#),
        ];
        if !matches!(
            self.operation,
            Operation::Blob(_) | Operation::List { .. } | Operation::Initialize
        ) {
            expected.push(Template::new(&format!(r#""text":{text}"#)));
        }
        Ok(Caller {
            connection,
            operation: self.operation.clone(),
            door,
            session,
            request: Template::new(&request),
            expected,
            next: FIRST + index as u64 * STRIDE,
            delays: Vec::new(),
        })
    }
}

impl Caller {
    /// Does it once; returns how long the answer took.
    pub(crate) async fn once(&mut self) -> Result<Duration, String> {
        let number = self.next;
        self.next += 1;
        let request = self.request.numbered(number);
        let paced = matches!(self.operation, Operation::Progress { pause_ms: 1.., .. });
        let begun = Instant::now();
        let answer = if paced {
            let (delays, mut looked) = (&mut self.delays, 0);
            let seen = |body: &[u8]| looked = note_delays(body, looked, delays);
            self.connection.exchange_seen(request, seen).await?
        } else {
            self.connection.exchange(request).await?
        };
        let took = begun.elapsed();
        check(&answer, &self.operation, &mut self.expected, number)?;
        if let Operation::Initialize = self.operation {
            let session = answer.session.ok_or("no session id")?;
            end(&mut self.connection, &self.door, &session).await?;
        }
        Ok(took)
    }

    /// Opens the stream of a session and leaves it open.
    pub(crate) async fn listen(&mut self) -> Result<(), String> {
        let session = self.session.as_deref().ok_or("no session")?;
        match self
            .connection
            .begin(template::bare(&self.door, "GET", session).as_bytes())
            .await?
        {
            200 => Ok(()),
            status => Err(format!("GET was answered with {status}")),
        }
    }

    /// Ends the session, if there is one.
    pub(crate) async fn leave(mut self) -> Result<(), String> {
        match self.session.take() {
            Some(session) => end(&mut self.connection, &self.door, &session).await,
            None => Ok(()),
        }
    }
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":##########,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1.0.0"}}}"#;

/// Opens a session and returns its id.
pub(crate) async fn initialize(connection: &mut Connection, door: &Door) -> Result<String, String> {
    let mut request = Template::new(&template::legacy(door, None, INITIALIZE));
    let answer = connection.exchange(request.numbered(FIRST)).await?;
    let body = String::from_utf8_lossy(answer.body).into_owned();
    let session = answer
        .session
        .ok_or_else(|| format!("no session id, but {}: {body}", answer.status))?;
    let mut request = Template::new(&template::legacy(
        door,
        Some(&session),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    ));
    match connection.exchange(request.numbered(FIRST)).await?.status {
        202 => Ok(session),
        status => Err(format!("notifications/initialized was answered with {status}")),
    }
}

async fn end(connection: &mut Connection, door: &Door, session: &str) -> Result<(), String> {
    match connection
        .exchange(template::bare(door, "DELETE", session).as_bytes())
        .await?
        .status
    {
        200..=204 => Ok(()),
        status => Err(format!("DELETE was answered with {status}")),
    }
}

fn check(
    answer: &Answer,
    operation: &Operation,
    expected: &mut [Template],
    number: u64,
) -> Result<(), String> {
    let body = answer.body;
    let wrong = |what: &str| {
        let shown = &body[..body.len().min(600)];
        Err(format!(
            "{what}; status {}: {}",
            answer.status,
            String::from_utf8_lossy(shown)
        ))
    };
    if answer.status != 200 {
        return wrong("not 200");
    }
    // Small answers are looked through; of large ones the envelope's two ends, which is where an id stands.
    let ends = [
        &body[..body.len().min(512)],
        &body[body.len().saturating_sub(512)..],
    ];
    for part in expected {
        let part = part.numbered(number);
        if !ends.iter().any(|end| memmem::find(end, part).is_some()) {
            return wrong(&format!("without {}", String::from_utf8_lossy(part)));
        }
    }
    match operation {
        Operation::Blob(blob) => {
            let key = br#""text":""#;
            let Some(at) = memmem::find(body, key).map(|at| at + key.len()) else {
                return wrong("without a text");
            };
            if body.get(at..at + blob.len()) != Some(blob.as_bytes()) {
                return wrong("with another text");
            }
        }
        Operation::List { tools } => {
            let found = memmem::find_iter(body, br#"{"name":""#).count();
            if found != *tools {
                return wrong(&format!("{found} tools"));
            }
        }
        Operation::Progress { events, .. } => {
            if !answer.is_events {
                return wrong("not a stream");
            }
            let mut rest = body;
            let token = format!(r#""progressToken":{number}"#);
            for event in 1..=*events {
                let progress = format!(r#""progress":{event},"#);
                let next = memmem::find(rest, token.as_bytes())
                    .and_then(|at| Some(at + memmem::find(&rest[at..], progress.as_bytes())?));
                let Some(next) = next else {
                    return wrong(&format!("event {event} is missing"));
                };
                rest = &rest[next..];
            }
        }
        Operation::Echo | Operation::Initialize | Operation::Sleep { .. } => {}
    }
    Ok(())
}

/// Notes how old the stamps are that came since the last look; returns how far it looked.
fn note_delays(body: &[u8], from: usize, delays: &mut Vec<u32>) -> usize {
    let now = now_ns();
    let (key, digits) = (b", sent ", 19);
    let mut looked = from;
    for at in memmem::find_iter(&body[from..], key) {
        let stamp = body.get(from + at + key.len()..from + at + key.len() + digits);
        let Some(sent) = stamp.and_then(|stamp| std::str::from_utf8(stamp).ok()?.parse::<u64>().ok()) else {
            break;
        };
        delays.push(u32::try_from(now.saturating_sub(sent)).unwrap_or(u32::MAX));
        looked = from + at + key.len() + digits;
    }
    looked
}
