//! The buckets in memory: objects, versions, delete markers, and what S3 decides about them.
//!
//! Everything is behind one lock that is held for a decision and never while bytes move: a body comes in first, and
//! then its object appears whole or not at all. It knows nothing of HTTP beyond header values; tests and the demo
//! look at it and change it directly.

use crate::s3::refusal::Refusal;
use crate::store::attributes::Attributes;
use crate::store::conditions::WriteCondition;
use crate::store::content::Intake;
use crate::store::object::{BucketConfig, Deleted, Draft, Entry, Found, Object, Version};
use crate::store::state::{Bucket, Changes, State};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The store of one server.
#[derive(Debug)]
pub struct Store {
    state: Mutex<State>,
}

impl Default for Store {
    fn default() -> Self {
        // 5 MiB and 1,000 are S3's own (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
        let state = State {
            buckets: BTreeMap::new(),
            uploads: BTreeMap::new(),
            smallest_part: 5 << 20,
            page: 1_000,
            changes: Changes::default(),
            record: None,
        };
        Self { state: Mutex::new(state) }
    }
}

impl Store {
    /// The state is plain data: a panic of another holder leaves nothing half-done that matters to a test server.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a bucket, or changes the switches of one that is there.
    pub fn create_bucket(&self, name: &str, config: BucketConfig) {
        let mut state = self.state();
        match state.buckets.get_mut(name) {
            Some(bucket) => bucket.config = config,
            None => {
                state.buckets.insert(name.to_owned(), Bucket { config, keys: BTreeMap::new() });
            }
        }
    }

    /// Sets how small a part but the last may be; S3's own 5 MiB make slow tests.
    pub fn set_smallest_part(&self, bytes: u64) {
        self.state().smallest_part = bytes;
    }

    /// Sets how many entries a page of any listing has at most; S3's own 1,000 make slow tests.
    pub fn set_page(&self, entries: usize) {
        self.state().page = entries.max(1);
    }

    /// Writes an object as a single PUT would.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: impl Into<Bytes>,
        attributes: Attributes,
    ) -> Result<Arc<Object>, Refusal> {
        let mut intake = Intake::new(None);
        intake.push(bytes.into());
        let (content, digest) = intake.finish();
        self.commit(bucket, key, &WriteCondition::Any, Draft::single(content, &digest, attributes))
    }

    /// Deletes as DeleteObject without a version would; nothing there is fine.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<(), Refusal> {
        self.remove(bucket, key, None, &WriteCondition::Any).map(|_| ())
    }

    /// The current object of a key.
    #[must_use]
    pub fn get(&self, bucket: &str, key: &str) -> Option<Arc<Object>> {
        self.state().buckets.get(bucket)?.current(key).cloned()
    }

    /// Keys with a current object, in order.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let state = self.state();
        state
            .buckets
            .get(bucket)
            .map_or_else(Vec::new, |bucket| bucket.from("").map(|(key, _)| key.to_owned()).collect())
    }

    /// Checks that a bucket is there and reads its switches.
    pub(crate) fn bucket(&self, name: &str) -> Result<BucketConfig, Refusal> {
        self.state().bucket(name).map(|bucket| bucket.config.clone())
    }

    /// What a key, or one version of it, is.
    pub(crate) fn find(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Found, Refusal> {
        let state = self.state();
        let versions = state.bucket(bucket)?.keys.get(key).map_or(&[][..], Vec::as_slice);
        let found = match version {
            None => versions.last(),
            Some(id) => {
                let found = versions.iter().find(|version| version.id.as_deref().unwrap_or("null") == id);
                Some(found.ok_or_else(|| Refusal::of("NoSuchVersion").detail("Key", key).detail("VersionId", id))?)
            }
        };
        Ok(match found {
            None => Found::Nothing,
            Some(Version { entry: Entry::Object(object), .. }) => Found::Object(Arc::clone(object)),
            Some(Version { id, entry: Entry::Marker(modified) }) => {
                Found::Marker { id: id.clone().unwrap_or_else(|| "null".to_owned()), modified: *modified }
            }
        })
    }

    /// Makes a draft the current object if the condition holds.
    pub(crate) fn commit(
        &self,
        bucket: &str,
        key: &str,
        condition: &WriteCondition,
        draft: Draft,
    ) -> Result<Arc<Object>, Refusal> {
        self.state().commit(bucket, key, condition, draft)
    }

    /// Deletes a key, or one version of it.
    pub(crate) fn remove(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        condition: &WriteCondition,
    ) -> Result<Deleted, Refusal> {
        let mut state = self.state();
        let removed = state.remove(bucket, key, version, condition)?;
        state.note(bucket, key);
        Ok(removed)
    }

    /// Replaces the tags of a key, or of one version of it.
    pub(crate) fn set_tags(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        tags: Vec<(String, String)>,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        let versions = state.bucket_mut(bucket)?.keys.get_mut(key).map_or(&mut [][..], Vec::as_mut_slice);
        let found = match version {
            None => versions.last_mut(),
            Some(id) => versions.iter_mut().find(|version| version.id.as_deref().unwrap_or("null") == id),
        };
        match found {
            Some(Version { entry: Entry::Object(object), .. }) => {
                Arc::make_mut(object).attributes.tags = tags;
                Ok(())
            }
            Some(_) => Err(Refusal::of("MethodNotAllowed")),
            None if version.is_some() => Err(Refusal::of("NoSuchVersion")),
            None => Err(Refusal::of("NoSuchKey").detail("Key", key)),
        }
    }
}
