//! How `roadcast subscribe` prints messages.

use std::io::{self, Write};

use serde::Serialize;

use crate::escape;

/// A message as `--json` prints it, or where some may be missing, and of which topics.
#[derive(Serialize)]
struct Line<'a, P: Serialize + ?Sized> {
    topic: &'a str,
    payload: &'a P,
}

/// Standard output, a line or a JSON object for each message.
pub struct Printer<W: Write> {
    /// Where to.
    pub out: W,
    /// Objects rather than lines.
    pub json: bool,
    /// Whether what commands a terminal is escaped: it is one.
    pub escape: bool,
}

impl<W: Write> Printer<W> {
    /// Prints one message; nothing is flushed.
    pub fn print(&mut self, topic: &str, payload: &str) -> io::Result<()> {
        if self.json {
            self.print_json(&Line { topic, payload })
        } else if self.escape {
            writeln!(self.out, "{} {}", escape::lines(topic), escape::lines(payload))
        } else {
            writeln!(self.out, "{topic} {payload}")
        }
    }

    /// Prints that messages of these topics may be missing here; nothing is flushed.
    pub fn print_gap(&mut self, topics: &[String]) -> io::Result<()> {
        if self.json {
            return self.print_json(&Line { topic: "@gap", payload: topics });
        }
        for topic in topics {
            let shown = if self.escape { escape::lines(topic) } else { topic.as_str().into() };
            writeln!(self.out, "@gap {shown}: messages may be missing here")?;
        }
        Ok(())
    }

    fn print_json<P: Serialize + ?Sized>(&mut self, line: &Line<'_, P>) -> io::Result<()> {
        if self.escape {
            return writeln!(self.out, "{}", escape::json(serde_json::to_string(line)?));
        }
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_and_with_json_an_object_on_one_line() {
        let mut plain = Printer { out: Vec::new(), json: false, escape: false };
        plain.print("news", "hello there").unwrap();
        assert_eq!(plain.out, b"news hello there\n");
        let mut json = Printer { out: Vec::new(), json: true, escape: true };
        json.print("news", "two\nlines \"quoted\"").unwrap();
        assert_eq!(json.out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&json.out).unwrap();
        assert_eq!(
            (&value["topic"], &value["payload"]),
            (&"news".into(), &"two\nlines \"quoted\"".into())
        );
    }

    #[test]
    fn a_gap_is_a_line_for_each_topic_and_with_json_an_object_whose_payload_is_a_list() {
        let topics = ["news".to_owned(), "a\u{9b}".to_owned()];
        let mut plain = Printer { out: Vec::new(), json: false, escape: true };
        plain.print_gap(&topics).unwrap();
        assert_eq!(
            String::from_utf8(plain.out).unwrap(),
            "@gap news: messages may be missing here\n@gap a\\u{9b}: messages may be missing here\n"
        );
        let mut json = Printer { out: Vec::new(), json: true, escape: false };
        json.print_gap(&topics[..1]).unwrap();
        assert_eq!(json.out, b"{\"topic\":\"@gap\",\"payload\":[\"news\"]}\n");
    }

    #[test]
    fn a_terminal_gets_no_commands_of_a_message() {
        let mut terminal = Printer { out: Vec::new(), json: false, escape: true };
        terminal.print("n\u{9b}", "\u{1b}]0;title\u{7}\r\ttext\nnext é").unwrap();
        let printed = String::from_utf8(terminal.out).unwrap();
        assert_eq!(printed, "n\\u{9b} \\u{1b}]0;title\\u{7}\\r\ttext\nnext é\n");
        for json in [false, true] {
            let mut terminal = Printer { out: Vec::new(), json, escape: true };
            terminal.print("news", "\u{7f}\u{9b}2J\u{202e}\u{200f}").unwrap();
            let printed = String::from_utf8(terminal.out).unwrap();
            assert!(!printed.trim_end().contains(escape::dangerous), "{printed:?}");
        }
    }
}
