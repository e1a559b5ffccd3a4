//! Lists by pages: opaque cursors, limits that are clamped; `page_no` for the older MCP servers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::answers::Reply;
use super::asked::Asked;

/// How a list is cut: what a page holds when nothing is said, and at most.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub(super) usual: usize,
    pub(super) most: usize,
}

pub(super) const fn cut(usual: usize, most: usize) -> Cut {
    Cut { usual, most }
}

fn number(asked: &Asked, name: &str) -> Result<Option<usize>, Reply> {
    let Some(text) = asked.query(name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(0) | Err(_) => Err(Reply::bad_payload(&[format!(
            "Error in query.{name}: Invalid input"
        )])),
        Ok(number) => Ok(Some(number)),
    }
}

/// Returns the page of `items` that was asked for.
pub(super) fn page(asked: &Asked, items: &[Value], cut: Cut) -> Result<Value, Reply> {
    let (mut page, mut limit) = (1, number(asked, "limit")?.unwrap_or(cut.usual));
    if let Some(cursor) = asked.query("cursor") {
        let opened = URL_SAFE_NO_PAD.decode(cursor).ok();
        let opened = opened.and_then(|bytes| serde_json::from_slice::<(usize, usize)>(&bytes).ok());
        let invalid = || Reply::bad_payload(&["Error in query.cursor: Invalid cursor".to_owned()]);
        let (at, of) = opened.filter(|(at, of)| *at > 0 && *of > 0).ok_or_else(invalid)?;
        page = at;
        // The limit that the cursor was made with counts.
        limit = of;
    }
    limit = limit.clamp(1, cut.most);
    let pages = items.len().div_ceil(limit).max(1);
    let part = items.iter().skip((page - 1) * limit).take(limit);
    let next = (page < pages).then(|| {
        let cursor = json!([page + 1, limit]).to_string();
        URL_SAFE_NO_PAD.encode(cursor)
    });
    Ok(json!({
        "items": part.collect::<Vec<_>>(), "next_cursor": next,
        "total_pages": pages, "current_page": page, "total_items": items.len(),
    }))
}

/// Returns a page of the older form: `page_no` and `limit`.
pub(super) fn numbered(asked: &Asked, items: &[Value], cut: Cut) -> Result<Value, Reply> {
    let page = number(asked, "page_no")?.unwrap_or(1);
    let limit = number(asked, "limit")?.unwrap_or(cut.usual).clamp(1, cut.most);
    let part = items.iter().skip((page - 1) * limit).take(limit);
    let pages = items.len().div_ceil(limit).max(1);
    Ok(json!({ "items": part.collect::<Vec<_>>(), "total_pages": pages, "current_page": page }))
}
