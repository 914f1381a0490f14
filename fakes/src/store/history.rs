//! What was before: versions, what each key has been, and what only a test can do, which is to make things older.

use crate::s3::refusal::Refusal;
use crate::store::conditions::WriteCondition;
use crate::store::object::Entry;
use crate::store::objects::Store;
use crate::store::state::State;
use std::sync::Arc;
use std::time::Duration;

impl Store {
    /// Version ids of a key, the oldest first, delete markers included; `null` without versioning.
    #[must_use]
    pub fn versions(&self, bucket: &str, key: &str) -> Vec<String> {
        let state = self.state();
        let versions = state.buckets.get(bucket).and_then(|bucket| bucket.keys.get(key));
        versions.map_or_else(Vec::new, |versions| {
            versions.iter().map(|version| version.id.clone().unwrap_or_else(|| "null".to_owned())).collect()
        })
    }

    /// Deletes a version for good, or a delete marker, which brings back what is below it.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn delete_version(&self, bucket: &str, key: &str, version: &str) -> Result<(), Refusal> {
        self.remove(bucket, key, Some(version), &WriteCondition::Any).map(|_| ())
    }

    /// Deletes a bucket with all that it holds, open uploads too, as a rename does by hand.
    pub fn delete_bucket(&self, name: &str) {
        let mut state = self.state();
        state.buckets.remove(name);
        state.uploads.retain(|_, upload| upload.bucket != name);
    }

    /// What the current object of a key has been, in order: its ETags, and `None` whenever there was none after one.
    #[must_use]
    pub fn changes(&self, bucket: &str, key: &str) -> Vec<Option<String>> {
        self.state().changes.get(&(bucket.to_owned(), key.to_owned())).cloned().unwrap_or_default()
    }

    /// Makes an upload older than it is.
    pub fn age_upload(&self, id: &str, by: Duration) {
        if let Some(upload) = self.state().uploads.get_mut(id) {
            upload.initiated -= by;
        }
    }

    /// Makes all versions of a key older than they are.
    pub fn age(&self, bucket: &str, key: &str, by: Duration) {
        let mut state = self.state();
        let versions = state.buckets.get_mut(bucket).and_then(|bucket| bucket.keys.get_mut(key));
        for version in versions.into_iter().flatten() {
            match &mut version.entry {
                Entry::Object(object) => Arc::make_mut(object).modified -= by,
                Entry::Marker(modified) => *modified -= by,
            }
        }
    }

    /// Makes an upload one that somebody else has begun, or nobody who is shown.
    pub fn set_initiator(&self, id: &str, initiator: Option<&str>) {
        if let Some(upload) = self.state().uploads.get_mut(id) {
            upload.initiator = initiator.map(str::to_owned);
        }
    }
}

impl State {
    /// Writes down what a key is now, if it is not what it was.
    pub(crate) fn note(&mut self, bucket: &str, key: &str) {
        let current = self.buckets.get(bucket).and_then(|bucket| bucket.current(key));
        let etag = current.map(|object| object.etag.clone());
        let changes = self.changes.entry((bucket.to_owned(), key.to_owned())).or_default();
        if changes.last().map_or(etag.is_some(), |last| *last != etag) {
            changes.push(etag);
        }
    }
}
