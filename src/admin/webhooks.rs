//! Webhooks of Composio. No key: the signature proves who sends. Where no gateway has a `webhook_secret` there is nothing
//! here (404), and the log says why; 5xx makes Composio send again, everything else is final.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::{Parts, json};
use crate::integrations::composio::Signed;
use crate::integrations::connections::{ConnectError, WebhookError};
use crate::limits::{BODY_READ_TIMEOUT, WEBHOOK_BODY_BYTES_MAX, WEBHOOK_HEADER_BYTES_MAX};
use crate::web::{Problem, read_body};

/// Takes a webhook.
pub(super) async fn composio(
    State(parts): State<Arc<Parts>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = read_body(body, WEBHOOK_BODY_BYTES_MAX, BODY_READ_TIMEOUT).await?;
    let signed = Signed {
        id: header(&headers, "webhook-id")?,
        timestamp: header(&headers, "webhook-timestamp")?,
        signature: header(&headers, "webhook-signature")?,
        body: &body,
    };
    match parts.connections.webhook(&signed).await {
        Ok(_) => Ok(json("{}")),
        Err(error) => Err(refused(&error)),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Problem> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let value = value.filter(|value| (1..=WEBHOOK_HEADER_BYTES_MAX).contains(&value.len()));
    value.ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("a webhook has one {name} header"),
        )
    })
}

fn refused(error: &WebhookError) -> Problem {
    let status = match error {
        WebhookError::Connect(ConnectError::Store(error)) => {
            tracing::error!(%error, cause = ?error, "the store failed, and a webhook was not taken");
            return super::fault::store();
        }
        WebhookError::NoSecret => {
            tracing::warn!(
                "a webhook came, but no gateway of kind composio has a `webhook_secret`: it was not taken"
            );
            let detail = "webhooks are not taken here: no gateway has a `webhook_secret`";
            return Problem::new(StatusCode::NOT_FOUND, detail);
        }
        WebhookError::Refused(_) => StatusCode::UNAUTHORIZED,
        WebhookError::Unread => StatusCode::BAD_REQUEST,
        WebhookError::Connect(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    tracing::warn!(reason = %error, "a webhook was refused");
    let detail = match error {
        WebhookError::Connect(_) => "the webhook could not be taken; send it again".to_owned(),
        error => error.to_string(),
    };
    Problem::new(status, detail)
}
