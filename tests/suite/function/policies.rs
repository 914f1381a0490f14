//! The two policies that the README hands out: all that is documented works inside them, and no line of them is for
//! nothing.
//!
//! They are read from where they are written, `target-s3-policy.json` and the role of `template.yaml`, and given to the
//! embedded servers with their resources. Each scene is run under both policies whole, and once more for each action
//! that it claims to need, with that action taken away: then it has to fail. An action that no scene needs is a failure
//! too.

use crate::rig::world::{SECRET, World, created, delivered, event};
use crate::rig::{KIB, MIB, content};
use fakes::aws::queue::Asked;
use fakes::fault::faults::{Action, Fault, Moment};
use fakes::s3::auth::policy::Policy;
use fakes::store::attributes::Attributes;
use fakes::store::object::{BucketConfig, Encryption};
use futures_util::future::{BoxFuture, FutureExt as _};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use xpsync::demo::pair::{SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::decide::plan::EtagMode;
use xpsync::engine::decide::staging;
use xpsync::engine::job::Job;
use xpsync::engine::report::Outcome;
use xpsync::events::answer::Answer;

/// Who may do it, what, and on what: as [`Policy::allow`] has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    side: &'static str,
    action: String,
    resource: String,
}

impl Line {
    /// The names that scenes call it by.
    fn name(&self) -> String {
        format!("{} {}", self.side, self.action)
    }
}

/// The target user's policy, with its bucket's name in it.
fn user() -> Vec<Line> {
    let document: Value = serde_json::from_str(include_str!("../../../target-s3-policy.json")).unwrap();
    let mut lines = Vec::new();
    for statement in document["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        let several = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for resource in several(&statement["Resource"]) {
            let resource = resource.as_str().unwrap().strip_prefix("arn:aws:s3:::").unwrap().to_owned();
            let resource = resource.replace("TARGET_BUCKET", TARGET_BUCKET);
            for action in several(&statement["Action"]) {
                let action = action.as_str().unwrap().to_owned();
                lines.push(Line { side: "target", action, resource: resource.clone() });
            }
        }
    }
    lines
}

/// The function's role. Of YAML it reads what the role's statements are written in, and nothing else passes unseen.
fn role() -> Vec<Line> {
    let template = include_str!("../../../template.yaml");
    let (_, rest) = template.split_once("\n  Role:\n").unwrap();
    let (_, rest) = rest.split_once("PolicyName: sync\n").unwrap();
    let (_, rest) = rest.split_once("            Statement:\n").unwrap();
    let (statements, _) = rest.split_once("\n  Function:\n").unwrap();
    let (mut lines, mut actions) = (Vec::new(), Vec::new());
    for line in statements.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = line.trim_start_matches("- ");
        match line.split_once(": ") {
            Some(("Sid", _)) => actions = Vec::new(),
            Some(("Effect", effect)) => assert_eq!(effect, "Allow"),
            Some(("Action", some)) => {
                let some = some.trim_matches(['[', ']']).split(',');
                actions = some.map(|action| action.trim().to_owned()).collect();
            }
            Some(("Resource", resource)) => {
                assert!(!actions.is_empty(), "{line}");
                lines.extend(actions.iter().map(|action| at(action, resource)));
            }
            None if line == "Action:" => actions = Vec::new(),
            None if ["!If", "HasSourceKmsKey", "!Ref AWS::NoValue"].contains(&line) => {}
            None if line.split_once(':').is_some_and(|(service, _)| ["sqs", "s3", "logs"].contains(&service)) => {
                actions.push(line.to_owned());
            }
            _ => panic!("the role has a line that this test does not read: {line}"),
        }
    }
    lines
}

