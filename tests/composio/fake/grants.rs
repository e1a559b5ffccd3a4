//! How accounts come about: which auth config they get, and becoming ACTIVE.

use super::accounts::{Account, Status};
use super::answers::Reply;
use super::ledger::Opened;
use super::sessions::Session;
use super::world::{World, id, random};
use super::{accounts, auth_configs, catalog, session_rules};

/// A user's ACTIVE accounts of a toolkit, the most recently connected first.
pub(super) fn active<'w>(world: &'w World, user: &str, toolkit: &str) -> Vec<&'w Account> {
    let of = |account: &&Account| {
        account.user_id == user && account.toolkit == toolkit && account.usable() && enabled(world, account)
    };
    let mut accounts: Vec<&Account> = world.accounts.values().filter(of).collect();
    accounts.sort_by_key(|account| std::cmp::Reverse(account.connected));
    accounts
}

fn enabled(world: &World, account: &Account) -> bool {
    let config = world.auth_configs.get(&account.auth_config_id);
    config.is_some_and(|config| config.enabled)
}

/// The auth config that a session's link uses: its own, one that is there, a new one of Composio's, or none.
pub(super) fn config_for(world: &mut World, session: &Session, toolkit: &str) -> Result<String, Reply> {
    if !session_rules::allows_toolkit(&session.blocks, toolkit) {
        let message = format!("[Session Restriction] Toolkit '{toolkit}' is not allowed");
        return Err(Reply::bad_session(&message));
    }
    let own = session
        .of_toolkit("auth_configs", toolkit)
        .and_then(|id| id.as_str());
    if let Some(own) = own {
        return Ok(accounts::config_of(world, own)?.id.clone());
    }
    let unknown = || Reply::bad_session(&format!("Toolkit '{toolkit}' does not exist"));
    let known = catalog::toolkit(toolkit).ok_or_else(unknown)?;
    if known.no_auth() {
        let message = format!("Toolkit {toolkit} needs no authentication");
        return Err(Reply::error(400, 4326, "ToolRouterV2_ToolkitsIsNoAuth", &message));
    }
    if let Some(usual) = auth_configs::usual(world, toolkit) {
        return Ok(usual);
    }
    let simple = !known.oauth() && world.switches.api_key_links_need_no_config;
    if !(known.managed || simple) {
        let message = format!(
            "Toolkit {toolkit} has no Composio-managed authentication. Create an auth config and pass it in auth_configs"
        );
        return Err(Reply::error(400, 4308, "ToolRouterV2_NoManagedAuth", &message));
    }
    Ok(auth_configs::add(
        world,
        toolkit,
        known.scheme,
        known.managed,
        None,
    ))
}

/// Makes an account that nobody has consented to yet.
pub(super) fn begin(
    world: &mut World,
    user: &str,
    config: &str,
    alias: Option<&str>,
    callback_url: Option<String>,
) -> Result<String, Reply> {
    let config = accounts::config_of(world, config)?.clone();
    let same = |other: &Account| other.user_id == user && other.toolkit == config.toolkit;
    let alias = alias.filter(|alias| !alias.is_empty());
    if let Some(alias) = alias
        && world
            .accounts
            .values()
            .any(|other| same(other) && other.alias.as_deref() == Some(alias))
    {
        let message = format!("The alias '{alias}' is taken");
        return Err(Reply::error(400, 10400, "ConnectedAccount_AliasTaken", &message));
    }
    let (made, now) = (world.next(), world.now_ms());
    let account = Account {
        id: id("ca_"),
        word_id: word_id(&config.toolkit),
        alias: alias.map(str::to_owned),
        user_id: user.to_owned(),
        toolkit: config.toolkit,
        auth_config_id: config.id,
        scheme: config.scheme,
        managed: config.managed,
        status: Status::Initializing,
        status_reason: None,
        redirect_url: None,
        callback_url,
        shared: false,
        made,
        begun_ms: now,
        updated_ms: now,
        connected: 0,
    };
    let id = account.id.clone();
    world.ledger.account_made(Opened {
        seq: 0,
        at_ms: now,
        account_id: id.clone(),
        user_id: user.to_owned(),
        toolkit: account.toolkit.clone(),
        auth_config_id: account.auth_config_id.clone(),
    });
    world.accounts.insert(id.clone(), account);
    Ok(id)
}

fn word_id(toolkit: &str) -> String {
    const COLOURS: [&str; 8] = ["red", "blue", "green", "amber", "violet", "white", "grey", "teal"];
    const THINGS: [&str; 8] = [
        "castle", "river", "lamp", "forest", "harbour", "bridge", "garden", "tower",
    ];
    let [colour, thing, number, more] = random::<4>();
    let number = u16::from(number) << 8 | u16::from(more);
    format!(
        "{toolkit}_{}-{}-{number}",
        COLOURS[usize::from(colour % 8)],
        THINGS[usize::from(thing % 8)]
    )
}

/// The flow was gone through.
pub(super) fn activate(world: &mut World, id: &str) {
    let (connected, now) = (world.next(), world.now_ms());
    if let Some(account) = world.accounts.get_mut(id) {
        account.become_(Status::Active, None, now);
        account.connected = connected;
        account.redirect_url = None;
    }
}

/// Gives a user an ACTIVE account at once.
pub(super) fn connect(world: &mut World, user: &str, toolkit: &str, alias: Option<&str>) -> String {
    let known = catalog::toolkit(toolkit).unwrap_or_else(|| panic!("the fake has no toolkit {toolkit}"));
    let config = auth_configs::usual(world, toolkit)
        .unwrap_or_else(|| auth_configs::add(world, toolkit, known.scheme, known.managed, None));
    let id = begin(world, user, &config, alias, None).unwrap_or_else(|refused| panic!("{refused:?}"));
    activate(world, &id);
    id
}
