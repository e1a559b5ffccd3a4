//! Running a tool: whose account it takes in a session, and what comes of it. Every try is in the ledger.

use serde_json::{Value, json};

use super::accounts::Account;
use super::catalog::{self, Tool, Toolkit};
use super::grants;
use super::ledger::{Execution, digest};
use super::session_rules;
use super::sessions::Session;
use super::world::World;

/// What came of a tool. An error is not the end of the request: it comes with 200.
pub(super) struct Ran {
    pub(super) data: Value,
    pub(super) error: Option<String>,
}

impl Ran {
    pub(super) fn failed(error: impl Into<String>) -> Self {
        Self {
            data: json!({}),
            error: Some(error.into()),
        }
    }

    pub(super) fn good(data: Value) -> Self {
        Self { data, error: None }
    }
}

/// Why a session has no account to run a tool with.
pub(super) enum NoAccount {
    /// Nobody is connected: 4302 where a status can say so.
    None(String),
    /// Several are, and one has to be named.
    Several(String),
}

/// One run of a tool.
pub(super) struct Run<'a> {
    pub(super) tool: &'a Tool,
    pub(super) session: Option<&'a str>,
    pub(super) user: &'a str,
    pub(super) account: Option<String>,
    pub(super) arguments: &'a Value,
    pub(super) via: &'static str,
}

/// The accounts that a session may use for a toolkit, the one it takes by itself first. A pin never falls back.
pub(super) fn candidates<'w>(world: &'w World, session: &Session, toolkit: &str) -> Vec<&'w Account> {
    if let Some(pins) = session
        .of_toolkit("connected_accounts", toolkit)
        .and_then(Value::as_array)
    {
        let pins = pins.iter().filter_map(Value::as_str);
        let pinned = pins.filter_map(|id| world.accounts.get(id));
        let mut usable: Vec<&Account> = pinned
            .filter(|account| account.user_id == session.user_id && account.usable())
            .collect();
        if !world.switches.first_pin_is_taken {
            usable.sort_by_key(|account| std::cmp::Reverse(account.connected));
        }
        return usable;
    }
    let config = session
        .of_toolkit("auth_configs", toolkit)
        .and_then(Value::as_str);
    let mut accounts = grants::active(world, &session.user_id, toolkit);
    accounts.retain(|account| config.is_none_or(|config| config == account.auth_config_id));
    accounts
}

/// Chooses the account of a call; `selector` is an id, a word id or an alias.
pub(super) fn choose<'w>(
    world: &'w World,
    session: &Session,
    toolkit: &str,
    selector: Option<&str>,
) -> Result<&'w Account, NoAccount> {
    let accounts = candidates(world, session, toolkit);
    let none = world.switches.no_account(toolkit);
    let Some(first) = accounts.first().copied() else {
        return Err(NoAccount::None(none));
    };
    // Whether a selector counts without multi-account mode is not known. [I]
    let ignored = world.switches.selector_needs_multi_account || selector.is_none();
    if !session.multi_account() && ignored {
        return Ok(first);
    }
    let listed = || {
        let names = accounts
            .iter()
            .map(|account| account.alias.as_ref().unwrap_or(&account.word_id));
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    if let Some(selector) = selector {
        let named = accounts.iter().find(|account| account.is_called(selector));
        let unknown = || {
            format!(
                "No {toolkit} account matches '{selector}'. Accounts: {}",
                listed()
            )
        };
        return named.copied().ok_or_else(|| NoAccount::Several(unknown()));
    }
    let explicit = session.flag("multi_account", "require_explicit_selection", false);
    if explicit && accounts.len() > 1 {
        let accounts = listed();
        return Err(NoAccount::Several(format!(
            "Multiple {toolkit} accounts connected. Name one in `account`: {accounts}"
        )));
    }
    Ok(first)
}

