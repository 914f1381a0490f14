//! Many parts at a time: which is begun when, streamed or through a slot, and what becomes of each.

use crate::engine::buffer::slot::Slot;
use crate::engine::decide::plan::PartRanges;
use crate::engine::fault::{Fault, FaultClass};
use crate::engine::job::Job;
use crate::engine::pace::progress::{Goodput, again, hardly_begun, late, standing_still, usual};
use crate::engine::parts::in_flight::{PartBytes, PartInFlight};
use crate::engine::parts::md5s::Md5s;
use crate::engine::parts::part::{PartContext, length, put_part, send_part};
use crate::engine::parts::stream::stream;
use crate::engine::parts::uploaded::{PartOrigin, UploadedPart, UploadedParts};
use crate::engine::stop::{Stop, stopped};
use crate::s3::integrity::checksum::Kinds;
use crate::s3::{ByteRange, PartNumber};
use crate::wire::client::attempt::Attempts;
use crate::wire::deadline::Stopped;
use crate::wire::gate::{Permit, UnitKind};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often the parts in flight are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Parts that are read ahead of the window, in hundredths of it, so that no permit waits for the source.
const AHEAD: usize = 12;
/// How many of them at least.
const AHEAD_LEAST: usize = 4;
/// Bytes of what finds out whether the target takes trailers, and from how many parts on it is worth a request: fewer
/// have room in slots meanwhile.
const PROBE: u64 = 1 << 10;
const PROBED: usize = 16;

struct Sender {
    parts: Arc<PartContext>,
    // What is computed of each part.
    kinds: Kinds,
    // Of parts in slots.
    md5s: Arc<Md5s>,
    // Dropped with this: its tasks end, their sockets close.
    tasks: JoinSet<Result<UploadedPart, Stop>>,
    numbers: HashMap<Id, PartNumber>,
    waiting: PartRanges,
    // The task that finds out whether the target takes trailers, and the part that waits for it.
    probe: Option<(Id, PartNumber, ByteRange)>,
    in_flight: BTreeMap<PartNumber, PartInFlight>,
    done: BTreeMap<PartNumber, UploadedPart>,
    goodput: Goodput,
    looked: Instant,
    // How long each part took that was sent.
    took: Vec<Duration>,
    // Parts that wait because they were cancelled.
    again_from_source: BTreeSet<PartNumber>,
    // Bytes that may still be sent again because they are late.
    again: u64,
    // Whether a part that is begun now can be expected to end before the deadline.
    in_time: bool,
}

/// Sends these parts of an upload, but those at hand. Slots are taken in the order of the parts, so that the earliest
/// part never waits for a later one's memory. A part that need not wait for its connection does not wait in memory
/// either: it is streamed.
///
/// # Cancel safety
/// Every part's connection is closed and its slot given back; parts that were sent stay in the upload.
pub(crate) async fn send_parts(
    parts: Arc<PartContext>,
    wanted: &PartRanges,
    at_hand: BTreeMap<PartNumber, UploadedPart>,
    kinds: Kinds,
) -> Result<UploadedParts, Stop> {
    let client = parts.job.session.target.client.clone();
    let mut sender = Sender::new(Arc::clone(&parts), wanted, at_hand, kinds);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Both are kept from turn to turn: who asks again each time stands at the end of the queue each time.
    let (mut slot, mut permit) = (None, None);
    sender.begin_probe();
    while !sender.waiting.is_empty() || !sender.in_flight.is_empty() || sender.probe.is_some() {
        if !sender.in_time && sender.in_flight.is_empty() {
            return Err(stopped(Stopped::Deadline).into());
        }
        let next = sender.waiting.first_key_value().map(|(_, range)| length(*range));
        // A slot knows its length, and the last part is shorter.
        slot = slot.filter(|(length, _)| next == Some(*length));
        if let Some(length) = next.filter(|_| slot.is_none() && sender.has_room()) {
            slot = Some((length, Box::pin(parts.ring.slot(length))));
        }
        permit = permit.filter(|_| sender.may_stream());
        if permit.is_none() && sender.may_stream() {
            let bytes = next.unwrap_or(0) as u64;
            permit = Some(Box::pin(client.permit(attempts(&parts.job).unit(bytes))));
        }
        tokio::select! {
            biased;
            Some(joined) = sender.tasks.join_next_with_id() => sender.ended(joined)?,
            permitted = or_never(permit.as_mut()) => {
                permit = None;
                sender.begin_streamed(permitted);
            }
            taken = or_never(slot.as_mut().map(|(_, slot)| slot)) => {
                slot = None;
                let no_buffer = |error| Fault::new(FaultClass::Budget, format!("no buffer for a part: {error}"));
                sender.begin(taken.map_err(no_buffer)?);
            }
            _ = looks.tick() => sender.look(),
        }
    }
    let sent = sender.sent(wanted)?;
    tracing::debug!(
        key = parts.job.source_key.as_str(),
        parts = sent.parts.len(),
        streamed = parts.notes.streamed.load(Ordering::Relaxed),
        "parts sent"
    );
    Ok(sent)
}

