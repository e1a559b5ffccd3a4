//! Links: the pages on which people consent. Plain forms, no script. A link is good for ten minutes and for one
//! decision; then it sends the browser to the callback with `status` and `connected_account_id` added to its query.

use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::accounts::Status;
use super::answers::{Outcome, Reply};
use super::asked::Asked;
use super::world::{FLOW_MS, World, id, iso};
use super::{accounts, catalog, grants};

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Link {
    account: String,
    made_ms: u64,
    /// Where the browser goes after the decision; absent: a page of the fake's own.
    callback_url: Option<String>,
    decided: bool,
    /// The single-use handle of the callback's verifier, while nobody has redeemed it.
    session_uri: Option<String>,
}

/// Makes the link of an account; returns its token.
pub(super) fn open(world: &mut World, account: &str) -> String {
    let token = id("lk_");
    let url = url(world, &token);
    let now = world.now_ms();
    let found = world.accounts.get_mut(account);
    let callback_url = found.and_then(|found| {
        found.redirect_url = Some(url);
        found.callback_url.clone()
    });
    let link = Link {
        account: account.to_owned(),
        made_ms: now,
        callback_url,
        decided: false,
        session_uri: None,
    };
    world.links.insert(token.clone(), link);
    world.dirty = true;
    token
}

pub(super) fn url(world: &World, token: &str) -> String {
    format!("{}/link/{token}", world.origin)
}

/// Returns the link of an account that waits for its user.
pub(super) fn pending(world: &World, user: &str, toolkit: &str) -> Option<(String, String)> {
    let open = |id: &str| {
        world.accounts.get(id).is_some_and(|account| {
            account.user_id == user
                && account.toolkit == toolkit
                && matches!(account.status, Status::Initializing | Status::Initiated)
        })
    };
    let mut links = world
        .links
        .iter()
        .filter(|(_, link)| !link.decided && open(&link.account));
    links
        .next()
        .map(|(token, link)| (token.clone(), link.account.clone()))
}

/// `POST /connected_accounts/link`.
pub(super) fn create(world: &mut World, asked: &Asked) -> Outcome {
    let required = |at: &str| Reply::bad_payload(&[format!("Error in payload.{at}: Required")]);
    let user = asked
        .text("user_id")
        .filter(|user| !user.is_empty())
        .ok_or_else(|| required("user_id"))?;
    let config = asked
        .text("auth_config_id")
        .ok_or_else(|| required("auth_config_id"))?;
    let callback = callback(asked)?;
    let id = grants::begin(world, user, config, asked.text("alias"), callback)?;
    let token = open(world, &id);
    let expires = iso(world.now_ms() + FLOW_MS);
    Ok(Reply::json(
        201,
        json!({
            "link_token": token, "redirect_url": url(world, &token), "expires_at": expires, "connected_account_id": id,
        }),
    ))
}

/// The callback of a body, which must be a URL.
pub(super) fn callback(asked: &Asked) -> Result<Option<String>, Reply> {
    let Some(text) = asked.text("callback_url") else {
        return Ok(None);
    };
    match Url::parse(text) {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(_) => Err(Reply::bad_payload(&[
            "Error in payload.callback_url: Invalid url".to_owned(),
        ])),
    }
}

/// `POST /connected_accounts/{id}/refresh`: begins the flow again. It never refreshed a token.
pub(super) fn refresh(world: &mut World, asked: &Asked, id: &str) -> Outcome {
    accounts::found(world, id)?;
    let now = world.now_ms();
    let redirect = asked.text("redirect_url").map(str::to_owned);
    if let Some(account) = world.accounts.get_mut(id) {
        account.become_(Status::Initiated, None, now);
        account.begun_ms = now;
        account.callback_url = redirect.or(account.callback_url.take());
    }
    let token = open(world, id);
    let url = url(world, &token);
    let said = json!({ "id": id, "status": "INITIATED", "redirect_url": url });
    Ok(Reply::ok(said).with("deprecation", "@1767225600").with(
        "link",
        "</api/v3.1/connected_accounts/link>; rel=\"successor-version\"",
    ))
}

/// `/link/lk_…`: the page, and the decision.
pub(super) fn page(world: &mut World, asked: &Asked, token: &str) -> Outcome {
    let Some(link) = world.links.get(token).cloned() else {
        return Err(told(404, "This link does not exist."));
    };
    if link.decided {
        return Err(told(410, "This link has been used."));
    }
    let account = world.accounts.get(&link.account).cloned();
    let alive = world.now_ms() < link.made_ms + FLOW_MS;
    let Some(account) =
        account.filter(|account| alive && matches!(account.status, Status::Initializing | Status::Initiated))
    else {
        return Err(told(410, "This link has expired. Ask for another one."));
    };
    match asked.method.as_str() {
        "GET" | "HEAD" => {
            let now = world.now_ms();
            if let Some(account) = world.accounts.get_mut(&link.account) {
                account.become_(Status::Initiated, None, now);
            }
            world.dirty = true;
            Ok(Reply::html(
                200,
                consent(&account.toolkit, &account.user_id, &account.scheme),
            ))
        }
        "POST" => decide(world, asked, token, link),
        _ => Err(Reply::empty(405)),
    }
}

