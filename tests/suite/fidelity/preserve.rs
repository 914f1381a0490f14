//! `--etag preserve` for objects whose own pieces are too large to be sent: stages, and that nothing of them stays.
use crate::rig::{
    At, KIB, MIB, assert_settled, content, copy_until, copy_with, count, fault_of, job as impatient_job, pair, put,
};
use bytes::Bytes;
use fakes::fault::faults::{Action, Fault, Moment};
use fakes::s3::refusal::Refusal;
use fakes::store::attributes::Attributes;
use fakes::store::object::{BucketConfig, Encryption};
use fakes::store::objects::Store;
use std::sync::Arc;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::buffer::{BufferLimits, Buffers, TmpLimit};
use xpsync::engine::copy::copy;
use xpsync::engine::decide::plan::EtagMode;
use xpsync::engine::decide::reserved::PREFIX;
use xpsync::engine::decide::staging;
use xpsync::engine::decide::ticket::WhenStopped;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::job::{Job, Trigger};
use xpsync::engine::report::{Outcome, Proof, Report};

/// The first is larger than the jobs here send as it is.
const PARTS: [usize; 4] = [6 * MIB, 5 * MIB, 5 * MIB, MIB + 1];

/// A job that asks for the ETag, with stages of at most 11 MiB for pieces of more than 5 MiB, and memory for one of
/// them.
fn preserving(mut job: Job) -> Job {
    job.session.options.etag = EtagMode::Preserve;
    job.session.options.staging =
        staging::StagingLimits { put: 5 << 20, part: 5 << 20, stage: 11 << 20, ..staging::StagingLimits::default() };
    let limits = BufferLimits { memory: 11 << 20, tmp_dir: std::env::temp_dir(), tmp: TmpLimit::Bytes(0) };
    job.session.buffers = Arc::new(Buffers::new(limits));
    job
}

fn job(pair: &Pair, key: &str) -> Job {
    preserving(pair.job(key).unwrap())
}

/// Two objects: `single` of one PUT, `parts` of uneven parts.
fn seed(pair: &Pair) {
    let attributes = Attributes::default().header("content-type", "text/plain").meta("a", "b").tag("k", "v");
    let store = pair.source.store();
    store.put(SOURCE_BUCKET, "single", content(10 * MIB + 1, 1), attributes.clone()).unwrap();
    let parts: Vec<Bytes> = PARTS.iter().enumerate().map(|(n, length)| content(*length, n as u64)).collect();
    store.put_parts(SOURCE_BUCKET, "parts", parts, attributes).unwrap();
}

const KEYS: [&str; 2] = ["single", "parts"];

/// The last write of each of them.
fn last(key: &str) -> &'static str {
    if key == "single" { "CopyObject" } else { "CompleteMultipartUpload" }
}

/// Keys under the reserved prefix that the target was ever asked about.
fn stages(pair: &Pair) -> Vec<String> {
    let mut keys: Vec<String> = pair.target.seen().into_iter().map(|seen| seen.key).collect();
    keys.retain(|key| key.starts_with(PREFIX));
    keys.sort();
    keys.dedup();
    keys
}

/// Nothing of a stage is left, not even a version or a marker, and no upload.
fn assert_clean(pair: &Pair, what: &str) {
    let store = pair.target.store();
    for key in stages(pair) {
        let versions = store.versions(TARGET_BUCKET, &key);
        assert!(versions.is_empty(), "{what}: {key} has versions {versions:?}");
    }
    assert!(store.keys(TARGET_BUCKET).iter().all(|key| !key.starts_with(PREFIX)), "{what}");
    assert!(pair.target.open_uploads().is_empty(), "{what}: an upload is open");
}

