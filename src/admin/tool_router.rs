//! Tool Router sessions of a user, each with toolkits of its own and a URL that opens it and nothing else. Ids are ours;
//! what Composio calls a session never leaves.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::header::HOST;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::cursor::After;
use super::fields::Fields;
use super::query::{Query, bad};
use super::{Caller, Name, Page, Parts, answer};
use crate::clock;
use crate::identity::Principal;
use crate::ids::GatewayId;
use crate::integrations::Project;
use crate::integrations::composio::ApiError;
use crate::integrations::sessions::SessionError;
use crate::limits::{
    COMPOSIO_OPTION_ITEMS_MAX, COMPOSIO_SLUG_BYTES_MAX, GATEWAY_NAME_BYTES_MAX, USER_ID_BYTES_MAX,
};
use crate::store::composio_sessions::SessionRow;
use crate::web::Problem;

/// What is worth waiting for at Composio.
const SOON_S: u64 = 5;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Created<'a> {
    success: bool,
    session_id: &'a str,
    session_url: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    session_id: String,
    user_id: String,
    gateway: String,
    /// `None`: those of the configuration, which may be all.
    toolkits: Option<Vec<String>>,
    status: &'static str,
    created_at: String,
}

#[derive(Debug, Serialize)]
struct Deleted {
    success: bool,
}

/// Returns the session with these toolkits, making it when there is none, and a new URL for it.
pub(super) async fn create(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let fields = Fields::read(&parts, &headers, body, &["userId", "toolkits", "gateway"]).await?;
    let principal = caller.speaking_for(fields.text("userId", USER_ID_BYTES_MAX)?)?;
    if principal.tools().is_some() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this key may use certain tools only, and a session's URL would give others; use a key without `tools`",
        ));
    }
    let toolkits = toolkits(&fields)?.unwrap_or_default();
    let project = project(&parts, fields.text("gateway", GATEWAY_NAME_BYTES_MAX)?)?;
    let base = own_url(&parts, &headers)?;
    let sessions = project.sessions();
    let row = sessions
        .create(principal.user(), &toolkits)
        .await
        .map_err(|error| problem(&error))?;
    let token = sessions.token(&row.id).await.map_err(|error| problem(&error))?;
    answer(&Created {
        success: true,
        session_id: &row.id,
        session_url: format!("{base}/mcp/s/{token}"),
    })
}

/// Lists a user's sessions.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["userId", "limit", "cursor"])?;
    let principal = caller.speaking_for(query.get("userId"))?;
    let limit = query.limit(parts.limits.page_items_max)?;
    let after = query.get("cursor").map(|cursor| {
        After::read(&parts.sealer, &principal, cursor)
            .ok_or_else(|| bad("the cursor is not one of this list, or too old; begin again without it"))
    });
    let after = after.transpose()?.map(|after| after.name);
    let rows = parts
        .projects
        .sessions_of(principal.user(), after.as_deref(), limit + 1)
        .await;
    let mut rows = rows.map_err(|error| problem(&error))?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more);
    let next_cursor = last.and_then(|row| {
        let name = row.id.clone();
        After { index: 0, name }.write(&parts.sealer, &principal)
    });
    let items = rows.into_iter().map(|row| shown(&parts, row)).collect();
    answer(&Page { items, next_cursor })
}

/// Shows a session.
pub(super) async fn show(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(id): Name,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["userId"])?;
    let principal = caller.speaking_for(query.get("userId"))?;
    let (_, row) = find(&parts, &principal, &id).await?;
    answer(&shown(&parts, row))
}

/// Gives a session other toolkits.
pub(super) async fn change(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let fields = Fields::read(&parts, &headers, body, &["userId", "toolkits"]).await?;
    let principal = caller.speaking_for(fields.text("userId", USER_ID_BYTES_MAX)?)?;
    let missing = || bad("`toolkits` is missing; it must be a list of slugs");
    let toolkits = toolkits(&fields)?.ok_or_else(missing)?;
    if toolkits.is_empty() {
        return Err(bad(
            "`toolkits` must not be empty: a session could use nothing; delete it instead",
        ));
    }
    let (project, row) = find(&parts, &principal, &id).await?;
    let changed = project
        .sessions()
        .change(principal.user(), &row.id, &toolkits)
        .await;
    answer(&shown(&parts, changed.map_err(|error| problem(&error))?))
}

