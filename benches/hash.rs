//! How fast are 8 MiB hashed: by each digest alone, by our CRC and its peer, and by both digests as parts are?

use crc_fast::CrcAlgorithm;
use criterion::{Criterion, Throughput};
use md5::{Digest as _, Md5};
use std::hint::black_box;
use xpsync::s3::checksum::Running;

const LENGTH: usize = 8 << 20;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    // A multiplicative sequence: neither digest is faster for bytes that repeat, but no reader need wonder.
    let bytes: Vec<u8> = (0..LENGTH as u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect();
    let mut group = criterion.benchmark_group("hash 8 MiB");
    group.throughput(Throughput::Bytes(LENGTH as u64));
    group.bench_function("md5", |bencher| bencher.iter(|| Md5::digest(black_box(&bytes))));
    let peer = |bytes: &[u8]| {
        let mut digest = crc64fast_nvme::Digest::new();
        digest.write(bytes);
        digest.sum64()
    };
    assert_eq!(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, &bytes), peer(&bytes));
    group.bench_function("crc-fast", |bencher| {
        bencher.iter(|| crc_fast::checksum(CrcAlgorithm::Crc64Nvme, black_box(&bytes)));
    });
    group.bench_function("crc64fast-nvme", |bencher| bencher.iter(|| peer(black_box(&bytes))));
    group.bench_function("md5 and crc together", |bencher| {
        bencher.iter(|| {
            let mut running = Running::default();
            running.update(black_box(&bytes));
            running.finish()
        });
    });
    group.finish();
    criterion.final_summary();
}
