//! The GET stream of a legacy session: what belongs to no request. Changed lists, watched resources, log messages
//! outside of calls. One stream a session: a newer one takes over (2025-11-25, "Listening for Messages").

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::Response;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::session::{OpenStream, Session};
use super::{Parts, Text, reply};
use crate::catalog::Changes;
use crate::catalog::route::Route;
use crate::clock::{self, Instant};
use crate::limits::{KEEP_ALIVE_INTERVAL, LIST_CHANGED_INTERVAL};
use crate::protocol::message::{self, Notification};
use crate::protocol::meta::LogLevel;
use crate::protocol::method::Method;
use crate::protocol::sse;
use crate::telemetry::Counted;

/// Opens the stream.
pub(super) fn stream(parts: &Parts, session: Arc<Session>) -> Response<Body> {
    let (replaced, open) = session.open_stream();
    let news = News {
        changes: ListChanges::new(parts.catalog.changes(), session.told()),
        draining: parts.draining.clone(),
        replaced,
        session,
        _open: open,
        _counted: parts.metrics.stream_opened(),
    };
    // The comment sends the head off at once: clients wait for it.
    reply::waiting(stream::unfold((news, true), |(mut news, first)| async move {
        if first {
            return Some((Bytes::from_static(sse::KEEP_ALIVE), (news, false)));
        }
        let chunk = news.next().await?;
        Some((chunk, (news, false)))
    }))
}

struct News {
    session: Arc<Session>,
    changes: ListChanges,
    draining: CancellationToken,
    replaced: CancellationToken,
    _open: OpenStream,
    _counted: Counted,
}

impl News {
    async fn next(&mut self) -> Option<Bytes> {
        let quiet_until = clock::now() + KEEP_ALIVE_INTERVAL;
        loop {
            let mut inbox = self.session.inbox.lock().await;
            let texts = tokio::select! {
                biased;
                () = self.draining.cancelled() => return None,
                () = self.replaced.cancelled() => return None,
                said = inbox.recv() => heard(&self.session, said?),
                changed = self.changes.next() => {
                    self.session.tell(self.changes.told);
                    changed.into_iter().map(|method| message::notification(method, None)).collect()
                }
                () = tokio::time::sleep_until(quiet_until) => return Some(Bytes::from_static(sse::KEEP_ALIVE)),
            };
            let mut out = BytesMut::new();
            for text in texts {
                sse::write_event(&mut out, None, &text);
            }
            if !out.is_empty() {
                return Some(out.freeze());
            }
        }
    }
}

/// Returns what a session is told of what an upstream said outside of calls.
fn heard(session: &Session, said: Notification) -> Vec<Text> {
    let text = |key: &str| said.params.as_ref().and_then(|params| params.string(key));
    match said.method {
        Method::LogMessage => {
            let level = text("level").and_then(|level| LogLevel::parse(&level));
            let wanted = level.is_none_or(|level| level >= session.level());
            if wanted { vec![said.raw] } else { Vec::new() }
        }
        Method::ResourcesUpdated if !session.watches(&text("uri").unwrap_or_default()) => Vec::new(),
        _ => vec![said.raw],
    }
}

/// Tells whether an update is of a watched resource, or of something below it. Upstreams tell the exposed URI of what
/// is watched itself, and their own URI of what lies below.
pub(super) fn concerns(watched: &Route, uri: &str) -> bool {
    let below = uri.strip_prefix(&*watched.own);
    *watched.exposed == *uri || below.is_some_and(|rest| rest.starts_with('/'))
}

/// Tells which lists changed, at most once in [`LIST_CHANGED_INTERVAL`].
pub(super) struct ListChanges {
    news: watch::Receiver<Changes>,
    /// Of which changes was told.
    pub(super) told: Changes,
    last: Option<Instant>,
}

impl ListChanges {
    /// Starts with what the client knows already.
    pub(super) fn new(news: watch::Receiver<Changes>, told: Changes) -> Self {
        Self {
            news,
            told,
            last: None,
        }
    }

    /// Waits for a change and returns the notifications to send. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Vec<Method> {
        let told = self.told;
        let changed = self.news.wait_for(|now| *now != told).await.map(|now| *now);
        let Ok(_) = changed else {
            return std::future::pending().await;
        };
        if let Some(last) = self.last {
            tokio::time::sleep_until(last + LIST_CHANGED_INTERVAL).await;
        }
        let now = *self.news.borrow();
        let differs = [
            (Method::ToolsListChanged, now.tools != told.tools),
            (Method::PromptsListChanged, now.prompts != told.prompts),
            (Method::ResourcesListChanged, now.resources != told.resources),
        ];
        self.told = now;
        self.last = Some(clock::now());
        differs
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(method, _)| method)
            .collect()
    }
}
