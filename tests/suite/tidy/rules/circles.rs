//! That no two files of a floor need each other, by whatever way round.

use crate::tidy::reading::names::named;
use crate::tidy::reading::source::{Source, sources};
use crate::tidy::rules::{check_all, none};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// For each file of a floor the files of it that it names, with the names.
type Arrows = Vec<BTreeMap<usize, BTreeSet<String>>>;

/// Files that name each other, floor by floor; the package of the embedded servers is one floor.
fn circles(sources: &[Source]) -> Vec<String> {
    let mut floors: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources {
        let floor = if source.path.starts_with("fakes/") { Some("fakes") } else { source.module().first().copied() };
        if let Some(floor) = floor.filter(|floor| *floor != "bin") {
            floors.entry(floor).or_default().push(source);
        }
    }
    let mut violations = Vec::new();
    for (floor, files) in floors {
        let arrows = arrows(&files);
        let reached: Vec<BTreeSet<usize>> = (0..files.len()).map(|file| reached(&arrows, file)).collect();
        let mut seen = BTreeSet::new();
        for file in 0..files.len() {
            let circle: Vec<usize> =
                reached[file].iter().copied().filter(|other| reached[*other].contains(&file)).collect();
            if circle.len() > 1 && seen.insert(circle.clone()) {
                let paths: Vec<&str> = circle.iter().map(|file| files[*file].path.as_str()).collect();
                let shown = shortest(&arrows, &circle).into_iter().map(|(from, to)| {
                    let names: Vec<&str> = arrows[from][&to].iter().map(String::as_str).collect();
                    format!("\n    {} names {} of {}", files[from].path, names.join(", "), files[to].path)
                });
                violations.push(format!("{floor}: a circle of {}{}", paths.join(", "), shown.collect::<String>()));
            }
        }
    }
    violations
}

fn arrows(files: &[&Source]) -> Arrows {
    let modules: Vec<Vec<&str>> = files.iter().map(|file| file.module()).collect();
    let mut arrows: Arrows = vec![BTreeMap::new(); files.len()];
    for (from, file) in files.iter().enumerate() {
        for path in named(file) {
            let Some(inner) = path.strip_prefix("crate::") else { continue };
            let names: Vec<&str> = inner.split("::").collect();
            let above = (0..files.len()).filter(|to| names.starts_with(&modules[*to]));
            if let Some(to) = above.max_by_key(|to| modules[*to].len()).filter(|to| *to != from) {
                arrows[from].entry(to).or_default().insert(inner.to_owned());
            }
        }
    }
    arrows
}

/// The files to which arrows lead from a file, over however many others.
fn reached(arrows: &Arrows, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        open.extend(arrows[file].keys().filter(|to| reached.insert(**to)));
    }
    reached
}

/// The arrows of the shortest way round among these files.
fn shortest(arrows: &Arrows, circle: &[usize]) -> Vec<(usize, usize)> {
    let ways = circle.iter().map(|start| {
        let mut came: BTreeMap<usize, usize> = BTreeMap::new();
        let mut open = VecDeque::from([*start]);
        while let Some(file) = open.pop_front() {
            for to in arrows[file].keys().filter(|to| circle.contains(*to)) {
                if !came.contains_key(to) {
                    came.insert(*to, file);
                    open.push_back(*to);
                }
            }
        }
        let mut way = Vec::new();
        let mut file = *start;
        while way.is_empty() || file != *start {
            way.push((came[&file], file));
            file = came[&file];
        }
        way.reverse();
        way
    });
    ways.min_by_key(Vec::len).unwrap_or_default()
}

#[test]
fn no_two_files_of_a_floor_need_each_other() {
    none(&circles(&sources(&["src", "fakes/src"])));
}

mod catches {
    use super::*;

    const ROOT: (&str, &str) = ("src/engine/mod.rs", "pub mod a;\npub mod b;\npub mod c;");

    /// A circle of two files: one with this text, and one that names it.
    fn caught(text: &str) {
        let files = [ROOT, ("src/engine/a.rs", text), ("src/engine/b.rs", "use crate::engine::a::A;")];
        check_all(circles, &files, "engine: a circle of src/engine/a.rs, src/engine/b.rs");
    }

