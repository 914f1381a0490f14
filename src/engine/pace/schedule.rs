//! Which of the requests that wait begin now: pure.
//!
//! One schedule for each side of a session, over the units of all its objects. A permit never waits for anything while
//! a unit waits that may begin: requests that carry no bytes come first, since objects begin and end with them; objects
//! in one request and parts share what is left, so that neither waits for all of the other; among parts those of the
//! object that was begun first, so that objects end one after the other and the next one has what the tail of the last
//! one does not need.

use crate::engine::pace::governor::{Governor, Load, WindowDecision};
use crate::wire::gate::{RequestResult, Unit, UnitKind};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A unit waits, under a number that was not used before.
    Waits(u64, Unit),
    /// It does not wait any more.
    GaveUp(u64, Unit),
    /// A unit began without waiting.
    Admitted(Unit),
    /// A permit was given back.
    Ended(Unit),
    /// So many bytes of bodies moved.
    Moved(u64),
    /// What an attempt came to.
    Told(RequestResult),
    /// Nothing moved on so many connections while others moved.
    Starved(u32),
    /// An invocation begins that ends then.
    Resumed(Instant),
    /// Whether the machine has room for more than is in flight.
    Room(bool),
}

/// What waits and what is in flight at one side.
pub struct Schedule {
    governor: Box<dyn Governor>,
    control: Queue,
    objects: Queue,
    parts: Queue,
    // Whose turn it is where both have as many permits.
    parts_next: bool,
}

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<(u64, u64), Unit>,
    in_flight: Load,
}

impl Queue {
    /// The first that waits: of the oldest object, in the order in which they came.
    fn first(&self) -> Option<((u64, u64), Unit)> {
        self.waiting.first_key_value().map(|(place, unit)| (*place, *unit))
    }

    fn add(&mut self, unit: Unit) {
        self.in_flight.requests += 1;
        self.in_flight.bytes += unit.bytes;
    }
}

impl Schedule {
    /// Nothing waits, nothing is in flight.
    pub fn new(governor: impl Governor + 'static) -> Self {
        let (control, objects, parts) = Default::default();
        Self { governor: Box::new(governor), control, objects, parts, parts_next: false }
    }

    /// Takes in what happened; the numbers of those that begin now.
    pub fn schedule(&mut self, now: Instant, event: Event) -> Vec<u64> {
        let load = self.load();
        match event {
            Event::Waits(number, unit) => {
                self.queue(unit.kind).waiting.insert((unit.object, number), unit);
            }
            Event::GaveUp(number, unit) => {
                self.queue(unit.kind).waiting.remove(&(unit.object, number));
            }
            Event::Admitted(unit) => self.queue(unit.kind).add(unit),
            Event::Ended(unit) => {
                let Load { requests, bytes } = &mut self.queue(unit.kind).in_flight;
                (*requests, *bytes) = (requests.saturating_sub(1), bytes.saturating_sub(unit.bytes));
            }
            Event::Moved(bytes) => self.governor.moved(bytes, load, now),
            Event::Told(result) => self.governor.on_result(result, load, now),
            Event::Starved(count) => self.governor.starved(count, load, now),
            Event::Resumed(until) => self.governor.resumed(Some(until), now),
            Event::Room(has_room) => self.governor.allow(if has_room { u32::MAX } else { load.requests }),
        }
        let mut begun = Vec::new();
        while let Some((kind, place)) = self.next(now) {
            let queue = self.queue(kind);
            if let Some(unit) = queue.waiting.remove(&place) {
                queue.add(unit);
            }
            self.parts_next = kind != UnitKind::Part;
            begun.push(place.1);
        }
        begun
    }

    /// Who begins next, if anybody may.
    fn next(&self, now: Instant) -> Option<(UnitKind, (u64, u64))> {
        if self.load().requests >= self.governor.window() {
            return None;
        }
        if let Some((place, _)) = self.control.first() {
            return Some((UnitKind::Control, place));
        }
        let (objects, parts) = ((UnitKind::Object, &self.objects), (UnitKind::Part, &self.parts));
        let (few, many) = (self.objects.in_flight.requests, self.parts.in_flight.requests);
        let parts_first = many < few || many == few && self.parts_next;
        let turns = if parts_first { [parts, objects] } else { [objects, parts] };
        turns.into_iter().find_map(|(kind, queue)| {
            let (place, unit) = queue.first()?;
            self.has_room(queue, unit, now).then_some((kind, place))
        })
    }

    /// One body of a kind always has room; others as far as what is begun will land in time.
    fn has_room(&self, queue: &Queue, unit: Unit, now: Instant) -> bool {
        let load = self.load();
        unit.bytes == 0 || queue.in_flight.bytes == 0 || load.bytes + unit.bytes <= self.governor.bytes(load, now)
    }

