//! MD5s that are computed together, held against the crate md-5, which computes them one by one.

use md5::{Digest as _, Md5};
use md5s::{LANES, of_each};
use proptest::prelude::*;

fn alone(runs: &[&[u8]]) -> Vec<[u8; 16]> {
    runs.iter().map(|run| Md5::digest(run).into()).collect()
}

#[test]
fn lengths_around_every_edge_of_the_padding() {
    let bytes: Vec<u8> = (0..1000_u32).map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()[0]).collect();
    for length in (0..140).chain([191, 192, 700]) {
        let runs: Vec<&[u8]> = (0..LANES).map(|lane| &bytes[lane * 3..lane * 3 + length]).collect();
        assert_eq!(of_each(&runs), alone(&runs), "{length}");
    }
}

#[test]
fn parts_of_megabytes() {
    let bytes: Vec<u8> = (0..6_u64 << 20).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect();
    let runs: Vec<&[u8]> = (0..5).map(|lane| &bytes[lane * 1000..lane * 1000 + (5 << 20)]).collect();
    assert_eq!(of_each(&runs), alone(&runs));
}

proptest! {
    #[test]
    fn any_number_of_runs(
        runs in prop::collection::vec(prop::collection::vec(any::<u8>(), 200), 0..2 * LANES),
        length in 0..=200_usize,
        shorter in prop::option::of((any::<prop::sample::Index>(), 0..200_usize)),
    ) {
        let mut runs: Vec<&[u8]> = runs.iter().map(|bytes| &bytes[..length]).collect();
        if let Some((at, length)) = shorter.filter(|_| !runs.is_empty()) {
            let at = at.index(runs.len());
            runs[at] = &runs[at][..length.min(runs[at].len())];
        }
        prop_assert_eq!(of_each(&runs), alone(&runs));
    }
}
