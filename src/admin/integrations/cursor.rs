//! Where a page of toolkits ended: at which gateway, and where at Composio. Sealed, and good for its caller only.

use crate::clock;
use crate::identity::Principal;
use crate::ids::GatewayId;
use crate::limits::SEALED_AGE_MAX;
use crate::seal::{Purpose, Sealer};

/// No other list begins its cursors with this.
const TAG: u8 = b'I';

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) gateway: GatewayId,
    /// Composio's own cursor; `None`: at the gateway's beginning.
    pub(super) cursor: Option<String>,
}

impl At {
    pub(super) fn of(gateway: &GatewayId, cursor: Option<String>) -> Self {
        Self {
            gateway: gateway.clone(),
            cursor,
        }
    }

    /// Writes the cursor; `None` when Composio's own is too long for one.
    pub(super) fn write(&self, sealer: &Sealer, principal: &Principal) -> Option<String> {
        let cursor = self.cursor.as_deref().unwrap_or_default();
        let payload = [&[TAG], self.gateway.as_str().as_bytes(), &[0], cursor.as_bytes()].concat();
        let expires = clock::unix_s() + SEALED_AGE_MAX.as_secs();
        sealer
            .seal(Purpose::Cursor, &principal.binding(), &payload, expires)
            .ok()
    }

    /// Reads a cursor back; `None` for one that is not ours, not this caller's, too old, or of another list.
    pub(super) fn read(sealer: &Sealer, principal: &Principal, text: &str) -> Option<Self> {
        let payload = sealer
            .open(Purpose::Cursor, &principal.binding(), text, clock::unix_s())
            .ok()?;
        let rest = payload.strip_prefix(&[TAG])?;
        let (gateway, cursor) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
        Some(Self {
            gateway: GatewayId::new(gateway),
            cursor: (!cursor.is_empty()).then(|| cursor.to_owned()),
        })
    }
}
