//! How fast are 8 MiB hashed: by each digest alone, by our CRC and its peer, and by both digests as parts are? And how
//! fast are parts of 5 MiB, of which as many wait for their MD5s as are named?

use crc_fast::CrcAlgorithm;
use criterion::{Criterion, Throughput};
use md5::{Digest as _, Md5};
use md5_many::Md5Many;
use md5s::LANES;
use std::hint::black_box;
use xpsync::s3::integrity::checksum::Running;

const LENGTH: usize = 8 << 20;
const PART: u64 = 5 << 20;

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
    let part =
        |seed: u64| (seed..seed + PART).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect();
    let parts: Vec<Vec<u8>> = (0..LANES as u64).map(part).collect();
    for count in [1, 4, 8, LANES] {
        let runs: Vec<&[u8]> = parts.iter().take(count).map(Vec::as_slice).collect();
        let peer = Md5Many::new();
        let by_peer = |runs: &[&[u8]]| {
            let mut md5s = vec![[0; 16]; runs.len()];
            peer.hash_many(runs, &mut md5s);
            md5s
        };
        assert_eq!(md5s::of_each(&runs), by_peer(&runs));
        let mut group = criterion.benchmark_group(format!("md5 of parts: {count}"));
        group.throughput(Throughput::Bytes(PART * count as u64));
        group.bench_function("one by one", |bencher| {
            bencher.iter(|| black_box(&runs).iter().map(Md5::digest).collect::<Vec<_>>());
        });
        group.bench_function("together", |bencher| bencher.iter(|| md5s::of_each(black_box(&runs))));
        group.bench_function("together, md5-many", |bencher| bencher.iter(|| by_peer(black_box(&runs))));
        group.finish();
    }
    criterion.final_summary();
}
