//! Many parts at a time: which is begun when, streamed or through a slot, and what becomes of each.

use crate::engine::buffer::slot::Slot;
use crate::engine::decide::plan::PartRanges;
use crate::engine::fault::{Fault, FaultClass};
use crate::engine::pace::goodput::{Goodput, PartPace};
use crate::engine::pace::replace::{self, SendingPart};
use crate::engine::pace::tail::{LOST, PartProgress, Rest, TailAlignment};
use crate::engine::parts::in_flight::{PartAttempt, PartBytes, PartInFlight};
use crate::engine::parts::md5s::Md5s;
use crate::engine::parts::part::{PartContext, length, put_part, send_part};
use crate::engine::parts::stream::stream;
use crate::engine::parts::uploaded::{PartOrigin, UploadedPart, UploadedParts};
use crate::engine::stop::{Stop, stopped};
use crate::s3::integrity::checksum::Kinds;
use crate::s3::{ByteRange, PartNumber};
use crate::wire::body::pacer::Pacer;
use crate::wire::client::attempt::Attempts;
use crate::wire::client::call::WindowExtension;
use crate::wire::deadline::Stopped;
use crate::wire::gate::Permit;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often the window and the pace of the parts are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Parts that are read ahead of the window, in hundredths of it, so that no permit waits for the source.
const AHEAD: usize = 12;
/// How many of them at least.
const AHEAD_LEAST: usize = 4;

struct PartsInFlight {
    parts: Arc<PartContext>,
    // What is computed of each part.
    kinds: Kinds,
    // Of parts in slots.
    md5s: Arc<Md5s>,
    // Dropped with this: its tasks end, their sockets close.
    tasks: JoinSet<(PartNumber, Result<UploadedPart, Stop>)>,
    in_flight: BTreeMap<PartNumber, PartInFlight>,
    // How long each part took that was sent.
    took: Vec<Duration>,
    goodput: Goodput,
    // Connections when the last part was begun.
    at_end: Option<usize>,
    // The last parts wait for each other.
    tail: TailAlignment,
    level: Arc<Pacer>,
    // All parts that were left are let out at once.
    extension: Option<WindowExtension>,
    // Bytes of parts that ended since the last look, of which no look has seen.
    finished: f64,
    // Opaque ETags differ each time a part is sent: a copy that lands late would make Complete name a part that is
    // gone.
    all_md5: bool,
    // Whether a part that is begun now can be expected to end before the deadline.
    in_time: bool,
}

