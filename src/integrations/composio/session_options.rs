//! What a session may use, as Composio is told: the blocks of a create's body, and what of them a change must say. Kept
//! as it was sent, so that a change of the configuration becomes a change of the session.

use serde_json::{Map, Value, json};

use crate::config::{self, Preload, Tags, ToolChoice};
use crate::ids::UserId;

/// Blocks of which a change merges members, so that one that is gone must be said.
const MERGED: [&str; 3] = ["manage_connections", "workbench", "multi_account"];

/// The blocks of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions(Map<String, Value>);

impl SessionOptions {
    /// Makes those of a gateway's configuration, for all its toolkits or for some.
    #[must_use]
    pub fn of(options: &config::Composio, toolkits: Option<&[String]>) -> Self {
        let has = |toolkit: &str| toolkits.is_none_or(|some| some.iter().any(|other| other == toolkit));
        let mut blocks = Map::new();
        if let Some(toolkits) = toolkits.or(options.toolkits.as_deref()) {
            blocks.insert("toolkits".to_owned(), json!({ "enable": toolkits }));
        }
        let tools = options.tools.iter().filter(|(toolkit, _)| has(toolkit));
        let tools: Map<String, Value> = tools
            .map(|(toolkit, choice)| (toolkit.clone(), choice_block(choice)))
            .collect();
        set(
            &mut blocks,
            "tools",
            (!tools.is_empty()).then(|| Value::from(tools)),
        );
        set(
            &mut blocks,
            "tags",
            (!options.tags.is_empty()).then(|| tags_block(&options.tags)),
        );
        let auth = options.auth_configs.iter().filter(|(toolkit, _)| has(toolkit));
        let auth: Map<String, Value> = auth.map(|(toolkit, id)| (toolkit.clone(), json!(id))).collect();
        set(
            &mut blocks,
            "auth_configs",
            (!auth.is_empty()).then(|| Value::from(auth)),
        );
        let direct = options.preload == Preload::All;
        // What Composio's own SDKs send when nothing is said; and, for direct tools, their preset.
        let mut connections = json!({ "enable": !direct });
        if let (Some(url), Some(block)) = (&options.callback_url, connections.as_object_mut()) {
            block.insert("callback_url".to_owned(), json!(url.as_str()));
        }
        blocks.insert("manage_connections".to_owned(), connections);
        let workbench = options.workbench.or(direct.then_some(false));
        set(
            &mut blocks,
            "workbench",
            workbench.map(|enable| json!({ "enable": enable })),
        );
        let several = options.multi_account.map(|several| {
            json!({ "enable": true, "max_accounts_per_toolkit": several.max,
                "require_explicit_selection": several.explicit })
        });
        set(&mut blocks, "multi_account", several);
        let preload = match &options.preload {
            Preload::Nothing => None,
            Preload::All => Some(json!("all")),
            Preload::Tools(tools) => {
                let fits = |tool: &&String| {
                    toolkits.is_none_or(|some| {
                        some.iter()
                            .any(|toolkit| options.tool_prefixes.may_be_of(tool, toolkit))
                    })
                };
                let tools: Vec<&String> = tools.iter().filter(fits).collect();
                (!tools.is_empty()).then(|| json!(tools))
            }
        };
        set(
            &mut blocks,
            "preload",
            preload.map(|tools| json!({ "tools": tools })),
        );
        if direct {
            blocks.insert("search".to_owned(), json!({ "enable": false }));
            blocks.insert("execute".to_owned(), json!({ "enable_multi_execute": false }));
        }
        Self(blocks)
    }

    /// Reads what [`Self::text`] wrote; nothing of it is nothing that was said.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    /// Writes it down.
    #[must_use]
    pub fn text(&self) -> String {
        Value::from(self.0.clone()).to_string()
    }

    /// Binds toolkits to accounts. Composio refuses the session when one of them is not usable.
    #[must_use]
    pub fn with_accounts(mut self, accounts: Map<String, Value>) -> Self {
        if !accounts.is_empty() {
            self.0
                .insert("connected_accounts".to_owned(), Value::from(accounts));
        }
        self
    }

