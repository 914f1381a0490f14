//! Deletes that are followed: only what is gone is removed, only under its ETag, and never on a doubt.

use crate::rig::world::{World, created, event, hint};
use crate::rig::{KIB, MIB, SIZES, assert_settled, content, copy_with, count, fault_of, on, pair, put};
use bytes::Bytes;
use fakes::fault::faults::{Action, Fault, Moment};
use fakes::s3::refusal::Refusal;
use fakes::store::attributes::Attributes;
use fakes::store::object::BucketConfig;
use fakes::store::objects::Store;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::job::{Job, Trigger};
use xpsync::engine::report::Outcome;
use xpsync::engine::session::options::Deletes;

const KEY: &str = "dir//a b+c";

fn job(pair: &Pair) -> Job {
    let mut job = crate::rig::job(pair, KEY);
    job.session.options.deletes = Deletes::Follow;
    job
}

fn versioned() -> BucketConfig {
    BucketConfig { versioned: true, ..BucketConfig::default() }
}

/// An object that was copied, of a size.
async fn copied(size: usize) -> Arc<Pair> {
    let pair = Arc::new(pair().await);
    put(&pair, KEY, content(size, 1));
    assert_eq!(copy(&job(&pair)).await.outcome, Outcome::Copied);
    pair.target.forget();
    pair
}

fn target(pair: &Pair) -> Option<Vec<u8>> {
    pair.target.store().get(TARGET_BUCKET, KEY).map(|object| object.bytes())
}

