//! What an attempt holds while it is under way, and what is told and given back at its end.

use crate::wire::gate::{Permit, RequestOutcome, RequestResult};
use crate::wire::net::pool::{Connection, Pool};
use std::sync::Arc;
use tokio::time::Instant;

/// A permit and what is to be told through it.
pub(crate) struct Lease {
    permit: Box<dyn Permit>,
    began: Instant,
    side: &'static str,
    operation: &'static str,
    recorded: bool,
}

impl Lease {
    pub(crate) fn new(permit: Box<dyn Permit>, began: Instant, side: &'static str, operation: &'static str) -> Self {
        Self { permit, began, side, operation, recorded: false }
    }

    /// Tells the gate, the first time.
    pub(crate) fn record(&mut self, came: RequestOutcome) {
        if !self.recorded {
            self.recorded = true;
            self.permit.record(RequestResult { outcome: came, elapsed: self.began.elapsed() });
            tracing::trace!(side = self.side, operation = self.operation, ?came, "told");
        }
    }
}

/// What happens when the body of an answer was read to its end; dropped before, it closes the connection.
pub(crate) struct LeasedConnection {
    pub(crate) lease: Lease,
    /// Held until then: without it the rest of the answer would not come.
    pub(crate) connection: Connection,
    pub(crate) is_reusable: bool,
    pub(crate) pool: Arc<Pool>,
}

impl LeasedConnection {
    pub(crate) fn at_the_end(mut self) {
        self.lease.record(RequestOutcome::Answered);
        if self.is_reusable {
            self.pool.put_back(self.connection);
        }
    }
}
