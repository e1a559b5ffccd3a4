//! What one gateway lists, as the bytes that it sent.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::{LIST_ITEM_BYTES_MAX, NAME_BYTES_MAX, URI_BYTES_MAX};
use crate::protocol::json::Raw;
use crate::protocol::param_headers::{self, ParamHeader};

/// The four kinds of things that are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `tools/list`
    Tool,
    /// `prompts/list`
    Prompt,
    /// `resources/list`
    Resource,
    /// `resources/templates/list`
    Template,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Prompt, Self::Resource, Self::Template];

    /// Returns the member of an item that names it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::Template => "uriTemplate",
        }
    }

    /// Returns the member of a list result that holds the items.
    #[must_use]
    pub const fn list_key(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Prompt => "prompts",
            Self::Resource => "resources",
            Self::Template => "resourceTemplates",
        }
    }
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The gateway's own name, URI or URI template.
    pub own: Arc<str>,
    /// The entry as it came.
    pub raw: Raw,
    /// Arguments that a modern upstream wants mirrored into headers; tools only.
    pub param_headers: Arc<[ParamHeader]>,
    /// The `ui://` resource that shows its results (MCP Apps, `_meta.ui.resourceUri`); tools only.
    pub app: Option<Raw>,
    /// Whether calling it twice does no more than calling it once (`readOnlyHint` or `idempotentHint`); tools only.
    pub repeatable: bool,
}

/// Why an entry is left out of a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// Not an object, or without its name.
    #[error("entry without a {0}")]
    Unnamed(&'static str),
    /// Beyond [`LIST_ITEM_BYTES_MAX`], [`NAME_BYTES_MAX`] or [`URI_BYTES_MAX`].
    #[error("entry {0:?} is too large")]
    TooLarge(String),
    /// A tool whose input schema is no object.
    #[error("tool {0:?} has no input schema")]
    NoInputSchema(String),
    /// A tool whose headers cannot be made.
    #[error("tool {name:?}: {source}")]
    Annotation {
        /// The tool.
        name: String,
        /// What is wrong.
        source: param_headers::InvalidAnnotation,
    },
}

impl Item {
    /// Reads one entry of a list.
    pub fn read(kind: Kind, raw: Raw) -> Result<Self, ItemError> {
        // Apart from its page: one entry that stays must not hold megabytes that were thrown away.
        let raw = raw.detached();
        let members = raw.object().map_err(|_| ItemError::Unnamed(kind.key()))?;
        let own = members
            .string(kind.key())
            .filter(|name| !name.is_empty())
            .ok_or(ItemError::Unnamed(kind.key()))?;
        let name_max = if matches!(kind, Kind::Tool | Kind::Prompt) {
            NAME_BYTES_MAX
        } else {
            URI_BYTES_MAX
        };
        if own.len() > name_max || raw.as_bytes().len() > LIST_ITEM_BYTES_MAX {
            return Err(ItemError::TooLarge(own.chars().take(64).collect()));
        }
        let (mut headers, mut repeatable, mut app) = (Vec::new(), false, None);
        if kind == Kind::Tool {
            let schema = members
                .get("inputSchema")
                .filter(|schema| schema.as_str().starts_with('{'));
            let schema = schema.ok_or_else(|| ItemError::NoInputSchema(own.clone()))?;
            headers = param_headers::annotated(&schema).map_err(|source| ItemError::Annotation {
                name: own.clone(),
                source,
            })?;
            app = members
                .object("_meta")
                .and_then(|meta| meta.object("ui")?.get("resourceUri"));
            let hint = |key| {
                members
                    .object("annotations")
                    .and_then(|hints| hints.get(key)?.bool())
            };
            repeatable = hint("readOnlyHint") == Some(true) || hint("idempotentHint") == Some(true);
        }
        Ok(Self {
            own: own.into(),
            raw,
            param_headers: headers.into(),
            app,
            repeatable,
        })
    }
}

/// Everything that one gateway lists, in its order, every page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Its tools.
    pub tools: Vec<Item>,
    /// Its prompts.
    pub prompts: Vec<Item>,
    /// Its resources.
    pub resources: Vec<Item>,
    /// Its resource templates.
    pub templates: Vec<Item>,
    /// What it tells models about itself.
    pub instructions: Option<String>,
    /// Whether it answers `completion/complete`.
    pub completions: bool,
    /// Whether it tells of changes of resources.
    pub subscribe: bool,
    /// Whether it has the resources capability, and so may know URIs that it does not list.
    pub has_resources: bool,
    /// The extensions that it speaks, with their settings.
    pub extensions: Vec<(String, Raw)>,
    /// How long it says the lists stay fresh (`ttlMs`, the smallest of its lists); `None`: it does not say.
    pub ttl: Option<Duration>,
}

impl Listing {
    /// Returns the entries of a kind.
    #[must_use]
    pub fn items(&self, kind: Kind) -> &[Item] {
        match kind {
            Kind::Tool => &self.tools,
            Kind::Prompt => &self.prompts,
            Kind::Resource => &self.resources,
            Kind::Template => &self.templates,
        }
    }

    /// Returns the entries of a kind, to fill them.
    pub fn items_mut(&mut self, kind: Kind) -> &mut Vec<Item> {
        match kind {
            Kind::Tool => &mut self.tools,
            Kind::Prompt => &mut self.prompts,
            Kind::Resource => &mut self.resources,
            Kind::Template => &mut self.templates,
        }
    }
}
