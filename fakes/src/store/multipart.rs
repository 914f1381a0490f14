//! Multipart uploads in the store: what Create freezes, what a part must be, what Complete checks and in which order.
//!
//! A Complete that is refused leaves the upload as it was, so that it can be completed under another condition or
//! aborted; the rules are those of
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>.

use crate::s3::refusal::Refusal;
use crate::store::attributes::Attributes;
use crate::store::conditions::WriteCondition;
use crate::store::content::{Content, Digest, Intake, Joined, crc64nvme, multipart_etag};
use crate::store::object::{Draft, Object, ObjectPart, random};
use crate::store::objects::Store;
use crate::store::state::State;
use crate::store::upload::{CompleteUpload, CreateUpload, Upload, UploadRef, UploadedPart};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

/// The highest part number (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
pub(crate) const LAST_PART: u16 = 10_000;

/// Who a server's one caller is.
pub(crate) const CALLER: &str = "arn:aws:iam::111122223333:user/xpsync";

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
