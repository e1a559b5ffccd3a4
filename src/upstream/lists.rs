//! Every page of every list of one upstream, whatever carries the requests.
//! A list that never ends is cut, an entry that is none is left out; both are said once in the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::handshake::Handshake;
use super::transport::ListError;
use crate::catalog::listing::{Item, Kind, Listing};
use crate::ids::GatewayId;
use crate::limits::{LIST_BYTES_MAX, LIST_ITEMS_PER_GATEWAY_MAX, LIST_PAGES_MAX, UPSTREAM_CURSOR_BYTES_MAX};
use crate::protocol::error::{METHOD_NOT_FOUND, RpcError};
use crate::protocol::json::{Object, Raw};
use crate::protocol::method::Method;

/// Sends a request of our own to an upstream and waits for its result.
pub trait Ask: Send + Sync {
    /// Asks once. The params are written in the form of the upstream's era.
    fn ask(
        &self,
        method: Method,
        params: Vec<(&'static str, Raw)>,
    ) -> BoxFuture<'_, Result<Object, AskError>>;
}

/// Why a request of our own has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// The upstream answered with an error.
    #[error("{} (code {})", .0.message, .0.code)]
    Refused(RpcError),
    /// There was no answer.
    #[error("{0}")]
    Failed(String),
}

/// Asks for every page of each list that an upstream offers.
pub async fn collect(
    ask: &dyn Ask,
    gateway: &GatewayId,
    handshake: &Handshake,
) -> Result<Listing, ListError> {
    let offers = handshake.offers;
    let mut listing = Listing {
        instructions: handshake.instructions.clone(),
        completions: offers.completions,
        subscribe: offers.subscribe,
        has_resources: offers.resources,
        extensions: handshake.extensions.clone(),
        ..Listing::default()
    };
    for (kind, method, offered) in [
        (Kind::Tool, Method::ToolsList, offers.tools),
        (Kind::Prompt, Method::PromptsList, offers.prompts),
        (Kind::Resource, Method::ResourcesList, offers.resources),
        (Kind::Template, Method::TemplatesList, offers.resources),
    ] {
        if !offered {
            continue;
        }
        let list = Pages::new(gateway, kind, method);
        let (items, ttl) = list.read(ask).await?;
        *listing.items_mut(kind) = items;
        listing.ttl = match (listing.ttl, ttl) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    Ok(listing)
}

/// One list while its pages come in.
struct Pages<'a> {
    gateway: &'a GatewayId,
    kind: Kind,
    method: Method,
    items: Vec<Item>,
    bytes: usize,
    names: HashSet<Arc<str>>,
    cursors: HashSet<String>,
    ttl: Option<Duration>,
    cut: bool,
    left_out: usize,
}

impl<'a> Pages<'a> {
    fn new(gateway: &'a GatewayId, kind: Kind, method: Method) -> Self {
        Self {
            gateway,
            kind,
            method,
            items: Vec::new(),
            bytes: 0,
            names: HashSet::new(),
            cursors: HashSet::new(),
            ttl: None,
            cut: false,
            left_out: 0,
        }
    }

    async fn read(mut self, ask: &dyn Ask) -> Result<(Vec<Item>, Option<Duration>), ListError> {
        let mut cursor: Option<String> = None;
        for _ in 0..LIST_PAGES_MAX {
            let params = cursor.as_deref().map(|cursor| ("cursor", Raw::from(cursor)));
            let page = match ask.ask(self.method, params.into_iter().collect()).await {
                Ok(page) => page,
                Err(error) => return self.failed(error),
            };
            self.add(&page)?;
            cursor = page.string("nextCursor");
            match &cursor {
                None => return Ok((self.items, self.ttl)),
                Some(next) if next.len() > UPSTREAM_CURSOR_BYTES_MAX => {
                    self.warn("its cursor is too long; what came so far is kept");
                    return Ok((self.items, self.ttl));
                }
                Some(next) if !self.cursors.insert(next.clone()) => {
                    self.warn("the same cursor came twice; what came so far is kept");
                    return Ok((self.items, self.ttl));
                }
                Some(_) if self.cut => return Ok((self.items, self.ttl)),
                Some(_) => {}
            }
        }
        self.warn("too many pages; the rest is left out");
        Ok((self.items, self.ttl))
    }

    /// A list that is offered but not there is empty; so is one beside the tools that only fails.
    fn failed(self, error: AskError) -> Result<(Vec<Item>, Option<Duration>), ListError> {
        match error {
            AskError::Refused(error) if error.code == METHOD_NOT_FOUND => Ok((Vec::new(), None)),
            AskError::Refused(error) if self.kind != Kind::Tool => {
                self.warn(&format!("refused with code {}; taken as empty", error.code));
                Ok((Vec::new(), None))
            }
            error => Err(ListError(format!("{}: {error}", self.method.as_str()))),
        }
    }

    fn add(&mut self, page: &Object) -> Result<(), ListError> {
        let key = self.kind.list_key();
        let entries = page.get(key).and_then(|entries| entries.array()).ok_or_else(|| {
            ListError(format!(
                "{}: the result has no `{key}` array",
                self.method.as_str()
            ))
        })?;
        if let Some(ttl) = page.get("ttlMs") {
            let negative = ttl.as_str().starts_with('-');
            let ttl = if negative { Some(0) } else { ttl.u64() }.map(Duration::from_millis);
            self.ttl = match (self.ttl, ttl) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        for entry in entries {
            let full = self.items.len() == LIST_ITEMS_PER_GATEWAY_MAX
                || self.left_out == LIST_ITEMS_PER_GATEWAY_MAX
                || self.bytes + entry.as_bytes().len() > LIST_BYTES_MAX;
            if full {
                self.warn("too many entries; the rest is left out");
                self.cut = true;
                break;
            }
            match Item::read(self.kind, entry) {
                Ok(item) if !self.names.insert(Arc::clone(&item.own)) => {
                    self.leave_out(&format!("{:?} is listed twice; the first is kept", item.own));
                }
                Ok(item) => {
                    self.bytes += item.raw.as_bytes().len();
                    self.items.push(item);
                }
                Err(error) => self.leave_out(&format!("left out: {error}")),
            }
        }
        Ok(())
    }

    /// Says why for the first few entries only: a hostile list must not fill the log.
    fn leave_out(&mut self, reason: &str) {
        self.left_out += 1;
        if self.left_out <= 8 {
            self.warn(reason);
        }
    }

    fn warn(&self, reason: &str) {
        tracing::warn!(gateway.id = %self.gateway, method = self.method.as_str(), reason, "list of a gateway");
    }
}

#[cfg(test)]
mod tests;
