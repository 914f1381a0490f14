//! What must hold when everything is well again: nothing waits, the target has what the source has, nothing that the
//! source never had was ever there, nothing is left open, and no more memory was taken than was allowed.

use super::play::{Case, key, key_of};
use super::script::*;
use fakes::store::attributes::Attributes;
use fakes::store::object::Object;
use fakes::store::upload::Upload;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use xpsync::engine::decide::reserved::PREFIX;

/// How often everything that waits is delivered before it is held to wait for ever. Without faults once is enough, and
/// once more for what a late write or a busy machine undid.
const ROUNDS: u32 = 4;

/// Older than what a sweep leaves.
const OLD: Duration = Duration::from_hours(30 * 24);

/// What became of a case.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// What did not hold.
    pub(crate) broken: Vec<String>,
    /// What came about, by kind.
    pub(crate) kinds: BTreeSet<&'static str>,
}

/// Bytes and attributes, as one can compare them.
pub(crate) type State = (Vec<u8>, Vec<(String, Vec<u8>)>, Vec<(String, String)>);

pub(crate) fn state(object: &Object) -> State {
    let Attributes { headers, tags, .. } = &object.attributes;
    // What S3 says of an object that nobody gave a type.
    let untyped = ("content-type".to_owned(), b"binary/octet-stream".to_vec());
    let mut named: Vec<(String, Vec<u8>)> = headers
        .iter()
        .filter(|(name, _)| !name.as_str().starts_with("x-amz-meta-xpsync-source-"))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    if !headers.contains_key("content-type") {
        named.push(untyped);
    }
    named.sort();
    let mut tags = tags.clone();
    tags.sort();
    (object.bytes(), named, tags)
}

/// Plays a script and judges what it left.
pub(crate) async fn judged(case: &Arc<Case>) -> Verdict {
    case.play().await;
    let mut broken = Vec::new();
    settle(case, &mut broken).await;
    for key in (0..3).map(key) {
        compare(case, key, &mut broken);
    }
    look_back(case, &mut broken);
    look_at_reports(case, &mut broken);
    look_for_leavings(case, &mut broken);
    sweep(case, &mut broken).await;
    note_ways(case);
    let peak = case.sandboxes.stop(case.script.unit).await;
    if peak > 100 {
        broken.push(format!("slots took {peak} % of their budget"));
    }
    case.stage.clear(&case.buckets);
    broken.append(&mut case.known().broken);
    let kinds = std::mem::take(&mut case.known().kinds);
    Verdict { broken, kinds }
}

/// By which ways the target was written, to be counted beside what went wrong.
fn note_ways(case: &Case) {
    let mut known = case.known();
    for seen in case.stage.pair.target.seen() {
        let way = match seen.operation.as_str() {
            "CompleteMultipartUpload" if seen.key.starts_with(PREFIX) => "(staged)",
            "CompleteMultipartUpload" => "(written in parts)",
            "PutObject" => "(written in one PUT)",
            "CopyObject" if !seen.key.starts_with(PREFIX) => "(copied at the target)",
            "UploadPartCopy" => "(parts copied at the target)",
            "DeleteObject" if !seen.key.starts_with(PREFIX) => "(removed)",
            _ => continue,
        };
        known.kinds.insert(way);
    }
}

/// Lets everything end that waits.
async fn settle(case: &Case, broken: &mut Vec<String>) {
    case.calm().await;
    let touched = std::mem::take(&mut case.known().touched);
    for key in touched {
        case.tell(key);
    }
    case.redrive();
    drain(case, broken).await;
    // A write that was delayed on its way must not do any harm now, however late it is.
    for landed in case.stage.pair.target.land().await {
        if [200, 204].contains(&landed.status) && landed.is_conditional && key_of(&landed.key) != "?" {
            // What it asked for holds again, by a way that came back to where it was; S3 has nothing against that, and
            // the next event mends it.
            case.tell(key_of(&landed.key));
        }
    }
    drain(case, broken).await;
    // What a sandbox still has open that was stopped or killed, it leaves to the queue; of two uploads of a key, one
    // after the other.
    for _ in 0..ROUNDS {
        case.wake().await;
        if case.known().waiting.is_empty() {
            break;
        }
        drain(case, broken).await;
    }
}

