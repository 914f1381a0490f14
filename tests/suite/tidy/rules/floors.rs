//! Which floors a floor may name, and that none hides a name of the root.

use crate::tidy::reading::names::{Names, named};
use crate::tidy::reading::source::{Source, files, sources};
use crate::tidy::reading::text::bare;
use crate::tidy::rules::{check, none};

/// Which floors a floor may name; with a path, only what is below it. `doctor` is an edge like `handler`.
const FLOORS: [(&str, &[&str]); 17] = [
    ("mutation", &[]),
    ("s3", &["mutation"]),
    ("wire", &["s3"]),
    ("engine", &["s3", "wire", "mutation"]),
    ("sync", &["s3", "wire", "engine"]),
    ("secrets", &["s3", "wire"]),
    (
        "events",
        &["s3", "engine::decide::plan::Layout", "engine::decide::ticket", "engine::fault", "engine::report", "report"],
    ),
    ("report", &["s3", "engine", "sync::sweep"]),
    ("aws", &["s3", "wire"]),
    ("queue", &["s3", "wire", "aws"]),
    ("journal", &["s3", "engine::decide::ticket", "report"]),
    ("settings", &["s3", "wire", "engine", "sync::filter", "events"]),
    ("telemetry", &["s3", "engine"]),
    (
        "handler",
        &[
            "report",
            "s3",
            "wire",
            "engine",
            "sync",
            "secrets",
            "queue",
            "events",
            "journal",
            "settings",
            "telemetry",
            "doctor",
        ],
    ),
    ("doctor", &["report", "s3", "wire", "engine", "sync", "secrets", "events", "settings", "telemetry", "handler"]),
    (
        "cli",
        &[
            "report",
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

fn arrows(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let module = source.module();
        let Some(floor) = module.first().filter(|floor| **floor != "bin") else { continue };
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| name == floor) else {
            violations.push(format!("{}: `{floor}` is no floor", source.path));
            continue;
        };
        for path in named(source) {
            // The embedded servers are a package that the demonstration alone stands on.
            let path = match path.split_once("::") {
                Some(("crate", rest)) => rest.to_owned(),
                Some(("fakes", rest)) => format!("demo::{rest}"),
                _ if path == "fakes" => "demo".to_owned(),
                _ => continue,
            };
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

/// Other names for the root of a package or for a module above.
fn aliases(sources: &[Source]) -> Vec<String> {
    let is_root = |name: &String| matches!(name.as_str(), "" | "crate" | "self" | "super" | "xpsync" | "fakes");
    let mut violations = Vec::new();
    for source in sources {
        for import in Names::of(source, &bare(&source.text)).imports {
            if let Some(other) = import.renamed.filter(|_| import.written.iter().all(is_root)) {
                let written = import.written.join("::");
                violations.push(format!("{}: {written} as {other}", source.path));
            }
        }
    }
    violations
}

#[test]
fn no_arrow_runs_up() {
    none(&arrows(&sources(&["src"])));
}

#[test]
fn the_root_has_no_other_name() {
    none(&aliases(&files(&["src", "fakes/src"], "rs")));
}

mod catches {
    use super::*;

    #[test]
    fn arrows_that_run_up() {
        let check = |path, text, expected| check(arrows, path, text, expected);
        check("src/s3/etag.rs", "use crate::wire::Pool;", "s3 names wire::Pool");
        check("src/s3/etag.rs", "use super::super::wire::Pool;", "s3 names wire::Pool");
        check("src/s3/mod.rs", "use super::engine;", "s3 names engine");
        check("src/s3/mod.rs", "mod inner {\n    use super::super::engine;\n}", "s3 names engine");
        check("src/s3/etag.rs", "fn f() { crate::engine::copy() }", "s3 names engine::copy");
        check("src/s3/etag.rs", "use crate::*;", "s3 names *");
        check("src/wire/mod.rs", "use crate::{s3::etag::ETag, engine::{plan, report}};", "wire names engine::plan");
        check("src/wire/mod.rs", "use crate::{\n    s3,\n    sync,\n};", "wire names sync");
        check("src/engine/plan.rs", "use fakes::Server;", "engine names demo::Server");
        check("src/engine/plan.rs", "use fakes as f;", "engine names demo");
        check("src/handler.rs", "use crate::demo;", "handler names demo");
        check("src/handler.rs", "use super::cli;", "handler names cli");
        check("src/demo/mod.rs", "use crate::cli::args;", "demo names cli::args");
        check("src/events/mod.rs", "use crate::engine::decide::plan::Plan;", "events names engine::decide::plan::Plan");
        check("src/events/mod.rs", "use crate::engine;", "events names engine");
        check("src/journal.rs", "use crate::engine::decide;", "journal names engine::decide");
        check("src/settings.rs", "use crate::sync::merge;", "settings names sync::merge");
        check("src/attic/mod.rs", "", "`attic` is no floor");
    }

    #[test]
    fn arrows_that_run_up_under_another_name() {
        let check = |text| check(arrows, "src/s3/etag.rs", text, "s3 names wire::Pool");
        check("use crate as root;\nuse root::wire::Pool;");
        check("use crate::{self as root};\nfn f(_: root::wire::Pool) {}");
        check("use super::super as root;\nfn f(_: root::wire::Pool) {}");
        check("extern crate self as root;\nfn f(_: root::wire::Pool) {}");
        check("use ::xpsync as root;\nfn f(_: root::wire::Pool) {}");
        check("use crate::r#wire::Pool;");
        check("use/**/crate::wire::Pool;");
    }

    #[test]
    fn no_arrows_that_run_down() {
        let check = |path, text| check(arrows, path, text, "");
        check("src/s3/etag.rs", "use super::encryption::Encryption; use crate::s3::Key;");
        check("src/s3/deep/mod.rs", "use super::wire; mod inner {}");
        check("src/wire/mod.rs", "use crate::s3::{Bucket, Key};");
        check("src/events/mod.rs", "use crate::engine::report::{Outcome, Report};");
        check("src/events/ticket.rs", "use crate::engine::decide::{plan::Layout, ticket::{Pin, Ticket}};");
        check("src/journal.rs", "use crate::engine::decide::ticket::Ledger;");
        check("src/settings.rs", "use crate::sync::filter::Filter;");
        check("src/cli/mod.rs", "use crate::{demo, handler};");
        check("src/demo/mod.rs", "use fakes::server::Server;");
        check("src/bin/xpsync.rs", "use xpsync::demo;");
        check("src/lib.rs", "pub mod demo;");
        check("src/s3/etag.rs", "//! See [`crate::wire`].\nconst A: &str = \"crate::wire\"; // crate::wire");
        check("src/s3/etag.rs", "#[cfg(test)]\nmod tests {\n    use crate::wire;\n}");
        check("src/s3/etag.rs", "pub(crate) fn wire() {}\npub(super) fn engine() {}");
    }

    #[test]
    fn code_after_a_test_item() {
        let check = |item: &str| {
            let text = format!("#[cfg(test)]\n{item}\nuse crate::wire;");
            check(arrows, "src/s3/etag.rs", &text, "s3 names wire");
        };
        check("use x::y;");
        check("use x::y; // z");
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
        check(arrows, "src/s3/etag.rs", "/* \\*/ use crate::wire;", "s3 names wire");
        check(arrows, "src/s3/etag.rs", "const A: &[u8] = br\"\\\"; use crate::wire;", "s3 names wire");
    }

    #[test]
    fn other_names_of_the_root() {
        let check = |text, expected| check(aliases, "src/s3/etag.rs", text, expected);
        check("use crate as root;", "crate as root");
        check("pub(crate) use crate as root;", "crate as root");
        check("use {crate as root};", "crate as root");
        check("use crate::{self as root};", "crate as root");
        check("use crate::{s3, self as root};", "crate as root");
        check("use xpsync as x;", "xpsync as x");
        check("use ::xpsync as x;", "::xpsync as x");
        check("use super as up;", "super as up");
        check("use super::super as up;", "super::super as up");
        check("use super::{self as up};", "super as up");
        check("use self as here;", "self as here");
        check("use crate\n    as\n    root;", "crate as root");
        check("use crate /* the root */ as root;", "crate as root");
        check("extern crate self as root;", "crate as root");
        check("extern crate xpsync as x;", "xpsync as x");
        check("fn f() {\n    use crate as root;\n}", "crate as root");
        check("#[cfg(test)]\nmod tests {\n    use super as up;\n}", "super as up");
        self::check(aliases, "fakes/src/store/mod.rs", "use fakes as f;", "fakes as f");
    }

    #[test]
    fn no_other_names_of_what_is_below_the_root() {
        let check = |text| check(aliases, "src/engine/parts/ordered.rs", text, "");
        check("use crate::engine::decide::verify::Runs as Asked;");
        check("use super::*;");
        check("use base64::Engine as _;");
        check("use std::io as streams;");
        check("// use crate as root;\nconst A: &str = \"use crate as root;\"; fn f() { self.a as u8 }");
    }
}
