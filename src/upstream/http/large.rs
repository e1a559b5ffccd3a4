//! A JSON answer that is too large to be held. Where nothing in it has to be changed or known before it leaves, it goes
//! on to the client as it comes; any other is read as a whole. Its length is known and within the cap before a byte of
//! it is read.

use bytes::{Bytes, BytesMut};

use super::client::{Body, root_cause};
use super::fault::Fault;
use crate::exchange::{Call, Event, Flow};
use crate::limits::FIRST_BYTE_TIMEOUT;
use crate::protocol::json::Raw;
use crate::protocol::message::{self, Message, Response, RpcId};
use crate::protocol::passing::{Head, Passing};
use crate::protocol::version::Era;

/// An answer whose body has not been read.
#[derive(Debug)]
pub(in crate::upstream) struct Large {
    body: Body,
    length: usize,
}

/// What became of it.
pub(super) enum Read {
    /// All of it, for who must know it.
    Whole(Bytes),
    /// It went on to the client; this tells how it ended.
    Passed(Response),
}

impl Large {
    pub(super) fn new(body: Body, length: usize) -> Self {
        Self { body, length }
    }

    /// Passes the answer to a call on, if it can be; `sent` is the id that the call went out with.
    pub(super) async fn read(mut self, call: &Call, sent: &RpcId, era: Era) -> Result<Read, Fault> {
        let first = self.chunk().await?.unwrap_or_default();
        let streams = call.streams && call.client.version.era() == era;
        let head = streams.then(|| Head::find(&first, era)).flatten();
        match head {
            Some(head) if head.id.same(sent) => self.pass(head, first, call, era).await.map(Read::Passed),
            _ => self.whole(first).await.map(Read::Whole),
        }
    }

    async fn whole(mut self, first: Bytes) -> Result<Bytes, Fault> {
        let mut text = BytesMut::with_capacity(self.length);
        text.extend_from_slice(&first);
        while let Some(chunk) = self.chunk().await? {
            text.extend_from_slice(&chunk);
        }
        Ok(text.freeze())
    }

    /// Nothing of this may be done twice: the client has seen the beginning.
    async fn pass(self, head: Head, first: Bytes, call: &Call, era: Era) -> Result<Response, Fault> {
        let passed = self.pass_on(head, first, call, era).await;
        passed.map_err(|fault| match fault {
            fault @ (Fault::Cancelled | Fault::NotAMessage(_)) => fault,
            fault => Fault::NotAMessage(format!("its answer broke off: {fault}")),
        })
    }

    async fn pass_on(mut self, head: Head, first: Bytes, call: &Call, era: Era) -> Result<Response, Fault> {
        let malformed = |error| Fault::NotAMessage(format!("{error}"));
        let mut passing = Passing::behind(era);
        passing
            .watch(first.get(head.behind..).unwrap_or_default())
            .map_err(malformed)?;
        let id = call.request.id.raw().as_bytes();
        let length = (self.length - head.at.len() + id.len()) as u64;
        let (pieces, flow) = Flow::new(length);
        let front = [first.get(..head.at.start).unwrap_or_default(), id].concat();
        for piece in [front.into(), first.slice(head.at.end..)] {
            let _ = pieces.send(piece).await;
        }
        // A client that listens no more does not end its call: what comes is read all the same.
        let _ = call.events.send(Event::Answer(flow)).await;
        while let Some(chunk) = self.chunk().await? {
            passing.watch(&chunk).map_err(malformed)?;
            let _ = pieces.send(chunk).await;
            // A slow reader is no slow upstream.
            call.events.alive();
        }
        let failed = passing.end().map_err(malformed)?;
        ended(&call.request.id, failed, length).ok_or_else(|| Fault::NotAMessage("no answer".to_owned()))
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        match tokio::time::timeout(FIRST_BYTE_TIMEOUT, self.body.chunk()).await {
            Err(_) => Err(Fault::Timeout(FIRST_BYTE_TIMEOUT)),
            Ok(chunk) => chunk.map_err(|error| Fault::Broken(root_cause(&error))),
        }
    }
}

/// Makes what is told of an answer that has passed.
fn ended(id: &RpcId, failed: bool, length: u64) -> Option<Response> {
    let result = Raw::literal(if failed { r#"{"isError":true}"# } else { "{}" });
    match Message::parse(message::response(id, &result)) {
        Ok(Message::Response(response)) => Some(Response {
            passed: Some(length),
            ..response
        }),
        _ => None,
    }
}
