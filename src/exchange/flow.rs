//! An answer that is too large to be held: its bytes go from the upstream's connection to the client's as they come.

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::limits::FLOW_PIECES_MAX;

/// An answer on its way to the client, under the client's own id. It is whole when all of its bytes have come; whether
/// the call went well otherwise is said by the answer that follows.
#[derive(Debug)]
pub struct Flow {
    length: u64,
    pieces: mpsc::Receiver<Bytes>,
}

impl Flow {
    /// Makes the way of an answer of so many bytes. The sender waits while [`FLOW_PIECES_MAX`] pieces are on their way.
    #[must_use]
    pub fn new(length: u64) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, pieces) = mpsc::channel(FLOW_PIECES_MAX);
        (sender, Self { length, pieces })
    }

    /// Returns how many bytes there will be.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the next piece; `None` when no more will come.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.pieces.recv().await
    }

    /// Waits for all of it; `None` when it broke off. For who cannot pass it on.
    pub async fn whole(mut self) -> Option<Bytes> {
        let length = usize::try_from(self.length).ok()?;
        let mut text = BytesMut::with_capacity(length);
        while let Some(piece) = self.next().await {
            text.extend_from_slice(&piece);
        }
        (text.len() == length).then(|| text.freeze())
    }
}
