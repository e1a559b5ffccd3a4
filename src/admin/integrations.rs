//! What a user has connected, toolkit by toolkit: list, connect, complete, change, disconnect. Users see and change
//! their own; a key that acts for users names one as `userId`. The browser's way back is [`callback`].

pub(super) mod callback;
mod cursor;
pub(super) mod execute;
mod fault;
mod page;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;

use self::cursor::At;
use super::fields::Fields;
use super::gateways::Concerned;
use super::query::{Query, bad};
use super::{Caller, Name, Page, Parts, answer};
use crate::identity::Principal;
use crate::ids::GatewayId;
use crate::integrations::composio::{TOOLKITS_PER_PAGE_MAX, WhichToolkits};
use crate::integrations::connections::{self, Begun, CameBack, Connect, ToolkitStanding};
use crate::integrations::{Project, connections::State as FlowState};
use crate::limits::{
    ACCOUNT_ALIAS_BYTES_MAX, COMPOSIO_ID_BYTES_MAX, COMPOSIO_SESSION_URI_BYTES_MAX, GATEWAY_NAME_BYTES_MAX,
    USER_ID_BYTES_MAX,
};
use crate::store::connections::{Connection, Standing};
use crate::web::Problem;

/// No state is longer.
const STATE_BYTES_MAX: usize = 64;

/// A toolkit with how it stands for a user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Integration {
    gateway: String,
    toolkit: String,
    name: Option<String>,
    logo: Option<String>,
    status: Option<&'static str>,
    reason: Option<String>,
    connected: bool,
    needs_auth: bool,
    accounts: Vec<Account>,
    checked: bool,
}

/// One of a user's accounts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    id: String,
    alias: Option<String>,
    status: &'static str,
    reason: Option<String>,
    chosen: bool,
}

/// A connect that sends the user to a page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connecting<'a> {
    status: &'static str,
    auth_url: &'a str,
    state: &'a str,
    needs_auth: bool,
}

/// A connect that has nothing to do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connected {
    connected: bool,
    needs_auth: bool,
}

/// What came of a flow.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settled {
    toolkit: String,
    status: &'static str,
    reason: Option<String>,
    connected: bool,
    needs_auth: bool,
}

/// What a disconnect did.
#[derive(Debug, Serialize)]
struct Disconnected {
    disconnected: usize,
}

impl Integration {
    fn of(project: &Project, standing: ToolkitStanding, checked: bool) -> Self {
        let connected = standing.connected();
        let decisive = standing.decisive();
        Self {
            gateway: project.gateway().to_string(),
            status: decisive.map(|one| one.standing.as_str()),
            reason: decisive.and_then(|one| one.reason.clone()),
            connected,
            needs_auth: !connected,
            accounts: standing.accounts.iter().map(Account::of).collect(),
            toolkit: standing.toolkit,
            name: standing.name,
            logo: standing.logo,
            checked,
        }
    }
}

impl Account {
    fn of(connection: &Connection) -> Self {
        Self {
            id: connection.account.clone(),
            alias: connection.alias.clone(),
            status: connection.standing.as_str(),
            reason: connection.reason.clone(),
            chosen: connection.chosen,
        }
    }
}

impl Settled {
    fn of(came: CameBack) -> Self {
        let connected = came.standing == Standing::Active;
        Self {
            toolkit: came.toolkit,
            status: came.standing.as_str(),
            reason: came.reason,
            connected,
            needs_auth: !connected,
        }
    }
}

