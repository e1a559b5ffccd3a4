//! The GET stream of one upstream session (2025-11-25, Transports, "Listening for Messages from the Server").
//! What comes here belongs to no call: changes of lists and resources, log messages. Progress and requests are a
//! call's after all where that is certain (`talk`); else progress is dropped and requests are refused, except pings.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::sync::oneshot;

use super::fault::Fault;
use super::legacy::Legacy;
use super::link::Link;
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
use crate::protocol::message::{Message, Notification, Request};
use crate::protocol::meta;
use crate::protocol::method::Method;
use crate::upstream::backoff::Backoff;
use crate::upstream::incoming;

pub(super) const BACKOFF: Backoff = Backoff {
    min: RECONNECT_BACKOFF_MIN,
    max: RECONNECT_BACKOFF_MAX,
};

/// Starts to listen where somebody could hear it, once a session. The receiver ends when the upstream has said whether
/// there is a stream.
pub(super) fn start(
    legacy: &Arc<Legacy>,
    slot: &Arc<Slot>,
    session: &Arc<Session>,
) -> Option<oneshot::Receiver<()>> {
    let wanted = match slot.key {
        Key::Ourselves => session.handshake.offers.list_changed,
        Key::Of { .. } => true,
    };
    if !wanted || !session.claim_hearing() {
        return None;
    }
    let (opened, open) = oneshot::channel();
    let hearing = Hearing {
        legacy: Arc::clone(legacy),
        slot: Arc::clone(slot),
        session: Arc::clone(session),
        last_id: None,
        retry: None,
        was_open: false,
        opened: Some(opened),
    };
    let ended = session.ended.clone();
    legacy.link.supervisor.spawn("upstream GET stream", async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = hearing.run() => {}
        }
    });
    Some(open)
}

struct Hearing {
    legacy: Arc<Legacy>,
    slot: Arc<Slot>,
    session: Arc<Session>,
    last_id: Option<String>,
    retry: Option<Duration>,
    was_open: bool,
    /// Dropped when the upstream has answered the first time.
    opened: Option<oneshot::Sender<()>>,
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
        let reply = self.legacy.link.wire.get(&headers).await;
        self.opened = None;
        let mut stream = match reply.map_err(Err)? {
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
            Reply::Accepted | Reply::Json(_) | Reply::Large(_) => return Err(Ok(End::None)),
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
                Message::Request(request) => self.request(request),
                Message::Notification(notification) => self.notification(notification),
                Message::Response(_) => self.legacy.link.stray(),
            }
        }
        Ok(())
    }
}

impl Hearing {
    fn request(&self, request: Request) {
        let ping = request.method == Method::Ping;
        let message = Message::Request(request);
        if !ping && self.slot.running.give_to_only(&message) {
            return;
        }
        if let Message::Request(request) = &message {
            self.session.answer_later(incoming::answer_outside(request));
        }
    }

    fn notification(&self, notification: Notification) {
        match notification.method {
            Method::Progress => {
                let token =
                    (notification.params.as_ref()).and_then(|params| params.get(meta::PROGRESS_TOKEN));
                if let Some(token) = token {
                    let progress = Message::Notification(notification);
                    self.slot.running.give_by_token(&token, progress);
                }
            }
            // Nobody hears log messages outside of calls on a session that calls share.
            Method::LogMessage if self.slot.outbox().is_none() => {
                self.slot
                    .running
                    .give_to_only(&Message::Notification(notification));
            }
            _ => outside(&self.legacy.link, &self.slot, notification),
        }
    }
}

/// A stream that ends again and again at once is opened less and less often.
fn slow_down(failures: u32) -> Duration {
    let extra = failures.checked_sub(8);
    extra.map_or(Duration::ZERO, |extra| BACKOFF.wait(extra))
}

/// Brings a notification that belongs to no call to whom it concerns.
pub(super) fn outside(link: &Link, slot: &Slot, notification: Notification) {
    match notification.method {
        // A server tells every session: ours counts, a client's is a reason to look.
        method if is_list_change(method) && slot.key == Key::Ourselves => link.announced(method),
        method if is_list_change(method) => link.changed(),
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
