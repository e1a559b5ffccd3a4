//! The record of tool calls. Users see their own; a key that may act for users sees those of all. A key with `tools` sees
//! calls of those tools only.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::cursor::Before;
use super::query::{Query, bad};
use super::{Caller, Name, Page, Parts, answer};
use crate::clock;
use crate::ids::{ExecutionId, UserId};
use crate::limits::EXECUTIONS_PAGE_MAX;
use crate::store::StoreError;
use crate::store::executions::{self, Status, Texts, ToolNames, Wanted};
use crate::web::Problem;

/// One call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    id: String,
    user_id: String,
    session_id: Option<String>,
    gateway: String,
    tool: String,
    status: &'static str,
    error: Option<String>,
    started_at: String,
    duration_ms: Option<f64>,
    request_bytes: u64,
    response_bytes: Option<u64>,
    request_id: Option<String>,
    /// The gateway answered with a question.
    asked: bool,
}

/// One call with what is kept of its arguments and result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    #[serde(flatten)]
    execution: Execution,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    /// Which of them are only the beginning, as a string.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cut: Vec<&'static str>,
}

/// Reads JSON that was kept. What was cut is JSON no more, and becomes a string.
fn kept(text: Option<String>, name: &'static str, cut: &mut Vec<&'static str>) -> Option<Box<RawValue>> {
    let text = text?;
    if serde_json::from_str::<&RawValue>(&text).is_ok() {
        return RawValue::from_string(text).ok();
    }
    cut.push(name);
    serde_json::value::to_raw_value(&text).ok()
}

impl Execution {
    fn of(execution: &executions::Execution) -> Self {
        Self {
            id: execution.id.to_string(),
            user_id: execution.user.to_string(),
            session_id: execution.session.map(|digest| format!("{digest:016x}")),
            gateway: execution.gateway.to_string(),
            tool: execution.tool.to_string(),
            status: match execution.status {
                Status::Pending => "PENDING",
                Status::Success | Status::Asked => "SUCCESS",
                Status::Failed => "FAILED",
            },
            error: execution.error.as_deref().map(ToOwned::to_owned),
            started_at: clock::rfc3339(execution.started_unix_ms),
            duration_ms: execution.duration_us.map(ms_of_us),
            request_bytes: execution.request_bytes,
            response_bytes: execution.response_bytes,
            request_id: execution.request_id.as_ref().map(ToString::to_string),
            asked: execution.status == Status::Asked,
        }
    }
}

/// Lists calls, newest first.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known = [
        "userId", "user", "gateway", "tool", "status", "from", "to", "limit", "cursor",
    ];
    let query = Query::read(query.as_deref(), &known)?;
    let limit = query.limit(EXECUTIONS_PAGE_MAX)?;
    let wanted = wanted(&caller, &query)?;
    let before = match query.get("cursor") {
        None => None,
        Some(text) => {
            Some(Before::read(&parts.sealer, &caller.principal, text).ok_or_else(super::cursor::not_ours)?)
        }
    };
    parts.recorder.settled().await;
    let before = before.map(|before| before.0);
    let found = parts.executions.search(&wanted, before, limit).await;
    let found = found.map_err(|error| unreadable(&error))?;
    answer(&Page {
        items: found.items.iter().map(Execution::of).collect(),
        next_cursor: found
            .next
            .and_then(|id| Before(id).write(&parts.sealer, &caller.principal)),
    })
}

/// Shows one call with what is kept of its arguments and result.
pub(super) async fn show(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(id): Name,
) -> Result<Response, Problem> {
    // Foreign, unknown and no id at all look alike.
    let none = || {
        let detail = format!("there is no execution {id:?}; GET /api/executions lists those that there are");
        Problem::new(StatusCode::NOT_FOUND, detail)
    };
    let known: ExecutionId = id.parse().map_err(|_| none())?;
    parts.recorder.settled().await;
    let user = may_see(&caller);
    let found = parts.executions.get(known, user.as_ref()).await;
    let found = found.map_err(|error| unreadable(&error))?;
    let shown =
        |execution: &executions::Execution| tools(&caller).is_none_or(|tools| tools.admits(&execution.tool));
    let mut execution = found.filter(shown).ok_or_else(none)?;
    let Texts { arguments, result } = execution.texts.take().unwrap_or_default();
    let mut cut = Vec::new();
    answer(&Whole {
        arguments: kept(arguments, "arguments", &mut cut),
        result: kept(result, "result", &mut cut),
        execution: Execution::of(&execution),
        cut,
    })
}

/// Reads the conditions that lists and statistics have in common.
pub(super) fn wanted(caller: &Caller, query: &Query) -> Result<Wanted, Problem> {
    let user = match (query.get("userId"), query.get("user")) {
        (Some(_), Some(_)) => return Err(bad("userId and user are the same; give one of them")),
        (user, None) | (None, user) => user,
    };
    let user = match user {
        None => may_see(caller),
        Some(user) => Some(caller.speaking_for(Some(user))?.user().clone()),
    };
    let text = |key| query.get(key).map(ToOwned::to_owned);
    let (from_unix_ms, to_unix_ms) = (time(query, "from")?, time(query, "to")?);
    if let (Some(from), Some(to)) = (from_unix_ms, to_unix_ms)
        && from > to
    {
        return Err(bad("from must not be after to"));
    }
    Ok(Wanted {
        user,
        gateway: text("gateway"),
        tool: text("tool"),
        status: status(query)?,
        from_unix_ms,
        to_unix_ms,
        tools: tools(caller),
    })
}

/// Whose calls the caller may see; `None`: everybody's.
fn may_see(caller: &Caller) -> Option<UserId> {
    let principal = &caller.principal;
    (!principal.acts_for_users()).then(|| principal.user().clone())
}

fn tools(caller: &Caller) -> Option<ToolNames> {
    let globs = caller.principal.tools()?.clone();
    Some(ToolNames::new(move |name| globs.admits(name)))
}

fn status(query: &Query) -> Result<Option<Status>, Problem> {
    match query.get("status") {
        None => Ok(None),
        Some("PENDING") => Ok(Some(Status::Pending)),
        Some("SUCCESS") => Ok(Some(Status::Success)),
        Some("FAILED") => Ok(Some(Status::Failed)),
        Some(_) => Err(bad("status must be PENDING, SUCCESS or FAILED")),
    }
}

fn time(query: &Query, key: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = query.get(key) else {
        return Ok(None);
    };
    let wrong = || {
        bad(format!(
            "{key} must be a time such as 2026-11-20T12:00:00Z (RFC 3339; write + as %2B)"
        ))
    };
    clock::unix_ms_of(text).map(Some).ok_or_else(wrong)
}

/// Milliseconds, to the microsecond.
pub(super) fn ms_of_us(us: u64) -> f64 {
    super::exact_ms(std::time::Duration::from_micros(us))
}

/// The store cannot be read.
pub(super) fn unreadable(error: &StoreError) -> Problem {
    tracing::error!(%error, cause = ?error, "the record of calls could not be read");
    super::fault::store()
}
