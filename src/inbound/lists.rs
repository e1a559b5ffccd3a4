//! `tools/list` and its like, answered from the caller's view: prepared bytes between two braces.

use bytes::{BufMut, Bytes, BytesMut};

use super::era::Spoken;
use super::fault::Fault;
use super::{Endpoint, Sent, cursor};
use crate::catalog::listing::Kind;
use crate::protocol::json::Raw;
use crate::protocol::message::Request;
use crate::protocol::meta;
use crate::protocol::method::Method;
use crate::upstream::outgoing::implementation;

/// How long a modern client may keep a list when no gateway says: changes are announced on listen streams anyway.
const TTL_MS_DEFAULT: u128 = 60_000;

/// Returns which list a method asks for.
pub(super) fn kind_of(method: Method) -> Option<Kind> {
    match method {
        Method::ToolsList => Some(Kind::Tool),
        Method::PromptsList => Some(Kind::Prompt),
        Method::ResourcesList => Some(Kind::Resource),
        Method::TemplatesList => Some(Kind::Template),
        _ => None,
    }
}

impl Endpoint {
    /// Writes the response to a list request.
    pub(super) fn list(
        &self,
        sent: &Sent,
        request: &Request,
        kind: Kind,
        spoken: Spoken,
    ) -> Result<Bytes, Fault> {
        let parts = &self.parts;
        let view = parts.proxy.view(&sent.principal);
        let pages = view.pages(kind, parts.limits.page_items_max);
        let bad_cursor = || Fault::invalid_params("Invalid cursor");
        let page = match request.params.as_ref().and_then(|params| params.get("cursor")) {
            None => 0,
            Some(text) => {
                let text = text.string().ok_or_else(bad_cursor)?;
                cursor::read(&parts.sealer, &sent.principal, kind, &text).ok_or_else(bad_cursor)?
            }
        };
        let items = pages.get(page).ok_or_else(bad_cursor)?;
        let next =
            (page + 1 < pages.len()).then(|| cursor::write(&parts.sealer, &sent.principal, kind, page + 1));
        let id = request.id.raw().as_bytes();
        let mut out = BytesMut::with_capacity(items.len() + id.len() + 256);
        out.put_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        out.put_slice(id);
        out.put_slice(b",\"result\":{\"");
        out.put_slice(kind.list_key().as_bytes());
        out.put_slice(b"\":[");
        out.put_slice(items);
        out.put_slice(b"]");
        if let Some(next) = next.flatten() {
            out.put_slice(b",\"nextCursor\":");
            out.put_slice(Raw::from(next.as_str()).as_bytes());
        }
        if spoken == Spoken::Modern {
            out.put_slice(b",");
            out.put_slice(modern_members(view.snapshot().ttl().map(|ttl| ttl.as_millis())).as_bytes());
        }
        out.put_slice(b"}}");
        Ok(out.freeze())
    }
}

/// Writes what a modern cacheable result carries beside its content. Always private: what a caller sees depends on
/// its key.
pub(super) fn modern_members(ttl_ms: Option<u128>) -> String {
    format!(
        r#""resultType":"complete","ttlMs":{},"cacheScope":"private","_meta":{{"{}":{}}}"#,
        ttl_ms.unwrap_or(TTL_MS_DEFAULT).min(TTL_MS_DEFAULT),
        meta::SERVER_INFO,
        implementation().as_str(),
    )
}
