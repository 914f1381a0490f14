//! The rules of the tower that a machine can hold: it reads the sources, with std only, and names what breaks them.
//!
//! Each rule is a function from sources to violations, and each has a test that it catches one.

use std::path::Path;
use std::process::Command;

/// Which floors a floor may name; with a path, only what is below it. `doctor` is an edge like `handler`.
const FLOORS: [(&str, &[&str]); 15] = [
    ("mutation", &[]),
    ("s3", &["mutation"]),
    ("wire", &["s3"]),
    ("engine", &["s3", "wire", "mutation"]),
    ("sync", &["s3", "wire", "engine"]),
    ("secrets", &["s3", "wire"]),
    ("events", &["s3", "engine::plan::Layout", "engine::report", "engine::ticket"]),
    ("queue", &["s3", "wire"]),
    ("journal", &["s3", "engine::ticket", "events"]),
    ("settings", &["s3", "wire", "engine", "sync::filter", "events"]),
    ("telemetry", &["s3", "engine"]),
    (
        "handler",
        &["s3", "wire", "engine", "sync", "secrets", "queue", "events", "journal", "settings", "telemetry", "doctor"],
    ),
    ("doctor", &["s3", "wire", "engine", "sync", "secrets", "events", "settings", "telemetry", "handler"]),
    (
        "cli",
        &[
            "s3",
            "wire",
            "engine",
            "sync",
            "secrets",
            "events",
            "journal",
            "settings",
            "telemetry",
            "handler",
            "doctor",
            "demo",
        ],
    ),
    ("demo", &["s3", "wire", "engine", "sync", "secrets", "events", "settings", "telemetry", "handler", "doctor"]),
];

/// Lines of a file above its tests (STYLE 9).
const LONGEST: usize = 500;

/// A file by its path in the package.
#[derive(Clone)]
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// What the compiler sees of it in a build without tests.
    fn code(&self) -> String {
        untested(&bare(&self.text))
    }

    /// The module path: `src/s3/mod.rs` is `s3`, `src/s3/etag.rs` is `s3`, `etag`; the root has none.
    fn module(&self) -> Vec<&str> {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path).trim_end_matches(".rs");
        inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
    }

    fn is_among(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }
}

/// All `.rs` files below these folders of the package, but for those that are compiled for tests only.
fn sources(folders: &[&str]) -> Vec<Source> {
    fn walk(root: &Path, folder: &Path, into: &mut Vec<Source>) {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(root, &path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                into.push(Source::new(name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for folder in folders {
        walk(root, &root.join(folder), &mut all);
    }
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

/// The text without comments and without what is in strings; lines stay where they are.
fn bare(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut index = 0;
    // Moves behind whatever `is_end` says is the end, keeping line breaks.
    let skip = |from: usize, out: &mut String, is_end: &dyn Fn(usize) -> Option<usize>| {
        let mut index = from;
        while index < chars.len() {
            if let Some(length) = is_end(index) {
                return index + length;
            }
            if at(index) == '\n' {
                out.push('\n');
            }
            index += if at(index) == '\\' && at(index + 1) != '\n' { 2 } else { 1 };
        }
        index
    };
    while index < chars.len() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let begins_word = index == 0 || !is_word(at(index - 1)) || (at(index - 1) == 'b' && at(index) == 'r');
        let hashes = (index + 1..).take_while(|i| at(*i) == '#').count();
        index = match (at(index), at(index + 1)) {
            ('/', '/') => (index..).find(|i| matches!(at(*i), '\n' | '\0')).unwrap_or(chars.len()),
            ('/', '*') => skip(index + 2, &mut out, &|i| (at(i) == '*' && at(i + 1) == '/').then_some(2)),
            ('r', '"' | '#') if begins_word && at(index + 1 + hashes) == '"' => {
                // A backslash means nothing in here, so this one does not use `skip`.
                let mut end = index + 2 + hashes;
                while end < chars.len() && !(at(end) == '"' && (1..=hashes).all(|h| at(end + h) == '#')) {
                    if at(end) == '\n' {
                        out.push('\n');
                    }
                    end += 1;
                }
                out.push_str("\"\"");
                end + 1 + hashes
            }
            ('"', _) => {
                out.push_str("\"\"");
                skip(index + 1, &mut out, &|i| (at(i) == '"').then_some(1))
            }
            ('\'', '\\') => skip(index + 1, &mut out, &|i| (at(i) == '\'').then_some(1)),
            ('\'', _) if at(index + 2) == '\'' => index + 3,
            (other, _) => {
                out.push(other);
                index + 1
            }
        };
    }
    out
}

/// Code without its `#[cfg(test)]` items. rustfmt has put the end of an item where its beginning is.
fn untested(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let mut item = lines.by_ref().skip_while(|line| line.trim_start().starts_with("#["));
        if item.next().is_some_and(|head| !head.ends_with([';', ',', '}'])) {
            let _ = item.find(|line| line.starts_with(&end));
        }
    }
    kept
}

/// Every place where `word` stands in `code` as a word of its own: what follows it.
fn uses<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).filter_map(move |(at, _)| {
        let after = &code[at + word.len()..];
        let alone = !code[..at].ends_with(is_word) && !after.starts_with(is_word);
        alone.then_some(after)
    })
}

/// The paths of a use tree, or of an expression's path: `a::{b, c::d}` are `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        let mut depth = 0;
        let ends = |c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth < 0 || (depth == 0 && c == ',')
        };
        let group = group.split_once("};").map_or(group, |(inside, _)| inside);
        return group.split(ends).flat_map(paths).collect();
    }
    let name: String = tree.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '*')).collect();
    match tree[name.len()..].strip_prefix("::") {
        _ if name.is_empty() => Vec::new(),
        Some(rest) => match paths(rest) {
            below if below.is_empty() => vec![name],
            below => below.into_iter().map(|path| format!("{name}::{path}")).collect(),
        },
        None => vec![name],
    }
}

