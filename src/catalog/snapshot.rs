//! One immutable state of the catalog: the merged lists with their bytes, and the routing table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::listing::{Item, Kind, Listing};
use super::naming::Unnamed;
use super::route::Route;
use super::template::Template;
use crate::ids::GatewayId;
use crate::protocol::json::Raw;
use crate::protocol::splice::Splice;

/// Instructions of all gateways together; clients put them before a model with every request.
const INSTRUCTIONS_CHARS_MAX: usize = 4_096;
/// Instructions of one gateway.
const GATEWAY_INSTRUCTIONS_CHARS_MAX: usize = 1_024;

/// One entry of a merged list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it leads.
    pub route: Arc<Route>,
    /// Its bytes as clients see them: the gateway's, with the exposed name.
    pub raw: Raw,
}

/// Something that a gateway lists and clients do not see.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub gateway: GatewayId,
    /// The gateway's own name.
    pub own: Arc<str>,
    /// Why it has no exposed name.
    pub reason: Unnamed,
}

/// What the snapshot knows of one gateway.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which.
    pub gateway: GatewayId,
    /// Answers `completion/complete`.
    pub completions: bool,
    /// May know URIs that it does not list.
    pub has_resources: bool,
    /// Lists at least one tool.
    pub has_tools: bool,
}

#[derive(Clone, Debug, Default)]
struct List {
    entries: Vec<Entry>,
    by_name: HashMap<Arc<str>, usize, RandomState>,
    /// For the pages of MCP Apps, which call tools by the names that their server gave them.
    by_own_name: HashMap<Arc<str>, usize, RandomState>,
}

/// What is offered at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    generation: u64,
    tools: List,
    prompts: List,
    resources: List,
    templates: List,
    matchers: Vec<(Template, usize)>,
    /// Own URI to exposed one, where they differ.
    mapped_uris: HashMap<GatewayId, HashMap<Arc<str>, Arc<str>>>,
    parts: Vec<Part>,
    left_out: Vec<LeftOut>,
    instructions: Option<Arc<str>>,
    extensions: BTreeMap<String, Raw>,
    ttl: Option<Duration>,
}

impl Snapshot {
    /// Returns a number that grows with every snapshot.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns a merged list: gateways in the order of the file, entries in the order of their gateway.
    #[must_use]
    pub fn entries(&self, kind: Kind) -> &[Entry] {
        &self.list(kind).entries
    }

    /// Finds where an exposed name, URI or template leads. One hash look-up.
    #[must_use]
    pub fn resolve(&self, kind: Kind, exposed: &str) -> Option<&Arc<Route>> {
        let list = self.list(kind);
        list.entries
            .get(
                *list
                    .by_name
                    .get(exposed)
                    .or_else(|| list.by_own_name.get(exposed))?,
            )
            .map(|entry| &entry.route)
    }

    /// Finds who may know a URI that is to be read: its lister; else gateways with a template that fits; else, for
    /// a URI that nobody lists, every gateway with resources, those that list others of its scheme first.
    #[must_use]
    pub fn resolve_uri(&self, uri: &str) -> Vec<Arc<Route>> {
        if let Some(route) = self.resolve(Kind::Resource, uri) {
            return vec![route.clone()];
        }
        let mut found: Vec<Arc<Route>> = Vec::new();
        for (template, index) in &self.matchers {
            let Some(entry) = self
                .templates
                .entries
                .get(*index)
                .filter(|_| template.matches(uri))
            else {
                continue;
            };
            let prefix = entry.route.exposed.len() - entry.route.own.len();
            let own = uri.get(prefix..).unwrap_or(uri);
            found.push(unlisted(&entry.route.gateway, uri, own));
        }
        if found.is_empty() {
            let wanted = scheme(uri);
            let listing_it: HashSet<&GatewayId> = self
                .resources
                .entries
                .iter()
                .chain(&self.templates.entries)
                .filter(|entry| scheme(&entry.route.own) == wanted)
                .map(|entry| &entry.route.gateway)
                .collect();
            let (near, far): (Vec<_>, Vec<_>) = self
                .parts
                .iter()
                .filter(|part| part.has_resources)
                .partition(|part| listing_it.contains(&part.gateway));
            found.extend(
                near.into_iter()
                    .chain(far)
                    .map(|part| unlisted(&part.gateway, uri, uri)),
            );
        }
        found.dedup_by(|a, b| a.gateway == b.gateway);
        found
    }