/// Sends these parts of an upload, but those at hand. Slots are taken in the order of the
/// parts, so that the earliest part never waits for a later one's memory. A part that need not wait for the border does
/// not wait in memory either: it is streamed.
///
/// # Cancel safety
/// Every part's connection is closed and its slot given back; parts that were sent stay in the upload.
pub(crate) async fn send_parts(
    parts: Arc<PartContext>,
    wanted: &PartRanges,
    at_hand: BTreeMap<PartNumber, UploadedPart>,
    kinds: Kinds,
) -> Result<UploadedParts, Stop> {
    let mut done = at_hand;
    let missing: Vec<(PartNumber, ByteRange)> = wanted
        .iter()
        .filter(|(number, _)| !done.contains_key(number))
        .map(|(number, range)| (*number, *range))
        .collect();
    let mut waiting = missing.into_iter().peekable();
    let mut flights = PartsInFlight::new(Arc::clone(&parts), kinds);
    flights.all_md5 = done.values().all(|part| part.is_md5);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Kept from turn to turn: who asks again each time stands at the end of the queue each time.
    let mut reserving = None;
    while waiting.peek().is_some() || !flights.in_flight.is_empty() {
        if !flights.in_time && flights.in_flight.is_empty() {
            return Err(stopped(Stopped::Deadline).into());
        }
        if reserving.is_none()
            && let Some((_, range)) = waiting.peek().filter(|_| flights.have_room())
        {
            reserving = Some((*range, Box::pin(parts.ring.slot(length(*range)))));
        }
        let may_stream = waiting.peek().is_some() && flights.may_stream();
        let slot = async {
            match &mut reserving {
                Some((_, slot)) => slot.await,
                None => std::future::pending().await,
            }
        };
        // Not waited for: it is looked at whenever a part has ended, and a few times a second.
        let permit = poll_fn(|_| match flights.parts.job.session.target.client.permit() {
            Some(permit) => Poll::Ready(permit),
            None => Poll::Pending,
        });
        tokio::select! {
            biased;
            Some(joined) = flights.tasks.join_next() => {
                let joined = match joined {
                    // A copy that came too late.
                    Err(error) if error.is_cancelled() => continue,
                    joined => joined.map_err(|error| Fault::new(FaultClass::Internal, format!("a part's task ended: {error}")))?,
                };
                if let Some((number, part)) = flights.ended(joined)? {
                    done.insert(number, part);
                }
            }
            permit = permit, if may_stream => {
                if let Some((number, range)) = waiting.next() {
                    flights.begin_streamed(number, range, permit);
                }
                // The last part is shorter, and a slot knows its length.
                let next = waiting.peek().map(|(_, range)| range.bytes());
                reserving = reserving.filter(|(range, _)| next == Some(range.bytes()));
            }
            slot = slot => {
                reserving = None;
                let slot = slot.map_err(|error| Fault::new(FaultClass::Budget, format!("no buffer for a part: {error}")))?;
                if let Some((number, range)) = waiting.next() {
                    flights.begin(number, range, slot);
                }
            }
            _ = looks.tick() => flights.look(waiting.len()),
        }
    }
    if done.len() != wanted.len() {
        return Err(Fault::new(FaultClass::Internal, "a part has no result").into());
    }
    let sent = UploadedParts { parts: done, all_md5: flights.all_md5 };
    tracing::debug!(
        key = parts.job.source_key.as_str(),
        parts = sent.parts.len(),
        streamed = parts.notes.streamed.load(Ordering::Relaxed),
        "parts sent"
    );
    Ok(sent)
}

impl PartsInFlight {
    fn new(parts: Arc<PartContext>, kinds: Kinds) -> Self {
        let host = parts.job.session.host;
        Self {
            parts,
            kinds,
            md5s: Arc::default(),
            tasks: JoinSet::new(),
            in_flight: BTreeMap::new(),
            took: Vec::new(),
            goodput: Goodput::new(Instant::now()),
            at_end: None,
            tail: TailAlignment::new(Instant::now(), host),
            level: Arc::default(),
            extension: None,
            finished: 0.0,
            all_md5: true,
            in_time: true,
        }
    }

    /// Whether another part may be begun: as many as the window lets out, and some that are read ahead.
    fn have_room(&self) -> bool {
        let window = self.parts.job.session.target.client.window() as usize;
        let ahead = (window * AHEAD / 100).max(AHEAD_LEAST);
        self.in_time
            && self.in_flight.len() < window.saturating_add(ahead).min(self.parts.job.session.parts_in_flight.max(1))
    }

    /// Whether a part may be begun that needs no memory: not if its bytes are wanted in the order of the parts, or
    /// others that are read wait for their permits.
    fn may_stream(&self) -> bool {
        let window = self.parts.job.session.target.client.window() as usize;
        let most = window.min(self.parts.job.session.parts_in_flight.max(1));
        self.in_time && self.parts.own_boundaries.is_none() && self.in_flight.len() < most
    }

    fn begin(&mut self, number: PartNumber, range: ByteRange, slot: Slot) {
        let read = Arc::default();
        let attempts = self.attempts();
        let copy = self.copy(number, range, attempts, {
            let (parts, read) = (Arc::clone(&self.parts), Arc::clone(&read));
            // The MD5 of what stays at hand can wait.
            let slot = slot.with(Kinds { md5: false, ..self.kinds });
            let md5s = self.kinds.md5.then(|| Arc::clone(&self.md5s));
            move |attempts| send_part(parts, number, range, slot, md5s, read, attempts)
        });
        self.enter(number, range, PartBytes::Slot(read), copy);
    }

