//! Cursors of REST lists: sealed, bound to the caller. They name the last entry that was given, so that a list which
//! changes between two pages neither repeats nor skips what stayed.

use super::query::bad;
use crate::clock;
use crate::identity::Principal;
use crate::ids::ExecutionId;
use crate::limits::SEALED_AGE_MAX;
use crate::seal::{Purpose, Sealer};
use crate::web::Problem;

/// No list of `/mcp` begins its cursors with this.
const TAG: u8 = b'T';
/// Nor does the list of tools with this.
const EXECUTIONS_TAG: u8 = b'X';

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct After {
    /// The place of its last entry in the whole list, for when that entry is gone.
    pub(super) index: usize,
    /// The exposed name of its last entry.
    pub(super) name: String,
}

impl After {
    /// Writes the cursor; `None` when the name is too long for one.
    pub(super) fn write(&self, sealer: &Sealer, principal: &Principal) -> Option<String> {
        let index = (self.index as u64).to_be_bytes();
        let payload = [&[TAG][..], &index, self.name.as_bytes()].concat();
        sealed(sealer, principal, &payload)
    }

    /// Reads a cursor back; `None` for one that is not ours, not this caller's, too old, or of another list.
    pub(super) fn read(sealer: &Sealer, principal: &Principal, text: &str) -> Option<Self> {
        let payload = opened(sealer, principal, text)?;
        let (tag, rest) = payload.split_first()?;
        let (index, name) = rest.split_first_chunk()?;
        (*tag == TAG).then_some(Self {
            index: usize::try_from(u64::from_be_bytes(*index)).ok()?,
            name: String::from_utf8(name.to_vec()).ok()?,
        })
    }
}

/// The last call of a page of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before(pub(super) ExecutionId);

impl Before {
    pub(super) fn write(self, sealer: &Sealer, principal: &Principal) -> Option<String> {
        let payload = [&[EXECUTIONS_TAG][..], &self.0.bits().to_be_bytes()].concat();
        sealed(sealer, principal, &payload)
    }

    pub(super) fn read(sealer: &Sealer, principal: &Principal, text: &str) -> Option<Self> {
        let payload = opened(sealer, principal, text)?;
        let (tag, bits) = payload.split_first()?;
        let bits = i64::from_be_bytes(bits.try_into().ok()?);
        (*tag == EXECUTIONS_TAG).then_some(Self(ExecutionId::from_bits(bits)))
    }
}

/// A cursor that is refused.
pub(super) fn not_ours() -> Problem {
    bad(
        "the cursor is not one of this list and this caller, or it is older than an hour; begin again without one",
    )
}

fn sealed(sealer: &Sealer, principal: &Principal, payload: &[u8]) -> Option<String> {
    let expires = clock::unix_s() + SEALED_AGE_MAX.as_secs();
    let text = sealer.seal(Purpose::Cursor, &principal.binding(), payload, expires);
    text.ok()
}

fn opened(sealer: &Sealer, principal: &Principal, text: &str) -> Option<Vec<u8>> {
    let payload = sealer.open(Purpose::Cursor, &principal.binding(), text, clock::unix_s());
    payload.ok()
}
