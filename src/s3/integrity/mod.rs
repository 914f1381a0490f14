//! Digests: ETags, CRC64NVME, the other checksums, and how those of parts combine.

pub mod checksum;
pub mod crc64;
pub mod etag;
pub mod sums;
