//! The Composio projects of the configuration, one a gateway: the API under its key, and its options. Shared by the
//! gateway's link and by REST, and replaced on a reload; one that did not change stays the same.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::composio::{ApiError, Composio};
use crate::config::{self, Transport};
use crate::ids::GatewayId;

/// Every project, by its gateway.
#[derive(Debug, Default)]
pub struct Projects {
    by_gateway: ArcSwap<Vec<Known>>,
}

type Known = (GatewayId, Result<Arc<Project>, ApiError>);

/// One gateway of kind `composio`.
#[derive(Debug)]
pub struct Project {
    gateway: GatewayId,
    options: config::Composio,
    api: Composio,
}

impl Project {
    fn new(gateway: &GatewayId, options: &config::Composio) -> Result<Self, ApiError> {
        Ok(Self {
            gateway: gateway.clone(),
            api: Composio::new(&options.base_url, &options.api_key)?,
            options: options.clone(),
        })
    }

    /// Returns the gateway that it belongs to.
    #[must_use]
    pub fn gateway(&self) -> &GatewayId {
        &self.gateway
    }

    /// Returns what the configuration says of it.
    #[must_use]
    pub fn options(&self) -> &config::Composio {
        &self.options
    }

    /// Returns the API under its key.
    #[must_use]
    pub fn api(&self) -> &Composio {
        &self.api
    }
}

impl Projects {
    /// Makes those of a configuration.
    #[must_use]
    pub fn new(gateways: &[config::Gateway]) -> Self {
        let projects = Self::default();
        projects.replace(gateways);
        projects
    }

    /// Takes on a configuration; projects whose options are the same stay.
    pub fn replace(&self, gateways: &[config::Gateway]) {
        let before: HashMap<GatewayId, _> = self.by_gateway.load().iter().cloned().collect();
        let known = gateways.iter().filter_map(|gateway| {
            let Transport::Composio(options) = &gateway.transport else {
                return None;
            };
            let project = match before.get(&gateway.name) {
                Some(Ok(old)) if old.options == **options => Ok(Arc::clone(old)),
                _ => Project::new(&gateway.name, options).map(Arc::new),
            };
            Some((gateway.name.clone(), project))
        });
        self.by_gateway.store(Arc::new(known.collect()));
    }

    /// Finds a gateway's project; `None`: there is no such gateway of kind `composio`.
    ///
    /// # Errors
    /// [`ApiError::Unusable`] when its client could not be made.
    #[must_use]
    pub fn get(&self, gateway: &GatewayId) -> Option<Result<Arc<Project>, ApiError>> {
        let known = self.by_gateway.load();
        let mut found = known.iter().filter(|(name, _)| name == gateway);
        found.next().map(|(_, project)| project.clone())
    }

    /// Returns those that can be used, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Project>> {
        let known = self.by_gateway.load();
        known
            .iter()
            .filter_map(|(_, project)| project.clone().ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Flags, Sources, load};

    fn gateways(text: &str) -> Vec<config::Gateway> {
        let file = File {
            name: "gateways.toml".to_owned(),
            text: text.to_owned(),
        };
        let sources = Sources::new(Some(file), std::collections::BTreeMap::new(), Flags::default());
        load(&sources).unwrap().config.gateways
    }

    #[test]
    fn a_project_stays_the_same_until_its_options_change_and_goes_with_its_gateway() {
        let two = "[gateways.a]\nkind = 'composio'\napi_key = 'ak_1'\n\
                   [gateways.b]\nkind = 'composio'\napi_key = 'ak_2'\n";
        let projects = Projects::new(&gateways(two));
        let of = |name: &str| projects.get(&GatewayId::new(name)).map(Result::unwrap);
        let (a, b) = (of("a").unwrap(), of("b").unwrap());
        projects.replace(&gateways(&two.replace("ak_2", "ak_3")));
        assert!(Arc::ptr_eq(&a, &of("a").unwrap()));
        assert!(!Arc::ptr_eq(&b, &of("b").unwrap()));
        projects.replace(&gateways("[gateways.b]\nurl = 'http://127.0.0.1:1/mcp'\n"));
        assert!(of("a").is_none() && of("b").is_none() && projects.all().is_empty());
    }
}
