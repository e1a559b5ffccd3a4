//! What is not known of Composio, each in one place: every field is `[I]`, its default the likelier reading.
//! `{"do": "switch", "name": …, "to": …}` turns one.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own that Composio's documents leave open"
)]
pub(super) struct Switches {
    /// Unknown keys inside a block of a session's body are refused, as unknown keys at its root are.
    pub(super) strict_blocks: bool,
    /// Toolkits that do not exist fail a create, as tools that do not exist do.
    pub(super) unknown_toolkits_are_refused: bool,
    /// `expected_config_version`: refused as an unknown key, or an optimistic lock that answers 409.
    pub(super) config_version_lock: bool,
    /// Answers of `execute` and `execute_meta` carry `result_type`. The Python SDK 0.30.0 takes none without it.
    pub(super) result_type: bool,
    /// The HTTP status of 4302 `ToolRouterV2_NoActiveConnection`.
    pub(super) no_connection_status: u16,
    /// What a tool says for which its user has no account; 1803 of `/tools/execute` says "No connected account found".
    pub(super) no_account_message: String,
    /// The number of `ToolRouterV2_SessionNotFound`.
    pub(super) session_not_found_code: i64,
    /// A session's endpoint gives `Mcp-Session-Id`.
    pub(super) mcp_gives_session_ids: bool,
    /// The endpoint answers JSON instead of an event stream.
    pub(super) mcp_answers_json: bool,
    /// Which revision `initialize` answers; absent: the one that was asked for.
    pub(super) mcp_protocol_version: Option<String>,
    /// A failed tool sets `isError` as well.
    pub(super) mcp_sets_is_error: bool,
    /// A result's text is split over several blocks of at most this many bytes.
    pub(super) mcp_block_bytes: Option<usize>,
    /// `/link` returns the pending link of user and toolkit instead of a new account.
    pub(super) link_is_reused: bool,
    /// A toolkit that takes an API key can be linked without an auth config of one's own.
    pub(super) api_key_links_need_no_config: bool,
    /// Sessions have `COMPOSIO_WAIT_FOR_CONNECTIONS` although nobody asked for it, as those of Composio Connect do.
    pub(super) waiting_is_there: bool,
    /// How long `COMPOSIO_WAIT_FOR_CONNECTIONS` waits.
    pub(super) wait_ms: u64,
    /// The project's `require_mcp_api_key`: whether the older servers' URLs want the key.
    pub(super) require_mcp_api_key: bool,
    /// Toolkits whose tokens cannot be revoked; `revoke` answers 400.
    pub(super) not_revocable: Vec<String>,
    /// `account` in a call means nothing unless the session is in multi-account mode.
    pub(super) selector_needs_multi_account: bool,
    /// A call that names no account takes the first of several pins; otherwise the one that was connected last.
    pub(super) first_pin_is_taken: bool,
    /// When the whole of a multi-execute counts as failed: `all` of its parts failed, `any` did, or `never`.
    pub(super) multi_execute_fails: String,
    /// A tool that is not in the list is refused by a JSON-RPC error; otherwise by a failed result.
    pub(super) mcp_unknown_tool_is_an_error: bool,
    /// What GET and DELETE get at a session's endpoint.
    pub(super) mcp_other_methods_status: u16,
    /// A link beyond the most accounts of a toolkit is refused at once.
    pub(super) links_are_counted: bool,
    /// Enabling or disabling an account that is neither ACTIVE nor INACTIVE changes nothing and is no error.
    pub(super) status_of_others_is_taken: bool,
    /// A deleted auth config takes its accounts with it.
    pub(super) auth_config_takes_its_accounts: bool,
    /// The names of older MCP servers are unique in the project.
    pub(super) server_names_are_unique: bool,
    /// Webhooks may go to `http://` on this machine.
    pub(super) webhooks_to_loopback: bool,
}

impl Switches {
    pub(super) fn no_account(&self, toolkit: &str) -> String {
        self.no_account_message.replace("{toolkit}", toolkit)
    }
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            strict_blocks: true,
            unknown_toolkits_are_refused: true,
            config_version_lock: false,
            result_type: true,
            no_connection_status: 400,
            no_account_message: "No active connected account found for toolkit: {toolkit}".to_owned(),
            session_not_found_code: 4304,
            mcp_gives_session_ids: false,
            mcp_answers_json: false,
            mcp_protocol_version: None,
            mcp_sets_is_error: false,
            mcp_block_bytes: None,
            link_is_reused: false,
            api_key_links_need_no_config: true,
            waiting_is_there: false,
            wait_ms: 60_000,
            require_mcp_api_key: true,
            not_revocable: vec!["notion".to_owned()],
            selector_needs_multi_account: true,
            first_pin_is_taken: true,
            multi_execute_fails: "all".to_owned(),
            mcp_unknown_tool_is_an_error: true,
            mcp_other_methods_status: 405,
            links_are_counted: true,
            status_of_others_is_taken: true,
            auth_config_takes_its_accounts: true,
            server_names_are_unique: true,
            webhooks_to_loopback: true,
        }
    }
}
