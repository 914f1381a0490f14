//! One object between the two embedded servers: what is sent, what is proven, what is left.

use bytes::Bytes;
use fakes::fault::faults::{Action, Fault};
use fakes::store::attributes::Attributes;
use fakes::store::object::{BucketConfig, Encryption};
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::decide::plan::EtagMode;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::job::Trigger;
use xpsync::engine::report::{BufferKind, Outcome, Proof, Report};
use xpsync::engine::session::options::Buffering;

const MIB: usize = 1 << 20;

/// Bytes without a period that could hide a shift.
fn content(length: usize, seed: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes.into()
}

async fn pair() -> Pair {
    Pair::start(None).await.unwrap()
}

/// The operations that the target saw, in order.
fn target_saw(pair: &Pair) -> Vec<String> {
    pair.target.seen().into_iter().map(|seen| seen.operation).collect()
}

/// The target has the very bytes, nothing is open, and the report says what is true.
fn assert_equal(pair: &Pair, key: &str, report: &Report) {
    let source = pair.source.store().get(SOURCE_BUCKET, key).unwrap();
    let target = pair.target.store().get(TARGET_BUCKET, key).unwrap();
    assert!(source.bytes() == target.bytes(), "{key}: the bytes differ");
    assert_eq!(headers(&source.attributes), headers(&target.attributes));
    assert_eq!(source.attributes.tags, target.attributes.tags);
    assert!(pair.target.open_uploads().is_empty(), "an upload is open");
    assert_eq!(report.target.etag.as_deref(), Some(target.etag.as_str()));
    assert_eq!(report.etag_preserved, source.etag == target.etag);
}

/// What an object carries, but for our own record of its source; S3 gives a Content-Type to an object that has none.
fn headers(attributes: &Attributes) -> Vec<(String, String)> {
    let mut headers = attributes.headers.clone();
    headers.entry("content-type").or_insert("binary/octet-stream".parse().unwrap());
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
    all.retain(|(name, _)| !name.starts_with("x-amz-meta-xpsync-"));
    all.sort();
    all
}