/// The paths from the root of the crate that a file names.
fn named(source: &Source) -> Vec<String> {
    let code = source.code();
    let depth = source.module().len();
    let mut named = Vec::new();
    for root in ["crate", "xpsync"] {
        named.extend(uses(&code, root).filter_map(|after| after.strip_prefix("::")).flat_map(paths));
    }
    for after in uses(&code, "super") {
        // How far up the chain goes that begins here; only one that reaches the root is a name from there.
        let mut rest = after;
        let mut ups = 1;
        while let Some(next) = rest.strip_prefix("::super") {
            rest = next;
            ups += 1;
        }
        if ups == depth
            && let Some(rest) = rest.strip_prefix("::")
        {
            named.extend(paths(rest));
        }
    }
    named
}

fn arrows(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let module = source.module();
        let Some(floor) = module.first().filter(|floor| **floor != "bin") else { continue };
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| name == floor) else {
            violations.push(format!("{}: `{floor}` is no floor of DESIGN 3", source.path));
            continue;
        };
        for path in named(source) {
            let first = path.split("::").next().unwrap_or_default();
            let is_floor = first == "*" || FLOORS.iter().any(|(name, _)| *name == first);
            let below = |floor: &&&str| path == **floor || path.starts_with(&format!("{floor}::"));
            if is_floor && first != *floor && !allowed.iter().any(|floor| below(&floor)) {
                violations.push(format!("{}: {floor} names {path}", source.path));
            }
        }
    }
    violations
}

fn long_files(sources: &[Source]) -> Vec<String> {
    // Comments count, tests do not: both are found in the text, since `bare` keeps the lines.
    let length = |source: &Source| {
        let tests = bare(&source.text).lines().count() - source.code().lines().count();
        source.text.lines().count() - tests
    };
    let long = sources.iter().filter(|source| length(source) > LONGEST);
    long.map(|source| format!("{}: {} lines above its tests", source.path, length(source))).collect()
}

fn nameless_modules(sources: &[Source]) -> Vec<String> {
    let names = ["util", "utils", "common", "helper", "helpers", "misc", "types"];
    let mut violations = Vec::new();
    for source in sources {
        let code = bare(&source.text);
        for name in names {
            let inline = uses(&code, "mod").any(|after| paths(after).first().is_some_and(|module| module == name));
            if inline || source.path.trim_end_matches(".rs").split('/').any(|part| part == name) {
                violations.push(format!("{}: a module named {name}", source.path));
            }
        }
    }
    violations
}

