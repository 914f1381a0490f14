//! Globs: the matcher agrees with one that tries everything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xpsync::sync::filter::{Filter, Glob};

/// Python's `fnmatch`, by the book: every character that a `*` could take is tried.
fn matches(pattern: &[char], text: &[char]) -> bool {
    // Of each pattern's tail, whether it matches each text's tail.
    let mut table = vec![vec![false; text.len() + 1]; pattern.len() + 1];
    table[pattern.len()][text.len()] = true;
    for p in (0..pattern.len()).rev() {
        for t in (0..=text.len()).rev() {
            let next = text.get(t);
            table[p][t] = match (pattern[p], next) {
                ('*', _) => table[p + 1][t] || (next.is_some() && table[p][t + 1]),
                ('?', Some(_)) => table[p + 1][t + 1],
                ('[', next) => match set(&pattern[p + 1..]) {
                    Some((takes, length)) => next.is_some_and(|next| takes(*next)) && table[p + 1 + length][t + 1],
                    None => next == Some(&'[') && table[p + 1][t + 1],
                },
                (one, Some(next)) => one == *next && table[p + 1][t + 1],
                (_, None) => false,
            };
        }
    }
    table[0][0]
}

/// What a set takes and how long it is with its `]`, given what follows its `[`.
fn set(after: &[char]) -> Option<(impl Fn(char) -> bool, usize)> {
    let negated = after.first() == Some(&'!');
    let start = usize::from(negated);
    let length = (start + 1..after.len()).find(|at| after[*at] == ']')?;
    let members = after[start..length].to_vec();
    let takes = move |c: char| {
        let (mut at, mut found) = (0, false);
        while at < members.len() {
            if at + 2 < members.len() && members[at + 1] == '-' {
                found |= members[at] <= c && c <= members[at + 2];
                at += 3;
            } else {
                found |= members[at] == c;
                at += 1;
            }
        }
        found != negated
    };
    Some((takes, length + 1))
}

fuzz_target!(|data: &[u8]| {
    let Ok(both) = std::str::from_utf8(data) else { return };
    let (pattern, text) = both.split_once('\n').unwrap_or((both, "text"));
    if pattern.len() > 256 || text.len() > 256 {
        return;
    }
    let (patterns, texts): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let expected = matches(&patterns, &texts);
    assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern:?} {text:?}");
    let filter = Filter::excluding_then_including(&["*".into()], &[pattern.into()]);
    assert_eq!(filter.includes(text), expected);
    let filter = Filter::excluding_then_including(&[pattern.into()], &[]);
    assert_eq!(filter.includes(text), !expected);
});
