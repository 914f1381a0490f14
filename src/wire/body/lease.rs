//! What an attempt holds while it is under way, and what is told and given back at its end.

use crate::wire::gate::{Came, Permit, Told};
use crate::wire::net::pool::{Connection, Pool};
use std::sync::Arc;
use tokio::time::Instant;

/// A permit and what is to be told through it.
pub(crate) struct Passage {
    permit: Box<dyn Permit>,
    began: Instant,
    side: &'static str,
    operation: &'static str,
    told: bool,
}

impl Passage {
    pub(crate) fn new(permit: Box<dyn Permit>, began: Instant, side: &'static str, operation: &'static str) -> Self {
        Self { permit, began, side, operation, told: false }
    }

    /// Tells the gate, the first time.
    pub(crate) fn tell(&mut self, came: Came) {
        if !self.told {
            self.told = true;
            self.permit.tell(Told { came, elapsed: self.began.elapsed() });
            tracing::trace!(side = self.side, operation = self.operation, ?came, "told");
        }
    }
}

/// What happens when the body of an answer was read to its end; dropped before, it closes the connection.
pub(crate) struct Finished {
    pub(crate) passage: Passage,
    /// Held until then: without it the rest of the answer would not come.
    pub(crate) connection: Connection,
    pub(crate) is_reusable: bool,
    pub(crate) pool: Arc<Pool>,
}

impl Finished {
    pub(crate) fn at_the_end(mut self) {
        self.passage.tell(Came::Answered);
        if self.is_reusable {
            self.pool.put_back(self.connection);
        }
    }
}
