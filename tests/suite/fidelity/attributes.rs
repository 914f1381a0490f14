//! Headers, metadata or tags change and the bytes do not: the target copies its object onto itself, and no byte
//! crosses.
use crate::rig::{At, MIB, assert_settled, content, copy_until, copy_with, count, fault_of, job, pair, put};
use bytes::Bytes;
use fakes::fault::faults::{Action, Fault, Moment};
use fakes::s3::refusal::Refusal;
use fakes::store::attributes::Attributes;
use fakes::store::content::{Algorithm, ChecksumType};
use fakes::store::object::{BucketConfig, Encryption};
use http::StatusCode;
use std::time::Duration;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::decide::plan::EtagMode;
use xpsync::engine::decide::ticket::WhenStopped;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::report::{Outcome, Proof, Report};

/// What a request may bring besides an object's bytes: the document of a Complete.
const NO_OBJECT: u64 = 64 << 10;

fn received(pair: &Pair) -> u64 {
    pair.target.seen().iter().map(|seen| seen.received).sum()
}

fn etag(pair: &Pair, key: &str) -> String {
    pair.target.store().get(TARGET_BUCKET, key).unwrap().etag.clone()
}

fn has_the_sources_attributes(pair: &Pair, key: &str) -> bool {
    let source = pair.source.store().get(SOURCE_BUCKET, key).unwrap();
    let target = pair.target.store().get(TARGET_BUCKET, key).unwrap();
    let plain = |attributes: &Attributes| {
        let mut headers = attributes.headers.clone();
        headers.entry("content-type").or_insert("binary/octet-stream".parse().unwrap());
        (headers, attributes.tags.clone())
    };
    plain(&source.attributes) == plain(&target.attributes)
}

/// An object of which one copy is made, and then the source's attributes are others.
async fn changed(pair: &Pair, key: &str, size: usize) -> Bytes {
    let bytes = content(size, 1);
    put(pair, key, bytes.clone());
    assert_eq!(copy(&pair.job(key).unwrap()).await.outcome, Outcome::Copied);
    change(pair, key);
    bytes
}

fn change(pair: &Pair, key: &str) {
    pair.source.store().change(SOURCE_BUCKET, key, |attributes| {
        *attributes = attributes.clone().header("content-type", "text/plain").meta("a", "b").tag("k", "v");
    });
    pair.target.forget();
}

