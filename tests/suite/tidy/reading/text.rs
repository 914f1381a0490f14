//! The text of a Rust file: comments, strings and test-only items taken out, and what is left in words.

/// What a piece of a text is.
enum Piece {
    Code,
    Comment,
    Literal,
    Letter,
}

/// What begins at a character, and behind which one it ends.
fn piece(chars: &[char], from: usize) -> (Piece, usize) {
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let end_by = |mut index: usize, quote: char| {
        while index < chars.len() && at(index) != quote {
            index += if at(index) == '\\' { 2 } else { 1 };
        }
        (index + 1).min(chars.len())
    };
    let begins_word = from == 0 || !is_word(at(from - 1)) || matches!(at(from - 1), 'b' | 'c');
    let hashes = (from + 1..chars.len()).take_while(|index| at(*index) == '#').count();
    match (at(from), at(from + 1)) {
        ('/', '/') => (Piece::Comment, (from..chars.len()).find(|index| at(*index) == '\n').unwrap_or(chars.len())),
        ('/', '*') => (Piece::Comment, end_of_comment(chars, from)),
        ('r', '"' | '#') if begins_word && at(from + 1 + hashes) == '"' => {
            let mut end = from + 2 + hashes;
            while end < chars.len() && !(at(end) == '"' && (1..=hashes).all(|hash| at(end + hash) == '#')) {
                end += 1;
            }
            (Piece::Literal, (end + 1 + hashes).min(chars.len()))
        }
        ('"', _) => (Piece::Literal, end_by(from + 1, '"')),
        ('\'', '\\') => (Piece::Letter, end_by(from + 1, '\'')),
        ('\'', _) if at(from + 2) == '\'' => (Piece::Letter, from + 3),
        _ => (Piece::Code, from + 1),
    }
}

/// Behind which character a block comment ends; it may hold others.
fn end_of_comment(chars: &[char], from: usize) -> usize {
    let (mut index, mut depth) = (from, 0);
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => depth += 1,
            ('*', Some('/')) => depth -= 1,
            _ => {
                index += 1;
                continue;
            }
        }
        index += 2;
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

fn pieces(text: &str, mut each: impl FnMut(Piece, &[char])) {
    let chars: Vec<char> = text.chars().collect();
    let mut index = 0;
    while index < chars.len() {
        let (kind, end) = piece(&chars, index);
        each(kind, &chars[index..end]);
        index = end;
    }
}

/// The text without comments and without what is in strings; lines stay where they are.
pub(crate) fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    pieces(text, |kind, piece| match kind {
        Piece::Code => out.extend(piece),
        Piece::Comment | Piece::Literal | Piece::Letter => {
            // Words on both sides of a comment are two words.
            out.push_str(if matches!(kind, Piece::Literal) { "\"\"" } else { " " });
            out.extend(piece.iter().filter(|c| **c == '\n'));
        }
    });
    out
}

/// The text without comments; strings and lines stay as they are.
pub(crate) fn uncommented(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    pieces(text, |kind, piece| match kind {
        Piece::Comment => out.extend(piece.iter().filter(|c| **c == '\n')),
        Piece::Code | Piece::Literal | Piece::Letter => out.extend(piece),
    });
    out
}

/// What is in the strings, in their order: one for each `""` of the bare text.
pub(crate) fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    pieces(text, |kind, piece| {
        if matches!(kind, Piece::Literal) {
            let literal: String = piece.iter().collect();
            found.push(literal.trim_start_matches('r').trim_matches('#').trim_matches('"').to_owned());
        }
    });
    found
}

/// Code without its `#[cfg(test)]` items. rustfmt has put the end of an item where its beginning is.
pub(crate) fn untested(code: &str) -> String {
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
        if item.next().is_some_and(|head| !head.trim_end().ends_with([';', ',', '}'])) {
            let _ = item.find(|line| line.starts_with(&end));
        }
    }
    kept
}

/// Every place where `word` stands in `code` as a word of its own: what follows it.
pub(crate) fn uses<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let after = &code[at + word.len()..];
        let alone = !code[..at].ends_with(is_word) && !after.starts_with(is_word);
        alone.then_some(after)
    })
}

/// The attributes in bare code without their last bracket, and where each begins.
pub(crate) fn attributes(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.match_indices("#[").chain(code.match_indices("#![")).map(|(at, _)| {
        let mut depth = 0;
        let ends = |c: char| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            depth == 0 && c == ']'
        };
        let attribute = &code[at..];
        (at, &attribute[..attribute.find(ends).unwrap_or(attribute.len())])
    })
}

/// Bare code as words, `::` and single marks. `r#fs` is the word `fs`.
pub(crate) fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let raw = rest.strip_prefix("r#").filter(|name| name.starts_with(is_word));
        rest = raw.unwrap_or(rest);
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let length = match word {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            length => length,
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

mod reads {
    use super::*;

    #[test]
    fn comments_in_comments_as_one() {
        assert_eq!(tokens(&bare("a /* \\ /* b */ c */ d // e")), ["a", "d"]);
        assert_eq!(tokens(&bare("use/**/std::fs;")), ["use", "std", "::", "fs", ";"]);
        assert_eq!(tokens("r#use::r#fs br x"), ["use", "::", "fs", "br", "x"]);
    }

    #[test]
    fn strings_in_their_order() {
        assert_eq!(literals("\"a\" /* \"b\" */ r#\"c\"d\"# b\"\\\"\" '\"' \"\""), ["a", "c\"d", "\\", ""]);
    }

    #[test]
    fn code_beside_comments_and_strings() {
        assert_eq!(uncommented("a(\"// b\"); // c\nd").trim(), "a(\"// b\"); \nd");
    }
}
