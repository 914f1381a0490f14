//! Parts of an upload that S3 copies from an object at the target, and what they say of the bytes.
//!
//! A copied part answers with the MD5 of its range, where the target's encryption leaves ETags digests, and with the
//! CRC64NVME that the upload was begun with. Both are S3's own arithmetic over the bytes that it has stored, so the
//! ETag and the checksum of the whole are known before it is completed.

use crate::engine::job::Job;
use crate::engine::notes::Notes;
use crate::engine::stop::Stop;
use crate::s3::integrity::checksum::{Digests, combine};
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::{ETag, ETagKind};
use crate::s3::multipart::upload::CompletedPart;
use crate::s3::object::copy::{CopySource, UploadPartCopy};
use crate::s3::{ByteRange, PartNumber, UploadId};
use crate::wire::error::Error;
use futures_util::StreamExt as _;
use futures_util::stream::iter;

/// Copies under way at a time. Each is a request without a body and minutes of S3's own work at most; more of them are
/// answered with SlowDown rather than sooner ("Performance guidelines for Amazon S3": 3,500 COPY requests a second).
const AT_A_TIME: usize = 16;

pub(crate) struct PartCopy {
    /// Its number in the upload.
    pub(crate) number: PartNumber,
    /// Its bytes in the object that is copied.
    pub(crate) range: ByteRange,
}

#[derive(Debug, Clone)]
pub(crate) struct CopiedPart {
    number: PartNumber,
    etag: ETag,
    length: u64,
    pub(crate) crc: Option<Crc64>,
}

/// Copies parts of `from`, an object of `size` bytes, into an upload. The inner error is the server's, left to the
/// caller.
///
/// # Cancel safety
/// Connections are closed; parts that were copied stay in the upload.
pub(crate) async fn copy_parts(
    job: &Job,
    notes: &Notes,
    upload: &UploadId,
    from: (&CopySource, u64),
    parts: &[PartCopy],
) -> Result<Result<Vec<CopiedPart>, Error>, Stop> {
    let (source, size) = from;
    let mut copies = Vec::with_capacity(parts.len());
    for part in parts {
        let range = Some(part.range).filter(|range| range.bytes() < size);
        copies.push((
            part.range.bytes(),
            UploadPartCopy {
                bucket: job.session.target.bucket.clone(),
                key: job.target_key.clone(),
                upload: upload.clone(),
                number: part.number,
                source: source.clone(),
                range,
            },
        ));
    }
    let answers = iter(copies.into_iter().map(|(length, copy)| async move {
        let mut attempts = job.part();
        let answer = job.session.target.client.call(&copy, &mut attempts).await;
        notes.count(&attempts);
        answer.map(|written| CopiedPart { number: copy.number, etag: written.etag, length, crc: written.crc })
    }));
    let answers: Vec<Result<CopiedPart, Error>> = answers.buffered(AT_A_TIME).collect().await;
    Ok(answers.into_iter().collect())
}

/// The ETag that an upload of these parts gets; `None` where their ETags are not digests.
pub(crate) fn etag(parts: &[CopiedPart]) -> Option<ETag> {
    let digests = parts.iter().map(|part| {
        let md5 = match part.etag.kind() {
            ETagKind::ContentMd5(md5) => Some(md5),
            ETagKind::Multipart(..) | ETagKind::OpaqueMultipart(_) | ETagKind::Opaque | ETagKind::Unknown => None,
        };
        Digests { length: part.length, md5, crc: Crc64::EMPTY, sum: None }
    });
    combine(&digests.collect::<Vec<_>>()).etag
}

/// The checksum of all of them in order; `None` where one has not said its own.
pub(crate) fn crc(parts: &[CopiedPart]) -> Option<Crc64> {
    parts.iter().try_fold(Crc64::EMPTY, |before, part| Some(before.followed_by(part.crc?, part.length)))
}

/// The parts as Complete names them; `None` where one has no checksum.
pub(crate) fn named(parts: &[CopiedPart]) -> Option<Vec<CompletedPart>> {
    let name = |part: &CopiedPart| Some(CompletedPart { number: part.number, etag: part.etag.clone(), crc: part.crc? });
    parts.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::object::encryption::Encryption;

    fn copied(number: u64, bytes: &[u8]) -> CopiedPart {
        let Digests { length, md5, crc, .. } = Digests::of(bytes);
        let number = PartNumber::new(number).unwrap();
        CopiedPart { number, etag: ETag::of_content(md5.unwrap()), length, crc: Some(crc) }
    }

    #[test]
    fn etag_and_checksum_of_the_whole_are_known_from_its_copied_parts() {
        let parts = [copied(1, b"hello "), copied(2, b"world")];
        let whole = combine(&[Digests::of(b"hello "), Digests::of(b"world")]);
        assert_eq!(etag(&parts), whole.etag);
        assert_eq!(crc(&parts), Some(Crc64::of(b"hello world")));
        assert_eq!(named(&parts).unwrap().len(), 2);
    }

    #[test]
    fn what_one_part_does_not_say_is_not_known_of_the_whole() {
        let silent = CopiedPart { crc: None, ..copied(2, b"world") };
        let parts = [copied(1, b"hello "), silent];
        assert_eq!((crc(&parts), named(&parts)), (None, None));
        let opaque = CopiedPart { etag: ETag::new("x", &Encryption::Kms(None)), ..copied(2, b"world") };
        assert_eq!(etag(&[copied(1, b"hello "), opaque]), None);
    }
}
