//! That what decides touches nothing: no file, socket, clock, task, chance or log. Time and chance are passed in.

use crate::tidy::reading::names::named;
use crate::tidy::reading::source::{Source, files, sources};
use crate::tidy::reading::text::{tokens, uses};
use crate::tidy::rules::{check, none};

/// What is pure: folders and files.
const PURE: [&str; 4] = ["src/s3/", "src/engine/decide/", "src/engine/pace/", "src/wire/client/retry.rs"];
/// What is not, among these.
const NOT_PURE: [&str; 1] = ["src/engine/pace/admission.rs"];
/// Where tokio is not even named for its type of an instant.
const WITHOUT_TOKIO: [&str; 2] = ["src/s3/", "src/engine/decide/"];

/// Other crates that are, or reach, the world.
const WORLDLY: [&str; 21] = [
    "aws_config",
    "aws_sdk_secretsmanager",
    "fakes",
    "fastrand",
    "getrandom",
    "hyper",
    "hyper_util",
    "indicatif",
    "lambda_runtime",
    "libc",
    "log",
    "memmap2",
    "rand",
    "ring::rand",
    "rustix",
    "rustls",
    "socket2",
    "tokio",
    "tokio_rustls",
    "tracing",
    "tracing_subscriber",
];

fn impure(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| source.is_among(&PURE) && !source.is_among(&NOT_PURE)) {
        let may_have_instants = !source.is_among(&WITHOUT_TOKIO);
        let found = named(source).into_iter().filter(|path| is_worldly(path, may_have_instants));
        let found: Vec<String> = found.chain(does(&source.code())).collect();
        violations.extend(found.iter().map(|what| format!("{}: {what}", source.path)));
    }
    violations
}

/// Whether a path is of the world outside the process, or of its tasks.
fn is_worldly(path: &str, may_have_instants: bool) -> bool {
    let names: Vec<&str> = path.split("::").collect();
    match names.as_slice() {
        ["tokio", "time", "Instant", ..] => !may_have_instants,
        ["std" | "core", "io"] | ["std", "io", "Error" | "ErrorKind" | "Result", ..] => false,
        // An address is a value.
        ["std" | "core", "net", "IpAddr"] => false,
        ["std" | "core", "env" | "fs" | "io" | "net" | "os" | "process" | "thread" | "*", ..] => true,
        _ => WORLDLY.iter().any(|worldly| path == *worldly || path.starts_with(&format!("{worldly}::"))),
    }
}

/// What the code does that is impure whatever it is done to: asking a clock by any name, waiting, printing.
fn does(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let has = |words: &[&str]| tokens.windows(words.len()).any(|window| window == words);
    let mut found = Vec::new();
    for clock in [["::", "now"].as_slice(), &["::", "elapsed"], &[".", "elapsed", "("]] {
        if has(clock) {
            found.push(clock.concat().trim_end_matches('(').to_owned());
        }
    }
    for word in ["async", "await"] {
        if uses(code, word).next().is_some() {
            found.push(word.to_owned());
        }
    }
    for print in ["print", "println", "eprint", "eprintln", "dbg"] {
        if has(&[print, "!"]) {
            found.push(format!("{print}!"));
        }
    }
    found
}

#[test]
fn what_decides_touches_nothing() {
    none(&impure(&sources(&["src"])));
}

#[test]
fn every_pure_place_is_there() {
    let sources = files(&["src"], "rs");
    for place in PURE.iter().chain(&NOT_PURE) {
        assert!(sources.iter().any(|source| source.is_among(&[place])), "{place} is not there");
    }
}

mod catches {
    use super::*;

    const PLACES: [&str; 5] = [
        "src/s3/sign.rs",
        "src/s3/object/get.rs",
        "src/engine/decide/plan.rs",
        "src/engine/pace/tail.rs",
        "src/wire/client/retry.rs",
    ];

    fn caught(text: &str, expected: &str) {
        for place in PLACES {
            check(impure, place, text, &format!("{place}: {expected}"));
        }
        check(impure, "src/wire/client/call.rs", text, "");
        check(impure, "src/engine/pace/admission.rs", text, "");
    }

    fn free(text: &str) {
        for place in PLACES {
            check(impure, place, text, "");
        }
    }

    #[test]
    fn files_and_sockets() {
        caught("use std::fs;", "std::fs");
        caught("use std::fs::File;", "std::fs::File");
        caught("fn f() { std::fs::read(\"a\") }", "std::fs::read");
        caught("use std::net::TcpStream;", "std::net::TcpStream");
        caught("use std::net::{IpAddr, UdpSocket};", "std::net::UdpSocket");
        caught("use std::os::unix::net::UnixStream;", "std::os::unix::net::UnixStream");
        caught("use socket2::Socket;", "socket2::Socket");
        caught("use hyper::body::Incoming;", "hyper::body::Incoming");
        caught("use hyper_util::rt::TokioIo;", "hyper_util::rt::TokioIo");
        caught("fn f() { rustix::fs::statvfs(a) }", "rustix::fs::statvfs");
        caught("use std::io::Read;", "std::io::Read");
        caught("use std::io;\nfn f() { io::stdin() }", "std::io::stdin");
        caught("use std::io::prelude::*;", "std::io::prelude::*");
    }

