//! The MD5s of several runs of bytes at once.
//!
//! Each step of an MD5 waits for the one before it ("RFC 1321", section 3.4), so one alone leaves most of a processor
//! idle. Runs of one length fill the lanes of vectors: sixteen of them take twice the time of one with AVX-512, and
//! three times with AVX2 (benches/hash).
//!
//! A package of its own so that it is compiled for speed in every profile: tests would wait for it, and the function is
//! compiled for size. Its oracle is the crate md-5 (tests/md5s).

#[cfg(not(target_arch = "x86_64"))]
use fearless_simd::dispatch;
use fearless_simd::{Level, Simd, SimdBase as _, SimdFrom as _, u32x16};
use md5::{Digest as _, Md5};
use std::array::from_fn;

/// How many are computed together.
pub const LANES: usize = 16;

/// With fewer than so many, one after the other is as fast.
const FEW: usize = 4;

/// The bytes that a step of all lanes takes of each.
const BLOCK: usize = 64;

/// A word of each lane.
type Words<S> = u32x16<S>;

/// What the registers hold at first.
const INITIAL: [u32; 4] = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476];

/// The bits by which the steps of each round turn, in turns.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The integer parts of 2³² · |sin(n + 1)|.
const SINES: [u32; 64] = [
    0xD76AA478, 0xE8C7B756, 0x242070DB, 0xC1BDCEEE, 0xF57C0FAF, 0x4787C62A, 0xA8304613, 0xFD469501, 0x698098D8,
    0x8B44F7AF, 0xFFFF5BB1, 0x895CD7BE, 0x6B901122, 0xFD987193, 0xA679438E, 0x49B40821, 0xF61E2562, 0xC040B340,
    0x265E5A51, 0xE9B6C7AA, 0xD62F105D, 0x02441453, 0xD8A1E681, 0xE7D3FBC8, 0x21E1CDE6, 0xC33707D6, 0xF4D50D87,
    0x455A14ED, 0xA9E3E905, 0xFCEFA3F8, 0x676F02D9, 0x8D2A4C8A, 0xFFFA3942, 0x8771F681, 0x6D9D6122, 0xFDE5380C,
    0xA4BEEA44, 0x4BDECFA9, 0xF6BB4B60, 0xBEBFBC70, 0x289B7EC6, 0xEAA127FA, 0xD4EF3085, 0x04881D05, 0xD9D4D039,
    0xE6DB99E5, 0x1FA27CF8, 0xC4AC5665, 0xF4292244, 0x432AFF97, 0xAB9423A7, 0xFC93A039, 0x655B59C3, 0x8F0CCC92,
    0xFFEFF47D, 0x85845DD1, 0x6FA87E4F, 0xFE2CE6E0, 0xA3014314, 0x4E0811A1, 0xF7537E82, 0xBD3AF235, 0x2AD7D2BB,
    0xEB86D391,
];

/// The MD5 of each of these runs, in their order: together where they are of one length and not more than [`LANES`], or
/// one after the other.
pub fn of_each(runs: &[&[u8]]) -> Vec<[u8; 16]> {
    let go_together = (FEW..=LANES).contains(&runs.len()) && runs.iter().all(|run| run.len() == runs[0].len());
    // Lanes that are left over do the first one again.
    let in_lanes = go_together.then(|| from_fn(|lane| *runs.get(lane).unwrap_or(&runs[0])));
    match in_lanes.and_then(|lanes| in_vectors(Level::new(), &lanes)) {
        Some(md5s) => md5s[..runs.len()].to_vec(),
        None => runs.iter().map(|run| Md5::digest(run).into()).collect(),
    }
}

