//! What the sessions of a gateway of kind `composio` may use. Composio refuses a session as a whole for one wrong word,
//! so what can be known here is said here.

use std::collections::BTreeSet;

use super::Checker;
use crate::config::raw::{RawCommand, RawGateway, RawToolChoice};
use crate::config::{MultiAccount, Pins, Preload, Tags, ToolChoice, ToolPrefixes, is_meta_tool};
use crate::limits;

/// What Composio marks tools with.
const TAGS: &[&str] = &[
    "readOnlyHint",
    "createHint",
    "updateHint",
    "destructiveHint",
    "idempotentHint",
    "openWorldHint",
];

/// The options that need more than their type.
pub(super) struct SessionOptions {
    pub(super) tool_prefixes: ToolPrefixes,
    pub(super) tools: std::collections::BTreeMap<String, ToolChoice>,
    pub(super) tags: Tags,
    pub(super) preload: Preload,
    pub(super) multi_account: Option<MultiAccount>,
}

impl Checker<'_> {
    pub(super) fn session_options(&mut self, path: &str, raw: &RawGateway) -> SessionOptions {
        self.toolkits(path, raw);
        let tool_prefixes = self.tool_prefixes(path, raw);
        let tools = raw.tools.iter().filter_map(|(toolkit, choice)| {
            let key = format!("{path}.tools.{toolkit}");
            self.toolkit_of(&key, toolkit, raw);
            Some((
                toolkit.clone(),
                self.tool_choice(&key, toolkit, choice, &tool_prefixes)?,
            ))
        });
        let tools = tools.collect();
        for (toolkit, auth_config) in &raw.auth_configs {
            let key = format!("{path}.auth_configs.{toolkit}");
            self.toolkit_of(&key, toolkit, raw);
            if !is_auth_config(auth_config) {
                self.problem(&key, "must be the id of an auth config, such as ac_1a2b3c");
            }
        }
        let preload = self.preload(path, raw, &tool_prefixes);
        SessionOptions {
            tool_prefixes,
            tools,
            tags: self.tags(&format!("{path}.tags"), &raw.tags),
            multi_account: self.multi_account(path, raw, &preload),
            preload,
        }
    }

    fn tool_prefixes(&mut self, path: &str, raw: &RawGateway) -> ToolPrefixes {
        for (toolkit, prefix) in &raw.tool_prefixes {
            let key = format!("{path}.tool_prefixes.{toolkit}");
            self.toolkit_of(&key, toolkit, raw);
            if !is_tool(prefix) || prefix.ends_with('_') || is_meta_tool(&format!("{prefix}_")) {
                let text =
                    "must be how the slugs of its tools begin, without the `_` that follows, such as GDRIVE";
                self.problem(&key, text);
            }
        }
        ToolPrefixes::new(raw.tool_prefixes.clone())
    }

    fn toolkits(&mut self, path: &str, raw: &RawGateway) {
        let Some(toolkits) = &raw.toolkits else { return };
        let path = format!("{path}.toolkits");
        if toolkits.is_empty() {
            self.problem(
                &path,
                "must not be empty: a session could use nothing; remove the key for all toolkits",
            );
        }
        self.at_most(&path, toolkits.len());
        let mut seen = BTreeSet::new();
        for (index, toolkit) in toolkits.iter().enumerate() {
            let key = format!("{path}[{index}]");
            if !is_toolkit(toolkit) {
                self.not_a_toolkit(&key);
            } else if !seen.insert(toolkit) {
                self.problem(&key, "stands twice");
            }
        }
    }

    /// A toolkit that something is said of must be one that sessions have.
    fn toolkit_of(&mut self, key: &str, toolkit: &str, raw: &RawGateway) {
        if !is_toolkit(toolkit) {
            self.not_a_toolkit(key);
        } else if let Some(toolkits) = &raw.toolkits
            && !toolkits.iter().any(|other| other == toolkit)
        {
            self.problem(key, "is not among `toolkits`, so no session has it");
        }
    }

    fn not_a_toolkit(&mut self, key: &str) {
        let text = "must be the slug of a toolkit, such as gmail: a-z, 0-9, _ and -";
        self.problem(key, text);
    }

    fn tool_choice(
        &mut self,
        key: &str,
        toolkit: &str,
        raw: &RawToolChoice,
        prefixes: &ToolPrefixes,
    ) -> Option<ToolChoice> {
        let choice = match (&raw.enable, &raw.disable, &raw.tags) {
            (Some(tools), None, None) => {
                ToolChoice::Enable(self.tools_of(&format!("{key}.enable"), toolkit, tools, prefixes))
            }
            (None, Some(tools), None) => {
                ToolChoice::Disable(self.tools_of(&format!("{key}.disable"), toolkit, tools, prefixes))
            }
            (None, None, Some(tags)) => ToolChoice::Tags(self.tags(&format!("{key}.tags"), tags)),
            _ => {
                self.problem(key, "must have one of enable, disable and tags");
                return None;
            }
        };
        Some(choice)
    }

    fn tools_of(
        &mut self,
        key: &str,
        toolkit: &str,
        tools: &[String],
        prefixes: &ToolPrefixes,
    ) -> Vec<String> {
        self.at_most(key, tools.len());
        for (index, tool) in tools.iter().enumerate() {
            if !is_tool(tool) || is_meta_tool(tool) || !prefixes.may_be_of(tool, toolkit) {
                let text = format!(
                    "must be the slug of a tool of {toolkit}, which begins with {}_; if Composio names them otherwise, \
                     say so by tool_prefixes",
                    prefixes.of(toolkit)
                );
                self.problem(&format!("{key}[{index}]"), text);
            }
        }
        tools.to_vec()
    }

    fn tags(&mut self, key: &str, raw: &[String]) -> Tags {
        let mut tags = Tags::default();
        for (index, tag) in raw.iter().enumerate() {
            let (list, tag) = match tag.strip_prefix('!') {
                Some(tag) => (&mut tags.disable, tag),
                None => (&mut tags.enable, tag.as_str()),
            };
            if TAGS.contains(&tag) {
                list.push(tag.to_owned());
            } else {
                let text = format!("must be one of {}, or one of them after a `!`", TAGS.join(", "));
                self.problem(&format!("{key}[{index}]"), text);
            }
        }
        tags
    }

    fn preload(&mut self, path: &str, raw: &RawGateway, prefixes: &ToolPrefixes) -> Preload {
        let key = format!("{path}.preload");
        match &raw.preload {
            None => Preload::Nothing,
            Some(RawCommand::Program(word)) if word == "all" => {
                let filtered =
                    raw.toolkits.is_some() || raw.tools.values().any(|choice| choice.enable.is_some());
                if !filtered {
                    let text = "\"all\" needs `toolkits`, or `tools` with an `enable`: there are thousands otherwise";
                    self.problem(&key, text);
                }
                Preload::All
            }
            Some(RawCommand::Program(_)) => {
                self.problem(&key, "must be a list of tools, or \"all\"");
                Preload::Nothing
            }
            Some(RawCommand::List(tools)) if tools.is_empty() => Preload::Nothing,
            Some(RawCommand::List(tools)) => {
                self.at_most(&key, tools.len());
                for (index, tool) in tools.iter().enumerate() {
                    self.preloaded(&format!("{key}[{index}]"), tool, raw, prefixes);
                }
                Preload::Tools(tools.clone())
            }
        }
    }

    fn preloaded(&mut self, key: &str, tool: &str, raw: &RawGateway, prefixes: &ToolPrefixes) {
        let known = |toolkit: &String| prefixes.may_be_of(tool, toolkit);
        if !is_tool(tool) {
            self.problem(key, "must be the slug of a tool, such as GMAIL_SEND_EMAIL");
        } else if is_meta_tool(tool) {
            self.problem(key, "is a tool of the Tool Router itself, which is there anyway");
        } else if raw
            .toolkits
            .as_ref()
            .is_some_and(|toolkits| !toolkits.iter().any(known))
        {
            self.problem(
                key,
                "is of no toolkit among `toolkits`, and Composio would refuse every session",
            );
        } else if let Some((toolkit, choice)) = raw.tools.iter().find(|(toolkit, _)| known(toolkit)) {
            let left_out = choice
                .disable
                .as_ref()
                .is_some_and(|tools| tools.iter().any(|other| other == tool))
                || choice
                    .enable
                    .as_ref()
                    .is_some_and(|tools| !tools.iter().any(|other| other == tool));
            if left_out {
                self.problem(
                    key,
                    format!("is left out by `tools.{toolkit}`, and Composio would refuse every session"),
                );
            }
        }
    }

    fn multi_account(&mut self, path: &str, raw: &RawGateway, preload: &Preload) -> Option<MultiAccount> {
        if raw.multi_account {
            if *preload == Preload::All {
                let text = "does not go with preload = \"all\"; give a list of tools";
                self.problem(&format!("{path}.multi_account"), text);
            }
            let max = raw
                .multi_account_max
                .unwrap_or(limits::COMPOSIO_ACCOUNTS_PER_TOOLKIT);
            return Some(MultiAccount {
                max: u8::try_from(max).unwrap_or(u8::MAX),
                explicit: raw.multi_account_explicit,
                pins: match raw.multi_account_pins.as_deref() {
                    Some("chosen") => Pins::Chosen,
                    _ => Pins::All,
                },
                reinitiate: raw.multi_account_reinitiate.unwrap_or(false),
            });
        }
        let without = [
            ("multi_account_max", raw.multi_account_max.is_some()),
            ("multi_account_explicit", raw.multi_account_explicit),
            ("multi_account_pins", raw.multi_account_pins.is_some()),
            ("multi_account_reinitiate", raw.multi_account_reinitiate.is_some()),
        ];
        for (key, _) in without.iter().filter(|(_, there)| *there) {
            self.problem(&format!("{path}.{key}"), "goes with multi_account = true");
        }
        None
    }

    fn at_most(&mut self, key: &str, items: usize) {
        if items > limits::COMPOSIO_OPTION_ITEMS_MAX {
            let text = format!("must have at most {} entries", limits::COMPOSIO_OPTION_ITEMS_MAX);
            self.problem(key, text);
        }
    }
}

fn is_toolkit(slug: &str) -> bool {
    let right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=limits::COMPOSIO_SLUG_BYTES_MAX).contains(&slug.len()) && slug.chars().all(right)
}

fn is_tool(slug: &str) -> bool {
    let right = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    (1..=limits::COMPOSIO_SLUG_BYTES_MAX).contains(&slug.len()) && slug.chars().all(right)
}

fn is_auth_config(id: &str) -> bool {
    let right = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    id.len() <= limits::COMPOSIO_SLUG_BYTES_MAX
        && id
            .strip_prefix("ac_")
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(right))
}
