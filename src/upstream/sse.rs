//! Upstreams of the HTTP+SSE transport (2024-11-05, Transports): an event stream announces where messages are posted,
//! and everything that comes back comes on that stream. One connection is one session, of one conversation.
//! Messages and credentials only go to the origin that the operator configured.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use url::Url;

use super::duplex::{Connect, Duplex, Inbox, OpenError, Outgoing, Port, Setting};
use super::http::fault::Fault;
use super::http::stream::EventStream;
use super::http::wire::{Reply, Wire};
use super::http::{HttpSettings, SettingsError};
use super::transport::Transport;
use crate::config::{EraChoice, Processes};
use crate::ids::GatewayId;
use crate::limits::{FIRST_BYTE_TIMEOUT, SSE_PING_INTERVAL, SSE_POSTS_MAX, URI_BYTES_MAX};
use crate::protocol::json::Raw;
use crate::protocol::message::{self, RpcId};
use crate::protocol::method::Method;
use crate::supervisor::Supervisor;

/// Makes the link of a gateway; `url` is that of its event stream. Nothing is connected yet.
///
/// # Errors
/// [`SettingsError`]: a header that cannot be sent, TLS that cannot be set up.
pub fn transport(
    settings: HttpSettings,
    supervisor: &Supervisor,
) -> Result<Arc<dyn Transport>, SettingsError> {
    let server = Server {
        gateway: settings.gateway.clone(),
        wire: Wire::new(
            settings.url,
            &settings.headers,
            settings.result_bytes_max,
            supervisor,
        )?,
        supervisor: supervisor.clone(),
    };
    let setting = Setting {
        gateway: settings.gateway,
        shares: Processes::PerSession,
        era: EraChoice::Legacy,
        timeout: settings.call_timeout,
        question_timeout: settings.question_timeout,
    };
    Ok(Arc::new(Duplex::new(server, setting, supervisor)))
}

/// Opens the connections of one gateway.
struct Server {
    gateway: GatewayId,
    wire: Wire,
    supervisor: Supervisor,
}

impl Connect for Server {
    fn connect(&self, port: Port) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(async move {
            let opened = self.open().await;
            let (stream, messages) = opened.map_err(OpenError::Failed)?;
            let connection = Connection {
                gateway: self.gateway.clone(),
                messages,
            };
            self.supervisor
                .spawn("HTTP+SSE connection", connection.run(stream, port));
            Ok(())
        })
    }
}

impl Server {
    /// Opens the stream and waits for the announcement of where messages go.
    async fn open(&self) -> Result<(Box<EventStream>, Wire), String> {
        let mut stream = match self.wire.get(&HeaderMap::new()).await {
            Ok(Reply::Events(stream)) => stream,
            Ok(Reply::Refused(refusal)) => return Err(refusal.into_fault().to_string()),
            Ok(Reply::Json(_) | Reply::Large(_) | Reply::Accepted) => {
                return Err("it gave no event stream; is `url` that of one?".to_owned());
            }
            Err(fault) => return Err(fault.to_string()),
        };
        let announced = tokio::time::timeout(FIRST_BYTE_TIMEOUT, announcement(&mut stream)).await;
        let announced = announced
            .map_err(|_| "it announced no endpoint on its event stream".to_owned())?
            .map_err(|fault| fault.to_string())?;
        let endpoint = endpoint(self.wire.url(), &announced)?;
        Ok((stream, self.wire.at(endpoint)))
    }
}

/// Reads up to the `endpoint` event.
async fn announcement(stream: &mut EventStream) -> Result<Bytes, Fault> {
    while let Some(event) = stream.next_event().await? {
        if event.event == "endpoint" {
            return Ok(event.data);
        }
    }
    Err(Fault::NoAnswer(String::new()))
}

/// Reads where messages are posted: relative or absolute, and never anywhere else than to the stream's own origin.
fn endpoint(stream: &Url, announced: &[u8]) -> Result<Url, String> {
    let text = std::str::from_utf8(announced)
        .ok()
        .map(str::trim)
        .filter(|text| !text.is_empty() && text.len() <= URI_BYTES_MAX);
    let url = text.and_then(|text| stream.join(text).ok());
    let url = url.ok_or_else(|| "the endpoint that it announced is no URL".to_owned())?;
    let same = url.origin() == stream.origin() && url.origin().is_tuple();
    if !same || !url.username().is_empty() || url.password().is_some() {
        return Err("the endpoint that it announced is of another origin; nothing is sent there".to_owned());
    }
    Ok(url)
}

/// One open connection.
struct Connection {
    gateway: GatewayId,
    messages: Wire,
}

