//! Plays a script: what happens at the two sides, beside requests, and to the events that tell of it.

use super::script::*;
use super::stage::{Buckets, Sandboxes, Stage, Who};
use crate::rig::content;
use crate::rig::world::{SECRET, secret_of};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::block_in_place;
use xpsync::demo::attributes::Attributes;
use xpsync::demo::faults::{Acted, Action, Fault as Rule, Moment};
use xpsync::demo::keys::KeyPair;
use xpsync::demo::refusal::Refusal;
use xpsync::demo::store::Store;
use xpsync::events::answer::Answer;

/// Keys as people have them.
const KEYS: [&str; 3] = ["a", "//b+c %20&\u{e9}/..", "\u{1f4e6}/=?#;:@,'\"\\ ~"];
/// What an invocation has if it is not short of time; far more than anything here takes.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);

pub(crate) fn key(number: u8) -> &'static str {
    KEYS[usize::from(number) % KEYS.len()]
}

/// An event that waits to be delivered.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    id: u64,
    pub(crate) key: &'static str,
    kind: &'static str,
    /// As it was then.
    size: Option<u64>,
}

/// What is known beside what the two stores record.
#[derive(Debug, Default)]
pub(crate) struct Known {
    next: u64,
    pub(crate) waiting: Vec<Waiting>,
    /// Keys that somebody else changed at the target: no event tells of it, so one is made up in the end.
    pub(crate) touched: BTreeSet<&'static str>,
    /// What somebody else wrote.
    pub(crate) foreign: Vec<(&'static str, Bytes)>,
    /// Sources with a bit that flipped at rest: key, ETag, the bytes as they are now.
    pub(crate) rotten: Vec<(&'static str, String, Vec<u8>)>,
    /// What was answered, by key.
    pub(crate) reports: Vec<(&'static str, Value)>,
    /// What came about, by kind.
    pub(crate) kinds: BTreeSet<&'static str>,
    acted: Vec<(&'static str, Acted)>,
    rotations: u32,
    secret: Option<String>,
    pub(crate) kills: u32,
}

impl Known {
    fn wait(&mut self, key: &'static str, kind: &'static str, size: Option<u64>) -> Waiting {
        self.next += 1;
        let waiting = Waiting { id: self.next, key, kind, size };
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
        Arc::new(Self {
            buckets,
            stage: Arc::clone(stage),
            script,
            sandboxes: Sandboxes::default(),
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
                Step::Deliver(events, time) => self.deliver(events, *time).await,
            }
        }
    }

    /// Everything that went wrong does so no longer, what was beside a request is over though nobody waited for the request,
    /// and what it came to is counted.
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
                let cut = if self.script.source.sums == Sums::NotStored { Cut::Whole } else { cut };
                match parts(&bytes, cut, self.script.unit.bytes()) {
                    None => store.put(&self.buckets.source, key, bytes, attributes).unwrap(),
                    Some(parts) => store.put_parts(&self.buckets.source, key, parts, attributes).unwrap(),
                };
                Some(self.known().wait(key, "Object Created", Some(size)))
            }
            Change::Delete { key: number } => {
                self.came_about("source deleted");
                store.delete(&self.buckets.source, key(number)).unwrap();
                Some(self.known().wait(key(number), "Object Deleted", None))
            }
            Change::Rollback { key: number } => {
                let key = key(number);
                let newest = store.versions(&self.buckets.source, key).pop().filter(|version| version != "null")?;
                self.came_about("source rolled back");
                store.delete_version(&self.buckets.source, key, &newest).unwrap();
                Some(self.known().wait(key, "Object Deleted", None))
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
                for upload in store.open_uploads() {
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
            Handle::current().block_on(async {
                self.invoke(Who::Beside, &waiting, AMPLE / 4, true).await;
            });
        });
    }

    /// Delivers some of the waiting events at once; the sandboxes are killed if that is asked for meanwhile.
    async fn deliver(&self, events: &[Event], time: Time) {
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
        let invocations = events.iter().enumerate().map(|(index, event)| {
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
            let who = if index % 2 == 0 { Who::First } else { Who::Second };
            let event = &waiting[place];
            async move { self.invoke(who, event, time, is_last).await }
        });
        let mut all = std::pin::pin!(join_all(invocations));
        loop {
            tokio::select! {
                _ = &mut all => return,
                () = self.killing.notified() => self.sandboxes.kill().await,
            }
        }
    }

    /// Delivers everything that waits, each event once; whether nothing waits any more.
    pub(crate) async fn drain(&self) -> bool {
        let waiting = self.known().waiting.clone();
        join_all(waiting.iter().enumerate().map(|(index, event)| {
            let who = if index % 2 == 0 { Who::First } else { Who::Second };
            self.invoke(who, event, AMPLE, true)
        }))
        .await;
        self.known().waiting.is_empty()
    }

    /// An event for a key that has none.
    pub(crate) fn tell(&self, key: &'static str) {
        self.known().wait(key, "Object Created", None);
    }

    async fn invoke(&self, who: Who, waiting: &Waiting, time: Duration, is_last: bool) {
        let payload = json!({
            "version": "0", "source": "aws.s3", "detail-type": waiting.kind, "time": "2026-01-01T00:00:00Z",
            "detail": { "bucket": { "name": self.buckets.source }, "object": { "key": waiting.key, "size": waiting.size } },
        });
        let answer = self.sandboxes.invoke(who, self, payload.to_string(), time).await;
        let mut known = self.known();
        match answer {
            Some(Answer::Success(report)) => {
                known.reports.push((waiting.key, report));
                if is_last {
                    known.waiting.retain(|other| other.id != waiting.id);
                }
            }
            Some(Answer::FunctionError { error_message, .. }) => {
                known.reports.push((waiting.key, serde_json::from_str(&error_message).unwrap()));
            }
            None => {}
        }
    }
}

impl Bucket {
    /// Whether an object says something of itself that its bytes can be held against.
    pub(crate) fn shows_its_content(self) -> bool {
        self.crypt != Crypt::Kms || self.sums == Sums::Stored
    }
}

/// The parts of an object; none if it is put whole.
fn parts(bytes: &Bytes, cut: Cut, unit: u64) -> Option<Vec<Bytes>> {
    let (first, others) = match cut {
        Cut::Whole => return None,
        Cut::Even(units) => (units, units),
        Cut::Uneven(first, others) => (first, others),
    };
    let length = |units: u8| usize::try_from(u64::from(units.max(1)) * unit).unwrap();
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
