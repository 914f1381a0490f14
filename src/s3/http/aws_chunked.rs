//! `aws-chunked`: bytes in chunks, and behind them a checksum that was not known before them.
//!
//! "Signature calculations for trailing headers (chunked uploads)" gives the framing: `size in hex CRLF bytes CRLF`, a
//! chunk of size 0, the trailers, an empty line; without signatures of the chunks under
//! `STREAMING-UNSIGNED-PAYLOAD-TRAILER` ("Checking object integrity", trailing checksums). All chunks but the last have
//! the same size, so the length of the whole is known before its first byte. The bytes themselves are never copied.

use crate::s3::http::message::CRC64NVME;
use crate::s3::integrity::crc64::Crc64;
use bytes::Bytes;

/// Bytes of a chunk: S3 wants at least 8 KiB of all but the last ("Signature calculations for the
/// Authorization header: transferring payload in multiple chunks"), and AWS's own Rust client sends 64 KiB
/// (aws-runtime, `content_encoding.rs`). Smaller ones cost nine bytes more often.
pub(crate) const CHUNK: u64 = 64 << 10;

/// The head of a whole chunk behind another one.
const NEXT_HEAD: &[u8] = b"\r\n10000\r\n";

/// The chunk that ends them all.
const LAST: &str = "0\r\n";

/// How long so many bytes are in chunks with their trailer: what `Content-Length` says.
pub fn framed_length(bytes: u64) -> u64 {
    let chunk = |size: u64| format!("{size:x}").len() as u64 + 2 + size + 2;
    let rest = match bytes % CHUNK {
        0 => 0,
        rest => chunk(rest),
    };
    bytes / CHUNK * chunk(CHUNK) + rest + (LAST.len() + trailer(Crc64::EMPTY).len()) as u64
}

/// The trailer and the empty line behind it. Every checksum's text has the same length.
fn trailer(crc: Crc64) -> String {
    format!("{CRC64NVME}:{}\r\n\r\n", crc.header())
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of the payload.
    Data(Bytes),
    /// Bytes around it.
    Frame(Bytes),
}

/// How far the framing of a payload of known length has come.
#[derive(Debug, Clone)]
pub(crate) struct Framing {
    length: u64,
    done: u64,
    // Bytes that the chunk under way still wants.
    room: u64,
}

impl Framing {
    /// The framing of so many bytes.
    pub(crate) fn new(length: u64) -> Self {
        Self { length, done: 0, room: 0 }
    }

    /// What goes out next of these bytes, which continue those given before: at most `most` of them, taken off their
    /// front, or the head of the chunk that they begin. `None` if there are none, or more than were announced.
    pub(crate) fn next(&mut self, bytes: &mut Bytes, most: usize) -> Option<Piece> {
        let left = self.length - self.done;
        if bytes.is_empty() || left == 0 {
            return None;
        }
        if self.room == 0 {
            self.room = left.min(CHUNK);
            let head = match (self.done, self.room) {
                (0, size) => format!("{size:x}\r\n").into(),
                (_, CHUNK) => Bytes::from_static(NEXT_HEAD),
                (_, size) => format!("\r\n{size:x}\r\n").into(),
            };
            return Some(Piece::Frame(head));
        }
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let data = bytes.split_to(bytes.len().min(room).min(most.max(1)));
        self.done += data.len() as u64;
        self.room -= data.len() as u64;
        Some(Piece::Data(data))
    }

    /// What comes behind all bytes; `None` while some are missing.
    pub(crate) fn end(&self, crc: Crc64) -> Option<Bytes> {
        let close = if self.length == 0 { "" } else { "\r\n" };
        (self.done == self.length).then(|| format!("{close}{LAST}{}", trailer(crc)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(bytes: &[u8]) -> Vec<u8> {
        let mut framed = Vec::new();
        for chunk in bytes.chunks(1 << 16) {
            framed.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend(format!("0\r\nx-amz-checksum-crc64nvme:{}\r\n\r\n", Crc64::of(bytes).header()).into_bytes());
        framed
    }

    /// The framing of bytes that come in these pieces; heads and data apart.
    fn framed(bytes: &Bytes, cuts: &[usize], most: usize) -> Vec<u8> {
        let mut framing = Framing::new(bytes.len() as u64);
        let (mut out, mut rest, mut cuts) = (Vec::new(), bytes.clone(), cuts.iter());
        while !rest.is_empty() {
            assert_eq!(framing.end(Crc64::EMPTY), None);
            let cut = cuts.next().map_or(rest.len(), |cut| (*cut).min(rest.len()));
            let mut piece = rest.split_to(cut);
            while let Some(next) = framing.next(&mut piece, most) {
                match next {
                    Piece::Data(data) => {
                        assert!(data.len() <= most);
                        out.extend_from_slice(&data);
                    }
                    Piece::Frame(frame) => out.extend_from_slice(&frame),
                }
            }
            assert!(piece.is_empty());
        }
        out.extend_from_slice(&framing.end(Crc64::of(bytes)).unwrap());
        out
    }

    #[test]
    fn a_chunk_has_its_size_in_hex_and_the_trailer_comes_last() {
        let out = framed(&Bytes::from_static(b"123456789"), &[4], 100);
        assert_eq!(out, b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n");
        let nothing = framed(&Bytes::new(), &[], 100);
        assert_eq!(nothing, b"0\r\nx-amz-checksum-crc64nvme:AAAAAAAAAAA=\r\n\r\n");
    }

    #[test]
    fn heads_ends_and_the_trailer_are_counted() {
        // "10000\r\n", 65,536 bytes, "\r\n", "400\r\n", 1,024 bytes, "\r\n", "0\r\n", name and colon, value, two ends.
        assert_eq!(framed_length(65 << 10), 7 + 65_536 + 2 + 5 + 1_024 + 2 + 3 + 25 + 12 + 4);
    }

    #[test]
    fn more_bytes_than_announced_are_left_over() {
        let mut framing = Framing::new(2);
        let mut bytes = Bytes::from_static(b"abc");
        assert_eq!(framing.next(&mut bytes, 9), Some(Piece::Frame(Bytes::from_static(b"2\r\n"))));
        assert_eq!(framing.next(&mut bytes, 9), Some(Piece::Data(Bytes::from_static(b"ab"))));
        assert_eq!((framing.next(&mut bytes, 9), bytes.len()), (None, 1));
    }

    #[test]
    fn whole_chunks_are_framed_and_counted() {
        for length in [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 8_191] {
            let bytes = Bytes::from(vec![7; usize::try_from(length).unwrap()]);
            let out = framed(&bytes, &[], 32 << 10);
            assert_eq!(out.len() as u64, framed_length(length), "{length}");
            assert_eq!(out, plain(&bytes), "{length}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter_and_the_length_was_known(
            bytes in prop::collection::vec(any::<u8>(), 0..300_000),
            cuts in prop::collection::vec(1_usize..90_000, 0..12),
            most in 1_usize..80_000,
        ) {
            let bytes = Bytes::from(bytes);
            let out = framed(&bytes, &cuts, most);
            prop_assert_eq!(out.len() as u64, framed_length(bytes.len() as u64));
            prop_assert_eq!(out, plain(&bytes));
        }
    }
}