async fn drain(case: &Case, broken: &mut Vec<String>) {
    for _ in 0..ROUNDS {
        if case.drain().await {
            break;
        }
        // Bytes that nobody can read rightly are never copied, and every report says so.
        let mut known = case.known();
        let known = &mut *known;
        let reports = &known.reports;
        let rotten: BTreeSet<&str> = known.rotten.iter().map(|(key, _, _)| *key).collect();
        known.waiting.retain(|event| {
            let last = reports.iter().rev().find(|(key, _)| *key == event.key);
            !(rotten.contains(event.key) && last.is_some_and(|(_, report)| report["error"]["class"] == "integrity"))
        });
    }
    let known = case.known();
    if !known.waiting.is_empty() {
        let why: Vec<String> = known.reports.iter().rev().take(2).map(|(_, report)| report.to_string()).collect();
        broken.push(format!("{:?} still wait: {}", known.waiting, why.join("; ")));
    }
    let is_rotten = |key: &str| known.rotten.iter().any(|(of, ..)| *of == key);
    for (message, class) in known.dead.iter().filter(|(message, class)| class != "integrity" || !is_rotten(message.key))
    {
        broken.push(format!("{}: put aside as {class} though all is well: {:?}", message.key, known.reports.last()));
    }
}

/// The target has what the source has, byte for byte and header for header.
fn compare(case: &Case, key: &'static str, broken: &mut Vec<String>) {
    let source = case.stage.pair.source.store().get(&case.buckets.source, key);
    let target = case.stage.pair.target.store().get(&case.buckets.target, key);
    let known = case.known();
    let is_rotten = |object: &Object| known.rotten.iter().any(|(of, etag, _)| *of == key && *etag == object.etag);
    match (source, target) {
        (None, None) => {}
        // Whatever the target had, it keeps.
        (None, Some(_)) if case.script.deletes == Deletes::Kept => {}
        (None, Some(target)) => broken.push(format!("{key}: the source is gone, the target has {}", brief(&target))),
        // Whether something is there at all, the reports say.
        (Some(source), _) if is_rotten(&source) => {}
        (Some(source), None) => broken.push(format!("{key}: the source has {}, the target nothing", brief(&source))),
        (Some(source), Some(target)) => {
            if state(&source) != state(&target) {
                let attributes =
                    if source.bytes() == target.bytes() { "the attributes differ" } else { "the bytes differ" };
                broken.push(format!("{key}: {attributes}: {} and {}", brief(&source), brief(&target)));
            }
        }
    }
}

fn brief(object: &Object) -> String {
    format!(
        "{} bytes, ETag {}, {:?}, {:?}",
        object.content.len(),
        object.etag,
        object.attributes.headers,
        object.attributes.tags
    )
}

/// Nothing was ever at the target that the source never had, and that nobody else put there. Tags are another request's
/// answer, for which S3 takes no condition: for a moment, until the source is looked at again, those of another state
/// of the source may be with it.
fn look_back(case: &Case, broken: &mut Vec<String>) {
    let had: Vec<(String, State)> = case
        .stage
        .pair
        .source
        .store()
        .recorded()
        .iter()
        .map(|record| (record.key.clone(), state(&record.object)))
        .collect();
    let known = case.known();
    let written = case.stage.pair.target.store().recorded();
    let written = written.iter().filter(|record| record.bucket == case.buckets.target);
    for record in written.filter(|record| !record.key.starts_with(PREFIX)) {
        let state = state(&record.object);
        let is_rotten = |(key, _, bytes): &(&str, String, Vec<u8>)| *key == record.key && *bytes == state.0;
        let own = || had.iter().filter(|(key, _)| *key == record.key).map(|(_, had)| had);
        let is_sourced = own().any(|had| had.0 == state.0 && had.1 == state.1) && own().any(|had| had.2 == state.2)
            || known.foreign.iter().any(|(key, bytes)| *key == record.key && *bytes == state.0)
            || !case.script.source.shows_its_content() && known.rotten.iter().any(is_rotten);
        if !is_sourced {
            broken.push(format!("{}: the target had what the source never had: {}", record.key, brief(&record.object)));
        }
    }
}

