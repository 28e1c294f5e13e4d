//! The tree, its places and its bounds.

use super::*;

fn pairs(node: &Node) -> &[(Key, Node)] {
    match &node.data {
        Data::Map(pairs) => pairs,
        other => panic!("not a map: {other:?}"),
    }
}

fn root(text: &str) -> Node {
    parse(text).unwrap().root
}

#[test]
fn values_carry_their_line_and_column_and_stay_text() {
    let root = root("http:\n  address: 0777\n  on: \"null\"\n  off:\n");
    let http = pairs(&pairs(&root)[0].1);
    assert_eq!((http[0].0.line, http[0].0.column), (2, 3));
    assert_eq!(http[0].1, Node { line: 2, column: 12, data: Data::Scalar("0777".into()) });
    assert_eq!(http[1].1.data, Data::Scalar("null".into()));
    assert_eq!(http[2].1.data, Data::Null);
}

#[test]
fn a_syntax_error_says_where() {
    let error = parse("http:\n  address: [1, 2\nrpc: {}\n").unwrap_err();
    assert!(error.line >= 2, "{error:?}");
    assert!(parse("a: 1\n\tb: 2\n").is_err());
}

#[test]
fn a_key_given_twice_is_an_error_at_the_second() {
    let error = parse("http: {}\nrpc: {}\nhttp: {}\n").unwrap_err();
    assert_eq!((error.line, error.column), (3, 1));
    assert!(error.message.contains("`http`"), "{error}");
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    let root = root("base: &b { a: 1, b: 2 }\nuse: { <<: *b, a: 3 }\n");
    let used = pairs(&pairs(&root)[1].1);
    let shown: Vec<_> =
        used.iter().map(|(key, value)| (key.text.as_str(), value.data.clone())).collect();
    assert_eq!(shown, [("a", Data::Scalar("3".into())), ("b", Data::Scalar("2".into()))]);
}

#[test]
fn aliases_of_aliases_are_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
    }
    assert!(parse(&text).unwrap_err().message.contains("aliases included"));
}

#[test]
fn what_aliases_repeat_is_bounded_in_bytes() {
    let long = "x".repeat(500_000);
    let many = vec!["*a"; 100].join(", ");
    let nested = "[".repeat(60) + &long + &"]".repeat(60);
    let nested = nested.replace('[', "&a [");
    for text in [
        format!("a: &a {long}\nb: [{many}]\n"),
        format!("a: &a {{ ? {long} : b }}\nb: [{many}]\n"),
        format!("a: {nested}\n"),
    ] {
        let Err(error) = parse(&text) else { panic!("{}… is accepted", &text[..20]) };
        assert!(error.message.contains("bytes of values, those of aliases included"), "{error}");
    }
    let plain = format!("a: &a {}\nb: [{}]\n", "x".repeat(1000), vec!["*a"; 1000].join(", "));
    assert!(parse(&plain).is_ok());
}

#[test]
fn an_anchor_that_holds_its_own_alias_is_an_error() {
    assert!(parse("a: &a [*a]\n").is_err());
}

#[test]
fn deep_nesting_is_bounded_in_every_notation() {
    for text in ["- ".repeat(5_000), "[".repeat(5_000), "{a: ".repeat(5_000), "? ".repeat(5_000)] {
        assert!(parse(&text).is_err());
    }
}

#[test]
fn a_second_document_is_not_read_and_its_place_is_told_unless_it_is_empty() {
    for (text, another) in [
        ("---\na: 1\n---\nb: 2\n", Some((4, 1))),
        ("a: 1\n--- b\n", Some((2, 5))),
        ("a: 1\n---\n# nothing\n---\nb: [\n", Some((5, 1))),
        ("a: 1\n...\n---\n", None),
        ("a: 1\n---\n# nothing\n", None),
        ("a: 1\n", None),
    ] {
        let document = parse(text).unwrap();
        assert_eq!(document.another, another, "{text:?}");
        assert_eq!(pairs(&document.root).len(), 1, "{text:?}");
    }
    assert_eq!(root("").data, Data::Null);
}

#[test]
fn an_error_has_the_place_where_it_is() {
    for (text, place) in [
        ("a: 1\n\tb: 2\n", (2, 1)),
        ("http:\n  \u{e4}: \u{fc}\u{7}\n", (2, 7)),
        ("a: 1\r\nb: 2\r\na: 3\r\n", (3, 1)),
        ("http:\n  a: b: c\n", (2, 7)),
        ("a: [!b, c]\n", (1, 7)),
        ("# !x, y\na: [\n\n", (4, 1)),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.line, error.column), place, "{text:?}: {error}");
    }
}

#[test]
fn a_text_that_ends_anywhere_is_read_or_refused() {
    let text = "a: !<x,y> |2-\n   b\nc: [!d , \"e\\\n f\", 'g'] # !h, i\nj: &k >+\n l\n\nm: {n: *k, ? o : p}\n";
    assert!(parse(text).is_ok());
    for (end, _) in text.char_indices() {
        let _ = parse(&text[..end]);
        let _ = parse(&text[end..]);
        for cut in [",", "!", "\\", "\t", "\r", "|", "\"", "[", "!a,"] {
            let _ = parse(&format!("{}{cut}{}", &text[..end], &text[end..]));
        }
    }
}
