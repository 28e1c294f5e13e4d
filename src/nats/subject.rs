//! Topics as subjects.
//!
//! A topic that may stand as a subject is one: `news.de` is `news.de`. Others are escaped, so that
//! any topic travels and can be read back:
//!
//! | topic | subject |
//! |---|---|
//! | `hello world` | `hello%20world%` |
//! | `a.*` | `a.%2A%` |
//! | `.a..b` | `%2Ea.%2Eb%` |
//! | `50%` | `50%25%` |
//!
//! What a subject may not hold (spaces, controls, `*`, `>`, a dot without a token before it or at
//! the end) and `%` become `%` and two hexadecimal digits, and one more `%` at the end says so. The
//! tokens before it stay, so that a permission for `news.*` covers such topics, too. What ends with
//! `%` is always escaped: no two topics have one subject.

use std::borrow::Cow;

/// Bytes of a subject. A server takes control lines of 4096 bytes by default (`max_control_line`);
/// the size of a message, or a subscription's number, stands there, too.
pub const SUBJECT_BYTES_MAX: usize = 4_000;

/// A subject would have so many bytes, more than [`SUBJECT_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its subject would have {bytes} bytes, and NATS takes {SUBJECT_BYTES_MAX} at most")]
pub struct SubjectTooLong {
    /// Of it, with the prefix.
    pub bytes: usize,
}

/// The subject of a topic, behind a prefix.
pub fn subject(prefix: &str, topic: &str) -> Result<String, SubjectTooLong> {
    let token = escaped(topic);
    let bytes = prefix.len() + token.len();
    if bytes > SUBJECT_BYTES_MAX {
        return Err(SubjectTooLong { bytes });
    }
    Ok([prefix, &token].concat())
}

/// Whether a text may stand before all topics: a subject, or the beginning of one, such as `app.`.
pub fn is_prefix(text: &str) -> bool {
    let stem = text.strip_suffix('.').unwrap_or(text);
    text.is_empty() || (is_literal(stem) && text.len() <= SUBJECT_BYTES_MAX / 2)
}

/// The topic that has a subject, behind the prefix; `None`: no topic has it.
pub fn topic<'a>(prefix: &str, subject: &'a str) -> Option<Cow<'a, str>> {
    let token = subject.strip_prefix(prefix)?;
    let Some(rest) = token.strip_suffix('%') else {
        return is_literal(token).then_some(Cow::Borrowed(token));
    };
    let mut parts = rest.split('%');
    let mut topic = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        topic.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        topic.push_str(rest);
    }
    // Others may write a topic in other ways. Those are no subjects of it.
    (escaped(&topic) == token).then_some(Cow::Owned(topic))
}

fn escaped(topic: &str) -> Cow<'_, str> {
    if is_literal(topic) && !topic.ends_with('%') {
        return Cow::Borrowed(topic);
    }
    let mut out = String::with_capacity(topic.len() + 16);
    let mut in_token = false;
    for (place, c) in topic.char_indices() {
        let fits = match c {
            '.' => in_token && place + 1 < topic.len(),
            '%' => false,
            c => may_stand(c),
        };
        match fits {
            true => out.push(c),
            // All of them are ASCII.
            false => out.push_str(&format!("%{:02X}", c as u32)),
        }
        in_token = !(fits && c == '.');
    }
    out.push('%');
    Cow::Owned(out)
}

fn is_literal(text: &str) -> bool {
    text.split('.').all(|token| !token.is_empty()) && text.chars().all(may_stand)
}

fn may_stand(c: char) -> bool {
    !matches!(c, '\0'..=' ' | '\x7f' | '*' | '>')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn a_topic_that_may_stand_as_a_subject_is_one() {
        for topic in ["foo", "news.de", "größe", "a%20b", "$x", "{\"a\"}", "日本.語"] {
            assert_eq!(subject("", topic).unwrap(), topic);
            assert_eq!(subject("app.", topic).unwrap(), format!("app.{topic}"));
            assert_eq!(super::topic("app.", &format!("app.{topic}")).unwrap(), topic);
        }
    }

    #[test]
    fn other_topics_are_escaped_and_can_be_read_back() {
        for (topic_, expected) in [
            ("hello world", "hello%20world%"),
            ("a.*", "a.%2A%"),
            (">", "%3E%"),
            (".a..b", "%2Ea.%2Eb%"),
            ("a.", "a%2E%"),
            (".", "%2E%"),
            ("...", "%2E.%2E%"),
            ("50%", "50%25%"),
            ("%", "%25%"),
            ("", "%"),
            ("a\r\nPUB b", "a%0D%0APUB%20b%"),
            ("\u{7f}ü ", "%7Fü%20%"),
        ] {
            assert_eq!(subject("", topic_).unwrap(), expected);
            assert_eq!(topic("", expected).unwrap(), topic_);
        }
    }

    #[test]
    fn what_is_no_subject_of_ours_is_no_topic() {
        for subject in ["app", "other.x", "app.%2%", "app.%zz%", "app.%2ü%"] {
            assert_eq!(topic("app.", subject), None, "{subject}");
        }
        // They can be read, but the topics that they would be have other subjects.
        for subject in ["app.", "app.a b", "app.a%", "app.%41%", "app.%2a%", "app.%+2%"] {
            assert_eq!(topic("app.", subject), None, "{subject}");
        }
    }

    #[test]
    fn no_two_topics_have_one_subject_and_each_subject_is_literal() {
        let seed = 0x5EED_0131;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut seen: HashMap<String, String> = HashMap::new();
        for _ in 0..200_000 {
            let letters = ['.', '%', '*', '>', ' ', '2', '0', 'A', 'E', 'ü', '\n'];
            let length = rng.random_range(0..7);
            let name: String =
                (0..length).map(|_| letters[rng.random_range(0..letters.len())]).collect();
            let subject = subject("", &name).unwrap();
            assert!(is_literal(&subject), "{name:?}: {subject}, seed {seed:#x}");
            assert_eq!(topic("", &subject).unwrap(), name, "{subject}, seed {seed:#x}");
            let before = seen.insert(subject, name.clone());
            assert!(before.is_none_or(|before| before == name), "{name:?}, seed {seed:#x}");
        }
    }

    #[test]
    fn a_subject_longer_than_a_control_line_is_refused_with_its_size() {
        assert!(subject("", &"x".repeat(SUBJECT_BYTES_MAX)).is_ok());
        let refused = subject("p.", &"x".repeat(SUBJECT_BYTES_MAX));
        assert_eq!(refused, Err(SubjectTooLong { bytes: SUBJECT_BYTES_MAX + 2 }));
        // The longest topic by default, and the worst of them.
        assert_eq!(subject("", &"\n".repeat(1024)).unwrap().len(), 3 * 1024 + 1);
    }

    #[test]
    fn a_prefix_is_a_subject_or_the_beginning_of_one() {
        for prefix in ["", "app", "app.", "a.b."] {
            assert!(is_prefix(prefix), "{prefix:?}");
        }
        for prefix in [".", "a..", ".a", "a b", "*.", ">", "a\n"] {
            assert!(!is_prefix(prefix), "{prefix:?}");
        }
    }
}
