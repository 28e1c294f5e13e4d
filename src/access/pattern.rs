//! Patterns of topics' names, for rules, the topics of a token, and `roadcast.overflow`.
//!
//! ```text
//! news              that name alone
//! news.*            `*` at the end: any rest, dots too, also none
//! room.*.log        `*` between two dots, or before the first: one segment, also an empty one
//! user.{user}.*     `{user}`: the user of the session
//! org.{org}         any other word in braces: that text claim of its token
//! ```
//!
//! What a user or a claim holds is matched literally: a `*` in it is a star, and its dots are dots.
//! So `user.{user}` fits `user.a.b` for the user `a.b` and for nobody else. One that has a dot fits
//! at the end of a pattern alone: the topics that `user.{user}.*` would give to `bob@x.com` are
//! those of `bob@x.com.au` as well. Where there is no user, no such claim, or an empty one, the
//! pattern fits nothing.
//!
//! A name is read once from its beginning to its end: each part of a pattern fits in one way only,
//! so nothing is ever tried twice.

use std::fmt;

/// Bytes of a pattern: as many as a topic's name has by default.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Names of topics. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// This text.
    Text(Box<str>),
    /// The session's user.
    User,
    /// The claim of that name.
    Claim(Box<str>),
    /// All up to the next dot. What follows is a text that begins with one.
    Segment,
    /// All that is left. Nothing follows.
    Rest,
}

/// What a pattern is made of where it is compared with another.
#[derive(PartialEq)]
enum Symbol<'p> {
    Byte(u8),
    /// Anything but a text.
    Part(&'p Part),
}

/// What stands for the words in braces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// Of `{user}`.
    pub user: Option<&'a str>,
    /// Of any other, by its word.
    pub claims: &'a [(Box<str>, Box<str>)],
}

impl Pattern {
    /// Reads a pattern, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(
                "a pattern is a topic's name, or the beginning of names and a `*`".to_owned()
            );
        }
        if text.len() > PATTERN_BYTES_MAX {
            let bytes = text.len();
            return Err(format!("a pattern of {bytes} bytes; allowed: {PATTERN_BYTES_MAX}"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['*', '{', '}']) {
            let (before, found) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let (part, after) = match found.strip_prefix('*') {
                Some(after) => (star(text, rest.len() == text.len(), before, after)?, after),
                None => placeholder(text, found)?,
            };
            parts.push(part);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self { parts: parts.into() })
    }

    /// The same where there is no session: nothing stands for words in braces.
    pub fn parse_without_session(text: &str) -> Result<Self, String> {
        if text.contains(['{', '}']) {
            return Err(format!(
                "\"{text}\": braces stand for the user or a claim of one client, and this is for \
                 all clients of a topic; write the name, or its beginning and a `*`"
            ));
        }
        Self::parse(text)
    }

    /// Whether a topic of that name is meant.
    pub fn matches(&self, topic: &str, values: Values<'_>) -> bool {
        let mut rest = topic;
        for (at, part) in self.parts.iter().enumerate() {
            let last = at + 1 == self.parts.len();
            let literal = match part {
                Part::Rest => return true,
                Part::Segment => {
                    rest = &rest[rest.find('.').unwrap_or(rest.len())..];
                    continue;
                }
                Part::Text(text) => text,
                Part::User => values.user.unwrap_or_default(),
                Part::Claim(name) => values.claim(name),
            };
            if !matches!(part, Part::Text(_)) && !last && literal.contains('.') {
                return false;
            }
            match rest.strip_prefix(literal) {
                Some(after) if !literal.is_empty() => rest = after,
                _ => return false,
            }
        }
        rest.is_empty()
    }

    /// What it holds of memory, as bounds count it.
    pub fn cost(&self) -> usize {
        let text = |part: &Part| match part {
            Part::Text(text) | Part::Claim(text) => text.len(),
            Part::User | Part::Segment | Part::Rest => 0,
        };
        self.parts.iter().map(|part| size_of::<Part>() + text(part)).sum()
    }

    /// Whether every name that `other` means, this means too, whoever the session is. One that does
    /// so in a way that only values would show is not found.
    pub fn covers(&self, other: &Self) -> bool {
        let mut left = other.symbols().peekable();
        for part in &self.parts {
            match part {
                Part::Rest => return true,
                // What stands for words in braces has no dots, since more has to follow here.
                Part::Segment => {
                    let inside = |symbol: &Symbol<'_>| match symbol {
                        Symbol::Byte(byte) => *byte != b'.',
                        Symbol::Part(part) => **part != Part::Rest,
                    };
                    while left.next_if(inside).is_some() {}
                }
                Part::Text(text) => {
                    if !text.bytes().all(|byte| left.next() == Some(Symbol::Byte(byte))) {
                        return false;
                    }
                }
                Part::User | Part::Claim(_) => {
                    if left.next() != Some(Symbol::Part(part)) {
                        return false;
                    }
                }
            }
        }
        left.next().is_none()
    }

    fn symbols(&self) -> impl Iterator<Item = Symbol<'_>> {
        self.parts.iter().flat_map(|part| {
            let (text, other) = match part {
                Part::Text(text) => (&**text, None),
                other => ("", Some(Symbol::Part(other))),
            };
            text.bytes().map(Symbol::Byte).chain(other)
        })
    }

    /// What it was likely meant to be, where it has what stands for something in the topics of
    /// other systems and for itself here.
    pub fn doubt(&self) -> Option<String> {
        for part in &self.parts {
            let text = match part {
                Part::Claim(name) if name.eq_ignore_ascii_case("user") => {
                    return Some(format!(
                        "{{{name}}} is a claim of that name; the user is {{user}}"
                    ));
                }
                Part::Text(text) => text,
                _ => continue,
            };
            if text.contains('?') {
                return Some("a `?` stands for itself; no pattern means any one letter".to_owned());
            }
            let mut levels = text.split(['.', '/']);
            if let Some(sign) = levels.find(|level| matches!(*level, "#" | ">" | "+")) {
                return Some(
                    match sign {
                        "+" => "a `+` stands for itself; one level is a `*` between two dots",
                        "#" => "a `#` stands for itself; any rest of a name is a `*` at the end",
                        _ => "a `>` stands for itself; any rest of a name is a `*` at the end",
                    }
                    .to_owned(),
                );
            }
        }
        None
    }

    /// Whether it fits nothing but for sessions that have a user.
    pub fn needs_user(&self) -> bool {
        self.parts.contains(&Part::User)
    }

    /// The claims without which it fits nothing.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Claim(name) => Some(&**name),
            _ => None,
        })
    }
}

