//! Plays a script: what happens at the two sides, beside requests, and to the events that tell of it.

use super::judge::{State, state};
use super::script::*;
use super::stage::{Buckets, Sandboxes, Stage, Who};
use crate::rig::content;
use crate::rig::world::{SECRET, delivered, secret_of};
use bytes::Bytes;
use fakes::aws::queue::Asked;
use fakes::fault::faults::{Acted, Action, Fault as Rule, Moment};
use fakes::s3::auth::keys::KeyPair;
use fakes::s3::refusal::Refusal;
use fakes::store::attributes::Attributes;
use fakes::store::object::Record;
use fakes::store::objects::Store;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::block_in_place;
use xpsync::events::answer::Answer;

/// Keys as people have them.
const KEYS: [&str; 3] = ["a", "//b+c %20&\u{e9}/..", "\u{1f4e6}/=?#;:@,'\"\\ ~"];
/// What an invocation has if it is not short of time; far more than anything here takes.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);

pub(crate) fn key(number: u8) -> &'static str {
    KEYS[usize::from(number) % KEYS.len()]
}

/// A message that waits to be delivered: an event, or what the function sent to go on from.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    id: u64,
    pub(crate) key: &'static str,
    body: Value,
    receives: u32,
}

/// What is known beside what the two stores record.
#[derive(Debug, Default)]
pub(crate) struct Known {
    next: u64,
    pub(crate) waiting: Vec<Waiting>,
    /// Messages that the function has put aside, with their class.
    pub(crate) dead: Vec<(Waiting, String)>,
    /// Keys that somebody else changed at the target: no event tells of it, so one is made up in the end.
    pub(crate) touched: BTreeSet<&'static str>,
    /// What somebody else wrote.
    pub(crate) foreign: Vec<(&'static str, Bytes)>,
    /// Sources with a bit that flipped at rest: key, ETag, the bytes as they are now.
    pub(crate) rotten: Vec<(&'static str, String, Vec<u8>)>,
    /// What was reported, by key.
    pub(crate) reports: Vec<(&'static str, Value)>,
    /// What did not hold while it went on.
    pub(crate) broken: Vec<String>,
    /// Invocations that run, and where their keys stood when they began.
    pub(crate) running: Vec<(u64, &'static str, Since)>,
    /// What came about, by kind.
    pub(crate) kinds: BTreeSet<&'static str>,
    /// Uploads that a killed process had written down.
    pub(crate) journaled: BTreeSet<String>,
    acted: Vec<(&'static str, Acted)>,
    rotations: u32,
    secret: Option<String>,
    pub(crate) kills: u32,
}

impl Known {
    fn wait(&mut self, key: &'static str, body: Value) -> Waiting {
        self.next += 1;
        let waiting = Waiting { id: self.next, key, body, receives: 0 };
        self.waiting.push(waiting.clone());
        waiting
    }
}

/// A script that is being played.
pub(crate) struct Case {
    pub(crate) stage: Arc<Stage>,
    pub(crate) script: Script,
    pub(crate) buckets: Buckets,
    pub(crate) sandboxes: Sandboxes,
    known: Mutex<Known>,
    killing: Notify,
    beside: tokio::sync::Mutex<()>,
    is_calm: AtomicBool,
}

impl Case {
    pub(crate) fn new(stage: &Arc<Stage>, script: Script) -> Arc<Self> {
        let buckets = stage.set(&script);
        Arc::new_cyclic(|case| Self {
            buckets,
            stage: Arc::clone(stage),
            script,
            sandboxes: Sandboxes::new(Weak::clone(case)),
            known: Mutex::default(),
            killing: Notify::new(),
            beside: tokio::sync::Mutex::default(),
            is_calm: AtomicBool::new(false),
        })
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn came_about(&self, kind: &'static str) {
        self.known().kinds.insert(kind);
    }

    pub(crate) async fn play(self: &Arc<Self>) {
        for step in &self.script.steps {
            match step {
                Step::Source(change) => {
                    self.change(change);
                }
                Step::Stranger(meddling) => self.meddle(meddling),
                Step::Fault(fault) => self.expect(fault),
                Step::Rotate(secret) => self.rotate(*secret),
                Step::Clock(end, minutes) => {
                    self.came_about("clock wrong");
                    self.stage.server(*end).set_clock_ahead(i64::from(*minutes) * 60_000);
                }
                Step::Deliver(events, time, by) => self.deliver(events, *time, *by).await,
            }
        }
    }

    /// Everything that went wrong does so no longer, what was beside a request is over though nobody waited for the
    /// request, and what it came to is counted.
    pub(crate) async fn calm(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
        self.stage.calm();
        let _over = self.beside.lock().await;
        let mut known = self.known();
        if let Some(secret) = known.secret.take() {
            self.stage.vault.set(SECRET, &secret);
        }
        let acted: Vec<&'static str> =
            known.acted.iter().filter(|(_, acted)| acted.count() > 0).map(|(kind, _)| *kind).collect();
        known.kinds.extend(acted);
    }

    fn source(&self) -> &Store {
        self.stage.pair.source.store()
    }

    /// Changes the source, and says which event tells of it.
    fn change(&self, change: &Change) -> Option<Waiting> {
        let store = self.source();
        match *change {
            Change::Put { key: number, size, content: seed, dress, cut } => {
                let key = key(number);
                let same = store.get(&self.buckets.source, key).map_or(0, |object| object.content.len());
                let size = size.bytes(self.script.unit, same);
                let bytes = content(usize::try_from(size).unwrap(), u64::from(seed));
                let attributes = attributes(dress);
                // An ETag of parts that are sent in one PUT is not held against the bytes yet.
                let cut = match self.script.source.sums {
                    Sums::NotStored if size <= self.script.unit.table().single_put => Cut::Whole,
                    Sums::Stored | Sums::NotStored => cut,
                };
                // Shorter ones S3 has from nobody, and takes from nobody.
                let shortest = if self.script.etag == Etag::Preserve { 5 } else { 1 };
                match parts(&bytes, cut, shortest, self.script.unit.bytes()) {
                    None => store.put(&self.buckets.source, key, bytes, attributes).unwrap(),
                    Some(parts) => store.put_parts(&self.buckets.source, key, parts, attributes).unwrap(),
                };
                Some(self.tell_of(key, "Object Created", Some(size)))
            }
            Change::Delete { key: number } => {
                self.came_about("source deleted");
                store.delete(&self.buckets.source, key(number)).unwrap();
                Some(self.tell_of(key(number), "Object Deleted", None))
            }
            Change::Rollback { key: number } => {
                let key = key(number);
                let newest = store.versions(&self.buckets.source, key).pop().filter(|version| version != "null")?;
                self.came_about("source rolled back");
                store.delete_version(&self.buckets.source, key, &newest).unwrap();
                Some(self.tell_of(key, "Object Deleted", None))
            }
            Change::Rot { key: number, at } => {
                let key = key(number);
                let length = store.get(&self.buckets.source, key)?.content.len();
                if length > 0 {
                    store.rot(&self.buckets.source, key, u64::from(at) % length);
                    let object = store.get(&self.buckets.source, key)?;
                    self.came_about("bit flipped at rest");
                    self.known().rotten.push((key, object.etag.clone(), object.bytes()));
                }
                None
            }
        }
    }

    fn meddle(&self, meddling: &Meddling) {
        let store = self.stage.pair.target.store();
        match *meddling {
            Meddling::Overwrites { key: number, content: seed } => {
                let bytes = content(usize::from(seed) + 1, u64::from(seed));
                let mut known = self.known();
                known.foreign.push((key(number), bytes.clone()));
                known.touched.insert(key(number));
                drop(known);
                store.put(&self.buckets.target, key(number), bytes, Attributes::default()).unwrap();
                self.came_about("target changed by a stranger");
            }
            Meddling::Removes { key: number } => {
                self.known().touched.insert(key(number));
                store.delete(&self.buckets.target, key(number)).unwrap();
                self.came_about("target changed by a stranger");
            }
            Meddling::AbortsUploads => {
                for upload in store.open_uploads().iter().filter(|upload| upload.bucket == self.buckets.target) {
                    store.end_upload(&upload.id);
                }
            }
        }
    }

    fn rotate(&self, secret: Secret) {
        self.came_about("keys rotated");
        let mut known = self.known();
        known.rotations += 1;
        let keys = KeyPair::new(&format!("AKIAROTATED{:04}", known.rotations), &format!("rotated-{}", known.rotations));
        self.stage.give_keys(&keys);
        match secret {
            Secret::WithSecret => {
                known.secret = None;
                self.stage.vault.set(SECRET, &secret_of(&keys));
            }
            Secret::BeforeSecret => known.secret = Some(secret_of(&keys)),
        }
    }

    /// Enters a fault into a server's script.
    fn expect(self: &Arc<Self>, fault: &Fault) {
        let Some(action) = self.action(&fault.what) else { return };
        let bucket = match fault.at {
            End::AtSource => &self.buckets.source,
            End::AtTarget => &self.buckets.target,
        };
        let rule = Rule::on(fault.on.name(), action).bucket(bucket);
        let rule = rule.nth(fault.nth.into()).times(fault.times.max(1).into());
        let acted = self.stage.server(fault.at).faults().add(rule);
        self.known().acted.push((fault.what.kind(), acted));
    }

    fn action(self: &Arc<Self>, what: &What) -> Option<Action> {
        let milliseconds = |time: u16| Some(Duration::from_millis(time.into()));
        Some(match what {
            What::InternalError => Action::answer("InternalError"),
            What::Unavailable => Action::answer("ServiceUnavailable"),
            What::SlowDown => Action::slow_down(100),
            What::Conflict => Action::answer("ConditionalRequestConflict"),
            What::ErrorIn200 => Action::ErrorInside { refusal: Refusal::of("InternalError"), blanks: 2 },
            What::ErrorThoughDone => Action::ErrorAfterDoing(Refusal::of("InternalError")),
            What::ResetBeforeBody => Action::Reset(Moment::BeforeBody),
            What::ResetBeforeDoing => Action::Reset(Moment::BeforeDoing),
            What::ResetThoughDone => Action::Reset(Moment::AfterDoing),
            What::ResetInReply(at) => Action::Reset(Moment::InReply((*at).into())),
            What::Truncate(at) => Action::Truncate((*at).into()),
            // What nobody could find, nobody is expected to.
            What::FlipReply(_) if !self.script.source.shows_its_content() => return None,
            What::FlipReply(at) => Action::Flip((*at).into()),
            What::FlipRequest(at) => Action::FlipRequest((*at).into()),
            What::StallHead(time) => Action::StallHead(milliseconds(*time)),
            What::StallBody(at, time) => Action::StallBody((*at).into(), milliseconds(*time)),
            What::Park => Action::Park,
            What::Before(meanwhile) => Action::Before(self.hook(meanwhile.clone())),
            What::After(meanwhile) => Action::After(self.hook(meanwhile.clone())),
        })
    }

    fn hook(self: &Arc<Self>, meanwhile: Meanwhile) -> Box<dyn Fn(&Store) + Send + Sync> {
        let case = Arc::clone(self);
        Box::new(move |_| match &meanwhile {
            _ if case.is_calm.load(Ordering::SeqCst) => {}
            Meanwhile::Changes(change) => drop(case.change(change)),
            Meanwhile::ChangesAndIsHandled(change) => case.change_and_handle(change),
            Meanwhile::Meddles(meddling) => case.meddle(meddling),
            Meanwhile::RotatesKeys => case.rotate(Secret::WithSecret),
            Meanwhile::Kills => {
                case.known().kills += 1;
                case.killing.notify_one();
            }
        })
    }

    /// Changes the source, and lets another sandbox handle the event before the request goes on that this is beside.
    fn change_and_handle(&self, change: &Change) {
        let Some(waiting) = self.change(change) else { return };
        // What is beside something that is beside something may want the sandbox that waits for it.
        let Ok(_beside) = self.beside.try_lock() else { return };
        block_in_place(|| {
            Handle::current().block_on(self.invoke(Who::Beside, By::Queue, &[(waiting, true)], AMPLE / 4));
        });
    }

    /// Delivers some of the waiting events at once; the sandboxes are killed if that is asked for meanwhile.
    async fn deliver(&self, events: &[Event], time: Time, by: By) {
        let waiting = self.known().waiting.clone();
        if waiting.is_empty() {
            return;
        }
        let time = match time {
            Time::Ample => AMPLE,
            Time::Milliseconds(time) => {
                self.came_about("little time");
                Duration::from_millis(time.into())
            }
        };
        if events.len() > 1 {
            self.came_about("concurrent invocations");
        }
        let chosen = events.iter().map(|event| {
            let (place, is_last) = match *event {
                Event::Once(place) => (place, true),
                Event::Twice(place) => (place, false),
            };
            let place = usize::from(place) % waiting.len();
            if place > 0 {
                self.came_about("event out of order");
            }
            if !is_last {
                self.came_about("event delivered twice");
            }
            (waiting[place].clone(), is_last)
        });
        let mut chosen: Vec<(Waiting, bool)> = chosen.collect();
        let batches: Vec<Vec<(Waiting, bool)>> = match by {
            By::Bus | By::Queue => chosen.into_iter().map(|message| vec![message]).collect(),
            By::OneBatch => {
                // A batch has a message once.
                let mut seen = BTreeSet::new();
                chosen.retain(|(message, _)| seen.insert(message.id));
                vec![chosen]
            }
        };
        let invocations = batches.iter().enumerate().map(|(index, batch)| {
            let who = if index % 2 == 0 { Who::First } else { Who::Second };
            self.invoke(who, by, batch, time)
        });
        let mut all = std::pin::pin!(join_all(invocations));
        loop {
            tokio::select! {
                _ = &mut all => return,
                () = self.killing.notified() => self.kill().await,
            }
        }
    }

    async fn kill(&self) {
        let journaled = self.sandboxes.kill().await;
        self.known().journaled.extend(journaled);
    }

    /// Delivers everything that waits, each once; whether nothing waits any more.
    pub(crate) async fn drain(&self) -> bool {
        let waiting = self.known().waiting.clone();
        join_all(waiting.into_iter().enumerate().map(|(index, message)| async move {
            let who = if index % 2 == 0 { Who::First } else { Who::Second };
            let by = if message.id % 4 == 0 { By::Bus } else { By::Queue };
            self.invoke(who, by, &[(message, true)], AMPLE).await;
        }))
        .await;
        self.known().waiting.is_empty()
    }

    /// Wakes every sandbox that there was with a message that is nothing to it, so that it finds what a dead one left.
    pub(crate) async fn wake(&self) {
        for who in [Who::First, Who::Second, Who::Beside] {
            if self.sandboxes.has_been(who) {
                let nothing = self.event("Object Tags Added", "a", None);
                let message = Waiting { id: 0, key: "a", body: nothing, receives: 0 };
                self.invoke(who, By::Queue, &[(message, true)], AMPLE).await;
            }
        }
    }

    /// Sweeps the target; what was answered.
    pub(crate) async fn sweep(&self) -> Option<Answer> {
        self.sandboxes.invoke(Who::First, json!({ "op": "sweep" }).to_string(), AMPLE).await
    }

    /// Everything that was put aside waits again.
    pub(crate) fn redrive(&self) {
        let mut known = self.known();
        let dead = std::mem::take(&mut known.dead);
        known.waiting.extend(dead.into_iter().map(|(message, _)| message));
    }

    fn event(&self, kind: &str, key: &str, size: Option<u64>) -> Value {
        json!({
            "version": "0", "source": "aws.s3", "detail-type": kind, "time": "2026-01-01T00:00:00Z",
            "detail": { "bucket": { "name": self.buckets.source }, "object": { "key": key, "size": size } },
        })
    }

    fn tell_of(&self, key: &'static str, kind: &str, size: Option<u64>) -> Waiting {
        let event = self.event(kind, key, size);
        self.known().wait(key, event)
    }

    /// An event for a key that has none.
    pub(crate) fn tell(&self, key: &'static str) {
        self.tell_of(key, "Object Created", None);
    }

    /// One invocation with these messages, of which those that are `true` are gone when they are acknowledged.
    async fn invoke(&self, who: Who, by: By, batch: &[(Waiting, bool)], time: Duration) {
        let run = self.begin(batch);
        let payload = match (by, batch) {
            (By::Bus, [(message, _)]) => message.body.clone(),
            (By::Bus | By::Queue | By::OneBatch, _) => {
                let records = batch
                    .iter()
                    .map(|(message, _)| delivered(&message.id.to_string(), &message.body, message.receives + 1));
                json!({ "Records": records.collect::<Vec<_>>() })
            }
        };
        let answer = self.sandboxes.invoke(who, payload.to_string(), time).await;
        let mut known = self.known();
        known.running.retain(|(other, ..)| *other != run);
        let kept: Vec<String> = match answer {
            // A single one.
            Some(Answer::Success(answer)) if answer.get("batchItemFailures").is_none() => Vec::new(),
            Some(Answer::Success(answer)) => {
                let failures = answer["batchItemFailures"].as_array().cloned().unwrap_or_default();
                failures.iter().filter_map(|item| item["itemIdentifier"].as_str().map(str::to_owned)).collect()
            }
            Some(Answer::FunctionError { error_message, .. }) => {
                // Whoever gets the failed invocation has the ticket, and may resume it.
                let report: Value = serde_json::from_str(&error_message).unwrap_or_default();
                if let ([(message, _)], Some(ticket)) = (batch, report.get("ticket")) {
                    let body = json!({
                        "op": "continue", "bucket": self.buckets.source, "key": message.key, "ticket": ticket,
                    });
                    known.wait(message.key, body);
                    known.kinds.insert("stopped, and resumed by hand");
                }
                batch.iter().map(|(message, _)| message.id.to_string()).collect()
            }
            None => batch.iter().map(|(message, _)| message.id.to_string()).collect(),
        };
        for (message, is_last) in batch {
            let is_kept = kept.contains(&message.id.to_string());
            if is_kept {
                known.waiting.iter_mut().filter(|other| other.id == message.id).for_each(|other| other.receives += 1);
            } else if *is_last {
                known.waiting.retain(|other| other.id != message.id);
            }
        }
        self.collect(&mut known);
    }

    /// What the function asked of its queue.
    fn collect(&self, known: &mut Known) {
        for asked in self.stage.queue.take() {
            match asked {
                Asked::Sent(body, _) if body["bucket"] == self.buckets.source => {
                    let key = key_of(body["key"].as_str().unwrap_or_default());
                    known.kinds.insert("stopped, and left to the queue");
                    known.wait(key, body);
                }
                Asked::Buried(body, attributes) => {
                    let body: Value = serde_json::from_str(&body).unwrap_or_default();
                    let name = body["key"].as_str().or(body["detail"]["object"]["key"].as_str()).unwrap_or_default();
                    let class = attributes["ErrorClass"]["StringValue"].as_str().unwrap_or_default().to_owned();
                    known.kinds.insert("put aside as a dead letter");
                    known.next += 1;
                    let message = Waiting { id: known.next, key: key_of(name), body, receives: 0 };
                    known.dead.push((message, class));
                }
                Asked::Sent(..) | Asked::Hidden(..) => {}
            }
        }
    }

    fn begin(&self, batch: &[(Waiting, bool)]) -> u64 {
        let keys: BTreeSet<&'static str> = batch.iter().map(|(message, _)| message.key).collect();
        let since: Vec<_> = keys.into_iter().map(|key| (key, self.since(key))).collect();
        let mut known = self.known();
        known.next += 1;
        let run = known.next;
        known.running.extend(since.into_iter().map(|(key, since)| (run, key, since)));
        run
    }

    /// Where the records of a key stand now: at the state that is the current one.
    fn since(&self, key: &str) -> Since {
        let place = |store: &Store, bucket: &str| {
            let now = store.get(bucket, key);
            let had = store.recorded();
            let is_it = |record: &Record| {
                let Some(now) = &now else { return false };
                record.bucket == bucket
                    && record.key == key
                    && (&record.object.etag, &record.object.version) == (&now.etag, &now.version)
                    && record.object.attributes == now.attributes
            };
            let all = had.len();
            had.iter().rposition(is_it).unwrap_or(if now.is_some() { 0 } else { all })
        };
        Since {
            source: place(self.source(), &self.buckets.source),
            target: place(self.stage.pair.target.store(), &self.buckets.target),
        }
    }

    /// Takes a report, and looks whether what it says was so since the first invocation for its key began that still
    /// runs.
    pub(crate) fn heard(&self, report: Value) {
        let mut known = self.known();
        let key = key_of(report["source"]["key"].as_str().unwrap_or_default());
        let outcome = report["outcome"].as_str().unwrap_or_default();
        let running: Vec<Since> =
            known.running.iter().filter(|(_, of, _)| *of == key).map(|(_, _, since)| *since).collect();
        let is_rotten = known.rotten.iter().any(|(of, ..)| *of == key);
        let may_return = self.script.source.versions == Versions::All;
        let is_there = report["source"]["etag"].is_string();
        if ["copied", "unchanged"].contains(&outcome) && is_there && !is_rotten && !running.is_empty() {
            if report["resumed_parts"].as_u64().unwrap_or_default() > 0 {
                known.kinds.insert("resumed with parts that were there");
            }
            let least = |of: fn(&Since) -> usize| running.iter().map(of).min().unwrap_or_default();
            let since = Since {
                source: if may_return { 0 } else { least(|since| since.source) },
                target: least(|since| since.target),
            };
            let states = |store: &Store, bucket: &str, since: usize| -> Vec<State> {
                let had = store.recorded();
                let own = had.iter().skip(since).filter(|record| record.bucket == bucket && record.key == key);
                own.map(|record| state(&record.object)).collect()
            };
            let had = states(self.source(), &self.buckets.source, since.source);
            let has = states(self.stage.pair.target.store(), &self.buckets.target, since.target);
            let is_so = has.iter().any(|has| {
                let same = |had: &&State| had.0 == has.0 && had.1 == has.1;
                had.iter().any(|had| same(&had)) && had.iter().any(|had| had.2 == has.2)
            });
            if !is_so {
                known
                    .broken
                    .push(format!("{key}: {outcome}, but not what the source had since it was begun: {report}"));
            }
        }
        known.reports.push((key, report));
    }
}

/// Where the records of the two stores stood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    source: usize,
    target: usize,
}

/// The key of this name.
pub(crate) fn key_of(name: &str) -> &'static str {
    KEYS.into_iter().find(|key| *key == name).unwrap_or("?")
}

impl Bucket {
    /// Whether an object says something of itself that its bytes can be held against.
    pub(crate) fn shows_its_content(self) -> bool {
        self.crypt != Crypt::Kms || self.sums == Sums::Stored
    }
}

/// The parts of an object; none if it is put whole.
fn parts(bytes: &Bytes, cut: Cut, shortest: u8, unit: u64) -> Option<Vec<Bytes>> {
    let (first, others) = match cut {
        Cut::Whole => return None,
        Cut::Even(units) => (units, units),
        Cut::Uneven(first, others) => (first, others),
    };
    let length = |units: u8| usize::try_from(u64::from(units.max(shortest)) * unit).unwrap();
    let mut rest = bytes.clone();
    let mut parts = vec![rest.split_to(length(first).min(rest.len()))];
    while !rest.is_empty() {
        parts.push(rest.split_to(length(others).min(rest.len())));
    }
    (!bytes.is_empty()).then_some(parts)
}

fn attributes(dress: Dress) -> Attributes {
    let bare = Attributes::default();
    let typed = || bare.clone().header("content-type", "text/plain; charset=utf-8").meta("mtime", "1700000000.25");
    match dress {
        Dress::Bare => bare,
        Dress::Typed => typed(),
        Dress::Tagged => bare.tag("owner", "a b+c").tag("k/=", "\u{e9}"),
        Dress::Full => typed()
            .header("cache-control", "max-age=60")
            .header("content-disposition", "attachment; filename=\"a b.txt\"")
            .header("content-encoding", "gzip")
            .header("content-language", "de, en")
            .header("expires", "Wed, 21 Oct 2037 07:28:00 GMT")
            .meta("name", "=?UTF-8?B?w6nDqA==?=")
            .meta("empty", "")
            .tag("one", ""),
    }
}
