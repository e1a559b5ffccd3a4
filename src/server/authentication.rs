//! Puts an `Arc<Principal>` into the request's extensions, or refuses. A service is mounted *inside* this, so nothing
//! behind it can be reached without a principal.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, Either, Ready, ready};
use http::{StatusCode, Uri};
use tower::Service;

use crate::identity::{AuthError, Identity, SessionTokens};
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

/// A service that is reached by the URL of one session, in whose path the token stands last. What is inside sees the
/// principal and never the token.
#[derive(Clone, Debug)]
pub(super) struct BySession<S> {
    tokens: SessionTokens,
    inner: S,
}

impl<S> BySession<S> {
    pub(super) fn new(tokens: SessionTokens, inner: S) -> Self {
        Self { tokens, inner }
    }
}

impl<S> Service<Request> for BySession<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let token = request
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        *request.uri_mut() = Uri::from_static(super::routes::MCP);
        let fresh = self.inner.clone();
        let (tokens, mut inner) = (self.tokens.clone(), std::mem::replace(&mut self.inner, fresh));
        Box::pin(async move {
            match tokens.authenticate(&token).await {
                Ok(principal) => {
                    request.extensions_mut().insert(principal);
                    inner.call(request).await
                }
                Err(AuthError::Unknown) => {
                    let told = "this session's URL is not known; make another by POST /api/tool-router/create-session";
                    Ok(Problem::new(StatusCode::UNAUTHORIZED, told).into_response())
                }
                Err(error) => Ok(Problem::from(error).into_response()),
            }
        })
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let status = match error {
            AuthError::Missing | AuthError::Unknown => StatusCode::UNAUTHORIZED,
            AuthError::Malformed(_) | AuthError::InvalidUser => StatusCode::BAD_REQUEST,
            AuthError::MayNotAct => StatusCode::FORBIDDEN,
            AuthError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let what_to_do = match error {
            AuthError::Missing | AuthError::Unknown | AuthError::Malformed(_) => {
                "send a key as `Authorization: Bearer <key>` or `X-API-Key: <key>`"
            }
            AuthError::InvalidUser => "send one `X-User-Id`",
            AuthError::Unavailable => "try again",
            AuthError::MayNotAct => "leave out `X-User-Id`, or use a key with acts_for_users",
        };
        Self::new(status, format!("{error}; {what_to_do}"))
    }
}
