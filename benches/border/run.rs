//! One command before one border: up, run, count, down.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process, set_parent_process_death_signal};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::claim::Claim;
use super::namespaces::{Namespace, TARGET_HOST};
use super::options::Options;
use super::relay::Relay;
use super::way::Counts;

/// The interval of a trace.
const TICK: Duration = Duration::from_millis(100);

/// How long a command has that was told to end.
const GRACE: Duration = Duration::from_secs(5);

/// The names of both directions.
const DIRECTIONS: [&str; 2] = ["near-far", "far-near"];

/// A border that is up. The fields are dropped in this order.
struct Border {
    relay: Relay,
    near: Namespace,
    far: Namespace,
    _claim: Claim,
}

impl Border {
    fn up(options: &Options) -> io::Result<Self> {
        let pid = std::process::id();
        let claim = Claim::new(pid, options.congestion)?;
        let [near, far] = Namespace::names(pid);
        let (near, far) = (Namespace::new(&near)?, Namespace::new(&far)?);
        let devices = (near.near(pid, options.congestion)?, far.far(pid, options.congestion)?);
        let relay = Relay::start(options, devices.0, devices.1)?;
        Ok(Self { relay, near, far, _claim: claim })
    }
}

/// Another flow over the border, to the far end, until it is dropped.
struct Competitor(#[expect(dead_code, reason = "killed when dropped")] [Child; 2]);

impl Competitor {
    fn start(border: &Border) -> io::Result<Self> {
        let end = |name: &str, face: &str| {
            Command::new("ip")
                .args(["netns", "exec", name])
                .arg(std::env::current_exe()?)
                .arg(face)
                .kill_on_drop(true)
                .spawn()
        };
        Ok(Self([end(&border.far.name, "sink")?, end(&border.near.name, "flood")?]))
    }
}

/// Runs the command and gives its status; a border that was told to end has that of its signal.
pub(crate) fn run(options: &Options) -> io::Result<u8> {
    if !geteuid().is_root() {
        return Err(io::Error::other("namespaces and devices need root"));
    }
    // A signal to cargo alone would otherwise leave this running behind it.
    if std::env::var_os("CARGO").is_some() {
        set_parent_process_death_signal(Some(Signal::TERM))?;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command(options))
}

async fn command(options: &Options) -> io::Result<u8> {
    // Before anything is made that a signal would leave behind.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut trace = options.trace.as_deref().map(Trace::new).transpose()?;
    let mut border = Border::up(options)?;
    for (at, link) in options.schedule.links() {
        eprintln!("border: from {at:?}: {link}");
    }
    let _flow = options.schedule.at(Duration::ZERO).competing.then(|| Competitor::start(&border)).transpose()?;
    let mut child = start(options, &border)?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let code = loop {
        tokio::select! {
            status = child.wait() => break code(status?),
            _ = interrupt.recv() => {
                // A terminal has told the command already.
                if !io::stdin().is_terminal() {
                    tell(&child, Signal::INT);
                }
                end(&mut child).await?;
                break 128 + 2;
            }
            _ = terminate.recv() => {
                tell(&child, Signal::TERM);
                end(&mut child).await?;
                break 128 + 15;
            }
            _ = ticks.tick(), if trace.is_some() => {
                if let Some(trace) = &mut trace {
                    trace.line(border.relay.counts())?;
                }
            }
        }
    };
    border.relay.stop();
    let (_, counts) = border.relay.counts();
    for (direction, counts) in DIRECTIONS.iter().zip(counts) {
        let Counts { packets, bytes, lost, dropped, resets, .. } = counts;
        let mb = bytes as f64 / 1e6;
        eprintln!(
            "border: {direction}: {packets} packets, {mb:.1} MB, lost {lost}, queue-dropped {dropped}, resets {resets}"
        );
    }
    Ok(code)
}

fn start(options: &Options, border: &Border) -> io::Result<Child> {
    let link = options.schedule.at(Duration::ZERO);
    let mut command = Command::new("ip");
    // What cargo says to a bench about its package would make a cargo that is run here build ring again, and the next
    // one out there once more.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_")) {
            command.env_remove(name);
        }
    }
    command
        .args(["netns", "exec", &border.near.name])
        .args(&options.command)
        .env("BORDER_NEAR", &border.near.name)
        .env("BORDER_FAR", &border.far.name)
        .env("BORDER_TARGET_HOST", TARGET_HOST)
        .env("BORDER_PROFILE", &options.profile)
        .env("BORDER_LINK", link.to_string())
        .env("BORDER_RTT_MS", link.rtt.as_millis().to_string())
        .env("BORDER_RATE_MBIT", (link.rate as f64 / 1e6).to_string())
        .kill_on_drop(true)
        .spawn()
}

fn tell(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits for a command that was told to end, and ends it if it does not.
async fn end(child: &mut Child) -> io::Result<()> {
    match timeout(GRACE, child.wait()).await {
        Ok(status) => status.map(drop),
        Err(_) => child.kill().await,
    }
}

/// A shell's number for how a command ended.
fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| Some(128 + status.signal()?));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}

/// What was delivered, lost and dropped since the line before, and what is queued and alive.
struct Trace {
    file: BufWriter<File>,
    last: [Counts; 2],
}

impl Trace {
    fn new(path: &Path) -> io::Result<Self> {
        let file = File::create(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        let mut file = BufWriter::new(file);
        writeln!(file, "seconds,direction,delivered_bytes,lost,queue_dropped,queued_bytes,live_flows")?;
        Ok(Self { file, last: <[Counts; 2]>::default() })
    }

    fn line(&mut self, (time, counts): (Duration, [Counts; 2])) -> io::Result<()> {
        for ((direction, new), old) in DIRECTIONS.iter().zip(counts).zip(self.last) {
            let seconds = time.as_secs_f64();
            let (bytes, lost, dropped) = (new.bytes - old.bytes, new.lost - old.lost, new.dropped - old.dropped);
            writeln!(self.file, "{seconds:.3},{direction},{bytes},{lost},{dropped},{},{}", new.queued, new.flows)?;
        }
        self.last = counts;
        self.file.flush()
    }
}
