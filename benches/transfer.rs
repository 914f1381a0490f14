//! How fast are objects copied between two embedded servers over loopback TLS, with all proofs: one, and many at a
//! time?
//!
//! The servers run in the same process: what is measured is both ends of both connections.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use fakes::store::attributes::Attributes;
use futures_util::future::join_all;
use tokio::runtime::Runtime;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::job::Job;
use xpsync::engine::report::Outcome;
use xpsync::s3::Key;

/// Objects, and bytes of each.
const ROWS: [(&str, u64, usize); 4] =
    [("10 KiB", 1, 10 << 10), ("2,000 × 10 KiB", 2000, 10 << 10), ("64 × 8 MiB", 64, 8 << 20), ("1 GiB", 1, 1 << 30)];

fn transfer(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("transfer");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (name, count, size) in ROWS {
        // Servers of its own, whose memory is free again afterwards.
        let pair = runtime.block_on(Pair::start(None)).expect("two servers");
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(1).fill(&mut bytes);
        let bytes = Bytes::from(bytes);
        // One sandbox's: the objects share clients and budgets.
        let first = pair.job("0").expect("a job");
        let jobs: Vec<Job> = (0..count)
            .map(|number| {
                let key = number.to_string();
                pair.source.store().put(SOURCE_BUCKET, &key, bytes.clone(), Attributes::default()).expect("a bucket");
                let mut job = first.clone();
                job.source_key = Key::new(&key).expect("a key");
                job.target_key = job.source_key.clone();
                job
            })
            .collect();
        group.throughput(Throughput::Bytes(count * size as u64));
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || {
                    for job in &jobs {
                        pair.target.store().delete(TARGET_BUCKET, job.target_key.as_str()).expect("a bucket");
                    }
                },
                |()| async {
                    for report in join_all(jobs.iter().map(copy)).await {
                        assert_eq!(report.outcome, Outcome::Copied);
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, transfer);
criterion_main!(benches);