fn delete(pair: &Pair) {
    pair.source.store().delete(SOURCE_BUCKET, KEY).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_removed_under_the_etag_it_has() {
    for size in SIZES {
        let pair = copied(size).await;
        let etag = pair.target.store().get(TARGET_BUCKET, KEY).unwrap().quoted_etag();
        delete(&pair);
        let report = copy(&job(&pair)).await;
        assert_eq!((report.outcome, report.bytes, report.reason.as_deref()), (Outcome::Deleted, 0, None), "{report:?}");
        assert_eq!(report.target.etag.as_ref().map(|bare| format!("\"{bare}\"")), Some(etag.clone()));
        assert_eq!((&report.source.etag, report.source.size), (&None, None));
        assert_settled(&pair, KEY, None, &report, "deleted");
        let seen = pair.target.seen();
        let deletes: Vec<_> = seen.iter().filter(|seen| seen.operation == "DeleteObject").collect();
        assert_eq!((deletes.len(), deletes[0].if_match()), (1, Some(etag.as_str())));
        // The event comes once more.
        let again = copy(&job(&pair)).await;
        assert_eq!(again.outcome, Outcome::Unchanged, "{again:?}");
        assert!(again.reason.as_deref().unwrap().contains("nothing to delete"), "{again:?}");
        assert_eq!(count(&pair.target.seen(), "DeleteObject"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_looked_at_again_before_the_delete_and_after_it() {
    let pair = copied(KIB).await;
    delete(&pair);
    pair.source.forget();
    copy(&job(&pair)).await;
    assert_eq!(count(&pair.source.seen(), "GetObject"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_versioned_target_keeps_what_a_delete_marker_is_set_upon() {
    let pair = copied(KIB).await;
    pair.target.store().create_bucket(TARGET_BUCKET, versioned());
    delete(&pair);
    assert_eq!(copy(&job(&pair)).await.outcome, Outcome::Deleted);
    let versions = pair.target.store().versions(TARGET_BUCKET, KEY);
    assert_eq!((target(&pair), versions.len(), versions[0].as_str()), (None, 2, "null"));
    assert!(pair.target.seen().iter().all(|seen| !seen.query.contains("versionId")));
    // A delete marker is nothing to remove.
    assert_eq!(copy(&job(&pair)).await.outcome, Outcome::Unchanged);
    assert_eq!(pair.target.store().versions(TARGET_BUCKET, KEY).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_somebody_else_wrote_is_removed_too_because_the_target_equals_the_source() {
    let pair = copied(KIB).await;
    delete(&pair);
    pair.target.store().put(TARGET_BUCKET, KEY, content(77, 5), Attributes::default()).unwrap();
    assert_eq!((copy(&job(&pair)).await.outcome, target(&pair)), (Outcome::Deleted, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_and_for_a_single_copy_nothing_is_removed() {
    let pair = copied(KIB).await;
    let was = target(&pair);
    delete(&pair);
    let kept = copy(&crate::rig::job(&pair, KEY)).await;
    assert_eq!((kept.outcome, target(&pair)), (Outcome::Superseded, was.clone()), "{kept:?}");
    let command = copy(&Job { trigger: Trigger::Command, ..crate::rig::job(&pair, KEY) }).await;
    assert_eq!((fault_of(&command, "cp").class, target(&pair)), (FaultClass::Missing, was));
    assert_eq!(count(&pair.target.seen(), "DeleteObject"), 0);
}

/// A source that is not known to be gone: the job fails, and the target is as it was.
async fn check_doubt(what: &str, size_hint: Option<u64>, break_it: impl Fn(&Pair)) {
    let pair = copied(MIB).await;
    let was = target(&pair);
    break_it(&pair);
    let report = copy(&Job { size_hint, ..job(&pair) }).await;
    assert!(fault_of(&report, what).to_string().starts_with("source: "), "{what}: {report:?}");
    assert_eq!(target(&pair), was, "{what}");
    assert_eq!(count(&pair.target.seen(), "DeleteObject"), 0, "{what}");
}

/// So large that the source is asked with a HEAD first.
const LARGE: Option<u64> = Some(1 << 40);

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_renamed_or_forbidden_source_bucket_deletes_nothing() {
    for size_hint in [None, LARGE] {
        check_doubt("missing bucket", size_hint, |pair| pair.source.store().delete_bucket(SOURCE_BUCKET)).await;
        check_doubt("renamed bucket", size_hint, |pair| {
            pair.source.store().delete_bucket(SOURCE_BUCKET);
            pair.source.store().create_bucket("china-source-2", BucketConfig::default());
        })
        .await;
        check_doubt("forbidden", size_hint, |pair| {
            delete(pair);
            pair.source.policy().deny("s3:GetObject", SOURCE_BUCKET, "");
        })
        .await;
        // S3 answers 403 for what is not there to who may not list.
        check_doubt("no s3:ListBucket", size_hint, |pair| {
            delete(pair);
            pair.source.policy().deny("s3:ListBucket", "*", "");
        })
        .await;
        for (code, status) in [
            ("AllAccessDisabled", StatusCode::FORBIDDEN),
            ("NoSuchBucket", StatusCode::NOT_FOUND),
            ("NoSuchVersion", StatusCode::NOT_FOUND),
            ("SomethingNew", StatusCode::NOT_FOUND),
            ("PermanentRedirect", StatusCode::MOVED_PERMANENTLY),
            ("NoSuchKey", StatusCode::BAD_REQUEST),
        ] {
            check_doubt(code, size_hint, |pair| {
                delete(pair);
                let refusal = Refusal::of(code).status(status);
                pair.source.faults().add(Fault::on("GetObject", Action::Answer(refusal)).always());
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_refused_decides_nothing_and_a_get_does() {
    // 403 and 404 to HEAD with the object still there.
    for code in ["AccessDenied", "NoSuchKey"] {
        let pair = copied(MIB).await;
        let was = target(&pair);
        pair.source.faults().add(Fault::on("HeadObject", Action::answer(code)).always());
        let report = copy(&Job { size_hint: LARGE, ..job(&pair) }).await;
        assert!(matches!(report.outcome, Outcome::Failed | Outcome::Unchanged), "{report:?}");
        assert_eq!((target(&pair), count(&pair.target.seen(), "DeleteObject")), (was, 0), "{code}");
    }
    // 403 to HEAD, and gone: without a hint no HEAD is asked.
    let pair = copied(MIB).await;
    delete(&pair);
    pair.source.faults().add(Fault::on("HeadObject", Action::answer("AccessDenied")).always());
    assert_eq!(copy(&job(&pair)).await.outcome, Outcome::Deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_becomes_doubtful_before_the_delete_keeps_the_target() {
    let pair = copied(KIB).await;
    let was = target(&pair);
    delete(&pair);
    // The first GET says gone; the bucket is renamed before the second.
    let renamed = Action::Before(Box::new(|store: &Store| store.delete_bucket(SOURCE_BUCKET)));
    let report = copy_with(&pair, &job(&pair), crate::rig::At::Source, Fault::on("GetObject", renamed).nth(2)).await;
    assert_eq!(fault_of(&report, "renamed meanwhile").code.as_deref(), Some("NoSuchBucket"));
    assert_eq!(target(&pair), was);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_target_bucket_is_a_failure_and_no_deletion() {
    let pair = copied(KIB).await;
    delete(&pair);
    pair.target.store().delete_bucket(TARGET_BUCKET);
    let report = copy(&job(&pair)).await;
    assert_eq!(fault_of(&report, "no target bucket").code.as_deref(), Some("NoSuchBucket"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_is_not_allowed_fails_with_advice() {
    let pair = copied(KIB).await;
    let was = target(&pair);
    delete(&pair);
    pair.target.policy().deny("s3:DeleteObject", "*", "");
    let report = copy(&job(&pair)).await;
    let fault = fault_of(&report, "DeleteObject");
    assert_eq!((fault.operation, fault.status), (Some("DeleteObject"), Some(403)), "{report:?}");
    assert!(fault.hint.as_deref().unwrap().contains("target-s3-policy.json"), "{fault:?}");
    assert_eq!(target(&pair), was);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_was_not_answered_is_looked_for() {
    for (moment, versions) in [(Moment::AfterDoing, false), (Moment::AfterDoing, true), (Moment::BeforeDoing, false)] {
        let pair = copied(KIB).await;
        if versions {
            pair.target.store().create_bucket(TARGET_BUCKET, versioned());
        }
        delete(&pair);
        let report =
            copy_with(&pair, &job(&pair), crate::rig::At::Target, on("DeleteObject", Action::Reset(moment))).await;
        assert_eq!((report.outcome, target(&pair)), (Outcome::Deleted, None), "{moment:?}: {report:?}");
    }
    // Never answered, but carried out.
    let pair = copied(KIB).await;
    delete(&pair);
    let lost = on("DeleteObject", Action::ErrorAfterDoing(Refusal::of("InternalError"))).always();
    let report = copy_with(&pair, &job(&pair), crate::rig::At::Target, lost).await;
    assert_eq!((report.outcome, target(&pair)), (Outcome::Deleted, None), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflicting_delete_is_tried_again_while_the_source_stays_gone() {
    let pair = copied(KIB).await;
    delete(&pair);
    let conflict = on("DeleteObject", Action::answer("ConditionalRequestConflict")).times(2);
    let report = copy_with(&pair, &job(&pair), crate::rig::At::Target, conflict).await;
    assert_eq!((report.outcome, target(&pair)), (Outcome::Deleted, None), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_replaced_before_the_delete_is_decided_anew() {
    for gone in [false, true] {
        let pair = copied(KIB).await;
        delete(&pair);
        let change = Action::Before(Box::new(move |store: &Store| {
            if gone {
                store.delete(TARGET_BUCKET, KEY).unwrap();
            } else {
                store.put(TARGET_BUCKET, KEY, Bytes::from_static(b"other"), Attributes::default()).unwrap();
            }
        }));
        let report = copy_with(&pair, &job(&pair), crate::rig::At::Target, on("DeleteObject", change)).await;
        let expected = if gone { Outcome::Unchanged } else { Outcome::Deleted };
        assert_eq!((report.outcome, target(&pair)), (expected, None), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_compares_etags_with_our_quotes_is_learned() {
    let pair = copied(KIB).await;
    delete(&pair);
    pair.target.faults().add(on("DeleteObject", Action::answer("PreconditionFailed")));
    let report = copy(&job(&pair)).await;
    assert_eq!(report.outcome, Outcome::Deleted, "{report:?}");
    let seen = pair.target.seen();
    let last = seen.iter().rev().find(|seen| seen.operation == "DeleteObject").unwrap();
    assert!(!last.if_match().unwrap().contains('"'), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_replaced_for_ever_is_given_up() {
    let pair = copied(KIB).await;
    delete(&pair);
    let count = std::sync::atomic::AtomicU64::new(100);
    let replace = Action::Before(Box::new(move |store: &Store| {
        let bytes = content(50, count.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        store.put(TARGET_BUCKET, KEY, bytes, Attributes::default()).unwrap();
    }));
    let report =
        copy_with(&pair, &job(&pair), crate::rig::At::Target, Fault::on("DeleteObject", replace).always()).await;
    assert_eq!(fault_of(&report, "for ever").code.as_deref(), Some("PreconditionFailed"), "{report:?}");
}

/// Each way in which S3 tells that something was deleted.
fn deletions() -> Vec<Value> {
    let bridge = |deletion: &str, reason: &str| {
        let mut event = event("Object Deleted", KEY);
        event["detail"]["deletion-type"] = json!(deletion);
        event["detail"]["reason"] = json!(reason);
        event
    };
    let record = |name: &str| {
        let object = json!({ "key": "dir%2F%2Fa+b%2Bc" });
        json!({ "Records": [{ "eventSource": "aws:s3", "eventName": name, "eventVersion": "2.1",
            "s3": { "bucket": { "name": SOURCE_BUCKET }, "object": object } }] })
    };
    let mut all = vec![created(KEY)];
    for reason in ["DeleteObject", "Lifecycle Expiration"] {
        for deletion in ["Permanently Deleted", "Delete Marker Created"] {
            all.push(bridge(deletion, reason));
        }
    }
    for name in [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "LifecycleExpiration:Delete",
        "LifecycleExpiration:DeleteMarkerCreated",
        "s3:ObjectRemoved:Delete",
    ] {
        all.push(record(name));
    }
    all
}

async fn following() -> World {
    World::with(&[("SYNC_DELETES", "true")], |network, _| network).await
}

/// The outcome of an event about one object, however it is answered.
async fn outcome(world: &World, payload: &Value) -> String {
    let answer = world.report(payload).await;
    let report = answer.as_array().map_or(&answer, |reports| &reports[0]);
    report["outcome"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_deletion_is_followed() {
    for config in [BucketConfig::default(), versioned()] {
        let world = following().await;
        world.pair.source.store().create_bucket(SOURCE_BUCKET, config);
        for payload in deletions() {
            put(&world.pair, KEY, content(KIB, 1));
            assert_eq!(outcome(&world, &created(KEY)).await, "copied", "{payload}");
            delete(&world.pair);
            assert_eq!(outcome(&world, &payload).await, "deleted", "{payload}");
            assert_eq!(target(&world.pair), None, "{payload}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_deletion_removes_what_is_still_there() {
    let world = following().await;
    world.pair.source.store().create_bucket(SOURCE_BUCKET, versioned());
    put(&world.pair, KEY, content(KIB, 1));
    put(&world.pair, KEY, content(KIB, 2));
    assert_eq!(outcome(&world, &created(KEY)).await, "copied");
    // An old version goes for good, the current one stays.
    let oldest = world.pair.source.store().versions(SOURCE_BUCKET, KEY)[0].clone();
    world.pair.source.store().delete_version(SOURCE_BUCKET, KEY, &oldest).unwrap();
    for payload in deletions() {
        assert_eq!(outcome(&world, &payload).await, "unchanged", "{payload}");
    }
    assert!(world.has(KEY));
    assert_eq!(count(&world.pair.target.seen(), "DeleteObject"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undelete_and_a_rollback_bring_the_older_version_back() {
    let world = following().await;
    let source = || world.pair.source.store();
    source().create_bucket(SOURCE_BUCKET, versioned());
    put(&world.pair, KEY, content(KIB, 1));
    put(&world.pair, KEY, content(KIB, 2));
    outcome(&world, &created(KEY)).await;
    delete(&world.pair);
    assert_eq!(outcome(&world, &event("Object Deleted", KEY)).await, "deleted");
    let newest = || source().versions(SOURCE_BUCKET, KEY).last().cloned().unwrap();
    source().delete_version(SOURCE_BUCKET, KEY, &newest()).unwrap();
    assert_eq!(outcome(&world, &event("Object Deleted", KEY)).await, "copied");
    assert_eq!(target(&world.pair).unwrap(), content(KIB, 2));
    source().delete_version(SOURCE_BUCKET, KEY, &newest()).unwrap();
    assert_eq!(outcome(&world, &event("Object Deleted", KEY)).await, "copied");
    assert_eq!(target(&world.pair).unwrap(), content(KIB, 1));
    source().delete_version(SOURCE_BUCKET, KEY, &newest()).unwrap();
    assert_eq!(outcome(&world, &event("Object Deleted", KEY)).await, "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_versioning_was_suspended_is_followed_too() {
    let world = following().await;
    world.pair.source.store().create_bucket(SOURCE_BUCKET, versioned());
    put(&world.pair, KEY, content(KIB, 1));
    world.pair.source.store().create_bucket(SOURCE_BUCKET, BucketConfig::default());
    put(&world.pair, KEY, content(KIB, 2));
    assert_eq!(outcome(&world, &created(KEY)).await, "copied");
    delete(&world.pair);
    let versions = world.pair.source.store().versions(SOURCE_BUCKET, KEY);
    assert_eq!((versions.len(), versions[1].as_str()), (2, "null"), "a marker takes the null version's place");
    assert_eq!(outcome(&world, &event("Object Deleted", KEY)).await, "deleted");
    world.pair.source.store().delete_version(SOURCE_BUCKET, KEY, "null").unwrap();
    assert_eq!(outcome(&world, &event("Object Deleted", KEY)).await, "copied");
    assert_eq!(target(&world.pair).unwrap(), content(KIB, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_and_the_prefix_hold_for_deletes() {
    let variables = [("SYNC_DELETES", "true"), ("EXCLUDE", r#"["kept/*"]"#), ("TARGET_PREFIX", "from china/")];
    let world = World::with(&variables, |network, _| network).await;
    let store = world.pair.target.store();
    for key in ["kept/a", "b", "from china/kept/a", "from china/b"] {
        store.put(TARGET_BUCKET, key, content(10, 1), Attributes::default()).unwrap();
    }
    let gone = |key| event("Object Deleted", key);
    assert_eq!(world.report(&gone("kept/a")).await["outcome"], "ignored");
    let report = world.report(&gone("b")).await;
    assert_eq!((&report["outcome"], &report["target"]["key"]), (&json!("deleted"), &json!("from china/b")));
    assert_eq!(store.keys(TARGET_BUCKET), ["b", "from china/kept/a", "kept/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_at_the_target_is_neither_written_nor_removed_by_an_event() {
    let world = following().await;
    let key = ".xpsync/stage";
    world.pair.target.store().put(TARGET_BUCKET, key, content(10, 1), Attributes::default()).unwrap();
    assert_eq!(world.report(&event("Object Deleted", key)).await["outcome"], "ignored");
    put(&world.pair, key, content(10, 2));
    let report = world.report(&created(key)).await;
    assert!(report["reason"].as_str().unwrap().contains("reserved"), "{report}");
    assert_eq!(world.pair.target.store().get(TARGET_BUCKET, key).unwrap().bytes(), content(10, 1));
    let prefixed = World::with(&[("TARGET_PREFIX", "p/")], |network, _| network).await;
    put(&prefixed.pair, key, content(10, 2));
    assert_eq!(prefixed.report(&created(key)).await["outcome"], "copied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_delete_names_the_secret_whose_keys_it_was_tried_with() {
    let world = following().await;
    put(&world.pair, KEY, content(10, 1));
    outcome(&world, &created(KEY)).await;
    delete(&world.pair);
    world.pair.target.policy().deny("s3:DeleteObject", "*", "");
    let report = world.report(&event("Object Deleted", KEY)).await;
    assert!(hint(&report).contains(crate::rig::world::SECRET), "{report}");
}
