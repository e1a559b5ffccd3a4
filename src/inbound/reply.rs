//! HTTP responses of the endpoint: JSON, event streams, and those without a body.

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use crate::protocol::error::RpcError;
use crate::protocol::headers::ACCEL_BUFFERING;
use crate::protocol::message::{self, RpcId};
use crate::web::MostlyWaits;

/// A response without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A notification or response of the client was taken.
pub(super) fn accepted() -> Response<Body> {
    empty(StatusCode::ACCEPTED)
}

/// One JSON-RPC message.
pub(super) fn json(status: StatusCode, text: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON-RPC error.
pub(super) fn error(status: StatusCode, id: Option<&RpcId>, error: &RpcError) -> Response<Body> {
    json(status, message::error_response(id, error))
}

/// One JSON-RPC message of so many bytes, as it comes.
pub(super) fn flowing<E: Into<BoxError>>(
    length: u64,
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A stream of events.
pub(super) fn events(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    use futures_util::StreamExt;
    let chunks = chunks.map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// A stream of events that mostly waits: it takes no place among the requests in flight.
pub(super) fn waiting(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let mut response = events(chunks);
    response.extensions_mut().insert(MostlyWaits);
    response
}