    fn free(text: &str) {
        let files = [ROOT, ("src/engine/a.rs", text), ("src/engine/b.rs", "use crate::engine::a::A;")];
        check_all(circles, &files, "");
    }

    #[test]
    fn two_files_that_name_each_other() {
        caught("use crate::engine::b::B;");
        caught("use crate::engine::b;");
        caught("use crate::engine::{b::B, c};");
        caught("use crate::{\n    engine::{\n        b::{self, B},\n        c,\n    },\n    s3,\n};");
        caught("fn f(_: Vec<crate::engine::b::B>) {}");
        caught("fn f() { crate::engine::b::f::<u8>() }");
        caught("pub use crate::engine::b::B;");
        caught("use super::b::B;");
        caught("use super::{b::B};");
        caught("use xpsync::engine::b::B;");
        caught("mod inner {\n    use super::super::b::B;\n}");
        caught("fn f() {\n    use crate::engine::b::B;\n}");
    }

    #[test]
    fn two_files_that_name_each_other_under_other_names() {
        caught("use crate as root;\nuse root::engine::b::B;");
        caught("use crate::engine as e;\nfn f(_: e::b::B) {}");
        caught("use crate::engine;\nfn f(_: engine::b::B) {}");
        caught("use super as up;\nfn f(_: up::b::B) {}");
        caught("use crate::engine::*;\nfn f(_: b::B) {}");
        caught("use crate::engine::r#b::B;");
        caught("macro_rules! f {\n    () => {\n        $crate::engine::b::f()\n    };\n}");
    }

    #[test]
    fn longer_circles() {
        let files = [
            ("src/wire/mod.rs", "pub mod a;"),
            ("src/wire/a.rs", "use crate::wire::b::B;"),
            ("src/wire/b.rs", "use crate::wire::c::{C, D};"),
            ("src/wire/c/mod.rs", "pub mod d;\nuse crate::wire::a::A;"),
            ("src/wire/c/d.rs", "use crate::wire::a::A;"),
        ];
        check_all(circles, &files, "wire: a circle of src/wire/a.rs, src/wire/b.rs, src/wire/c/mod.rs\n");
        check_all(circles, &files, "\n    src/wire/b.rs names wire::c::C, wire::c::D of src/wire/c/mod.rs");
    }

    #[test]
    fn a_folder_and_its_file() {
        let files = |folder| [("src/wire/net/mod.rs", folder), ("src/wire/net/pool.rs", "use crate::wire::net::Net;")];
        let circle = "wire: a circle of src/wire/net/mod.rs, src/wire/net/pool.rs";
        check_all(circles, &files("pub mod pool;\npub use pool::Pool;"), circle);
        check_all(circles, &files("pub mod pool;\npub use self::pool::Pool;"), circle);
        check_all(circles, &files("pub mod pool;\nfn f() { pool::f() }"), circle);
        check_all(circles, &files("pub mod pool;\nfn f() { crate::wire::net::pool::f() }"), circle);
        check_all(circles, &files("pub mod pool;"), "");
    }

    #[test]
    fn circles_of_the_embedded_servers() {
        let files =
            |state| [("fakes/src/store/state.rs", state), ("fakes/src/s3/call.rs", "use crate::store::state::S;")];
        check_all(circles, &files("use crate::s3::call::Call;"), "fakes: a circle of fakes/src/store/state.rs");
        check_all(circles, &files("use fakes::s3::call::Call;"), "fakes: a circle of fakes/src/store/state.rs");
        check_all(circles, &files("use crate::s3::keys::Keys;"), "");
    }

    #[test]
    fn no_circle_where_arrows_lead_one_way() {
        free("use crate::engine::c::C;");
        free("use crate::engine::a::A;\nfn f(_: crate::engine::a::B) {}");
        free("use crate::s3::b::B;\nuse b::B;");
        free("// crate::engine::b::B\nconst B: &str = \"crate::engine::b::B\";");
        free("pub(in crate::engine) struct A;");
    }

    #[test]
    fn no_circle_by_way_of_tests() {
        free("#[cfg(test)]\nmod tests {\n    use crate::engine::b::B;\n}");
        free("#[cfg(test)]\nuse crate::engine::b::B;\n");
    }
}
