//! Tells a legacy upstream that nobody waits for an answer any more, however that came about
//! (2025-11-25, Cancellation): the client cancelled, or the call's future was dropped.

use std::sync::Arc;

use super::own;
use super::session::Session;
use crate::protocol::json::Raw;
use crate::protocol::message::{self, RpcId};
use crate::protocol::method::Method;

/// Sends `notifications/cancelled` when it is dropped before it was disarmed.
pub(super) struct Abandoned {
    session: Arc<Session>,
    id: Option<RpcId>,
}

impl Abandoned {
    pub(super) fn new(session: &Arc<Session>, id: RpcId) -> Self {
        Self {
            session: Arc::clone(session),
            id: Some(id),
        }
    }

    pub(super) fn disarm(&mut self) {
        self.id = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let params = own::object(&[
            ("requestId", id.raw().clone()),
            ("reason", Raw::literal("\"nobody waits for the answer any more\"")),
        ]);
        let body = message::notification(Method::Cancelled, Some(&params));
        self.session.tell_later(body);
    }
}
