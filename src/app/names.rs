//! Writes down which names the catalog gave, so that the next process gives them again.

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::store::{NameClaim, Store};

/// Writes what changed, whenever something did, for as long as the house stands.
pub(super) async fn keep(store: Store, catalog: Arc<Catalog>) {
    let claims = store.name_claims();
    let mut changed = catalog.names_changed();
    let mut written: Option<HashSet<NameClaim>> = None;
    loop {
        if written.is_none() {
            match claims.load().await {
                Ok(there) => written = Some(there.into_iter().collect()),
                Err(error) => tracing::warn!(%error, "the names that were given cannot be read"),
            }
        }
        if let Some(before) = &mut written {
            let now: HashSet<_> = catalog.names().into_iter().collect();
            let given_up: Vec<_> = before.difference(&now).collect();
            let given: Vec<_> = now.difference(before).collect();
            if !given_up.is_empty() || !given.is_empty() {
                match claims.change(&given_up, &given).await {
                    Ok(()) => *before = now,
                    Err(error) => tracing::warn!(%error, "names that were given are not written down"),
                }
            }
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}
