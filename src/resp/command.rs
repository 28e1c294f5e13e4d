//! Commands, as a client sends them: arrays of strings.

use std::io::Write;

/// Appends a command of these words.
pub fn command<'a>(out: &mut Vec<u8>, words: impl ExactSizeIterator<Item = &'a [u8]>) {
    head(out, b'*', words.len());
    for word in words {
        bulk(out, word);
    }
}

/// Appends a command about the channels `prefix` and topic.
pub fn channels<T: AsRef<str>>(out: &mut Vec<u8>, verb: &[u8], prefix: &str, topics: &[T]) {
    head(out, b'*', 1 + topics.len());
    bulk(out, verb);
    for topic in topics {
        channel(out, prefix, topic.as_ref());
    }
}

/// Appends a publication by `verb`, PUBLISH or SPUBLISH, to the channel `prefix` and `topic`.
pub fn publish(out: &mut Vec<u8>, verb: &str, prefix: &str, topic: &str, payload: &[u8]) {
    head(out, b'*', 3);
    bulk(out, verb.as_bytes());
    channel(out, prefix, topic);
    bulk(out, payload);
}

fn channel(out: &mut Vec<u8>, prefix: &str, topic: &str) {
    head(out, b'$', prefix.len() + topic.len());
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, word: &[u8]) {
    head(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

fn head(out: &mut Vec<u8>, kind: u8, count: usize) {
    // Writing to a `Vec` does not fail.
    let _ = write!(out, "{}{count}\r\n", char::from(kind));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_strings_of_any_bytes() {
        let mut out = Vec::new();
        command(&mut out, [&b"AUTH"[..], b"", b"a\r\nb"].into_iter());
        assert_eq!(out, b"*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$4\r\na\r\nb\r\n");
    }

    #[test]
    fn a_publication_travels_as_roadrunner_sends_it() {
        let mut out = Vec::new();
        publish(&mut out, "publish", "", "foo", b"hello, PHP");
        assert_eq!(out, b"*3\r\n$7\r\npublish\r\n$3\r\nfoo\r\n$10\r\nhello, PHP\r\n");
        out.clear();
        publish(&mut out, "SPUBLISH", "app:", "\u{e9} \n", b"\xff");
        let mut sent = "*3\r\n$8\r\nSPUBLISH\r\n$8\r\napp:é \n\r\n$1\r\n".to_owned().into_bytes();
        sent.extend(b"\xff\r\n");
        assert_eq!(out, sent);
    }
}
