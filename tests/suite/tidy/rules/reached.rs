//! That a file of the product is compiled at its own place only.

use crate::tidy::reading::source::{Source, files};
use crate::tidy::reading::text::{attributes, bare, literals, uses};
use crate::tidy::rules::{check, none};

/// Modules whose file is named by hand, and files that are pasted in. The product has none; others have none of the
/// product's.
fn reached(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let code = bare(&source.text);
        let literals = literals(&source.text);
        // The string that comes next.
        let literal = |at: usize| literals.get(code[..at].matches("\"\"").count()).map_or("", String::as_str);
        let place = |after: &str| code.len() - after.len();
        let mut found = Vec::new();
        for (at, attribute) in attributes(&code) {
            let inside = &code[at..at + attribute.len()];
            let is_set = |after: &&str| after.trim_start().starts_with('=');
            found.extend(uses(inside, "path").filter(is_set).map(|after| {
                let name = literal(at + inside.len() - after.len());
                (format!("#[path = \"{name}\"]"), name)
            }));
        }
        let is_macro = |after: &&str| after.trim_start().starts_with('!');
        found.extend(uses(&code, "include").filter(is_macro).map(|after| {
            let name = literal(place(after));
            (format!("include!(\"{name}\")"), name)
        }));
        let is_bad = |name: &str| source.is_product() || leads_into_product(&source.path, name);
        let found = found.into_iter().filter(|(_, name)| is_bad(name));
        violations.extend(found.map(|(shown, _)| format!("{}: {shown}", source.path)));
    }
    violations
}

/// Whether a path that stands in a file leads into the product. In a module inside the file it begins further below, so
/// what is left without its way up is looked at too.
fn leads_into_product(file: &str, path: &str) -> bool {
    let mut place: Vec<&str> = file.split('/').collect();
    place.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(place.pop()),
            name => place.push(name),
        }
    }
    let below: Vec<&str> = path.split('/').skip_while(|part| matches!(*part, "." | ".." | "")).collect();
    let is_product = |parts: &[&str]| Source::new(&parts.join("/"), "").is_product();
    is_product(&place) || is_product(&below) || path.starts_with('/')
}

#[test]
fn no_file_of_the_product_is_compiled_elsewhere() {
    let folders = ["src", "fakes/src", "tests", "benches", "examples", "fuzz/src", "fuzz/fuzz_targets"];
    none(&reached(&files(&folders, "rs")));
}

mod catches {
    use super::*;

    #[test]
    fn files_named_by_hand_in_the_product() {
        let check = |text, expected| {
            check(reached, "src/s3/mod.rs", text, expected);
            check(reached, "fakes/src/s3/mod.rs", text, expected);
        };
        check("#[path = \"../wire/pool.rs\"]\nmod pool;", "#[path = \"../wire/pool.rs\"]");
        check("#[path=\"etag_2.rs\"] mod etag;", "#[path = \"etag_2.rs\"]");
        check("#[path = r\"etag_2.rs\"]\nmod etag;", "#[path = \"etag_2.rs\"]");
        check("#[cfg_attr(unix, path = \"etag_2.rs\")]\nmod etag;", "#[path = \"etag_2.rs\"]");
        check("#[cfg_attr(\n    all(),\n    path = \"etag_2.rs\"\n)]\nmod etag;", "#[path = \"etag_2.rs\"]");
        check("#[path /* \"a\" */ = /* \"b\" */ \"etag_2.rs\"]\nmod etag;", "#[path = \"etag_2.rs\"]");
        check("#[cfg(test)]\n#[path = \"etag_2.rs\"]\nmod etag;", "#[path = \"etag_2.rs\"]");
        check("const A: &str = \"a\";\n#[path = \"b.rs\"]\nmod b;", "#[path = \"b.rs\"]");
        check("include!(\"../wire/pool.rs\");", "include!(\"../wire/pool.rs\")");
        check("include! { \"../wire/pool.rs\" }", "include!(\"../wire/pool.rs\")");
    }

    #[test]
    fn ways_from_tests_and_benches_into_the_product() {
        let check = |path, text| check(reached, path, text, "#[path = ");
        check("tests/suite/network/border.rs", "#[path = \"../../../src/s3/etag.rs\"]\nmod etag;");
        check("tests/suite/network/border.rs", "#[path = \"../../../fakes/src/net/border.rs\"]\nmod border;");
        check("tests/suite/border.rs", "#[path = \"../../benches/../src/s3/etag.rs\"]\nmod etag;");
        check("tests/suite/border.rs", "#[path = \".././../src//s3/etag.rs\"]\nmod etag;");
        check("tests/suite/border.rs", "mod a {\n    #[path = \"../../../../src/s3/etag.rs\"]\n    mod etag;\n}");
        check("tests/suite/border.rs", "#[path = \"/a/src/s3/etag.rs\"]\nmod etag;");
        check("benches/plan.rs", "#[path = \"../src/engine/plan.rs\"]\nmod plan;");
        check("benches/plan.rs", "#[cfg_attr(all(), path = \"../src/engine/plan.rs\")]\nmod plan;");
        self::check(reached, "benches/plan.rs", "include!(\"../src/engine/plan.rs\");", "include!(");
    }

    #[test]
    fn no_ways_that_lead_elsewhere() {
        let check = |path, text| check(reached, path, text, "");
        check("tests/suite/network/border.rs", "#[path = \"../../../benches/border/link.rs\"]\nmod link;");
        check("src/s3/mod.rs", "mod etag;\nfn f(path: &str) { let path = \"a\"; }");
        check(
            "src/s3/mod.rs",
            "// #[path = \"a.rs\"]\nconst A: &str = \"#[path = \\\"a.rs\\\"] include!(\\\"a\\\")\";",
        );
        check("src/s3/mod.rs", "const A: &str = include_str!(\"a.json\");");
        check("src/s3/mod.rs", "#[serde(rename = \"path\")]\nstruct A;");
    }
}
