//! What a bucket holds.

use crate::store::attributes::Attributes;
use crate::store::content::{Checksum, Content, Digest, hex};
use std::sync::Arc;
use std::time::SystemTime;

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

/// An object that became the current one of its key.
#[derive(Clone, Debug)]
pub struct Record {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The object as it was written.
    pub object: Arc<Object>,
}