    fn queue(&mut self, kind: UnitKind) -> &mut Queue {
        match kind {
            UnitKind::Control => &mut self.control,
            UnitKind::Object => &mut self.objects,
            UnitKind::Part => &mut self.parts,
        }
    }

    /// What is in flight. Bytes are those of objects: what a control call carries is nothing beside them.
    pub fn load(&self) -> Load {
        let (objects, parts) = (self.objects.in_flight, self.parts.in_flight);
        Load {
            requests: self.control.in_flight.requests + objects.requests + parts.requests,
            bytes: objects.bytes + parts.bytes,
        }
    }

    /// How many requests may be in flight now.
    pub fn window(&self) -> u32 {
        self.governor.window()
    }

    /// How many requests in flight are not wanted any more and should be begun again later.
    pub(crate) fn surplus(&self, now: Instant) -> u32 {
        self.governor.surplus(self.load(), now)
    }

    /// What was decided about the window since this was last asked.
    pub(crate) fn decided(&mut self) -> Option<WindowDecision> {
        self.governor.decided()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pace::governor::FixedWindow;

    const MIB: u64 = 1 << 20;

    /// A schedule, and the number of the next that waits.
    struct Waiting(Schedule, u64, Instant);

    impl Waiting {
        fn new(window: u32) -> Self {
            Self(Schedule::new(FixedWindow::new(window)), 0, Instant::now())
        }

        fn unit(kind: UnitKind, object: u64, bytes: u64) -> Unit {
            Unit { kind, object, bytes }
        }

        fn wait(&mut self, unit: Unit) -> Vec<u64> {
            self.1 += 1;
            self.0.schedule(self.2, Event::Waits(self.1, unit))
        }

        fn end(&mut self, unit: Unit) -> Vec<u64> {
            self.0.schedule(self.2, Event::Ended(unit))
        }
    }

    #[test]
    fn control_calls_go_first_and_parts_in_the_order_of_their_objects() {
        let mut all = Waiting::new(1);
        let part = |object| Waiting::unit(UnitKind::Part, object, MIB);
        assert_eq!(all.wait(part(1)), [1]);
        for (unit, number) in [(part(2), 2), (part(1), 3), (Waiting::unit(UnitKind::Control, 9, 0), 4), (part(1), 5)] {
            assert_eq!(all.wait(unit), [0_u64; 0], "{number}");
        }
        assert_eq!(all.end(part(1)), [4]);
        assert_eq!(all.end(Waiting::unit(UnitKind::Control, 9, 0)), [3]);
        assert_eq!(all.end(part(1)), [5]);
        assert_eq!(all.end(part(1)), [2]);
    }

    #[test]
    fn small_objects_and_parts_share_the_window_and_leave_nothing_of_it_idle() {
        let mut all = Waiting::new(8);
        let (part, small) = (Waiting::unit(UnitKind::Part, 1, MIB), Waiting::unit(UnitKind::Object, 2, 10));
        let begun: usize = (0..20).map(|_| all.wait(part).len()).sum();
        assert_eq!(begun, 8, "alone, parts have all of it");
        for _ in 0..20 {
            assert_eq!(all.wait(small), [0_u64; 0]);
        }
        let next: Vec<u64> = (0..4).flat_map(|_| all.end(part)).collect();
        assert!(next.iter().all(|number| *number > 20), "{next:?}");
        // Then they take turns, whichever ends.
        let mut ended = small;
        for _ in 0..8 {
            assert_eq!(all.end(ended).len(), 1);
            let (objects, parts) = (all.0.objects.in_flight.requests, all.0.parts.in_flight.requests);
            assert!(objects.abs_diff(parts) <= 2 && objects + parts == 8, "{objects} and {parts}");
            ended = if ended == small { part } else { small };
        }
    }

    #[test]
    fn with_one_permit_they_take_turns() {
        let mut all = Waiting::new(1);
        let (part, small) = (Waiting::unit(UnitKind::Part, 1, MIB), Waiting::unit(UnitKind::Object, 2, 10));
        assert_eq!(all.wait(part), [1]);
        for unit in [part, small, part, small] {
            all.wait(unit);
        }
        assert_eq!(
            (all.end(part), all.end(small), all.end(part), all.end(small)),
            (vec![3], vec![2], vec![5], vec![4])
        );
    }

    #[test]
    fn who_gave_up_does_not_begin() {
        let mut all = Waiting::new(1);
        let part = Waiting::unit(UnitKind::Part, 1, MIB);
        for _ in 0..3 {
            all.wait(part);
        }
        assert_eq!(all.0.schedule(all.2, Event::GaveUp(2, part)), [0_u64; 0]);
        assert_eq!(all.end(part), [3]);
    }
}
