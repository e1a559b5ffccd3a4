//! The part of one snapshot that a caller may use: the decision for every entry, and the list pages as bytes.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};

use super::permit::Permit;
use super::rules::{Rule, Rules};
use crate::catalog::listing::Kind;
use crate::catalog::route::Route;
use crate::catalog::snapshot::{Entry, Part, Snapshot};
use crate::identity::{Principal, SessionGrant, ToolGlobs};
use crate::ids::GatewayId;
use crate::limits::PAGE_BYTES_MAX;

/// What callers with the same restrictions may use, at one state of catalog and rules.
#[derive(Debug)]
pub struct View {
    snapshot: Arc<Snapshot>,
    rules: Arc<Rules>,
    key: Option<ToolGlobs>,
    session: Option<Arc<SessionGrant>>,
    /// For each tool of the snapshot whether it may be used.
    tools: Vec<bool>,
    /// Gateways whose prompts, resources and templates may be used.
    gateways: HashSet<GatewayId>,
    lists: [OnceLock<Arc<[Bytes]>>; Kind::ALL.len()],
}

impl View {
    pub(super) fn new(snapshot: Arc<Snapshot>, rules: Arc<Rules>, key: Option<ToolGlobs>) -> Self {
        Self::made(snapshot, rules, key, None)
    }

    /// Of the gateway of one Composio session, what is this session's.
    pub(super) fn of_session(snapshot: Arc<Snapshot>, rules: Arc<Rules>, session: Arc<SessionGrant>) -> Self {
        Self::made(snapshot, rules, None, Some(session))
    }

    fn made(
        snapshot: Arc<Snapshot>,
        rules: Arc<Rules>,
        key: Option<ToolGlobs>,
        session: Option<Arc<SessionGrant>>,
    ) -> Self {
        let entries = snapshot.entries(Kind::Tool);
        let tools: Vec<bool> = entries
            .iter()
            .map(|entry| decide(&rules, &entry.route, key.as_ref(), session.as_deref()).is_ok())
            .collect();
        let with_tools: HashSet<&GatewayId> = entries
            .iter()
            .zip(&tools)
            .filter(|(_, usable)| **usable)
            .map(|(entry, _)| &entry.route.gateway)
            .collect();
        let open = |part: &&Part| {
            let some_tool = with_tools.contains(&part.gateway);
            if session
                .as_ref()
                .is_some_and(|session| session.gateway != part.gateway)
            {
                return false;
            }
            rules.gateway(part, key.as_ref(), some_tool).is_ok()
        };
        let gateways = snapshot
            .parts()
            .iter()
            .filter(open)
            .map(|part| part.gateway.clone())
            .collect();
        Self {
            tools,
            gateways,
            snapshot,
            rules,
            key,
            session,
            lists: Default::default(),
        }
    }