/// Lists the toolkits that a user may connect, with how each stands.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known = ["userId", "gateway", "toolkit", "limit", "cursor"];
    let query = Query::read(query.as_deref(), &known)?;
    let principal = caller.speaking_for(query.get("userId"))?;
    let limit = query.limit(TOOLKITS_PER_PAGE_MAX)?;
    let projects = projects(&parts, &principal, query.get("gateway"))?;
    let at = match query.get("cursor") {
        None => None,
        Some(text) => Some(At::read(&parts.sealer, &principal, text).ok_or_else(|| {
            bad("the cursor is not one of this list and caller, or is older than an hour; begin without one")
        })?),
    };
    let begins = |project: &&Arc<Project>| at.as_ref().is_none_or(|at| at.gateway == *project.gateway());
    let mut rest = projects.iter().skip_while(|project| !begins(project));
    let Some(project) = rest.next() else {
        return answer(&Page::<Integration> {
            items: Vec::new(),
            next_cursor: None,
        });
    };
    let toolkits: Vec<&str> = query.get("toolkit").into_iter().collect();
    let which = WhichToolkits {
        toolkits: &toolkits,
        limit,
        cursor: at.as_ref().and_then(|at| at.cursor.as_deref()),
    };
    let listed = parts.connections.list(project, principal.user(), which).await;
    let listed = listed.map_err(|error| fault::problem(&error, ""))?;
    let next = match listed.next {
        Some(cursor) => Some(At::of(project.gateway(), Some(cursor))),
        None => rest.next().map(|next| At::of(next.gateway(), None)),
    };
    let items = listed.items.into_iter();
    answer(&Page {
        items: items
            .map(|standing| Integration::of(project, standing, listed.checked))
            .collect(),
        next_cursor: next.and_then(|at| at.write(&parts.sealer, &principal)),
    })
}

/// Begins to connect a toolkit.
pub(super) async fn connect(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(toolkit): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let known = ["userId", "gateway", "alias", "reconnect"];
    let fields = Fields::read(&parts, &headers, body, &known).await?;
    let connect = Connect {
        alias: fields.text("alias", ACCOUNT_ALIAS_BYTES_MAX)?,
        again: fields.flag("reconnect")?.unwrap_or(false),
    };
    let (principal, project) = named(&parts, &caller, &fields, &toolkit)?;
    let begun = parts
        .connections
        .connect(&project, principal.user(), &toolkit, connect)
        .await;
    match begun.map_err(|error| fault::problem(&error, &toolkit))? {
        Begun::Connected => answer(&Connected {
            connected: true,
            needs_auth: false,
        }),
        Begun::Link { url, state } => answer(&Connecting {
            status: Standing::Pending.as_str(),
            auth_url: url.as_str(),
            state: state.as_str(),
            needs_auth: true,
        }),
    }
}

/// Finds out what came of a flow.
pub(super) async fn complete(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(toolkit): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let fields = Fields::read(&parts, &headers, body, &["userId", "gateway", "state"]).await?;
    let state = match fields.text("state", STATE_BYTES_MAX)? {
        None => None,
        Some(text) => Some(
            FlowState::read(text).ok_or_else(|| bad("`state` must be the state that a connect answered"))?,
        ),
    };
    let (principal, project) = named(&parts, &caller, &fields, &toolkit)?;
    let place = connections::place(&project, principal.user(), &toolkit);
    let came = parts.connections.complete(&project, &place, state.as_ref()).await;
    answer(&Settled::of(
        came.map_err(|error| fault::problem(&error, &toolkit))?,
    ))
}

/// Takes a browser that arrived at the operator's own page for Composio's callback verification, which knows its user.
pub(super) async fn verify(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let fields = Fields::read(&parts, &headers, body, &["userId", "gateway", "sessionUri"]).await?;
    let uri = fields.text("sessionUri", COMPOSIO_SESSION_URI_BYTES_MAX)?;
    let uri = uri.filter(|uri| !uri.is_empty());
    let uri = uri.ok_or_else(|| bad("`sessionUri` must be the `session_uri` that the browser came with"))?;
    let principal = caller.speaking_for(fields.text("userId", USER_ID_BYTES_MAX)?)?;
    let gateway = fields.text("gateway", GATEWAY_NAME_BYTES_MAX)?;
    let all = projects(&parts, &principal, gateway)?;
    let [project] = all.as_slice() else {
        return Err(bad("`gateway` must say which gateway of kind composio is meant"));
    };
    let came = parts.connections.verified(project, principal.user(), uri).await;
    answer(&Settled::of(came.map_err(|error| fault::problem(&error, ""))?))
}

