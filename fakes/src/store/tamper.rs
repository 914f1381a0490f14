//! What only a test can do to a store, behind the back of everybody who speaks S3 to it, and the record of what was
//! written.

use crate::store::attributes::Attributes;
use crate::store::content::{Checksum, Content};
use crate::store::object::{Entry, Object, Record, Version};
use crate::store::objects::Store;
use crate::store::state::State;
use std::sync::Arc;

impl Store {
    /// Begins a record of all that is written from now on, objects with their bytes, and hands over the one that there
    /// was.
    pub fn record(&self) -> Vec<Record> {
        self.state().record.replace(Vec::new()).unwrap_or_default()
    }

    /// What the record has so far.
    #[must_use]
    pub fn recorded(&self) -> Vec<Record> {
        self.state().record.clone().unwrap_or_default()
    }

    /// Changes the attributes of the current object in place, as only a test can (tags, a finished restore).
    pub fn change(&self, bucket: &str, key: &str, change: impl FnOnce(&mut Attributes)) {
        let mut state = self.state();
        let versions = state.buckets.get_mut(bucket).and_then(|bucket| bucket.keys.get_mut(key));
        if let Some(Version { entry: Entry::Object(object), .. }) = versions.and_then(|versions| versions.last_mut()) {
            change(&mut Arc::make_mut(object).attributes);
        }
    }

    /// Gives the current object another stored checksum, or none, as its client would have that wrote it.
    pub fn set_checksum(&self, bucket: &str, key: &str, checksum: Option<Checksum>) {
        let mut state = self.state();
        let versions = state.buckets.get_mut(bucket).and_then(|bucket| bucket.keys.get_mut(key));
        if let Some(Version { entry: Entry::Object(object), .. }) = versions.and_then(|versions| versions.last_mut()) {
            Arc::make_mut(object).checksum = checksum;
        }
    }

    /// Flips one bit of the current object's bytes and of nothing that is known of them, as a failing disk would.
    pub fn rot(&self, bucket: &str, key: &str, at: u64) {
        let mut state = self.state();
        let versions = state.buckets.get_mut(bucket).and_then(|bucket| bucket.keys.get_mut(key));
        if let Some(Version { entry: Entry::Object(object), .. }) = versions.and_then(|versions| versions.last_mut()) {
            let mut bytes = object.bytes();
            if let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
                *byte ^= 1;
            }
            let mut content = Content::default();
            content.push(bytes.into());
            Arc::make_mut(object).content = content;
        }
    }
}

impl State {
    /// Takes what has become the current object into the record, if one is kept.
    pub(crate) fn keep(&mut self, bucket: &str, key: &str, object: &Arc<Object>) {
        if let Some(record) = &mut self.record {
            record.push(Record { bucket: bucket.to_owned(), key: key.to_owned(), object: Arc::clone(object) });
        }
    }
}