    fn begin_streamed(&mut self, number: PartNumber, range: ByteRange, permit: Box<dyn Permit>) {
        let attempts = self.attempts().with_permit(permit);
        let (parts, kinds) = (Arc::clone(&self.parts), self.kinds);
        let copy = self.copy(number, range, attempts, move |attempts| stream(parts, number, range, kinds, attempts));
        self.parts.notes.streamed.fetch_add(1, Ordering::Relaxed);
        self.enter(number, range, PartBytes::Streamed, copy);
    }

    fn enter(&mut self, number: PartNumber, range: ByteRange, bytes: PartBytes, copy: PartAttempt) {
        let shown = self.parts.job.progress.part_started();
        self.in_flight.insert(number, PartInFlight::new(range, bytes, copy, shown));
    }

    fn attempts(&self) -> Attempts {
        self.parts.job.part().keeping_to(Arc::clone(&self.level))
    }

    /// Begins to send a part on a connection.
    fn copy<F>(
        &mut self,
        number: PartNumber,
        range: ByteRange,
        attempts: Attempts,
        work: impl FnOnce(Attempts) -> F,
    ) -> PartAttempt
    where
        F: Future<Output = Result<UploadedPart, Stop>> + Send + 'static,
    {
        let (taken, peer) = (attempts.taken(), attempts.peer());
        let work = work(attempts);
        let task = self.tasks.spawn(async move { (number, work.await) });
        PartAttempt { task, taken, peer, pace: PartPace::new(range.bytes(), Instant::now()) }
    }

    /// What a task came to: the part, if it is the first copy of it to be there; nothing, if another copy still goes
    /// on.
    fn ended(
        &mut self,
        (number, result): (PartNumber, Result<UploadedPart, Stop>),
    ) -> Result<Option<(PartNumber, UploadedPart)>, Stop> {
        match result {
            Ok(done) => {
                // Aborted before their answers, the other copies are closed connections.
                let Some(flight) = self.in_flight.remove(&number) else { return Ok(None) };
                for copy in &flight.copies {
                    copy.task.abort();
                    self.finished += copy.pace.unseen(copy.taken.load(Ordering::Relaxed));
                }
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
                self.all_md5 &= done.is_md5;
                Ok(Some((number, done)))
            }
            Err(stop) => {
                let Some(flight) = self.in_flight.get_mut(&number) else { return Ok(None) };
                flight.copies.retain(|copy| !copy.task.is_finished());
                if flight.copies.is_empty() { Err(stop) } else { Ok(None) }
            }
        }
    }