/// Sources, but for those in `places`, whose code has one of `words`.
fn words_outside(sources: &[Source], words: &[&str], places: &[&str]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| !source.is_among(places)) {
        let code = source.code();
        for word in words {
            if uses(&code, word).next().is_some() {
                violations.push(format!("{}: {word}", source.path));
            }
        }
    }
    violations
}

fn unsafe_code(sources: &[Source]) -> Vec<String> {
    words_outside(sources, &["unsafe"], &["src/engine/buffer.rs"])
}

fn environment(sources: &[Source]) -> Vec<String> {
    let readers = ["std::env", "env::var", "env::var_os", "env::vars", "env::vars_os", "env::args", "env::args_os"];
    words_outside(sources, &readers, &["src/settings.rs", "src/cli/", "src/bin/"])
}

fn impure_protocol(sources: &[Source]) -> Vec<String> {
    let protocol: Vec<Source> = sources.iter().filter(|source| source.is_among(&["src/s3/"])).cloned().collect();
    let world = ["SystemTime::now", "Instant::now", "tokio", "tracing", "std::fs", "std::net", "std::thread"];
    words_outside(&protocol, &world, &[])
}

/// Attributes that silence or skip, and notes to do later, in tests too.
fn silenced(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let code = bare(&source.text);
        let attributes = code.match_indices("#[").chain(code.match_indices("#![")).map(|(at, _)| {
            let mut depth = 0;
            let ends = |c: char| {
                depth += i32::from(c == '[') - i32::from(c == ']');
                depth == 0 && c == ']'
            };
            let attribute = &code[at..];
            &attribute[..attribute.find(ends).unwrap_or(attribute.len())]
        });
        for attribute in attributes {
            for word in ["allow", "ignore", "should_panic"] {
                if uses(attribute, word).any(|after| word != "allow" || after.starts_with('(')) {
                    violations.push(format!("{}: {attribute}]", source.path));
                }
            }
        }
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
            if uses(&source.text, mark).next().is_some() {
                violations.push(format!("{}: {mark}", source.path));
            }
        }
        for name in [concat!("to", "do"), concat!("unimplemen", "ted")] {
            if uses(&code, name).any(|after| after.starts_with('!')) {
                violations.push(format!("{}: {name}!", source.path));
            }
        }
    }
    violations
}

fn headless(sources: &[Source]) -> Vec<String> {
    let headless = sources.iter().filter(|source| !source.text.trim_start().starts_with("//!"));
    headless.map(|source| format!("{}: no `//!` at its head", source.path)).collect()
}

/// Dependencies of a manifest without a comment on the line above.
fn unexplained(manifest: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let (mut in_dependencies, mut depth, mut above) = (false, 0_i32, "");
    for line in manifest.lines() {
        if depth == 0 && line.starts_with('[') {
            let table = line.trim_matches(['[', ']']);
            in_dependencies = table.ends_with("dependencies");
            let named = table.rsplit_once("dependencies.").is_some();
            if named && !above.starts_with('#') {
                violations.push(format!("{table} has no reason"));
            }
        } else {
            let name = line.split(['=', '.']).next().unwrap_or_default().trim();
            let is_entry = depth == 0 && !line.starts_with('#') && line.contains('=');
            if in_dependencies && is_entry && !above.starts_with('#') {
                violations.push(format!("{name} has no reason"));
            }
            if !line.starts_with('#') {
                let count = |set: [char; 2]| i32::try_from(line.matches(set).count()).unwrap();
                depth += count(['[', '{']) - count([']', '}']);
            }
        }
        above = line;
    }
    violations
}

