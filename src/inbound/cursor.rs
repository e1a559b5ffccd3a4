//! Cursors of long lists: sealed, bound to the principal, and good for one list only (2026-07-28, Pagination).

use std::sync::Arc;

use crate::catalog::listing::Kind;
use crate::clock;
use crate::identity::Principal;
use crate::limits::SEALED_AGE_MAX;
use crate::seal::{Purpose, Sealer};

fn tag(kind: Kind) -> u8 {
    match kind {
        Kind::Tool => b't',
        Kind::Prompt => b'p',
        Kind::Resource => b'r',
        Kind::Template => b'm',
    }
}

/// Writes the cursor of a page; pages count from 0.
pub(super) fn write(sealer: &Sealer, principal: &Principal, kind: Kind, page: usize) -> Option<String> {
    let payload = [&[tag(kind)][..], &(page as u64).to_be_bytes()].concat();
    let expires = clock::unix_s() + SEALED_AGE_MAX.as_secs();
    sealer
        .seal(Purpose::Cursor, &principal.binding(), &payload, expires)
        .ok()
}

/// Reads a cursor back into a page; `None` for one that is not ours, not this principal's, or of another list.
pub(super) fn read(sealer: &Sealer, principal: &Arc<Principal>, kind: Kind, text: &str) -> Option<usize> {
    let payload = sealer
        .open(Purpose::Cursor, &principal.binding(), text, clock::unix_s())
        .ok()?;
    let (own, page) = payload.split_first()?;
    if *own != tag(kind) {
        return None;
    }
    usize::try_from(u64::from_be_bytes(page.try_into().ok()?)).ok()
}
