//! The GET stream of one upstream session (2025-11-25, Transports, "Listening for Messages from the Server").
//! What comes here belongs to no call: changes of lists and resources, log messages. Requests are refused, except
//! pings; progress is dropped.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::fault::Fault;
use super::legacy::Legacy;
use super::pool::{Key, Slot};
use super::session::{Session, is_list_change};
use super::stream::EventStream;
use super::wire::Reply;
use crate::clock;
use crate::limits::{
    RECONNECT_BACKOFF_MAX, RECONNECT_BACKOFF_MIN, RECONNECT_HEALTHY_AFTER, RESUME_WAIT, RESUME_WAIT_MAX,
    RESUME_WAIT_MIN,
};
use crate::protocol::headers;
use crate::protocol::message::{Message, Notification};
use crate::protocol::method::Method;
use crate::upstream::backoff::Backoff;
use crate::upstream::incoming;

pub(super) const BACKOFF: Backoff = Backoff {
    min: RECONNECT_BACKOFF_MIN,
    max: RECONNECT_BACKOFF_MAX,
};

/// Starts to listen where somebody could hear it, once a session.
pub(super) fn start(legacy: &Arc<Legacy>, slot: &Arc<Slot>, session: &Arc<Session>) {
    let wanted = match slot.key {
        Key::Ourselves => session.handshake.offers.list_changed,
        Key::Of { .. } => slot.outbox().is_some() || !slot.watches.is_empty(),
    };
    if !wanted || !session.claim_hearing() {
        return;
    }
    let hearing = Hearing {
        legacy: Arc::clone(legacy),
        slot: Arc::clone(slot),
        session: Arc::clone(session),
        last_id: None,
        retry: None,
        was_open: false,
    };
    let ended = session.ended.clone();
    legacy.link.supervisor.spawn("upstream GET stream", async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = hearing.run() => {}
        }
    });
}

struct Hearing {
    legacy: Arc<Legacy>,
    slot: Arc<Slot>,
    session: Arc<Session>,
    last_id: Option<String>,
    retry: Option<Duration>,
    was_open: bool,
}

/// Why a stream is not opened again.
enum End {
    /// The upstream has none.
    None,
    /// The upstream no longer knows the session.
    Forgotten,
}

impl Hearing {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let began = clock::now();
            let wait = match self.listen().await {
                Ok(()) => {
                    if began.elapsed() >= RECONNECT_HEALTHY_AFTER {
                        failures = 0;
                    }
                    let plain = self.retry.unwrap_or(RESUME_WAIT);
                    plain
                        .clamp(RESUME_WAIT_MIN, RESUME_WAIT_MAX)
                        .max(slow_down(failures))
                }
                Err(Ok(End::None)) => return,
                Err(Ok(End::Forgotten)) => return self.legacy.lost(&self.slot, &self.session),
                Err(Err(fault)) => {
                    tracing::debug!(gateway.id = %self.legacy.link.gateway, reason = %fault, "no GET stream");
                    BACKOFF.wait(failures)
                }
            };
            failures = failures.saturating_add(1);
            tokio::time::sleep(wait).await;
        }
    }

    /// Opens the stream and reads it to its end.
    async fn listen(&mut self) -> Result<(), Result<End, Fault>> {
        let mut headers = self.session.headers().clone();
        if let Some(id) = &self.last_id
            && let Ok(id) = HeaderValue::from_str(id)
        {
            headers.insert(headers::LAST_EVENT_ID, id);
        }
        let mut stream = match self.legacy.link.wire.get(&headers).await.map_err(Err)? {
            Reply::Events(stream) => stream,
            // A server without GET streams says 405; some have no route for it.
            Reply::Refused(refusal) if !self.was_open && refusal.status.is_client_error() => {
                return Err(Ok(End::None));
            }
            Reply::Refused(refusal) if refusal.status == StatusCode::METHOD_NOT_ALLOWED => {
                return Err(Ok(End::None));
            }
            Reply::Refused(refusal) if self.session.forgotten(&refusal) => return Err(Ok(End::Forgotten)),
            Reply::Refused(refusal) => return Err(Err(refusal.into_fault())),
            Reply::Accepted | Reply::Json(_) => return Err(Ok(End::None)),
        };
        if self.was_open && self.slot.key == Key::Ourselves && self.last_id.is_none() {
            // What was announced meanwhile is lost.
            self.legacy.link.changed();
        }
        self.was_open = true;
        stream.last_id.clone_from(&self.last_id);
        let read = self.read(&mut stream).await;
        self.last_id = stream.last_id;
        self.retry = stream.retry.or(self.retry);
        match read {
            Ok(()) | Err(Fault::Broken(_)) => Ok(()),
            Err(fault) => Err(Err(fault)),
        }
    }

    async fn read(&self, stream: &mut EventStream) -> Result<(), Fault> {
        while let Some(message) = stream.next_message().await? {
            match message {
                Message::Request(request) => self.session.tell_later(incoming::answer_outside(&request)),
                Message::Notification(notification) => outside(&self.legacy, &self.slot, notification),
                Message::Response(_) => self.legacy.link.stray(),
            }
        }
        Ok(())
    }
}

/// A stream that ends again and again at once is opened less and less often.
fn slow_down(failures: u32) -> Duration {
    let extra = failures.checked_sub(8);
    extra.map_or(Duration::ZERO, |extra| BACKOFF.wait(extra))
}

/// Brings a notification that belongs to no call to whom it concerns.
pub(super) fn outside(legacy: &Legacy, slot: &Slot, notification: Notification) {
    match notification.method {
        method if is_list_change(method) => legacy.link.changed(),
        Method::ResourcesUpdated => slot.watches.tell(&notification),
        Method::Progress | Method::Cancelled | Method::Initialized => {}
        method => {
            let level = *slot.level.lock().unwrap_or_else(PoisonError::into_inner);
            if method == Method::LogMessage && !incoming::wanted(level, &notification) {
                return;
            }
            if let Some(outbox) = slot.outbox()
                && !outbox.offer(notification)
            {
                tracing::debug!("a client's outbox is full or closed; a notification was dropped");
            }
        }
    }
}
