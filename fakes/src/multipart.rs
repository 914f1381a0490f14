//! Multipart uploads in the store: what Create freezes, what a part must be, what Complete checks and in which order.
//!
//! A Complete that is refused leaves the upload as it was, so that it can be completed under another condition or
//! aborted; the rules are those of
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::attributes::Attributes;
use crate::conditions::WriteCondition;
use crate::content::{Algorithm, Content, Digest, Intake, Joined, crc64nvme, hex, multipart_etag};
use crate::refusal::Refusal;
use crate::store::{Draft, Encryption, Object, ObjectPart, State, Store, etag_under, random};

/// The highest part number (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
pub(crate) const LAST_PART: u16 = 10_000;

/// Who a server's one caller is.
pub(crate) const CALLER: &str = "arn:aws:iam::111122223333:user/xpsync";

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
    content: Content,
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
    parts: BTreeMap<u16, UploadedPart>,
}

impl Upload {
    /// Its parts in order.
    #[must_use]
    pub fn parts(&self) -> Vec<UploadedPart> {
        self.parts.values().cloned().collect()
    }

    fn keep(&mut self, number: u16, content: Content, digest: Digest) -> UploadedPart {
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

impl Store {
    /// Uploads that are open, by bucket, key and time of beginning.
    #[must_use]
    pub fn open_uploads(&self) -> Vec<Upload> {
        let mut uploads: Vec<Upload> = self.state().uploads.values().cloned().collect();
        uploads.sort_by(|a, b| (&a.bucket, &a.key, a.initiated, &a.id).cmp(&(&b.bucket, &b.key, b.initiated, &b.id)));
        uploads
    }

    /// Writes an object as a multipart upload of these parts would; sizes are not checked.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn put_parts(
        &self,
        bucket: &str,
        key: &str,
        parts: impl IntoIterator<Item = Bytes>,
        attributes: Attributes,
    ) -> Result<Arc<Object>, Refusal> {
        let (mut content, mut md5s, mut facts, mut joined) =
            (Content::default(), Vec::new(), Vec::new(), Joined::default());
        for (number, part) in (1..).zip(parts) {
            let mut intake = Intake::new(None);
            intake.push(part);
            let (bytes, digest) = intake.finish();
            content.append(&bytes);
            joined.push(digest.crc64nvme, digest.len);
            facts.push(ObjectPart { number, size: digest.len, checksum: digest.crc64nvme() });
            md5s.push(digest.md5);
        }
        let draft = Draft {
            content,
            etag: multipart_etag(&md5s),
            checksum: crc64nvme(joined.crc64nvme()),
            keeps_checksum: true,
            parts: facts,
            attributes,
            encryption: None,
        };
        self.commit(bucket, key, &WriteCondition::Any, draft)
    }

    /// Ends an upload as an abort by somebody else would.
    pub fn end_upload(&self, id: &str) {
        self.state().uploads.remove(id);
    }

    /// Puts other bytes in a part's place, under the checksum and the ETag that they have; nothing, if there is no such
    /// upload.
    pub fn replace_part(&self, id: &str, number: u16, bytes: impl Into<Bytes>) {
        let mut intake = Intake::new(None);
        intake.push(bytes.into());
        let (content, digest) = intake.finish();
        let mut state = self.state();
        if let Some(upload) = state.uploads.get_mut(id) {
            upload.keep(number, content, digest);
        }
    }

    pub(crate) fn create_upload(&self, bucket: &str, key: &str, create: CreateUpload) -> Result<Upload, Refusal> {
        let mut state = self.state();
        let encryption = state.bucket(bucket)?.config.encryption.clone();
        let checksum_type = match (create.algorithm.as_deref(), create.checksum_type) {
            (None, Some(_)) => {
                return Err(Refusal::of("InvalidRequest").because(
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
                ));
            }
            (None, None) => None,
            (Some("CRC64NVME"), Some(kind)) if kind == "COMPOSITE" => {
                return Err(Refusal::of("InvalidRequest")
                    .because("The COMPOSITE checksum type cannot be used with the crc64nvme checksum algorithm."));
            }
            (Some("CRC64NVME"), _) => Some("FULL_OBJECT".to_owned()),
            (Some(_), kind) => Some(kind.unwrap_or_else(|| "COMPOSITE".to_owned())),
        };
        let upload = Upload {
            id: random(64),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            initiated: SystemTime::now(),
            initiator: Some(CALLER.to_owned()),
            attributes: create.attributes,
            algorithm: create.algorithm,
            checksum_type,
            encryption: create.encryption.unwrap_or(encryption),
            parts: BTreeMap::new(),
        };
        state.uploads.insert(upload.id.clone(), upload.clone());
        Ok(upload)
    }

    /// An upload by its reference, without its parts' bytes being touched.
    pub(crate) fn upload(&self, which: UploadRef<'_>) -> Result<Upload, Refusal> {
        self.state().upload(which).cloned()
    }

    /// Keeps a part, replacing one of the same number. The part's ETag is opaque where the object's will be.
    pub(crate) fn put_part(
        &self,
        which: UploadRef<'_>,
        number: u16,
        content: Content,
        digest: Digest,
    ) -> Result<UploadedPart, Refusal> {
        let mut state = self.state();
        state.upload(which)?;
        let upload = state.uploads.get_mut(which.id).ok_or_else(|| Refusal::of("NoSuchUpload"))?;
        Ok(upload.keep(number, content, digest))
    }

    /// Parts above the marker, at most one page of them, and whether there are more.
    pub(crate) fn parts(
        &self,
        which: UploadRef<'_>,
        marker: u16,
        max: usize,
    ) -> Result<(Upload, Vec<UploadedPart>, bool), Refusal> {
        let state = self.state();
        let upload = state.upload(which)?;
        let page = max.min(state.page);
        let mut parts: Vec<UploadedPart> = upload
            .parts
            .range((Bound::Excluded(marker), Bound::Unbounded))
            .take(page.saturating_add(1))
            .map(|(_, part)| part.clone())
            .collect();
        let more = parts.len() > page;
        parts.truncate(page);
        Ok((upload.clone(), parts, more))
    }

    pub(crate) fn abort_upload(&self, which: UploadRef<'_>) -> Result<(), Refusal> {
        let mut state = self.state();
        state.upload(which)?;
        state.uploads.remove(which.id);
        Ok(())
    }

    pub(crate) fn complete_upload(
        &self,
        which: UploadRef<'_>,
        complete: &CompleteUpload,
    ) -> Result<Arc<Object>, Refusal> {
        let mut state = self.state();
        let draft = assemble(state.upload(which)?, complete, state.smallest_part)?;
        let object = state.commit(which.bucket, which.key, &complete.condition, draft)?;
        state.uploads.remove(which.id);
        Ok(object)
    }
}

impl State {
    fn upload(&self, which: UploadRef<'_>) -> Result<&Upload, Refusal> {
        self.bucket(which.bucket)?;
        self.uploads
            .get(which.id)
            .filter(|upload| upload.bucket == which.bucket && upload.key == which.key)
            .ok_or_else(|| Refusal::of("NoSuchUpload").detail("UploadId", which.id))
    }
}

/// Puts the named parts together, or says why they cannot be. Parts that were uploaded and are not named are left
/// out, as AWS's text allows to be read.
fn assemble(upload: &Upload, complete: &CompleteUpload, smallest: u64) -> Result<Draft, Refusal> {
    if complete.parts.is_empty() {
        return Err(Refusal::of("MalformedXML"));
    }
    if complete.parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(Refusal::of("InvalidPartOrder").detail("UploadId", &upload.id));
    }
    let mut chosen = Vec::with_capacity(complete.parts.len());
    for named in &complete.parts {
        let part = u16::try_from(named.number).ok().and_then(|number| upload.parts.get(&number));
        let part = part.filter(|part| {
            let checksum = named.crc64nvme.as_deref();
            part.etag == named.etag && checksum.is_none_or(|value| value == part.digest.crc64nvme().value)
        });
        chosen.push(part.ok_or_else(|| {
            Refusal::of("InvalidPart")
                .detail("UploadId", &upload.id)
                .detail("PartNumber", named.number.to_string())
                .detail("ETag", &named.etag)
        })?);
    }
    for part in &chosen[..chosen.len() - 1] {
        if part.size < smallest {
            return Err(Refusal::of("EntityTooSmall")
                .detail("ProposedSize", part.size.to_string())
                .detail("MinSizeAllowed", smallest.to_string())
                .detail("PartNumber", part.number.to_string())
                .detail("ETag", &part.etag));
        }
    }
    let size: u64 = chosen.iter().map(|part| part.size).sum();
    if complete.size.is_some_and(|claimed| claimed != size) {
        return Err(Refusal::of("InvalidRequest")
            .because("The provided 'x-amz-mp-object-size' header value does not match what was computed."));
    }
    let mut joined = Joined::default();
    for part in &chosen {
        joined.push(part.digest.crc64nvme, part.digest.len);
    }
    let checksum = crc64nvme(joined.crc64nvme());
    if upload.names_crc64nvme() {
        // The value is only looked at if Create named the algorithm.
        let type_differs =
            complete.checksum_type.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("FULL_OBJECT"));
        let value_differs = complete.crc64nvme.as_ref().is_some_and(|value| *value != checksum.value);
        if type_differs || value_differs {
            return Err(
                Refusal::of("BadDigest").because("The CRC64NVME you specified did not match the calculated checksum.")
            );
        }
    }
    let mut content = Content::default();
    for part in &chosen {
        content.append(&part.content);
    }
    let md5s: Vec<[u8; 16]> = chosen.iter().map(|part| part.digest.md5).collect();
    let parts = chosen
        .iter()
        .map(|part| ObjectPart { number: part.number, size: part.size, checksum: part.digest.crc64nvme() })
        .collect();
    Ok(Draft {
        content,
        etag: multipart_etag(&md5s),
        checksum,
        // An upload under another algorithm keeps that one's checksum in S3, and no CRC64NVME; it is not modelled.
        keeps_checksum: upload.algorithm.is_none() || upload.names_crc64nvme(),
        parts,
        attributes: upload.attributes.clone(),
        encryption: Some(upload.encryption.clone()),
    })
}
