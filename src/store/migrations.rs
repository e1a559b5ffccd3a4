//! The schema, step by step, forward only. A step that was released never changes: its checksum is kept in the
//! database, and one that differs is refused at start.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// Every step: number, what it brings, its statements.
const STEPS: &[(i64, &str, &str)] = &[
    (
        1,
        "sessions and names",
        include_str!("../../migrations/0001_sessions_and_names.sql"),
    ),
    (
        2,
        "executions",
        include_str!("../../migrations/0002_executions.sql"),
    ),
    (
        3,
        "Composio sessions",
        include_str!("../../migrations/0003_composio_sessions.sql"),
    ),
    (
        4,
        "connections",
        include_str!("../../migrations/0004_connections.sql"),
    ),
    (
        5,
        "packs of executions",
        include_str!("../../migrations/0005_execution_packs.sql"),
    ),
];

/// Returns what brings a database of any earlier release to this one's schema.
pub(super) fn migrator() -> Migrator {
    of(STEPS)
}

fn of(steps: &[(i64, &'static str, &'static str)]) -> Migrator {
    let step = |(number, what, sql): &(i64, &'static str, &'static str)| {
        let sql = AssertSqlSafe(*sql).into_sql_str();
        Migration::new(*number, Cow::Borrowed(what), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(steps.iter().map(step).collect())
}

/// Returns what makes the schema of each step, as an earlier release left it.
#[cfg(test)]
pub(super) fn earlier() -> impl Iterator<Item = Migrator> {
    (1..=STEPS.len()).filter_map(|count| STEPS.get(..count).map(of))
}
