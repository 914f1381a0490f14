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
    fn any_number_of_runs_of_few_lengths(
        runs in prop::collection::vec((0..4_usize, prop::collection::vec(any::<u8>(), 200)), 0..60),
    ) {
        // So few that some fill their lanes and others do not.
        let runs: Vec<&[u8]> = runs.iter().map(|(length, bytes)| &bytes[..length * 61]).collect();
        prop_assert_eq!(of_each(&runs), alone(&runs));
    }
}
