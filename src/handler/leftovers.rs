//! What a sandbox finds of an earlier process of its own: after a crash or a timeout, /tmp is as it was.
//!
//! An upload that is open there is resumed by the record of its key, if the invocation has one, or left to the
//! queue, so that nothing waits for chance to bring the key to this sandbox again.

use crate::engine::decide::ticket::{UploadJournal, WhenStopped};
use crate::engine::job::Ongoing;
use crate::events::continuation::continuation;
use crate::events::task::{Continuation, Item, Task};
use crate::handler::Function;
use crate::journal::{CopyName, Leftovers, ObjectName, PriorRun};
use crate::queue::QueueArn;
use crate::s3::http::endpoint::Endpoint;
use crate::s3::{Bucket, Key};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many invocations in a row may come no further with an object before its upload is given up: one that stalls for
/// the length of three has a border that is closed, or an object that cannot be moved in one.
const FRUITLESS: u32 = 3;

impl Function {
    /// Looks at what was left, keeps what these records resume, and leaves the rest to the queue.
    pub(crate) async fn find_leftovers(
        &self,
        items: &[Item],
        queue: Option<&QueueArn>,
        deadline: Instant,
    ) -> Arc<Leftovers> {
        let journal = self.journal.clone();
        // The usual case costs one look at a folder that is not there.
        let found = tokio::task::spawn_blocking(move || journal.left()).await;
        let found = match found
            .unwrap_or_else(|_| Err(std::io::Error::other("internal error: the thread of the journal panicked")))
        {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error = error.to_string(), "the journal in /tmp could not be read");
                return Arc::default();
            }
        };
        let wanted: BTreeSet<&str> = items
            .iter()
            .filter_map(|item| match item {
                Ok(Task::Reconcile { key, .. }) => Some(key.as_str()),
                Ok(Task::Ignored { .. }) | Err(_) => None,
            })
            .collect();
        let left = Leftovers::default();
        for (entry, before) in found {
            let names = entry.names().clone();
            let Ok(key) = Key::new(&names.source.key) else { continue };
            if self.names(&key, &names.target.key) != names {
                // Of a function of another configuration, which may come back.
                continue;
            }
            if wanted.contains(key.as_str()) {
                left.0.lock().unwrap_or_else(PoisonError::into_inner).insert(names.source.key, (entry, before));
            } else if let (Some(queue), Some(ticket)) = (queue, before.ticket) {
                let size = ticket.pin.size;
                let at = Continuation { ticket: Some(ticket), fruitless: 0 };
                let body = continuation(&self.settings.source.bucket, &key, Some(size), None, &at);
                if self.sent(queue, &body, Duration::ZERO, deadline).await {
                    let _ = entry.ended();
                }
            }
        }
        Arc::new(left)
    }

    /// What came before for a key, and where it is written down what comes now.
    pub(crate) fn ongoing(
        &self,
        key: &Key,
        target: &Key,
        left: &Leftovers,
        continued: Option<&Continuation>,
    ) -> Ongoing {
        let fruitless = continued.map_or(0, |continued| continued.fruitless);
        let when_stopped = if fruitless < FRUITLESS { WhenStopped::Keep } else { WhenStopped::Abort };
        let brought = continued.and_then(|continued| continued.ticket.clone());
        let (journal, before): (Arc<dyn UploadJournal>, PriorRun) = match left.take(key, brought.as_ref()) {
            Some((entry, before)) => (Arc::new(entry), before),
            None => (Arc::new(self.journal.later(self.names(key, target.as_str()))), PriorRun::default()),
        };
        let ticket = brought.or(before.ticket);
        Ongoing { ticket, intended: before.intended, when_stopped, journal: Some(journal), ..Ongoing::default() }
    }

    /// A pair of objects as the journal names it.
    pub(crate) fn names(&self, key: &Key, target: &str) -> CopyName {
        let named = |endpoint: &Endpoint, bucket: &Bucket, key: &str| ObjectName {
            endpoint: endpoint.locate(bucket, None).authority(),
            bucket: bucket.to_string(),
            key: key.to_owned(),
        };
        CopyName {
            source: named(&self.settings.source.endpoint, &self.settings.source.bucket, key.as_str()),
            target: named(&self.settings.target.endpoint, &self.settings.target.bucket, target),
        }
    }
}
