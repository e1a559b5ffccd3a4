//! What all gateways offer, merged: listings in, an immutable snapshot out, swapped behind an atomic pointer.
//! Names are given here and never shift. No I/O: upstreams publish, `policy`, `proxy` and `inbound` read.

pub mod listing;
mod naming;
pub mod route;
pub mod snapshot;
mod template;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use self::listing::{Kind, Listing};
use self::naming::Claims;
pub use self::naming::{Naming, Unnamed};
use self::snapshot::{Builder, Snapshot};
use crate::ids::GatewayId;
use crate::store::NameClaim;

/// Counts the changes of each list, so that clients can be told which one to ask for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of `tools/list`.
    pub tools: u64,
    /// Of `prompts/list`.
    pub prompts: u64,
    /// Of `resources/list` and `resources/templates/list`.
    pub resources: u64,
}

/// Owns the listings of all gateways and the claims on names; hands out snapshots.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    changes: watch::Sender<Changes>,
    claims: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    naming: Naming,
    claims: Claims,
    listings: HashMap<GatewayId, Known>,
    /// 1 for each list of which a change was announced and not yet told.
    announced: Changes,
}

#[derive(Debug, Default)]
struct Known {
    looked: bool,
    listing: Option<Arc<Listing>>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new(Naming::default())
    }
}

impl Catalog {
    /// Makes a catalog that knows its gateways and none of their listings.
    #[must_use]
    pub fn new(naming: Naming) -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot::default()),
            changes: watch::Sender::new(Changes::default()),
            claims: watch::Sender::new(0),
            state: Mutex::new(State {
                naming,
                ..State::default()
            }),
        }
    }

    /// Makes a catalog that goes on with the names that an earlier process gave.
    #[must_use]
    pub fn with_names(naming: Naming, kept: Vec<NameClaim>) -> Self {
        let claims = Claims::restored(&naming, kept);
        let catalog = Self::new(naming);
        catalog.state().claims = claims;
        catalog
    }

    /// Returns the names that are given, to be kept for the next process.
    #[must_use]
    pub fn names(&self) -> Vec<NameClaim> {
        let state = self.state();
        state.claims.kept(&state.naming)
    }

    /// Tells when names are given or given up.
    #[must_use]
    pub fn names_changed(&self) -> watch::Receiver<u64> {
        self.claims.subscribe()
    }

    /// Returns what is offered now. Never waits.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Tells when lists change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
    }

    /// Takes a gateway's lists, in place of those that it gave before.
    pub fn publish(&self, gateway: &GatewayId, listing: Listing) {
        let mut state = self.state();
        let known = state.listings.entry(gateway.clone()).or_default();
        // Most looks find what the one before found: nobody has to read megabytes of schemas again for that.
        if known.looked && known.listing.as_deref() == Some(&listing) {
            let announced = std::mem::take(&mut state.announced);
            return self.tell(announced);
        }
        known.looked = true;
        let listing = Arc::new(listing);
        known.listing = Some(listing.clone());
        state.claims.prune(gateway, &listing);
        self.merge(&mut state);
    }

    /// Notes that a gateway announced changes of lists: with what is published next, clients are told of them, even
    /// where we see no difference.
    pub fn announced(&self, tools: bool, prompts: bool, resources: bool) {
        let mut state = self.state();
        state.announced.tools |= u64::from(tools);
        state.announced.prompts |= u64::from(prompts);
        state.announced.resources |= u64::from(resources);
    }

    /// Notes that a gateway has had its chance to answer: those behind it in the file need not wait for it any more.
    pub fn looked(&self, gateway: &GatewayId) {
        let mut state = self.state();
        let known = state.listings.entry(gateway.clone()).or_default();
        if !std::mem::replace(&mut known.looked, true) {
            self.merge(&mut state);
        }
    }

    /// Forgets a gateway that is no longer configured, its claims on names included.
    pub fn remove(&self, gateway: &GatewayId) {
        let mut state = self.state();
        state.listings.remove(gateway);
        state.claims.release(gateway);
        self.merge(&mut state);
    }

    /// Takes another order of gateways or other rules for names. Changed rules give the names anew that they are for.
    pub fn configure(&self, naming: Naming) {
        let mut state = self.state();
        let state = &mut *state;
        state.claims.reconfigure(&state.naming, &naming);
        state.naming = naming;
        self.merge(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn merge(&self, state: &mut State) {
        let old = self.current.load();
        let mut builder = Builder::new(old.generation() + 1);
        let mut settled = true;
        let State {
            naming,
            claims,
            listings,
            announced,
        } = state;
        for gateway in &naming.order {
            let known = listings.get(gateway);
            if let Some(listing) = known.and_then(|known| known.listing.as_ref()) {
                let apps = listing.tools.iter().any(|tool| tool.app.is_some());
                for kind in Kind::ALL {
                    for item in listing.items(kind) {
                        match claims.give(naming, kind, gateway, &item.own, settled) {
                            Ok(exposed) => {
                                let own =
                                    apps && claims.answers_to_own_name(naming, kind, gateway, &item.own);
                                builder.add(kind, gateway, item, exposed, own);
                            }
                            Err(reason) => builder.leave_out(kind, gateway, &item.own, reason),
                        }
                    }
                }
                builder.finish_gateway(gateway, listing);
            }
            settled &= known.is_some_and(|known| known.looked);
        }
        let version = claims.version();
        self.claims
            .send_if_modified(|told| std::mem::replace(told, version) != version);
        let new = builder.build();
        let changed = |kind| u64::from(!new.same_list(&old, kind));
        let announced = std::mem::take(announced);
        let told = Changes {
            tools: changed(Kind::Tool) | announced.tools,
            prompts: changed(Kind::Prompt) | announced.prompts,
            resources: changed(Kind::Resource) | changed(Kind::Template) | announced.resources,
        };
        drop(old);
        self.current.store(Arc::new(new));
        self.tell(told);
    }

    /// Adds to the counts of changes; whoever waits hears of it when there is any.
    fn tell(&self, changes: Changes) {
        self.changes.send_if_modified(|counts| {
            counts.tools += changes.tools;
            counts.prompts += changes.prompts;
            counts.resources += changes.resources;
            changes != Changes::default()
        });
    }
}

#[cfg(test)]
mod tests;