/// Looks whether a session reaches a tool at all; the allow-list comes before accounts.
pub(super) fn reach(session: &Session, slug: &str) -> Result<(&'static Toolkit, &'static Tool), String> {
    let Some((toolkit, tool)) = catalog::tool(slug) else {
        return Err(format!("Tool {slug} not found"));
    };
    if !session_rules::allows_toolkit(&session.blocks, toolkit.slug) {
        return Err(format!(
            "[Session Restriction] Toolkit '{}' is not allowed",
            toolkit.slug
        ));
    }
    if !session_rules::allows(&session.blocks, toolkit, tool) {
        return Err(format!("[Session Restriction] Tool '{slug}' is not allowed"));
    }
    Ok((toolkit, tool))
}

/// Runs a tool of an app in a session.
pub(super) fn in_session(
    world: &mut World,
    session: &Session,
    slug: &str,
    arguments: &Value,
    account: Option<&str>,
    via: &'static str,
) -> Result<Ran, NoAccount> {
    let refused = |world: &mut World, error: &str| {
        note(
            world,
            slug,
            Some(&session.id),
            &session.user_id,
            None,
            arguments,
            via,
            false,
        );
        Ran::failed(error)
    };
    let (toolkit, tool) = match reach(session, slug) {
        Ok(found) => found,
        Err(error) => return Ok(refused(world, &error)),
    };
    let account = if toolkit.no_auth() {
        None
    } else {
        match choose(world, session, toolkit.slug, account) {
            Ok(account) => Some(account.id.clone()),
            Err(none) => {
                refused(world, "");
                return Err(none);
            }
        }
    };
    Ok(run(
        world,
        Run {
            tool,
            session: Some(&session.id),
            user: &session.user_id,
            account,
            arguments,
            via,
        },
    ))
}

/// Runs a tool with an account.
pub(super) fn run(world: &mut World, run: Run<'_>) -> Ran {
    let ran = outcome(world, &run);
    let Run {
        tool,
        session,
        user,
        account,
        arguments,
        via,
    } = run;
    note(
        world,
        tool.slug,
        session,
        user,
        account.as_deref(),
        arguments,
        via,
        ran.error.is_none(),
    );
    ran
}

fn outcome(world: &mut World, run: &Run<'_>) -> Ran {
    if let Some(message) = world.failing.take_tool(run.tool.slug) {
        return Ran {
            data: json!({ "status_code": 422, "message": message }),
            error: Some(message),
        };
    }
    let missing = |(name, _, required): &&(&str, &str, bool)| *required && run.arguments.get(*name).is_none();
    let missing: Vec<&str> = run
        .tool
        .arguments
        .iter()
        .filter(missing)
        .map(|(name, ..)| *name)
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "Invalid request data provided\n- Following fields are missing: {}",
            missing.join(", ")
        );
        return Ran {
            data: json!({ "status_code": 400, "message": message }),
            error: Some(message),
        };
    }
    let account = run.account.as_ref().and_then(|id| world.accounts.get(id));
    // Who it is that the app sees: the account's owner there.
    let login = account.map(|account| account.user_id.clone());
    Ran::good(json!({
        "login": login, "connected_account_id": run.account, "tool": run.tool.slug, "arguments": run.arguments,
    }))
}

#[allow(clippy::too_many_arguments, reason = "each is a field of the entry")]
pub(super) fn note(
    world: &mut World,
    tool: &str,
    session: Option<&str>,
    user: &str,
    account: Option<&str>,
    arguments: &Value,
    via: &str,
    successful: bool,
) {
    let of = account.and_then(|id| world.accounts.get(id));
    let account_user_id = of.map(|account| account.user_id.clone());
    let at_ms = world.now_ms();
    world.ledger.executed(Execution {
        seq: 0,
        at_ms,
        session_id: session.map(str::to_owned),
        user_id: user.to_owned(),
        account_id: account.map(str::to_owned),
        account_user_id,
        tool: tool.to_owned(),
        arguments_sha256: digest(arguments),
        via: via.to_owned(),
        successful,
    });
}