/// Switches an account on or off, or chooses one of several.
pub(super) async fn change(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(toolkit): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let known = ["userId", "gateway", "accountId", "enabled", "chosen"];
    let fields = Fields::read(&parts, &headers, body, &known).await?;
    let account = fields.text("accountId", COMPOSIO_ID_BYTES_MAX)?;
    let (enabled, chosen) = (fields.flag("enabled")?, fields.flag("chosen")?);
    let (principal, project) = named(&parts, &caller, &fields, &toolkit)?;
    let (user, refused) = (principal.user(), |error| fault::problem(&error, &toolkit));
    if let Some(enabled) = enabled {
        let done = parts
            .connections
            .enable(&project, user, &toolkit, account, enabled);
        done.await.map_err(refused)?;
    }
    match (chosen, account) {
        (None, _) if enabled.is_none() => return Err(bad("`enabled` or `chosen` must be there")),
        (None, _) => {}
        (Some(true), Some(account)) => {
            let done = parts.connections.choose(&project, user, &toolkit, account);
            done.await.map_err(refused)?;
        }
        (Some(true), None) => return Err(bad("`accountId` must say which account is chosen")),
        (Some(false), _) => return Err(bad("`chosen` can only be true: choose another account instead")),
    }
    let place = connections::place(&project, user, &toolkit);
    let accounts = parts.connections.known(&place).await.map_err(refused)?;
    let standing = ToolkitStanding {
        toolkit: toolkit.clone(),
        name: None,
        logo: None,
        no_auth: false,
        accounts,
    };
    answer(&Integration::of(&project, standing, true))
}

/// Ends a connection.
pub(super) async fn disconnect(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(toolkit): Name,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["userId", "gateway", "accountId"])?;
    let principal = caller.speaking_for(query.get("userId"))?;
    let project = one_project(&parts, &principal, query.get("gateway"), &toolkit)?;
    let account = query.get("accountId");
    let ended = parts
        .connections
        .disconnect(&project, principal.user(), &toolkit, account)
        .await;
    let disconnected = ended.map_err(|error| fault::problem(&error, &toolkit))?;
    answer(&Disconnected { disconnected })
}

/// Reads from a body for whom and at which gateway.
fn named(
    parts: &Parts,
    caller: &Caller,
    fields: &Fields,
    toolkit: &str,
) -> Result<(Arc<Principal>, Arc<Project>), Problem> {
    let principal = caller.speaking_for(fields.text("userId", USER_ID_BYTES_MAX)?)?;
    let gateway = fields.text("gateway", GATEWAY_NAME_BYTES_MAX)?;
    let project = one_project(parts, &principal, gateway, toolkit)?;
    Ok((principal, project))
}

/// Returns the projects that a caller may know of, in the order of the configuration.
fn projects(
    parts: &Parts,
    principal: &Principal,
    gateway: Option<&str>,
) -> Result<Vec<Arc<Project>>, Problem> {
    let concerned = Concerned::of(principal, &parts.proxy.view(principal));
    let mut projects = parts.connections.projects().all();
    projects.retain(|project| concerned.includes(project.gateway()));
    if let Some(name) = gateway {
        let name = GatewayId::new(name);
        projects.retain(|project| *project.gateway() == name);
        if projects.is_empty() {
            return Err(fault::no_gateway(&name));
        }
    }
    Ok(projects)
}

/// Finds the one gateway whose toolkit is meant.
fn one_project(
    parts: &Parts,
    principal: &Principal,
    gateway: Option<&str>,
    toolkit: &str,
) -> Result<Arc<Project>, Problem> {
    let all = projects(parts, principal, gateway)?;
    let has = |project: &&Arc<Project>| connections::may_use(project, toolkit);
    let mut having = all.iter().filter(has);
    match (having.next(), having.next()) {
        (Some(project), None) => Ok(Arc::clone(project)),
        (None, _) => Err(fault::no_toolkit(toolkit)),
        (Some(one), Some(other)) => Err(bad(format!(
            "`gateway` must say which is meant: {} and {} have the toolkit {toolkit:?}",
            one.gateway(),
            other.gateway()
        ))),
    }
}
