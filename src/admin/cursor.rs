//! Cursors of REST lists: sealed, bound to the caller. They name the last entry that was given, so that a list which
//! changes between two pages neither repeats nor skips what stayed.

use crate::clock;
use crate::identity::Principal;
use crate::limits::SEALED_AGE_MAX;
use crate::seal::{Purpose, Sealer};

/// No list of `/mcp` begins its cursors with this.
const TAG: u8 = b'T';

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
        let (tag, rest) = payload.split_first()?;
        let (index, name) = rest.split_first_chunk()?;
        (*tag == TAG).then_some(Self {
            index: usize::try_from(u64::from_be_bytes(*index)).ok()?,
            name: String::from_utf8(name.to_vec()).ok()?,
        })
    }
}
