//! The state of a store, under its lock.

use crate::s3::refusal::Refusal;
use crate::store::conditions::WriteCondition;
use crate::store::object::{BucketConfig, Deleted, Draft, Entry, Object, Record, Version, etag_under, random};
use crate::store::upload::Upload;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// A bucket and its versions, the newest last.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) config: BucketConfig,
    pub(crate) keys: BTreeMap<String, Vec<Version>>,
}

impl Bucket {
    /// The current object of a key; a delete marker is none.
    pub(crate) fn current(&self, key: &str) -> Option<&Arc<Object>> {
        match self.keys.get(key)?.last()?.entry {
            Entry::Object(ref object) => Some(object),
            Entry::Marker(_) => None,
        }
    }

    /// Current objects from a key on, in the order of UTF-8 bytes.
    pub(crate) fn from<'a>(&'a self, start: &str) -> impl Iterator<Item = (&'a str, &'a Arc<Object>)> + use<'a> {
        self.keys.range(start.to_owned()..).filter_map(|(key, versions)| match versions.last()?.entry {
            Entry::Object(ref object) => Some((key.as_str(), object)),
            Entry::Marker(_) => None,
        })
    }

    fn push(&mut self, key: &str, version: Version) {
        let versions = self.keys.entry(key.to_owned()).or_default();
        if !self.config.versioned {
            // Without versioning a write replaces the version `null` and leaves others of an earlier time alone.
            versions.retain(|version| version.id.is_some());
        }
        versions.push(version);
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, Bucket>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) smallest_part: u64,
    pub(crate) page: usize,
    pub(crate) changes: Changes,
    // Every object that became a current one, if that is kept.
    pub(crate) record: Option<Vec<Record>>,
}

impl State {
    pub(crate) fn bucket(&self, name: &str) -> Result<&Bucket, Refusal> {
        self.buckets.get(name).ok_or_else(|| Refusal::of("NoSuchBucket").detail("BucketName", name))
    }

    pub(crate) fn bucket_mut(&mut self, name: &str) -> Result<&mut Bucket, Refusal> {
        self.buckets.get_mut(name).ok_or_else(|| Refusal::of("NoSuchBucket").detail("BucketName", name))
    }

    pub(crate) fn remove(
        &mut self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        condition: &WriteCondition,
    ) -> Result<Deleted, Refusal> {
        let bucket = self.bucket_mut(bucket)?;
        condition.check(key, bucket.current(key).map(AsRef::as_ref))?;
        if let Some(id) = version {
            let mut marker = false;
            if let Some(versions) = bucket.keys.get_mut(key) {
                versions.retain(|version| {
                    let hit = version.id.as_deref().unwrap_or("null") == id;
                    marker |= hit && matches!(version.entry, Entry::Marker(_));
                    !hit
                });
                if versions.is_empty() {
                    bucket.keys.remove(key);
                }
            }
            return Ok(Deleted { marker, version: Some(id.to_owned()) });
        }
        let has_others = || bucket.keys.get(key).is_some_and(|versions| versions.iter().any(|v| v.id.is_some()));
        if !bucket.config.versioned && !has_others() {
            bucket.keys.remove(key);
            return Ok(Deleted::default());
        }
        // "Deleting objects from versioning-suspended buckets": the marker is the version `null` and replaces it.
        let id = bucket.config.versioned.then(|| random(32));
        bucket.push(key, Version { id: id.clone(), entry: Entry::Marker(SystemTime::now()) });
        Ok(Deleted { marker: true, version: Some(id.unwrap_or_else(|| "null".to_owned())) })
    }

    /// Makes a draft the current object if the condition holds, in one step of the lock's holder.
    pub(crate) fn commit(
        &mut self,
        bucket: &str,
        key: &str,
        condition: &WriteCondition,
        draft: Draft,
    ) -> Result<Arc<Object>, Refusal> {
        let name = bucket;
        let bucket = self.bucket_mut(name)?;
        condition.check(key, bucket.current(key).map(AsRef::as_ref))?;
        let encryption = draft.encryption.unwrap_or_else(|| bucket.config.encryption.clone());
        let version = bucket.config.versioned.then(|| random(32));
        let object = Arc::new(Object {
            etag: etag_under(&encryption, draft.etag),
            modified: SystemTime::now(),
            content: draft.content,
            checksum: (draft.keeps_checksum && bucket.config.stores_checksums).then_some(draft.checksum),
            parts: draft.parts,
            attributes: draft.attributes,
            encryption,
            version: version.clone(),
        });
        bucket.push(key, Version { id: version, entry: Entry::Object(Arc::clone(&object)) });
        self.note(name, key);
        self.keep(name, key, &object);
        Ok(object)
    }
}

/// What the current object of each key of each bucket has been: its ETags, and `None` for there being none.
pub(crate) type Changes = BTreeMap<(String, String), Vec<Option<String>>>;
