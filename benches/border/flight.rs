//! The packets that are under way in one direction: a ring of bytes that they are read into and written from, so that
//! none is copied and none needs an allocation.

use std::collections::VecDeque;
use std::time::Duration;

/// The longest packet.
pub(crate) const MTU: usize = 1500;

/// First in, first out; each packet is contiguous.
#[derive(Debug)]
pub(crate) struct Flight {
    bytes: Vec<u8>,
    packets: VecDeque<Packet>,
    /// Where the next packet begins.
    next: usize,
}

#[derive(Debug)]
struct Packet {
    due: Duration,
    at: usize,
    length: usize,
}

impl Flight {
    /// Has room for so many bytes at least.
    pub(crate) fn new(bytes: usize) -> Self {
        // The end of the ring may stay unused for want of a contiguous MTU, and one lies between last and first.
        Self { bytes: vec![0; bytes + 3 * MTU], packets: VecDeque::with_capacity(bytes / MTU), next: 0 }
    }

    /// Where the next packet goes, if there is room for one of any length.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        match self.packets.front() {
            None => self.next = 0,
            Some(first) if self.next > first.at => {
                if self.next + MTU > self.bytes.len() {
                    if first.at <= MTU {
                        return None;
                    }
                    self.next = 0;
                }
            }
            // Never equal: what `push` leaves before the first packet is more than nothing.
            Some(first) => {
                if self.next + MTU >= first.at {
                    return None;
                }
            }
        }
        self.bytes.get_mut(self.next..self.next + MTU)
    }

    /// Keeps what was written to the beginning of `room`.
    pub(crate) fn push(&mut self, length: usize, due: Duration) {
        self.packets.push_back(Packet { due, at: self.next, length });
        self.next += length;
    }

    /// The first packet.
    pub(crate) fn first(&self) -> Option<(Duration, &[u8])> {
        let Packet { due, at, length } = self.packets.front()?;
        Some((*due, &self.bytes[*at..*at + *length]))
    }

    /// Forgets the first packet.
    pub(crate) fn pop(&mut self) {
        self.packets.pop_front();
    }
}