/// A line of the role, on the resource as the stand-ins name it.
fn at(action: &str, resource: &str) -> Line {
    let arn = resource.trim_start_matches("!Sub ");
    let resource = match resource {
        "!GetAtt Queue.Arn" => "events".to_owned(),
        "!GetAtt DeadLetterQueue.Arn" => "events-dead-letters".to_owned(),
        // The servers ask for a key's actions on the object that is encrypted with it.
        "!Ref SourceKmsKeyArn" => format!("{SOURCE_BUCKET}/*"),
        _ => {
            let own = "arn:${AWS::Partition}:";
            let named = arn.strip_prefix(own).unwrap_or_else(|| panic!("{arn} is of another partition"));
            let (_, name) = named.split_once(":::").or_else(|| named.split_once(":secret:")).unwrap_or(("", named));
            name.replace("${SourceBucketName}", SOURCE_BUCKET).replace("${SecretsManagerSecretName}", SECRET)
        }
    };
    let side = match action.split_once(':').unwrap().0 {
        "s3" | "kms" => "source",
        "secretsmanager" => "secret",
        "sqs" if resource == "events" => "queue",
        "sqs" => "dead letters",
        "logs" => "logs",
        other => panic!("{other} is of no service that this test knows"),
    };
    Line { side, action: action.to_owned(), resource }
}

/// Actions that Lambda itself needs of the role and no request of ours: its poller takes messages ("Using Lambda with
/// Amazon SQS", execution role permissions: ReceiveMessage, DeleteMessage, GetQueueAttributes), and its runtime writes
/// what we print ("Sending Lambda function logs to CloudWatch Logs"). GetQueueAttributes is needed by ours as well, and
/// proven as such.
const LAMBDAS: [&str; 4] =
    ["queue sqs:ReceiveMessage", "queue sqs:DeleteMessage", "logs logs:CreateLogStream", "logs logs:PutLogEvents"];

/// A world in which these lines hold, and nothing beside them.
fn enforce(world: &World, lines: &[Line]) {
    let (source, target) = (world.pair.source.policy(), world.pair.target.policy());
    for policy in [source, target, world.vault.policy(), world.queue.policy()] {
        policy.allow_only([""; 0]);
    }
    for line in lines {
        let policy: &Policy = match line.side {
            "source" => source,
            "target" => target,
            "secret" => world.vault.policy(),
            "queue" | "dead letters" => world.queue.policy(),
            _ => continue,
        };
        policy.allow(&line.action, &line.resource);
    }
}

/// What a scene came to; an error says what was not as documented.
type Played = Result<(), String>;

/// Something that the README documents, and the actions that it cannot do without.
struct Scene {
    name: &'static str,
    needs: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    play: for<'a> fn(&'a World) -> BoxFuture<'a, Played>,
}

fn expect(what: &str, is: impl PartialEq<Value>, found: &Value) -> Played {
    if is == *found { Ok(()) } else { Err(format!("{what}: {found}")) }
}

/// Handles an event about `k`, whose report has to have this outcome.
async fn reported(world: &World, payload: &Value, outcome: &str) -> Result<Value, String> {
    let report = world.report(payload).await;
    expect(&report.to_string(), outcome, &report["outcome"])?;
    Ok(report)
}

async fn copied(world: &World) -> Result<Value, String> {
    let report = reported(world, &created("k"), "copied").await?;
    let open = world.pair.target.open_uploads().len();
    if world.has("k") && open == 0 { Ok(report) } else { Err(format!("{open} uploads are open: {report}")) }
}

fn put(world: &World, bytes: usize, seed: u64, attributes: Attributes) {
    world.pair.source.store().put(SOURCE_BUCKET, "k", content(bytes, seed), attributes).unwrap();
}

/// Keys and values in an order.
type Tags = Vec<(String, String)>;

/// Those of the source's object and of the target's.
fn tags(world: &World) -> (Tags, Tags) {
    let of = |server: &fakes::server::Server, bucket| {
        let mut tags = server.store().get(bucket, "k").map(|object| object.attributes.tags.clone()).unwrap_or_default();
        tags.sort();
        tags
    };
    (of(&world.pair.source, SOURCE_BUCKET), of(&world.pair.target, TARGET_BUCKET))
}

fn same_tags(world: &World, report: &Value) -> Played {
    let (source, target) = tags(world);
    if source == target && !source.is_empty() { Ok(()) } else { Err(format!("{source:?} {target:?} {report}")) }
}

