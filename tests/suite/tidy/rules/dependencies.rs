//! What the package depends on, and what the function links.

use crate::tidy::reading::text::first_word;
use std::path::Path;
use std::process::Command;

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

const NONE: [String; 0] = [];

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
        let good = "app v0.1.0 (x)\nrustls v0.23.46\nhyper v1.12.0\nring v0.17.14\nhyper v1.12.0 \
                    (*)\nrustls-pki-types v1.1.0\n";
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
