//! One call on one legacy session while it runs: what its own stream brings, and what came on the session's GET
//! stream but is this call's. Servers put progress and questions there although the specification wants them on the
//! stream of the request; they belong to the call whose token they carry, or to the only one that runs.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::fault::Fault;
use super::hearing;
use super::link::Link;
use super::pool::Slot;
use super::session::Session;
use crate::exchange::{Call, queue};
use crate::limits::{ANSWERS_AT_ONCE_MAX, ASIDES_MAX, QUESTIONS_PER_CALL_MAX};
use crate::protocol::json::Raw;
use crate::protocol::message::{Message, Response};
use crate::upstream::incoming::{Asked, Incoming, Now, Taken};
use crate::upstream::outgoing::Mapped;

/// The calls that run on one session.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    /// The progress token that went upstream.
    token: Option<Raw>,
    asides: queue::Sender<Message>,
}

impl Running {
    fn enter(&self, token: Option<Raw>) -> queue::Receiver<Message> {
        let (asides, receiver) = queue::bounded(ASIDES_MAX);
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|entry| !entry.asides.is_closed());
        running.push(Entry { token, asides });
        receiver
    }

    /// Gives a message to the call with a progress token.
    pub(super) fn give_by_token(&self, token: &Raw, message: Message) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = running
            .iter()
            .find(|entry| !entry.asides.is_closed() && entry.token.as_ref() == Some(token));
        if let Some(entry) = entry {
            // An upstream is never held up here: what does not fit is dropped.
            let _ = entry.asides.try_send(message);
        }
    }

    /// Gives a message to the only call that runs; false when there is none or more, or it has no room.
    pub(super) fn give_to_only(&self, message: &Message) -> bool {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = running.iter().filter(|entry| !entry.asides.is_closed());
        match (open.next(), open.next()) {
            (Some(only), None) => only.asides.try_send(message.clone()).is_ok(),
            _ => false,
        }
    }
}

type Told<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

/// One call while it runs.
pub(super) struct Talk<'a> {
    link: &'a Link,
    slot: &'a Slot,
    session: &'a Session,
    call: &'a Call,
    incoming: Incoming<'a>,
    asides: queue::Receiver<Message>,
    /// What is being brought back to the upstream; most calls never have any.
    told: Option<Told<'a>>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        link: &'a Link,
        slot: &'a Slot,
        session: &'a Session,
        call: &'a Call,
        mapped: &Mapped,
    ) -> Self {
        let incoming = Incoming::new(call, mapped);
        Self {
            link,
            slot,
            session,
            call,
            asides: slot.running.enter(incoming.token().cloned()),
            incoming,
            told: None,
        }
    }

    /// Waits for something of the call while everything beside it goes on.
    pub(super) async fn until<T>(
        &mut self,
        mut wanted: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Fault> {
        loop {
            let aside = tokio::select! {
                biased;
                () = self.call.cancel.cancelled() => return Err(Fault::Cancelled),
                Some(()) = one_told(&mut self.told) => continue,
                Some(aside) = self.asides.recv() => aside,
                done = &mut wanted => return Ok(done),
            };
            // Never a response: those are not given to calls.
            Box::pin(self.take(aside)).await?;
        }
    }

    /// Deals with one message; returns the response when it is the one.
    pub(super) async fn take(&mut self, message: Message) -> Result<Option<Response>, Fault> {
        let taken = self.incoming.take(message).await?;
        Ok(self.act(taken))
    }

    /// Deals with one message as far as that needs no waiting: most are passed on and done.
    #[inline]
    pub(super) fn take_now(&mut self, message: Message) -> Result<Option<Response>, Box<Now>> {
        match self.incoming.take_now(message) {
            Now::Taken(Taken::Done) => Ok(None),
            Now::Taken(taken) => Ok(self.act(taken)),
            now => Err(Box::new(now)),
        }
    }

    /// Goes on where that did not do.
    pub(super) async fn take_on(&mut self, now: Box<Now>) -> Result<Option<Response>, Fault> {
        match *now {
            Now::Taken(taken) => Ok(self.act(taken)),
            Now::Waits(waiting) => {
                self.incoming.wait(waiting).await?;
                Ok(None)
            }
            Now::Request(request) => self.take(Message::Request(request)).await,
        }
    }

    fn act(&mut self, taken: Taken) -> Option<Response> {
        match taken {
            Taken::Answer(response) => return Some(response),
            Taken::Done => {}
            Taken::Send(_)
                if self.told.as_ref().map_or(0, Told::len)
                    >= ANSWERS_AT_ONCE_MAX + QUESTIONS_PER_CALL_MAX =>
            {
                tracing::debug!(gateway.id = %self.link.gateway, "too many requests of an upstream at once; one is not answered");
            }
            Taken::Send(body) => self.bring(tell(self.link, self.session, body).boxed()),
            Taken::Asked(asked) => self.bring(answer(self.link, self.session, asked).boxed()),
            Taken::ListsChanged(_) => self.link.changed(),
            Taken::Outside(notification) => hearing::outside(self.link, self.slot, notification),
            Taken::Stray => self.link.stray(),
        }
        None
    }

    fn bring(&mut self, work: BoxFuture<'a, ()>) {
        self.told.get_or_insert_default().push(work);
    }
}

/// Waits until one thing was brought back; `None` when there is none on its way.
async fn one_told(told: &mut Option<Told<'_>>) -> Option<()> {
    told.as_mut()?.next().await
}

async fn answer(link: &Link, session: &Session, asked: Asked) {
    let body = asked.answer(link.question_timeout).await;
    tell(link, session, body).await;
}

async fn tell(link: &Link, session: &Session, body: Bytes) {
    if let Err(fault) = session.tell(body).await {
        tracing::warn!(gateway.id = %link.gateway, reason = %fault, "an upstream did not take the answer to its question");
    }
}
