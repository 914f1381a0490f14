//! Parts whose MD5s only the target computes, because both sides' ETags are made of them: its word is held against the
//! source's ETag before the object is there, and where it does not hold, the source is read again.

use crate::rig::{MIB, assert_settled, content, count, job, on, pair};
use fakes::fault::faults::Action;
use fakes::store::attributes::Attributes;
use fakes::store::object::{BucketConfig, Encryption};
use std::sync::Arc;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::buffer::{BufferLimits, Buffers, TmpLimit};
use xpsync::engine::copy::copy;
use xpsync::engine::job::Job;
use xpsync::engine::report::{Outcome, Proof, Report};

const KEY: &str = "k";
const LENGTHS: [usize; 4] = [6 * MIB, 6 * MIB, 6 * MIB, 1000];

/// A source that was put together from parts, with or without a stored checksum.
async fn begun(stores_checksums: bool) -> Pair {
    let pair = pair().await;
    pair.source.store().create_bucket(SOURCE_BUCKET, BucketConfig { stores_checksums, ..BucketConfig::default() });
    put_parts(&pair, KEY);
    pair
}

fn put_parts(pair: &Pair, key: &str) {
    let parts = LENGTHS.iter().enumerate().map(|(index, length)| content(*length, index as u64));
    pair.source.store().put_parts(SOURCE_BUCKET, key, parts, Attributes::default()).unwrap();
}

fn assert_proven(report: &Report, by: &[Proof]) {
    assert_eq!((report.outcome, report.verified_by.as_slice()), (Outcome::Copied, by), "{report:?}");
}

/// How often a range of the source was read.
fn reads(pair: &Pair) -> usize {
    count(&pair.source.seen(), "GetObject")
}

/// A job that streams its parts to a server that knows no checksum behind them and says none of its own, so that only
/// ETags show what it has.
fn by_etags_alone(pair: &Pair) -> Job {
    let limits = BufferLimits { memory: 1 << 20, tmp_dir: "/tmp".into(), tmp: TmpLimit::Bytes(1 << 20) };
    let mut job = job(pair, KEY);
    job.session.buffers = Arc::new(Buffers::new(limits));
    job.session.target.client.quirks().send_no_trailers();
    pair.target.faults().add(on("UploadPart", Action::drop_header("x-amz-checksum-crc64nvme")).always());
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn the_targets_own_md5s_show_both_sides() {
    use Proof::{Crc64Nvme, ETag, SourceChecksum, SourceETag};
    for (stores, by) in
        [(true, &[ETag, Crc64Nvme, SourceETag, SourceChecksum][..]), (false, &[ETag, Crc64Nvme, SourceETag])]
    {
        let pair = begun(stores).await;
        let report = copy(&job(&pair, KEY)).await;
        assert_proven(&report, by);
        assert!(report.etag_preserved, "{report:?}");
        assert_settled(&pair, KEY, None, &report, "the target's MD5s");
        assert_eq!(count(&pair.target.seen(), "UploadPart"), LENGTHS.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_changed_on_its_way_is_found_by_reading_the_source_again_and_sent_again() {
    use Proof::{Crc64Nvme, ETag, PartMd5, SourceChecksum, SourceETag};
    let both = &[ETag, Crc64Nvme, PartMd5, SourceETag, SourceChecksum];
    for (stores, by) in [(true, &both[..]), (false, &both[..4])] {
        let pair = begun(stores).await;
        let job = by_etags_alone(&pair);
        let flipped = pair.target.faults().add(on("UploadPart", Action::FlipRequest(3_000_000)).part(2));
        let report = copy(&job).await;
        assert_eq!(flipped.count(), 1, "{report:?}");
        assert_proven(&report, by);
        assert_settled(&pair, KEY, None, &report, "a flipped bit");
        let sent = count(&pair.target.seen(), "UploadPart");
        assert_eq!((sent, report.parts, report.resumed_parts), (LENGTHS.len() + 1, 4, 0), "{report:?}");
        assert_eq!(count(&pair.target.seen(), "CompleteMultipartUpload"), 1, "it was found out before");
        // The first look; each part sent and looked at again; one of them sent again.
        assert_eq!(reads(&pair), 1 + 2 * LENGTHS.len() + 1, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_read_wrongly_is_found_so_too() {
    let pair = begun(false).await;
    let job = by_etags_alone(&pair);
    let flipped = pair.source.faults().add(on("GetObject", Action::Flip(10)).nth(3));
    let report = copy(&job).await;
    assert_eq!(flipped.count(), 1, "{report:?}");
    assert!(report.verified_by.contains(&Proof::SourceETag), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "a flipped bit of the source");
    assert_eq!(count(&pair.target.seen(), "UploadPart"), LENGTHS.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_turns_out_to_be_encrypted_has_no_word_in_it() {
    use Proof::{Crc64Nvme, SourceChecksum, SourceETag};
    for (stores, by) in [(true, &[Crc64Nvme, SourceChecksum][..]), (false, &[Crc64Nvme, SourceETag])] {
        let pair = begun(stores).await;
        let kms = BucketConfig { encryption: Encryption::Kms("key".into()), ..BucketConfig::default() };
        pair.target.store().create_bucket(TARGET_BUCKET, kms);
        let first = job(&pair, KEY);
        let report = copy(&first).await;
        assert_proven(&report, by);
        assert_settled(&pair, KEY, None, &report, "an encrypted target");
        assert_eq!(count(&pair.target.seen(), "UploadPart"), LENGTHS.len(), "nothing is sent twice");
        // Where the source's ETag is all that shows it, it is read a second time for that; of the next one this is
        // known.
        put_parts(&pair, "next");
        pair.source.forget();
        let mut next = job(&pair, "next");
        next.session.target = first.session.target.clone();
        let report = copy(&next).await;
        assert!(report.verified_by.contains(&SourceETag), "{report:?}");
        assert_eq!(reads(&pair), 1 + LENGTHS.len(), "{report:?}");
    }
}
