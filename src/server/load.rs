//! How many requests are answered at a time. Past that a request is refused at once rather than kept waiting: a queue
//! here would only make everybody slow.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::{Counted, Metrics};
use crate::web::Problem;

/// The places.
#[derive(Debug)]
pub(super) struct Load {
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Load {
    pub(super) fn new(in_flight_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(in_flight_max)),
            metrics,
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// 503 when there is none.
    pub(super) fn take(&self) -> Result<Place, Problem> {
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.load_shed();
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests are being answered; try again in a second",
            )
            .retry_after_s(1));
        };
        Ok(Place {
            _permit: permit,
            _counted: self.metrics.request_started(),
        })
    }
}
