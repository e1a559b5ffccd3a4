//! The configuration as it is written, before its meaning is checked: what figment merges and extracts.
//! `keys::KEYS` describes each of these fields; a test keeps both equal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;

/// The whole file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) server: RawServer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth: Option<RawAuth>,
    pub(super) tools: RawTools,
    pub(super) log: RawLog,
    pub(super) telemetry: RawTelemetry,
    pub(super) limits: RawLimits,
    pub(super) executions: RawExecutions,
    pub(super) gateways: BTreeMap<String, RawGateway>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServer {
    pub(super) listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) public_url: Option<String>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) drain_timeout_ms: u64,
    pub(super) store: String,
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            listen: super::LISTEN.to_owned(),
            public_url: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            drain_timeout_ms: ms(limits::DRAIN_TIMEOUT),
            store: super::STORE.to_owned(),
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAuth {
    pub(super) keys: Vec<RawKey>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawKey {
    pub(super) user: Option<String>,
    pub(super) key: Option<String>,
    pub(super) key_sha256: Option<String>,
    pub(super) acts_for_users: bool,
    pub(super) tools: Option<Vec<String>>,
}

impl std::fmt::Debug for RawKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawKey")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTools {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) permitted: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) names: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<String>,
}

impl Default for RawLog {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: None,
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTelemetry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) otlp_endpoint: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) request_body_bytes_max: usize,
    pub(super) upstream_result_bytes_max: usize,
    pub(super) connections_max: usize,
    pub(super) in_flight_max: usize,
    pub(super) in_flight_per_user_max: usize,
    pub(super) sessions_per_user_max: usize,
    pub(super) sessions_max: usize,
    pub(super) session_idle_max_ms: u64,
    pub(super) session_age_max_ms: u64,
    pub(super) stdio_processes_max: usize,
    pub(super) page_items_max: usize,
    pub(super) question_timeout_ms: u64,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            request_body_bytes_max: limits::REQUEST_BODY_BYTES_MAX,
            upstream_result_bytes_max: limits::UPSTREAM_RESULT_BYTES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            in_flight_max: limits::IN_FLIGHT_MAX,
            in_flight_per_user_max: limits::IN_FLIGHT_PER_USER_MAX,
            sessions_per_user_max: limits::SESSIONS_PER_USER_MAX,
            sessions_max: limits::SESSIONS_MAX,
            session_idle_max_ms: ms(limits::SESSION_IDLE_MAX),
            session_age_max_ms: ms(limits::SESSION_AGE_MAX),
            stdio_processes_max: limits::STDIO_PROCESSES_MAX,
            page_items_max: limits::PAGE_ITEMS_MAX,
            question_timeout_ms: ms(limits::QUESTION_TIMEOUT),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawExecutions {
    pub(super) enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) audit: Option<String>,
    pub(super) arguments: bool,
    pub(super) results: bool,
    pub(super) age_max_ms: u64,
    pub(super) bytes_max: u64,
}

impl Default for RawExecutions {
    fn default() -> Self {
        Self {
            enabled: true,
            audit: None,
            arguments: false,
            results: false,
            age_max_ms: ms(limits::EXECUTION_AGE_MAX),
            bytes_max: limits::EXECUTIONS_BYTES_MAX as u64,
        }
    }
}

/// `command`: a list, or a program alone.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum RawCommand {
    Program(String),
    List(Vec<String>),
}

/// Which tools of one toolkit.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawToolChoice {
    pub(super) enable: Option<Vec<String>>,
    pub(super) disable: Option<Vec<String>>,
    pub(super) tags: Option<Vec<String>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGateway {
    pub(super) kind: Option<String>,
    pub(super) url: Option<String>,
    pub(super) command: Option<RawCommand>,
    pub(super) args: Option<Vec<String>>,
    pub(super) transport: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) era: Option<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) env_pass: Vec<String>,
    pub(super) cwd: Option<String>,
    pub(super) processes: Option<String>,
    pub(super) api_key: Option<String>,
    pub(super) base_url: Option<String>,
    pub(super) api: Option<String>,
    pub(super) toolkits: Option<Vec<String>>,
    pub(super) tool_prefixes: BTreeMap<String, String>,
    pub(super) tools: BTreeMap<String, RawToolChoice>,
    pub(super) tags: Vec<String>,
    pub(super) auth_configs: BTreeMap<String, String>,
    pub(super) preload: Option<RawCommand>,
    pub(super) workbench: Option<bool>,
    pub(super) multi_account: bool,
    pub(super) multi_account_max: Option<usize>,
    pub(super) multi_account_explicit: bool,
    pub(super) multi_account_pins: Option<String>,
    pub(super) multi_account_reinitiate: Option<bool>,
    pub(super) callback_url: Option<String>,
    pub(super) webhook_secret: Option<String>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) in_flight_max: Option<usize>,
    pub(super) required: bool,
    pub(super) allow: Option<Vec<String>>,
    pub(super) deny: Vec<String>,
    pub(super) rename: BTreeMap<String, String>,
    pub(super) prefix: Option<String>,
    pub(super) enabled: Option<bool>,
    pub(super) enabled_if_env: Option<String>,
}

impl std::fmt::Debug for RawGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawGateway(…)")
    }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor, value::Error};
    use serde::forward_to_deserialize_any;

    use super::super::keys;
    use super::*;

    /// Asks a type for the names of its fields by offering it nothing.
    struct Fields<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            _visitor: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            Err(Error::custom("only the names were wanted"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
            Err(Error::custom("not a struct"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    fn fields<T: DeserializeOwned>() -> Vec<&'static str> {
        let mut names: &'static [&'static str] = &[];
        assert!(T::deserialize(Fields(&mut names)).is_err());
        names.to_vec()
    }

    #[test]
    fn the_table_of_keys_names_every_field_of_the_types_and_no_other() {
        for (path, fields) in [
            ("", fields::<Raw>()),
            ("server", fields::<RawServer>()),
            ("auth", fields::<RawAuth>()),
            ("auth.keys[]", fields::<RawKey>()),
            ("tools", fields::<RawTools>()),
            ("log", fields::<RawLog>()),
            ("telemetry", fields::<RawTelemetry>()),
            ("limits", fields::<RawLimits>()),
            ("gateways.*", fields::<RawGateway>()),
        ] {
            assert!(!fields.is_empty(), "{path}");
            assert_eq!(keys::children(path), fields, "the keys of {path:?}");
        }
    }

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_types() {
        let defaults = serde_json::to_value(Raw::default()).unwrap();
        for key in keys::KEYS {
            let pointer = format!("/{}", key.path.replace('.', "/"));
            let Some(value) = defaults.pointer(&pointer) else {
                continue;
            };
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned);
            assert_eq!(key.default.describe(), format!("`{value}`"), "{}", key.path);
        }
    }
}
