//! What Composio's own tools reach in their turn. The parts of multi-execute are tools of their own, and each is looked
//! at as if it were called by itself; what its tools for connections name must be toolkits of the caller. One that is
//! refused refuses the call, and nothing is sent. Which `account` a part runs with is `upstream::composio`'s business.

use super::ProxyError;
use crate::catalog::route::Route;
use crate::config::{self, is_meta_tool};
use crate::exchange::Call;
use crate::limits::{COMPOSIO_PARTS_MAX, COMPOSIO_SLUG_BYTES_MAX, TOOLKIT_BYTES_MAX};
use crate::policy::View;
use crate::protocol::json::Object;

/// The tool with parts.
const MULTI_EXECUTE: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";
/// Makes links.
const MANAGE_CONNECTIONS: &str = "COMPOSIO_MANAGE_CONNECTIONS";
/// Waits for what comes of them.
const WAIT_FOR_CONNECTIONS: &str = "COMPOSIO_WAIT_FOR_CONNECTIONS";

/// Admits a call of a Composio gateway's tool with all that it names.
///
/// # Errors
/// [`ProxyError::UnknownTool`] that names the part, [`ProxyError::UnknownToolkit`] that names the toolkit, for one that
/// is refused and one that nobody has alike; [`ProxyError::InvalidParams`] where it cannot be seen what is named, and
/// for `reinitiate_all` unless the operator allows it.
pub(super) fn admit(
    view: &View,
    options: &config::Composio,
    route: &Route,
    call: &Call,
) -> Result<(), ProxyError> {
    let arguments = || call.request.params.as_ref()?.object("arguments");
    match &*route.own {
        MULTI_EXECUTE => admit_parts(view, options, route, arguments().as_ref()),
        MANAGE_CONNECTIONS | WAIT_FOR_CONNECTIONS => admit_toolkits(options, call, arguments().as_ref()),
        _ => Ok(()),
    }
}

fn admit_parts(
    view: &View,
    options: &config::Composio,
    route: &Route,
    arguments: Option<&Object>,
) -> Result<(), ProxyError> {
    let parts = arguments.and_then(|arguments| arguments.get("tools")?.array());
    let parts = parts.ok_or(ProxyError::InvalidParams(
        "`arguments` must be an object, no key twice, with a list `tools`",
    ))?;
    for (index, part) in parts.into_iter().enumerate() {
        if index >= COMPOSIO_PARTS_MAX {
            return Err(ProxyError::InvalidParams(
                "`tools` may have at most 50 parts; make several calls of it",
            ));
        }
        let named = part
            .object()
            .ok()
            .and_then(|part: Object| part.string("tool_slug"));
        let slug = named.ok_or(ProxyError::InvalidParams(
            "each part of `tools` must be an object, no key twice, with a string `tool_slug`",
        ))?;
        // Those that name others in their turn are looked at when they are called by themselves, and not in here.
        let nested = [MULTI_EXECUTE, MANAGE_CONNECTIONS, WAIT_FOR_CONNECTIONS].contains(&&*slug);
        if nested
            || !is_slug(&slug)
            || !in_toolkits(options, &slug)
            || view.admit_inner(&route.gateway, &slug).is_err()
        {
            let slug: String = slug.chars().take(COMPOSIO_SLUG_BYTES_MAX).collect();
            return Err(ProxyError::UnknownTool(format!(
                "{slug}, which is part {index} of `tools`; none of them was executed"
            )));
        }
    }
    Ok(())
}

/// Looks at the toolkits that are to be connected. A user has one account of each unless the configuration allows
/// several, so that working ones are not replaced here: whose they are does it, by REST, where the old one goes when the
/// new one works. With several accounts the form of `toolkits` is not known (facts: open questions): what is no slug is
/// left to Composio, whose session has no other toolkits either.
fn admit_toolkits(
    options: &config::Composio,
    call: &Call,
    arguments: Option<&Object>,
) -> Result<(), ProxyError> {
    let again = arguments.and_then(|arguments| arguments.get("reinitiate_all"));
    let kept = |again: &crate::protocol::json::Raw| again.is_null() || again.bool() == Some(false);
    if !again.as_ref().is_none_or(kept) {
        refuse_again(options)?;
    }
    let toolkits = arguments.and_then(|arguments| arguments.get("toolkits")?.array());
    let toolkits = toolkits.ok_or(ProxyError::InvalidParams(
        "`arguments` must be an object, no key twice, with a list `toolkits`",
    ))?;
    let session = call.client.principal.session();
    let narrow = session.and_then(|session| session.toolkits.as_ref());
    for toolkit in toolkits {
        let Some(slug) = toolkit.string() else {
            if options.multi_account.is_some() {
                continue;
            }
            return Err(ProxyError::InvalidParams(
                "each of `toolkits` must be the slug of a toolkit",
            ));
        };
        let has = |set: &Vec<String>| set.iter().any(|one| one.eq_ignore_ascii_case(&slug));
        if !(narrow.is_none_or(has) && options.toolkits.as_ref().is_none_or(has)) {
            let slug = slug.chars().take(TOOLKIT_BYTES_MAX).collect();
            return Err(ProxyError::UnknownToolkit(slug));
        }
    }
    Ok(())
}

/// Whether connections that work may be replaced: Composio documents that `reinitiate_all` does it, and says no more of
/// it where a user has several, so that there the operator decides. Whose they are is not in question: a session reaches
/// its own user's accounts alone.
fn refuse_again(options: &config::Composio) -> Result<(), ProxyError> {
    match options.multi_account {
        Some(several) if several.reinitiate => Ok(()),
        Some(_) => Err(ProxyError::InvalidParams(
            "`reinitiate_all` would replace accounts that work: leave it out. What is not connected gets a link without \
             it; a user who wants one more account connects with an `alias` (POST /api/integrations/{toolkit}/connect), \
             and an operator may allow it with `multi_account_reinitiate`",
        )),
        None => Err(ProxyError::InvalidParams(
            "`reinitiate_all` would make second accounts beside those that work, and a user has one of each toolkit \
             here: leave it out. What is not connected gets a link without it; a user who wants another account \
             connects with `reconnect` (POST /api/integrations/{toolkit}/connect)",
        )),
    }
}

/// As Composio writes slugs: what is spelt otherwise could mean a tool that the rules refuse.
fn is_slug(slug: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=COMPOSIO_SLUG_BYTES_MAX).contains(&slug.len()) && slug.bytes().all(right)
}

fn in_toolkits(options: &config::Composio, slug: &str) -> bool {
    let of = |toolkit: &String| options.tool_prefixes.may_be_of(slug, toolkit);
    let of_some = |toolkits: &Vec<String>| toolkits.iter().any(of);
    is_meta_tool(slug) || options.toolkits.as_ref().is_none_or(of_some)
}
