//! The parts of Composio's multi-execute: each is a tool of its own, and is looked at as if it were called by itself.
//! One that is refused refuses the call, and nothing is sent. What `account` a part names is left to Composio.

use super::ProxyError;
use crate::catalog::route::Route;
use crate::config::{self, is_meta_tool, may_be_of};
use crate::limits::{COMPOSIO_PARTS_MAX, COMPOSIO_SLUG_BYTES_MAX};
use crate::policy::View;
use crate::protocol::json::Object;
use crate::protocol::message::Request;

/// The tool with parts.
const MULTI_EXECUTE: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";

/// Admits a call of a Composio gateway's tool with all its parts.
///
/// # Errors
/// [`ProxyError::UnknownTool`] that names the part, for one that is refused and one that nobody has alike;
/// [`ProxyError::InvalidParams`] where it cannot be seen what the parts are.
pub(super) fn admit(
    view: &View,
    options: &config::Composio,
    route: &Route,
    request: &Request,
) -> Result<(), ProxyError> {
    if &*route.own != MULTI_EXECUTE {
        return Ok(());
    }
    let arguments = request
        .params
        .as_ref()
        .and_then(|params| params.object("arguments"));
    let parts = arguments
        .as_ref()
        .and_then(|arguments| arguments.get("tools")?.array());
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
        if !is_slug(&slug) || !in_toolkits(options, &slug) || view.admit_inner(&route.gateway, &slug).is_err()
        {
            let slug: String = slug.chars().take(COMPOSIO_SLUG_BYTES_MAX).collect();
            return Err(ProxyError::UnknownTool(format!(
                "{slug}, which is part {index} of `tools`; none of them was executed"
            )));
        }
    }
    Ok(())
}

/// As Composio writes slugs: what is spelt otherwise could mean a tool that the rules refuse.
fn is_slug(slug: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=COMPOSIO_SLUG_BYTES_MAX).contains(&slug.len()) && slug.bytes().all(right)
}

fn in_toolkits(options: &config::Composio, slug: &str) -> bool {
    let of_some = |toolkits: &Vec<String>| toolkits.iter().any(|toolkit| may_be_of(slug, toolkit));
    is_meta_tool(slug) || options.toolkits.as_ref().is_none_or(of_some)
}
