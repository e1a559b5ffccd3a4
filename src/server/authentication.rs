//! Puts an `Arc<Principal>` into the request's extensions, or refuses. A service is mounted *inside* this, so nothing
//! behind it can be reached without a principal.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, Ready, ready};
use http::StatusCode;
use tower::Service;

use crate::identity::{AuthError, Identity};
use crate::web::Problem;

/// A service that only principals reach.
#[derive(Clone, Debug)]
pub(super) struct Authenticated<S> {
    identity: Arc<Identity>,
    inner: S,
}

impl<S> Authenticated<S> {
    pub(super) fn new(identity: Arc<Identity>, inner: S) -> Self {
        Self { identity, inner }
    }
}

impl<S> Service<Request> for Authenticated<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.identity.authenticate(request.headers()) {
            Ok(principal) => {
                request.extensions_mut().insert(principal);
                Either::Right(self.inner.call(request))
            }
            Err(error) => {
                tracing::info!(%error, "request refused");
                Either::Left(ready(Ok(Problem::from(error).into_response())))
            }
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let status = match error {
            AuthError::Missing | AuthError::Unknown => StatusCode::UNAUTHORIZED,
            AuthError::Malformed(_) | AuthError::InvalidUser => StatusCode::BAD_REQUEST,
            AuthError::MayNotAct => StatusCode::FORBIDDEN,
        };
        let what_to_do = match error {
            AuthError::Missing | AuthError::Unknown | AuthError::Malformed(_) => {
                "send a key as `Authorization: Bearer <key>` or `X-API-Key: <key>`"
            }
            AuthError::InvalidUser => "send one `X-User-Id`",
            AuthError::MayNotAct => "leave out `X-User-Id`, or use a key with acts_for_users",
        };
        Self::new(status, format!("{error}; {what_to_do}"))
    }
}
