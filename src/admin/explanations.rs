//! Why the caller can call a tool by some name, or cannot. A key with `tools` learns nothing about names that its
//! globs do not admit: whether such a tool is there at all is not said.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use super::gateways::{Concerned, Gateway};
use super::query::Query;
use super::{Caller, Name, Parts, answer};
use crate::catalog::Unnamed;
use crate::catalog::listing::Kind;
use crate::ids::GatewayId;
use crate::policy::{Explanation, Rule, View};
use crate::upstream::gateways::GatewayStatus;
use crate::upstream::health::LinkState;
use crate::web::Problem;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    name: String,
    /// A call by this name reaches a gateway that answers.
    callable: bool,
    reasons: Vec<Reason>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reason {
    outcome: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<Gateway>,
    #[serde(skip_serializing_if = "Option::is_none")]
    own_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exposed_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_by: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits_for: Vec<String>,
}

/// Explains a name, exposed or a gateway's own. Always has an answer.
pub(super) async fn explain(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(name): Name,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let view = parts.proxy.view(&caller.principal);
    let statuses = parts.proxy.gateways().statuses();
    let explaining = Explaining {
        parts: &parts,
        view: &view,
        concerned: Concerned::of(&caller.principal, &view),
        statuses: &statuses,
        name: &name,
    };
    let closed = caller.principal.tools().is_some_and(|tools| !tools.admits(&name));
    let reasons: Vec<Reason> = if closed {
        vec![not_on_key()]
    } else {
        explaining.reasons()
    };
    let callable = reasons.iter().any(|reason| reason.outcome == "callable");
    answer(&Explained {
        name,
        callable,
        reasons,
    })
}

/// The same whether there is such a tool or not.
fn not_on_key() -> Reason {
    Reason {
        outcome: "hidden",
        detail: "the `tools` of this key admit no such name".to_owned(),
        setting: Some("[auth] tools of this key".to_owned()),
        ..Reason::default()
    }
}

struct Explaining<'a> {
    parts: &'a Parts,
    view: &'a View,
    concerned: Concerned,
    statuses: &'a [GatewayStatus],
    name: &'a str,
}