/// The MD5s of runs of one length, where vectors are long enough for it.
fn in_vectors(level: Level, runs: &[&[u8]; LANES]) -> Option<[[u8; 16]; LANES]> {
    // The code for processors of before 2013 would be three quarters of all.
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = level.as_avx512() {
            return Some(simd.vectorize(
                #[inline(always)]
                || of_lanes(simd, runs),
            ));
        }
        let simd = level.as_avx2()?;
        Some(simd.vectorize(
            #[inline(always)]
            || of_lanes(simd, runs),
        ))
    }
    #[cfg(not(target_arch = "x86_64"))]
    Some(dispatch!(level, simd => of_lanes(simd, runs)))
}

/// The MD5s of runs of one length.
#[inline(always)]
fn of_lanes<S: Simd>(simd: S, runs: &[&[u8]; LANES]) -> [[u8; 16]; LANES] {
    let mut registers = INITIAL.map(|word| Words::splat(simd, word));
    let split = runs.map(|run| run.as_chunks::<BLOCK>());
    for at in 0..split[0].0.len() {
        compress(simd, &mut registers, split.map(|(blocks, _)| &blocks[at]));
    }
    let last = split.map(|(blocks, rest)| padded(rest, blocks.len() * BLOCK + rest.len()));
    for at in 0..last[0].1 {
        compress(simd, &mut registers, from_fn(|lane| &last[lane].0[at]));
    }
    let registers = registers.map(<[u32; LANES]>::from);
    from_fn(|lane| {
        let mut md5 = [0; 16];
        for (bytes, register) in md5.as_chunks_mut().0.iter_mut().zip(registers) {
            *bytes = register[lane].to_le_bytes();
        }
        md5
    })
}

/// The rest of a run, a one, zeros, and the run's length in bits; and how many blocks that makes.
fn padded(rest: &[u8], length: usize) -> ([[u8; BLOCK]; 2], usize) {
    let mut blocks = [[0; BLOCK]; 2];
    blocks[0][..rest.len()].copy_from_slice(rest);
    blocks[0][rest.len()] = 0x80;
    let count = if rest.len() < BLOCK - 8 { 1 } else { 2 };
    blocks[count - 1][BLOCK - 8..].copy_from_slice(&(length as u64).wrapping_mul(8).to_le_bytes());
    (blocks, count)
}

/// Takes a block of each lane. Steps are written out, since the compiler keeps registers in vectors only then.
#[inline(always)]
fn compress<S: Simd>(simd: S, registers: &mut [Words<S>; 4], blocks: [&[u8; BLOCK]; LANES]) {
    let words = transposed(blocks.map(|block| {
        let words: [u32; 16] = from_fn(|word| u32::from_le_bytes(block.as_chunks().0[word]));
        Words::simd_from(simd, words)
    }));
    let [mut a, mut b, mut c, mut d] = *registers;
    macro_rules! steps {
        ($($step:literal)*; $mixed:expr, $first:literal + $next:literal) => {$({
            let turn = TURNS[$step / 16][$step % 4];
            let sum = a + $mixed + (words[($first + $next * $step) % 16] + Words::splat(simd, SINES[$step]));
            (a, b, c, d) = (d, b + ((sum << turn) | (sum >> (32 - turn))), b, c);
        })*};
    }
    steps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; d ^ b & (c ^ d), 0 + 1);
    steps!(16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31; c ^ d & (b ^ c), 1 + 5);
    steps!(32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47; b ^ c ^ d, 5 + 3);
    steps!(48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63; c ^ (b | !d), 0 + 7);
    for (register, more) in registers.iter_mut().zip([a, b, c, d]) {
        *register += more;
    }
}

/// Rows for columns: sixteen vectors are riffled four times, each with the one eight further on.
#[inline(always)]
fn transposed<S: Simd>(mut rows: [Words<S>; 16]) -> [Words<S>; 16] {
    for _ in 0..4 {
        rows = from_fn(|at| {
            let (one, other) = (rows[at / 2], rows[at / 2 + 8]);
            if at % 2 == 0 { one.zip_low(other) } else { one.zip_high(other) }
        });
    }
    rows
}
