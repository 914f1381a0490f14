//! TCP segments as far as the border has to know them: who they belong to, what they span, and a forged reset.
//! Everything but IPv4 is none.

use std::net::SocketAddrV4;

const TCP: u8 = 6;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Flow {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
}

impl Flow {
    /// The other direction.
    pub(crate) fn reversed(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

/// What a segment does to its flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// It opens it.
    Opens,
    /// It carries data or nothing.
    Carries,
    /// It ends it, orderly or not.
    Ends,
}

/// A TCP segment without its data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Segment {
    pub(crate) flow: Flow,
    pub(crate) kind: Kind,
    /// The first sequence number it spans.
    pub(crate) start: u32,
    /// The sequence number behind it: `start` if it carries nothing.
    pub(crate) end: u32,
}

/// Whether a packet is IPv4.
pub(crate) fn is_ipv4(packet: &[u8]) -> bool {
    packet.len() >= 20 && packet[0] >> 4 == 4
}

impl Segment {
    /// The segment in an IPv4 packet.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 15) * 4;
        // A fragment behind the first has no TCP header, and nothing on this path fragments.
        let whole = is_ipv4(packet) && header >= 20 && word(packet, 6)? & 0x3fff == 0;
        if !whole || packet[9] != TCP {
            return None;
        }
        let packet = packet.get(..usize::from(word(packet, 2)?))?;
        let tcp = packet.get(header..)?;
        let flags = *tcp.get(13)?;
        let data = tcp.get(usize::from(tcp[12] >> 4) * 4..)?;
        let start = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
        // SYN and FIN each take a sequence number (RFC 9293, 3.4).
        let markers = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let address = |at: usize, port: usize| {
            let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(SocketAddrV4::new(octets.into(), word(tcp, port)?))
        };
        Some(Self {
            flow: Flow { from: address(12, 0)?, to: address(16, 2)? },
            kind: match flags {
                flags if flags & (FIN | RST) != 0 => Kind::Ends,
                flags if flags & SYN != 0 => Kind::Opens,
                _ => Kind::Carries,
            },
            start,
            end: start.wrapping_add(u32::try_from(data.len()).ok()?).wrapping_add(markers),
        })
    }
}

/// A reset of a flow as a middlebox forges it, in the name of the sender.
pub(crate) fn forge_reset(flow: Flow, seq: u32) -> [u8; 40] {
    let mut packet = [0; 40];
    packet[..10].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP]);
    packet[12..16].copy_from_slice(&flow.from.ip().octets());
    packet[16..20].copy_from_slice(&flow.to.ip().octets());
    packet[20..22].copy_from_slice(&flow.from.port().to_be_bytes());
    packet[22..24].copy_from_slice(&flow.to.port().to_be_bytes());
    packet[24..28].copy_from_slice(&seq.to_be_bytes());
    packet[32..34].copy_from_slice(&[5 << 4, RST]);
    let header = checksum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&header.to_be_bytes());
    // The pseudo-header of RFC 9293, 3.1: both addresses, the protocol, and the length of the segment.
    let segment = checksum(&[&packet[12..20], &[0, TCP, 0, 20], &packet[20..]]);
    packet[36..38].copy_from_slice(&segment.to_be_bytes());
    packet
}

/// The Internet checksum (RFC 1071) of pieces of even length; zero over what has its own checksum in it.
pub(crate) fn checksum(pieces: &[&[u8]]) -> u16 {
    let pairs = pieces.iter().flat_map(|piece| piece.chunks_exact(2));
    let sum: u32 = pairs.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = ((folded & 0xffff) + (folded >> 16)).to_be_bytes();
    !u16::from_be_bytes([high, low])
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
