//! Response bodies of the mock upstream: pieces that are there already, sent at once or one after the other.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// A body. Each piece becomes a chunk of its own when the length is not known.
#[derive(Debug)]
pub(crate) struct Pieces {
    left: VecDeque<Bytes>,
    length_known: bool,
    ends: bool,
    pause: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Pieces {
    /// With `Content-Length`.
    pub(crate) fn known(pieces: Vec<Bytes>) -> Self {
        Self {
            left: pieces.into(),
            length_known: true,
            ends: true,
            pause: None,
        }
    }

    /// Chunked, with a pause before each piece.
    pub(crate) fn streamed(pieces: Vec<Bytes>, pause: Duration) -> Self {
        let pause = (!pause.is_zero()).then(|| (pause, Box::pin(sleep(pause))));
        Self {
            left: pieces.into(),
            length_known: false,
            ends: true,
            pause,
        }
    }

    /// Chunked, one piece and then silence.
    pub(crate) fn endless(piece: Bytes) -> Self {
        Self {
            left: [piece].into(),
            length_known: false,
            ends: false,
            pause: None,
        }
    }
}

/// Stands where a paced piece says when it was sent: nanoseconds since 1970, in as many digits.
pub(crate) const STAMP: &str = "@@@@@@@@@@@@@@@@@@@";

/// Returns the time in the form of a stamp.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn stamped(piece: &Bytes) -> Bytes {
    let Some(at) = memchr::memmem::find(piece, STAMP.as_bytes()) else {
        return piece.clone();
    };
    let mut piece = piece.to_vec();
    piece[at..at + STAMP.len()].copy_from_slice(format!("{:019}", now_ns()).as_bytes());
    piece.into()
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() && !self.ends {
            return Poll::Pending;
        }
        if !self.left.is_empty()
            && let Some((pause, waiting)) = &mut self.pause
        {
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            *waiting = Box::pin(sleep(*pause));
        }
        let stamps = self.pause.is_some();
        let piece = self.left.pop_front();
        let piece = piece.map(|piece| if stamps { stamped(&piece) } else { piece });
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.ends && self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if !self.length_known {
            return SizeHint::new();
        }
        SizeHint::with_exact(self.left.iter().map(|piece| piece.len() as u64).sum())
    }
}
