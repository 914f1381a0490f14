//! How wide prose may be, in comments and in Markdown: what rustfmt leaves alone.

use crate::tidy::reading::source::{Source, files};
use crate::tidy::reading::text::uncommented;
use crate::tidy::rules::{check, none};

/// Characters of a line.
const WIDEST: usize = 120;

fn wide_lines(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let is_prose: Vec<bool> =
            if source.path.ends_with(".md") { markdown(&source.text) } else { comments(&source.text) };
        for (index, line) in source.text.lines().enumerate() {
            let width = line.chars().count();
            if width > WIDEST && is_prose[index] && !is_link(line) {
                violations.push(format!("{}:{}: {width} characters", source.path, index + 1));
            }
        }
    }
    violations
}

/// Which lines of Rust have a comment on them.
fn comments(text: &str) -> Vec<bool> {
    let code = uncommented(text);
    let mut code = code.lines();
    text.lines().map(|line| code.next().unwrap_or_default().trim_end() != line.trim_end()).collect()
}

/// Which lines of Markdown are prose: those of tables and of fenced code are not.
fn markdown(text: &str) -> Vec<bool> {
    let mut fence = None;
    let is_prose = |line: &str| {
        let line = line.trim_start();
        let own = ["```", "~~~"].into_iter().find(|mark| line.starts_with(mark));
        match (fence, own) {
            (None, Some(_)) => fence = own,
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => return !line.starts_with('|'),
            (Some(_), _) => {}
        }
        false
    };
    text.lines().map(is_prose).collect()
}

/// Whether a line is one link or one address, which cannot be broken, behind the marks of a comment or of a list.
fn is_link(line: &str) -> bool {
    let line = line.trim().trim_start_matches(['/', '!', '-', '*', ' ']).trim_end_matches(['.', ',', ';']);
    let is_address = |text: &str| text.contains("://") && !text.contains(char::is_whitespace);
    let (is_named, target) = match line.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((_, target)) => (true, target),
        None => (false, line),
    };
    match (target.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')), target.strip_prefix(": ")) {
        (Some(inner), _) if is_named => !inner.contains(['(', ')']) && !inner.contains(char::is_whitespace),
        (_, Some(address)) if is_named => !address.contains(char::is_whitespace),
        _ => !is_named && is_address(line),
    }
}

#[test]
fn no_line_of_prose_is_too_wide() {
    let mut sources = files(&["src", "fakes/src", "md5s/src", "tests", "benches", "examples"], "rs");
    sources.extend(files(&["fuzz/src", "fuzz/fuzz_targets"], "rs"));
    sources.extend(files(&["README.md", "docs"], "md"));
    none(&wide_lines(&sources));
}

mod catches {
    use super::*;

    /// Prose of so many characters in all, behind what a line begins with.
    fn wide(begin: &str, width: usize) -> String {
        let rest = width - begin.chars().count();
        format!("{begin}{}", "wörd ".repeat(width).chars().take(rest - 1).chain(['.']).collect::<String>())
    }

    #[test]
    fn wide_comments() {
        let check = |text: &str, expected| check(wide_lines, "src/s3/a.rs", text, expected);
        for begin in ["// ", "/// ", "//! ", "    // ", "fn f() {} // ", "/* "] {
            check(&wide(begin, 121), "121 characters");
        }
        check(&format!("/*\n{}\n*/", wide(" * ", 121)), "src/s3/a.rs:2: 121 characters");
        check(&format!("fn f() {{}}\n{}", wide("// ", 121)), "src/s3/a.rs:2: 121 characters");
        check(&wide("// See https://example.com ", 130), "130 characters");
        check(&wide("/// ", 120), "");
        check(&wide("/// ", 120).replace('w', "ö"), "");
        check(&format!("// https://example.com/{}", "a".repeat(120)), "");
        check(&format!("/// [`A`]: https://example.com/{}", "a".repeat(120)), "");
    }

    #[test]
    fn no_wide_code() {
        let check = |text: &str| check(wide_lines, "src/s3/a.rs", text, "");
        check(&format!("const A: &str = \"// {}\";", wide("", 130)));
        check(&format!("const A: &str = r\"\n// {}\n\";", wide("", 130)));
        check(&format!("fn f() {{\n    // A short one.\n    g(\"{}\");\n}}", wide("", 130)));
    }

    #[test]
    fn wide_markdown() {
        let check = |text: &str, expected| check(wide_lines, "docs/a.md", text, expected);
        check(&wide("", 121), "docs/a.md:1: 121 characters");
        check(&wide("- ", 121), "121 characters");
        check(&wide("> ", 121), "121 characters");
        check(&wide("# ", 121), "121 characters");
        check(&wide("See [a](https://example.com) ", 121), "121 characters");
        check(&wide("[a](https://example.com) ", 121), "121 characters");
        check(&wide("a | b | ", 121), "121 characters");
        check(&format!("```sh\na\n```\n{}", wide("", 121)), "docs/a.md:4: 121 characters");
        check(&format!("```sh\n~~~\n```\n{}", wide("", 121)), "docs/a.md:4: 121 characters");
        check(&format!("{} [a](b)", wide("[a](b) ", 121)), "characters");
    }

    #[test]
    fn no_wide_tables_code_or_links() {
        let check = |text: &str| check(wide_lines, "docs/a.md", text, "");
        let long = "a".repeat(120);
        check(&wide("", 120));
        check(&wide("| ", 300));
        check(&format!("```sh\n{}\n```", wide("", 300)));
        check(&format!("  ~~~\n```\n{}\n  ~~~", wide("", 300)));
        check(&format!("https://example.com/{long}"));
        check(&format!("<https://example.com/{long}>"));
        check(&format!("[a name of some words](https://example.com/{long})"));
        check(&format!("- [a](https://example.com/{long})."));
        check(&format!("[a]: https://example.com/{long}"));
    }
}
