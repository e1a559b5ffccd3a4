//! A browser comes back from a provider. No key: whoever comes knows the flow's state, and that is all it proves. Every
//! answer is a page for a person, also of what went wrong.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;

use super::page::Message;
use crate::admin::Parts;
use crate::integrations::connections::{CameBack, ConnectError, State as FlowState};
use crate::limits::{COMPOSIO_ID_BYTES_MAX, CONNECT_STATE_AGE_MAX};
use crate::store::connections::Standing;

/// What is read of where the browser was sent: first values count, others are the provider's business.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arrived {
    state: Option<String>,
    account: Option<String>,
}

impl Arrived {
    fn read(query: &str) -> Self {
        let mut arrived = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*key {
                "state" => &mut arrived.state,
                "connected_account_id" | "connectedAccountId" => &mut arrived.account,
                _ => continue,
            };
            if slot.is_none() {
                *slot = Some(value.chars().take(COMPOSIO_ID_BYTES_MAX).collect());
            }
        }
        arrived
    }
}

/// Takes the browser back.
pub(in crate::admin) async fn come_back(
    State(parts): State<Arc<Parts>>,
    RawQuery(query): RawQuery,
) -> Response {
    let arrived = Arrived::read(query.as_deref().unwrap_or_default());
    let state = arrived.state.as_deref().and_then(FlowState::read);
    let came = match &state {
        Some(state) => {
            parts
                .connections
                .come_back(state, arrived.account.as_deref())
                .await
        }
        None => Err(ConnectError::NoFlow),
    };
    message(came).response()
}

fn message(came: Result<CameBack, ConnectError>) -> Message {
    match came {
        Ok(came) => of_standing(&came),
        Err(error) => of_error(&error),
    }
}

fn of_standing(came: &CameBack) -> Message {
    let toolkit = &came.toolkit;
    let because = came
        .reason
        .as_ref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    let (outcome, title, text) = match came.standing {
        Standing::Active => (
            "connected",
            format!("{toolkit} is connected"),
            "You can close this page and go back to where you came from.".to_owned(),
        ),
        Standing::Pending => (
            "pending",
            format!("{toolkit} is not connected yet"),
            "The provider has not confirmed it so far. Load this page again in a moment.".to_owned(),
        ),
        Standing::Inactive => (
            "failed",
            format!("{toolkit} is switched off"),
            "The account is there, but it was switched off. Whoever runs this Toolgate can switch it on again.".to_owned(),
        ),
        Standing::Failed | Standing::Revoked => (
            "failed",
            format!("{toolkit} was not connected"),
            format!("It did not work{because}. Go back to where you came from and connect again."),
        ),
    };
    Message {
        status: StatusCode::OK,
        outcome,
        title,
        text,
    }
}

fn of_error(error: &ConnectError) -> Message {
    let minutes = CONNECT_STATE_AGE_MAX.as_secs() / 60;
    let (status, title, text) = match error {
        ConnectError::NoFlow => (
            StatusCode::BAD_REQUEST,
            "This link is not good any more",
            format!(
                "Links are good once and for {minutes} minutes. Go back to where you came from and connect again."
            ),
        ),
        ConnectError::Foreign => (
            StatusCode::BAD_REQUEST,
            "This is not the account of this link",
            "Nothing was connected. Go back to where you came from and connect again.".to_owned(),
        ),
        ConnectError::Api(error) => {
            tracing::warn!(reason = %error, "what came of a connection could not be asked");
            (
                StatusCode::BAD_GATEWAY,
                "It is not known yet whether it worked",
                "Composio could not be asked. Load this page again in a moment.".to_owned(),
            )
        }
        // The store, most likely: nothing is lost by coming again.
        error => {
            tracing::error!(%error, cause = ?error, "a browser that came back could not be answered");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "It is not known yet whether it worked",
                "Something went wrong here. Load this page again in a moment.".to_owned(),
            )
        }
    };
    Message {
        status,
        outcome: "failed",
        title: title.to_owned(),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_brings_is_read_by_the_first_of_each() {
        let arrived = Arrived::read("a=b&state=x%20y&status=success&connected_account_id=ca_1&state=z");
        assert_eq!(arrived.state.as_deref(), Some("x y"));
        assert_eq!(arrived.account.as_deref(), Some("ca_1"));
        assert_eq!(Arrived::read(""), Arrived::default());
    }

    #[test]
    fn every_outcome_has_a_page_that_says_what_to_do_and_no_id() {
        for standing in Standing::ALL {
            let came = CameBack {
                toolkit: "gmail".to_owned(),
                standing,
                reason: Some("why".to_owned()),
            };
            let message = message(Ok(came));
            assert_eq!(message.outcome == "connected", standing == Standing::Active);
            assert!(message.title.contains("gmail") && message.text.len() > 20);
        }
        assert_eq!(message(Err(ConnectError::NoFlow)).status, 400);
        assert_eq!(message(Err(ConnectError::Foreign)).status, 400);
        assert_eq!(message(Err(ConnectError::NotConnected)).status, 503);
    }
}