/// What the function must not link, in a `cargo tree --prefix none` of it.
fn unwelcome(tree: &str) -> Vec<String> {
    let mut packages: Vec<(&str, &str)> = tree
        .lines()
        .filter_map(|line| line.trim().split_once(" v"))
        .map(|(name, rest)| (name, first_word(rest)))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    let mut violations = Vec::new();
    for (name, version) in &packages {
        let banned = ["aws-config", "aws-sdk-s3", "aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"];
        if banned.contains(name) {
            violations.push(format!("{name} {version}"));
        }
    }
    for (name, prefix) in [("rustls", "0."), ("hyper", "1."), ("ring", "0.")] {
        let versions: Vec<&str> = packages.iter().filter(|(n, _)| *n == name).map(|(_, version)| *version).collect();
        if versions.len() != 1 || !versions.iter().all(|version| version.starts_with(prefix)) {
            violations.push(format!("{name}: {versions:?}, expected one {prefix}x"));
        }
    }
    violations
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

const NONE: [String; 0] = [];

#[test]
fn no_arrow_runs_up() {
    assert_eq!(arrows(&sources(&["src"])), NONE);
}

#[test]
fn no_file_is_too_long() {
    assert_eq!(long_files(&sources(&["src"])), NONE);
}

#[test]
fn every_module_has_a_name_of_its_own() {
    assert_eq!(nameless_modules(&sources(&["src", "fakes/src", "tests", "benches"])), NONE);
}

#[test]
fn unsafe_is_in_one_file() {
    assert_eq!(unsafe_code(&sources(&["src", "fakes/src", "tests", "benches"])), NONE);
}

#[test]
fn the_environment_is_read_at_the_edge() {
    assert_eq!(environment(&sources(&["src"])), NONE);
}

#[test]
fn the_protocol_knows_no_clock_and_no_runtime() {
    assert_eq!(impure_protocol(&sources(&["src"])), NONE);
}

#[test]
fn nothing_is_silenced_or_put_off() {
    assert_eq!(silenced(&sources(&["src", "fakes/src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"])), NONE);
}

#[test]
fn every_file_says_what_it_owns() {
    assert_eq!(headless(&sources(&["src", "fakes/src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"])), NONE);
}

#[test]
fn every_dependency_has_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let text = std::fs::read_to_string(root.join(manifest)).unwrap();
        assert_eq!(unexplained(&text), NONE, "{manifest}");
    }
}

