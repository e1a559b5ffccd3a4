//! How many processes all stdio gateways may have together. When all places are taken, the process that nothing is in
//! flight on for the longest makes room, unless all users share it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{STDIO_CLOSE_GRACE, STDIO_TERM_GRACE};
use crate::upstream::duplex::Tenant;

/// How long a process that makes room may take to end: asked, told, killed.
const EVICTION_MAX: Duration = STDIO_CLOSE_GRACE
    .saturating_add(STDIO_TERM_GRACE)
    .saturating_add(STDIO_TERM_GRACE);

/// The places of all stdio gateways.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    tenants: Mutex<Vec<Tenant>>,
}

/// One taken place; dropped when nothing of its process is left.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "holds the place")] OwnedSemaphorePermit);

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            tenants: Mutex::default(),
        }
    }

    /// Takes a place; `None` when all are taken and none can be freed.
    pub(super) async fn take(&self, tenant: &Tenant) -> Option<Place> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if self.evict_one() => {
                let freed = Arc::clone(&self.free).acquire_owned();
                tokio::time::timeout(EVICTION_MAX, freed).await.ok()?.ok()?
            }
            Err(_) => return None,
        };
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(Tenant::is_open);
        tenants.push(tenant.clone());
        Some(Place(permit))
    }

    fn evict_one(&self) -> bool {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let mut idle: Vec<_> = tenants
            .iter()
            .filter_map(|tenant| Some((tenant.dispensable_since()?, tenant)))
            .collect();
        idle.sort_by_key(|(since, _)| *since);
        idle.into_iter()
            .any(|(_, tenant)| tenant.evict("it made room for another process"))
    }
}