/// Those of a part.
fn attempts(job: &Job) -> Attempts {
    job.part().carrying(UnitKind::Part)
}

async fn or_never<F: Future + Unpin>(work: Option<F>) -> F::Output {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

impl Sender {
    fn new(
        parts: Arc<PartContext>,
        wanted: &PartRanges,
        done: BTreeMap<PartNumber, UploadedPart>,
        kinds: Kinds,
    ) -> Self {
        let waiting = wanted.iter().filter(|(number, _)| !done.contains_key(number));
        let waiting = waiting.map(|(number, range)| (*number, *range)).collect();
        let largest = wanted.values().map(|range| range.bytes()).max().unwrap_or(0);
        let again = again(parts.pinned.size, largest);
        Self {
            parts,
            kinds,
            md5s: Arc::default(),
            tasks: JoinSet::new(),
            numbers: HashMap::new(),
            waiting,
            probe: None,
            in_flight: BTreeMap::new(),
            done,
            goodput: Goodput::default(),
            looked: Instant::now(),
            took: Vec::new(),
            again_from_source: BTreeSet::new(),
            again,
            in_time: true,
        }
    }

    fn window(&self) -> usize {
        self.parts.job.session.target.client.window() as usize
    }

    /// Whether another part may be begun in a slot: as many as the window lets out, those of objects that were
    /// begun earlier included, and some that are read ahead.
    fn has_room(&self) -> bool {
        let session = &self.parts.job.session;
        let window = self.window();
        let ahead = (window * AHEAD / 100).max(AHEAD_LEAST);
        let most = window.saturating_add(ahead).min(session.parts_in_flight.max(1));
        self.in_time && (self.in_flight.is_empty() || session.in_flight.of_older(self.parts.job.order) < most)
    }

    /// Whether a part may be begun that needs no memory: not if its bytes are wanted in the order of the parts, or
    /// others that are read wait for their permits. While it is not known whether the target takes trailers, the probe
    /// finds out, or where that failed one part.
    fn may_stream(&self) -> bool {
        let most = self.window().min(self.parts.job.session.parts_in_flight.max(1));
        self.in_time
            && !self.waiting.is_empty()
            && self.parts.own_boundaries.is_none()
            && self.in_flight.len() < most
            && (self.knows_trailers()
                || self.probe.is_none() && !self.in_flight.values().any(PartInFlight::is_streamed))
    }

    fn knows_trailers(&self) -> bool {
        self.parts.job.session.target.client.quirks().knows_trailers()
    }

    /// Finds out whether the target takes trailers by the first bytes of the last part, sent as if they were all of it,
    /// where several parts could be streamed. The part itself is sent when that has ended.
    fn begin_probe(&mut self) {
        if self.knows_trailers() || self.parts.own_boundaries.is_some() || self.waiting.len() < PROBED {
            return;
        }
        let mut absent = self.waiting.iter().rev().filter(|(number, _)| !self.parts.listed.contains_key(number));
        let Some((number, range)) = absent.next().map(|(number, range)| (*number, *range)) else { return };
        let Ok(first) = ByteRange::new(range.start(), range.end().min(range.start() + PROBE)) else { return };
        self.waiting.remove(&number);
        // Another attempt could land before the first one, and that one in the place of the part.
        let attempts = self.parts.job.once().carrying(UnitKind::Part).on_a_new_connection();
        let parts = Arc::clone(&self.parts);
        let task = self.tasks.spawn(stream(parts, number, first, self.kinds, attempts));
        self.probe = Some((task.id(), number, range));
    }

    fn begin(&mut self, slot: Slot) {
        let Some((number, range)) = self.waiting.pop_first() else { return };
        let (parts, attempts) = (Arc::clone(&self.parts), self.attempts(number));
        let (taken, read) = (attempts.taken(), Arc::default());
        // The MD5 of what stays at hand can wait.
        let slot = slot.with(Kinds { md5: false, ..self.kinds });
        let md5s = self.kinds.md5.then(|| Arc::clone(&self.md5s));
        let task = self.spawn(number, send_part(parts, number, range, slot, md5s, Arc::clone(&read), attempts));
        self.enter(number, range, PartBytes::Slot(read), task, taken);
    }

    fn begin_streamed(&mut self, permit: Box<dyn Permit>) {
        let Some((number, range)) = self.waiting.pop_first() else { return };
        let (parts, attempts) = (Arc::clone(&self.parts), self.attempts(number));
        let (taken, attempts) = (attempts.taken(), attempts.with_permit(permit));
        let task = self.spawn(number, stream(parts, number, range, self.kinds, attempts));
        self.parts.notes.streamed.fetch_add(1, Ordering::Relaxed);
        self.enter(number, range, PartBytes::Streamed, task, taken);
    }

    /// Of a part whose turn has come; of one that was cancelled, on a connection of its own.
    fn attempts(&mut self, number: PartNumber) -> Attempts {
        match self.again_from_source.remove(&number) {
            true => attempts(&self.parts.job).on_a_new_connection(),
            false => attempts(&self.parts.job),
        }
    }

    fn enter(
        &mut self,
        number: PartNumber,
        range: ByteRange,
        bytes: PartBytes,
        task: AbortHandle,
        taken: Arc<AtomicU64>,
    ) {
        let job = &self.parts.job;
        let counted = (job.progress.part_started(), job.session.in_flight.enter(job.order));
        let flight = PartInFlight::new(range, bytes, task, taken, counted);
        self.in_flight.insert(number, flight);
    }

    fn spawn(
        &mut self,
        number: PartNumber,
        work: impl Future<Output = Result<UploadedPart, Stop>> + Send + 'static,
    ) -> AbortHandle {
        let task = self.tasks.spawn(work);
        self.numbers.insert(task.id(), number);
        task
    }

    /// What a task came to: a part that is there, or one that was cancelled and is sent again.
    fn ended(&mut self, joined: Result<(Id, Result<UploadedPart, Stop>), JoinError>) -> Result<(), Stop> {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        if let Some((_, number, range)) = self.probe.take_if(|(probe, ..)| *probe == id) {
            self.waiting.insert(number, range);
            // It may arrive yet, in the place of the part.
            if !matches!(joined, Ok((_, Ok(_)))) {
                self.parts.notes.hedges.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(());
        }
        let flight = self.numbers.remove(&id).and_then(|number| Some((number, self.in_flight.remove(&number)?)));
        let Some((number, flight)) = flight else { return Ok(()) };
        let result = match joined {
            Ok((_, result)) => result,
            Err(error) if error.is_cancelled() && flight.is_cancelled() => {
                self.send_again(number, &flight);
                return Ok(());
            }
            Err(error) => {
                return Err(Fault::new(FaultClass::Internal, format!("a part's task ended: {error}")).into());
            }
        };
        let done = result?;
        let bytes = flight.range.bytes();
        self.parts.job.progress.add_sent(bytes);
        match done.origin {
            PartOrigin::Sent => {
                self.parts.job.session.target.client.delivered(bytes);
                self.parts.notes.landed(bytes);
                self.took.push(done.took);
            }
            PartOrigin::Kept => self.parts.notes.resumed(1),
        }
        self.done.insert(number, done);
        Ok(())
    }

    /// From its slot, or from the source when its turn comes.
    fn send_again(&mut self, number: PartNumber, flight: &PartInFlight) {
        self.parts.notes.hedges.fetch_add(1, Ordering::Relaxed);
        let Some(read) = flight.read() else {
            self.waiting.insert(number, flight.range);
            self.again_from_source.insert(number);
            return;
        };
        let attempts = attempts(&self.parts.job).on_a_new_connection();
        let (taken, bytes) = (attempts.taken(), PartBytes::Slot(Arc::new(Some(Arc::clone(&read)).into())));
        let task = self.spawn(number, put_part(Arc::clone(&self.parts), number, read, attempts));
        self.enter(number, flight.range, bytes, task, taken);
    }

    /// Cancels parts that stand still or are too many, and once nothing waits to be sent one that is late.
    fn look(&mut self) {
        let now = Instant::now();
        let moved = self.in_flight.values_mut().map(|flight| flight.look(now)).sum();
        let takes = usual(self.in_flight.values().map(|flight| &flight.progress), self.took.last().copied(), now);
        self.in_time = self.waiting.is_empty() || self.parts.job.deadline.allows(takes, now);
        self.goodput.look(moved, now.saturating_duration_since(self.looked));
        self.looked = now;
        let in_flight = self.in_flight.iter().filter(|(_, flight)| !flight.is_cancelled());
        let looked = in_flight.map(|(number, flight)| (*number, &flight.progress));
        let client = &self.parts.job.session.target.client;
        let (still, idle) = standing_still(looked.clone(), now);
        if !still.is_empty() {
            client.starved(idle);
        }
        let surplus = hardly_begun(looked.clone()).into_iter().take(client.surplus());
        let mut cancelled: Vec<(PartNumber, &str)> = still.into_iter().map(|number| (number, "stands still")).collect();
        cancelled.extend(surplus.map(|number| (number, "surplus")));
        if self.waiting.is_empty()
            && let Some(number) = late(looked, self.goodput, self.fastest(), self.again, now)
        {
            self.again -= self.in_flight[&number].progress.taken();
            cancelled.push((number, "late"));
        }
        for (number, why) in cancelled {
            if let Some(flight) = self.in_flight.get_mut(&number).filter(|flight| !flight.is_cancelled()) {
                tracing::debug!(part = number.get(), why, taken = flight.progress.taken(), "sent again");
                flight.cancel();
            }
        }
    }

    /// How long the fastest fiftieth of those that were sent took.
    fn fastest(&self) -> Duration {
        let mut took = self.took.clone();
        let first = took.len() / 50;
        if took.is_empty() { Duration::MAX } else { *took.select_nth_unstable(first).1 }
    }

    fn sent(self, wanted: &PartRanges) -> Result<UploadedParts, Stop> {
        if self.done.len() != wanted.len() {
            return Err(Fault::new(FaultClass::Internal, "a part has no result").into());
        }
        let all_md5 = self.done.values().all(|part| part.is_md5);
        Ok(UploadedParts { parts: self.done, all_md5 })
    }
}
