//! CRC64NVME, and the CRC of what follows something else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc64fast_nvme::Digest as CrcDigest;
use std::fmt;

/// A CRC64NVME (polynomial 0xAD93D23594C93659, reflected, all ones in and out).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Crc64(pub(crate) u64);

impl Crc64 {
    /// The checksum of nothing.
    pub const EMPTY: Self = Self(0);

    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = CrcDigest::new();
        digest.write(bytes);
        Self(digest.sum64())
    }

    /// The checksum of these bytes followed by `length` bytes whose checksum is `next`.
    #[must_use]
    pub fn followed_by(self, next: Self, length: u64) -> Self {
        // What `length` bytes do to what was there before them is a multiplication by x^(8·length); the ones that go in
        // and out of both checksums cancel each other.
        let (mut shift, mut power, mut left) = (ONE, ONE >> 8, length);
        while left > 0 {
            if left & 1 == 1 {
                shift = product(shift, power);
            }
            power = product(power, power);
            left >>= 1;
        }
        Self(product(self.0, shift) ^ next.0)
    }

    /// The value of `x-amz-checksum-crc64nvme`: base64 of the eight bytes, most significant first.
    pub fn header(self) -> String {
        STANDARD.encode(self.0.to_be_bytes())
    }

    /// Reads the header's text; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        Some(Self(u64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The product of two polynomials over GF(2), modulo that of CRC64NVME.
pub(crate) fn product(mut left: u64, right: u64) -> u64 {
    let mut sum = 0;
    for power in (0..u64::BITS).rev() {
        if right >> power & 1 == 1 {
            sum ^= left;
        }
        left = left >> 1 ^ if left & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    sum
}

/// The polynomial of CRC64NVME, 0xAD93D23594C93659, with the bits of the highest powers last, as its registers are.
pub(crate) const POLYNOMIAL: u64 = 0x9A6C_9329_AC4B_C9B5;

/// The polynomial 1 in such a register.
pub(crate) const ONE: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc64nvme_holds() {
        let crc = Crc64::of(b"123456789");
        assert_eq!(format!("{crc:?}"), "ae8b14860a799888");
        assert_eq!(crc.header(), "rosUhgp5mIg=");
        assert_eq!(Crc64::parse("rosUhgp5mIg="), Some(crc));
        assert_eq!(Crc64::of(b""), Crc64::EMPTY);
    }

    #[test]
    fn runs_too_long_to_hash_are_combined_all_the_same() {
        // Zeros double; taking the run together with what is before it or with what is after it first is the same.
        let (mut doubled, mut length) = (Crc64::of(&[0]), 1_u64);
        while length < 1 << 45 {
            doubled = doubled.followed_by(doubled, length);
            length *= 2;
        }
        let (head, tail) = (Crc64::of(b"head"), Crc64::of(b"tail"));
        let piece = doubled.followed_by(tail, 4);
        assert_eq!(head.followed_by(doubled, length).followed_by(tail, 4), head.followed_by(piece, length + 4));
    }

    #[test]
    fn what_is_not_a_checksum_is_not_read_as_one() {
        for bad in ["", "rosUhgp5mI", "rosUhgp5mIgAAAA=", "not base64!!"] {
            assert_eq!(Crc64::parse(bad), None, "{bad}");
        }
    }
}
