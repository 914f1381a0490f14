//! What this machine has for connections: file descriptors, memory of sockets, congestion control.

use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

/// The grain in which memory is counted: a page.
const PAGE: u64 = 4 << 10;

/// Connections that read from the source at a time while the target is slow: what `evening` wants (benches/border).
const READERS: u64 = 256;
/// What a connection keeps of unread bytes at least: a source a few milliseconds away fills no less with 20 MB/s.
const READ_LEAST: u64 = 64 << 10;
/// From here on a bound would be none.
const READ_MOST: u64 = 1 << 20;

/// The congestion control that does not take chance losses for a full path ("BBR congestion control" of the kernel); a
/// sandbox that does not offer it keeps its own.
pub(crate) const BBR: &str = "bbr";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostLimits {
    /// File descriptors that this process may have open.
    pub(crate) files: u64,
    /// Bytes that the kernel gives to all TCP sockets together before it slows them down.
    pub(crate) socket_memory: u64,
    /// Whether connections may use a congestion control that chance losses do not slow down.
    pub(crate) bbr: bool,
}

impl HostLimits {
    /// Of this machine; what it does not say is taken for plenty.
    pub(crate) fn of_this_machine() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let socket_memory = tcp_mem().map_or(u64::MAX, |[_, pressure, _]| pressure * PAGE);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
        let bbr = socket.is_ok_and(|socket| socket.set_tcp_congestion(BBR.as_bytes()).is_ok());
        Self { files, socket_memory, bbr }
    }

    /// How many unread bytes the kernel should keep for a connection, if less than it would by itself: streamed parts
    /// are read as slowly as the target takes them, and what their sources have sent ahead must not take the memory
    /// that the target's connections need.
    pub(crate) fn unread(self) -> Option<u64> {
        let share = self.socket_memory / 4 / READERS;
        (share < READ_MOST).then_some(share.max(READ_LEAST))
    }
}

/// Whether TCP sockets have so much memory by now that the kernel slows them down (`tcp_mem`, its second value).
pub(crate) fn sockets_are_tight() -> bool {
    match (tcp_mem(), taken()) {
        (Some([_, pressure, _]), Some(taken)) => taken >= pressure,
        (None, _) | (_, None) => false,
    }
}

/// Pages: below, pressure, most ("ip-sysctl", tcp_mem).
fn tcp_mem() -> Option<[u64; 3]> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_mem").ok()?;
    let mut values = text.split_whitespace().map(|value| value.parse().ok());
    Some([values.next()??, values.next()??, values.next()??])
}

fn taken() -> Option<u64> {
    pages_of(&std::fs::read_to_string("/proc/net/sockstat").ok()?)
}

/// `TCP: inuse 5 orphan 0 tw 1 alloc 7 mem 3`.
fn pages_of(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_sockets_is_read_from_its_line() {
        let text = "sockets: used 5\nTCP: inuse 5 orphan 0 tw 1 alloc 7 mem 31\nUDP: inuse 1 mem 2\n";
        assert_eq!(pages_of(text), Some(31));
        assert_eq!(pages_of("UDP: inuse 1 mem 2\n"), None);
        assert_eq!(pages_of("TCP: inuse 1 mem\n"), None);
    }

    #[test]
    fn what_is_unread_takes_a_share_of_a_small_machines_memory_and_is_left_alone_on_a_large_one() {
        let room = |mib: u64| HostLimits { files: 1024, socket_memory: mib << 20, bbr: false };
        assert_eq!(room(48).unread(), Some(64 << 10));
        assert_eq!(room(192).unread(), Some(192 << 10));
        assert_eq!(room(4096).unread(), None);
    }

    #[test]
    fn this_machine_has_room() {
        let room = HostLimits::of_this_machine();
        assert!(room.files > 0 && room.socket_memory > 0, "{room:?}");
    }
}
