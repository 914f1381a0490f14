//! The command line of `run`.

use std::path::PathBuf;

use super::link::{Link, LinkError, time};
use super::schedule::Schedule;

/// Said beside what is wrong.
pub(crate) const USAGE: &str = "\
usage: cargo bench --bench border -- run PROFILE [flags] -- COMMAND ARGS…
profiles: good, usual, evening, flaky, random-SEED; with properties of their own: evening,loss=1%
  --rtt TIME, --rate RATE, --loss SHARE, --queue TIME   change the profile: 200ms, 300mbit, 0.05%, 100ms
  --then TIME=PROFILE     another profile from then on; repeatable: 60s=evening
  --seed N                of the losses and resets
  --congestion NAME       cubic or bbr
  --trace FILE            a line of CSV every 100 ms and direction";

/// The kernel's congestion control at both ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Congestion {
    Cubic,
    Bbr,
}

impl Congestion {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
        }
    }

    /// What a process without privileges may choose.
    pub(crate) fn allowed(self) -> &'static str {
        match self {
            Self::Cubic => "reno cubic",
            Self::Bbr => "reno cubic bbr",
        }
    }
}

/// A border, and what is run before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) profile: String,
    pub(crate) schedule: Schedule,
    pub(crate) seed: u64,
    pub(crate) congestion: Congestion,
    pub(crate) trace: Option<PathBuf>,
    pub(crate) command: Vec<String>,
}

/// Why a command line cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("there is no command behind `--`")]
    NoCommand,
    #[error("there is no profile")]
    NoProfile,
    #[error("`{0}` is no flag")]
    UnknownFlag(String),
    #[error("{0} has no value")]
    NoValue(String),
    #[error("`{0}` is no seed; it is a number")]
    Seed(String),
    #[error("`{0}` is no congestion control; there are cubic and bbr")]
    Congestion(String),
    #[error("`{0}` is not TIME=PROFILE")]
    Then(String),
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Options {
    /// A profile without flags.
    pub(crate) fn of(profile: &str, command: Vec<String>) -> Result<Self, OptionsError> {
        let schedule = Schedule::new(Link::read(profile)?, Vec::new());
        let congestion = Congestion::Cubic;
        Ok(Self { profile: profile.to_owned(), schedule, seed: 1, congestion, trace: None, command })
    }

    /// What stands behind `run`.
    pub(crate) fn read(arguments: &[String]) -> Result<Self, OptionsError> {
        let end = arguments.iter().position(|argument| argument == "--").ok_or(OptionsError::NoCommand)?;
        let command = arguments[end + 1..].to_vec();
        if command.is_empty() {
            return Err(OptionsError::NoCommand);
        }
        let mut arguments = arguments[..end].iter();
        let profile = arguments.next().ok_or(OptionsError::NoProfile)?;
        let mut options = Self::of(profile, command)?;
        let (mut link, mut then) = (Link::read(profile)?, Vec::new());
        while let Some(flag) = arguments.next() {
            let name = flag.strip_prefix("--").ok_or_else(|| OptionsError::UnknownFlag(flag.clone()))?;
            let value = arguments.next().ok_or_else(|| OptionsError::NoValue(flag.clone()))?;
            match name {
                "rtt" | "rate" | "loss" | "queue" => link.set(name, value)?,
                "seed" => options.seed = value.parse().map_err(|_| OptionsError::Seed(value.clone()))?,
                "congestion" => {
                    options.congestion = [Congestion::Cubic, Congestion::Bbr]
                        .into_iter()
                        .find(|congestion| congestion.name() == value)
                        .ok_or_else(|| OptionsError::Congestion(value.clone()))?;
                }
                "then" => {
                    let (at, profile) = value.split_once('=').ok_or_else(|| OptionsError::Then(value.clone()))?;
                    then.push((time(at)?, Link::read(profile)?));
                }
                "trace" => options.trace = Some(value.into()),
                _ => return Err(OptionsError::UnknownFlag(flag.clone())),
            }
        }
        options.schedule = Schedule::new(link, then);
        Ok(options)
    }
}
