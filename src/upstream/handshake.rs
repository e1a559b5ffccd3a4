//! What both sides say first: `initialize` (2025-11-25, Lifecycle) and `server/discover` (2026-07-28, Discovery).
//! Reads what an upstream is and offers; decides nothing about eras.

use crate::protocol::json::{Object, Raw};
use crate::protocol::version::{Era, ProtocolVersion};

/// What an upstream offers, from its `ServerCapabilities`; the same in both eras.
#[expect(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// `tools/list` and `tools/call`.
    pub tools: bool,
    /// `prompts/list` and `prompts/get`.
    pub prompts: bool,
    /// `resources/list`, `resources/templates/list` and `resources/read`.
    pub resources: bool,
    /// It tells of changes of single resources.
    pub subscribe: bool,
    /// `completion/complete`.
    pub completions: bool,
    /// `logging/setLevel`, or `logLevel` in modern requests.
    pub logging: bool,
    /// It announces changes of at least one of its lists.
    pub list_changed: bool,
}

impl Offers {
    /// Reads a `ServerCapabilities` object.
    #[must_use]
    pub fn read(capabilities: &Object) -> Self {
        let flag = |capability: &str, key: &str| {
            capabilities
                .object(capability)
                .and_then(|members| members.get(key)?.bool())
                == Some(true)
        };
        Self {
            tools: capabilities.has("tools"),
            prompts: capabilities.has("prompts"),
            resources: capabilities.has("resources"),
            subscribe: flag("resources", "subscribe"),
            completions: capabilities.has("completions"),
            logging: capabilities.has("logging"),
            list_changed: ["tools", "prompts", "resources"]
                .iter()
                .any(|capability| flag(capability, "listChanged")),
        }
    }
}

/// What an upstream said of itself.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The revision to speak with it from now on; its era says which handshake it was.
    pub version: ProtocolVersion,
    /// What it offers.
    pub offers: Offers,
    /// What it tells models about itself.
    pub instructions: Option<String>,
    /// Its `Implementation` object, as it came.
    pub server_info: Option<Raw>,
    /// The extensions that it speaks, with their settings (`capabilities.extensions`).
    pub extensions: Vec<(String, Raw)>,
}

/// Why an upstream's answer to the handshake cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It speaks no revision that we speak.
    #[error("it speaks {0}, which this version of toolgate does not")]
    Version(String),
    /// Modern answer that names legacy revisions only: `initialize` will do.
    #[error("it speaks no revision with `server/discover`")]
    OnlyLegacy,
    /// A member is missing or of another type.
    #[error("its answer has no valid `{0}`")]
    Missing(&'static str),
}

/// Makes the params of `initialize`. `capabilities` is what the client declared, never more.
#[must_use]
pub fn initialize_params(capabilities: &Raw, info: &Raw) -> Vec<(&'static str, Raw)> {
    vec![
        (
            "protocolVersion",
            Raw::from(ProtocolVersion::LEGACY_LATEST.as_str()),
        ),
        ("capabilities", capabilities.clone()),
        ("clientInfo", info.clone()),
    ]
}

impl Handshake {
    /// Reads the result of `initialize`.
    pub fn of_initialize(result: &Object) -> Result<Self, HandshakeError> {
        let named = result
            .string("protocolVersion")
            .ok_or(HandshakeError::Missing("protocolVersion"))?;
        let version = ProtocolVersion::parse(&named)
            .filter(|version| version.era() == Era::Legacy)
            .ok_or_else(|| HandshakeError::Version(shortened(&named)))?;
        Self::read(result, version, result.get("serverInfo"))
    }

