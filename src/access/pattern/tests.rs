//! Goal: a pattern means what its module says, whatever name comes. Method: examples, and random
//! patterns and names against a matcher that tries every way; `ROADCAST_SEED=n` replays one.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

fn fits(pattern: &str, topic: &str, user: &str, claims: &[(&str, &str)]) -> bool {
    let claims: Vec<(Box<str>, Box<str>)> =
        claims.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let values = Values { user: Some(user), claims: &claims };
    Pattern::parse(pattern).unwrap().matches(topic, values)
}

#[test]
fn a_star_is_any_rest_at_the_end_and_one_segment_between_dots() {
    for (pattern, topic, expected) in [
        ("news", "news", true),
        ("news", "news2", false),
        ("news", "", false),
        ("news.*", "news.", true),
        ("news.*", "news.a.b", true),
        ("news.*", "news", false),
        ("ne*", "news.a", true),
        ("*", "", true),
        ("*", "a.b", true),
        ("room.*.log", "room.7.log", true),
        ("room.*.log", "room..log", true),
        ("room.*.log", "room.7.8.log", false),
        ("room.*.log", "room.7", false),
        ("room.*.log", "room.7.log2", false),
        ("*.log", "a.log", true),
        ("*.log", "a.b.log", false),
        ("*.*.c", "a.b.c", true),
        ("a.*.*", "a.b", false),
        ("a.*.*", "a.b.", true),
        ("a.*.*", "a.b.c.d", true),
        ("böse*", "böse", true),
    ] {
        assert_eq!(fits(pattern, topic, "", &[]), expected, "{pattern} {topic}");
    }
}

#[test]
fn braces_are_the_sessions_user_and_claims_letter_by_letter() {
    let claims = [("org", "acme"), ("none", ""), ("https://x/role", "a.*")];
    for (pattern, topic, user, expected) in [
        ("user.{user}", "user.7", "7", true),
        ("user.{user}", "user.8", "7", false),
        ("user.{user}.*", "user.7.x.y", "7", true),
        ("user.{user}.*", "user.77.x", "7", false),
        ("user.{user}.*", "user..x", "", false),
        // A dot in it is a dot. With more behind it, its topics would lie below another's.
        ("user.{user}", "user.bob@x.com", "bob@x.com", true),
        ("user.{user}.*", "user.bob@x.com.au.inbox", "bob@x.com", false),
        ("user.{user}.*", "user.a.b.c", "a.b", false),
        ("user.{user}.inbox", "user.a.b.inbox", "a.b", false),
        ("user.{user}{org}", "user.a.acme", "a.", false),
        ("x.{https://x/role}.a", "x.a.*.a", "7", false),
        ("{org}.{user}", "acme.a.b", "a.b", true),
        ("user.{user}.*", "user.a.b.c", "a", true),
        ("user.{user}", "user.a.b", "a", false),
        ("user.{user}.inbox", "user.a.b.inbox", "a", false),
        // A star in it is a star.
        ("user.{user}", "user.7", "*", false),
        ("user.{user}", "user.*", "*", true),
        ("{org}.{user}", "acme.7", "7", true),
        ("{org}{user}", "acme7", "7", true),
        ("x.{none}", "x.", "7", false),
        ("x.{none}.*", "x..", "7", false),
        ("x.{missing}", "x.a", "7", false),
        ("x.{https://x/role}", "x.a.*", "7", true),
        ("x.{https://x/role}", "x.a.b", "7", false),
        ("*.{user}", "a.7", "7", true),
    ] {
        assert_eq!(fits(pattern, topic, user, &claims), expected, "{pattern} {topic} {user}");
    }
    let pattern = Pattern::parse("user.{user}").unwrap();
    assert!(!pattern.matches("user.", Values::default()), "nobody has no topics");
}

