//! Text that others wrote, as it may be shown: one line stays one line, and nothing of it commands
//! a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Control characters, and what reorders or breaks a line on a screen: bidirectional marks and
/// overrides, U+2028, U+2029.
pub fn dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// As a part of one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, dangerous)
}

/// With its lines and tabs.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| dangerous(c) && c != '\n' && c != '\t')
}

/// JSON on one line, with the same meaning: what its encoder leaves as it is, DEL, C1 and
/// bidirectional controls, is escaped as JSON does it.
pub fn json(text: String) -> String {
    if !text.contains(dangerous) {
        return text;
    }
    // All lie within strings and below U+10000.
    text.chars().fold(String::with_capacity(text.len() + 8), |mut safe, c| {
        // Writing to a `String` does not fail.
        let _ =
            if dangerous(c) { write!(safe, "\\u{:04x}", u32::from(c)) } else { safe.write_char(c) };
        safe
    })
}

fn escaped(text: &str, escapes: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escapes) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if escapes(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\tb\nc\u{1b}]0;\u{7}\u{7f}\u{9b}\u{202e}\u{2028}é";

    #[test]
    fn nothing_that_commands_a_terminal_or_reorders_a_line_is_left() {
        let rest = "c\\u{1b}]0;\\u{7}\\u{7f}\\u{9b}\\u{202e}\\u{2028}é";
        assert_eq!(line(HOSTILE), format!("a\\tb\\n{rest}"));
        assert_eq!(lines(HOSTILE), format!("a\tb\n{rest}"));
        assert!(matches!(line("héllo"), Cow::Borrowed("héllo")));
    }

    #[test]
    fn json_keeps_its_meaning() {
        let shown = json(serde_json::to_string(HOSTILE).unwrap());
        assert!(!shown.contains(dangerous), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), HOSTILE);
    }
}