/// Every report says what it must.
fn look_at_reports(case: &Case, broken: &mut Vec<String>) {
    for (key, report) in &case.known().reports {
        let outcome = report["outcome"].as_str().unwrap_or_default();
        let class = report["error"]["class"].as_str().unwrap_or_default();
        let proofs = report["verified_by"].as_array().map(Vec::len).unwrap_or_default();
        let holds = match outcome {
            "copied" => proofs > 0 || report["reason"].is_string(),
            "unchanged" => proofs > 0 || report["reason"].is_string(),
            "superseded" | "ignored" => report["reason"].is_string(),
            "deleted" => case.script.deletes == Deletes::Synced,
            // A defect of ours is none of the world's.
            "handed_over" => report["reason"].is_string(),
            "resumable" => report["ticket"].is_object() && !class.is_empty(),
            "failed" => !class.is_empty() && class != "internal" && report["error"]["message"].is_string(),
            _ => false,
        };
        if !holds {
            broken.push(format!("{key}: a report that does not say what it must: {report}"));
        }
    }
}

/// No upload and no stage is left, unless its process was killed before it could write it down, or a report says that
/// it could not be helped.
fn look_for_leavings(case: &Case, broken: &mut Vec<String>) {
    let known = case.known();
    let says = |key: &str, what: &[&str]| {
        let mut own = known.reports.iter().filter(|(of, _)| *of == key);
        own.any(|(_, report)| what.iter().any(|what| report["reason"].as_str().unwrap_or_default().contains(what)))
    };
    for upload in open(case) {
        let key = upload.key.as_str();
        let is_killed = known.kills > 0 && !known.journaled.contains(&upload.id);
        let excuses = ["may still be open, a sweep aborts it", "the journal could not be written"];
        // Into which stage, no report says.
        let is_said =
            (0..3).map(super::play::key).any(|of| (key == of || key.starts_with(PREFIX)) && says(of, &excuses));
        if !is_killed && !is_said {
            let reports = known.reports.iter().filter(|(of, _)| *of == key || key.starts_with(PREFIX));
            let reports: Vec<String> = reports.map(|(_, report)| report.to_string()).collect();
            let (id, kills, was) = (&upload.id, known.kills, known.journaled.contains(&upload.id));
            broken.push(format!(
                "upload {id} of {key} is open, and no report says why; {kills} kills, written down by one: {was}:\n  \
                 {}",
                reports.join("\n  ")
            ));
        }
    }
    for stage in stages(case) {
        if known.kills == 0 && !says_any(&known.reports, "could not be removed") {
            broken.push(format!("{stage} is left, and no report says why"));
        }
    }
}

fn says_any(reports: &[(&str, serde_json::Value)], what: &str) -> bool {
    reports.iter().any(|(_, report)| report["reason"].as_str().unwrap_or_default().contains(what))
}

fn open(case: &Case) -> Vec<Upload> {
    let mut open = case.stage.pair.target.open_uploads();
    open.retain(|upload| upload.bucket == case.buckets.target);
    open
}

/// Keys of stages of which any version is there.
fn stages(case: &Case) -> BTreeSet<String> {
    let store = case.stage.pair.target.store();
    let written = store.recorded();
    let staged = written.iter().filter(|record| record.bucket == case.buckets.target && record.key.starts_with(PREFIX));
    let is_there = |key: &String| !store.versions(&case.buckets.target, key).is_empty();
    staged.map(|record| record.key.clone()).filter(is_there).collect()
}

/// Whatever is left is swept once it is old.
async fn sweep(case: &Case, broken: &mut Vec<String>) {
    let (uploads, stages_left) = (open(case), stages(case));
    if uploads.is_empty() && stages_left.is_empty() {
        return;
    }
    case.known().kinds.insert("something to sweep");
    let store = case.stage.pair.target.store();
    uploads.iter().for_each(|upload| store.age_upload(&upload.id, OLD));
    stages_left.iter().for_each(|stage| store.age(&case.buckets.target, stage, OLD));
    let answer = case.sweep().await;
    let (uploads, stages_left) = (open(case), stages(case));
    if !uploads.is_empty() || !stages_left.is_empty() {
        let uploads: Vec<&str> = uploads.iter().map(|upload| upload.key.as_str()).collect();
        broken.push(format!("uploads of {uploads:?} and stages {stages_left:?} are not swept: {answer:?}"));
    }
}
