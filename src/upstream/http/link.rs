//! What both eras of one gateway share: the wire, the clock of changes, the ids of our own requests.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::wire::{Refusal, Wire};
use crate::exchange::Call;
use crate::ids::GatewayId;
use crate::protocol::error::{INVALID_PARAMS, METHOD_NOT_FOUND, URL_ELICITATION_REQUIRED};
use crate::protocol::json::Raw;
use crate::protocol::message::RpcId;
use crate::protocol::meta;
use crate::protocol::method::Method;
use crate::supervisor::Supervisor;
use crate::upstream::transport::Announced;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) gateway: GatewayId,
    pub(super) wire: Wire,
    pub(super) supervisor: Supervisor,
    pub(super) question_timeout: Duration,
    /// The first event on a GET was `endpoint`: the transport of 2024-11-05.
    pub(super) old_sse: AtomicBool,
    /// Cancelled when the link is gone: ends every stream that is not a call's.
    pub(super) down: CancellationToken,
    changes: watch::Sender<Announced>,
    minted: AtomicU64,
    strays: AtomicU64,
}

impl Link {
    pub(super) fn new(
        gateway: GatewayId,
        wire: Wire,
        supervisor: Supervisor,
        question_timeout: Duration,
    ) -> Self {
        Self {
            gateway,
            wire,
            supervisor,
            question_timeout,
            old_sse: AtomicBool::new(false),
            down: CancellationToken::new(),
            changes: watch::Sender::new(Announced::default()),
            minted: AtomicU64::new(0),
            strays: AtomicU64::new(0),
        }
    }

    /// Says that lists may have changed.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|announced| announced.link += 1);
    }

    /// Says that the upstream announced a change of a list.
    pub(super) fn announced(&self, method: Method) {
        self.changes.send_modify(|announced| announced.heard(method));
    }

    pub(super) fn changes(&self) -> watch::Receiver<Announced> {
        self.changes.subscribe()
    }

    /// Makes a number that no other request of ours to this gateway carries.
    pub(super) fn mint(&self) -> u64 {
        self.minted.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes an id for a request of our own. A string, so that it meets none of a client's numbers.
    pub(super) fn own_id(&self) -> RpcId {
        let number = self.mint();
        RpcId::new(Raw::from(format!("toolgate-{number}").as_str())).unwrap_or_else(|| RpcId::number(number))
    }

    /// Tells whether a refusal of a request says that the session whose URL this is was deleted. Nothing was processed.
    pub(super) fn gone(&self, refusal: &Refusal) -> Option<Fault> {
        let about_the_request = matches!(
            refusal.code(),
            Some(INVALID_PARAMS | METHOD_NOT_FOUND | URL_ELICITATION_REQUIRED)
        );
        let gone = matches!(refusal.status, StatusCode::NOT_FOUND | StatusCode::GONE);
        (self.wire.is_private() && gone && !about_the_request).then_some(Fault::Gone(refusal.status))
    }

    /// Counts an answer that belongs to no request of ours.
    pub(super) fn stray(&self) {
        let strays = self.strays.fetch_add(1, Ordering::Relaxed) + 1;
        // A hostile upstream must not fill the log.
        if strays.is_power_of_two() {
            tracing::warn!(gateway.id = %self.gateway, strays, "answers to requests that were not asked were dropped");
        }
    }

    pub(super) fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }
}

/// Returns the headers of a call, with its trace context.
pub(super) fn traced<'a>(headers: &'a HeaderMap, call: &Call) -> Cow<'a, HeaderMap> {
    let value = call.traceparent.as_deref().map(HeaderValue::from_str);
    let Some(Ok(value)) = value else {
        return Cow::Borrowed(headers);
    };
    let mut headers = headers.clone();
    headers.insert(HeaderName::from_static(meta::TRACEPARENT), value);
    Cow::Owned(headers)
}
