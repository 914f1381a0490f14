//! What the code of a file names: each path from its root, whatever it was imported as.

use crate::tidy::reading::source::Source;
use crate::tidy::reading::text::{is_word, tokens};
use std::collections::BTreeSet;

/// How often a name of an import is looked up among the imports: further than anybody goes, and an end for circles.
const STEPS: usize = 5;

/// One name that an import brings in.
pub(crate) struct Import {
    /// As it is written, groups taken apart.
    pub(crate) written: Vec<String>,
    /// The name it is given by `as`.
    pub(crate) renamed: Option<String>,
    path: Vec<String>,
    name: Name,
}

enum Name {
    One(String),
    All,
}

/// What the code of a file imports, declares and names.
pub(crate) struct Names {
    /// Its imports.
    pub(crate) imports: Vec<Import>,
    modules: Vec<Vec<String>>,
    paths: Vec<Vec<String>>,
}

/// The paths that a file names in a build without tests: `crate::…`, or from the name of another crate. Names that two
/// imports share are both, and what a `*` may bring in is taken to come from there.
pub(crate) fn named(source: &Source) -> BTreeSet<String> {
    Names::of(source, &source.code()).absolute()
}

impl Names {
    /// Reads bare code of a file.
    pub(crate) fn of(source: &Source, code: &str) -> Self {
        let mut names = Self { imports: Vec::new(), modules: Vec::new(), paths: Vec::new() };
        let tokens = tokens(code);
        let mut here =
            Here { names: &mut names, source, module: owned(&source.module()), inline: Vec::new(), depth: 0 };
        let mut rest = tokens.as_slice();
        let mut before = "";
        while let [first, ..] = rest {
            let taken = here.take(rest, before).max(1);
            before = if taken == 1 { first } else { "" };
            rest = &rest[taken..];
        }
        names
    }

    fn absolute(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for import in &self.imports {
            let mut path = import.path.clone();
            if matches!(import.name, Name::All) {
                path.push("*".to_owned());
            }
            self.look_up(&path, STEPS, &mut found);
        }
        for path in &self.paths {
            self.look_up(path, STEPS, &mut found);
        }
        found
    }

    /// What a path stands for, its first name looked up among imports and modules of the file.
    fn look_up(&self, path: &[String], steps: usize, found: &mut BTreeSet<String>) {
        let [first, rest @ ..] = path else { return };
        if first.is_empty() || first == "crate" || steps == 0 {
            let from = usize::from(first.is_empty());
            found.insert(path[from..].join("::"));
            return;
        }
        let mut is_ours = false;
        for import in &self.imports {
            match &import.name {
                Name::One(name) if name == first => {
                    is_ours = true;
                    // `use md5::{self}` says no more than `md5` does.
                    let steps = if import.path.first() == Some(name) { 0 } else { steps - 1 };
                    self.look_up(&[&import.path, rest].concat(), steps, found);
                }
                Name::All if import.path.first() != Some(first) => {
                    self.look_up(&[&import.path, path].concat(), steps - 1, found);
                }
                Name::One(_) | Name::All => {}
            }
        }
        for module in self.modules.iter().filter(|module| module.last() == Some(first)) {
            is_ours = true;
            found.insert([module, rest].concat().join("::"));
        }
        if !is_ours {
            found.insert(path.join("::"));
        }
    }
}

/// Where in a file the reader is.
struct Here<'a> {
    names: &'a mut Names,
    source: &'a Source,
    module: Vec<String>,
    inline: Vec<usize>,
    depth: usize,
}

