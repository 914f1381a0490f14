//! Which keys are meant: ordered rules as the AWS CLI has them.
//!
//! Pure. "Use of exclude and include filters" of the AWS CLI: everything is included unless a rule says otherwise, and
//! the last rule that matches wins. Its patterns are those of Python's `fnmatch`: `*` is any run of characters, slashes
//! too; `?` one character; `[seq]` and `[!seq]` one in or not in a set. Nothing else is special, neither a backslash
//! nor braces, and every text is a pattern.
//!
//! The matching is our own. The glob crates follow shells and gitignore: there `?` is a byte and not a character, `**`
//! and `^` mean more, and an open bracket is an error.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Run,
    /// `[…]`: inclusive ranges; one that runs backwards holds nothing.
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Reads a pattern.
    pub fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut tokens = Vec::with_capacity(chars.len());
        let mut rest = chars.as_slice();
        while let [first, after @ ..] = rest {
            rest = after;
            tokens.push(match first {
                '*' => Token::Run,
                '?' => Token::One,
                '[' => match set(after) {
                    Some((set, after)) => {
                        rest = after;
                        set
                    }
                    None => Token::Char('['),
                },
                other => Token::Char(*other),
            });
        }
        Self(tokens)
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        // When a token does not match, only the latest `*` needs to take one character more: whatever an earlier one
        // could take, the latest can take too. So the work is at most tokens times characters.
        let tokens = &self.0;
        let (mut token, mut rest) = (0, text);
        let mut latest: Option<(usize, &str)> = None;
        loop {
            let mut chars = rest.chars();
            let next = chars.next();
            match (tokens.get(token), next) {
                (Some(Token::Run), _) => {
                    token += 1;
                    latest = Some((token, rest));
                    continue;
                }
                (Some(one), Some(c)) if one.takes(c) => {
                    token += 1;
                    rest = chars.as_str();
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((after_run, taken_to)) = latest else { return false };
            let mut chars = taken_to.chars();
            if chars.next().is_none() {
                return false;
            }
            (token, rest) = (after_run, chars.as_str());
            latest = Some((after_run, rest));
        }
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(own) => *own == c,
            Self::One => true,
            Self::Run => false,
            Self::Set { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
        }
    }
}

/// What follows a `[`, and what follows its `]`; `None` if there is none, and the bracket is a character like others.
fn set(after: &[char]) -> Option<(Token, &[char])> {
    let (negated, body) = match after {
        ['!', body @ ..] => (true, body),
        body => (false, body),
    };
    // A `]` in the first place belongs to the set.
    let end = 1 + body.get(1..)?.iter().position(|c| *c == ']')?;
    let (mut members, rest) = (body.get(..end)?, body.get(end + 1..)?);
    let mut ranges = Vec::new();
    loop {
        members = match members {
            [low, '-', high, others @ ..] => {
                ranges.push((*low, *high));
                others
            }
            [one, others @ ..] => {
                ranges.push((*one, *one));
                others
            }
            [] => return Some((Token::Set { negated, ranges }, rest)),
        };
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Keys that match are meant.
    Include(Glob),
    /// Keys that match are not.
    Exclude(Glob),
}

/// Rules in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(Vec<Rule>);

impl Filter {
    /// The rules in the order of the flags.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// The order that the function's variables have, which have none of their own: first all exclusions, then all
    /// inclusions.
    pub fn excluding_then_including(exclude: &[String], include: &[String]) -> Self {
        let excluded = exclude.iter().map(|pattern| Rule::Exclude(Glob::new(pattern)));
        let included = include.iter().map(|pattern| Rule::Include(Glob::new(pattern)));
        Self(excluded.chain(included).collect())
    }

    /// Whether a key is meant. `sync` passes what follows the source's prefix, as the AWS CLI does.
    pub fn includes(&self, key: &str) -> bool {
        let verdict = |rule: &Rule| match rule {
            Rule::Include(glob) => glob.matches(key).then_some(true),
            Rule::Exclude(glob) => glob.matches(key).then_some(false),
        };
        self.0.iter().rev().find_map(verdict).unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        pattern: String,
        text: String,
        matches: bool,
    }

    #[test]
    fn patterns_match_as_pythons_fnmatch_does() {
        let recorded = include_str!("../../tests/fixtures/filter/fnmatch.jsonl");
        let mut count = 0;
        for line in recorded.lines() {
            let case: Case = serde_json::from_str(line).unwrap();
            assert_eq!(Glob::new(&case.pattern).matches(&case.text), case.matches, "{line}");
            count += 1;
        }
        assert_eq!(count, 2_000);
    }

    #[test]
    fn stars_cross_slashes_and_braces_are_plain() {
        let check = |pattern: &str, text: &str, expected| {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        };
        check("*.txt", "a/b/c.txt", true);
        check("a*z", "a/b/z", true);
        check("a/**/b", "a/b", false);
        check("?", "日", true);
        check("日?", "日本", true);
        check("[あ-ん]", "の", true);
        check("{a,b}", "a", false);
        check("{a,b}", "{a,b}", true);
        check("a\\*", "a\\bc", true);
        check("[", "[", true);
        check("a.c", "abc", false);
        check("*", "a\nb", true);
        check("", "", true);
        check("A", "a", false);
    }

    #[test]
    fn the_last_rule_that_matches_wins() {
        use Rule::{Exclude, Include};
        let check = |rules: Vec<Rule>, key: &str, expected| assert_eq!(Filter::new(rules).includes(key), expected);
        let glob = |pattern| Glob::new(pattern);
        check(vec![], "any", true);
        check(vec![Include(glob("*.txt"))], "a.jpg", true);
        check(vec![Exclude(glob("*")), Include(glob("*.txt"))], "a.txt", true);
        check(vec![Exclude(glob("*")), Include(glob("*.txt"))], "a.jpg", false);
        check(vec![Include(glob("*.txt")), Exclude(glob("*"))], "a.txt", false);
    }

    #[test]
    fn the_functions_variables_exclude_first() {
        let filter = Filter::excluding_then_including(&["*".into(), "x".into()], &["logs/*".into()]);
        assert!(filter.includes("logs/a/b"));
        assert!(!filter.includes("x"));
    }

    #[test]
    fn a_pattern_made_to_backtrack_still_ends() {
        assert!(!Glob::new(&"*a".repeat(300)).matches(&"a".repeat(299)));
        assert!(!Glob::new(&format!("{}b", "*a".repeat(300))).matches(&"a".repeat(1024)));
    }

    proptest! {
        #[test]
        fn no_pattern_can_make_matching_panic(pattern in "[a-c日*?\\[\\]!^-]{0,12}", text in "[a-c日\\[\\]!^-]{0,12}") {
            let _answer = Glob::new(&pattern).matches(&text);
        }

        #[test]
        fn a_key_matches_itself_when_nothing_in_it_is_special(key in "[^*?\\[]{0,40}") {
            prop_assert!(Glob::new(&key).matches(&key));
        }
    }
}
