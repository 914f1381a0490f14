//! The two ends: namespaces with their devices, addresses, names and congestion control. What is made here is unmade
//! when it is dropped, whichever way a run ends; what a killed run leaves is unmade by `claim`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::flight::MTU;
use super::options::Congestion;

/// The name that the near end knows the far one by.
pub(crate) const TARGET_HOST: &str = "target.border.test";

/// The far addresses behind that name, of the range for benchmarks (RFC 2544).
const TARGETS: [&str; 8] =
    ["198.18.1.1", "198.18.1.2", "198.18.1.3", "198.18.1.4", "198.18.1.5", "198.18.1.6", "198.18.1.7", "198.18.1.8"];

/// The addresses of the two devices.
const NEAR: &str = "198.18.0.1/15";
const FAR: &str = "198.18.0.2/15";
/// The same, for whoever connects to it.
pub(crate) const FAR_ADDRESS: &str = "198.18.0.2";

/// Packets that a device holds for the relay; the bottleneck is the relay's, so that this must not be one.
const DEVICE_QUEUE: &str = "10000";

/// How long processes have that are asked to end.
const GRACE: Duration = Duration::from_secs(2);

/// A namespace, and what belongs to its name.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// The names of both ends of a process's border.
    pub(crate) fn names(pid: u32) -> [String; 2] {
        [format!("xpsync-near-{pid}"), format!("xpsync-far-{pid}")]
    }

    /// Makes one.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        ip(&["netns", "add", name])?;
        let made = Self { name: name.to_owned() };
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(made)
    }

    /// One that was made before, by a run that did not unmake it.
    pub(crate) fn left_behind(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Makes the near end's device and says where the far end is.
    pub(crate) fn near(&self, pid: u32, congestion: Congestion) -> io::Result<SyncDevice> {
        fs::create_dir_all(self.folder())?;
        let names: String = TARGETS.iter().map(|address| format!("{address} {TARGET_HOST}\n")).collect();
        fs::write(self.folder().join("hosts"), format!("127.0.0.1 localhost\n{names}"))?;
        self.device(&format!("xpn{pid}"), &[NEAR], congestion)
    }

    /// Makes the far end's device.
    pub(crate) fn far(&self, pid: u32, congestion: Congestion) -> io::Result<SyncDevice> {
        self.device(&format!("xpf{pid}"), &[&[FAR], &TARGETS[..]].concat(), congestion)
    }

    fn device(&self, name: &str, addresses: &[&str], congestion: Congestion) -> io::Result<SyncDevice> {
        // It is made out here, where /dev/net/tun is opened, and lives on in there until the file is closed.
        let device = DeviceBuilder::new().name(name).enable(false).build_sync()?;
        device.set_nonblocking(true)?;
        ip(&["link", "set", name, "netns", &self.name])?;
        let ip_in = |rest: &[&str]| ip(&[&["-n", self.name.as_str()], rest].concat());
        for setting in
            ["net.ipv6.conf.all.disable_ipv6=1", &format!("net.ipv4.tcp_congestion_control={}", congestion.name())]
        {
            run(Command::new("ip").args(["netns", "exec", &self.name, "sysctl", "-qw", setting]))?;
        }
        ip_in(&["link", "set", name, "mtu", &MTU.to_string(), "txqueuelen", DEVICE_QUEUE, "up"])?;
        for address in addresses {
            ip_in(&["addr", "add", address, "dev", name])?;
        }
        Ok(device)
    }

    /// Where `ip netns exec` looks for files to bind over those in /etc.
    fn folder(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }

    /// The processes in it.
    fn processes(&self) -> Vec<Pid> {
        let listed = Command::new("ip").args(["netns", "pids", &self.name]).stderr(Stdio::null()).output();
        let text = listed.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let end = Instant::now() + GRACE;
        for signal in [Signal::TERM, Signal::KILL] {
            for pid in self.processes() {
                let _ = kill_process(pid, signal);
            }
            while !self.processes().is_empty() && Instant::now() < end {
                sleep(Duration::from_millis(20));
            }
        }
        let _ = ip(&["netns", "del", &self.name]);
        let _ = fs::remove_dir_all(self.folder());
    }
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    run(Command::new("ip").args(arguments))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}", said.trim())))
}