fn decide(world: &mut World, asked: &Asked, token: &str, mut link: Link) -> Outcome {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&asked.raw).into_owned().collect();
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let allowed = match field("decision") {
        Some("allow") => true,
        Some("deny") => false,
        _ => return Err(told(400, "Allow, or deny.")),
    };
    let scheme = world.accounts[&link.account].scheme.clone();
    if allowed && scheme == "API_KEY" && field("api_key").is_none_or(str::is_empty) {
        return Err(told(400, "The key is missing."));
    }
    link.decided = true;
    let verifier = world.callback_verifier.clone();
    let mut callback = link.callback_url.clone();
    let mut query = vec![
        ("status", if allowed { "success" } else { "failed" }.to_owned()),
        ("connected_account_id", link.account.clone()),
    ];
    if !allowed {
        let now = world.now_ms();
        if let Some(account) = world.accounts.get_mut(&link.account) {
            account.become_(
                Status::Failed,
                Some("OAuth callback failed during token exchange"),
                now,
            );
        }
    } else if let Some(verifier) = verifier.filter(|_| scheme.starts_with("OAUTH")) {
        // The account becomes ACTIVE once the verifier says whose browser this is.
        let uri = id("session_");
        query = vec![("session_uri", uri.clone())];
        link.session_uri = Some(uri);
        callback = Some(verifier);
    } else {
        grants::activate(world, &link.account);
    }
    world.links.insert(token.to_owned(), link);
    world.dirty = true;
    let Some(callback) = callback else {
        let said = if allowed {
            "Connected. You can close this page."
        } else {
            "Not connected."
        };
        return Ok(told(200, said));
    };
    let Ok(mut to) = Url::parse(&callback) else {
        return Err(told(400, "The callback is no URL."));
    };
    to.query_pairs_mut().extend_pairs(query);
    Ok(Reply::see_other(to.as_str()))
}

/// `POST /connected_accounts/complete_auth`: the verifier says for whom the browser has consented.
pub(super) fn complete_auth(world: &mut World, asked: &Asked) -> Outcome {
    let required = |at: &str| Reply::bad_payload(&[format!("Error in payload.{at}: Required")]);
    let uri = asked.text("session_uri").ok_or_else(|| required("session_uri"))?;
    let user = asked.text("user_id").ok_or_else(|| required("user_id"))?;
    let now = world.now_ms();
    let found = world
        .links
        .values_mut()
        .find(|link| link.session_uri.as_deref() == Some(uri));
    let gone = || Reply::error(404, 10404, "HTTP_NotFound", "auth session not found or expired");
    let link = found
        .filter(|link| now < link.made_ms + 2 * FLOW_MS)
        .ok_or_else(gone)?;
    link.session_uri = None;
    let id = link.account.clone();
    world.dirty = true;
    let account = accounts::found(world, &id)?.clone();
    if account.user_id != user || user == "default" {
        if let Some(account) = world.accounts.get_mut(&id) {
            account.become_(Status::Failed, Some("Identity mismatch"), now);
        }
        return Err(Reply::error(400, 10400, "HTTP_BadRequest", "identity mismatch"));
    }
    grants::activate(world, &id);
    Ok(Reply::ok(
        json!({ "connected_account_id": id, "toolkit_slug": account.toolkit }),
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn paper(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head>\n<body><main>{body}</main></body></html>\n"
    )
}

fn told(status: u16, text: &str) -> Reply {
    Reply::html(
        status,
        paper(
            "Composio (fake)",
            &format!("<p id=\"told\">{}</p>", escaped(text)),
        ),
    )
}

fn consent(toolkit: &str, user: &str, scheme: &str) -> String {
    let name = catalog::toolkit(toolkit).map_or(toolkit, |toolkit| toolkit.name);
    let key = if scheme == "API_KEY" {
        "<p><label>API key <input name=\"api_key\" autocomplete=\"off\"></label></p>"
    } else {
        ""
    };
    let (name, user) = (escaped(name), escaped(user));
    paper(
        &format!("Connect {name}"),
        &format!(
            "<h1>Connect {name}</h1><p>This is a fake of Composio: no account of yours is touched.</p>\
             <p>Shall <b>{user}</b> be connected to <b>{name}</b>?</p><form method=\"post\">{key}\
             <button type=\"submit\" name=\"decision\" value=\"allow\" id=\"allow\">Allow</button> \
             <button type=\"submit\" name=\"decision\" value=\"deny\" id=\"deny\">Deny</button></form>"
        ),
    )
}
