//! Who may use what: `[tools] permitted`, a gateway's `allow` and `deny`, a key's `tools`. One decision, made when a
//! [`View`] is built and looked up afterwards, by list, call, read, get, complete and REST alike.
//! [`View::admit`] is the only maker of a [`Permit`]. Refused and unknown look alike from outside; `explain` tells
//! them apart. No I/O, no store.

mod explain;
mod permit;
mod rules;
mod view;

use std::sync::Arc;

use arc_swap::ArcSwap;
use dashmap::DashMap;

use crate::catalog::Catalog;
use crate::catalog::snapshot::Snapshot;
use crate::identity::{KeyLabel, Principal, SessionGrant};

pub use self::explain::Explanation;
pub use self::permit::Permit;
pub use self::rules::{Rule, Rules, RulesError};
pub use self::view::View;

/// Views of keys with their own `tools`; keys beyond that are served with a view made for the request.
const VIEWS_MAX: usize = 1_024;

/// Holds the rules and the views made of them.
#[derive(Debug)]
pub struct Policy {
    catalog: Arc<Catalog>,
    rules: ArcSwap<Rules>,
    /// The view of everybody whose key restricts nothing.
    common: ArcSwap<View>,
    restricted: DashMap<KeyLabel, Arc<View>>,
    /// By our own id of the session.
    sessions: DashMap<Arc<str>, Arc<View>>,
}

impl Policy {
    /// Starts with rules over a catalog.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, rules: Rules) -> Self {
        let rules = Arc::new(rules);
        let common = View::new(catalog.snapshot(), rules.clone(), None);
        Self {
            catalog,
            rules: ArcSwap::new(rules),
            common: ArcSwap::from_pointee(common),
            restricted: DashMap::new(),
            sessions: DashMap::new(),
        }
    }

    /// Takes other rules into use, for requests from now on.
    pub fn replace(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
        self.restricted.clear();
        self.sessions.clear();
    }

    /// Returns what a principal may see now. Cheap: views are made once for each state of catalog and rules.
    #[must_use]
    pub fn view(&self, principal: &Principal) -> Arc<View> {
        let rules = self.rules.load();
        let snapshot = self.catalog.snapshot();
        if let Some(session) = principal.session() {
            return self.of_session(snapshot, &rules, session);
        }
        let fresh = |view: &View| view.is_of(&snapshot, &rules, principal.tools());
        let (Some(key), Some(_)) = (principal.key(), principal.tools()) else {
            let common = self.common.load_full();
            if fresh(&common) {
                return common;
            }
            let view = Arc::new(View::new(snapshot, rules.clone(), None));
            self.common.store(view.clone());
            return view;
        };
        if let Some(view) = self.restricted.get(&key).filter(|view| fresh(view)) {
            return view.clone();
        }
        let view = Arc::new(View::new(snapshot, rules.clone(), principal.tools().cloned()));
        if self.restricted.len() < VIEWS_MAX || self.restricted.contains_key(&key) {
            self.restricted.insert(key, view.clone());
        }
        view
    }

    /// The view of those who came by the URL of one session.
    fn of_session(
        &self,
        snapshot: Arc<Snapshot>,
        rules: &Arc<Rules>,
        session: &Arc<SessionGrant>,
    ) -> Arc<View> {
        let fresh = |view: &View| view.is_of_session(&snapshot, rules, session);
        if let Some(view) = self.sessions.get(&session.id).filter(|view| fresh(view)) {
            return view.clone();
        }
        let view = Arc::new(View::of_session(snapshot, rules.clone(), session.clone()));
        if self.sessions.len() >= VIEWS_MAX && !self.sessions.contains_key(&session.id) {
            self.sessions.clear();
        }
        self.sessions.insert(session.id.clone(), view.clone());
        view
    }
}

#[cfg(test)]
mod tests;
