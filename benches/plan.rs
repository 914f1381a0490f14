//! How long does planning the largest object take: 10,000 parts and their ranges?

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use xpsync::engine::decide::plan::{Cut, EtagMode, OBJECT_MAX, PartSizeTable, SourceLayout, cut};

fn largest(criterion: &mut Criterion) {
    criterion.bench_function("plan/10,000 parts of 5 GiB", |bencher| {
        bencher.iter(|| {
            match cut(&PartSizeTable::V1, black_box(OBJECT_MAX), &SourceLayout::Single, EtagMode::Auto, None) {
                Ok(Cut::Parts(layout)) => layout.ranges().len(),
                Ok(Cut::Put { .. }) | Err(_) => 0,
            }
        });
    });
}

criterion_group!(benches, largest);
criterion_main!(benches);