fn put(pair: &Pair, key: &str, bytes: Bytes) {
    pair.source.store().put(SOURCE_BUCKET, key, bytes, Attributes::default()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_around_every_boundary_arrive_proven() {
    let pair = pair().await;
    let sizes = [0, 1, 64 << 10, (64 << 10) + 1, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 25 * MIB];
    for (index, size) in sizes.into_iter().enumerate() {
        let key = format!("size-{size}");
        put(&pair, &key, content(size, index as u64));
        let report = copy(&pair.job(&key).unwrap()).await;
        assert_eq!(report.outcome, Outcome::Copied, "{size}: {report:?}");
        assert_equal(&pair, &key, &report);
        assert_eq!(report.bytes, size as u64);
        let parts = if size > 16 * MIB { size.div_ceil(5 * MIB) } else { 1 };
        assert_eq!(report.parts as usize, parts, "{size}");
        assert!(report.verified_by.starts_with(&[Proof::ETag, Proof::Crc64Nvme]), "{report:?}");
        assert!(report.verified_by.contains(&Proof::SourceChecksum), "{report:?}");
        assert_eq!((report.reason, report.retries), (None, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_small_object_costs_the_border_one_request() {
    let pair = pair().await;
    put(&pair, "small", content(10 << 10, 1));
    let report = copy(&pair.job("small").unwrap()).await;
    assert_eq!(report.outcome, Outcome::Copied);
    assert_eq!(target_saw(&pair), ["PutObject"]);
    assert_eq!(pair.target.seen()[0].if_none_match(), Some("*"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_unchanged_and_moves_nothing_large() {
    let pair = pair().await;
    for size in [1 << 10, MIB, 20 * MIB] {
        let key = format!("size-{size}");
        put(&pair, &key, content(size, 7));
        let job = pair.job(&key).unwrap();
        assert_eq!(copy(&job).await.outcome, Outcome::Copied);
        pair.target.forget();
        let report = copy(&job).await;
        assert_eq!((report.outcome, report.bytes, report.parts), (Outcome::Unchanged, 0, 0), "{report:?}");
        assert!(report.is_proven());
        let crossed: u64 = pair.target.seen().iter().map(|seen| seen.received).sum();
        assert!(crossed <= 64 << 10, "{crossed} bytes crossed for {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_is_written_under_the_etag_that_was_seen() {
    let pair = pair().await;
    for (size, write) in [(100, "PutObject"), (MIB, "PutObject"), (17 * MIB, "CompleteMultipartUpload")] {
        let key = format!("size-{size}");
        put(&pair, &key, content(size, 1));
        copy(&pair.job(&key).unwrap()).await;
        let before = pair.target.store().get(TARGET_BUCKET, &key).unwrap().quoted_etag();
        put(&pair, &key, content(size, 2));
        pair.target.forget();
        let report = copy(&pair.job(&key).unwrap()).await;
        assert_eq!(report.outcome, Outcome::Copied);
        assert_equal(&pair, &key, &report);
        let last = pair.target.seen().into_iter().rev().find(|seen| seen.operation == write).unwrap();
        assert_eq!(last.if_match(), Some(before.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_belongs_to_an_object_is_carried() {
    let pair = pair().await;
    let attributes = Attributes::default()
        .header("content-type", "text/plain; charset=utf-8")
        .header("content-encoding", "gzip")
        .header("content-language", "zh")
        .header("content-disposition", "attachment; filename=\"x\"")
        .header("cache-control", "max-age=60")
        .header("expires", "Wed, 21 Oct 2026 07:28:00 GMT")
        .header("x-amz-website-redirect-location", "/elsewhere")
        .meta("name", "=?UTF-8?B?w6k=?=")
        .meta("plain", "a  b")
        .tag("k 1", "v&2")
        .tag("ü", "");
    for size in [10, MIB, 17 * MIB] {
        let key = format!("size-{size}");
        pair.source.store().put(SOURCE_BUCKET, &key, content(size, 3), attributes.clone()).unwrap();
        let mut job = pair.job(&key).unwrap();
        let report = copy(&job).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert_equal(&pair, &key, &report);
        job.size_hint = Some(size as u64);
        assert_eq!(copy(&job).await.outcome, Outcome::Unchanged);
        pair.source.store().change(SOURCE_BUCKET, &key, |attributes| attributes.tags.clear());
        let report = copy(&job).await;
        let sent = if size <= 64 << 10 { size } else { 0 };
        assert_eq!((report.outcome, report.bytes), (Outcome::Copied, sent as u64), "a changed tag is copied");
        assert_equal(&pair, &key, &report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_carried_though_a_head_does_not_count_them() {
    let pair = pair().await;
    let tagged = Attributes::default().tag("k", "v");
    pair.source.store().put(SOURCE_BUCKET, "k", content(17 * MIB, 3), tagged).unwrap();
    pair.source.faults().add(Fault::on("HeadObject", Action::drop_header("x-amz-tagging-count")).always());
    let mut job = pair.job("k").unwrap();
    job.size_hint = Some(17 << 20);
    let report = copy(&job).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert_equal(&pair, "k", &report);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sources_own_parts_keep_its_etag() {
    let pair = pair().await;
    let check = async |key: &str, lengths: &[usize], preserved: bool| {
        let parts: Vec<Bytes> = lengths.iter().enumerate().map(|(n, l)| content(*l, n as u64)).collect();
        pair.source.store().put_parts(SOURCE_BUCKET, key, parts, Attributes::default()).unwrap();
        let mut job = pair.job(key).unwrap();
        job.session.options.buffering = Buffering::Tmp;
        let report = copy(&job).await;
        assert_eq!(report.outcome, Outcome::Copied, "{key}: {report:?}");
        assert_equal(&pair, key, &report);
        assert_eq!((report.etag_preserved, report.buffer), (preserved, Some(BufferKind::Tmp)), "{key}");
    };
    check("even", &[8 * MIB, 8 * MIB, 3 * MIB], true).await;
    check("uneven", &[6 * MIB, 9 * MIB, 5 * MIB, 1], true).await;
    check("too large", &[65 * MIB, 1], false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preserving_the_etag_of_a_small_multipart_object_sends_its_parts() {
    let pair = pair().await;
    pair.source.store().put_parts(SOURCE_BUCKET, "k", [content(10, 1)], Attributes::default()).unwrap();
    let mut job = pair.job("k").unwrap();
    job.session.options.etag = EtagMode::Preserve;
    let report = copy(&job).await;
    assert_eq!((report.outcome, report.etag_preserved), (Outcome::Copied, true), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_stored_checksum_is_proven_by_its_own_etag() {
    let pair = pair().await;
    pair.source
        .store()
        .create_bucket(SOURCE_BUCKET, BucketConfig { stores_checksums: false, ..BucketConfig::default() });
    put(&pair, "single", content(17 * MIB, 1));
    pair.source
        .store()
        .put_parts(SOURCE_BUCKET, "parts", [content(70 * MIB, 2), content(1, 3)], Attributes::default())
        .unwrap();
    for key in ["single", "parts"] {
        let report = copy(&pair.job(key).unwrap()).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert_equal(&pair, key, &report);
        assert!(report.verified_by.contains(&Proof::SourceETag), "{key}: {report:?}");
        pair.target.forget();
        assert_eq!(
            copy(&pair.job(key).unwrap()).await.outcome,
            Outcome::Unchanged,
            "the record of the source is believed"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_sides_are_proven_by_checksum() {
    let pair = pair().await;
    let kms = BucketConfig { encryption: Encryption::Kms("key".into()), ..BucketConfig::default() };
    pair.source.store().create_bucket(SOURCE_BUCKET, kms.clone());
    pair.target.store().create_bucket(TARGET_BUCKET, kms);
    for size in [10, MIB, 17 * MIB] {
        let key = format!("size-{size}");
        put(&pair, &key, content(size, 9));
        let report = copy(&pair.job(&key).unwrap()).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert_equal(&pair, &key, &report);
        assert_eq!(report.verified_by, [Proof::Crc64Nvme, Proof::SourceChecksum]);
        assert_eq!(copy(&pair.job(&key).unwrap()).await.outcome, Outcome::Unchanged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_keys_arrive_under_their_own_names() {
    let pair = pair().await;
    let long = "é".repeat(512);
    let keys = [
        "a b+c/ü%25~!*'().txt",
        "dir//double",
        "dir/./x",
        "dir/../y",
        "trailing/",
        "/lead",
        "//",
        "日本語/ключ",
        "soap",
        "a\tb\nc",
        "?#&=@:;,",
        &long,
    ];
    for key in keys {
        put(&pair, key, Bytes::from(key.to_owned()));
        let report = copy(&pair.job(key).unwrap()).await;
        assert_eq!(report.outcome, Outcome::Copied, "{key}: {report:?}");
        assert_equal(&pair, key, &report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_source_is_superseded_for_an_event_and_failed_for_a_command() {
    let pair = pair().await;
    let mut job = pair.job("nothing").unwrap();
    assert_eq!(copy(&job).await.outcome, Outcome::Superseded);
    job.size_hint = Some(1 << 30);
    assert_eq!(copy(&job).await.outcome, Outcome::Superseded);
    job.trigger = Trigger::Command;
    let report = copy(&job).await;
    assert_eq!(report.outcome, Outcome::Failed);
    assert_eq!(report.fault.unwrap().code.as_deref(), Some("NoSuchKey"));
    assert!(target_saw(&pair).iter().all(|operation| operation == "HeadObject"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_below_one_part_is_refused_before_anything_is_written() {
    use std::sync::Arc;
    use xpsync::engine::buffer::{BufferLimits, Buffers, TmpLimit};
    let pair = pair().await;
    // Without a stored checksum the source's ETag is proven by its bytes in their order, which cannot be streamed.
    pair.source
        .store()
        .create_bucket(SOURCE_BUCKET, BucketConfig { stores_checksums: false, ..BucketConfig::default() });
    put(&pair, "k", content(17 * MIB, 1));
    let small = |memory, tmp| {
        Arc::new(Buffers::new(BufferLimits { memory, tmp_dir: std::env::temp_dir(), tmp: TmpLimit::Bytes(tmp) }))
    };
    for buffering in [Buffering::Memory, Buffering::Tmp, Buffering::Auto(0), Buffering::Auto(u64::MAX)] {
        let mut job = pair.job("k").unwrap();
        job.session.options.buffering = buffering;
        job.session.buffers = small(4 << 20, 4 << 20);
        let report = copy(&job).await;
        let fault = report.fault.unwrap();
        assert_eq!((report.outcome, fault.class), (Outcome::Failed, FaultClass::Budget));
        assert!(fault.message.contains("5242880"), "{}", fault.message);
    }
    assert_eq!(target_saw(&pair), ["HeadObject"; 4]);
    let mut job = pair.job("k").unwrap();
    job.session.options.buffering = Buffering::Auto(0);
    job.session.buffers = small(5 << 20, 0);
    let report = copy(&job).await;
    assert_eq!((report.outcome, report.buffer), (Outcome::Copied, Some(BufferKind::Memory)), "{:?}", report.fault);
}