#[test]
fn what_is_no_pattern_is_refused_with_what_would_be_one() {
    for (text, expected) in [
        ("", "a topic's name"),
        ("a*b", "\"a*b\": a `*` stands at the end"),
        ("**", "or between two dots"),
        ("a*.b", "or between two dots"),
        ("a.*b", "or between two dots"),
        ("{user}*.b", "\"{user}*.b\": a `*` directly behind braces"),
        ("a.{org}*", "write a dot between them"),
        ("a.{user", "\"a.{user\": braces hold `user`"),
        ("a.{}", "the name of a claim"),
        ("a}", "the name of a claim"),
        ("a.{{user}}", "the name of a claim"),
        ("a.{*}", "the name of a claim"),
    ] {
        let problem = Pattern::parse(text).unwrap_err();
        assert!(problem.contains(expected), "{text}: {problem}");
    }
    assert!(Pattern::parse(&"x".repeat(PATTERN_BYTES_MAX)).is_ok());
    let problem = Pattern::parse(&"x".repeat(PATTERN_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(problem, "a pattern of 1025 bytes; allowed: 1024");
    let problem = Pattern::parse_without_session("user.{user}").unwrap_err();
    assert!(problem.contains("for all clients of a topic"), "{problem}");
}

#[test]
fn a_pattern_says_what_it_needs_of_a_session() {
    let pattern = Pattern::parse("{org}.*.{user}.{team}").unwrap();
    assert_eq!(pattern.claims().collect::<Vec<_>>(), ["org", "team"]);
    assert!(pattern.needs_user());
    assert_eq!(pattern.to_string(), "{org}.*.{user}.{team}");
}

/// Tries every way in which a pattern may fit, straight from its text.
fn naive(pattern: &str, topic: &str, user: &str, claim: &str) -> bool {
    if let Some((value, rest)) = [("{user}", user), ("{c}", claim)]
        .into_iter()
        .find_map(|(word, value)| Some((value, pattern.strip_prefix(word)?)))
    {
        let after = topic.strip_prefix(value).filter(|_| !value.is_empty());
        let whole = rest.is_empty() || !value.contains('.');
        return whole && after.is_some_and(|after| naive(rest, after, user, claim));
    }
    match pattern.chars().next() {
        None => topic.is_empty(),
        Some('*') if pattern.len() == 1 => true,
        Some('*') => topic
            .char_indices()
            .map(|(at, _)| at)
            .chain([topic.len()])
            .filter(|at| !topic[..*at].contains('.'))
            .any(|at| naive(&pattern[1..], &topic[at..], user, claim)),
        Some(letter) => topic
            .strip_prefix(letter)
            .is_some_and(|after| naive(&pattern[letter.len_utf8()..], after, user, claim)),
    }
}

#[test]
fn whatever_the_pattern_and_the_name_it_fits_as_if_every_way_had_been_tried() {
    let seed = std::env::var("ROADCAST_SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let mut joined = |words: &[&str], most: usize| -> String {
        let count = rng.random_range(0..=most);
        (0..count).map(|_| words[rng.random_range(0..words.len())]).collect()
    };
    let (mut fitting, mut patterns) = (0, 0);
    for _ in 0..200_000 {
        let pattern = joined(&["a", "b", "ö", ".", ".*.", "*", "{user}", "{c}", "."], 7);
        let topic = joined(&["a", "b", "ö", ".", "*", "a.b"], 7);
        let (user, claim) = (joined(&["a", ".", "*", "b"], 2), joined(&["a", "ö", "a.b"], 1));
        let Ok(parsed) = Pattern::parse(&pattern) else { continue };
        let claims = [("c".into(), claim.clone().into())];
        let found = parsed.matches(&topic, Values { user: Some(&user), claims: &claims });
        let expected = naive(&pattern, &topic, &user, &claim);
        assert_eq!(found, expected, "seed {seed}: {pattern:?} {topic:?} {user:?} {claim:?}");
        assert_eq!(parsed.to_string(), pattern);
        patterns += 1;
        fitting += u32::from(found);
    }
    assert!(patterns > 50_000 && fitting > 2_000, "{patterns} patterns, {fitting} fit");
}

#[test]
fn a_pattern_that_covers_another_means_all_that_it_means() {
    for (wide, narrow, expected) in [
        ("*", "", true),
        ("*", "user.{user}.*", true),
        ("news.*", "news.a.*", true),
        ("news.*", "news", false),
        ("news.a", "news.*", false),
        ("user.*", "user.{user}.inbox", true),
        ("user.{user}.*", "user.{user}.inbox", true),
        ("user.{user}.*", "user.{org}.inbox", false),
        ("user.{user}.*", "user.7.inbox", false),
        ("room.*.log", "room.7.log", true),
        ("room.*.log", "room.*.log", true),
        ("room.*.log", "room.*", false),
        // A user that has dots fits at the end alone.
        ("room.*.log", "room.{user}.log", true),
        ("room.*.*", "room.{user}", false),
        ("a*", "a", true),
        ("a", "a*", false),
    ] {
        let narrow = if narrow.is_empty() { "a.b" } else { narrow };
        let [wide, narrow] = [wide, narrow].map(|text| Pattern::parse(text).unwrap());
        assert_eq!(wide.covers(&narrow), expected, "{wide} {narrow}");
    }
    let seed = std::env::var("ROADCAST_SEED").map_or(8, |seed| seed.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let mut joined = |words: &[&str], most: usize| -> String {
        let count = rng.random_range(0..=most);
        (0..count).map(|_| words[rng.random_range(0..words.len())]).collect()
    };
    let mut covered = 0;
    for _ in 0..200_000 {
        let of = ["a", ".", ".*.", "*", "{user}", "{c}", "."];
        let [wide, narrow] = [joined(&of, 5), joined(&of, 5)].map(|text| Pattern::parse(&text));
        let (topic, user) = (joined(&["a", "b", ".", "a.b"], 7), joined(&["a", ".", "b"], 2));
        let (Ok(wide), Ok(narrow)) = (wide, narrow) else { continue };
        let claims = [("c".into(), joined(&["a", "a.b"], 1).into())];
        let values = Values { user: Some(&user), claims: &claims };
        if wide.covers(&narrow) && narrow.matches(&topic, values) {
            covered += 1;
            assert!(wide.matches(&topic, values), "seed {seed}: {wide} {narrow} {topic} {user}");
        }
    }
    assert!(covered > 100, "{covered}");
}

#[test]
fn signs_of_other_systems_and_a_user_in_capitals_are_doubted() {
    for (pattern, expected) in [
        ("user.{User}", "{User} is a claim of that name; the user is {user}"),
        ("room.#", "any rest of a name is a `*` at the end"),
        ("room/#", "any rest of a name is a `*` at the end"),
        ("room.>", "any rest of a name is a `*` at the end"),
        ("room.+.log", "one level is a `*` between two dots"),
        ("room.?", "a `?` stands for itself"),
    ] {
        let doubt = Pattern::parse(pattern).unwrap().doubt().unwrap_or_default();
        assert!(doubt.contains(expected), "{pattern}: {doubt}");
    }
    for pattern in ["room.c#", "a->b", "a+b", "user.{user}.*", "{users}", "*"] {
        assert_eq!(Pattern::parse(pattern).unwrap().doubt(), None, "{pattern}");
    }
}

/// A matcher that goes back would take as many steps as there are ways to share the name out.
#[test]
fn a_pattern_of_many_stars_is_no_work() {
    let pattern = Pattern::parse(&format!("{}x", "*.".repeat(500))).unwrap();
    let topic = "a.".repeat(30_000);
    for _ in 0..10_000 {
        assert!(!pattern.matches(&topic, Values::default()));
    }
}