impl Connection {
    async fn run(self, stream: Box<EventStream>, port: Port) {
        let Port {
            inbox,
            mut outgoing,
            stop,
            ..
        } = port;
        let reason = tokio::select! {
            () = stop.cancelled() => "it was ended".to_owned(),
            reason = self.read(stream, &inbox) => reason,
            reason = self.write(&mut outgoing, &inbox) => reason,
        };
        tracing::debug!(gateway.id = %self.gateway, reason, "an HTTP+SSE connection has ended");
        inbox.closed(&reason);
    }

    /// Reads messages; returns how the stream ended.
    async fn read(&self, mut stream: Box<EventStream>, inbox: &Inbox) -> String {
        loop {
            match stream.next_event().await {
                Ok(Some(event)) if event.event == "message" && !event.data.is_empty() => {
                    if let Err(error) = inbox.message(&event.data) {
                        tracing::warn!(gateway.id = %self.gateway, %error, "an event is no message; it is skipped");
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return "it closed its event stream".to_owned(),
                Err(fault) => return fault.to_string(),
            }
        }
    }

    /// Posts messages, several at a time: some servers hold a post back until they have answered it. Returns when the
    /// session is gone.
    async fn write(&self, outgoing: &mut mpsc::Receiver<Outgoing>, inbox: &Inbox) -> String {
        let mut posts = FuturesUnordered::new();
        let mut pings = interval(SSE_PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        loop {
            let room = posts.len() < SSE_POSTS_MAX;
            tokio::select! {
                Some(gone) = posts.next() => if let Some(reason) = gone {
                    return reason;
                },
                Some(next) = outgoing.recv(), if room => posts.push(self.post(next, inbox)),
                _ = pings.tick(), if room => posts.push(self.post(ping(), inbox)),
            }
        }
    }

    /// Posts one message; returns the reason when there is no session any more.
    async fn post(&self, next: Outgoing, inbox: &Inbox) -> Option<String> {
        let Outgoing { message, id } = next;
        let posted = self
            .messages
            .post(message, &HeaderMap::new(), FIRST_BYTE_TIMEOUT)
            .await;
        let fault = match posted {
            Ok((Reply::Refused(refusal), _)) => refusal.into_fault(),
            // The answer comes on the stream, whatever is said here, and however late.
            Ok(_) | Err(Fault::Timeout(_)) => return None,
            Err(Fault::ContentType { status, .. }) if status.is_success() => return None,
            Err(fault) => fault,
        };
        let reason = fault.to_string();
        if let Some(id) = id {
            inbox.undelivered(id, &reason, fault.processed());
        }
        let gone = matches!(&fault, Fault::Status { status, .. } if matches!(status.as_u16(), 404 | 410));
        gone.then_some(reason)
    }
}

/// Makes a ping whose answer nobody waits for: that something arrives is enough.
fn ping() -> Outgoing {
    let method = Raw::from(Method::Ping.as_str());
    let id = RpcId::new(Raw::literal(r#""keep-alive""#));
    Outgoing {
        message: id.map_or_else(Bytes::new, |id| message::request(&id, &method, None)),
        id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_only_go_to_the_origin_of_the_stream() {
        let stream = Url::parse("https://a.example:8443/base/sse?key=1").unwrap();
        for (announced, target) in [
            (
                "/message?sessionId=7",
                "https://a.example:8443/message?sessionId=7",
            ),
            ("message", "https://a.example:8443/base/message"),
            ("?sessionId=7", "https://a.example:8443/base/sse?sessionId=7"),
            ("https://a.example:8443/m", "https://a.example:8443/m"),
            (" /m \r\n", "https://a.example:8443/m"),
        ] {
            assert_eq!(endpoint(&stream, announced.as_bytes()).unwrap().as_str(), target);
        }
        for announced in [
            "https://b.example:8443/m",
            "https://a.example/m",
            "http://a.example:8443/m",
            "//b.example/m",
            "\\\\b.example/m",
            "https://a.example:8443@b.example/m",
            "https://user@a.example:8443/m",
            "https://user:word@a.example:8443/m",
            "file:///etc/passwd",
            "data:text/plain,x",
            "javascript:1",
            "http://[::1",
            "",
            "  ",
        ] {
            assert!(endpoint(&stream, announced.as_bytes()).is_err(), "{announced}");
        }
        assert!(endpoint(&stream, b"\xff").is_err());
        let long = "x".repeat(URI_BYTES_MAX + 1);
        assert!(endpoint(&stream, long.as_bytes()).is_err());
    }
}