fn assert_preserved(pair: &Pair, key: &str, report: &Report) {
    assert_eq!(report.outcome, Outcome::Copied, "{key}: {report:?}");
    let source = pair.source.store().get(SOURCE_BUCKET, key).unwrap();
    let target = pair.target.store().get(TARGET_BUCKET, key).unwrap();
    assert_eq!(source.etag, target.etag, "{key}");
    assert!(source.bytes() == target.bytes(), "{key}: the bytes differ");
    assert!(source.attributes == target.attributes, "{key}: {:?} {:?}", source.attributes, target.attributes);
    assert!(report.etag_preserved, "{key}: {report:?}");
    assert!(report.verified_by.contains(&Proof::ETag) && report.verified_by.contains(&Proof::SourceETag));
    assert_clean(pair, key);
    assert_settled(pair, key, None, report, key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_put_and_large_parts_keep_their_etag_within_a_small_budget() {
    let pair = pair().await;
    seed(&pair);
    for key in KEYS {
        pair.target.forget();
        let report = copy(&job(&pair, key)).await;
        assert_preserved(&pair, key, &report);
        let size = pair.source.store().get(SOURCE_BUCKET, key).unwrap().content.len();
        assert_eq!(report.bytes, size, "{report:?}");
        let seen = pair.target.seen();
        let largest = seen.iter().filter(|seen| seen.operation == "UploadPart").map(|seen| seen.received).max();
        // The bytes of a piece and what frames them.
        assert!(largest.unwrap() < (10 << 20) + 4_096, "{largest:?}");
        let crossed: u64 = seen.iter().map(|seen| seen.received).sum();
        assert!(crossed < size + (1 << 20), "{key}: {crossed} of {size}");
        assert_eq!(copy(&job(&pair, key)).await.outcome, Outcome::Unchanged);
    }
    // 6 and 5 MiB, then the others.
    assert_eq!(stages(&pair).len(), 2, "{:?}", stages(&pair));
    let target = pair.target.store().get(TARGET_BUCKET, "parts").unwrap();
    let lengths: Vec<usize> = target.parts.iter().map(|part| usize::try_from(part.size).unwrap()).collect();
    assert_eq!(lengths, PARTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_stored_checksum_is_proven_by_the_etag_before_anything_is_written() {
    let pair = pair().await;
    pair.source
        .store()
        .create_bucket(SOURCE_BUCKET, BucketConfig { stores_checksums: false, ..BucketConfig::default() });
    seed(&pair);
    for key in KEYS {
        let report = copy(&job(&pair, key)).await;
        assert_preserved(&pair, key, &report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_read_wrongly_are_never_the_objects() {
    for stores_checksums in [true, false] {
        let pair = pair().await;
        let config = BucketConfig { stores_checksums, ..BucketConfig::default() };
        pair.source.store().create_bucket(SOURCE_BUCKET, config);
        pair.target.store().create_bucket(TARGET_BUCKET, BucketConfig { versioned: true, ..BucketConfig::default() });
        seed(&pair);
        for key in KEYS {
            // The GET that pins reads nothing of it, so the second is a piece's.
            let flip = Fault::on("GetObject", Action::Flip(1_000)).nth(2).key(key);
            let report = copy_with(&pair, &job(&pair, key), At::Source, flip).await;
            assert_preserved(&pair, key, &report);
            let versions = pair.target.store().versions(TARGET_BUCKET, key);
            assert_eq!(versions.len(), 1, "{key} {stores_checksums}: a wrong version was written");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_always_differ_from_the_sources_etag_are_given_up() {
    let pair = pair().await;
    pair.source
        .store()
        .create_bucket(SOURCE_BUCKET, BucketConfig { stores_checksums: false, ..BucketConfig::default() });
    seed(&pair);
    for key in KEYS {
        let flip = Fault::on("GetObject", Action::Flip(1_000)).nth(2).always().key(key);
        let report = copy_with(&pair, &job(&pair, key), At::Source, flip).await;
        assert_eq!(fault_of(&report, key).class, FaultClass::Integrity, "{report:?}");
        assert!(pair.target.store().get(TARGET_BUCKET, key).is_none());
        assert_clean(&pair, key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_versioned_target_stages_are_removed_by_version() {
    let pair = pair().await;
    pair.target.store().create_bucket(TARGET_BUCKET, BucketConfig { versioned: true, ..BucketConfig::default() });
    seed(&pair);
    for key in KEYS {
        let report = copy(&job(&pair, key)).await;
        assert_preserved(&pair, key, &report);
    }
    let seen = pair.target.seen();
    let deletes: Vec<_> = seen.iter().filter(|seen| seen.operation == "DeleteObject").collect();
    assert_eq!(deletes.len(), 3);
    assert!(deletes.iter().all(|seen| seen.query.contains("versionId=") && seen.key.starts_with(PREFIX)));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_encryption_makes_etags_opaque_the_report_says_that_it_could_not_be_kept() {
    let kms = || BucketConfig { encryption: Encryption::Kms("key".into()), ..BucketConfig::default() };
    let with_source = |report: &Report, key: &str| {
        assert_eq!((report.outcome, report.etag_preserved), (Outcome::Copied, false), "{key}: {report:?}");
        assert!(
            report.reason.as_deref().unwrap().contains("encrypted with KMS, where ETags are not MD5s"),
            "{key}: {report:?}"
        );
        assert!(report.verified_by.contains(&Proof::Crc64Nvme), "{key}: {report:?}");
    };
    // The target's default, which nobody knows before something is there.
    let pair = pair().await;
    pair.target.store().create_bucket(TARGET_BUCKET, kms());
    seed(&pair);
    for key in KEYS {
        let report = copy(&job(&pair, key)).await;
        with_source(&report, key);
        assert_settled(&pair, key, None, &report, key);
        assert_eq!(copy(&job(&pair, key)).await.outcome, Outcome::Unchanged);
    }
    assert_clean(&pair, "target");
    // A key that was asked for: no stage is worth it.
    let pair = self::pair().await;
    seed(&pair);
    for key in KEYS {
        let mut job = job(&pair, key);
        job.session.options.kms_key = Some("key".into());
        with_source(&copy(&job).await, key);
    }
    assert!(stages(&pair).is_empty());
    // The source's own.
    let pair = self::pair().await;
    pair.source.store().create_bucket(SOURCE_BUCKET, kms());
    seed(&pair);
    for key in KEYS {
        with_source(&copy(&job(&pair, key)).await, key);
    }
    assert!(stages(&pair).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_turns_out_to_make_opaque_etags_gets_no_bytes_that_the_sources_etag_convicts() {
    let pair = pair().await;
    let kms = BucketConfig { encryption: Encryption::Kms("key".into()), ..BucketConfig::default() };
    pair.target.store().create_bucket(TARGET_BUCKET, kms);
    let bare = BucketConfig { stores_checksums: false, ..BucketConfig::default() };
    pair.source.store().create_bucket(SOURCE_BUCKET, bare);
    seed(&pair);
    for key in KEYS {
        let report = copy(&job(&pair, key)).await;
        assert_eq!((report.outcome, report.etag_preserved), (Outcome::Copied, false), "{key}: {report:?}");
        assert!(report.verified_by.contains(&Proof::SourceETag), "{key}: {report:?}");
        pair.target.store().delete(TARGET_BUCKET, key).unwrap();
        pair.source.store().rot(SOURCE_BUCKET, key, 3 << 20);
        let report = copy(&job(&pair, key)).await;
        assert_eq!(fault_of(&report, key).class, FaultClass::Integrity, "{key}: {report:?}");
        assert!(pair.target.store().get(TARGET_BUCKET, key).is_none(), "{key}");
    }
    assert_clean(&pair, "target");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_answered_or_answered_wrongly_is_settled() {
    for key in KEYS {
        for (operation, nth) in [
            ("CreateMultipartUpload", 1),
            ("UploadPart", 1),
            // The stage's, and of parts the object's own.
            ("CompleteMultipartUpload", 1),
            ("CompleteMultipartUpload", 3),
            ("UploadPartCopy", 2),
            ("CopyObject", 1),
            ("HeadObject", 1),
            ("HeadObject", 2),
            ("DeleteObject", 1),
        ] {
            let is_made = match operation {
                "UploadPartCopy" => key == "parts",
                "CopyObject" => key == "single",
                _ => nth < 3 || key == "parts",
            };
            let actions = [
                ("reset before", Action::Reset(Moment::BeforeDoing)),
                ("reset after", Action::Reset(Moment::AfterDoing)),
                ("error in a 200", Action::ErrorInside { refusal: Refusal::of("InternalError"), blanks: 2 }),
                ("error after doing", Action::ErrorAfterDoing(Refusal::of("InternalError"))),
            ];
            for (what, action) in actions.into_iter().filter(|_| is_made) {
                // Nothing but a status answers a HEAD.
                if operation == "HeadObject" && what.starts_with("error") {
                    continue;
                }
                let pair = pair().await;
                pair.target
                    .store()
                    .create_bucket(TARGET_BUCKET, BucketConfig { versioned: true, ..BucketConfig::default() });
                seed(&pair);
                let fault = Fault::on(operation, action).nth(nth);
                let report = copy_with(&pair, &job(&pair, key), At::Target, fault).await;
                assert_eq!(report.outcome, Outcome::Copied, "{key} {operation} {nth} {what}: {report:?}");
                assert_preserved(&pair, key, &report);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_at_any_moment_leaves_no_stage_and_no_upload() {
    for key in KEYS {
        for (operation, nth) in [
            ("CreateMultipartUpload", 1),
            ("CreateMultipartUpload", 2),
            ("UploadPart", 2),
            ("CompleteMultipartUpload", 1),
            ("UploadPartCopy", 1),
            ("CopyObject", 1),
        ] {
            let is_made = match (operation, nth) {
                ("UploadPartCopy", _) | ("CreateMultipartUpload", 2) => key == "parts",
                ("CopyObject", _) => key == "single",
                _ => true,
            };
            if !is_made {
                continue;
            }
            let pair = pair().await;
            pair.target
                .store()
                .create_bucket(TARGET_BUCKET, BucketConfig { versioned: true, ..BucketConfig::default() });
            seed(&pair);
            let mut job = preserving(impatient_job(&pair, key));
            // A stage is nothing that another invocation could resume.
            job.ongoing.when_stopped = WhenStopped::Keep;
            let what = format!("{key} {operation} {nth}");
            let report = copy_until(&pair, &mut job, operation, nth).await;
            assert_eq!(fault_of(&report, &what).class, FaultClass::Interrupted, "{what}: {report:?}");
            assert_clean(&pair, &what);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_changes_meanwhile_is_written_under_what_it_is_then() {
    for key in KEYS {
        let pair = pair().await;
        seed(&pair);
        let hook = move |store: &Store| {
            store.put(TARGET_BUCKET, key, content(KIB, 77), Attributes::default()).unwrap();
        };
        let fault = Fault::on(last(key), Action::Before(Box::new(hook))).key(key);
        let report = copy_with(&pair, &job(&pair, key), At::Target, fault).await;
        assert_preserved(&pair, key, &report);
        let parts = count(&pair.target.seen(), "UploadPart");
        assert_eq!(parts, if key == "single" { 2 } else { 4 }, "sent once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_replaced_meanwhile_is_begun_anew() {
    for key in KEYS {
        let pair = pair().await;
        seed(&pair);
        let next = pair.source.store().get(SOURCE_BUCKET, if key == "single" { "parts" } else { "single" }).unwrap();
        let lengths: Vec<u64> = next.parts.iter().map(|part| part.size).collect();
        let hook = move |store: &Store| {
            let mut start = 0;
            let mut cut = |length: &u64| {
                let part = next.content.slice(start..start + length);
                start += length;
                Bytes::from(part.to_vec())
            };
            let attributes = next.attributes.clone();
            if lengths.is_empty() {
                store.put(SOURCE_BUCKET, key, next.bytes(), attributes).unwrap();
            } else {
                let parts: Vec<Bytes> = lengths.iter().map(&mut cut).collect();
                store.put_parts(SOURCE_BUCKET, key, parts, attributes).unwrap();
            }
        };
        let fault = Fault::on("GetObject", Action::Before(Box::new(hook))).nth(3).key(key);
        let report = copy_with(&pair, &job(&pair, key), At::Source, fault).await;
        assert_preserved(&pair, key, &report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_somebody_removes_is_made_again() {
    for (key, operation) in [("single", "CopyObject"), ("parts", "UploadPartCopy")] {
        let pair = pair().await;
        seed(&pair);
        let hook = |store: &Store| {
            for stage in store.keys(TARGET_BUCKET).iter().filter(|key| key.starts_with(PREFIX)) {
                store.delete(TARGET_BUCKET, stage).unwrap();
            }
        };
        let fault = Fault::on(operation, Action::Before(Box::new(hook)));
        let report = copy_with(&pair, &job(&pair, key), At::Target, fault).await;
        assert_preserved(&pair, key, &report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_refuses_fails_and_leaves_nothing() {
    for (key, operation) in [("single", "CopyObject"), ("parts", "UploadPartCopy"), ("parts", "UploadPart")] {
        let pair = pair().await;
        seed(&pair);
        let fault = Fault::on(operation, Action::answer("NotImplemented")).always();
        let report = copy_with(&pair, &job(&pair, key), At::Target, fault).await;
        assert_eq!(fault_of(&report, operation).operation, Some(operation), "{report:?}");
        assert_clean(&pair, operation);
        assert!(pair.target.store().get(TARGET_BUCKET, key).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_may_not_be_removed_is_named() {
    let pair = pair().await;
    seed(&pair);
    pair.target.policy().deny("s3:DeleteObject", TARGET_BUCKET, PREFIX);
    let report = copy(&job(&pair, "single")).await;
    assert_eq!((report.outcome, report.etag_preserved), (Outcome::Copied, true), "{report:?}");
    let left = pair.target.store().keys(TARGET_BUCKET);
    let reason = report.reason.unwrap();
    assert!(reason.contains(left[0].as_str()) && left[0].starts_with(PREFIX), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_the_target_suffices_and_lets_only_stages_be_removed_by_version() {
    let policy: serde_json::Value = serde_json::from_str(include_str!("../../../target-s3-policy.json")).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let actions = |statement: &serde_json::Value| -> Vec<String> {
        let one = statement["Action"].as_str().map(|action| vec![action.to_owned()]);
        let names = |actions: &Vec<serde_json::Value>| -> Vec<String> {
            actions.iter().map(|action| action.as_str().unwrap().to_owned()).collect()
        };
        one.or_else(|| statement["Action"].as_array().map(names)).unwrap()
    };
    let all: Vec<String> = statements.iter().flat_map(actions).collect();
    let by_version = statements.iter().find(|statement| actions(statement).contains(&"s3:DeleteObjectVersion".into()));
    assert_eq!(by_version.unwrap()["Resource"], format!("arn:aws:s3:::TARGET_BUCKET/{PREFIX}*"));
    for versioned in [false, true] {
        let pair = pair().await;
        pair.target.store().create_bucket(TARGET_BUCKET, BucketConfig { versioned, ..BucketConfig::default() });
        seed(&pair);
        pair.target.policy().allow_only(all.clone());
        for key in KEYS {
            pair.target.policy().deny("s3:DeleteObject", TARGET_BUCKET, key);
            pair.target.policy().deny("s3:DeleteObjectVersion", TARGET_BUCKET, key);
            let report = copy(&job(&pair, key)).await;
            assert_preserved(&pair, key, &report);
            pair.source.store().change(SOURCE_BUCKET, key, |attributes| attributes.tags.clear());
            let report = copy(&job(&pair, key)).await;
            assert_eq!((report.outcome, report.bytes), (Outcome::Copied, 0), "{report:?}");
            assert!(report.reason.is_none(), "{report:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_s3_cannot_make_is_refused_before_anything_is_sent() {
    let pair = pair().await;
    // A part of nothing: no range of a stage is empty.
    let parts = [content(9 * MIB, 1), Bytes::new()];
    pair.source.store().put_parts(SOURCE_BUCKET, "empty last", parts, Attributes::default()).unwrap();
    let parts = [content(MIB, 1), content(9 * MIB, 2)];
    pair.source.store().put_parts(SOURCE_BUCKET, "small first", parts, Attributes::default()).unwrap();
    for key in ["empty last", "small first"] {
        let report = copy(&job(&pair, key)).await;
        assert_eq!(fault_of(&report, key).class, FaultClass::Configuration, "{report:?}");
        assert!(pair.target.seen().iter().all(|seen| seen.operation == "HeadObject"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_copied_to_under_the_reserved_prefix() {
    let pair = pair().await;
    let stage = format!("{PREFIX}stages/1");
    put(&pair, &stage, content(10, 1));
    let mut job = pair.job(&stage).unwrap();
    let report = copy(&job).await;
    assert_eq!(report.outcome, Outcome::Ignored, "{report:?}");
    assert!(report.reason.unwrap().contains(PREFIX));
    job.trigger = Trigger::Command;
    let report = copy(&job).await;
    assert_eq!(fault_of(&report, "command").class, FaultClass::Configuration);
    assert!(pair.target.seen().is_empty() && pair.source.seen().is_empty());
    job.target_key = xpsync::s3::Key::new("elsewhere").unwrap();
    assert_eq!(copy(&job).await.outcome, Outcome::Copied);
}