    /// Leaves the accounts to Composio.
    #[must_use]
    pub fn without_accounts(mut self) -> Self {
        self.0.remove("connected_accounts");
        self
    }

    /// Returns what toolkits are bound to.
    #[must_use]
    pub fn accounts(&self) -> Map<String, Value> {
        let accounts = self.0.get("connected_accounts").and_then(Value::as_object);
        accounts.cloned().unwrap_or_default()
    }

    /// Returns what must be said to a session that has `before`: blocks that differ, `null` for those that are gone.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Map<String, Value> {
        let mut changes = Map::new();
        for (name, block) in &self.0 {
            let old = before.0.get(name);
            if old != Some(block) {
                changes.insert(name.clone(), merged(name, block, old));
            }
        }
        for name in before.0.keys().filter(|name| !self.0.contains_key(*name)) {
            changes.insert(name.clone(), Value::Null);
        }
        changes
    }

    /// Returns what is known of a session while nobody knows whether `changes` reached it: of what they are about,
    /// nothing, so that [`Self::changes_since`] says whatever is wanted of it next.
    #[must_use]
    pub fn doubting(&self, changes: &Map<String, Value>) -> Self {
        let mut blocks = self.0.clone();
        for (name, change) in changes {
            let said = [blocks.get(name), Some(change)];
            let members = said.into_iter().flatten().filter_map(Value::as_object);
            let members: Map<String, Value> = members
                .filter(|_| MERGED.contains(&name.as_str()))
                .flat_map(|members| members.keys().map(|key| (key.clone(), Value::Null)))
                .collect();
            let doubt = if members.is_empty() {
                Value::Null
            } else {
                Value::from(members)
            };
            blocks.insert(name.clone(), doubt);
        }
        Self(blocks)
    }

    /// The body of a create.
    pub(super) fn body(&self, user: &UserId) -> Map<String, Value> {
        let mut body = self.0.clone();
        body.insert("user_id".to_owned(), json!(user.as_str()));
        body
    }
}

fn set(blocks: &mut Map<String, Value>, name: &str, block: Option<Value>) {
    blocks.extend(block.map(|block| (name.to_owned(), block)));
}

/// Says of a block that is merged which members are gone.
fn merged(name: &str, block: &Value, old: Option<&Value>) -> Value {
    let mut block = block.clone();
    if MERGED.contains(&name)
        && let (Some(new), Some(old)) = (block.as_object_mut(), old.and_then(Value::as_object))
    {
        for key in old.keys() {
            new.entry(key.clone()).or_insert(Value::Null);
        }
    }
    block
}

fn choice_block(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Enable(tools) => json!({ "enable": tools }),
        ToolChoice::Disable(tools) => json!({ "disable": tools }),
        ToolChoice::Tags(tags) => json!({ "tags": tags_block(tags) }),
    }
}