    #[test]
    fn the_process() {
        caught("let a = std::env::var(\"A\");", "std::env::var");
        caught("std::process::exit(1)", "std::process::exit");
        caught("std::thread::sleep(a)", "std::thread::sleep");
        caught("println!(\"a\")", "println!");
        caught("dbg!(a)", "dbg!");
        caught("use tracing::debug;", "tracing::debug");
        caught("tracing::warn!(\"a\")", "tracing::warn");
        caught("#[tracing::instrument]\nfn f() {}", "tracing::instrument");
    }

    #[test]
    fn clocks_and_chance() {
        caught("let now = SystemTime::now();", "::now");
        caught("let now = std::time::Instant::now();", "::now");
        caught("use std::time::Instant as Clock;\nlet now = Clock::now();", "::now");
        caught("type Clock = std::time::Instant;\nlet now = Clock::now();", "::now");
        caught("let now = <Instant>::now();", "::now");
        caught("let now = Instant :: now;", "::now");
        caught("let now = Instant::/* later */now();", "::now");
        caught("let now = Instant::r#now();", "::now");
        caught("let now = or.unwrap_or_else(Instant::now);", "::now");
        caught("fn f(a: Instant) -> Duration { a.elapsed() }", ".elapsed");
        caught("a\n    .elapsed()", ".elapsed");
        caught("SystemTime::elapsed(&a)", "::elapsed");
        caught("fastrand::u64(..)", "fastrand::u64");
        caught("use fastrand as dice;\ndice::u64(..)", "fastrand::u64");
        caught("use ring::rand::SystemRandom;", "ring::rand::SystemRandom");
    }

    #[test]
    fn tasks() {
        caught("use tokio::sync::Notify;", "tokio::sync::Notify");
        caught("use tokio::time;", "tokio::time");
        caught("use tokio::time::{Instant, sleep};", "tokio::time::sleep");
        caught("use tokio::time as t;\nfn f(_: t::Instant) { t::sleep(a) }", "tokio::time::sleep");
        caught("use tokio::*;", "tokio::*");
        caught("extern crate tokio;", "tokio");
        caught("tokio::select! {}", "tokio::select");
        caught("fn f(now: tokio::time::Instant) { tokio::time::Instant::now() }", "::now");
        caught("pub async fn f() {}", "async");
        caught("fn f() { g(async move {}) }", "async");
        caught("a.await", "await");
        check(impure, "src/s3/sign.rs", "use tokio::time::Instant;", "tokio::time::Instant");
        check(impure, "src/engine/decide/plan.rs", "use tokio::time::Instant;", "tokio::time::Instant");
    }

    #[test]
    fn impurity_under_other_names() {
        caught("use std::{fs, io};", "std::fs");
        caught(
            "use std::{\n    fmt,\n    collections::{BTreeMap, btree_map::Entry},\n    net::{self, IpAddr},\n};",
            "std::net",
        );
        caught("use std::{self, env::{self}};", "std::env");
        caught("use std::fs as disk;", "std::fs");
        caught("use std::{fs as disk};", "std::fs");
        caught("use {std::fs as disk, std::fmt};", "std::fs");
        caught("use std as s;\nfn f() { s::fs::read(\"a\") }", "std::fs::read");
        caught("use std as s;\nuse s::fs;", "std::fs");
        caught("use std::{self as s};\nfn f() { s::fs::read(\"a\") }", "std::fs::read");
        caught("extern crate std as s;\nfn f() { s::fs::read(\"a\") }", "std::fs::read");
        caught("use ::std::fs;", "std::fs");
        caught("fn f() { ::std::fs::read(\"a\") }", "std::fs::read");
        caught("use std::r#fs;", "std::fs");
        caught("use std::*;", "std::*");
        caught("use std :: fs;", "std::fs");
        caught("use std::/* the disk */fs;", "std::fs");
        caught("pub use std::fs;", "std::fs");
        caught("fn f() {\n    use std::fs;\n}", "std::fs");
        caught("mod inner {\n    use std::fs;\n}", "std::fs");
        caught("macro_rules! read {\n    () => {\n        std::fs::read(\"a\")\n    };\n}", "std::fs::read");
        caught("#[cfg(not(test))]\nuse std::fs;", "std::fs");
        caught("#[cfg(any(test, unix))]\nuse std::fs;", "std::fs");
        caught("use crate as root;\nuse std::fs;\nfn f() { root::s3::f() }", "std::fs");
    }

    #[test]
    fn nothing_where_time_is_passed_in() {
        free("use std::time::SystemTime;\nfn f(now: SystemTime) { now.duration_since(SystemTime::UNIX_EPOCH) }");
        free("fn f(told: Told) { told.elapsed.min(a) }");
        free("fn now(&self) { self.now; }\nlet now = 1;");
        free("use std::io;\nfn f() -> io::Result<()> { Err(io::Error::from(io::ErrorKind::Other)) }");
        free("use crate::mutation::{self, Mutation};");
        free("use ring::digest;\nuse std::sync::Arc;\nuse std::fmt;");
        free("// std::fs, Instant::now(), async\nconst A: &str = \"std::fs Instant::now() .await\";");
        free("#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() {\n        Instant::now();\n    }\n}");
        for place in ["src/engine/pace/tail.rs", "src/wire/client/retry.rs"] {
            check(impure, place, "use tokio::time::Instant;\nfn f(now: Instant) { now - a }", "");
            check(impure, place, "fn f(now: tokio::time::Instant) {}", "");
        }
    }
}
