//! What a gateway of kind `composio` is made of.

use std::collections::BTreeMap;

use super::{EraChoice, Secret};

/// Every tool of the Tool Router itself begins with this.
const META_TOOLS: &str = "COMPOSIO_";

/// `[gateways.<name>]` with `kind = "composio"`: for each user a Tool Router session, whose MCP endpoint is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct Composio {
    /// Composio's API; sessions live on the same origin.
    pub base_url: url::Url,
    /// The project's key.
    pub api_key: Secret,
    /// By which of its APIs users are reached.
    pub api: Api,
    /// Toolkits that a session may use; `None`: all.
    pub toolkits: Option<Vec<String>>,
    /// How the tools of each toolkit are named.
    pub tool_prefixes: ToolPrefixes,
    /// For some toolkits, which of their tools.
    pub tools: BTreeMap<String, ToolChoice>,
    /// Tools of every toolkit, by what they are marked with.
    pub tags: Tags,
    /// The auth config (`ac_…`) that a toolkit's connections are made with.
    pub auth_configs: BTreeMap<String, String>,
    /// App tools that stand in the list beside, or in the place of, the meta tools.
    pub preload: Preload,
    /// Whether there is a sandbox; `None`: as Composio has it.
    pub workbench: Option<bool>,
    /// Several accounts of one toolkit; `None`: one.
    pub multi_account: Option<MultiAccount>,
    /// Where a browser comes back to from a connection that an agent began.
    pub callback_url: Option<url::Url>,
    /// Proves that a webhook is Composio's.
    pub webhook_secret: Option<Secret>,
    /// Which era a session's endpoint is spoken to in.
    pub era: EraChoice,
}

/// By which of Composio's APIs users are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Api {
    /// A Tool Router session for each user.
    #[default]
    Sessions,
    /// The older MCP servers: one for the project, with a URL for each user.
    McpServers,
}

/// Which tools of one toolkit a session has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// These.
    Enable(Vec<String>),
    /// All but these.
    Disable(Vec<String>),
    /// Those that are marked so.
    Tags(Tags),
}

/// What tools are marked with (`readOnlyHint`, `destructiveHint`, …).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Tools with one of these; none: all tools.
    pub enable: Vec<String>,
    /// Not those with one of these.
    pub disable: Vec<String>,
}

impl Tags {
    /// Tells whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.enable.is_empty() && self.disable.is_empty()
    }
}

/// App tools in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preload {
    /// None: they are searched for and executed by the meta tools.
    #[default]
    Nothing,
    /// These, beside the meta tools.
    Tools(Vec<String>),
    /// All, in the place of the meta tools.
    All,
}

/// Several accounts of one toolkit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiAccount {
    /// Accounts of one toolkit.
    pub max: u8,
    /// Whether a call must name its account where there are several.
    pub explicit: bool,
    /// What sessions are bound to.
    pub pins: Pins,
    /// Whether agents may have connections that work made anew.
    pub reinitiate: bool,
}

/// What a session is bound to once its user chose one of several accounts. That Composio takes the first of several pins
/// for a call that names none is inferred; of one pin it is documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pins {
    /// The chosen one first, then the others: a call can name each of them.
    #[default]
    All,
    /// The chosen one: no call uses another, and none can name another.
    Chosen,
}

/// Tells whether a tool is one of the Tool Router itself.
#[must_use]
pub fn is_meta_tool(tool: &str) -> bool {
    tool.starts_with(META_TOOLS)
}

/// To which toolkit a tool belongs, as far as its slug tells: it begins with its toolkit's slug. Not documented, seen in
/// every sample; for a toolkit where it is otherwise the configuration says with what (`tool_prefixes`). MCP lists tools
/// without their toolkits, so nothing better is at hand where a call is decided on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolPrefixes(BTreeMap<String, String>);

impl ToolPrefixes {
    /// Makes them of a toolkit's prefix each; without the `_` that follows.
    #[must_use]
    pub fn new(by_toolkit: BTreeMap<String, String>) -> Self {
        Self(by_toolkit)
    }

    /// Tells whether a tool may be one of a toolkit. Where one toolkit's slug begins with another's it may say yes for
    /// both, and Composio decides.
    #[must_use]
    pub fn may_be_of(&self, tool: &str, toolkit: &str) -> bool {
        let prefix = self.0.get(toolkit).map_or(toolkit, String::as_str);
        let mut head = tool.bytes().zip(prefix.bytes());
        let same = |(ours, theirs): (u8, u8)| match theirs {
            b'-' => ours == b'_',
            other => ours == other.to_ascii_uppercase(),
        };
        tool.as_bytes().get(prefix.len()) == Some(&b'_') && head.all(same)
    }

    /// Finds the toolkit of a tool among some; of several that may be it, the one with the longest slug.
    #[must_use]
    pub fn toolkit_of<'a>(&self, tool: &str, toolkits: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        toolkits
            .filter(|toolkit| self.may_be_of(tool, toolkit))
            .max_by_key(|toolkit| toolkit.len())
    }

    /// Says with what the tools of a toolkit begin.
    #[must_use]
    pub fn of(&self, toolkit: &str) -> String {
        let prefix = self.0.get(toolkit).map_or(toolkit, String::as_str);
        prefix.to_ascii_uppercase().replace('-', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_slug_begins_with_its_toolkits() {
        for (tool, toolkit, right) in [
            ("GITHUB_CREATE_AN_ISSUE", "github", true),
            ("GITHUBX_CREATE", "github", false),
            ("GITHUB", "github", false),
            ("MICROSOFT_TEAMS_SEND", "microsoft_teams", true),
            ("MICROSOFT_TEAMS_SEND", "microsoft-teams", true),
            ("GMAIL_SEND_EMAIL", "github", false),
            ("github_create", "github", false),
        ] {
            let prefixes = ToolPrefixes::default();
            assert_eq!(prefixes.may_be_of(tool, toolkit), right, "{tool} {toolkit}");
        }
        let said = BTreeMap::from([("google-drive".to_owned(), "GDRIVE".to_owned())]);
        let prefixes = ToolPrefixes::new(said);
        for (tool, right) in [
            ("GDRIVE_LIST", true),
            ("GOOGLE_DRIVE_LIST", false),
            ("GDRIVE", false),
        ] {
            assert_eq!(prefixes.may_be_of(tool, "google-drive"), right, "{tool}");
        }
        let all = ["google", "google_maps", "google-drive"];
        let toolkit = |tool| prefixes.toolkit_of(tool, all.into_iter());
        assert_eq!(toolkit("GOOGLE_MAPS_FIND"), Some("google_maps"));
        assert_eq!(
            (toolkit("GDRIVE_LIST"), toolkit("SLACK_SEND")),
            (Some("google-drive"), None)
        );
        assert!(is_meta_tool("COMPOSIO_SEARCH_TOOLS") && !is_meta_tool("GITHUB_X"));
    }
}
