//! Which of several accounts the parts of multi-execute run with. A part that names none gets the one that its user
//! chose for its toolkit, beside its `tool_slug`: anywhere else Composio does not look at it (facts: meta tools). Not
//! where the configuration wants calls to say which they mean.

use crate::exchange::Call;
use crate::integrations::Project;
use crate::integrations::connections::{ConnectError, Connections};
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{Message, Request};
use crate::protocol::splice::Splice;

const MULTI_EXECUTE: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";
/// Where a part names its account.
const ACCOUNT: &str = "account";

/// Tells whether a call of a tool, by Composio's name of it, has a place for accounts.
pub(super) fn may_name(project: &Project, own: &str) -> bool {
    let several = project.options().multi_account;
    own == MULTI_EXECUTE && several.is_some_and(|several| !several.explicit)
}

/// Returns the request, which [`may_name`] accounts, with those that its user chose; `None`: it stays as it is.
///
/// # Errors
/// [`ConnectError::Store`]: what was chosen cannot be read.
pub(super) async fn named(
    project: &Project,
    connections: &Connections,
    call: &Call,
) -> Result<Option<Request>, ConnectError> {
    let chosen = connections.chosen(project, call.client.principal.user()).await?;
    if chosen.is_empty() {
        return Ok(None);
    }
    let configured = project.options().toolkits.iter().flatten();
    let mut toolkits: Vec<&str> = configured.map(String::as_str).collect();
    toolkits.extend(chosen.iter().map(|one| one.place.toolkit.as_str()));
    let account_of = |slug: &str| {
        let prefixes = &project.options().tool_prefixes;
        let toolkit = prefixes.toolkit_of(slug, toolkits.iter().copied())?;
        let one = chosen.iter().find(|one| one.place.toolkit == toolkit)?;
        Some(one.account.as_str())
    };
    Ok(with_accounts(&call.request, account_of))
}

fn with_accounts<'a>(request: &Request, account_of: impl Fn(&str) -> Option<&'a str>) -> Option<Request> {
    let arguments = request.params.as_ref()?.object("arguments")?;
    let mut splice = Splice::new(&request.raw);
    for part in arguments.get("tools")?.array()? {
        let named = |part: &Object| part.get(ACCOUNT).is_some_and(|account| !account.is_null());
        let Some(part) = part.object().ok().filter(|part| !named(part)) else {
            continue;
        };
        if let Some(account) = part.string("tool_slug").as_deref().and_then(&account_of) {
            splice.set(&part, ACCOUNT, &Raw::from(account));
        }
    }
    match Message::parse(splice.done()) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_parts_that_name_no_account_get_one_and_all_else_keeps_its_bytes() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{ "name":"x","arguments":{"tools":[
            {"tool_slug":"A_X","arguments":{"account":"mine", "n":1.50}}, {"tool_slug":"A_Y","account":"b"},
            {"account":null,"tool_slug":"A_Z"},{"tool_slug":"B_X"},{},3]}}}"#;
        let Ok(Message::Request(request)) = Message::parse(Bytes::from(text)) else {
            panic!("a request");
        };
        let after = with_accounts(&request, |slug| slug.starts_with("A_").then_some("ca_1")).unwrap();
        let expected = text
            .replace(r#"{"tool_slug":"A_X""#, r#"{"account":"ca_1","tool_slug":"A_X""#)
            .replace(r#"{"account":null,"#, r#"{"account":"ca_1","#);
        assert_eq!(std::str::from_utf8(&after.raw).unwrap(), expected);
    }
}
