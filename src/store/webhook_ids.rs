//! Webhooks that were taken: one that comes again has no effect. Ids are kept for [`WEBHOOK_ID_AGE_MAX`], longer than a
//! sender goes on trying.

use super::connections::seconds;
use super::{Store, StoreError};
use crate::ids::GatewayId;
use crate::limits::WEBHOOK_ID_AGE_MAX;

/// The webhooks that were taken.
#[derive(Clone, Debug)]
pub struct WebhookIds(Store);

impl Store {
    /// Returns the webhooks that were taken.
    #[must_use]
    pub fn webhook_ids(&self) -> WebhookIds {
        WebhookIds(self.clone())
    }
}

impl WebhookIds {
    /// Tells whether a webhook was taken before.
    pub async fn known(&self, gateway: &GatewayId, id: &str) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM webhook_ids WHERE gateway = ? AND webhook_id = ?")
            .bind(gateway.as_str())
            .bind(id)
            .fetch_optional(self.0.reader())
            .await?;
        Ok(row.is_some())
    }

    /// Notes that a webhook was taken, once what it says is written; forgets old ones.
    pub async fn note(&self, gateway: &GatewayId, id: &str, now_unix_s: u64) -> Result<(), StoreError> {
        let old = now_unix_s.saturating_sub(WEBHOOK_ID_AGE_MAX.as_secs());
        let mut writing = self.0.quick().begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM webhook_ids WHERE received_unix_s < ?")
            .bind(seconds(old))
            .execute(&mut *writing)
            .await?;
        sqlx::query(
            "INSERT INTO webhook_ids (gateway, webhook_id, received_unix_s) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(gateway.as_str())
        .bind(id)
        .bind(seconds(now_unix_s))
        .execute(&mut *writing)
        .await?;
        writing.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_webhook_is_known_once_it_was_noted_at_its_gateway_and_until_it_is_old() {
        let ids = Store::in_memory().await.unwrap().webhook_ids();
        let (a, b) = (GatewayId::new("a"), GatewayId::new("b"));
        assert!(!ids.known(&a, "msg_1").await.unwrap());
        ids.note(&a, "msg_1", 1_000).await.unwrap();
        ids.note(&a, "msg_1", 1_000).await.unwrap();
        assert!(ids.known(&a, "msg_1").await.unwrap());
        assert!(!ids.known(&b, "msg_1").await.unwrap());
        let later = 1_001 + WEBHOOK_ID_AGE_MAX.as_secs();
        ids.note(&a, "msg_2", later).await.unwrap();
        assert!(!ids.known(&a, "msg_1").await.unwrap());
    }
}
