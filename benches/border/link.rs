//! What a link does to packets, the profiles that have names, and how both are written.

use std::time::Duration;

/// The properties of a link, alike in both directions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    /// The round trip without any queue; half of it each way.
    pub(crate) rtt: Duration,
    /// Bits per second of IP packets.
    pub(crate) rate: u64,
    /// The share of packets lost at random.
    pub(crate) loss: f64,
    /// How long a packet may wait for its turn; what would wait longer is dropped.
    pub(crate) queue: Duration,
    /// Times of greater loss.
    pub(crate) bursts: Option<Bursts>,
    /// The mean time between two resets of a flow.
    pub(crate) resets: Option<Duration>,
    /// Whether another flow sends as fast as it can.
    pub(crate) competing: bool,
}

/// Greater loss at the end of each period.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bursts {
    pub(crate) period: Duration,
    pub(crate) length: Duration,
    pub(crate) loss: f64,
}

/// Why a link's description cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("`{0}` is no profile; there are good, usual, evening, flaky and random-SEED")]
    Profile(String),
    #[error("`{0}` is no property of a link; there are rtt, rate, loss and queue")]
    Property(String),
    #[error("`{0}` is not a time; write it like 200ms, 60s or 2m")]
    Time(String),
    #[error("`{0}` is not a rate from 1kbit to 10gbit; write it like 300mbit")]
    Rate(String),
    #[error("`{0}` is not a share; write it like 0.05%")]
    Share(String),
}

impl Link {
    /// A link by the name of its profile, with properties of its own behind commas: `evening,loss=1%`.
    pub(crate) fn read(text: &str) -> Result<Self, LinkError> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let mut link = match name {
            "good" => Self::plain(60, 625, 0.0001),
            "usual" => Self::plain(200, 300, 0.0005),
            "evening" => Self::plain(250, 200, 0.005),
            "flaky" => Self {
                bursts: Some(Bursts { period: Duration::from_secs(10), length: Duration::from_secs(1), loss: 0.1 }),
                resets: Some(Duration::from_secs(4)),
                ..Self::plain(200, 300, 0.0005)
            },
            _ => {
                let seed = name.strip_prefix("random-").and_then(|seed| seed.parse().ok());
                Self::random(seed.ok_or_else(|| LinkError::Profile(name.to_owned()))?)
            }
        };
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| LinkError::Property(part.to_owned()))?;
            link.set(name, value)?;
        }
        Ok(link)
    }

    fn plain(millis: u64, mbit: u64, loss: f64) -> Self {
        Self {
            rtt: Duration::from_millis(millis),
            rate: mbit * 1_000_000,
            loss,
            queue: Duration::from_millis(100),
            bursts: None,
            resets: None,
            competing: false,
        }
    }

    /// A path that nobody chose: 20 to 300 ms, 20 to 600 Mbit/s, no loss or 0.001 to 1 %, a queue of 20 to 300 ms,
    /// alone or beside another flow. What spans several powers of ten is drawn by its logarithm.
    fn random(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut between = |from: f64, to: f64| from * (to / from).powf(random.f64());
        let (rtt, rate, queue) = (between(0.02, 0.3), between(20e6, 600e6), between(0.02, 0.3));
        let loss = between(1e-5, 1e-2);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between the bounds above")]
        let (rate, millis) =
            (rate.round() as u64, |seconds: f64| Duration::from_millis((seconds * 1e3).round() as u64));
        let loss = if random.u8(..4) == 0 { 0.0 } else { (loss * 1e6).round() / 1e6 };
        let (rtt, queue, competing) = (millis(rtt), millis(queue), random.bool());
        Self { rtt, rate, queue, competing, ..Self::plain(0, 1, loss) }
    }

    /// Changes a property by its name.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), LinkError> {
        match name {
            "rtt" => self.rtt = time(value)?,
            "rate" => self.rate = rate(value)?,
            "loss" => self.loss = share(value)?,
            "queue" => self.queue = time(value)?,
            _ => return Err(LinkError::Property(name.to_owned())),
        }
        Ok(())
    }

    /// The share of packets lost at a time since the start.
    pub(crate) fn loss_at(&self, now: Duration) -> f64 {
        match &self.bursts {
            Some(Bursts { period, length, loss }) => {
                let into = Duration::from_nanos_u128(now.as_nanos() % period.as_nanos());
                if into + *length >= *period { *loss } else { self.loss }
            }
            None => self.loss,
        }
    }

    /// How long the link is busy with so many bytes.
    pub(crate) fn busy(&self, bytes: usize) -> Duration {
        Duration::from_nanos(bytes as u64 * 8_000_000_000 / self.rate)
    }

    /// How many bytes the link carries in a time.
    pub(crate) fn bytes_in(&self, time: Duration) -> usize {
        usize::try_from(time.as_nanos() * u128::from(self.rate) / 8_000_000_000).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mbit = self.rate as f64 / 1e6;
        write!(f, "rtt {:?}, {mbit} Mbit/s, loss {} %, queue {:?}", self.rtt, percent(self.loss), self.queue)?;
        if let Some(Bursts { period, length, loss }) = &self.bursts {
            write!(f, ", loss {} % for {length:?} of every {period:?}", percent(*loss))?;
        }
        if let Some(mean) = self.resets {
            write!(f, ", a reset every {mean:?}")?;
        }
        if self.competing {
            write!(f, ", beside another flow")?;
        }
        Ok(())
    }
}

/// Without the last digits that no decimal fraction has.
fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

/// A time such as `200ms`, at most a day.
pub(crate) fn time(text: &str) -> Result<Duration, LinkError> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
    units
        .iter()
        .find_map(|(name, unit)| Some(text.strip_suffix(name)?.parse::<f64>().ok()? * unit))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| *time <= Duration::from_hours(24))
        .ok_or_else(|| LinkError::Time(text.to_owned()))
}

fn rate(text: &str) -> Result<u64, LinkError> {
    let units = [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3)];
    let bits = units.iter().find_map(|(name, unit)| Some(text.strip_suffix(name)?.parse::<f64>().ok()? * unit));
    #[expect(clippy::cast_possible_truncation, reason = "the value is checked to fit")]
    bits.filter(|bits| (1e3..=1e10).contains(bits))
        .map(|bits| bits as u64)
        .ok_or_else(|| LinkError::Rate(text.to_owned()))
}

fn share(text: &str) -> Result<f64, LinkError> {
    let share = match text.strip_suffix('%') {
        Some(number) => number.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    share.ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| LinkError::Share(text.to_owned()))
}