    /// Tells whether clients know some resource of a gateway under another URI than the gateway's own.
    #[must_use]
    pub fn maps_uris(&self, gateway: &GatewayId) -> bool {
        self.mapped_uris.contains_key(gateway)
    }

    /// Returns the URI that clients know a gateway's own one by, when that differs.
    #[must_use]
    pub fn exposed_uri(&self, gateway: &GatewayId, own: &str) -> Option<&str> {
        self.mapped_uris.get(gateway)?.get(own).map(|exposed| &**exposed)
    }

    /// Returns the extensions that some gateway speaks, with the settings of the first that does.
    #[must_use]
    pub fn extensions(&self) -> &BTreeMap<String, Raw> {
        &self.extensions
    }

    /// Returns how long the lists stay fresh by what the gateways say; `None` when none of them says.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Returns what is known of each gateway that has given its lists, in the order of the file.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns what a gateway can do.
    #[must_use]
    pub fn part(&self, gateway: &GatewayId) -> Option<&Part> {
        self.parts.iter().find(|part| part.gateway == *gateway)
    }

    /// Returns what is listed by a gateway and has no exposed name.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Returns the gateways' instructions, shortened and under their names.
    #[must_use]
    pub fn instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    pub(super) fn same_list(&self, other: &Self, kind: Kind) -> bool {
        let (ours, theirs) = (self.entries(kind), other.entries(kind));
        ours.len() == theirs.len()
            && ours
                .iter()
                .zip(theirs)
                .all(|(a, b)| a.raw == b.raw && a.route == b.route)
    }

    fn list(&self, kind: Kind) -> &List {
        match kind {
            Kind::Tool => &self.tools,
            Kind::Prompt => &self.prompts,
            Kind::Resource => &self.resources,
            Kind::Template => &self.templates,
        }
    }
}

fn scheme(uri: &str) -> Option<&str> {
    uri.split_once(':').map(|(scheme, _)| scheme)
}

fn unlisted(gateway: &GatewayId, exposed: &str, own: &str) -> Arc<Route> {
    Arc::new(Route {
        kind: Kind::Resource,
        gateway: gateway.clone(),
        exposed: exposed.into(),
        own: own.into(),
        param_headers: Arc::new([]),
        repeatable: true,
        index: None,
    })
}

/// Puts a snapshot together.
pub(super) struct Builder {
    snapshot: Snapshot,
    instructions: String,
}

impl Builder {
    pub(super) fn new(generation: u64) -> Self {
        Self {
            snapshot: Snapshot {
                generation,
                ..Snapshot::default()
            },
            instructions: String::new(),
        }
    }

