//! One direction of the border: what becomes of each packet, what is under way, and what has been counted. It is told
//! the time, as what has passed since the start.

use std::time::Duration;

use super::bottleneck::{Bottleneck, Fate};
use super::flight::Flight;
use super::flows::Flows;
use super::packet::{Flow, Segment, forge_reset, is_ipv4};
use super::schedule::Schedule;

/// What was counted since the start, and two figures of now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    /// Packets delivered.
    pub(crate) packets: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Packets lost at random, or at an end that was down.
    pub(crate) lost: u64,
    /// Packets that found the queue full.
    pub(crate) dropped: u64,
    /// Resets forged.
    pub(crate) resets: u64,
    /// Bytes that wait for their turn.
    pub(crate) queued: usize,
    /// TCP flows alive.
    pub(crate) flows: usize,
}

#[derive(Debug)]
pub(crate) struct Way {
    schedule: Schedule,
    bottleneck: Bottleneck,
    flight: Flight,
    flows: Flows,
    counts: Counts,
    /// Of the resets; the bottleneck has its own, so that resets do not change which packets are lost.
    random: fastrand::Rng,
    next_reset: Option<Duration>,
}

impl Way {
    pub(crate) fn new(schedule: Schedule, seed: u64) -> Self {
        // Half as much again, for what is read or written late on a busy machine.
        let flight = Flight::new(schedule.most_in_flight() * 3 / 2);
        Self {
            schedule,
            bottleneck: Bottleneck::new(seed),
            flight,
            flows: Flows::default(),
            counts: Counts::default(),
            random: fastrand::Rng::with_seed(!seed),
            next_reset: None,
        }
    }

    /// Where the next packet is to be written, if there is room.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        self.flight.room()
    }

    /// Lets the packet in that was written to the beginning of `room`.
    pub(crate) fn admit(&mut self, length: usize, now: Duration) {
        let Some(packet) = self.flight.room().and_then(|room| room.get(..length)) else { return };
        if !is_ipv4(packet) {
            return;
        }
        match self.bottleneck.pass(self.schedule.at(now), length, now) {
            Fate::Due(due) => {
                if let Some(segment) = Segment::read(packet) {
                    self.flows.carry(&segment, now);
                }
                self.flight.push(length, due);
            }
            Fate::Lost => self.counts.lost += 1,
            Fate::Dropped => self.counts.dropped += 1,
        }
    }

    /// The first packet that is due until then.
    pub(crate) fn due(&self, until: Duration) -> Option<&[u8]> {
        self.flight.first().filter(|(due, _)| *due <= until).map(|(_, packet)| packet)
    }

    /// When the first packet is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.flight.first().map(|(due, _)| due)
    }

    /// Counts the first packet as delivered, and forgets it.
    pub(crate) fn delivered(&mut self) {
        self.counts.packets += 1;
        self.counts.bytes += self.flight.first().map_or(0, |(_, packet)| packet.len() as u64);
        self.flight.pop();
    }

    /// Counts the first packet as lost, and forgets it.
    pub(crate) fn undeliverable(&mut self) {
        self.counts.lost += 1;
        self.flight.pop();
    }

    /// A flow to be reset now, in both directions.
    pub(crate) fn victim(&mut self, now: Duration) -> Option<Flow> {
        let mean = self.schedule.at(now).resets;
        let is_time = self.next_reset.is_some_and(|next| next <= now);
        if is_time || self.next_reset.is_some() != mean.is_some() {
            self.next_reset = mean.map(|mean| now + mean.mul_f64(0.5 + self.random.f64()));
        }
        if is_time && mean.is_some() { self.flows.any(&mut self.random, now) } else { None }
    }

    /// Sends a reset behind all that is under way, unless the flow has ended or was never seen.
    pub(crate) fn reset(&mut self, flow: Flow, now: Duration) {
        let Some(seq) = self.flows.end(flow) else { return };
        let packet = forge_reset(flow, seq);
        if let Some(room) = self.flight.room() {
            room[..packet.len()].copy_from_slice(&packet);
            self.flight.push(packet.len(), self.bottleneck.behind(self.schedule.at(now), now));
            self.counts.resets += 1;
        }
    }

    pub(crate) fn counts(&self, now: Duration) -> Counts {
        let queued = self.bottleneck.queued(self.schedule.at(now), now);
        Counts { queued, flows: self.flows.alive(now), ..self.counts }
    }
}