fn tags_block(tags: &Tags) -> Value {
    let mut block = Map::new();
    for (key, tags) in [("enable", &tags.enable), ("disable", &tags.disable)] {
        set(&mut block, key, (!tags.is_empty()).then(|| json!(tags)));
    }
    Value::from(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Flags, Sources, Transport, load};

    fn options(text: &str) -> config::Composio {
        let text = format!("[gateways.c]\nkind = 'composio'\napi_key = 'ak_1'\n{text}");
        let name = "gateways.toml".to_owned();
        let sources = Sources::new(
            Some(File { name, text }),
            std::collections::BTreeMap::new(),
            Flags::default(),
        );
        let config = load(&sources).unwrap().config;
        match &config.gateways[0].transport {
            Transport::Composio(composio) => (**composio).clone(),
            other => panic!("{other:?}"),
        }
    }

    fn body(text: &str, toolkits: Option<&[&str]>) -> Value {
        let toolkits: Option<Vec<String>> =
            toolkits.map(|slugs| slugs.iter().map(|slug| (*slug).to_owned()).collect());
        let options = SessionOptions::of(&options(text), toolkits.as_deref());
        Value::from(options.body(&UserId::new("u1")))
    }

    #[test]
    fn what_is_sent_are_the_blocks_that_composios_own_sdks_send() {
        assert_eq!(
            body("", None),
            json!({ "user_id": "u1", "manage_connections": { "enable": true } })
        );
        let all = "toolkits = ['github']\nauth_configs = { github = 'ac_1' }\ntags = ['readOnlyHint']\n\
                   tools = { github = { disable = ['GITHUB_DELETE_A_REPOSITORY'] } }\nworkbench = false\n\
                   multi_account = true\nmulti_account_max = 3\nmulti_account_explicit = true\n\
                   callback_url = 'https://app.example/cb'\n";
        assert_eq!(
            body(all, None),
            json!({ "user_id": "u1", "auth_configs": { "github": "ac_1" }, "toolkits": { "enable": ["github"] },
                "tools": { "github": { "disable": ["GITHUB_DELETE_A_REPOSITORY"] } },
                "tags": { "enable": ["readOnlyHint"] },
                "manage_connections": { "enable": true, "callback_url": "https://app.example/cb" },
                "workbench": { "enable": false },
                "multi_account": { "enable": true, "max_accounts_per_toolkit": 3, "require_explicit_selection": true } })
        );
        assert_eq!(
            body("toolkits = ['github']\npreload = 'all'\n", None),
            json!({ "user_id": "u1", "toolkits": { "enable": ["github"] }, "manage_connections": { "enable": false },
                "workbench": { "enable": false }, "preload": { "tools": "all" }, "search": { "enable": false },
                "execute": { "enable_multi_execute": false } })
        );
    }

    #[test]
    fn a_session_of_fewer_toolkits_is_told_nothing_of_the_others() {
        let text = "toolkits = ['github', 'gmail']\nauth_configs = { github = 'ac_1', gmail = 'ac_2' }\n\
                    preload = ['GITHUB_A', 'GMAIL_B']\ntools = { github = { disable = ['GITHUB_X'] } }\n";
        assert_eq!(
            body(text, Some(&["gmail"])),
            json!({ "user_id": "u1", "toolkits": { "enable": ["gmail"] }, "auth_configs": { "gmail": "ac_2" },
                "manage_connections": { "enable": true }, "preload": { "tools": ["GMAIL_B"] } })
        );
    }

    #[test]
    fn a_change_says_what_differs_and_what_is_gone_and_nothing_else() {
        let before = SessionOptions::of(
            &options("toolkits = ['github']\nworkbench = false\ncallback_url = 'https://a.example/'\n"),
            None,
        );
        assert!(
            before
                .changes_since(&SessionOptions::read(&before.text()))
                .is_empty()
        );
        let after = SessionOptions::of(
            &options("toolkits = ['github', 'slack']\nmulti_account = true\n"),
            None,
        );
        assert_eq!(
            Value::from(after.changes_since(&before)),
            json!({ "toolkits": { "enable": ["github", "slack"] }, "workbench": null,
                "manage_connections": { "enable": true, "callback_url": null },
                "multi_account": { "enable": true, "max_accounts_per_toolkit": 5, "require_explicit_selection": false } })
        );
    }

    #[test]
    fn what_is_in_doubt_is_said_again_whatever_is_wanted() {
        let narrow = options("toolkits = ['github']\nworkbench = false\n");
        let wide = options(
            "toolkits = ['github', 'gmail']\ncallback_url = 'https://app.example/done'\ntags = ['readOnlyHint']\n",
        );
        let (narrow, wide) = (SessionOptions::of(&narrow, None), SessionOptions::of(&wide, None));
        let changes = wide.changes_since(&narrow);
        let doubted = SessionOptions::read(&narrow.doubting(&changes).text());
        // The old: all that the change may have done is undone, also in the blocks that are merged.
        assert_eq!(
            Value::from(narrow.changes_since(&doubted)),
            json!({ "toolkits": { "enable": ["github"] }, "workbench": { "enable": false }, "tags": null,
                "manage_connections": { "enable": true, "callback_url": null } })
        );
        // The new: all of it is said.
        let again = wide.changes_since(&doubted);
        assert!(changes.keys().all(|name| again.contains_key(name)), "{again:?}");
        // What was in doubt before stays so until it was said.
        assert!(narrow.changes_since(&narrow.doubting(&Map::new())).is_empty());
        assert_eq!(doubted.doubting(&changes), doubted);
    }
}
