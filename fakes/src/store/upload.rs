//! Uploads that are open.

use crate::store::attributes::Attributes;
use crate::store::conditions::WriteCondition;
use crate::store::content::{Algorithm, Content, Digest, hex};
use crate::store::object::{Encryption, etag_under};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// A part that was uploaded.
#[derive(Clone, Debug)]
pub struct UploadedPart {
    /// Its number.
    pub number: u16,
    /// Without quotes.
    pub etag: String,
    /// How many bytes it has.
    pub size: u64,
    /// When it came.
    pub modified: SystemTime,
    /// Its digests.
    pub(crate) digest: Digest,
    pub(crate) content: Content,
}

/// An upload that was begun and is not over.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The bucket it is for.
    pub bucket: String,
    /// The key it is for.
    pub key: String,
    /// When it was begun.
    pub initiated: SystemTime,
    /// Who began it, as listings show it.
    pub initiator: Option<String>,
    /// What Create froze.
    pub attributes: Attributes,
    /// The checksum algorithm that Create named, as it was written.
    pub algorithm: Option<String>,
    /// `FULL_OBJECT` or `COMPOSITE`, if Create named an algorithm.
    pub checksum_type: Option<String>,
    /// How the object will be encrypted.
    pub encryption: Encryption,
    pub(crate) parts: BTreeMap<u16, UploadedPart>,
}

impl Upload {
    /// Its parts in order.
    #[must_use]
    pub fn parts(&self) -> Vec<UploadedPart> {
        self.parts.values().cloned().collect()
    }

    pub(crate) fn keep(&mut self, number: u16, content: Content, digest: Digest) -> UploadedPart {
        let part = UploadedPart {
            number,
            etag: etag_under(&self.encryption, hex(&digest.md5)),
            size: digest.len,
            modified: SystemTime::now(),
            digest,
            content,
        };
        self.parts.insert(number, part.clone());
        part
    }

    /// Whether Create named CRC64NVME.
    pub(crate) fn names_crc64nvme(&self) -> bool {
        self.algorithm.as_deref() == Some(Algorithm::Crc64Nvme.name())
    }
}

/// Which upload a request means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadRef<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) id: &'a str,
}

/// What Create says.
pub(crate) struct CreateUpload {
    pub(crate) attributes: Attributes,
    pub(crate) algorithm: Option<String>,
    pub(crate) checksum_type: Option<String>,
    pub(crate) encryption: Option<Encryption>,
}

/// A part as Complete names it.
pub(crate) struct NamedPart {
    pub(crate) number: i32,
    /// Without quotes.
    pub(crate) etag: String,
    pub(crate) crc64nvme: Option<String>,
}

/// What Complete says.
pub(crate) struct CompleteUpload {
    pub(crate) parts: Vec<NamedPart>,
    pub(crate) size: Option<u64>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) checksum_type: Option<String>,
    pub(crate) condition: WriteCondition,
}