    /// Adds an entry; `by_own_name`: a gateway's own name leads to it where no exposed name is spelt like that.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        gateway: &GatewayId,
        item: &Item,
        exposed: Arc<str>,
        by_own_name: bool,
    ) {
        if kind == Kind::Template {
            self.snapshot
                .matchers
                .push((Template::parse(&exposed), self.snapshot.templates.entries.len()));
        }
        if kind == Kind::Resource && *item.own != *exposed {
            let mapped = self.snapshot.mapped_uris.entry(gateway.clone()).or_default();
            mapped.insert(item.own.clone(), exposed.clone());
        }
        let list = match kind {
            Kind::Tool => &mut self.snapshot.tools,
            Kind::Prompt => &mut self.snapshot.prompts,
            Kind::Resource => &mut self.snapshot.resources,
            Kind::Template => &mut self.snapshot.templates,
        };
        let index = list.entries.len();
        let raw = renamed(kind, item, &exposed);
        let route = Route {
            kind,
            gateway: gateway.clone(),
            exposed: exposed.clone(),
            own: item.own.clone(),
            param_headers: item.param_headers.clone(),
            // Reading and getting change nothing; of tools we know only what they say.
            repeatable: item.repeatable || kind != Kind::Tool,
            index: Some(index),
        };
        list.entries.push(Entry {
            route: Arc::new(route),
            raw,
        });
        if by_own_name && *item.own != *exposed {
            list.by_own_name.insert(item.own.clone(), index);
        }
        list.by_name.insert(exposed, index);
    }

    pub(super) fn leave_out(&mut self, kind: Kind, gateway: &GatewayId, own: &Arc<str>, reason: Unnamed) {
        self.snapshot.left_out.push(LeftOut {
            kind,
            gateway: gateway.clone(),
            own: own.clone(),
            reason,
        });
    }

    pub(super) fn finish_gateway(&mut self, gateway: &GatewayId, listing: &Listing) {
        self.expose_apps(gateway);
        self.snapshot.ttl = match (self.snapshot.ttl, listing.ttl) {
            (Some(ours), Some(its)) => Some(ours.min(its)),
            (ours, its) => ours.or(its),
        };
        self.snapshot.parts.push(Part {
            gateway: gateway.clone(),
            completions: listing.completions,
            has_resources: listing.has_resources,
            has_tools: !listing.tools.is_empty(),
        });
        for (id, settings) in &listing.extensions {
            self.snapshot
                .extensions
                .entry(id.clone())
                .or_insert_with(|| settings.clone());
        }
        let Some(text) = listing
            .instructions
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty())
        else {
            return;
        };
        let text: String = text.chars().take(GATEWAY_INSTRUCTIONS_CHARS_MAX).collect();
        let section = format!("# {gateway}\n{text}\n\n");
        if self.instructions.chars().count() + section.chars().count() <= INSTRUCTIONS_CHARS_MAX {
            self.instructions.push_str(&section);
        }
    }

    /// Lets tools point to their `ui://` resources by the URIs that clients know.
    fn expose_apps(&mut self, gateway: &GatewayId) {
        let Some(mapped) = self.snapshot.mapped_uris.get(gateway) else {
            return;
        };
        for entry in self
            .snapshot
            .tools
            .entries
            .iter_mut()
            .filter(|entry| entry.route.gateway == *gateway)
        {
            let ui = entry
                .raw
                .object()
                .ok()
                .and_then(|tool| tool.object("_meta")?.object("ui")?.get("resourceUri"));
            let Some(uri) = ui else { continue };
            if let Some(exposed) = uri.string().and_then(|own| mapped.get(&*own)) {
                let mut splice = Splice::new(entry.raw.as_bytes());
                splice.replace(&uri, &Raw::from(&**exposed));
                entry.raw = Raw::parse(&splice.done()).unwrap_or_else(|_| entry.raw.clone());
            }
        }
    }

    pub(super) fn build(mut self) -> Snapshot {
        let text = self.instructions.trim_end();
        self.snapshot.instructions = (!text.is_empty()).then(|| text.into());
        self.snapshot
    }
}

/// Returns an entry's bytes under its exposed name.
fn renamed(kind: Kind, item: &Item, exposed: &str) -> Raw {
    if *item.own == *exposed {
        return item.raw.clone();
    }
    let Some(name) = item.raw.object().ok().and_then(|members| members.get(kind.key())) else {
        return item.raw.clone();
    };
    let mut splice = Splice::new(item.raw.as_bytes());
    splice.replace(&name, &Raw::from(exposed));
    Raw::parse(&splice.done()).unwrap_or_else(|_| item.raw.clone())
}
