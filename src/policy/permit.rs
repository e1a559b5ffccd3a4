//! Proof that a principal may use a route.

use std::sync::Arc;

use crate::catalog::route::Route;
use crate::identity::Principal;

/// Proof that a principal may use a route. Only `policy` makes one; it is used up by the call it was made for.
#[derive(Debug)]
pub struct Permit {
    principal: Arc<Principal>,
    route: Arc<Route>,
}

impl Permit {
    pub(in crate::policy) fn new(principal: Arc<Principal>, route: Arc<Route>) -> Self {
        Self { principal, route }
    }

    /// Skips the policy, for tests of what lies behind it.
    #[cfg(test)]
    pub(crate) fn for_test(principal: Arc<Principal>, route: Arc<Route>) -> Self {
        Self::new(principal, route)
    }

    /// Narrows it to one task of the tool that it permits.
    #[must_use]
    pub fn for_task(self, exposed: &str, own: &str) -> Self {
        let route = Route {
            exposed: exposed.into(),
            own: own.into(),
            index: None,
            ..(*self.route).clone()
        };
        Self {
            route: Arc::new(route),
            ..self
        }
    }

    /// Returns who may use it.
    #[must_use]
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Returns what may be used.
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }
}
