//! The two threads that carry packets between the devices: each a direction, with its `Way` and nothing else to decide.
//!
//! A thread that moved something sleeps before it looks again, so that at full rate a wakeup serves dozens of packets;
//! an idle one waits for the next packet or the next due time. What is due soon leaves early by as much as what
//! came is noticed late, so that the round trip is right on average.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::setpriority_process;
use tun_rs::SyncDevice;

use super::options::Options;
use super::packet::Flow;
use super::way::{Counts, Way};

/// How long a thread that moved something sleeps: 26 packets of a full link at 625 Mbit/s. Longer saves little CPU, and
/// makes bursts that no real path has.
const GRAIN: Duration = Duration::from_micros(500);

/// How many packets are read before those that became due are written.
const BURST: usize = 256;

/// How long an idle thread waits at most, before it looks whether it is to end.
const IDLE: Duration = Duration::from_millis(50);

/// How old published counts are at most, while something moves.
const NEWS: Duration = Duration::from_millis(10);

/// Before all that it serves: a relay that is late is a longer path.
const NICE: i32 = -10;

/// A running relay. It ends when it is stopped or dropped.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    start: Instant,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// As the threads published them last: near to far, far to near.
    counts: [Mutex<Counts>; 2],
    /// Flows that the first thread has reset and the second is still to reset.
    resets: Mutex<Vec<Flow>>,
}

impl Relay {
    /// Starts it between the near and the far device.
    pub(crate) fn start(options: &Options, near: SyncDevice, far: SyncDevice) -> std::io::Result<Self> {
        let (near, far) = (Arc::new(near), Arc::new(far));
        let mut relay = Self { shared: Arc::default(), start: Instant::now(), threads: Vec::new() };
        for (direction, from, to) in [(0, &near, &far), (1, &far, &near)] {
            // Any other seed would do for the way back.
            let way = Way::new(options.schedule.clone(), options.seed ^ (direction as u64) << 32);
            let (shared, start) = (Arc::clone(&relay.shared), relay.start);
            let thread = Carrier { way, direction, from: Arc::clone(from), to: Arc::clone(to), shared, start };
            relay.threads.push(Builder::new().name(format!("way-{direction}")).spawn(|| thread.run())?);
        }
        Ok(relay)
    }

    /// The time since the start, and what was counted near to far and far to near.
    pub(crate) fn counts(&self) -> (Duration, [Counts; 2]) {
        (self.start.elapsed(), [0, 1].map(|direction| *held(&self.shared.counts[direction])))
    }

    /// Ends it and waits for its threads, so that the counts are the last.
    pub(crate) fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread.
struct Carrier {
    way: Way,
    direction: usize,
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    shared: Arc<Shared>,
    start: Instant,
}

impl Carrier {
    fn run(mut self) {
        // Zero is the calling thread; without the privilege it stays as it is.
        let _ = setpriority_process(None, NICE);
        let mut news = Duration::ZERO;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = self.start.elapsed();
            let written = self.write(now + GRAIN);
            let read = self.read(now);
            self.reset(now);
            if now >= news {
                *held(&self.shared.counts[self.direction]) = self.way.counts(now);
                news = now + NEWS;
            }
            match (written, read) {
                (_, BURST) => {}
                (0, 0) => self.wait(),
                _ => std::thread::sleep(GRAIN),
            }
        }
        *held(&self.shared.counts[self.direction]) = self.way.counts(self.start.elapsed());
    }

    fn write(&mut self, until: Duration) -> usize {
        let mut count = 0;
        while let Some(packet) = self.way.due(until) {
            // An end that is down takes nothing, which is a loss like any other.
            match rustix::io::write(&*self.to, packet) {
                Ok(_) => self.way.delivered(),
                Err(_) => self.way.undeliverable(),
            }
            count += 1;
        }
        count
    }

    fn read(&mut self, now: Duration) -> usize {
        let mut count = 0;
        while count < BURST
            && let Some(room) = self.way.room()
            && let Ok(length) = rustix::io::read(&*self.from, room)
        {
            self.way.admit(length, now);
            count += 1;
        }
        count
    }

    fn reset(&mut self, now: Duration) {
        if self.direction == 0 {
            if let Some(flow) = self.way.victim(now) {
                self.way.reset(flow, now);
                held(&self.shared.resets).push(flow.reversed());
            }
        } else {
            let flows = std::mem::take(&mut *held(&self.shared.resets));
            for flow in flows {
                self.way.reset(flow, now);
            }
        }
    }

    /// Until the first packet is due, another comes, or it is time to look around.
    fn wait(&self) {
        let due = self.way.next_due().map(|due| due.saturating_sub(self.start.elapsed()));
        let wait = due.unwrap_or(IDLE).min(IDLE);
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        // A device that is down is always ready and never readable.
        let mut devices = [PollFd::new(&*self.from, PollFlags::IN)];
        if poll(&mut devices, Some(&wait)).is_ok_and(|_| devices[0].revents().contains(PollFlags::ERR)) {
            std::thread::sleep(GRAIN);
        }
    }
}
