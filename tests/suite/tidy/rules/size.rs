//! How long a file may be, and how many files a folder may hold.

use crate::tidy::reading::source::{Source, files, sources};
use crate::tidy::reading::text::bare;
use crate::tidy::rules::{check, check_all, none};
use std::collections::BTreeMap;

/// Lines of a file above its tests.
const LONGEST: usize = 400;
/// Files that stand beside each other in a folder; its own file is none of them.
const FULLEST: usize = 10;

fn long_files(sources: &[Source]) -> Vec<String> {
    // Comments count, tests do not: both are found in the text, since `bare` keeps the lines.
    let length = |source: &Source| {
        let tests = bare(&source.text).lines().count() - source.code().lines().count();
        source.text.lines().count() - tests
    };
    let long = sources.iter().filter(|source| length(source) > LONGEST);
    long.map(|source| format!("{}: {} lines above its tests", source.path, length(source))).collect()
}

fn full_folders(sources: &[Source]) -> Vec<String> {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for (folder, file) in sources.iter().filter_map(|source| source.path.rsplit_once('/')) {
        *folders.entry(folder).or_default() += usize::from(!matches!(file, "mod.rs" | "lib.rs" | "main.rs"));
    }
    folders.retain(|_, count| *count > FULLEST);
    folders.iter().map(|(folder, count)| format!("{folder}: {count} files without a room of their own")).collect()
}

#[test]
fn no_file_is_too_long() {
    none(&long_files(&sources(&["src", "fakes/src"])));
}

#[test]
fn no_folder_is_too_full() {
    none(&full_folders(&files(&["src", "fakes/src", "tests/suite"], "rs")));
}

mod catches {
    use super::*;

    #[test]
    fn long_files_but_not_long_tests() {
        let lines = |count: usize| "// A line.\n".repeat(count);
        let tests = |count: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn f();\n".repeat(count));
        check(long_files, "src/s3/a.rs", &lines(401), "401 lines");
        check(long_files, "src/s3/a.rs", &lines(400), "");
        check(long_files, "fakes/src/a.rs", &lines(401), "401 lines");
        check(long_files, "src/s3/a.rs", &(lines(400) + &tests(900)), "");
        check(long_files, "src/s3/a.rs", &(lines(300) + &tests(900) + &lines(101)), "401 lines");
    }

    #[test]
    fn full_folders_whatever_rooms_they_have() {
        let paths = |count: usize| (0..count).map(|file| format!("src/s3/f{file}.rs")).collect::<Vec<_>>();
        let check = |paths: &[String], more: &[&str], expected| {
            let paths = paths.iter().map(String::as_str).chain(more.iter().copied());
            check_all(full_folders, &paths.map(|path| (path, "")).collect::<Vec<_>>(), expected);
        };
        check(&paths(11), &[], "src/s3: 11 files");
        check(&paths(11), &["src/s3/object/get.rs", "src/s3/object/mod.rs"], "src/s3: 11 files");
        check(&paths(10), &["src/s3/mod.rs"], "");
        check(&paths(10), &["src/s3/object/get.rs", "src/s3/object/put.rs"], "");
        check(&paths(9), &["src/wire/a.rs", "src/wire/b.rs", "src/lib.rs"], "");
    }
}
