//! The buckets in memory: objects, versions, delete markers, and what S3 decides about them.
//!
//! Everything is behind one lock that is held for a decision and never while bytes move: a body comes in first, and
//! then its object appears whole or not at all. It knows nothing of HTTP beyond header values; tests and the demo
//! look at it and change it directly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::attributes::Attributes;
use crate::conditions::WriteCondition;
use crate::content::{Checksum, Content, Digest, Intake, hex};
use crate::history::Changes;
use crate::meddling::Record;
use crate::multipart::Upload;
use crate::refusal::Refusal;

/// How a bucket encrypts what is not told otherwise.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Encryption {
    /// As before 2023: no encryption and no header about it.
    Plain,
    /// SSE-S3, today's default.
    #[default]
    Aes256,
    /// SSE-KMS under this key; ETags are opaque.
    Kms(String),
    /// Two layers under this key; ETags are opaque.
    Dsse(String),
    /// A customer's key, without which nothing can be read; no bucket's default, only an object's.
    Customer,
}

impl Encryption {
    /// Whether KMS is asked for a key.
    #[must_use]
    pub fn asks_kms(&self) -> bool {
        matches!(self, Self::Kms(_) | Self::Dsse(_))
    }
}

/// A bucket's switches.
#[derive(Clone, Debug)]
pub struct BucketConfig {
    /// Whether writes and deletes keep what was there.
    pub versioned: bool,
    /// The default encryption.
    pub encryption: Encryption,
    /// Whether a CRC64NVME is kept with every object, as S3 has done since December 2024. Off is an older bucket.
    pub stores_checksums: bool,
}

impl Default for BucketConfig {
    fn default() -> Self {
        Self { versioned: false, encryption: Encryption::default(), stores_checksums: true }
    }
}

/// One part of a completed multipart object.
#[derive(Clone, Debug)]
pub struct ObjectPart {
    /// Its number.
    pub number: u16,
    /// How many bytes it has.
    pub size: u64,
    /// Its CRC64NVME.
    pub checksum: Checksum,
}

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Without quotes.
    pub etag: String,
    /// When it was written.
    pub modified: SystemTime,
    /// Its bytes.
    pub content: Content,
    /// The full-object checksum kept with it, if one is.
    pub checksum: Option<Checksum>,
    /// Its parts; empty for a single PUT.
    pub parts: Vec<ObjectPart>,
    /// Headers, tags, storage class.
    pub attributes: Attributes,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// `None` is the version id `null`.
    pub version: Option<String>,
}

impl Object {
    /// The ETag as headers have it.
    #[must_use]
    pub fn quoted_etag(&self) -> String {
        format!("\"{}\"", self.etag)
    }

    /// A copy of its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.content.to_vec()
    }
}

/// An object about to be written.
pub(crate) struct Draft {
    pub(crate) content: Content,
    pub(crate) etag: String,
    pub(crate) checksum: Checksum,
    pub(crate) keeps_checksum: bool,
    pub(crate) parts: Vec<ObjectPart>,
    pub(crate) attributes: Attributes,
    pub(crate) encryption: Option<Encryption>,
}

impl Draft {
    /// Of a single PUT.
    pub(crate) fn single(content: Content, digest: &Digest, attributes: Attributes) -> Self {
        Self {
            content,
            etag: hex(&digest.md5),
            checksum: digest.checksum(),
            keeps_checksum: true,
            parts: Vec::new(),
            attributes,
            encryption: None,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Entry {
    Object(Arc<Object>),
    Marker(SystemTime),
}

#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) id: Option<String>,
    pub(crate) entry: Entry,
}

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

/// What a look at a key found.
pub(crate) enum Found {
    Object(Arc<Object>),
    /// A delete marker: its version id and when it was set.
    Marker {
        id: String,
        modified: SystemTime,
    },
    Nothing,
}

/// What a delete did.
#[derive(Debug, Default)]
pub(crate) struct Deleted {
    /// Whether a delete marker was set or removed.
    pub(crate) marker: bool,
    /// The version id that the reply names.
    pub(crate) version: Option<String>,
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

impl State {
    pub(crate) fn bucket(&self, name: &str) -> Result<&Bucket, Refusal> {
        self.buckets.get(name).ok_or_else(|| Refusal::of("NoSuchBucket").detail("BucketName", name))
    }

    fn bucket_mut(&mut self, name: &str) -> Result<&mut Bucket, Refusal> {
        self.buckets.get_mut(name).ok_or_else(|| Refusal::of("NoSuchBucket").detail("BucketName", name))
    }

    fn remove(
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

/// The digest, or under KMS something that says nothing about the bytes but the number of parts.
pub(crate) fn etag_under(encryption: &Encryption, digest: String) -> String {
    match encryption {
        Encryption::Plain | Encryption::Aes256 => digest,
        Encryption::Kms(_) | Encryption::Dsse(_) | Encryption::Customer => {
            let opaque: Vec<u8> = (0..16).map(|_| fastrand::u8(..)).collect();
            match digest.split_once('-') {
                Some((_, parts)) => format!("{}-{parts}", hex(&opaque)),
                None => hex(&opaque),
            }
        }
    }
}

/// An id of letters and digits.
pub(crate) fn random(len: usize) -> String {
    (0..len).map(|_| fastrand::alphanumeric()).collect()
}
