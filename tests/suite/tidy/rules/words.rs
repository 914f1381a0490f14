//! Words that a file must not have, or only at its place.

use crate::tidy::reading::source::{Source, sources};
use crate::tidy::reading::text::{attributes, bare, tokens, uses};
use crate::tidy::rules::{check, none};

fn nameless_modules(sources: &[Source]) -> Vec<String> {
    let names = ["util", "utils", "common", "helper", "helpers", "misc", "types"];
    let mut violations = Vec::new();
    for source in sources {
        let code = bare(&source.text);
        for name in names {
            let inline = tokens(&code).windows(2).any(|pair| pair == ["mod", name]);
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
    words_outside(sources, &["unsafe"], &["src/engine/buffer/mod.rs"])
}

fn environment(sources: &[Source]) -> Vec<String> {
    let readers = ["std::env", "env::var", "env::var_os", "env::vars", "env::vars_os", "env::args", "env::args_os"];
    words_outside(sources, &readers, &["src/settings.rs", "src/cli/", "src/bin/"])
}

/// Attributes that silence or skip, and notes to do later, in tests too.
fn silenced(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let code = bare(&source.text);
        for (_, attribute) in attributes(&code) {
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

#[test]
fn every_module_has_a_name_of_its_own() {
    none(&nameless_modules(&sources(&["src", "fakes/src", "tests", "benches"])));
}

#[test]
fn unsafe_is_in_one_file() {
    none(&unsafe_code(&sources(&["src", "fakes/src", "tests", "benches"])));
}

#[test]
fn the_environment_is_read_at_the_edge() {
    none(&environment(&sources(&["src"])));
}

#[test]
fn nothing_is_silenced_or_put_off() {
    none(&silenced(&sources(&["src", "fakes/src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"])));
}

#[test]
fn every_file_says_what_it_owns() {
    none(&headless(&sources(&["src", "fakes/src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"])));
}

mod catches {
    use super::*;

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
        check(unsafe_code, "src/engine/buffer/mod.rs", "unsafe { g() }", "");
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
}
