//! The rules, each with its samples.

mod circles;
mod dependencies;
mod floors;
mod prose;
mod purity;
mod reached;
mod size;
mod words;

use crate::tidy::reading::source::Source;

/// Fails with one violation a line.
#[track_caller]
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// What a rule says of one file; nothing is expected of an empty `expected`.
#[track_caller]
fn check(rule: fn(&[Source]) -> Vec<String>, path: &str, text: &str, expected: &str) {
    check_all(rule, &[(path, text)], expected);
}

/// What a rule says of several files.
#[track_caller]
fn check_all(rule: fn(&[Source]) -> Vec<String>, files: &[(&str, &str)], expected: &str) {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let found = rule(&sources).join("; ");
    if expected.is_empty() {
        assert_eq!(found, "", "{files:?}");
    } else {
        assert!(found.contains(expected), "{files:?}: found `{found}`, expected `{expected}`");
    }
}