    pub(super) fn is_of(
        &self,
        snapshot: &Arc<Snapshot>,
        rules: &Arc<Rules>,
        key: Option<&ToolGlobs>,
    ) -> bool {
        let same_key = match (&self.key, key) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours.is(theirs),
            _ => false,
        };
        same_key && Arc::ptr_eq(&self.snapshot, snapshot) && Arc::ptr_eq(&self.rules, rules)
    }

    pub(super) fn is_of_session(
        &self,
        snapshot: &Arc<Snapshot>,
        rules: &Arc<Rules>,
        session: &SessionGrant,
    ) -> bool {
        self.session.as_deref() == Some(session)
            && Arc::ptr_eq(&self.snapshot, snapshot)
            && Arc::ptr_eq(&self.rules, rules)
    }

    /// Returns the snapshot that this is a view of.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Returns the entries of a list that may be used, in their order.
    pub fn entries(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.snapshot
            .entries(kind)
            .iter()
            .filter(|entry| self.may_use(&entry.route).is_ok())
    }

    /// Returns a list as bytes, each page the inside of a JSON array, made once for all callers of this view.
    #[must_use]
    pub fn pages(&self, kind: Kind, page_items_max: usize) -> Arc<[Bytes]> {
        let prepared = Kind::ALL
            .iter()
            .position(|other| *other == kind)
            .and_then(|index| self.lists.get(index));
        let make = || {
            let entries: Vec<&Entry> = self.entries(kind).collect();
            if entries.is_empty() {
                return Arc::from([Bytes::new()]);
            }
            pages_of(&entries, page_items_max).map(joined).collect()
        };
        prepared.map_or_else(make, |prepared| prepared.get_or_init(make).clone())
    }

    /// Proves that a principal may use a route. The only maker of a [`Permit`].
    ///
    /// # Errors
    /// The [`Rule`] that refuses, for the log and `explain`; callers must answer as if there were no such route.
    pub fn admit(&self, principal: &Arc<Principal>, route: &Arc<Route>) -> Result<Permit, Rule> {
        self.may_use(route)?;
        Ok(Permit::new(principal.clone(), route.clone()))
    }

    /// The decision.
    pub(super) fn may_use(&self, route: &Route) -> Result<(), Rule> {
        if route.kind != Kind::Tool {
            let open = self.gateways.contains(&route.gateway);
            return if open { Ok(()) } else { Err(Rule::NoToolOfGateway) };
        }
        // A route of an older snapshot may stand at another's place in this one.
        let entries = self.snapshot.entries(Kind::Tool);
        let here = |index: &usize| {
            let entry = entries.get(*index);
            entry.is_some_and(|entry| std::ptr::eq(&raw const *entry.route, route))
        };
        match route.index.filter(here).and_then(|index| self.tools.get(index)) {
            Some(true) => Ok(()),
            _ => self.decide(route),
        }
    }

    /// Decides on a tool of a gateway that is called by its own name inside another tool, such as a part of Composio's
    /// multi-execute: as if it were called by itself. One that the gateway does not list goes by the names that it would
    /// have, its own (unless that is another gateway's) or `gateway__own`.
    ///
    /// # Errors
    /// The [`Rule`] that refuses.
    pub fn admit_inner(&self, gateway: &GatewayId, own: &str) -> Result<(), Rule> {
        let entries = self.snapshot.entries(Kind::Tool);
        let listed = |entry: &&Entry| entry.route.gateway == *gateway && *entry.route.own == *own;
        if let Some(entry) = entries.iter().find(listed) {
            return self.may_use(&entry.route);
        }
        let taken = self.snapshot.resolve(Kind::Tool, own).is_some();
        let bare = (!taken).then(|| own.to_owned());
        let names = std::iter::once(format!("{gateway}__{own}")).chain(bare);
        let mut refused = Err(Rule::NotPermitted);
        for exposed in names {
            let route = Route {
                kind: Kind::Tool,
                gateway: gateway.clone(),
                exposed: exposed.into(),
                own: own.into(),
                param_headers: Arc::new([]),
                repeatable: false,
                index: None,
            };
            refused = self.decide(&route);
            if refused.is_ok() {
                break;
            }
        }
        refused
    }

    fn decide(&self, route: &Route) -> Result<(), Rule> {
        decide(&self.rules, route, self.key.as_ref(), self.session.as_deref())
    }
}

fn decide(
    rules: &Rules,
    route: &Route,
    key: Option<&ToolGlobs>,
    session: Option<&SessionGrant>,
) -> Result<(), Rule> {
    if let Some(session) = session {
        rules.in_session(route, session)?;
    }
    rules.tool(route, key)
}

/// Cuts a list into pages, bounded in entries and in bytes.
fn pages_of<'a>(entries: &'a [&'a Entry], items_max: usize) -> impl Iterator<Item = &'a [&'a Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |entry: &&&Entry| {
            bytes += entry.raw.as_bytes().len() + 1;
            bytes <= PAGE_BYTES_MAX
        };
        let count = rest.iter().take(items_max).take_while(fits).count().max(1);
        let (page, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(page)
    })
}

fn joined(entries: &[&Entry]) -> Bytes {
    let mut out = BytesMut::with_capacity(entries.iter().map(|entry| entry.raw.as_bytes().len() + 1).sum());
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(entry.raw.as_bytes());
    }
    out.freeze()
}
