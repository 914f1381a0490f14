//! Objects whose ETags say nothing, and objects with checksums of other kinds: what proves them, and what the target
//! gets.

use crate::rig::{KIB, MIB, SIZES, content, count, pair, put};
use bytes::Bytes;
use fakes::fault::faults::{Action, Fault};
use fakes::store::attributes::Attributes;
use fakes::store::content::{Algorithm, ChecksumType};
use fakes::store::object::{BucketConfig, Encryption};
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::job::Job;
use xpsync::engine::report::{Outcome, Proof, Report};

const OTHERS: [Algorithm; 4] = [Algorithm::Crc32, Algorithm::Crc32C, Algorithm::Sha1, Algorithm::Sha256];

fn kms() -> Encryption {
    Encryption::Kms("arn:aws:kms:us-west-2:111122223333:key/k".into())
}

fn encrypt(pair: &Pair, source: &Encryption, target: &Encryption) {
    let config = |encryption: &Encryption| BucketConfig { encryption: encryption.clone(), ..BucketConfig::default() };
    pair.source.store().create_bucket(SOURCE_BUCKET, config(source));
    pair.target.store().create_bucket(TARGET_BUCKET, config(target));
}

/// An object of one PUT whose client named this checksum; nothing stored if it named none.
fn put_with(pair: &Pair, key: &str, bytes: Bytes, algorithm: Option<Algorithm>) {
    put(pair, key, bytes.clone());
    let checksum = algorithm.map(|algorithm| algorithm.of_parts(&[bytes], ChecksumType::FullObject));
    pair.source.store().set_checksum(SOURCE_BUCKET, key, checksum);
}

/// An object of parts whose client named this checksum.
fn put_parts_with(pair: &Pair, key: &str, parts: &[Bytes], algorithm: Algorithm, kind: ChecksumType) {
    pair.source.store().put_parts(SOURCE_BUCKET, key, parts.to_vec(), Attributes::default()).unwrap();
    pair.source.store().set_checksum(SOURCE_BUCKET, key, Some(algorithm.of_parts(parts, kind)));
}

async fn copied(pair: &Pair, job: &Job) -> Report {
    let key = job.source_key.as_str();
    let report = copy(job).await;
    assert_eq!(report.outcome, Outcome::Copied, "{key}: {report:?}");
    let bytes = |at: &fakes::server::Server, bucket| at.store().get(bucket, key).unwrap().bytes();
    assert!(bytes(&pair.source, SOURCE_BUCKET) == bytes(&pair.target, TARGET_BUCKET), "{key}");
    report
}