#[test]
fn the_function_links_one_tls_stack_and_no_sdk() {
    let arguments = "tree --offline --locked -e normal --no-default-features --features lambda --prefix none";
    let output = Command::new(env!("CARGO"))
        .args(arguments.split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(unwelcome(std::str::from_utf8(&output.stdout).unwrap()), NONE);
}

mod catches {
    use super::*;

    /// What a rule says of one file; nothing is expected of an empty `expected`.
    fn check(rule: fn(&[Source]) -> Vec<String>, path: &str, text: &str, expected: &str) {
        let found = rule(&[Source::new(path, text)]).join("; ");
        if expected.is_empty() {
            assert_eq!(found, "", "{path}: {text}");
        } else {
            assert!(found.contains(expected), "{path}: {text}: found `{found}`, expected `{expected}`");
        }
    }

    #[test]
    fn arrows_that_run_up() {
        let check = |path, text, expected| check(arrows, path, text, expected);
        check("src/s3/etag.rs", "use crate::wire::Pool;", "s3 names wire::Pool");
        check("src/s3/etag.rs", "use super::super::wire::Pool;", "s3 names wire::Pool");
        check("src/s3/mod.rs", "use super::engine;", "s3 names engine");
        check("src/s3/etag.rs", "fn f() { crate::engine::copy() }", "s3 names engine::copy");
        check("src/s3/etag.rs", "use crate::*;", "s3 names *");
        check("src/wire/mod.rs", "use crate::{s3::etag::ETag, engine::{plan, report}};", "wire names engine::plan");
        check("src/wire/mod.rs", "use crate::{\n    s3,\n    sync,\n};", "wire names sync");
        check("src/engine/plan.rs", "use fakes::Server;", "engine names demo::Server");
        check("src/handler.rs", "use crate::demo;", "handler names demo");
        check("src/handler.rs", "use super::cli;", "handler names cli");
        check("src/demo/mod.rs", "use crate::cli::args;", "demo names cli::args");
        check("src/events/mod.rs", "use crate::engine::plan::Plan;", "events names engine::plan::Plan");
        check("src/events/mod.rs", "use crate::engine;", "events names engine");
        check("src/settings.rs", "use crate::sync::merge;", "settings names sync::merge");
        check("src/attic/mod.rs", "", "`attic` is no floor");
    }

    #[test]
    fn no_arrows_that_run_down() {
        let check = |path, text| check(arrows, path, text, "");
        check("src/s3/etag.rs", "use super::encryption::Encryption; use crate::s3::Key;");
        check("src/s3/deep/mod.rs", "use super::wire; mod inner {}");
        check("src/wire/mod.rs", "use crate::s3::{Bucket, Key};");
        check("src/events/mod.rs", "use crate::engine::report::{Outcome, Report};");
        check("src/settings.rs", "use crate::sync::filter::Filter;");
        check("src/cli/mod.rs", "use crate::{demo, handler};");
        check("src/bin/xpsync.rs", "use xpsync::demo;");
        check("src/lib.rs", "pub mod demo;");
        check("src/s3/etag.rs", "//! See [`crate::wire`].\nconst A: &str = \"crate::wire\"; // crate::wire");
        check("src/s3/etag.rs", "#[cfg(test)]\nmod tests {\n    use crate::wire;\n}");
    }

    #[test]
    fn code_after_a_test_item() {
        let check = |item: &str| {
            let text = format!("#[cfg(test)]\n{item}\nuse crate::wire;");
            check(arrows, "src/s3/etag.rs", &text, "s3 names wire");
        };
        check("use x::y;");
        check("use x::{\n    y,\n    z,\n};");
        check("fn f() {}");
        check("mod tests {\n    fn f() {\n        g();\n    }\n}");
        check("#[derive(A)]\nstruct B {\n    c: u8,\n}");
        check("const A: B = B {\n    c: 1,\n};");
        let method = "impl A {\n    #[cfg(test)]\n    fn f() {\n        g();\n    }\n    fn h(_: crate::wire::A) {}\n}";
        self::check(arrows, "src/s3/etag.rs", method, "s3 names wire::A");
    }

    #[test]
    fn code_between_strings_and_characters() {
        let text = "const A: &str = \"\\\"\"; const B: char = '\"'; const C: &str = r#\"\"\"#; use crate::wire;";
        check(arrows, "src/s3/etag.rs", text, "s3 names wire");
        check(arrows, "src/s3/etag.rs", "fn f<'a>(a: &'a str) {} /* \" */ use crate::wire;", "s3 names wire");
        check(arrows, "src/s3/etag.rs", "const A: &[u8] = br\"\\\"; use crate::wire;", "s3 names wire");
    }

    #[test]
    fn long_files_but_not_long_tests() {
        let lines = |count: usize| "// A line.\n".repeat(count);
        let tests = |count: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn f();\n".repeat(count));
        check(long_files, "src/s3/a.rs", &lines(501), "501 lines");
        check(long_files, "src/s3/a.rs", &lines(500), "");
        check(long_files, "src/s3/a.rs", &(lines(500) + &tests(900)), "");
        check(long_files, "src/s3/a.rs", &(lines(400) + &tests(900) + &lines(101)), "501 lines");
    }

    #[test]
    fn modules_without_a_name_of_their_own() {
        for path in ["src/s3/util.rs", "src/helpers/mod.rs", "tests/common/mod.rs", "src/types.rs", "src/s3/misc.rs"] {
            check(nameless_modules, path, "", "a module named");
        }
        check(nameless_modules, "src/s3/mod.rs", "pub(crate) mod util {}", "a module named util");
        check(nameless_modules, "src/s3/mod.rs", "mod utility; use other::types::A;", "");
    }

    #[test]
    fn unsafe_outside_its_file() {
        check(unsafe_code, "src/wire/mod.rs", "fn f() { unsafe { g() } }", "unsafe");
        check(unsafe_code, "src/wire/mod.rs", "unsafe impl Send for A {}", "unsafe");
        check(unsafe_code, "src/engine/buffer.rs", "unsafe { g() }", "");
        check(unsafe_code, "src/wire/mod.rs", "#![deny(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";", "");
    }

    #[test]
    fn reading_the_environment() {
        check(environment, "src/engine/mod.rs", "let a = std::env::var(\"A\");", "std::env");
        check(environment, "src/engine/mod.rs", "let a = env::var_os(\"A\");", "env::var_os");
        check(environment, "src/cli/args.rs", "std::env::args()", "");
        check(environment, "src/settings.rs", "std::env::vars()", "");
        check(environment, "src/settings_of_mine.rs", "std::env::vars()", "std::env");
        check(environment, "src/engine/mod.rs", "const A: &str = env!(\"CARGO_PKG_NAME\");", "");
    }

    #[test]
    fn a_protocol_that_is_not_pure() {
        check(impure_protocol, "src/s3/sign.rs", "let now = SystemTime::now();", "SystemTime::now");
        check(impure_protocol, "src/s3/sign.rs", "let now = std::time::Instant::now();", "Instant::now");
        check(impure_protocol, "src/s3/sign.rs", "use tokio::time;", "tokio");
        check(impure_protocol, "src/s3/sign.rs", "now: SystemTime", "");
        check(impure_protocol, "src/wire/mod.rs", "use tokio::time; Instant::now()", "");
    }

    #[test]
    fn what_is_silenced_or_put_off() {
        let check = |text: &str, expected| check(silenced, "src/s3/a.rs", text, expected);
        check("#[allow(dead_code)]", "allow(dead_code)");
        check("#![allow(dead_code)]", "allow(dead_code)");
        check("#[cfg_attr(\n    test,\n    allow(dead_code)\n)]\nfn f() {}", "allow(dead_code)");
        check(concat!("#[cfg(test)]\nmod tests {\n    #[test]\n    #[ig", "nore = \"\"]\n    fn f() {}\n}"), "ignore");
        check("#[should_panic(expected = \"\")]", "should_panic");
        check(concat!("// TO", "DO: later"), concat!("TO", "DO"));
        check(concat!("// FIX", "ME"), concat!("FIX", "ME"));
        check(concat!("fn f() { to", "do!() }"), concat!("to", "do!"));
        check(concat!("fn f() { unimplemen", "ted!() }"), concat!("unimplemen", "ted!"));
        check("#[expect(dead_code, reason = \"\")] fn f() { policy.allow(x); ignore() }", "");
    }

    #[test]
    fn files_without_a_head() {
        check(headless, "src/s3/a.rs", "use x;\n//! Late.", "no `//!`");
        check(headless, "src/s3/a.rs", "", "no `//!`");
        check(headless, "src/s3/a.rs", "//! What it owns.", "");
    }

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
    fn dependencies_without_a_reason() {
        let check = |manifest: &str, expected: &[&str]| assert_eq!(unexplained(manifest), expected, "{manifest}");
        check("[dependencies]\na = \"1\"", &["a has no reason"]);
        check("[dependencies]\n# Why.\na = \"1\"\nb = \"1\"", &["b has no reason"]);
        check("[dev-dependencies]\n# Why.\n\na = { version = \"1\" }", &["a has no reason"]);
        check("[target.'cfg(unix)'.dependencies]\na.version = \"1\"", &["a has no reason"]);
        check("[dependencies.a]\nversion = \"1\"", &["dependencies.a has no reason"]);
        check("[dependencies]\n# Why.\na = { features = [\n  \"x=y\",\n] }\n# Why.\nb = \"1\"", &[]);
        check("[package]\nname = \"a\"\n[profile.dev]\ndebug = 1", &[]);
    }

    #[test]
    fn what_the_function_must_not_link() {
        let good = "app v0.1.0 (x)\nrustls v0.23.46\nhyper v1.12.0\nring v0.17.14\nhyper v1.12.0 (*)\nrustls-pki-types v1.1.0\n";
        let check = |more: &str, expected: &[&str]| assert_eq!(unwelcome(&format!("{good}{more}")), expected, "{more}");
        check("", &[]);
        check("aws-config v1.1.0", &["aws-config 1.1.0"]);
        check("aws-sdk-s3 v1.1.0 (*)", &["aws-sdk-s3 1.1.0"]);
        check("aws-lc-rs v1.1.0", &["aws-lc-rs 1.1.0"]);
        check("openssl-sys v0.9.0", &["openssl-sys 0.9.0"]);
        check("rustls v0.21.1", &["rustls: [\"0.21.1\", \"0.23.46\"], expected one 0.x"]);
        check("hyper v0.14.1", &["hyper: [\"0.14.1\", \"1.12.0\"], expected one 1.x"]);
        let none = "hyper: [], expected one 1.x";
        assert_eq!(unwelcome("rustls v0.23.46\nring v0.17.14"), [none]);
    }
}
