//! How fast is one object copied between two embedded servers over loopback TLS, with all proofs?
//!
//! The servers run in the same process: what is measured is both ends of both connections.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use xpsync::demo::attributes::Attributes;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy;
use xpsync::engine::report::Outcome;

fn transfer(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let pair = runtime.block_on(Pair::start(None)).expect("two servers");
    let mut group = criterion.benchmark_group("transfer");
    group.sample_size(10);
    for (name, size) in [("10 KiB", 10 << 10), ("8 MiB", 8 << 20), ("256 MiB", 256 << 20)] {
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(1).fill(&mut bytes);
        pair.source.store().put(SOURCE_BUCKET, name, Bytes::from(bytes), Attributes::default()).expect("a bucket");
        let job = pair.job(name).expect("a job");
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || pair.target.store().delete(TARGET_BUCKET, name).expect("a bucket"),
                |()| async { assert_eq!(copy(&job).await.outcome, Outcome::Copied) },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, transfer);
criterion_main!(benches);
