//! Why a connection is not as it was asked for, as REST says it: the one table of its statuses.

use http::StatusCode;

use crate::admin::fault::store;
use crate::ids::GatewayId;
use crate::integrations::composio::ApiError;
use crate::integrations::connections::ConnectError;
use crate::integrations::sessions::SessionError;
use crate::limits::{CONNECT_FLOWS_OPEN_MAX, CONNECT_STATE_AGE_MAX};
use crate::web::Problem;

/// What Composio's API is worth waiting for.
const SOON_S: u64 = 5;

/// A gateway that is none of Composio's, or that does not concern the caller: the same.
pub(super) fn no_gateway(name: &GatewayId) -> Problem {
    let detail = format!(
        "`gateway` names {name:?}, which is no gateway of kind composio; GET /api/gateways lists those that there are"
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// A toolkit that no gateway of the caller may use.
pub(super) fn no_toolkit(toolkit: &str) -> Problem {
    let toolkit: String = toolkit.chars().take(100).collect();
    let detail = format!("there is no toolkit {toolkit:?}; GET /api/integrations lists those that there are");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// The table.
pub(super) fn problem(error: &ConnectError, toolkit: &str) -> Problem {
    let minutes = CONNECT_STATE_AGE_MAX.as_secs() / 60;
    match error {
        ConnectError::Api(error) => of_api(error),
        ConnectError::Store(error) => {
            tracing::error!(%error, cause = ?error, "the store failed");
            store()
        }
        ConnectError::Session(SessionError::Store(_)) => store(),
        ConnectError::Session(error) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after_s(SOON_S)
        }
        ConnectError::NoGateway(name) => no_gateway(name),
        ConnectError::NoToolkit(name) => no_toolkit(name),
        ConnectError::NeedsAuthConfig(_) => Problem::new(
            StatusCode::CONFLICT,
            format!(
                "{error}; make one at Composio and set it as auth_configs.{toolkit} of the gateway, or \
                 COMPOSIO_AUTH_CONFIG_{}",
                toolkit.to_ascii_uppercase().replace('-', "_")
            ),
        ),
        ConnectError::TooManyFlows => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("{CONNECT_FLOWS_OPEN_MAX} links for {toolkit} wait for this user; use one of them, or try again in {minutes} minutes"),
        )
        .retry_after_s(CONNECT_STATE_AGE_MAX.as_secs()),
        ConnectError::TooManyAccounts(_) => {
            Problem::new(StatusCode::CONFLICT, format!("{error}; disconnect one of them first"))
        }
        ConnectError::NoFlow => Problem::new(
            StatusCode::NOT_FOUND,
            format!("`state` is not one of a flow of this user and toolkit, or older than {minutes} minutes; connect again"),
        ),
        ConnectError::NotVerified => Problem::new(
            StatusCode::NOT_FOUND,
            "`sessionUri` is not one that Composio waits for, or the link was made for another user; connect again",
        ),
        ConnectError::NotConnected => Problem::new(
            StatusCode::NOT_FOUND,
            format!("{toolkit} has no such connection; GET /api/integrations shows what there is"),
        ),
        ConnectError::WhichAccount => Problem::new(
            StatusCode::BAD_REQUEST,
            "`accountId` must say which of the accounts is meant; GET /api/integrations shows them",
        ),
        ConnectError::Foreign => Problem::new(
            StatusCode::BAD_GATEWAY,
            "Composio gave an account that is not this user's; connect again",
        ),
    }
}

fn of_api(error: &ApiError) -> Problem {
    match error {
        ApiError::Nobody => Problem::new(StatusCode::BAD_REQUEST, format!("`userId`: {error}")),
        ApiError::RateLimited { retry_after, .. } => {
            let wait = retry_after.map_or(SOON_S, |wait| wait.as_secs().max(1));
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after_s(wait)
        }
        ApiError::Unreachable(_) | ApiError::ShutDown => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{error}; try again")).retry_after_s(SOON_S)
        }
        ApiError::Timeout => Problem::new(StatusCode::GATEWAY_TIMEOUT, format!("{error}; try again")),
        error => Problem::new(StatusCode::BAD_GATEWAY, error.to_string()),
    }
}
