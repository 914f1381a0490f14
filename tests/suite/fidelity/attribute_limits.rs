//! What belongs to an object, at the limits that S3 sets: it arrives whole, or the report says what did not.

use crate::rig::{KIB, MIB, content, count, pair};
use fakes::fault::faults::{Action, Fault};
use fakes::store::attributes::Attributes;
use fakes::store::object::{BucketConfig, Encryption};
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::report::{Outcome, Report};

const SIZES: [usize; 3] = [KIB, MIB, 17 * MIB];

fn put(pair: &Pair, key: &str, size: usize, attributes: &Attributes) {
    pair.source.store().put(SOURCE_BUCKET, key, content(size, 1), attributes.clone()).unwrap();
}

/// Whether the target's object has what the source's has, and the Content-Type that S3 gives to what comes without.
fn is_carried(pair: &Pair, key: &str) -> bool {
    let mut source = pair.source.store().get(SOURCE_BUCKET, key).unwrap().attributes.clone();
    let mut target = pair.target.store().get(TARGET_BUCKET, key).unwrap().attributes.clone();
    if source.get("content-type").is_none() {
        source = source.header("content-type", "binary/octet-stream");
    }
    source.tags.sort();
    target.tags.sort();
    source == target
}

/// Copies at every size, twice: all arrives, and is then found to be there.
async fn assert_carried(pair: &Pair, what: &str, attributes: &Attributes) -> Vec<Report> {
    let mut reports = Vec::new();
    for size in SIZES {
        let key = format!("{what}-{size}");
        put(pair, &key, size, attributes);
        let job = pair.job(&key).unwrap();
        let report = copy(&job).await;
        assert_eq!(report.outcome, Outcome::Copied, "{what}: {report:?}");
        assert!(is_carried(pair, &key), "{what}");
        assert_eq!(copy(&job).await.outcome, Outcome::Unchanged, "{what} again");
        reports.push(report);
    }
    reports
}

/// Entries of user metadata that are exactly so many bytes, names and values together.
fn metadata(bytes: usize, name: usize, value: usize) -> Attributes {
    let mut attributes = Attributes::default();
    let mut left = bytes;
    for number in 0.. {
        let (name, value) = (name.min(left), value.min(left.saturating_sub(name)));
        if name == 0 {
            break;
        }
        let name = format!("{number:0name$}").chars().rev().take(name).collect::<String>();
        attributes = attributes.meta(&name, &"v".repeat(value));
        left -= name.len() + value;
    }
    attributes
}