/// Hands messages over, with so many seconds of time; what was asked of the queue.
async fn deliver(world: &World, messages: &[Value], seconds: u64) -> Vec<Asked> {
    let payload = json!({ "Records": messages }).to_string();
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let answer = world.function.handle(payload.as_bytes(), deadline).await;
    assert!(matches!(answer, Answer::Success(_)), "{answer:?}");
    world.queue.take()
}

/// A part that the target never takes.
fn stall(world: &World) {
    world.pair.target.faults().add(Fault::on("UploadPart", Action::answer("SlowDown")).part(3).always());
}

/// The command line's way to the same buckets: its engine, by keys of its own side each.
async fn by_hand(world: &World, change: impl FnOnce(&mut Job)) -> Result<xpsync::engine::report::Report, String> {
    let mut job = world.pair.job("k").unwrap();
    change(&mut job);
    let report = copy(&job).await;
    let open = world.pair.target.open_uploads().len();
    if report.outcome == Outcome::Copied && world.has("k") && open == 0 {
        Ok(report)
    } else {
        Err(format!("{open} uploads are open: {report:?}"))
    }
}

fn scenes() -> Vec<Scene> {
    let plain: &[(&str, &str)] = &[];
    vec![
        Scene {
            name: "a small object is copied, and overwritten under If-Match",
            needs: &[
                "source s3:GetObject",
                "target s3:PutObject",
                "target s3:GetObject",
                "secret secretsmanager:GetSecretValue",
            ],
            variables: plain,
            play: |world| {
                async move {
                    put(world, KIB, 1, Attributes::default());
                    copied(world).await?;
                    put(world, MIB, 2, Attributes::default());
                    copied(world).await.map(drop)
                }
                .boxed()
            },
        },
        Scene {
            name: "an object of many parts is copied to where nothing is",
            needs: &["target s3:PutObject", "target s3:ListBucket"],
            variables: plain,
            play: |world| {
                async move {
                    put(world, 17 * MIB, 1, Attributes::default());
                    copied(world).await.map(drop)
                }
                .boxed()
            },
        },
        Scene {
            name: "the command line's engine copies small objects and large ones",
            needs: &["source s3:GetObject", "target s3:PutObject", "target s3:ListBucket"],
            variables: plain,
            play: |world| {
                async move {
                    for size in [17 * MIB, KIB] {
                        put(world, size, 1, Attributes::default());
                        by_hand(world, |_| {}).await?;
                    }
                    Ok(())
                }
                .boxed()
            },
        },
        Scene {
            name: "a versioned source is copied with its layout and tags, to a versioned target",
            needs: &["source s3:GetObjectVersion", "source s3:GetObjectVersionTagging"],
            variables: plain,
            play: |world| {
                async move {
                    let versioned = BucketConfig { versioned: true, ..BucketConfig::default() };
                    world.pair.source.store().create_bucket(SOURCE_BUCKET, versioned.clone());
                    world.pair.target.store().create_bucket(TARGET_BUCKET, versioned);
                    let parts = vec![content(16 * MIB, 1), content(MIB, 2)];
                    let tagged = Attributes::default().tag("a", "b");
                    world.pair.source.store().put_parts(SOURCE_BUCKET, "k", parts, tagged).unwrap();
                    let report = copied(world).await?;
                    expect(&report.to_string(), report["source"]["etag"].clone(), &report["target"]["etag"])?;
                    same_tags(world, &report)
                }
                .boxed()
            },
        },
        Scene {
            name: "tags are carried, and an event that comes again finds them there",
            needs: &["source s3:GetObjectTagging", "target s3:PutObjectTagging", "target s3:GetObject"],
            variables: plain,
            play: |world| {
                async move {
                    put(world, MIB, 1, Attributes::default().tag("a", "b"));
                    let report = copied(world).await?;
                    same_tags(world, &report)?;
                    reported(world, &created("k"), "unchanged").await.map(drop)
                }
                .boxed()
            },
        },
        Scene {
            name: "tags that do not fit the headers follow in a PutObjectTagging, in a versioned target too",
            needs: &["target s3:PutObjectTagging"],
            variables: plain,
            play: |world| {
                async move {
                    for versioned in [false, true] {
                        let config = BucketConfig { versioned, ..BucketConfig::default() };
                        world.pair.target.store().create_bucket(TARGET_BUCKET, config);
                        let mut attributes = Attributes::default();
                        for number in 0..10 {
                            attributes =
                                attributes.tag(&format!("{number}{}", "\u{e9}".repeat(127)), &"\u{e9}".repeat(256));
                        }
                        put(world, KIB, u64::from(versioned), attributes);
                        let report = copied(world).await?;
                        same_tags(world, &report)?;
                    }
                    let seen = world.pair.target.seen();
                    assert_eq!(crate::rig::count(&seen, "PutObjectTagging"), 2, "they did not follow");
                    Ok(())
                }
                .boxed()
            },
        },
        Scene {
            name: "a change of tags alone is a copy at the target",
            needs: &["target s3:GetObjectTagging", "target s3:PutObjectTagging", "target s3:GetObject"],
            variables: plain,
            play: |world| {
                async move {
                    put(world, MIB, 1, Attributes::default().tag("a", "b"));
                    copied(world).await?;
                    put(world, MIB, 1, Attributes::default().tag("a", "c"));
                    world.pair.target.forget();
                    let report = copied(world).await?;
                    assert_eq!(crate::rig::count(&world.pair.target.seen(), "CopyObject"), 1, "{report}");
                    same_tags(world, &report)
                }
                .boxed()
            },
        },
        Scene {
            name: "an object is put together of stages, of which nothing stays in a versioned target",
            needs: &["target s3:DeleteObject", "target s3:DeleteObjectVersion"],
            variables: plain,
            play: |world| {
                async move {
                    for versioned in [false, true] {
                        let config = BucketConfig { versioned, ..BucketConfig::default() };
                        world.pair.target.store().create_bucket(TARGET_BUCKET, config);
                        put(world, 10 * MIB, u64::from(versioned), Attributes::default());
                        by_hand(world, |job| {
                            let own = staging::StagingLimits::default();
                            job.session.options.etag = EtagMode::Preserve;
                            job.session.options.staging =
                                staging::StagingLimits { put: 5 << 20, part: 5 << 20, stage: 11 << 20, ..own };
                        })
                        .await?;
                        let stages = world.pair.target.store().keys(TARGET_BUCKET);
                        if stages != ["k"] {
                            return Err(format!("{stages:?}"));
                        }
                        let seen = world.pair.target.seen();
                        if seen.iter().any(|seen| seen.operation == "DeleteObject" && seen.status >= 400) {
                            return Err("a stage could not be removed".to_owned());
                        }
                    }
                    Ok(())
                }
                .boxed()
            },
        },
        Scene {
            name: "an object that is gone at the source is removed at the target",
            needs: &["source s3:ListBucket", "target s3:DeleteObject"],
            variables: &[("SYNC_DELETES", "true")],
            play: |world| {
                async move {
                    put(world, KIB, 1, Attributes::default());
                    copied(world).await?;
                    world.pair.source.store().delete(SOURCE_BUCKET, "k").unwrap();
                    reported(world, &event("Object Deleted", "k"), "deleted").await.map(drop)
                }
                .boxed()
            },
        },
        Scene {
            name: "an upload that cannot be finished is aborted",
            needs: &["target s3:AbortMultipartUpload"],
            variables: plain,
            play: |world| {
                async move {
                    put(world, 17 * MIB, 1, Attributes::default());
                    let denied = Fault::on("UploadPart", Action::answer("InvalidRequest")).part(2).always();
                    world.pair.target.faults().add(denied);
                    let report = reported(world, &created("k"), "failed").await?;
                    match world.pair.target.open_uploads().len() {
                        0 => Ok(()),
                        open => Err(format!("{open} uploads are open: {report}")),
                    }
                }
                .boxed()
            },
        },
        Scene {
            name: "a Create that was not answered is looked for and aborted",
            needs: &["target s3:ListBucketMultipartUploads", "target s3:AbortMultipartUpload"],
            variables: plain,
            play: |world| {
                async move {
                    put(world, 17 * MIB, 1, Attributes::default());
                    let lost = Action::Reset(Moment::AfterDoing);
                    world.pair.target.faults().add(Fault::on("CreateMultipartUpload", lost));
                    copied(world).await.map(drop)
                }
                .boxed()
            },
        },
        Scene {
            name: "what does not fit an invocation is left to the queue and resumed from its parts",
            needs: &["queue sqs:SendMessage", "target s3:ListMultipartUploadParts"],
            variables: &[("MEMORY_THRESHOLD_MB", "1000")],
            play: |world| {
                async move {
                    put(world, 17 * MIB, 1, Attributes::default());
                    stall(world);
                    let asked = deliver(world, &[delivered("m", &created("k"), 1)], 4).await;
                    let [Asked::Sent(body, _)] = &asked[..] else { return Err(format!("{asked:?}")) };
                    world.pair.target.faults().clear();
                    world.pair.target.forget();
                    deliver(world, &[delivered("n", body, 1)], 30).await;
                    let parts = crate::rig::count(&world.pair.target.seen(), "UploadPart");
                    let open = world.pair.target.open_uploads().len();
                    if world.has("k") && (parts, open) == (1, 0) { Ok(()) } else { Err(format!("{parts} {open}")) }
                }
                .boxed()
            },
        },
        Scene {
            name: "a failure that may pass comes again after its time",
            needs: &["queue sqs:ChangeMessageVisibility"],
            variables: plain,
            play: |world| {
                async move {
                    put(world, KIB, 1, Attributes::default());
                    world.pair.target.faults().add(Fault::on("PutObject", Action::answer("SlowDown")).always());
                    let asked = deliver(world, &[delivered("m", &created("k"), 1)], 4).await;
                    if matches!(&asked[..], [Asked::Hidden(_, 30)]) { Ok(()) } else { Err(format!("{asked:?}")) }
                }
                .boxed()
            },
        },
        Scene {
            name: "what only a person can mend is among the dead letters at once",
            needs: &["queue sqs:GetQueueAttributes", "dead letters sqs:SendMessage"],
            variables: plain,
            play: |world| {
                async move {
                    let foreign = json!({ "what": "is this" });
                    let asked = deliver(world, &[delivered("m", &foreign, 1)], 8).await;
                    if matches!(&asked[..], [Asked::Buried(..)]) { Ok(()) } else { Err(format!("{asked:?}")) }
                }
                .boxed()
            },
        },
        Scene {
            name: "a sweep removes uploads of ours and stages, by version",
            needs: &[
                "target s3:ListBucketMultipartUploads",
                "target s3:ListBucketVersions",
                "target s3:AbortMultipartUpload",
                "target s3:DeleteObjectVersion",
            ],
            variables: plain,
            play: |world| {
                async move {
                    let versioned = BucketConfig { versioned: true, ..BucketConfig::default() };
                    let store = world.pair.target.store();
                    store.create_bucket(TARGET_BUCKET, versioned);
                    crate::rig::begin_upload(&world.pair, "old", Duration::from_hours(200)).await;
                    store.put(TARGET_BUCKET, ".xpsync/stage", content(KIB, 1), Attributes::default()).unwrap();
                    store.age(TARGET_BUCKET, ".xpsync/stage", Duration::from_hours(200));
                    match world.handle(&json!({ "op": "sweep" })).await {
                        Answer::Success(answer) => {
                            let swept = json!([answer["uploads"]["swept"], answer["stages"]["swept"]]);
                            expect(&answer.to_string(), json!([1, 1]), &swept)
                        }
                        Answer::FunctionError { error_message, .. } => Err(error_message),
                    }
                }
                .boxed()
            },
        },
        Scene {
            name: "an object encrypted with the source's own KMS key is copied",
            needs: &["source kms:Decrypt"],
            variables: plain,
            play: |world| {
                async move {
                    let encryption = Encryption::Kms("a key of the source's account".to_owned());
                    let config = BucketConfig { encryption, ..BucketConfig::default() };
                    world.pair.source.store().create_bucket(SOURCE_BUCKET, config);
                    put(world, MIB, 1, Attributes::default());
                    copied(world).await.map(drop)
                }
                .boxed()
            },
        },
    ]
}