    /// Reads the result of `server/discover` and chooses the newest modern revision that both speak.
    pub fn of_discover(result: &Object) -> Result<Self, HandshakeError> {
        let named: Vec<String> = result
            .get("supportedVersions")
            .and_then(|versions| versions.array())
            .ok_or(HandshakeError::Missing("supportedVersions"))?
            .filter_map(|version| version.string().map(std::borrow::Cow::into_owned))
            .collect();
        let version = mutual_modern(&named)?;
        let info = result
            .object("_meta")
            .and_then(|meta| meta.get(crate::protocol::meta::SERVER_INFO));
        Self::read(result, version, info.or_else(|| result.get("serverInfo")))
    }

    fn read(
        result: &Object,
        version: ProtocolVersion,
        server_info: Option<Raw>,
    ) -> Result<Self, HandshakeError> {
        let capabilities = result
            .object("capabilities")
            .ok_or(HandshakeError::Missing("capabilities"))?;
        let extensions = capabilities.object("extensions");
        Ok(Self {
            version,
            offers: Offers::read(&capabilities),
            extensions: extensions
                .iter()
                .flat_map(super::super::protocol::json::Object::entries)
                .map(|(id, settings)| (id.into_owned(), settings))
                .collect(),
            instructions: result.string("instructions").filter(|text| !text.is_empty()),
            server_info,
        })
    }
}

/// Chooses the newest modern revision of a list (`supportedVersions`, or `supported` of a -32022).
pub fn mutual_modern(named: &[String]) -> Result<ProtocolVersion, HandshakeError> {
    let known = || named.iter().filter_map(|name| ProtocolVersion::parse(name));
    match known().filter(|version| version.era() == Era::Modern).max() {
        Some(version) => Ok(version),
        None if known().next().is_some() => Err(HandshakeError::OnlyLegacy),
        None => Err(HandshakeError::Version(shortened(&named.join(", ")))),
    }
}

/// Cuts a text of an upstream to what fits into a log line.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn object(text: &str) -> Object {
        Raw::parse(&Bytes::from(text.to_owned()))
            .unwrap()
            .object()
            .unwrap()
    }

    #[test]
    fn initialize_gives_version_and_offers() {
        let told = Handshake::of_initialize(&object(
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"completions":{}},"serverInfo":{"name":"x"},"instructions":"be kind"}"#,
        ))
        .unwrap();
        assert_eq!(told.version, ProtocolVersion::V2025_06_18);
        assert_eq!(
            told.offers,
            Offers {
                tools: true,
                resources: true,
                subscribe: true,
                completions: true,
                list_changed: true,
                ..Offers::default()
            }
        );
        assert_eq!(told.instructions.as_deref(), Some("be kind"));
    }

    #[test]
    fn a_version_that_nobody_speaks_is_an_error() {
        for version in ["2026-07-28", "2030-01-01", ""] {
            let result = object(&format!(
                r#"{{"protocolVersion":"{version}","capabilities":{{}}}}"#
            ));
            assert_eq!(
                Handshake::of_initialize(&result).unwrap_err(),
                HandshakeError::Version(version.to_owned())
            );
        }
        let result = object(r#"{"supportedVersions":["2030-01-01"],"capabilities":{}}"#);
        assert_eq!(
            Handshake::of_discover(&result).unwrap_err(),
            HandshakeError::Version("2030-01-01".to_owned())
        );
    }

    #[test]
    fn discover_chooses_the_newest_modern_revision() {
        let result = object(
            r#"{"supportedVersions":["2025-11-25","2026-07-28","2031-01-01"],"capabilities":{"tools":{}}}"#,
        );
        let told = Handshake::of_discover(&result).unwrap();
        assert_eq!(told.version, ProtocolVersion::V2026_07_28);
        let result = object(r#"{"supportedVersions":["2025-11-25"],"capabilities":{}}"#);
        assert_eq!(
            Handshake::of_discover(&result).unwrap_err(),
            HandshakeError::OnlyLegacy
        );
        let result = object(r#"{"capabilities":{}}"#);
        assert_eq!(
            Handshake::of_discover(&result).unwrap_err(),
            HandshakeError::Missing("supportedVersions")
        );
    }
}
