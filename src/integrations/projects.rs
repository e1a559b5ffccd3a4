//! The Composio projects of the configuration, one a gateway: the API under its key, and its options. Shared by the
//! gateway's link and by REST, and replaced on a reload; one that did not change stays the same.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::join_all;

use super::composio::{ApiError, Composio};
use super::servers::Server;
use super::sessions::{SessionError, Sessions};
use crate::config::{self, Transport};
use crate::ids::{GatewayId, UserId};
use crate::store::Store;
use crate::store::composio_sessions::SessionRow;
use crate::supervisor::Supervisor;

/// Every project, by its gateway.
#[derive(Debug)]
pub struct Projects {
    by_gateway: ArcSwap<Vec<Known>>,
    store: Store,
    supervisor: Supervisor,
}

type Known = (GatewayId, Result<Arc<Project>, ApiError>);

/// One gateway of kind `composio`.
#[derive(Debug)]
pub struct Project {
    pub(super) gateway: GatewayId,
    pub(super) options: config::Composio,
    pub(super) api: Arc<Composio>,
    pub(super) sessions: Sessions,
    pub(super) server: Server,
    store: Store,
}

impl Project {
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

    /// Returns its users' sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Returns where what it knows is kept.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Projects {
    /// Makes those of a configuration.
    #[must_use]
    pub fn new(gateways: &[config::Gateway], store: Store, supervisor: Supervisor) -> Self {
        let projects = Self {
            by_gateway: ArcSwap::default(),
            store,
            supervisor,
        };
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
            let old = before.get(&gateway.name).and_then(|old| old.as_ref().ok());
            let project = match old {
                Some(old) if old.options == **options => Ok(Arc::clone(old)),
                old => self
                    .project(&gateway.name, options, old.map(Arc::as_ref))
                    .map(Arc::new),
            };
            Some((gateway.name.clone(), project))
        });
        self.by_gateway.store(Arc::new(known.collect()));
    }

    fn project(
        &self,
        gateway: &GatewayId,
        options: &config::Composio,
        old: Option<&Project>,
    ) -> Result<Project, ApiError> {
        let api = Arc::new(Composio::new(&options.base_url, &options.api_key)?);
        let turns = old.map(|old| old.sessions.turns()).unwrap_or_default();
        Ok(Project {
            gateway: gateway.clone(),
            options: options.clone(),
            sessions: Sessions::new(
                gateway,
                options,
                Arc::clone(&api),
                self.store.clone(),
                self.supervisor.clone(),
                turns,
            ),
            api,
            server: Server::default(),
            store: self.store.clone(),
        })
    }

    /// Returns a user's sessions at every gateway, at most `at_most`, after an id of ours.
    ///
    /// # Errors
    /// [`SessionError::Store`].
    pub async fn sessions_of(
        &self,
        user: &UserId,
        after: Option<&str>,
        at_most: usize,
    ) -> Result<Vec<SessionRow>, SessionError> {
        let sessions = self.store.composio_sessions();
        Ok(sessions.of_user(user, after, at_most).await?)
    }

    /// Deletes at Composio what nobody could find again: the sessions of a store that ends with us.
    pub async fn end(&self) {
        if !self.store.outlives_us() {
            join_all(self.all().iter().map(|project| project.sessions.end_all())).await;
        }
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

    #[tokio::test]
    async fn a_project_stays_the_same_until_its_options_change_and_goes_with_its_gateway() {
        let two = "[gateways.a]\nkind = 'composio'\napi_key = 'ak_1'\n\
                   [gateways.b]\nkind = 'composio'\napi_key = 'ak_2'\n";
        let store = Store::in_memory().await.unwrap();
        let projects = Projects::new(&gateways(two), store, Supervisor::new());
        let of = |name: &str| projects.get(&GatewayId::new(name)).map(Result::unwrap);
        let (a, b) = (of("a").unwrap(), of("b").unwrap());
        projects.replace(&gateways(&two.replace("ak_2", "ak_3")));
        assert!(Arc::ptr_eq(&a, &of("a").unwrap()));
        assert!(!Arc::ptr_eq(&b, &of("b").unwrap()));
        projects.replace(&gateways("[gateways.b]\nurl = 'http://127.0.0.1:1/mcp'\n"));
        assert!(of("a").is_none() && of("b").is_none() && projects.all().is_empty());
    }
}
