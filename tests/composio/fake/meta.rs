//! The meta tools of a session: which of them it has, and how they are listed. What each does: `meta_calls.rs`.

use serde_json::{Value, json};

use super::sessions::Session;
use super::{catalog, exposed, meta_schemas, session_rules};

/// A meta tool.
pub(super) struct Meta {
    pub(super) slug: &'static str,
    pub(super) about: &'static str,
    pub(super) tags: &'static [&'static str],
    pub(super) schema: fn() -> Value,
    /// The block and the flag that it depends on, and what holds when nothing is said.
    needs: (&'static str, &'static str, bool),
}

const READS: &[&str] = &["readOnlyHint", "openWorldHint"];
const ACTS: &[&str] = &["destructiveHint", "openWorldHint"];
const WAITS: &[&str] = &["readOnlyHint", "idempotentHint"];

const METAS: [Meta; 7] = [
    Meta {
        slug: "COMPOSIO_SEARCH_TOOLS",
        about: "Finds the tools for a task, a plan for it, and whether its toolkits are connected.",
        tags: READS,
        schema: meta_schemas::search,
        needs: ("search", "enable", true),
    },
    Meta {
        slug: "COMPOSIO_GET_TOOL_SCHEMAS",
        about: "Returns the schemas of tools.",
        tags: &["readOnlyHint"],
        schema: meta_schemas::schemas,
        // The direct-tools preset switches the search off, and then no meta tool is left.
        needs: ("search", "enable", true),
    },
    Meta {
        slug: "COMPOSIO_MULTI_EXECUTE_TOOL",
        about: "Executes up to 50 tools at once.",
        tags: ACTS,
        schema: meta_schemas::multi_execute,
        needs: ("execute", "enable_multi_execute", true),
    },
    Meta {
        slug: "COMPOSIO_MANAGE_CONNECTIONS",
        about: "Says which toolkits are connected, and makes links for those that are not.",
        tags: ACTS,
        schema: meta_schemas::manage_connections,
        needs: ("manage_connections", "enable", true),
    },
    Meta {
        slug: "COMPOSIO_WAIT_FOR_CONNECTIONS",
        about: "Waits until the user has connected.",
        tags: WAITS,
        schema: meta_schemas::wait,
        needs: ("manage_connections", "enable_wait_for_connections", false),
    },
    Meta {
        slug: "COMPOSIO_REMOTE_WORKBENCH",
        about: "Runs Python in a sandbox.",
        tags: ACTS,
        schema: meta_schemas::workbench,
        needs: ("workbench", "enable", true),
    },
    Meta {
        slug: "COMPOSIO_REMOTE_BASH_TOOL",
        about: "Runs a command line in a sandbox.",
        tags: ACTS,
        schema: meta_schemas::bash,
        needs: ("workbench", "enable", true),
    },
];

pub(super) fn named(slug: &str) -> Option<&'static Meta> {
    const ALL: &[Meta] = &METAS;
    ALL.iter().find(|meta| meta.slug == slug)
}

/// Whether a session has a meta tool.
pub(super) fn has(session: &Session, meta: &Meta) -> bool {
    let (block, key, usual) = meta.needs;
    let managed = block != "manage_connections" || session.flag(block, "enable", true);
    managed && session.flag(block, key, usual)
}

pub(super) fn of(session: &Session) -> Vec<&'static Meta> {
    const ALL: &[Meta] = &METAS;
    ALL.iter().filter(|meta| has(session, meta)).collect()
}

pub(super) fn names(session: &Session) -> Vec<&'static str> {
    of(session).into_iter().map(|meta| meta.slug).collect()
}

/// The list of `GET …/tools`: meta tools, then what is preloaded, as tool objects.
pub(super) fn objects(session: &Session) -> Vec<Value> {
    let metas = of(session).into_iter().map(exposed::meta_object);
    let apps = session_rules::preloaded(session).into_iter();
    let apps = apps.map(|(toolkit, tool)| exposed::object(toolkit, tool, catalog::VERSION));
    metas.chain(apps).collect()
}

/// The same as MCP lists it.
pub(super) fn mcp_tools(session: &Session) -> Vec<Value> {
    let metas = of(session).into_iter().map(|meta| {
        let mut schema = (meta.schema)();
        // With several accounts the live schema gains a field; which exactly is not known. [I]
        if session.multi_account() && meta.slug == "COMPOSIO_MANAGE_CONNECTIONS" {
            schema["properties"]["account"] = json!({ "type": ["string", "null"] });
        }
        exposed::of_mcp(meta.slug, meta.about, &schema, meta.tags)
    });
    let apps = session_rules::preloaded(session).into_iter();
    let apps =
        apps.map(|(_, tool)| exposed::of_mcp(tool.slug, tool.about, &catalog::input_schema(tool), tool.tags));
    metas.chain(apps).collect()
}