fn assert_in_place(pair: &Pair, key: &str, before: &str, report: &Report) {
    assert_eq!((report.outcome, report.bytes, report.parts), (Outcome::Copied, 0, 0), "{key}: {report:?}");
    assert!(received(pair) <= NO_OBJECT, "{key}: {} bytes crossed", received(pair));
    assert_eq!(etag(pair, key), before, "{key}: the ETag has changed");
    assert!(has_the_sources_attributes(pair, key), "{key}: the attributes differ");
    assert_settled(pair, key, None, report, key);
    assert_eq!(report.target.etag.as_deref(), Some(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_one_put_is_copied_once_under_both_conditions() {
    let pair = pair().await;
    changed(&pair, "k", MIB).await;
    let before = etag(&pair, "k");
    let report = copy(&pair.job("k").unwrap()).await;
    assert_in_place(&pair, "k", &before, &report);
    assert_eq!(report.verified_by, [Proof::ETag, Proof::Crc64Nvme], "{report:?}");
    let seen = pair.target.seen();
    let copied = seen.iter().find(|seen| seen.operation == "CopyObject").unwrap();
    let quoted = format!("\"{before}\"");
    assert_eq!(copied.if_match(), Some(quoted.as_str()));
    assert_eq!(copied.header("x-amz-copy-source-if-match"), Some(quoted.as_str()));
    assert_eq!(count(&seen, "PutObject"), 0);
    pair.target.forget();
    assert_eq!(copy(&pair.job("k").unwrap()).await.outcome, Outcome::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_that_are_gone_or_others_are_an_attribute_too() {
    let pair = pair().await;
    changed(&pair, "k", MIB).await;
    copy(&pair.job("k").unwrap()).await;
    let before = etag(&pair, "k");
    for tags in [vec![("k".to_owned(), "w".to_owned())], Vec::new()] {
        pair.source.store().change(SOURCE_BUCKET, "k", |attributes| attributes.tags = tags.clone());
        pair.target.forget();
        let report = copy(&pair.job("k").unwrap()).await;
        assert_in_place(&pair, "k", &before, &report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_parts_is_copied_within_its_boundaries() {
    let pair = pair().await;
    // Sent in parts of the table: the boundaries are the target's own.
    changed(&pair, "table", 17 * MIB).await;
    for (key, lengths) in [("even", [8 * MIB, 8 * MIB, MIB]), ("uneven", [6 * MIB, 9 * MIB, 5 * MIB])] {
        let parts: Vec<Bytes> = lengths.iter().enumerate().map(|(n, length)| content(*length, n as u64)).collect();
        pair.source.store().put_parts(SOURCE_BUCKET, key, parts, Attributes::default()).unwrap();
        assert!(copy(&pair.job(key).unwrap()).await.etag_preserved, "{key}");
        change(&pair, key);
    }
    // Under other boundaries than the source's, and uneven ones.
    let parts = [content(7 * MIB, 8), content(5 * MIB, 9), content(6 * MIB, 10)];
    put(&pair, "own", parts.concat().into());
    pair.target.store().put_parts(TARGET_BUCKET, "own", parts, Attributes::default()).unwrap();
    change(&pair, "own");
    for key in ["table", "even", "uneven", "own"] {
        let before = etag(&pair, key);
        pair.target.forget();
        let report = copy(&pair.job(key).unwrap()).await;
        assert_in_place(&pair, key, &before, &report);
        assert!(report.verified_by.contains(&Proof::ETag), "{report:?}");
        assert!(count(&pair.target.seen(), "UploadPartCopy") >= 3, "{key}");
        assert_eq!(copy(&pair.job(key).unwrap()).await.outcome, Outcome::Unchanged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_checksum_on_either_side_leaves_the_etag_to_prove_it() {
    let pair = pair().await;
    let old = BucketConfig { stores_checksums: false, ..BucketConfig::default() };
    pair.source.store().create_bucket(SOURCE_BUCKET, old.clone());
    pair.target.store().create_bucket(TARGET_BUCKET, old);
    let parts = || [content(8 * MIB, 1), content(9 * MIB, 2)];
    put(&pair, "single", content(MIB, 3));
    pair.source.store().put_parts(SOURCE_BUCKET, "parts", parts(), Attributes::default()).unwrap();
    for key in ["single", "parts"] {
        assert!(copy(&pair.job(key).unwrap()).await.etag_preserved);
        change(&pair, key);
        let before = etag(&pair, key);
        let report = copy(&pair.job(key).unwrap()).await;
        assert_in_place(&pair, key, &before, &report);
        assert!(report.verified_by.contains(&Proof::ETag), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sources_own_kind_of_checksum_stays() {
    let pair = pair().await;
    let bytes = content(MIB, 1);
    put(&pair, "k", bytes.clone());
    let sha = Algorithm::Sha256.of_parts(&[bytes], ChecksumType::FullObject);
    pair.source.store().set_checksum(SOURCE_BUCKET, "k", Some(sha.clone()));
    copy(&pair.job("k").unwrap()).await;
    let stored = || pair.target.store().get(TARGET_BUCKET, "k").unwrap().checksum.clone();
    assert_eq!(stored(), Some(sha.clone()));
    change(&pair, "k");
    let before = etag(&pair, "k");
    let report = copy(&pair.job("k").unwrap()).await;
    assert_in_place(&pair, "k", &before, &report);
    assert_eq!(stored(), Some(sha));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_that_do_not_fit_a_request_follow_the_copy() {
    let pair = pair().await;
    for size in [MIB, 17 * MIB] {
        let key = size.to_string();
        changed(&pair, &key, size).await;
        let before = etag(&pair, &key);
        pair.source.store().change(SOURCE_BUCKET, &key, |attributes| {
            attributes.tags = (0..10).map(|n| (format!("{n}{}", "k".repeat(120)), "\u{fc}".repeat(256))).collect();
        });
        pair.target.forget();
        let report = copy(&pair.job(&key).unwrap()).await;
        assert_in_place(&pair, &key, &before, &report);
        assert_eq!(count(&pair.target.seen(), "PutObjectTagging"), 1);
        assert_eq!(copy(&pair.job(&key).unwrap()).await.outcome, Outcome::Unchanged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_our_own_record_calls_equal_is_sent() {
    let pair = pair().await;
    pair.source
        .store()
        .create_bucket(SOURCE_BUCKET, BucketConfig { stores_checksums: false, ..BucketConfig::default() });
    changed(&pair, "k", 17 * MIB).await;
    let report = copy(&pair.job("k").unwrap()).await;
    assert_eq!((report.outcome, report.bytes), (Outcome::Copied, 17 << 20), "{report:?}");
    assert_eq!(count(&pair.target.seen(), "UploadPartCopy"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_target_is_proven_by_checksum() {
    let pair = pair().await;
    let kms = BucketConfig { encryption: Encryption::Kms("key".into()), ..BucketConfig::default() };
    pair.target.store().create_bucket(TARGET_BUCKET, kms);
    for (key, size) in [("single", MIB), ("parts", 17 * MIB)] {
        changed(&pair, key, size).await;
        let report = copy(&pair.job(key).unwrap()).await;
        assert_eq!((report.outcome, report.bytes), (Outcome::Copied, 0), "{report:?}");
        assert_eq!(report.verified_by, [Proof::Crc64Nvme], "{report:?}");
        assert!(received(&pair) <= NO_OBJECT && has_the_sources_attributes(&pair, key));
        assert_settled(&pair, key, None, &report, key);
    }
    // The copy's ETag is another one, so the second attempt finds that its condition does not hold any more.
    pair.source.store().change(SOURCE_BUCKET, "single", |attributes| attributes.tags.clear());
    pair.target.forget();
    let unanswered = Fault::on("CopyObject", Action::Reset(Moment::AfterDoing));
    let report = copy_with(&pair, &pair.job("single").unwrap(), At::Target, unanswered).await;
    assert_eq!((report.outcome, report.bytes), (Outcome::Copied, 0), "{report:?}");
    assert!(has_the_sources_attributes(&pair, "single"));
    assert_eq!(count(&pair.target.seen(), "CopyObject"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_not_answered_is_looked_for() {
    let inside = |code: &str| Action::ErrorAfterDoing(Refusal::of(code));
    for (size, operation) in [(MIB, "CopyObject"), (17 * MIB, "CompleteMultipartUpload"), (17 * MIB, "UploadPartCopy")]
    {
        for (what, action) in [
            ("reset before", Action::Reset(Moment::BeforeDoing)),
            ("reset after", Action::Reset(Moment::AfterDoing)),
            ("half an answer", Action::Truncate(60)),
            ("error after doing", inside("InternalError")),
            ("error in a 200", Action::ErrorInside { refusal: Refusal::of("InternalError"), blanks: 2 }),
            ("blanks", Action::Blanks(3, Duration::from_millis(10))),
            ("500", Action::answer("InternalError")),
            ("slow down", Action::slow_down(10)),
        ] {
            let pair = pair().await;
            changed(&pair, "k", size).await;
            let before = etag(&pair, "k");
            let report = copy_with(&pair, &pair.job("k").unwrap(), At::Target, Fault::on(operation, action)).await;
            assert_eq!(report.outcome, Outcome::Copied, "{operation} {what}: {report:?}");
            assert_in_place(&pair, "k", &before, &report);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_tell_a_copy_that_was_carried_out_from_one_that_was_not() {
    let pair = pair().await;
    put(&pair, "k", content(17 * MIB, 1));
    copy(&pair.job("k").unwrap()).await;
    pair.source.store().change(SOURCE_BUCKET, "k", |attributes| *attributes = attributes.clone().tag("k", "v"));
    // Lost, and when it is sent again the upload is gone: as if it had been carried out.
    let end = |store: &fakes::store::objects::Store| {
        store.open_uploads().iter().for_each(|upload| store.end_upload(&upload.id));
    };
    pair.target.faults().add(Fault::on("CompleteMultipartUpload", Action::Before(Box::new(end))).nth(2));
    let lost = Fault::on("CompleteMultipartUpload", Action::Reset(Moment::BeforeDoing));
    let report = copy_with(&pair, &pair.job("k").unwrap(), At::Target, lost).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert!(has_the_sources_attributes(&pair, "k"), "{report:?}");
    assert_eq!(count(&pair.target.seen(), "CompleteMultipartUpload"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_changes_meanwhile_is_written_under_what_it_is_then() {
    for (size, operation) in [(MIB, "CopyObject"), (17 * MIB, "CompleteMultipartUpload"), (17 * MIB, "UploadPartCopy")]
    {
        for foreign in [Some(content(MIB, 77)), None] {
            let pair = pair().await;
            let bytes = changed(&pair, "k", size).await;
            let hook = move |store: &fakes::store::objects::Store| match &foreign {
                Some(foreign) => drop(store.put(TARGET_BUCKET, "k", foreign.clone(), Attributes::default()).unwrap()),
                None => store.delete(TARGET_BUCKET, "k").unwrap(),
            };
            let fault = Fault::on(operation, Action::Before(Box::new(hook)));
            let report = copy_with(&pair, &pair.job("k").unwrap(), At::Target, fault).await;
            assert_eq!(report.outcome, Outcome::Copied, "{operation}: {report:?}");
            assert_eq!(pair.target.store().get(TARGET_BUCKET, "k").unwrap().bytes(), bytes);
            assert!(has_the_sources_attributes(&pair, "k"), "{operation}");
            assert_settled(&pair, "k", None, &report, operation);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_equal_copy_is_left_alone() {
    let pair = pair().await;
    let bytes = changed(&pair, "k", MIB).await;
    let attributes = pair.source.store().get(SOURCE_BUCKET, "k").unwrap().attributes.clone();
    let hook = move |store: &fakes::store::objects::Store| {
        store.put_parts(TARGET_BUCKET, "k", [bytes.clone()], attributes.clone()).unwrap();
    };
    let fault = Fault::on("CopyObject", Action::Before(Box::new(hook)));
    let report = copy_with(&pair, &pair.job("k").unwrap(), At::Target, fault).await;
    assert_eq!(report.outcome, Outcome::Unchanged, "{report:?}");
    assert_settled(&pair, "k", None, &report, "k");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_meanwhile_is_copied_as_it_is_then() {
    let pair = pair().await;
    changed(&pair, "k", MIB).await;
    let source = pair.source.store();
    source.put(SOURCE_BUCKET, "next", content(MIB, 5), Attributes::default().meta("new", "yes")).unwrap();
    let next = source.get(SOURCE_BUCKET, "next").unwrap();
    pair.source.faults().add(
        // The look after the copy, before which the source is another one.
        Fault::on(
            "HeadObject",
            Action::Before(Box::new(move |store| {
                store.put(SOURCE_BUCKET, "k", next.bytes(), next.attributes.clone()).unwrap();
            })),
        ),
    );
    let report = copy(&pair.job("k").unwrap()).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert!(has_the_sources_attributes(&pair, "k"));
    assert_settled(&pair, "k", None, &report, "k");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_makes_no_such_copies_is_sent_the_bytes() {
    let refusals = [
        ("NotImplemented", Refusal::of("NotImplemented")),
        ("MethodNotAllowed", Refusal::of("MethodNotAllowed")),
        ("InvalidRequest", Refusal::of("InvalidRequest")),
        ("kms", Refusal::of("AccessDenied").because("not authorized to perform: kms:Decrypt")),
        ("a condition it reads otherwise", Refusal::of("PreconditionFailed").status(StatusCode::PRECONDITION_FAILED)),
    ];
    for (size, operation) in [(MIB, "CopyObject"), (17 * MIB, "UploadPartCopy")] {
        for (what, refusal) in &refusals {
            // To a part copy a condition that does not hold means that the target has changed.
            if operation == "UploadPartCopy" && *what == "a condition it reads otherwise" {
                continue;
            }
            let pair = pair().await;
            changed(&pair, "k", size).await;
            let fault = Fault::on(operation, Action::Answer(refusal.clone())).always();
            let report = copy_with(&pair, &pair.job("k").unwrap(), At::Target, fault).await;
            assert_eq!(
                (report.outcome, report.bytes),
                (Outcome::Copied, size as u64),
                "{operation} {what}: {report:?}"
            );
            assert!(report.reason.as_deref().unwrap().contains("the bytes were sent"), "{report:?}");
            assert!(has_the_sources_attributes(&pair, "k"));
            assert_settled(&pair, "k", None, &report, what);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_target_is_sent_the_bytes() {
    let pair = pair().await;
    changed(&pair, "k", MIB).await;
    pair.target.store().change(TARGET_BUCKET, "k", |attributes| {
        *attributes = attributes.clone().storage_class("GLACIER");
    });
    let report = copy(&pair.job("k").unwrap()).await;
    assert_eq!((report.outcome, report.bytes), (Outcome::Copied, MIB as u64), "{report:?}");
    assert!(has_the_sources_attributes(&pair, "k"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_the_middle_leaves_no_upload_and_the_same_bytes() {
    for (size, operation) in [(MIB, "CopyObject"), (17 * MIB, "UploadPartCopy")] {
        let pair = pair().await;
        let bytes = changed(&pair, "k", size).await;
        let mut job = job(&pair, "k");
        job.ongoing.when_stopped = WhenStopped::Keep;
        let report = copy_until(&pair, &mut job, operation, 1).await;
        assert_eq!(fault_of(&report, operation).class, FaultClass::Interrupted, "{report:?}");
        assert_settled(&pair, "k", Some(&bytes), &report, operation);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_sent_otherwise_gets_the_sources_etag_when_it_is_asked_for() {
    let pair = pair().await;
    put(&pair, "single", content(17 * MIB, 1));
    let parts = [content(6 * MIB, 2), content(8 * MIB, 3), content(MIB, 4)];
    pair.source.store().put_parts(SOURCE_BUCKET, "parts", parts.clone(), Attributes::default()).unwrap();
    pair.target.store().put(TARGET_BUCKET, "parts", parts.concat(), Attributes::default()).unwrap();
    assert!(!copy(&pair.job("single").unwrap()).await.etag_preserved);
    for key in ["single", "parts"] {
        assert_eq!(copy(&pair.job(key).unwrap()).await.outcome, Outcome::Unchanged, "{key}");
        pair.target.forget();
        let mut job = pair.job(key).unwrap();
        job.session.options.etag = EtagMode::Preserve;
        let report = copy(&job).await;
        let source = pair.source.store().get(SOURCE_BUCKET, key).unwrap().etag.clone();
        assert!(report.etag_preserved, "{key}: {report:?}");
        assert_in_place(&pair, key, &source, &report);
        assert_eq!(copy(&job).await.outcome, Outcome::Unchanged);
    }
}