#[tokio::test(flavor = "multi_thread")]
async fn two_kilobytes_of_metadata_are_carried_in_few_entries_and_in_many() {
    let pair = pair().await;
    assert_carried(&pair, "one", &metadata(2048, 4, 2044)).await;
    assert_carried(&pair, "many", &metadata(1500, 3, 8)).await;
    assert_carried(&pair, "empty values", &metadata(300, 3, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_fits_an_answer_and_no_signed_request_is_refused_by_name() {
    let pair = pair().await;
    // The signature names each header once more.
    let attributes =
        (0..500).fold(Attributes::default(), |attributes, number| attributes.meta(&number.to_string(), "v"));
    put(&pair, "k", KIB, &attributes);
    let report = copy(&pair.job("k").unwrap()).await;
    let fault = report.fault.unwrap();
    assert_eq!((report.outcome, fault.code.as_deref()), (Outcome::Failed, Some("RequestHeaderSectionTooLarge")));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_the_target_refuses_fails_with_its_code_and_leaves_nothing() {
    let pair = pair().await;
    for size in SIZES {
        let key = format!("size-{size}");
        put(&pair, &key, size, &metadata(2049, 4, 2045));
        let report = copy(&pair.job(&key).unwrap()).await;
        let fault = report.fault.unwrap();
        assert_eq!((report.outcome, fault.code.as_deref()), (Outcome::Failed, Some("MetadataTooLarge")), "{size}");
        assert!(fault.message.contains("exceed the maximum allowed metadata size"), "{}", fault.message);
        assert_eq!(fault.class, FaultClass::Refused, "nothing that is tried again helps");
    }
    assert!(pair.target.store().keys(TARGET_BUCKET).is_empty());
    assert!(pair.target.open_uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_record_gives_way_to_the_objects_metadata() {
    let pair = pair().await;
    // Neither ETag nor stored checksum shows a second time that the content is the same.
    let plain = BucketConfig { stores_checksums: false, encryption: Encryption::Kms("key".into()), versioned: false };
    pair.source.store().create_bucket(SOURCE_BUCKET, plain);
    let names = async |what: &str, bytes| {
        let key = format!("{what}-{bytes}");
        put(&pair, &key, KIB, &metadata(bytes, 4, 100));
        let report = copy(&pair.job(&key).unwrap()).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        let target = pair.target.store().get(TARGET_BUCKET, &key).unwrap().attributes.clone();
        let sent = copy(&pair.job(&key).unwrap()).await.bytes;
        (target.get("x-amz-meta-xpsync-source-etag").is_some(), sent)
    };
    assert_eq!(names("room", 1900).await, (true, 0));
    assert_eq!(names("no room", 2048).await, (false, KIB as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_arrive_byte_for_byte() {
    let pair = pair().await;
    for (what, name, value) in [
        ("encoded", "x-amz-meta-k", "=?UTF-8?B?5pel5pys?= and =?ISO-8859-1?Q?caf=E9?="),
        ("raw", "x-amz-meta-k", "日本 ключ é"),
        ("empty", "x-amz-meta-k", ""),
        ("signs", "x-amz-meta-k", "\"quoted\", comma; semi=colon \\ %20+ <x&y>"),
        ("blanks", "x-amz-meta-k", "a   b"),
        ("odd name", "x-amz-meta-!#$%&'*+.^_`|~", "v"),
        ("expires", "expires", "0"),
        ("disposition", "content-disposition", "attachment; filename*=UTF-8''%e2%82%ac.txt"),
        ("type", "content-type", "not a type at all"),
    ] {
        assert_carried(&pair, what, &Attributes::default().header(name, value)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_tags_of_the_longest_kind_are_carried() {
    let pair = pair().await;
    let tags = |key: char, value: char| {
        (0..10).fold(Attributes::default(), |attributes, number| {
            let key = format!("{number}{}", key.to_string().repeat(127));
            attributes.tag(&key, &value.to_string().repeat(256))
        })
    };
    assert_carried(&pair, "latin", &tags('k', 'v')).await;
    assert_eq!(count(&pair.target.seen(), "PutObjectTagging"), 0, "they fit the request that writes the object");
    assert_carried(&pair, "unicode", &tags('日', '本')).await;
    assert_eq!(count(&pair.target.seen(), "PutObjectTagging"), SIZES.len(), "34 KB do not");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_that_could_not_follow_are_a_failure_that_the_next_copy_mends() {
    let pair = pair().await;
    let tags = (0..10)
        .fold(Attributes::default(), |attributes, number| attributes.tag(&format!("{number}"), &"本".repeat(256)));
    put(&pair, "k", KIB, &tags);
    pair.target.faults().add(Fault::on("PutObjectTagging", Action::answer("AccessDenied")).always());
    let report = copy(&pair.job("k").unwrap()).await;
    assert_eq!(report.outcome, Outcome::Failed);
    assert_eq!(report.fault.unwrap().operation, Some("PutObjectTagging"));
    pair.target.faults().clear();
    assert_eq!(copy(&pair.job("k").unwrap()).await.outcome, Outcome::Copied);
    assert!(is_carried(&pair, "k"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_cannot_have_is_said() {
    let pair = pair().await;
    put(&pair, "k", KIB, &Attributes::default());
    for (name, value) in [
        ("x-amz-missing-meta", "2"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-retain-until-date", "2040-01-01T00:00:00Z"),
        ("x-amz-object-lock-legal-hold", "ON"),
        // Of the bucket or of the moment, and no attributes.
        ("x-amz-replication-status", "COMPLETED"),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
        ("x-amz-restore", "ongoing-request=\"false\""),
        ("x-amz-expiration", "expiry-date=\"Fri, 21 Dec 2040 00:00:00 GMT\", rule-id=\"r\""),
    ] {
        pair.source.faults().add(Fault::on("GetObject", Action::set_header(name, value)).always());
    }
    let report = copy(&pair.job("k").unwrap()).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    let mut left: Vec<&str> = report.not_carried.iter().map(|left| left.attribute.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["x-amz-missing-meta", "x-amz-object-lock-legal-hold", "x-amz-object-lock-mode"]);
}
