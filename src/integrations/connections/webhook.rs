//! Webhooks of Composio: signed, fresh, and each of effect once. What one says of an account is taken as a reason to
//! look at it, and as the truth only while Composio cannot be asked.

use serde::Deserialize;
use serde_json::Value;

use super::{ConnectError, Connections};
use crate::clock;
use crate::integrations::Project;
use crate::integrations::composio::{Account, Signed, WebhookRefused, verify_webhook};
use crate::integrations::standing;
use crate::store::connections::Connection;

/// What came of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It was taken.
    Taken,
    /// It was taken before, and had no effect now.
    Before,
}

/// Why a webhook is not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No gateway has a `webhook_secret`.
    #[error("no gateway has a webhook_secret")]
    NoSecret,
    /// It is not one of Composio's, or too old.
    #[error(transparent)]
    Refused(#[from] WebhookRefused),
    /// It is signed, and is no JSON envelope.
    #[error("the body is no webhook of Composio")]
    Unread,
    /// The store.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// What is read of a webhook (version 3).
#[derive(Deserialize)]
struct Envelope {
    r#type: String,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    data: Value,
}

impl Connections {
    /// Takes a webhook: of the gateway whose secret signed it.
    ///
    /// # Errors
    /// [`WebhookError`], by cause; the sender tries again after those of the store.
    pub async fn webhook(&self, signed: &Signed<'_>) -> Result<Noted, WebhookError> {
        let project = self.signer(signed)?;
        let ids = self.store.webhook_ids();
        let known = ids.known(project.gateway(), signed.id).await;
        if known.map_err(ConnectError::from)? {
            return Ok(Noted::Before);
        }
        let envelope: Envelope = serde_json::from_slice(signed.body).map_err(|_| WebhookError::Unread)?;
        match envelope.r#type.as_str() {
            "composio.connected_account.expired" => self.expired(&project, &envelope.data).await?,
            "composio.trigger.message" => {
                let word = |key: &str| {
                    envelope
                        .metadata
                        .get(key)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                let (slug, id) = (word("trigger_slug"), word("trigger_id"));
                tracing::info!(gateway.id = %project.gateway(), trigger.slug = slug, trigger.id = id, "a trigger fired at Composio");
            }
            other => {
                tracing::info!(gateway.id = %project.gateway(), webhook.r#type = other, "a webhook of a type that nothing is done about");
            }
        }
        // Noted last: one that could not be written is taken when it comes again.
        let noted = ids.note(project.gateway(), signed.id, clock::unix_s()).await;
        noted.map_err(ConnectError::from)?;
        Ok(Noted::Taken)
    }

    /// Finds the project whose secret signed a webhook.
    fn signer(&self, signed: &Signed<'_>) -> Result<std::sync::Arc<Project>, WebhookError> {
        let mut refused = WebhookError::NoSecret;
        for project in self.projects.all() {
            let Some(secret) = &project.options().webhook_secret else {
                continue;
            };
            match verify_webhook(secret, signed, clock::unix_s()) {
                Ok(()) => return Ok(project),
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }

    /// An account expired, says Composio.
    async fn expired(&self, project: &Project, data: &Value) -> Result<(), ConnectError> {
        let Some(told) = Account::of(data) else {
            tracing::warn!(gateway.id = %project.gateway(), "a webhook of an expired account describes none");
            return Ok(());
        };
        let connections = self.store.connections();
        let known = connections
            .of_account(project.gateway(), told.id.as_str())
            .await?;
        let Some(known) = known.filter(|known| told.belongs(&known.place.user, &known.place.toolkit)) else {
            return Ok(());
        };
        let user = known.place.user.clone();
        if let Err(error) = self.refresh(project, &known, &user).await {
            tracing::info!(gateway.id = %project.gateway(), reason = %error, "an expired account could not be looked at");
            self.take_at_its_word(project, &known, &told).await?;
        }
        Ok(())
    }

    async fn take_at_its_word(
        &self,
        project: &Project,
        known: &Connection,
        told: &Account,
    ) -> Result<(), ConnectError> {
        debug_assert_eq!(known.place.gateway, *project.gateway(), "a gateway's own");
        let (standing, own) = standing::of(told.status);
        let reason = told.reason.as_deref().or(own);
        let noted = self.note(project, &known.place, &known.account, standing, reason);
        noted.await
    }
}
