//! Reads a request's body, bounded in bytes and time. Every reader of bodies goes through [`read_body`].

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt;

use super::Problem;

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than `bytes_max`, or says so.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The cap.
        bytes_max: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// The connection broke, or the body is malformed.
    #[error("the body could not be read")]
    Broken(#[source] axum::Error),
}

impl BodyError {
    /// Returns the status with which a request that has such a body is refused.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

/// Reads a whole body of at most `bytes_max` bytes within `timeout`. A `Content-Length` over the cap is refused before
/// anything is read. A body that came in one piece is not copied. Dropping the future leaves the rest unread.
///
/// # Errors
/// [`BodyError`] by cause.
pub async fn read_body(body: Body, bytes_max: usize, timeout: Duration) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge { bytes_max });
    }
    tokio::time::timeout(timeout, collect(body, bytes_max))
        .await
        .unwrap_or(Err(BodyError::TooSlow(timeout)))
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(BodyError::Broken)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLarge { bytes_max });
        }
        if first.is_empty() {
            first = chunk;
        } else {
            if rest.is_empty() {
                let whole = usize::try_from(body.size_hint().lower()).unwrap_or(0) + chunk.len();
                rest.reserve(whole.min(bytes_max));
            }
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;

    const SECOND: Duration = Duration::from_secs(1);

    fn chunks(chunks: Vec<&'static [u8]>) -> Body {
        let chunks = chunks
            .into_iter()
            .map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk)));
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_cap_is_read_and_one_byte_more_is_too_large() {
        let read = read_body(chunks(vec![b"ab", b"", b"cd"]), 4, SECOND)
            .await
            .unwrap();
        assert_eq!(read, "abcd");
        let read = read_body(chunks(vec![b"ab", b"cd", b"e"]), 4, SECOND).await;
        assert!(matches!(read, Err(BodyError::TooLarge { bytes_max: 4 })));
    }

    #[tokio::test]
    async fn a_body_that_says_its_length_is_refused_unread() {
        let read = read_body(Body::from("abcde"), 4, Duration::ZERO).await;
        assert!(matches!(read, Err(BodyError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let piece = Bytes::from(vec![7; 1_000]);
        let read = read_body(Body::from(piece.clone()), 1_000, SECOND).await.unwrap();
        assert_eq!(read.as_ptr(), piece.as_ptr());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_too_slow() {
        let endless = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let read = read_body(endless, 4, SECOND).await;
        assert!(matches!(read, Err(BodyError::TooSlow(SECOND))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_too_slow_as_a_whole() {
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), ()))
        });
        let read = read_body(Body::from_stream(drip), 1_000, SECOND).await;
        assert!(matches!(read, Err(BodyError::TooSlow(SECOND))));
    }

    #[test]
    fn every_cause_has_its_status() {
        let broken = BodyError::Broken(axum::Error::new("x"));
        assert_eq!(broken.status(), 400);
        assert_eq!(BodyError::TooSlow(SECOND).status(), 408);
        assert_eq!(BodyError::TooLarge { bytes_max: 1 }.status(), 413);
    }
}
