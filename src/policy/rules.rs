//! The rules as globs, compiled once, and the one decision that they come to.

use std::collections::HashMap;

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::catalog::route::Route;
use crate::catalog::snapshot::Part;
use crate::config::{Config, ToolPrefixes, Transport};
use crate::identity::{SessionGrant, ToolGlobs};
use crate::ids::GatewayId;

/// Which rule refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Not in `[tools] permitted`.
    NotPermitted,
    /// Not in the gateway's `allow`.
    NotAllowed,
    /// In the gateway's `deny`.
    Denied,
    /// Not in the key's `tools`.
    NotOnKey,
    /// Not of the Composio session whose URL it was, or of a toolkit that the gateway does not have.
    NotInSession,
    /// A prompt, resource or template of a gateway none of whose tools may be used.
    NoToolOfGateway,
}

impl Rule {
    /// Returns the setting to look at, for `explain`.
    #[must_use]
    pub fn setting(&self, gateway: &GatewayId) -> String {
        match self {
            Self::NotPermitted => "[tools] permitted".to_owned(),
            Self::NotAllowed => format!("[gateways.{gateway}] allow"),
            Self::Denied => format!("[gateways.{gateway}] deny"),
            Self::NotOnKey => "[auth] tools of this key".to_owned(),
            Self::NotInSession => format!("the session's toolkits, and [gateways.{gateway}] toolkits"),
            Self::NoToolOfGateway => format!("no tool of gateway {gateway} is permitted"),
        }
    }
}

/// A glob that cannot be read. Configuration is checked before; this is for rules made otherwise.
#[derive(Debug, thiserror::Error)]
#[error("the globs of {setting} cannot be read")]
pub struct RulesError {
    /// Where they stand.
    pub setting: String,
    /// What is wrong with which.
    #[source]
    pub source: globset::Error,
}

#[derive(Debug, Default)]
struct GatewayRules {
    allow: Option<GlobSet>,
    deny: GlobSet,
    /// Of a Composio gateway.
    prefixes: ToolPrefixes,
}

/// What the configuration permits.
#[derive(Debug, Default)]
pub struct Rules {
    permitted: Option<GlobSet>,
    gateways: HashMap<GatewayId, GatewayRules>,
}

impl Rules {
    /// Compiles the rules of a configuration.
    ///
    /// # Errors
    /// [`RulesError`] for the first glob that cannot be read.
    pub fn of(config: &Config) -> Result<Self, RulesError> {
        let permitted = config
            .tools
            .permitted
            .as_deref()
            .map(|globs| compile("[tools] permitted", globs));
        let mut gateways = HashMap::new();
        for gateway in &config.gateways {
            let setting = |key| format!("[gateways.{}] {key}", gateway.name);
            let allow = gateway
                .allow
                .as_deref()
                .map(|globs| compile(&setting("allow"), globs));
            let rules = GatewayRules {
                allow: allow.transpose()?,
                deny: compile(&setting("deny"), &gateway.deny)?,
                prefixes: match &gateway.transport {
                    Transport::Composio(composio) => composio.tool_prefixes.clone(),
                    _ => ToolPrefixes::default(),
                },
            };
            gateways.insert(gateway.name.clone(), rules);
        }
        Ok(Self {
            permitted: permitted.transpose()?,
            gateways,
        })
    }

    /// Decides on a tool for who came by the URL of one Composio session.
    pub(super) fn in_session(&self, route: &Route, session: &SessionGrant) -> Result<(), Rule> {
        let rules = self.gateways.get(&route.gateway);
        let has = |rules: &GatewayRules| session.has(&route.gateway, &route.own, &rules.prefixes);
        if rules.is_some_and(has) {
            Ok(())
        } else {
            Err(Rule::NotInSession)
        }
    }

    /// Decides on a tool.
    pub(super) fn tool(&self, route: &Route, key: Option<&ToolGlobs>) -> Result<(), Rule> {
        if let Some(rules) = self.gateways.get(&route.gateway) {
            if rules.deny.is_match(&*route.own) {
                return Err(Rule::Denied);
            }
            if rules
                .allow
                .as_ref()
                .is_some_and(|allow| !allow.is_match(&*route.own))
            {
                return Err(Rule::NotAllowed);
            }
        }
        if self
            .permitted
            .as_ref()
            .is_some_and(|permitted| !permitted.is_match(&*route.exposed))
        {
            return Err(Rule::NotPermitted);
        }
        if key.is_some_and(|key| !key.admits(&route.exposed)) {
            return Err(Rule::NotOnKey);
        }
        Ok(())
    }

    /// Decides on the prompts, resources and templates of a gateway: they go with its tools, of which `some_tool` says
    /// whether any may be used. A gateway without tools is open to everybody who is not restricted to certain tools.
    pub(super) fn gateway(&self, part: &Part, key: Option<&ToolGlobs>, some_tool: bool) -> Result<(), Rule> {
        let rules = self.gateways.get(&part.gateway);
        let everybody = self.permitted.is_none() && key.is_none();
        let unrestricted = rules.is_none_or(|rules| rules.allow.is_none() && rules.deny.is_empty());
        let listed = rules.is_some_and(|rules| rules.allow.is_some() || rules.deny.is_match(""));
        let open = everybody && (unrestricted || (!part.has_tools && !listed));
        if some_tool || open {
            Ok(())
        } else {
            Err(Rule::NoToolOfGateway)
        }
    }
}

/// Names are not paths: `*` matches any characters.
fn compile(setting: &str, globs: &[String]) -> Result<GlobSet, RulesError> {
    let mut set = GlobSetBuilder::new();
    let failed = |source| RulesError {
        setting: setting.to_owned(),
        source,
    };
    for glob in globs {
        set.add(Glob::new(glob).map_err(failed)?);
    }
    set.build().map_err(failed)
}