/// Plays a scene in a world of its own.
async fn play(scene: &Scene, lines: &[Line]) -> Played {
    let world = World::with(scene.variables, |network, _| network).await;
    enforce(&world, lines);
    (scene.play)(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_documented_works_inside_the_policies_and_no_action_of_them_is_for_nothing() {
    let lines = [user(), role()].concat();
    let named: BTreeSet<String> = lines.iter().map(Line::name).collect();
    let mut proven: BTreeSet<String> = LAMBDAS.iter().map(|name| (*name).to_owned()).collect();
    let mut wrong = Vec::new();
    for scene in scenes() {
        if let Err(why) = play(&scene, &lines).await {
            wrong.push(format!("{}: {why}", scene.name));
            continue;
        }
        for need in scene.needs {
            assert!(named.contains(*need), "{}: neither policy has {need}", scene.name);
            let rest: Vec<Line> = lines.iter().filter(|line| line.name() != *need).cloned().collect();
            match play(&scene, &rest).await {
                Ok(()) => wrong.push(format!("{}: it works without {need}", scene.name)),
                Err(_) => println!("{need}: {}", scene.name),
            }
            proven.insert((*need).to_owned());
        }
    }
    wrong.extend(named.difference(&proven).map(|name| format!("no scene needs {name}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(LAMBDAS.iter().all(|name| named.contains(*name)), "Lambda cannot work with this role");
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_of_the_policies_the_servers_deny() {
    let world = World::new().await;
    enforce(&world, &[user(), role()].concat());
    let (source, target) = (world.pair.source.policy(), world.pair.target.policy());
    for (action, bucket, key) in [
        ("s3:PutObject", SOURCE_BUCKET, "k"),
        ("s3:DeleteObject", SOURCE_BUCKET, "k"),
        ("s3:GetObject", "another", "k"),
        ("s3:ListBucketVersions", SOURCE_BUCKET, ""),
        ("secretsmanager:GetSecretValue", SOURCE_BUCKET, ""),
    ] {
        assert!(!source.allows(action, bucket, key), "{action} on {bucket}/{key}");
    }
    for (action, bucket, key) in [
        ("s3:PutObject", "another", "k"),
        ("s3:DeleteObjectVersion", TARGET_BUCKET, "k"),
        ("s3:GetObjectVersion", TARGET_BUCKET, "k"),
        ("s3:PutObjectAcl", TARGET_BUCKET, "k"),
        ("s3:BypassGovernanceRetention", TARGET_BUCKET, "k"),
        ("s3:PutBucketPolicy", TARGET_BUCKET, ""),
        ("s3:DeleteBucket", TARGET_BUCKET, ""),
    ] {
        assert!(!target.allows(action, bucket, key), "{action} on {bucket}/{key}");
    }
    assert!(target.allows("s3:DeleteObjectVersion", TARGET_BUCKET, ".xpsync/a-stage"));
    assert!(!world.vault.policy().allows("secretsmanager:GetSecretValue", "another-AbCdEf", ""));
    assert!(!world.queue.policy().allows("sqs:ReceiveMessage", "events-dead-letters", ""));
    // And one that is really asked for: the source's role may not be used to write to the source.
    let mut job = world.pair.job("k").unwrap();
    put(&world, KIB, 1, Attributes::default());
    job.session.target = job.session.source.clone();
    job.target_key = xpsync::s3::Key::new("elsewhere").unwrap();
    let report = copy(&job).await;
    let fault = crate::rig::fault_of(&report, "a write to the source");
    assert_eq!((fault.status, fault.code.as_deref()), (Some(403), Some("AccessDenied")), "{report:?}");
    assert!(world.pair.source.store().get(SOURCE_BUCKET, "elsewhere").is_none());
}
