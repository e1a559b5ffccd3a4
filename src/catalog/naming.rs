//! Which name a gateway's tool goes by. A name once given stays with its gateway and its tool; a newcomer with the
//! same name gets the prefixed one and can never take a name over. Valid for every client under `names = "portable"`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::listing::{Kind, Listing};
use crate::config::{Config, Names, Prefix};
use crate::ids::GatewayId;
use crate::limits::{LIST_ITEMS_PER_GATEWAY_MAX, PORTABLE_NAME_BYTES_MAX};
use crate::store::NameClaim;

/// Stands between a gateway's name and its tool's.
const SEPARATOR: &str = "__";
/// A gateway may hold this many times its largest list in claims before those of vanished names are dropped.
const CLAIMS_PER_GATEWAY_MAX: usize = 4 * LIST_ITEMS_PER_GATEWAY_MAX;
const HASH_HEX_DIGITS: usize = 8;

/// The order of gateways and the rules for names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Naming {
    /// Gateways in the order of the file: earlier ones get bare names first.
    pub order: Vec<GatewayId>,
    prefix: Prefix,
    names: Names,
    prefix_of: HashMap<GatewayId, Prefix>,
    rename: HashMap<GatewayId, BTreeMap<String, String>>,
    /// Names that `rename` gives, with the gateway and its own name that they are for.
    reserved: HashMap<String, (GatewayId, String)>,
}

/// Why something that a gateway lists has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// Another gateway has the name, and the rules leave no other.
    Taken,
    /// Gateways that come first in the file have not answered yet.
    Waiting,
}

impl Naming {
    /// Reads the rules of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let gateways = &config.gateways;
        let naming = Self {
            reserved: HashMap::new(),
            order: gateways.iter().map(|gateway| gateway.name.clone()).collect(),
            prefix: config.tools.prefix,
            names: config.tools.names,
            prefix_of: gateways
                .iter()
                .filter_map(|g| Some((g.name.clone(), g.prefix?)))
                .collect(),
            rename: gateways
                .iter()
                .filter(|gateway| !gateway.rename.is_empty())
                .map(|gateway| (gateway.name.clone(), gateway.rename.clone()))
                .collect(),
        };
        naming.with_reserved()
    }

    fn with_reserved(mut self) -> Self {
        for (gateway, names) in &self.rename {
            for (own, exposed) in names {
                let whose = (gateway.clone(), own.clone());
                self.reserved.insert(exposed.clone(), whose);
            }
        }
        self
    }

    #[cfg(test)]
    pub(super) fn of_parts(
        order: Vec<GatewayId>,
        prefix: Prefix,
        names: Names,
        rename: HashMap<GatewayId, BTreeMap<String, String>>,
    ) -> Self {
        let naming = Self {
            order,
            prefix,
            names,
            prefix_of: HashMap::new(),
            rename,
            reserved: HashMap::new(),
        };
        naming.with_reserved()
    }

    /// Says under which rules an owner's name is given now, to be compared after a restart.
    fn rules_for(&self, owner: &Owner) -> String {
        let given = self
            .rename
            .get(&owner.gateway)
            .and_then(|names| names.get(&*owner.own));
        let prefix = self.prefix_of.get(&owner.gateway);
        let (prefix, given) = if is_uri(owner.kind) {
            (None, None)
        } else {
            (prefix, given)
        };
        format!("{:?} {:?} {prefix:?} {given:?}", self.prefix, self.names)
    }

    /// Tells whether what stands in the configuration for one owner's name is the same.
    fn same_for(&self, other: &Self, owner: &Owner) -> bool {
        let rules = |naming: &Self| {
            let renamed = naming.rename.get(&owner.gateway);
            (
                naming.prefix_of.get(&owner.gateway).copied(),
                renamed.and_then(|names| names.get(&*owner.own).cloned()),
            )
        };
        is_uri(owner.kind) || rules(self) == rules(other)
    }

    /// Tells whether a name is one that another gateway may get: by its prefix, or because it is renamed to that.
    fn is_anothers(&self, kind: Kind, gateway: &GatewayId, own: &str, name: &str) -> bool {
        let prefixed = self.order.iter().any(|other| {
            let prefix = if is_uri(kind) {
                uri_prefix(other)
            } else {
                format!("{other}{SEPARATOR}")
            };
            other != gateway && name.starts_with(&prefix)
        });
        prefixed || (!is_uri(kind) && self.is_reserved(gateway, own, name))
    }

    fn is_reserved(&self, gateway: &GatewayId, own: &str, name: &str) -> bool {
        self.reserved
            .get(name)
            .is_some_and(|(whose, of)| whose != gateway || of != own)
    }

    /// Returns the names that something may get, best first.
    fn candidates(&self, kind: Kind, gateway: &GatewayId, own: &str) -> Vec<String> {
        if is_uri(kind) {
            let mapped = format!("{}{own}", uri_prefix(gateway));
            if self.is_anothers(kind, gateway, own, own) {
                return vec![mapped];
            }
            return vec![own.to_owned(), mapped];
        }
        let mut names = self.names_for(gateway, own);
        names.retain(|name| !self.is_reserved(gateway, own, name));
        names
    }

    fn names_for(&self, gateway: &GatewayId, own: &str) -> Vec<String> {
        if let Some(given) = self.rename.get(gateway).and_then(|names| names.get(own)) {
            return vec![given.clone()];
        }
        let bare = self.valid(own);
        let prefixed = self.valid(&format!("{gateway}{SEPARATOR}{own}"));
        let distinct = with_hash(&prefixed, own);
        // As it is exposed: characters that are mapped can make a prefix, too.
        let foreign = self.is_anothers(Kind::Tool, gateway, own, &bare);
        match self.prefix_of.get(gateway).unwrap_or(&self.prefix) {
            Prefix::Never => vec![bare],
            Prefix::OnConflict if !foreign => vec![bare, prefixed, distinct],
            Prefix::OnConflict | Prefix::Always => vec![prefixed, distinct],
        }
    }

    fn valid(&self, name: &str) -> String {
        if self.names == Names::AsIs {
            return name.to_owned();
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let mapped: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
        if mapped.len() <= PORTABLE_NAME_BYTES_MAX {
            mapped
        } else {
            with_hash(&mapped, name)
        }
    }
}