/// Deletes a session: its URLs open nothing any more.
pub(super) async fn delete(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(id): Name,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["userId"])?;
    let principal = caller.speaking_for(query.get("userId"))?;
    let (project, row) = find(&parts, &principal, &id).await?;
    let deleted = project.sessions().delete(principal.user(), &row.id).await;
    deleted.map_err(|error| problem(&error))?;
    answer(&Deleted { success: true })
}

fn toolkits(fields: &Fields) -> Result<Option<Vec<&str>>, Problem> {
    let Some(toolkits) = fields.texts("toolkits", COMPOSIO_OPTION_ITEMS_MAX, COMPOSIO_SLUG_BYTES_MAX)? else {
        return Ok(None);
    };
    let right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    match toolkits.iter().position(|slug| !slug.chars().all(right)) {
        Some(index) => Err(bad(format!(
            "`toolkits[{index}]` must be the slug of a toolkit, such as gmail: a-z, 0-9, _ and -"
        ))),
        None => Ok(Some(toolkits)),
    }
}

/// Returns the project of a gateway, or the only one.
fn project(parts: &Parts, gateway: Option<&str>) -> Result<Arc<Project>, Problem> {
    let Some(name) = gateway else {
        let mut all = parts.projects.all();
        return match (all.pop(), all.is_empty()) {
            (Some(project), true) => Ok(project),
            (Some(_), false) => Err(bad("`gateway` is missing: there are several of kind composio")),
            (None, _) => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no gateway of kind composio is configured; set COMPOSIO_API_KEY",
            )),
        };
    };
    match parts.projects.get(&GatewayId::new(name)) {
        Some(Ok(project)) => Ok(project),
        Some(Err(error)) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        None => Err(bad("`gateway` names no gateway of kind composio")),
    }
}

/// Finds a session of a user; another's is not there.
async fn find(parts: &Parts, principal: &Principal, id: &str) -> Result<(Arc<Project>, SessionRow), Problem> {
    for project in parts.projects.all() {
        match project.sessions().find(principal.user(), id).await {
            Ok(row) => return Ok((project, row)),
            Err(SessionError::Unknown) => {}
            Err(error) => return Err(problem(&error)),
        }
    }
    Err(problem(&SessionError::Unknown))
}

fn shown(parts: &Parts, row: SessionRow) -> Shown {
    let project = parts.projects.get(&row.place.gateway).and_then(Result::ok);
    let degraded = project.is_some_and(|project| project.sessions().is_degraded(&row.id));
    Shown {
        session_id: row.id,
        user_id: row.place.user.to_string(),
        gateway: row.place.gateway.to_string(),
        toolkits: row.place.toolkits,
        status: if degraded { "DEGRADED" } else { "ACTIVE" },
        created_at: clock::rfc3339(row.made_unix_s.saturating_mul(1_000)),
    }
}

/// Where clients reach us: as configured, else as this one did.
fn own_url(parts: &Parts, headers: &HeaderMap) -> Result<String, Problem> {
    if let Some(url) = &parts.public_url {
        return Ok(url.as_str().trim_end_matches('/').to_owned());
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let unknown =
        || bad("there is no Host header and no server.public_url, so a URL of ours cannot be given");
    Ok(format!("http://{}", host.ok_or_else(unknown)?))
}

fn problem(error: &SessionError) -> Problem {
    let status = match error {
        SessionError::Store(_) => return super::fault::store(),
        SessionError::Unknown => StatusCode::NOT_FOUND,
        SessionError::Taken | SessionError::Fixed | SessionError::TooMany => StatusCode::CONFLICT,
        SessionError::Toolkit(_) | SessionError::Api(ApiError::Nobody) => StatusCode::BAD_REQUEST,
        SessionError::ShutDown => StatusCode::SERVICE_UNAVAILABLE,
        SessionError::Api(error) if error.passing() => StatusCode::SERVICE_UNAVAILABLE,
        SessionError::Api(_) => StatusCode::BAD_GATEWAY,
    };
    let detail = match error {
        SessionError::Unknown => {
            "there is no such session; GET /api/tool-router/sessions lists those that there are".to_owned()
        }
        SessionError::Toolkit(_) => format!("`toolkits` is refused: {error}"),
        SessionError::Api(ApiError::Nobody) => format!("`userId` is refused: {error}"),
        error => error.to_string(),
    };
    let problem = Problem::new(status, detail);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return problem.retry_after_s(SOON_S);
    }
    problem
}
