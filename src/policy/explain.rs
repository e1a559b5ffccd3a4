//! Why a caller sees a tool or does not. For operators and the caller itself; clients of `/mcp` never learn this.

use super::rules::Rule;
use super::view::View;
use crate::catalog::Unnamed;
use crate::catalog::listing::Kind;
use crate::ids::GatewayId;

/// What there is to say about a tool's name.
#[derive(Clone, Debug, PartialEq)]
pub enum Explanation {
    /// It can be called.
    Callable {
        /// Whose it is.
        gateway: GatewayId,
        /// Its name there.
        own: String,
    },
    /// It is there, and a rule hides it from this caller.
    Hidden {
        /// Whose it is.
        gateway: GatewayId,
        /// Its name there.
        own: String,
        /// The rule.
        rule: Rule,
    },
    /// A gateway's own name, which clients know by another one.
    Renamed {
        /// Whose it is.
        gateway: GatewayId,
        /// The name that clients use.
        exposed: String,
        /// Who has the bare name, when that is why.
        taken_by: Option<GatewayId>,
    },
    /// A gateway lists it, but it has no exposed name.
    LeftOut {
        /// Whose it is.
        gateway: GatewayId,
        /// Why.
        reason: Unnamed,
    },
    /// No gateway lists it.
    Unknown,
}

impl View {
    /// Explains a tool's name, exposed or a gateway's own. The first that applies is given: what the exposed name
    /// leads to, then gateways' own names in the order of the file.
    #[must_use]
    pub fn explain(&self, name: &str) -> Vec<Explanation> {
        let snapshot = self.snapshot();
        let mut found = Vec::new();
        if let Some(route) = snapshot.resolve(Kind::Tool, name) {
            let (gateway, own) = (route.gateway.clone(), route.own.to_string());
            found.push(match self.may_use(route) {
                Ok(()) => Explanation::Callable { gateway, own },
                Err(rule) => Explanation::Hidden { gateway, own, rule },
            });
        }
        for entry in snapshot.entries(Kind::Tool) {
            let route = &entry.route;
            if &*route.own == name && &*route.exposed != name {
                found.push(Explanation::Renamed {
                    gateway: route.gateway.clone(),
                    exposed: route.exposed.to_string(),
                    taken_by: snapshot
                        .resolve(Kind::Tool, name)
                        .map(|other| other.gateway.clone()),
                });
            }
        }
        for left_out in snapshot.left_out() {
            if left_out.kind == Kind::Tool && &*left_out.own == name {
                let (gateway, reason) = (left_out.gateway.clone(), left_out.reason);
                found.push(Explanation::LeftOut { gateway, reason });
            }
        }
        if found.is_empty() {
            found.push(Explanation::Unknown);
        }
        found
    }
}