    /// Looks at the pace of the parts; lets all out that are left if they are the last; at the end of the object, keeps
    /// those that are ahead back, and sends the slowest once more where there is room.
    fn look(&mut self, left: usize) {
        let now = Instant::now();
        self.in_time = left == 0 || self.parts.job.deadline.allows(self.usual(now), now);
        let copies = self.in_flight.values_mut().flat_map(|flight| &mut flight.copies);
        let moved: f64 = copies.map(|copy| copy.pace.look(copy.taken.load(Ordering::Relaxed), now)).sum();
        let moved = moved + std::mem::take(&mut self.finished);
        self.goodput.look(moved, now);
        let copies = self.in_flight.values().flat_map(|flight| &flight.copies);
        let on_the_way = copies.map(|copy| copy.pace.on_the_way(copy.taken.load(Ordering::Relaxed))).sum();
        self.tail.moved(moved, on_the_way, now);
        self.start_last_parts(left, now);
        for flight in self.in_flight.values_mut().filter(|flight| flight.copies.len() > 1) {
            for place in replace::parts_to_cancel(&flight.paces(), now).into_iter().rev() {
                flight.copies.remove(place).task.abort();
            }
        }
        if left > 0 {
            return;
        }
        let standings: Vec<PartProgress> = self.in_flight.values().filter_map(PartInFlight::furthest).collect();
        self.level.set(self.tail.level(&standings, now));
        if !self.all_md5 {
            return;
        }
        let usual = self.usual(now);
        // Second connections take the place of those that have ended: the path has shown that it has room for these.
        let connections = |flights: &Self| flights.in_flight.values().map(|flight| flight.copies.len()).sum::<usize>();
        let spare = self.tail.extra_connections();
        let most = *self.at_end.get_or_insert(connections(self)) + spare;
        let client = self.parts.job.session.target.client.clone();
        for _ in 0..self.goodput.copies_at_once(most).max(spare) {
            if connections(self) >= most {
                return;
            }
            let at_hand = self.in_flight.iter().filter(|(_, flight)| flight.is_at_hand());
            let (numbers, flights): (Vec<PartNumber>, Vec<&PartInFlight>) = at_hand.unzip();
            let sending = flights.iter().enumerate().map(|(index, flight)| SendingPart {
                index,
                paces: flight.paces(),
                copies: flight.begun,
                waits: flight.furthest().is_some_and(|part| !self.tail.is_free(&part, now)),
            });
            let sending: Vec<SendingPart> = sending.collect();
            let Some(index) = replace::slowest_part(&sending, usual, &self.goodput, spare > 0) else { return };
            let number = numbers[index];
            let Some(permit) = client.permit() else { return };
            if !client.affords_hedge() {
                return;
            }
            let Some(flight) = self.in_flight.get_mut(&number) else { return };
            let slow = flight.copies.last().and_then(|copy| copy.peer.get());
            let (range, read) = (flight.range, flight.read());
            flight.begun += 1;
            let attempts = self.attempts().with_permit(permit).away_from(slow);
            let (parts, kinds) = (Arc::clone(&self.parts), self.kinds);
            let copy = match read {
                Some(read) => self.copy(number, range, attempts, |attempts| put_part(parts, number, read, attempts)),
                None => self.copy(number, range, attempts, |attempts| stream(parts, number, range, kinds, attempts)),
            };
            if let Some(flight) = self.in_flight.get_mut(&number) {
                flight.copies.push(copy);
            }
            self.parts.notes.hedges.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Begins all parts that are left, if they are the last.
    fn start_last_parts(&mut self, left: usize, now: Instant) {
        let (in_flight, window) = (self.in_flight.len(), self.parts.job.session.target.client.window() as usize);
        let to_go = self.in_flight.values().filter_map(PartInFlight::furthest).map(|part| part.left).sum::<f64>();
        let each = self.in_flight.values().map(|flight| flight.range.bytes()).max().unwrap_or(0);
        let seconds = |parts: usize| self.goodput.seconds(each as f64 * parts as f64);
        let (wave, seconds) = (seconds(in_flight), self.goodput.seconds(to_go) + seconds(left));
        let rest = Rest { in_flight, left, window, usual: self.usual(now), wave, seconds };
        if self.tail.are_last(&rest) {
            let beyond = u32::try_from((in_flight + left + LOST).saturating_sub(window)).unwrap_or(u32::MAX);
            self.extension = Some(self.parts.job.session.target.client.widen(beyond));
        }
    }

    /// How long a part of this object usually takes, those included that are not done.
    fn usual(&self, now: Instant) -> Duration {
        let first = |flight: &PartInFlight| flight.copies.first().map(|copy| copy.pace.age(now));
        let mut took: Vec<Duration> = self.in_flight.values().filter_map(first).chain(self.took.clone()).collect();
        let middle = took.len() / 2;
        if took.is_empty() { Duration::ZERO } else { *took.select_nth_unstable(middle).1 }
    }
}