impl Explaining<'_> {
    fn reasons(&self) -> Vec<Reason> {
        let found = self.view.explain(self.name).into_iter();
        let mut reasons: Vec<Reason> = found.filter_map(|found| self.reason(found)).collect();
        if reasons.is_empty() {
            reasons.push(self.unknown());
        }
        reasons
    }

    /// `None` where the caller may not know of the gateway that it is about.
    fn reason(&self, found: Explanation) -> Option<Reason> {
        match found {
            Explanation::Callable { gateway, own } => Some(self.callable(&gateway, own)),
            Explanation::Hidden { gateway, own, rule } => Some(self.hidden(&gateway, own, &rule)),
            Explanation::Renamed {
                gateway,
                exposed,
                taken_by,
            } if self.concerned.includes(&gateway) => Some(self.renamed(&gateway, exposed, taken_by)),
            Explanation::LeftOut { gateway, reason } if self.concerned.includes(&gateway) => {
                Some(self.left_out(&gateway, reason))
            }
            Explanation::Renamed { .. } | Explanation::LeftOut { .. } | Explanation::Unknown => None,
        }
    }

    fn callable(&self, gateway: &GatewayId, own: String) -> Reason {
        let bare = self
            .view
            .snapshot()
            .resolve(Kind::Tool, &own)
            .map(|route| &route.gateway);
        let taken_by = bare.filter(|other| *other != gateway && self.concerned.includes(other));
        let known_as = match taken_by {
            _ if own == self.name => String::new(),
            Some(other) => format!(", where it is {own}; that name belongs to gateway {other}"),
            None => format!(", where it is {own}"),
        };
        let sick = self
            .status(gateway)
            .filter(|status| status.state == LinkState::Down);
        let (outcome, health) = match sick {
            None => ("callable", String::new()),
            Some(status) => ("gatewayDown", format!(". The gateway is {}", down(status))),
        };
        Reason {
            outcome,
            detail: format!("this name leads to gateway {gateway}{known_as}{health}"),
            taken_by: taken_by.map(ToString::to_string),
            own_name: Some(own),
            ..self.of(gateway)
        }
    }

    fn hidden(&self, gateway: &GatewayId, own: String, rule: &Rule) -> Reason {
        let setting = rule.setting(gateway);
        Reason {
            outcome: "hidden",
            detail: format!("gateway {gateway} has it, and {setting} hides it from this caller"),
            own_name: Some(own),
            setting: Some(setting),
            ..self.of(gateway)
        }
    }

    fn renamed(&self, gateway: &GatewayId, exposed: String, taken_by: Option<GatewayId>) -> Reason {
        let why = match &taken_by {
            Some(other) => format!("because the bare name belongs to gateway {other}"),
            None => "by `rename`, `prefix` or `names` of the configuration".to_owned(),
        };
        Reason {
            outcome: "renamed",
            detail: format!("what gateway {gateway} calls by this name is known as {exposed}, {why}"),
            own_name: Some(self.name.to_owned()),
            exposed_name: Some(exposed),
            taken_by: taken_by.map(|other| other.to_string()),
            ..self.of(gateway)
        }
    }

    fn left_out(&self, gateway: &GatewayId, reason: Unnamed) -> Reason {
        let own_name = Some(self.name.to_owned());
        match reason {
            Unnamed::Taken => {
                let holder = self.view.snapshot().resolve(Kind::Tool, self.name);
                let taken_by = holder.map(|route| route.gateway.to_string());
                let holder = taken_by.as_deref().unwrap_or("another gateway");
                Reason {
                    outcome: "nameTaken",
                    detail: format!(
                        "gateway {gateway} has one too, but {holder} has the name and the rules leave no other; \
                         give it one with [gateways.{gateway}] rename, or set prefix = \"on_conflict\""
                    ),
                    own_name,
                    taken_by,
                    ..self.of(gateway)
                }
            }
            Unnamed::Waiting => {
                let earlier = self.statuses.iter().take_while(|status| status.name != *gateway);
                let waits_for: Vec<String> = earlier
                    .filter(|status| !status.looked)
                    .map(|status| status.name.to_string())
                    .collect();
                Reason {
                    outcome: "waiting",
                    detail: format!(
                        "gateway {gateway} has it; it gets its name once the gateways before it in the file have answered"
                    ),
                    own_name,
                    waits_for,
                    ..self.of(gateway)
                }
            }
        }
    }

    fn unknown(&self) -> Reason {
        let silent =
            |status: &&GatewayStatus| status.listed.is_none() && self.concerned.includes(&status.name);
        let silent: Vec<&GatewayStatus> = self.statuses.iter().filter(silent).collect();
        let nobody = match self.concerned {
            Concerned::All => "no gateway lists it",
            Concerned::Only(_) => "nothing that this key may use goes by it",
        };
        let mut detail = format!("{nobody}; GET /api/tools shows what there is");
        for status in &silent {
            let how = if status.state == LinkState::Down {
                down(status)
            } else {
                "not asked yet".to_owned()
            };
            let _ = write!(
                detail,
                ". Gateway {} has not given its lists yet: it is {how}",
                status.name
            );
        }
        Reason {
            outcome: "unknown",
            detail,
            waits_for: silent.iter().map(|status| status.name.to_string()).collect(),
            ..Reason::default()
        }
    }

    fn of(&self, gateway: &GatewayId) -> Reason {
        let status = self
            .status(gateway)
            .filter(|status| self.concerned.includes(&status.name));
        Reason {
            gateway: status.map(|status| Gateway::of(self.parts, status)),
            ..Reason::default()
        }
    }

    fn status(&self, gateway: &GatewayId) -> Option<&GatewayStatus> {
        self.statuses.iter().find(|status| status.name == *gateway)
    }
}

fn down(status: &GatewayStatus) -> String {
    let since_s = status.state_for.as_secs();
    match &status.last_fault {
        Some(fault) => format!("down for {since_s} s: {}", fault.text),
        None => format!("down for {since_s} s"),
    }
}