impl Here<'_> {
    /// Reads what the tokens begin with, and says how many that were.
    fn take(&mut self, tokens: &[&str], before: &str) -> usize {
        match tokens {
            ["{", ..] => self.depth += 1,
            ["}", ..] => {
                self.depth = self.depth.saturating_sub(1);
                if self.inline.last() == Some(&self.depth) {
                    self.inline.pop();
                    self.module.pop();
                }
            }
            ["mod", name, ";" | "{", ..] if name.starts_with(is_word) => {
                let module = [self.module.as_slice(), &[(*name).to_owned()]].concat();
                self.names.modules.push([&["crate".to_owned()], module.as_slice()].concat());
                if tokens[2] == "{" {
                    self.inline.push(self.depth);
                    self.depth += 1;
                    self.module = module;
                }
                return 3;
            }
            // What may see an item is no use of it.
            ["pub", "(", "in", ..] => return until(tokens, ")"),
            // With an angle it says which lifetimes a type has.
            ["use", next, ..] if *next != "<" => {
                let end = until(tokens, ";");
                self.import(&mut Vec::new(), &tokens[1..end]);
                return end;
            }
            ["extern", "crate", ..] => {
                let end = until(tokens, ";");
                if let ["self", "as", other, ..] = &tokens[2..end] {
                    self.add(&owned(&["crate"]), Some((*other).to_owned()), Name::One((*other).to_owned()));
                } else {
                    // Another crate is meant even where a module has the same name.
                    self.import(&mut vec![String::new()], &tokens[2..end]);
                }
                return end;
            }
            [first, ..] if *first == "::" || first.starts_with(is_word) => return self.path(tokens, before),
            _ => {}
        }
        1
    }

    /// A path of an expression, a type or a macro. One name alone is no path: if it was imported, the import is one.
    fn path(&mut self, tokens: &[&str], before: &str) -> usize {
        let mut path = Vec::new();
        let mut taken = 0;
        // What follows an angle ends a path that has been read: `<T>::now`.
        if tokens[0] == "::" {
            taken = 1;
            if before != ">" {
                path.push("");
            }
        }
        while let Some(name) = tokens.get(taken).filter(|token| token.starts_with(is_word)) {
            path.push(name);
            taken += 1;
            match tokens.get(taken..) {
                Some(["::", next, ..]) if next.starts_with(is_word) => taken += 1,
                _ => break,
            }
        }
        if path.len() > 1 {
            let path = self.placed(&owned(&path));
            self.names.paths.push(path);
        }
        taken
    }

    /// The names of a use tree below a path.
    fn import(&mut self, above: &mut Vec<String>, tree: &[&str]) {
        let depth = above.len();
        let mut rest = tree;
        loop {
            match rest {
                ["::", after @ ..] => {
                    if above.is_empty() {
                        above.push(String::new());
                    }
                    rest = after;
                }
                ["{", ..] => {
                    let mut level = 0;
                    let inner = &rest[1..];
                    let ends = |token: &&str| {
                        level += i32::from(*token == "{") - i32::from(*token == "}");
                        level < 0 || (level == 0 && *token == ",")
                    };
                    inner.split(ends).take_while(|tree| !tree.is_empty()).for_each(|tree| self.import(above, tree));
                    break;
                }
                ["*", ..] => {
                    self.add(above, None, Name::All);
                    break;
                }
                [name, after @ ..] if name.starts_with(is_word) => {
                    if !(*name == "self" && depth > 0 && above.len() == depth) {
                        above.push((*name).to_owned());
                    }
                    rest = after;
                    if !matches!(rest, ["::", ..]) {
                        let renamed = if let ["as", other, ..] = rest { Some((*other).to_owned()) } else { None };
                        let name = renamed.clone().or_else(|| above.last().cloned()).unwrap_or_default();
                        self.add(above, renamed, Name::One(name));
                        break;
                    }
                }
                _ => break,
            }
        }
        above.truncate(depth);
    }

    fn add(&mut self, written: &[String], renamed: Option<String>, name: Name) {
        let path = self.placed(written);
        self.names.imports.push(Import { written: written.to_vec(), renamed, path, name });
    }

    /// The path from `crate` if it begins there, or at this module or above it.
    fn placed(&self, path: &[String]) -> Vec<String> {
        let own = if self.source.path.starts_with("fakes/") { "fakes" } else { "xpsync" };
        let begin =
            usize::from(path.first().is_some_and(String::is_empty) && path.get(1).is_some_and(|name| name == own));
        let path = &path[begin..];
        let mut module: &[String] = match path.first().map(String::as_str) {
            Some("crate") => &[],
            Some(name) if name == own => &[],
            Some("self" | "super") => &self.module,
            _ => return path.to_vec(),
        };
        let mut rest = path;
        while let [first, after @ ..] = rest
            && (matches!(first.as_str(), "crate" | "self" | "super") || rest.len() == path.len())
        {
            if first == "super" {
                module = module.split_last().map_or(&[], |(_, above)| above);
            }
            rest = after;
        }
        [&["crate".to_owned()], module, rest].concat()
    }
}

fn until(tokens: &[&str], end: &str) -> usize {
    tokens.iter().position(|token| *token == end).map_or(tokens.len(), |at| at + 1)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

mod reads {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found = named(&Source::new("src/s3/etag.rs", text));
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn paths_from_the_root() {
        check(
            "use crate::a::{self, b, c::{D, e::*}};",
            &["crate::a", "crate::a::b", "crate::a::c::D", "crate::a::c::e::*"],
        );
        check("use self::a; use super::b; use super::super::c;", &["crate::c", "crate::s3::b", "crate::s3::etag::a"]);
        check(
            "mod inner { use super::a; fn f() { super::super::b::c() } } use self::d;",
            &["crate::s3::b::c", "crate::s3::etag::a", "crate::s3::etag::d"],
        );
        check(
            "fn f(_: Vec<crate::a::B>) -> xpsync::c::D { ..crate::e::F }",
            &["crate::a::B", "crate::c::D", "crate::e::F"],
        );
        check("pub(in crate::a::b) fn f<'a>() -> impl A + use<'a> { mod_of::<crate::c::D>::e() }", &["crate::c::D"]);
    }

    #[test]
    fn names_of_imports() {
        check(
            "use std::{fs, io}; fn f() { fs::read(); io::stdin() }",
            &["std::fs", "std::fs::read", "std::io", "std::io::stdin"],
        );
        check("use std::fs as disk; disk::read();", &["std::fs", "std::fs::read"]);
        check("use std as s; use s::fs; fs::read();", &["std", "std::fs", "std::fs::read"]);
        check("extern crate std as s; s::fs::read();", &["std", "std::fs::read"]);
        check("extern crate self as s; s::a::b();", &["crate", "crate::a::b"]);
        check("use crate as root; root::a::b();", &["crate", "crate::a::b"]);
        check("use crate::{self as root}; root::a::b();", &["crate", "crate::a::b"]);
        check("use super::super as root; use root::a;", &["crate", "crate::a"]);
        check("use ::std::r#fs; ::std::env::var();", &["std::env::var", "std::fs"]);
        check("use md5::{self, Md5}; md5::new();", &["md5", "md5::Md5", "md5::new"]);
    }

    #[test]
    fn names_that_are_declared_or_may_be() {
        check("mod a; fn f() { a::b() }", &["crate::s3::etag::a::b"]);
        check("use crate::b::*; fn f() { a::c() }", &["a::c", "crate::b::*", "crate::b::a::c"]);
    }
}
