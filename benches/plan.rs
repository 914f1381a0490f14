//! How long does planning the largest object take: 10,000 parts and their ranges?

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use xpsync::engine::decide::plan::{EtagMode, OBJECT_MAX, PartSizeTable, Plan, SourceLayout, plan};

fn largest(criterion: &mut Criterion) {
    criterion.bench_function("plan/10,000 parts of 5 GiB", |bencher| {
        bencher.iter(|| {
            match plan(&PartSizeTable::V1, black_box(OBJECT_MAX), &SourceLayout::Single, EtagMode::Auto, None) {
                Ok(Plan::Parts(layout)) => layout.ranges().len(),
                Ok(Plan::Put { .. }) | Err(_) => 0,
            }
        });
    });
}

criterion_group!(benches, largest);
criterion_main!(benches);
