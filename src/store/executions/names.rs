//! The numbers of names, as the writer of the record remembers them. Every call asks for two, so the maps hash with less
//! than the usual care: keyed, and fast.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;
use super::Execution;
use crate::ids::{GatewayId, UserId};
use crate::limits::EXECUTION_NAMES_KEPT_MAX;

/// Numbers of names, by name.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<UserId, u32, RandomState>,
    tools: HashMap<GatewayId, HashMap<Arc<str>, u32, RandomState>, RandomState>,
    count: usize,
}

impl Names {
    /// Returns the numbers of a call's user and tool. They are made, where there are none, in this transaction.
    pub(super) async fn of(
        &mut self,
        writing: &mut SqliteConnection,
        row: &Execution,
    ) -> Result<(u32, u32), StoreError> {
        let user = match self.users.get(&row.user) {
            Some(number) => *number,
            None => self.user(writing, &row.user).await?,
        };
        let known = self
            .tools
            .get(&row.gateway)
            .and_then(|tools| tools.get(&row.tool));
        let tool = match known {
            Some(number) => *number,
            None => self.tool(writing, &row.gateway, &row.tool).await?,
        };
        Ok((user, tool))
    }

    async fn user(&mut self, writing: &mut SqliteConnection, user: &UserId) -> Result<u32, StoreError> {
        let number = sqlx::query_scalar(
            "INSERT INTO execution_users (user_id) VALUES (?) ON CONFLICT (user_id) DO UPDATE SET user_id = user_id \
             RETURNING number",
        )
        .bind(user.shared())
        .fetch_one(writing)
        .await?;
        self.make_room();
        self.users.insert(user.clone(), number);
        Ok(number)
    }

    async fn tool(
        &mut self,
        writing: &mut SqliteConnection,
        gateway: &GatewayId,
        tool: &Arc<str>,
    ) -> Result<u32, StoreError> {
        let number = sqlx::query_scalar(
            "INSERT INTO execution_tools (gateway, tool) VALUES (?, ?) \
             ON CONFLICT (gateway, tool) DO UPDATE SET tool = tool RETURNING number",
        )
        .bind(gateway.shared())
        .bind(tool.clone())
        .fetch_one(writing)
        .await?;
        self.make_room();
        let tools = self.tools.entry(gateway.clone()).or_default();
        tools.insert(tool.clone(), number);
        Ok(number)
    }

    fn make_room(&mut self) {
        if self.count >= EXECUTION_NAMES_KEPT_MAX {
            *self = Self::default();
        }
        self.count += 1;
    }
}
