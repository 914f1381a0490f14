//! What this machine has for connections: file descriptors and memory of sockets.

use rustix::process::{Resource, getrlimit};

/// A page of the kernel's socket accounting.
const PAGE: u64 = 4 << 10;

/// What connections can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// File descriptors that this process may have open.
    pub files: u64,
    /// Bytes that the kernel gives to all TCP sockets together before it slows them down.
    pub socket_memory: u64,
}

impl Room {
    /// Of this machine; what it does not say is taken for plenty.
    pub fn of_this_machine() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let socket_memory = tcp_mem().map_or(u64::MAX, |[_, pressure, _]| pressure * PAGE);
        Self { files, socket_memory }
    }
}

/// Whether TCP sockets have so much memory by now that the kernel slows them down (`tcp_mem`, its second value).
pub fn sockets_are_tight() -> bool {
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

/// Pages that TCP sockets have now.
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
    fn this_machine_has_room() {
        let room = Room::of_this_machine();
        assert!(room.files > 0 && room.socket_memory > 0, "{room:?}");
    }
}