fn is_uri(kind: Kind) -> bool {
    matches!(kind, Kind::Resource | Kind::Template)
}

/// Begins the URIs of a gateway that it does not share with another.
fn uri_prefix(gateway: &GatewayId) -> String {
    format!("gw-{}+", gateway.as_str().replace('_', "-"))
}

/// Cuts a name where it is too long and ends it with a hash that stays the same over restarts.
fn with_hash(name: &str, of: &str) -> String {
    let digest = Sha256::digest(of.as_bytes());
    let head = digest.first_chunk::<4>().copied().unwrap_or_default();
    let hash = format!("{:08x}", u32::from_be_bytes(head));
    let room = PORTABLE_NAME_BYTES_MAX - HASH_HEX_DIGITS - 1;
    let kept: String = name.chars().take(room).collect();
    format!("{kept}_{hash}")
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owner {
    kind: Kind,
    gateway: GatewayId,
    own: Arc<str>,
}

/// Who holds which name.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_owner: HashMap<Owner, Arc<str>>,
    by_name: HashMap<(Kind, Arc<str>), Owner>,
    /// Who was first to list an own name.
    own_names: HashMap<(Kind, Arc<str>), Owner>,
    /// Counts changes.
    version: u64,
}

impl Claims {
    /// Takes up the claims of an earlier process, but for those of gateways that are gone and those that were given
    /// under other rules.
    pub(super) fn restored(naming: &Naming, kept: Vec<NameClaim>) -> Self {
        let mut claims = Self::default();
        for claim in kept {
            let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.list_key() == claim.kind) else {
                continue;
            };
            let owner = Owner {
                kind,
                gateway: GatewayId::new(&claim.gateway),
                own: claim.own.into(),
            };
            if !naming.order.contains(&owner.gateway) || naming.rules_for(&owner) != claim.rules {
                continue;
            }
            if claim.own_first {
                claims.own_names.insert((kind, owner.own.clone()), owner.clone());
            }
            let name: Arc<str> = claim.exposed.into();
            claims.by_name.insert((kind, name.clone()), owner.clone());
            claims.by_owner.insert(owner, name);
        }
        claims
    }

    /// Returns every claim as it can be kept.
    pub(super) fn kept(&self, naming: &Naming) -> Vec<NameClaim> {
        let claims = self.by_owner.iter().map(|(owner, name)| NameClaim {
            kind: owner.kind.list_key().to_owned(),
            exposed: name.to_string(),
            gateway: owner.gateway.to_string(),
            own: owner.own.to_string(),
            own_first: self.own_names.get(&(owner.kind, owner.own.clone())) == Some(owner),
            rules: naming.rules_for(owner),
        });
        claims.collect()
    }

    /// Returns a number that changes with the claims.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the name that something has, or gives it one; new names only once `settled`.
    pub(super) fn give(
        &mut self,
        naming: &Naming,
        kind: Kind,
        gateway: &GatewayId,
        own: &Arc<str>,
        settled: bool,
    ) -> Result<Arc<str>, Unnamed> {
        let owner = Owner {
            kind,
            gateway: gateway.clone(),
            own: own.clone(),
        };
        if let Some(name) = self.by_owner.get(&owner) {
            return Ok(name.clone());
        }
        if !settled {
            return Err(Unnamed::Waiting);
        }
        for name in naming.candidates(kind, gateway, own) {
            let name: Arc<str> = name.into();
            if let std::collections::hash_map::Entry::Vacant(free) = self.by_name.entry((kind, name.clone()))
            {
                free.insert(owner.clone());
                // A gateway's own name, too, is good for whoever claimed it first: pages of MCP Apps call by it.
                self.own_names
                    .entry((kind, own.clone()))
                    .or_insert_with(|| owner.clone());
                self.by_owner.insert(owner, name.clone());
                self.version += 1;
                return Ok(name);
            }
        }
        Err(Unnamed::Taken)
    }

    /// Tells whether a gateway's own name leads to it when no exposed name is spelt like that.
    pub(super) fn answers_to_own_name(
        &self,
        naming: &Naming,
        kind: Kind,
        gateway: &GatewayId,
        own: &Arc<str>,
    ) -> bool {
        self.own_names
            .get(&(kind, own.clone()))
            .is_some_and(|owner| owner.gateway == *gateway)
            && !naming.is_anothers(kind, gateway, own, own)
    }

    /// Gives up the names for which other rules stand in the configuration now; all of them when those for everybody
    /// have changed. Nobody else's name moves because of one gateway's rules.
    pub(super) fn reconfigure(&mut self, old: &Naming, new: &Naming) {
        if (old.prefix, old.names) == (new.prefix, new.names) {
            self.keep(|owner| old.same_for(new, owner));
        } else {
            *self = Self {
                version: self.version + 1,
                ..Self::default()
            };
        }
    }

    /// Gives up everything that a gateway holds.
    pub(super) fn release(&mut self, gateway: &GatewayId) {
        self.keep(|owner| owner.gateway != *gateway);
    }

    /// Drops claims on names that the gateway no longer lists, once they are too many.
    pub(super) fn prune(&mut self, gateway: &GatewayId, listing: &Listing) {
        let held = self
            .by_owner
            .keys()
            .filter(|owner| owner.gateway == *gateway)
            .count();
        if held > CLAIMS_PER_GATEWAY_MAX {
            self.keep(|owner| {
                owner.gateway != *gateway
                    || listing.items(owner.kind).iter().any(|item| item.own == owner.own)
            });
        }
    }

    fn keep(&mut self, keep: impl Fn(&Owner) -> bool) {
        self.version += 1;
        self.by_owner.retain(|owner, _| keep(owner));
        self.by_name.retain(|_, owner| keep(owner));
        self.own_names.retain(|_, owner| keep(owner));
    }
}
