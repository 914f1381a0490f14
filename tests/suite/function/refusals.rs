//! What the function says when a side or the vault refuses: code, request id, advice, and never a secret.

use crate::rig::world::{SECRET, World, batch, created, event, hint, secret_of};
use crate::rig::{MIB, content, on, put};
use fakes::fault::faults::Action;
use fakes::s3::auth::keys::KeyPair;
use fakes::store::attributes::Attributes;
use fakes::store::object::{BucketConfig, Encryption};
use serde_json::json;
use xpsync::demo::pair::{SOURCE_BUCKET, TARGET_BUCKET, source_keys, target_keys};
use xpsync::events::answer::Answer;

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_secret_is_told_in_one_sentence_that_names_it_and_shows_nothing() {
    let hidden = "hidden-value-of-the-secret";
    let shapes = [
        (Some(hidden.to_owned()), "does not hold JSON"),
        (Some(json!([hidden]).to_string()), "not an object"),
        (Some(json!({ "aws_secret_access_key": hidden }).to_string()), "has no `aws_access_key_id`"),
        (Some(json!({ "aws_access_key_id": hidden }).to_string()), "has no `aws_secret_access_key`"),
        (Some(json!({ "aws_access_key_id": hidden, "aws_secret_access_key": 5 }).to_string()), "not a string"),
        (None, "ResourceNotFoundException"),
    ];
    for (text, expected) in shapes {
        let world = World::new().await;
        put(&world.pair, "k", content(10, 1));
        match text {
            Some(text) => world.vault.set(SECRET, &text),
            None => world.vault.remove(SECRET),
        }
        let report = world.report(&created("k")).await;
        let message = report["error"]["message"].as_str().unwrap();
        assert!(message.contains(SECRET) && message.contains(expected), "{message}");
        assert!(!message.contains('\n') && !hint(&report).is_empty());
        assert!(!report.to_string().contains(hidden), "{report}");
        assert!(world.pair.target.seen().is_empty());
    }
    let world = World::new().await;
    put(&world.pair, "k", content(10, 1));
    world.vault.refuse(SECRET, 400, "AccessDeniedException", "not authorized to perform secretsmanager:GetSecretValue");
    let report = world.report(&created("k")).await;
    assert!(hint(&report).contains("secretsmanager:GetSecretValue"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_other_partition_are_named_by_their_secret() {
    for size in [10, MIB] {
        let world = World::new().await;
        world.vault.set(SECRET, &secret_of(&source_keys()));
        put(&world.pair, "k", content(size, 1));
        let report = world.report(&created("k")).await;
        assert_eq!(report["error"]["class"], "refused", "{report}");
        assert!(hint(&report).contains(SECRET) && hint(&report).contains("aws-cn"), "{report}");
        assert!(!report.to_string().contains(&source_keys().secret_key));
        assert_eq!(world.vault.calls(), 2, "looked at once more, and no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_are_fetched_once_and_need_no_restart() {
    for size in [10, MIB, 17 * MIB] {
        let world = World::new().await;
        put(&world.pair, "k", content(size, 1));
        world.report(&created("k")).await;
        let keys = KeyPair::new("AKIAROTATED000000001", "another-secret");
        world.vault.set(SECRET, &secret_of(&keys));
        world.pair.target.keys().set(vec![keys]);
        let messages = (0..8).map(|number| {
            let key = format!("k{number}");
            put(&world.pair, &key, content(size.min(MIB), number));
            (number.to_string(), created(&key))
        });
        put(&world.pair, "k", content(size, 2));
        assert_eq!(world.report(&created("k")).await["outcome"], "copied", "{size}");
        let answer = world.handle(&batch(messages.collect::<Vec<_>>())).await;
        assert_eq!(answer, Answer::Success(json!({ "batchItemFailures": [] })));
        assert_eq!(world.vault.calls(), 2, "{size}: fetched once more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_meet_expired_keys_fetch_once_for_all() {
    let world = World::new().await;
    let old = target_keys();
    world.pair.target.keys().set(vec![KeyPair::new(&old.access_key, &old.secret_key).with_token("t").expired()]);
    world.vault.set(
        SECRET,
        &json!({ "AccessKeyId": old.access_key, "SecretAccessKey": old.secret_key, "SessionToken": "t" }).to_string(),
    );
    put(&world.pair, "first", content(10, 1));
    let report = world.report(&created("first")).await;
    assert!(hint(&report).contains("expired"), "{report}");
    let calls = world.vault.calls();
    let new = KeyPair::new("AKIARENEWED000000001", "renewed-secret");
    world.pair.target.keys().set(vec![new.clone()]);
    world.vault.set(SECRET, &secret_of(&new));
    let messages = (0..12).map(|number| {
        let key = format!("k{number}");
        put(&world.pair, &key, content(10, number));
        (number.to_string(), created(&key))
    });
    let answer = world.handle(&batch(messages.collect::<Vec<_>>())).await;
    assert_eq!(answer, Answer::Success(json!({ "batchItemFailures": [] })));
    assert_eq!(world.vault.calls(), calls + 1);
}

/// What a side refuses, and what the report of it has to say.
async fn check_refused(size: usize, spoil: impl FnOnce(&World), code: &str, advice: &str) {
    let world = World::new().await;
    put(&world.pair, "k", content(size, 1));
    spoil(&world);
    let report = world.report(&created("k")).await;
    let error = &report["error"];
    assert_eq!((&report["outcome"], &error["code"]), (&json!("failed"), &json!(code)), "{report}");
    assert!(error["request_id"].is_string() && error["host_id"].is_string(), "{report}");
    assert!(hint(&report).contains(advice), "{advice}: {report}");
    assert!(world.pair.target.store().keys(TARGET_BUCKET).is_empty());
    assert!(world.pair.target.open_uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_at_the_target_has_its_code_its_request_id_and_advice() {
    for size in [10, MIB, 17 * MIB] {
        let denied = |world: &World| world.pair.target.policy().deny("s3:PutObject", "*", "");
        check_refused(size, denied, "AccessDenied", "s3:PutObject").await;
        let no_bucket = |world: &World| {
            for operation in ["PutObject", "CreateMultipartUpload"] {
                world.pair.target.faults().add(on(operation, Action::answer("NoSuchBucket")).always());
            }
        };
        check_refused(size, no_bucket, "NoSuchBucket", TARGET_BUCKET).await;
        let kms = |world: &World| {
            let config = BucketConfig { encryption: Encryption::Kms("key".into()), ..BucketConfig::default() };
            world.pair.target.store().create_bucket(TARGET_BUCKET, config);
            world.pair.target.policy().deny("kms:GenerateDataKey", "*", "");
        };
        check_refused(size, kms, "AccessDenied", "kms:GenerateDataKey").await;
    }
    let region = |world: &World| {
        let fault = on("PutObject", Action::redirect("PermanentRedirect", "cn-north-1"));
        world.pair.target.faults().add(fault.always());
    };
    check_refused(10, region, "PermanentRedirect", "region").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_key_without_the_right_to_list_is_denied_and_never_read_as_absent() {
    // At the source nothing says whether it is gone.
    let world = World::new().await;
    world.pair.source.policy().deny("s3:ListBucket", "*", "");
    put(&world.pair, "old", content(10, 1));
    world.report(&created("old")).await;
    world.pair.source.store().delete(SOURCE_BUCKET, "old").unwrap();
    for kind in ["Object Created", "Object Deleted"] {
        let report = world.report(&event(kind, "old")).await;
        assert_eq!(
            (&report["outcome"], &report["error"]["code"]),
            (&json!("failed"), &json!("AccessDenied")),
            "{report}"
        );
        assert!(hint(&report).contains("s3:ListBucket"), "{report}");
    }
    assert!(world.pair.target.store().get(TARGET_BUCKET, "old").is_some());
    // At the target a HEAD cannot tell what is there.
    let no_list = |world: &World| world.pair.target.policy().deny("s3:ListBucket", "*", "");
    check_refused(MIB, no_list, "AccessDenied", "s3:ListBucket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_source_bucket_is_an_error_and_supersedes_nothing() {
    let world = World::new().await;
    put(&world.pair, "k", content(10, 1));
    world.report(&created("k")).await;
    world.pair.source.faults().add(on("*", Action::answer("NoSuchBucket")).always());
    for kind in ["Object Created", "Object Deleted"] {
        let report = world.report(&event(kind, "k")).await;
        assert_eq!(
            (&report["outcome"], &report["error"]["code"]),
            (&json!("failed"), &json!("NoSuchBucket")),
            "{report}"
        );
        assert!(hint(&report).contains(SOURCE_BUCKET));
    }
    assert!(world.pair.target.store().get(TARGET_BUCKET, "k").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_object_fails_with_advice_and_is_copied_once_restored() {
    for size in [10, MIB, 17 * MIB] {
        let world = World::new().await;
        let archived = Attributes::default().storage_class("GLACIER");
        world.pair.source.store().put(SOURCE_BUCKET, "k", content(size, 1), archived).unwrap();
        let mut told = created("k");
        told["detail"]["object"]["size"] = json!(size);
        let report = world.report(&told).await;
        assert_eq!(report["error"]["code"], "InvalidObjectState", "{report}");
        assert!(hint(&report).contains("Restore it"), "{report}");
        assert!(world.pair.target.open_uploads().is_empty());
        world.pair.source.store().change(SOURCE_BUCKET, "k", |attributes| attributes.restored = true);
        assert_eq!(world.report(&event("Object Restore Completed", "k")).await["outcome"], "copied");
        assert!(world.has("k"));
    }
}
