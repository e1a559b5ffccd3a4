//! The tools that the caller may use.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;

use super::cursor::{After, not_ours};
use super::query::{Query, bad};
use super::{Caller, Page, Parts, answer};
use crate::catalog::listing::Kind;
use crate::catalog::snapshot::{Entry, Snapshot};
use crate::limits::{API_PAGE_BYTES_MAX, SEARCH_BYTES_MAX};
use crate::protocol::json::Object;
use crate::web::Problem;

/// One tool. What its gateway wrote stays as it wrote it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    gateway: String,
    own_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    input_schema: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Box<RawValue>>,
}

impl Tool {
    fn of(entry: &Entry, members: &Object) -> Self {
        let raw = |key| members.get(key).and_then(|value| value.read());
        Self {
            name: entry.route.exposed.to_string(),
            gateway: entry.route.gateway.to_string(),
            own_name: entry.route.own.to_string(),
            title: members.string("title"),
            description: members.string("description"),
            input_schema: raw("inputSchema"),
            annotations: raw("annotations"),
        }
    }
}

/// Lists tools, in the order of `tools/list`.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["gateway", "q", "limit", "cursor"])?;
    let limit = query.limit(parts.limits.page_items_max)?;
    let filter = Filter::of(&query)?;
    let view = parts.proxy.view(&caller.principal);
    let begin = match query.get("cursor") {
        None => 0,
        Some(text) => {
            let after = After::read(&parts.sealer, &caller.principal, text);
            begin_after(view.snapshot(), &after.ok_or_else(not_ours)?)
        }
    };
    let mut page = Page {
        items: Vec::new(),
        next_cursor: None,
    };
    let (mut bytes, mut last) = (0, None);
    for entry in view.entries(Kind::Tool) {
        let index = entry.route.index.unwrap_or_default();
        if index < begin {
            continue;
        }
        let Some(members) = filter.admits(entry) else {
            continue;
        };
        bytes += entry.raw.as_bytes().len();
        if let Some(after) = &last
            && (page.items.len() == limit || bytes > API_PAGE_BYTES_MAX)
        {
            page.next_cursor = After::write(after, &parts.sealer, &caller.principal);
            break;
        }
        page.items.push(Tool::of(entry, &members));
        last = Some(After {
            index,
            name: entry.route.exposed.to_string(),
        });
    }
    answer(&page)
}

fn begin_after(snapshot: &Snapshot, after: &After) -> usize {
    let found = snapshot
        .resolve(Kind::Tool, &after.name)
        .and_then(|route| route.index);
    // Whatever stood behind an entry that is gone has moved up into its place.
    found.map_or(after.index, |index| index + 1)
}

/// Which tools are wanted.
struct Filter {
    gateway: Option<String>,
    words: Vec<String>,
}

impl Filter {
    fn of(query: &Query) -> Result<Self, Problem> {
        let words = query.get("q").unwrap_or_default();
        if words.len() > SEARCH_BYTES_MAX {
            return Err(bad(format!("q must be at most {SEARCH_BYTES_MAX} bytes")));
        }
        Ok(Self {
            gateway: query.get("gateway").map(ToOwned::to_owned),
            words: words
                .to_lowercase()
                .split_whitespace()
                .map(ToOwned::to_owned)
                .collect(),
        })
    }

    /// Returns the members of an entry that is wanted: of the gateway, with every word somewhere in its names, title
    /// or description.
    fn admits(&self, entry: &Entry) -> Option<Object> {
        let route = &entry.route;
        if self
            .gateway
            .as_deref()
            .is_some_and(|name| name != route.gateway.as_str())
        {
            return None;
        }
        let members = entry.raw.object().ok()?;
        if self.words.is_empty() {
            return Some(members);
        }
        let text = |key| members.string(key).unwrap_or_default().to_lowercase();
        let texts = [
            route.exposed.to_lowercase(),
            route.own.to_lowercase(),
            text("title"),
            text("description"),
        ];
        let has = |word: &String| texts.iter().any(|text| text.contains(word));
        self.words.iter().all(has).then_some(members)
    }
}
