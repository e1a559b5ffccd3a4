//! Protocol revisions and the two eras they fall into.

use std::fmt;

/// *Legacy*: with a handshake, up to 2025-11-25. *Modern*: stateless, 2026-07-28 and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// 2024-11-05 to 2025-11-25.
    Legacy,
    /// 2026-07-28 and later.
    Modern,
}

/// A revision of the specification that we speak, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// 2024-11-05: HTTP+SSE; met in upstreams only.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP, batches.
    V2025_03_26,
    /// 2025-06-18: elicitation, structured content, version header.
    V2025_06_18,
    /// 2025-11-25: the last one with a handshake.
    V2025_11_25,
    /// 2026-07-28: stateless.
    V2026_07_28,
}

impl ProtocolVersion {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] = [
        Self::V2024_11_05,
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];
    /// What a legacy peer is offered first.
    pub const LEGACY_LATEST: Self = Self::V2025_11_25;
    /// What a modern peer is offered first.
    pub const MODERN_LATEST: Self = Self::V2026_07_28;

    /// Reads `2025-11-25` and its like; `None` for a revision that we do not speak.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// Returns the revision's date.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Returns the era.
    #[must_use]
    pub const fn era(self) -> Era {
        match self {
            Self::V2026_07_28 => Era::Modern,
            _ => Era::Legacy,
        }
    }

    /// Chooses the answer to a legacy `initialize`: the same revision, or the nearest one that we speak
    /// (2025-11-25, Lifecycle, "Version Negotiation"). Dates compare as text.
    #[must_use]
    pub fn negotiate_legacy(asked: &str) -> Self {
        Self::ALL
            .into_iter()
            .rev()
            .filter(|version| version.era() == Era::Legacy)
            .find(|version| version.as_str() <= asked)
            .unwrap_or(Self::LEGACY_LATEST)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_version_gets_the_nearest_one() {
        for (asked, answered) in [
            ("2025-06-18", "2025-06-18"),
            ("2025-07-01", "2025-06-18"),
            ("2026-07-28", "2025-11-25"),
            ("2099-01-01", "2025-11-25"),
            ("1999-01-01", "2025-11-25"),
            ("rubbish", "2025-11-25"),
            ("2024-11-05", "2024-11-05"),
        ] {
            assert_eq!(
                ProtocolVersion::negotiate_legacy(asked).as_str(),
                answered,
                "asked for {asked}"
            );
        }
    }
}
