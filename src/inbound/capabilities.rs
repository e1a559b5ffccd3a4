//! What we say that we can do, and what of a client's capabilities an upstream is told.

use super::era::Spoken;
use crate::catalog::snapshot::Snapshot;
use crate::protocol::json::Raw;
use crate::protocol::splice::Splice;

/// The tasks extension of 2026-07-28.
const TASKS: &str = "io.modelcontextprotocol/tasks";
/// MCP Apps.
const APPS: &str = "io.modelcontextprotocol/ui";
/// What the merged catalog can do, whatever the gateways of the moment: they come and go.
const CORE: &str = r#""tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{}"#;

/// Writes our `ServerCapabilities`. Of extensions only those that some gateway speaks and that we carry.
pub(super) fn ours(snapshot: &Snapshot, spoken: Spoken) -> String {
    let carried: Vec<String> = snapshot
        .extensions()
        .iter()
        .filter(|(id, _)| *id == APPS || (*id == TASKS && spoken == Spoken::Modern))
        .map(|(id, settings)| format!("{}:{}", Raw::from(id.as_str()).as_str(), settings.as_str()))
        .collect();
    if carried.is_empty() {
        return format!("{{{CORE}}}");
    }
    format!("{{{CORE},\"extensions\":{{{}}}}}", carried.join(","))
}

/// Returns a legacy client's capabilities without those that do not carry over: the tasks of 2025-11-25 are another
/// thing than those of the extension, and neither is spoken on behalf of a legacy client.
pub(super) fn of_legacy_client(declared: &Raw) -> Raw {
    let Ok(members) = declared.object() else {
        return Raw::literal("{}");
    };
    let mut splice = Splice::new(declared.as_bytes());
    splice.remove(&members, &["tasks"]);
    if let Some(extensions) = members.object("extensions") {
        splice.remove(&extensions, &[TASKS]);
    }
    Raw::parse(&splice.done()).unwrap_or(Raw::literal("{}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_a_legacy_client_are_not_passed_on() {
        let declared = Raw::literal(
            r#"{"tasks":{"list":{}},"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/ui":{"x":1}}}"#,
        );
        assert_eq!(
            of_legacy_client(&declared).as_str(),
            r#"{"elicitation":{},"extensions":{"io.modelcontextprotocol/ui":{"x":1}}}"#
        );
    }
}
