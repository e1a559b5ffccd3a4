//! Sums of the recorded calls: how many, how many failed, how long they took.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use super::executions::{ms_of_us, unreadable, wanted};
use super::query::Query;
use super::{Caller, Parts, answer};
use crate::clock;
use crate::store::executions::{Stats, Tally};
use crate::web::Problem;

/// All sums.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summed<'a> {
    since: Option<String>,
    complete: bool,
    total: Sums,
    tools: Vec<OfTool<'a>>,
    gateways: Vec<OfGateway<'a>>,
    days: Vec<OfDay>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sums {
    calls: u64,
    failures: u64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct OfTool<'a> {
    gateway: &'a str,
    tool: &'a str,
    #[serde(flatten)]
    sums: Sums,
}

#[derive(Debug, Serialize)]
struct OfGateway<'a> {
    gateway: &'a str,
    #[serde(flatten)]
    sums: Sums,
}

#[derive(Debug, Serialize)]
struct OfDay {
    day: String,
    #[serde(flatten)]
    sums: Sums,
}

impl From<Tally> for Sums {
    fn from(tally: Tally) -> Self {
        Self {
            calls: tally.calls,
            failures: tally.failures,
            p50_ms: tally.p50_us.map(ms_of_us),
            p95_ms: tally.p95_us.map(ms_of_us),
            p99_ms: tally.p99_us.map(ms_of_us),
        }
    }
}

impl<'a> Summed<'a> {
    fn of(stats: &'a Stats) -> Self {
        Self {
            since: stats.oldest_unix_ms.map(clock::rfc3339),
            complete: stats.complete,
            total: stats.total.into(),
            tools: stats
                .tools
                .iter()
                .map(|group| OfTool {
                    gateway: group.key.0.as_str(),
                    tool: &group.key.1,
                    sums: group.tally.into(),
                })
                .collect(),
            gateways: stats
                .gateways
                .iter()
                .map(|group| OfGateway {
                    gateway: group.key.as_str(),
                    sums: group.tally.into(),
                })
                .collect(),
            days: stats
                .days
                .iter()
                .map(|group| OfDay {
                    day: clock::rfc3339_day(group.key),
                    sums: group.tally.into(),
                })
                .collect(),
        }
    }
}

/// Sums up the calls that the caller may see.
pub(super) async fn show(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known = ["userId", "user", "gateway", "tool", "status", "from", "to"];
    let query = Query::read(query.as_deref(), &known)?;
    let wanted = wanted(&caller, &query)?;
    parts.recorder.settled().await;
    let stats = parts.executions.stats(&wanted).await;
    answer(&Summed::of(&stats.map_err(|error| unreadable(&error))?))
}
