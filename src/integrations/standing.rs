//! What Composio's statuses come to here: the one place that decides.

use crate::integrations::composio::AccountStatus;
use crate::store::connections::{Connection, Standing};

/// Nobody came back in time.
pub(super) const ABANDONED: &str = "nobody finished the connection within 10 minutes";
/// The account was deleted elsewhere.
pub(super) const GONE: &str = "Composio does not have the account any more";
/// The account is not what its flow was for.
pub(super) const FOREIGN: &str = "the account belongs to another user or toolkit";

/// Returns how a connection stands whose account stands so, and why where Composio does not say.
pub(super) fn of(status: AccountStatus) -> (Standing, Option<&'static str>) {
    match status {
        AccountStatus::Pending => (Standing::Pending, None),
        AccountStatus::Active => (Standing::Active, None),
        AccountStatus::Inactive => (Standing::Inactive, None),
        AccountStatus::Failed => (Standing::Failed, None),
        AccountStatus::Expired => (Standing::Failed, Some("the connection expired; connect again")),
        AccountStatus::Revoked => (Standing::Revoked, None),
        AccountStatus::Unknown => (
            Standing::Failed,
            Some("Composio tells of a status that is not known here"),
        ),
    }
}

/// Shows a connection as it stands at a moment: a pending one is given up when its time is over.
pub(super) fn shown(mut connection: Connection, now_unix_s: u64) -> Connection {
    if is_abandoned(&connection, now_unix_s) {
        connection.standing = Standing::Failed;
        connection.reason = Some(ABANDONED.to_owned());
        connection.pending_until_unix_s = None;
    }
    connection
}

/// Tells whether a pending connection's time is over.
pub(super) fn is_abandoned(connection: &Connection, now_unix_s: u64) -> bool {
    connection.standing == Standing::Pending
        && connection
            .pending_until_unix_s
            .is_none_or(|until| until <= now_unix_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GatewayId, UserId};
    use crate::store::connections::Place;

    #[test]
    fn only_an_active_account_is_an_active_connection_and_an_expired_one_says_what_to_do() {
        for status in [
            AccountStatus::Pending,
            AccountStatus::Inactive,
            AccountStatus::Failed,
            AccountStatus::Expired,
            AccountStatus::Revoked,
            AccountStatus::Unknown,
        ] {
            assert_ne!(of(status).0, Standing::Active, "{status:?}");
        }
        assert_eq!(of(AccountStatus::Active), (Standing::Active, None));
        assert_eq!(of(AccountStatus::Pending).0, Standing::Pending);
        assert_eq!(of(AccountStatus::Inactive).0, Standing::Inactive);
        assert_eq!(of(AccountStatus::Revoked).0, Standing::Revoked);
        let (standing, reason) = of(AccountStatus::Expired);
        assert!(standing == Standing::Failed && reason.unwrap().contains("connect again"));
    }

    #[test]
    fn a_pending_connection_is_given_up_at_the_second_and_no_other_is() {
        let connection = |standing| Connection {
            place: Place {
                gateway: GatewayId::new("g"),
                user: UserId::new("alice"),
                toolkit: "gmail".to_owned(),
            },
            account: "ca_1".to_owned(),
            alias: None,
            standing,
            reason: None,
            chosen: false,
            pending_until_unix_s: Some(100),
        };
        assert_eq!(
            shown(connection(Standing::Pending), 99).standing,
            Standing::Pending
        );
        let given_up = shown(connection(Standing::Pending), 100);
        assert_eq!(
            (given_up.standing, given_up.reason.as_deref()),
            (Standing::Failed, Some(ABANDONED))
        );
        assert_eq!(
            shown(connection(Standing::Active), 100).standing,
            Standing::Active
        );
    }
}
