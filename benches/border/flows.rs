//! The TCP flows of one direction: which are alive, and up to where each has been carried.

use std::collections::HashMap;
use std::time::Duration;

use super::packet::{Flow, Kind, Segment};

/// A flow that says nothing for so long is taken for dead, since its end may have been lost.
const SILENCE: Duration = Duration::from_mins(1);

/// A reset hits a flow that was in use so lately.
const RECENT: Duration = Duration::from_secs(5);

/// So many are kept before the dead ones are forgotten.
const KEPT: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Flows {
    states: HashMap<Flow, State>,
}

#[derive(Debug)]
struct State {
    /// Behind the last byte carried.
    end: u32,
    seen: Duration,
    open: bool,
}

impl State {
    fn is_alive(&self, within: Duration, now: Duration) -> bool {
        self.open && now.saturating_sub(self.seen) <= within
    }
}

impl Flows {
    /// Notes a segment that is carried to the other end, not one that is lost.
    pub(crate) fn carry(&mut self, segment: &Segment, now: Duration) {
        if self.states.len() >= KEPT {
            self.states.retain(|_, state| state.is_alive(SILENCE, now));
        }
        let fresh = State { end: segment.end, seen: now, open: true };
        let state = self.states.entry(segment.flow).or_insert(fresh);
        state.seen = now;
        match segment.kind {
            Kind::Opens => (state.end, state.open) = (segment.end, true),
            Kind::Carries => {}
            Kind::Ends => state.open = false,
        }
        // An acknowledgement without data names where its sender is, also if what leads there was lost.
        let carries = segment.end != segment.start;
        if carries && segment.end.wrapping_sub(state.end).cast_signed() > 0 {
            state.end = segment.end;
        }
    }

    /// How many are alive.
    pub(crate) fn alive(&self, now: Duration) -> usize {
        self.states.values().filter(|state| state.is_alive(SILENCE, now)).count()
    }

    /// One of those that are in use.
    pub(crate) fn any(&self, random: &mut fastrand::Rng, now: Duration) -> Option<Flow> {
        let used = self.states.iter().filter(|(_, state)| state.is_alive(RECENT, now));
        let mut flows: Vec<Flow> = used.map(|(flow, _)| *flow).collect();
        // A map has another order in each process; a seed has not.
        flows.sort_unstable();
        random.choice(flows)
    }

    /// Ends a flow; the sequence number is the one that its receiver expects behind all that was carried, which it
    /// takes for the right one even if something before it is missing (RFC 5961, 3.2, and Linux' reading of it: the
    /// right edge of what was selectively acknowledged).
    pub(crate) fn end(&mut self, flow: Flow) -> Option<u32> {
        let state = self.states.get_mut(&flow).filter(|state| state.open)?;
        state.open = false;
        Some(state.end)
    }
}