fn proves_source(report: &Report) -> bool {
    report.verified_by.iter().any(|proof| matches!(proof, Proof::SourceETag | Proof::SourceChecksum))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encryption_of_both_sides_is_proven_as_far_as_it_can_be_and_the_report_says_how_far() {
    let pair = pair().await;
    let kinds = [Encryption::Plain, Encryption::Aes256, kms(), Encryption::Dsse("k".into())];
    let is_opaque = |encryption: &Encryption| encryption.asks_kms();
    for (number, source) in kinds.iter().enumerate() {
        for (other, target) in kinds.iter().enumerate() {
            encrypt(&pair, source, target);
            // What a new object's ETag will be is learned from the first that is written.
            let client = pair.job("first").unwrap().session.target.client;
            let job = |key: &str| {
                let mut job = pair.job(key).unwrap();
                job.session.target.client = client.clone();
                job
            };
            let first = format!("first-{number}-{other}");
            put(&pair, &first, content(KIB, 1));
            copied(&pair, &job(&first)).await;
            for (stored, algorithm) in
                [("none", None), ("crc64", Some(Algorithm::Crc64Nvme)), ("sha", Some(Algorithm::Sha256))]
            {
                for size in SIZES {
                    let key = format!("{number}-{other}-{stored}-{size}");
                    put_with(&pair, &key, content(size, size as u64), algorithm);
                    let report = copied(&pair, &job(&key)).await;
                    let what = format!("{source:?} {target:?} {stored} {size}: {report:?}");
                    assert!(report.is_proven(), "{what}");
                    assert_eq!(report.verified_by.contains(&Proof::ETag), !is_opaque(target), "{what}");
                    let can_be_shown = algorithm.is_some() || !is_opaque(source);
                    assert_eq!(proves_source(&report), can_be_shown, "{what}");
                    assert_eq!(report.reason.is_none(), can_be_shown, "{what}");
                    let kept = size < 17 * MIB && !is_opaque(source) && !is_opaque(target);
                    assert_eq!(report.etag_preserved, kept, "{what}");
                    let again = copy(&job(&key)).await;
                    assert_eq!((again.outcome, again.bytes), (Outcome::Unchanged, 0), "{what} {again:?}");
                }
            }
        }
    }
    assert!(pair.target.open_uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_checksum_proves_a_source_whose_etag_says_nothing() {
    let pair = pair().await;
    encrypt(&pair, &kms(), &Encryption::Aes256);
    for algorithm in OTHERS {
        for size in SIZES {
            let key = format!("{}-{size}", algorithm.name());
            put_with(&pair, &key, content(size, 3), Some(algorithm));
            let report = copied(&pair, &pair.job(&key).unwrap()).await;
            assert_eq!(report.verified_by.last(), Some(&Proof::SourceChecksum), "{report:?}");
            assert_eq!(report.reason, None);
        }
        let parts = [content(6 * MIB, 1), content(6 * MIB, 2), content(MIB, 3)];
        for (shape, parts) in [("small", &parts[2..3]), ("parts", &parts[1..3]), ("even", &parts[..])] {
            let key = format!("{}-{shape}", algorithm.name());
            put_parts_with(&pair, &key, parts, algorithm, ChecksumType::Composite);
            let report = copied(&pair, &pair.job(&key).unwrap()).await;
            assert_eq!(report.verified_by.last(), Some(&Proof::SourceChecksum), "{key} {report:?}");
        }
        // In parts of another size than the source's, its checksum is computed in order.
        let key = format!("{}-other", algorithm.name());
        put_parts_with(&pair, &key, &[content(12 * MIB, 4), content(8 * MIB, 5)], algorithm, ChecksumType::Composite);
        let mut job = pair.job(&key).unwrap();
        job.session.options.part_size = Some(5 << 20);
        let report = copy(&job).await;
        assert_eq!((report.outcome, report.parts), (Outcome::Copied, 4), "{report:?}");
        assert_eq!(report.verified_by.last(), Some(&Proof::SourceChecksum), "{report:?}");
    }
    for algorithm in [Algorithm::Crc32, Algorithm::Crc32C] {
        let parts = [content(6 * MIB, 1), content(6 * MIB, 2), content(5 * MIB, 3)];
        put_parts_with(&pair, "full", &parts, algorithm, ChecksumType::FullObject);
        assert_eq!(copied(&pair, &pair.job("full").unwrap()).await.verified_by.last(), Some(&Proof::SourceChecksum));
        pair.target.store().delete(TARGET_BUCKET, "full").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_make_the_stored_checksum_are_not_called_copied() {
    let pair = pair().await;
    encrypt(&pair, &kms(), &Encryption::Aes256);
    let parts = [content(12 * MIB, 4), content(8 * MIB, 5)];
    for algorithm in OTHERS {
        let wrong = algorithm.of_parts(&[content(KIB, 9)], ChecksumType::FullObject);
        for size in SIZES {
            let key = format!("{}-{size}", algorithm.name());
            put(&pair, &key, content(size, 3));
            pair.source.store().set_checksum(SOURCE_BUCKET, &key, Some(wrong.clone()));
            let report = copy(&pair.job(&key).unwrap()).await;
            assert_eq!(
                (report.outcome, report.fault.unwrap().class),
                (Outcome::Failed, FaultClass::Integrity),
                "{key}"
            );
        }
        let key = format!("{}-parts", algorithm.name());
        put_parts_with(&pair, &key, &parts, algorithm, ChecksumType::Composite);
        let others = [content(12 * MIB, 4), content(8 * MIB, 6)];
        let wrong = algorithm.of_parts(&others, ChecksumType::Composite);
        pair.source.store().set_checksum(SOURCE_BUCKET, &key, Some(wrong));
        let mut job = pair.job(&key).unwrap();
        job.session.options.part_size = Some(5 << 20);
        let report = copy(&job).await;
        assert_eq!((report.outcome, report.fault.unwrap().class), (Outcome::Failed, FaultClass::Integrity), "{key}");
    }
    assert!(pair.target.store().keys(TARGET_BUCKET).is_empty());
    assert!(pair.target.open_uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_put_gives_the_target_the_sources_own_kind() {
    let pair = pair().await;
    for source in [Encryption::Aes256, kms()] {
        encrypt(&pair, &source, &Encryption::Aes256);
        for algorithm in OTHERS {
            for size in [0, KIB, MIB] {
                let key = format!("{}-{}-{size}", source.asks_kms(), algorithm.name());
                put_with(&pair, &key, content(size, 3), Some(algorithm));
                pair.target.forget();
                let report = copied(&pair, &pair.job(&key).unwrap()).await;
                let checksum =
                    |at: &fakes::server::Server, bucket| at.store().get(bucket, &key).unwrap().checksum.clone();
                assert_eq!(checksum(&pair.target, TARGET_BUCKET), checksum(&pair.source, SOURCE_BUCKET), "{key}");
                assert_eq!(report.verified_by.first(), Some(&Proof::ETag), "{report:?}");
                assert_eq!(report.not_carried, [], "{key}");
                assert_eq!(count(&pair.target.seen(), "PutObject"), 1, "{key}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_is_not_given_is_said() {
    let pair = pair().await;
    let left = |report: &Report| -> Vec<(String, String)> {
        report.not_carried.iter().map(|left| (left.attribute.clone(), left.reason.clone())).collect()
    };
    put_with(&pair, "parts", content(17 * MIB, 1), Some(Algorithm::Sha256));
    let report = left(&copied(&pair, &pair.job("parts").unwrap()).await);
    assert_eq!(report[0].0, "checksum-sha256");
    assert!(report[0].1.contains("a multipart upload stores CRC64NVME"), "{report:?}");
    put_parts_with(&pair, "composite", &[content(MIB, 1)], Algorithm::Crc32, ChecksumType::Composite);
    let report = left(&copied(&pair, &pair.job("composite").unwrap()).await);
    assert!(report[0].0 == "checksum-crc32" && report[0].1.contains("of its parts"), "{report:?}");
    let object = pair.target.store().get(TARGET_BUCKET, "composite").unwrap();
    assert_eq!(object.checksum.as_ref().unwrap().algorithm, Algorithm::Crc64Nvme);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_etags_turn_out_to_be_opaque_gets_the_checksum_that_proves() {
    for target in [kms(), Encryption::Dsse("k".into())] {
        let pair = pair().await;
        encrypt(&pair, &Encryption::Aes256, &target);
        let client = pair.job("k").unwrap().session.target.client;
        for (number, writes) in [(1, 2), (2, 1), (3, 1)] {
            let key = format!("k-{number}");
            put_with(&pair, &key, content(KIB, number), Some(Algorithm::Crc32));
            pair.target.forget();
            let mut job = pair.job(&key).unwrap();
            job.session.target.client = client.clone();
            let report = copy(&job).await;
            assert_eq!((report.outcome, report.retries), (Outcome::Copied, 0), "{report:?}");
            assert_eq!(report.verified_by, [Proof::Crc64Nvme, Proof::SourceETag, Proof::SourceChecksum]);
            assert_eq!(count(&pair.target.seen(), "PutObject"), writes, "it is learned once");
            let object = pair.target.store().get(TARGET_BUCKET, &key).unwrap();
            assert_eq!(object.checksum.as_ref().unwrap().algorithm, Algorithm::Crc64Nvme);
            assert_eq!((report.not_carried[0].attribute.as_str(), report.reason), ("checksum-crc32", None));
            assert_eq!(copy(&job).await.outcome, Outcome::Unchanged);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_asked_for_makes_kms_of_a_bucket_whose_default_is_dsse() {
    let pair = pair().await;
    encrypt(&pair, &Encryption::Aes256, &Encryption::Dsse("default".into()));
    for size in SIZES {
        let key = format!("size-{size}");
        put(&pair, &key, content(size, 1));
        let mut job = pair.job(&key).unwrap();
        job.session.options.kms_key = Some("arn:aws:kms:us-west-2:111122223333:key/asked".into());
        let report = copy(&job).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert!(report.verified_by.contains(&Proof::Crc64Nvme) && !report.verified_by.contains(&Proof::ETag));
        let object = pair.target.store().get(TARGET_BUCKET, &key).unwrap();
        assert_eq!(object.encryption, Encryption::Kms("arn:aws:kms:us-west-2:111122223333:key/asked".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_under_a_customers_key_is_refused_with_advice() {
    let pair = pair().await;
    encrypt(&pair, &Encryption::Customer, &Encryption::Aes256);
    put(&pair, "k", content(KIB, 1));
    let report = copy(&pair.job("k").unwrap()).await;
    let fault = report.fault.unwrap();
    assert_eq!((report.outcome, fault.status), (Outcome::Failed, Some(400)));
    assert!(fault.hint.unwrap().contains("SSE-C"));
    assert!(pair.target.store().keys(TARGET_BUCKET).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_flips_on_its_way_from_the_source_is_found_by_the_parts_own_etag() {
    let parts = [content(6 * MIB, 1), content(6 * MIB, 2), content(5 * MIB, 3)];
    for (encryption, algorithm) in [(Encryption::Aes256, None), (kms(), Some(Algorithm::Sha256))] {
        let pair = pair().await;
        encrypt(&pair, &encryption, &Encryption::Aes256);
        pair.source.store().put_parts(SOURCE_BUCKET, "k", parts.to_vec(), Attributes::default()).unwrap();
        let checksum = algorithm.map(|algorithm| algorithm.of_parts(&parts, ChecksumType::Composite));
        pair.source.store().set_checksum(SOURCE_BUCKET, "k", checksum);
        let mut job = pair.job("k").unwrap();
        job.size_hint = Some(17 << 20);
        let always = pair.source.faults().add(Fault::on("GetObject", Action::Flip(1)).always());
        let report = copy(&job).await;
        assert!(always.count() > 0);
        assert_eq!((report.outcome, report.fault.unwrap().class), (Outcome::Failed, FaultClass::Integrity));
        assert!(pair.target.store().keys(TARGET_BUCKET).is_empty() && pair.target.open_uploads().is_empty());
        pair.source.faults().clear();
        assert!(proves_source(&copied(&pair, &job).await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_only_look_even_are_copied_and_the_report_says_what_was_not_proven() {
    let pair = pair().await;
    // First, last, number and size fit parts of 6 MiB.
    let parts = [content(6 * MIB, 1), content(5 * MIB, 2), content(7 * MIB, 3), content(MIB, 4)];
    pair.source.store().put_parts(SOURCE_BUCKET, "k", parts, Attributes::default()).unwrap();
    pair.source.store().set_checksum(SOURCE_BUCKET, "k", None);
    let report = copied(&pair, &pair.job("k").unwrap()).await;
    assert!(report.is_proven() && !proves_source(&report), "{report:?}");
    assert!(report.reason.unwrap().contains("the bytes read could not be compared with it"));
}