impl<'a> Values<'a> {
    /// Empty where there is none.
    fn claim(&self, name: &str) -> &'a str {
        let found = self.claims.iter().find(|(known, _)| **known == *name);
        found.map_or("", |(_, value)| value)
    }
}

/// What a star stands for: it is followed by `after`, and `before` it is text, which begins the
/// pattern if `first`.
fn star(pattern: &str, first: bool, before: &str, after: &str) -> Result<Part, String> {
    let whole_segment = before.ends_with('.') || (first && before.is_empty());
    if before.is_empty() && !first {
        Err(format!(
            "\"{pattern}\": a `*` directly behind braces would mean all whose names begin alike; \
             write a dot between them: \"user.{{user}}.*\""
        ))
    } else if after.is_empty() {
        Ok(Part::Rest)
    } else if whole_segment && after.starts_with('.') {
        Ok(Part::Segment)
    } else {
        Err(format!(
            "\"{pattern}\": a `*` stands at the end of a pattern, for any rest of a name, or between \
             two dots, for what is between them"
        ))
    }
}

/// What braces stand for, and what follows them.
fn placeholder<'a>(pattern: &str, found: &'a str) -> Result<(Part, &'a str), String> {
    let inside = found.strip_prefix('{').and_then(|inside| inside.split_once('}'));
    let named = inside.filter(|(name, _)| !name.is_empty() && !name.contains(['{', '*']));
    match named {
        Some(("user", after)) => Ok((Part::User, after)),
        Some((claim, after)) => Ok((Part::Claim(claim.into()), after)),
        None => Err(format!(
            "\"{pattern}\": braces hold `user`, or the name of a claim: \"user.{{user}}.*\""
        )),
    }
}

impl fmt::Display for Pattern {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::User => f.write_str("{user}"),
            Part::Claim(name) => write!(f, "{{{name}}}"),
            Part::Segment | Part::Rest => f.write_str("*"),
        })
    }
}

#[cfg(test)]
mod tests;
