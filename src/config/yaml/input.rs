//! A text as libyaml's port takes it without coming to harm.
//!
//! The port ends the process where libyaml reads on, in three places: at the end of a text without
//! a last line break, within a block scalar or behind a backslash; and at a comma that follows a
//! tag in a flow collection, which go-yaml refuses. The first two are cured by a line break, the
//! last is looked for.

use libyaml_safer::{Scanner, TokenData};

use super::SyntaxError;

/// A text that can be parsed.
pub struct Input {
    text: String,
    /// Length of what was handed in, where a line break was added behind it.
    unbroken: Option<u64>,
}

impl Input {
    /// Prepares a text, without its byte order mark.
    pub fn new(text: &str) -> Result<Self, SyntaxError> {
        if let Some((at, _)) = text.char_indices().find(|(_, c)| !printable(*c)) {
            return Err(error(text, at, "a control character; a configuration is plain text"));
        }
        // YAML reads both alike; the port loses count of its place at some of the former.
        let mut text = text.replace("\r\n", "\n");
        let unbroken = (!text.ends_with(['\n', '\r'])).then_some(text.len() as u64);
        if unbroken.is_some() {
            text.push('\n');
        }
        no_comma_behind_tag(&text)?;
        Ok(Self { text, unbroken })
    }

    /// What the parser reads.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Takes from a block scalar that ends at byte `end` the line break that was added.
    pub fn without_added_break(&self, mut scalar: String, end: u64) -> String {
        if self.unbroken.is_some_and(|length| end > length) && scalar.ends_with('\n') {
            scalar.pop();
        }
        scalar
    }
}

/// What YAML allows in a text (YAML 1.2.2 §5.1).
fn printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

/// Refuses a comma that follows a tag directly. A `!` may also be part of a text, so the scanner is
/// asked, with a blank before every such comma: tags that end there are the ones.
fn no_comma_behind_tag(text: &str) -> Result<(), SyntaxError> {
    let mut apart = String::with_capacity(text.len());
    // Where blanks were put in, and what they stand before in `text`.
    let mut blanks = Vec::new();
    let (mut behind, mut verbatim) = (false, false);
    for (at, c) in text.char_indices() {
        behind = (behind || c == '!') && !c.is_whitespace();
        // In `!<tag:yaml.org,2002:str>` the comma is the tag's own.
        verbatim = (verbatim || c == '<') && behind && c != '>';
        if behind && !verbatim && c == ',' {
            blanks.push((apart.len() as u64, at));
            apart.push(' ');
        }
        apart.push(c);
    }
    if blanks.is_empty() {
        return Ok(());
    }
    let mut scanner = Scanner::new();
    scanner.set_input(apart.as_bytes());
    loop {
        // What is wrong here is wrong in the text as well. The scanner looks ahead, so tags may lie
        // between.
        let token = Scanner::scan(&mut scanner).map_err(|error| super::unreadable(&error))?;
        match token.data {
            TokenData::StreamEnd => return Ok(()),
            TokenData::Tag { .. } => {
                if let Some((_, at)) =
                    blanks.iter().find(|(blank, _)| *blank == token.end_mark.index)
                {
                    return Err(error(
                        text,
                        *at,
                        "a tag, such as `!name`, ends with a blank, not with a comma",
                    ));
                }
            }
            _ => {}
        }
    }
}

fn error(text: &str, at: usize, message: &str) -> SyntaxError {
    let before = &text[..at];
    let start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let line = 1 + before.matches('\n').count() + before.matches('\r').count()
        - before.matches("\r\n").count();
    SyntaxError { line, column: 1 + before[start..].chars().count(), message: message.to_owned() }
}
