//! Goal: commands are read as Go reads them, whatever their bytes. Method:
//! `scripts/command-vectors` has recorded what Go's encoding/json, and RoadRunner's own reader
//! where that differs, make of messages drawn from a seed: escapes and halves of them, bytes that
//! are not UTF-8, nesting, wrong types, damage.

use std::borrow::Cow;

use roadcast::command::{self, Command};

#[derive(serde::Deserialize)]
struct Vector {
    /// Its bytes as the characters U+0000 to U+00FF.
    message: String,
    go: Option<Read>,
    roadrunner: Option<Read>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Read {
    command: String,
    topics: Option<Vec<String>>,
}

fn vectors() -> Vec<Vector> {
    include_str!("commands.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn commands_are_read_as_go_reads_them() {
    let vectors = vectors();
    // As they are, and made long by white space: long ones have a reader of their own.
    let padded = |space: &'static str| vectors.iter().map(move |vector| (space, vector));
    let long = " ".repeat(300).leak();
    for (space, Vector { message, go, .. }) in padded("").chain(padded(long)) {
        let padded = [space, message, space].concat();
        let bytes: Vec<u8> = padded
            .chars()
            .map(|byte| u8::try_from(byte).expect("a byte for each character"))
            .collect();
        let mut scratch = Vec::new();
        let (command, topics) = match command::parse(&bytes, &mut scratch) {
            Ok(Command::Join { topics, .. }) => ("join".into(), topics),
            Ok(Command::Leave { topics, .. }) => ("leave".into(), topics),
            Ok(Command::Headers) => ("headers".into(), None),
            // Go knows no such command, and reads its name.
            Ok(Command::Token { .. }) => ("token".into(), None),
            Ok(Command::Other { name }) => (name, None),
            Err(malformed) => {
                assert_eq!(*go, None, "{malformed}: {}", bytes.escape_ascii());
                continue;
            }
        };
        let go = go.as_ref().unwrap_or_else(|| panic!("Go refuses it: {}", bytes.escape_ascii()));
        assert_eq!(command, go.command, "{}", bytes.escape_ascii());
        if matches!(&*command, "join" | "leave") {
            let topics = topics.map(|topics| topics.into_iter().map(Cow::into_owned).collect());
            assert_eq!(topics, go.topics, "{}", bytes.escape_ascii());
        }
    }
    let read = vectors.iter().filter(|vector| vector.go.is_some()).count();
    assert!(
        read > 500 && vectors.len() - read > 300,
        "both kinds are tried: {read} of {}",
        vectors.len()
    );
}

/// RoadRunner's reader takes some texts that are not JSON (raw control characters, `01`); no
/// client's encoder writes them.
#[test]
fn where_roadrunners_reader_differs_go_refuses_the_message() {
    let different = vectors().into_iter().filter(|vector| vector.roadrunner.is_some());
    assert!(
        different.inspect(|vector| assert_eq!(vector.go, None, "{}", vector.message)).count() > 0
    );
}
