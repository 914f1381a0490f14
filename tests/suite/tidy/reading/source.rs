//! The files of the package, and which of them are compiled for tests only.

use crate::tidy::reading::text::{bare, untested};
use std::path::Path;

/// A file by its path in the package.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// What the compiler sees of it in a build without tests.
    pub(crate) fn code(&self) -> String {
        untested(&bare(&self.text))
    }

    /// The module path: `src/s3/mod.rs` is `s3`, `src/s3/etag.rs` is `s3`, `etag`; the root has none.
    pub(crate) fn module(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("fakes/").unwrap_or(&self.path);
        let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
        inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
    }

    /// Whether it belongs to the product or to its servers for tests.
    pub(crate) fn is_product(&self) -> bool {
        self.is_among(&["src/", "fakes/src/"])
    }

    pub(crate) fn is_among(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }
}

/// All files with this extension in these places of the package: files, or folders and what is below them.
pub(crate) fn files(places: &[&str], extension: &str) -> Vec<Source> {
    fn walk(root: &Path, path: &Path, extension: &str, into: &mut Vec<Source>) {
        if path.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            for entry in &entries {
                walk(root, entry, extension, into);
            }
        } else if path.extension().is_some_and(|own| own == extension) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            into.push(Source::new(name, &std::fs::read_to_string(path).unwrap()));
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for place in places {
        walk(root, &root.join(place), extension, &mut all);
    }
    all
}

/// All `.rs` files below these folders of the package, but for those that are compiled for tests only.
pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let mut all = files(folders, "rs");
    let tests = test_files(&all);
    all.retain(|source| !tests.contains(&source.path));
    all
}

/// Files that a `#[cfg(test)] mod name;` brings in.
fn test_files(sources: &[Source]) -> Vec<String> {
    let mut files = Vec::new();
    for source in sources {
        let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let folder = match file {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            own => format!("{folder}/{}", own.trim_end_matches(".rs")),
        };
        let code = bare(&source.text);
        let mut lines = code.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line == "#[cfg(test)]"
                && let Some(name) = lines.next().and_then(|next| next.rsplit_once("mod ")?.1.strip_suffix(';'))
            {
                files.push(format!("{folder}/{name}.rs"));
                files.push(format!("{folder}/{name}/mod.rs"));
            }
        }
    }
    files
}

mod reads {
    use super::*;

    #[test]
    fn files_that_are_only_compiled_for_tests() {
        let check = |path, text, expected: &[&str]| {
            let found = test_files(&[Source::new(path, text)]);
            assert_eq!(found.iter().map(String::as_str).step_by(2).collect::<Vec<_>>(), expected, "{path}");
        };
        check("src/events/mod.rs", "#[cfg(test)]\nmod tests;", &["src/events/tests.rs"]);
        check("src/handler.rs", "#[cfg(test)]\npub(crate) mod tests;", &["src/handler/tests.rs"]);
        check("src/events/mod.rs", "mod tests;\n#[cfg(test)]\nmod inner {}", &[]);
    }

    #[test]
    fn the_module_of_a_file() {
        let check = |path, expected: &[&str]| assert_eq!(Source::new(path, "").module(), expected, "{path}");
        check("src/lib.rs", &[]);
        check("src/s3/mod.rs", &["s3"]);
        check("src/s3/object/get.rs", &["s3", "object", "get"]);
        check("fakes/src/lib.rs", &[]);
        check("fakes/src/store/state.rs", &["store", "state"]);
    }
}
