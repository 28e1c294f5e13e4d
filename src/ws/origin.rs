//! Which web pages may connect: the rule that the `Origin` of an upgrade request must meet (RFC 6454, RFC 6455 §10.2).
//!
//! A browser always names the page's origin, so this keeps other sites' pages out. A program that is not a browser can
//! name any: the rule is no access control.

/// One `allowed_origin`, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRule(Rule);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Any,
    Exactly(String),
    /// What was before and behind the rule's first `*`.
    Around {
        prefix: String,
        suffix: String,
    },
}

impl OriginRule {
    /// Empty or `*` allows every origin, also none. Otherwise origins are compared in lower case; one `*` stands for
    /// any characters, none included. A second `*` is an ordinary character, which no browser's origin contains.
    pub fn new(rule: &str) -> Self {
        let rule = rule.to_lowercase();
        Self(match rule.split_once('*') {
            _ if rule.is_empty() || rule == "*" => Rule::Any,
            None => Rule::Exactly(rule),
            Some((prefix, suffix)) => Rule::Around { prefix: prefix.into(), suffix: suffix.into() },
        })
    }

    /// Why a rule can hardly be meant as it is written: no browser's origin (RFC 6454 §6.2: scheme, host, port) meets it.
    pub fn doubt(rule: &str) -> Option<&'static str> {
        if rule.is_empty() || rule == "*" {
            return None;
        }
        if rule.contains(|c: char| c == ',' || c.is_whitespace()) {
            return Some("it is one rule, not a list");
        }
        if rule.matches('*').count() > 1 {
            return Some("only one `*` stands for anything, the others for themselves");
        }
        let before = rule.split('*').next().unwrap_or_default();
        let (scheme, host) = match rule.split_once("://") {
            Some((_, host)) => (true, host),
            None => (false, rule),
        };
        if host.contains(['/', '?', '#']) {
            return Some("an origin ends with its host or port: no `/` at its end, no path");
        }
        // The `*` may stand for the scheme, or for its end.
        let open = rule.contains('*') && before.chars().all(|c| c.is_ascii_alphanumeric());
        if !scheme && !open && !rule.eq_ignore_ascii_case("null") {
            return Some("an origin begins with its scheme, as in https://my.site");
        }
        None
    }

    /// Whether a request with this `Origin` header may be upgraded. A request without one meets only the rule that
    /// allows all.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        if self.0 == Rule::Any {
            return true;
        }
        let Some(origin) = origin.map(str::to_lowercase) else { return false };
        match &self.0 {
            Rule::Any => true,
            Rule::Exactly(allowed) => origin == *allowed,
            // Prefix and suffix must not overlap: `a*a` does not allow `a`.
            Rule::Around { prefix, suffix } => {
                origin.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.ends_with(suffix.as_str()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_no_browser_meets_are_doubted() {
        for (rule, words) in [
            ("https://my.site/", "no `/`"),
            ("https://my.site/app", "no path"),
            ("*my.site/", "no `/`"),
            ("https://a.site,https://b.site", "not a list"),
            ("https://a.site https://b.site", "not a list"),
            ("https://*.*.site", "only one `*`"),
            ("my.site", "begins with its scheme"),
            ("my.*.site", "begins with its scheme"),
        ] {
            assert!(OriginRule::doubt(rule).is_some_and(|doubt| doubt.contains(words)), "{rule}");
        }
        for rule in [
            "",
            "*",
            "null",
            "https://my.site",
            "HTTPS://My.Site:8443",
            "https://*my.site",
            "*.my.site",
            "http*",
        ] {
            assert_eq!(OriginRule::doubt(rule), None, "{rule}");
        }
    }

    #[test]
    fn origins_meet_rules_as_tabled() {
        let table: &[(&str, Option<&str>, bool)] = &[
            ("", None, true),
            ("", Some("https://any.com"), true),
            ("*", None, true),
            ("*", Some("null"), true),
            ("https://my.site.com", None, false),
            ("https://my.site.com", Some(""), false),
            ("https://my.site.com", Some("https://my.site.com"), true),
            ("https://my.site.com", Some("https://some.my.site.com"), false),
            ("https://my.site.com", Some("https://my.site.com:8080"), false),
            ("HTTPS://My.Site.com", Some("https://mY.sitE.com"), true),
            ("https://*my.site.com", None, false),
            ("https://*my.site.com", Some("https://my.site.com"), true),
            ("https://*my.site.com", Some("https://some.my.site.com"), true),
            ("https://*my.site.com", Some("HTTPS://SOME.MY.SITE.COM"), true),
            ("https://*my.site.com", Some("https://site.com"), false),
            ("https://*my.site.com", Some("https://*site.com"), false),
            ("https://*my.site.com", Some("http://my.site.com"), false),
            ("https://*my.site.com", Some("https://my.site.com.evil.com"), false),
            ("https://my.*.com", Some("https://my.bad.com"), true),
            ("https://my.*.com", Some("https://my..com"), true),
            ("https://my.*.com", Some("https://my.com"), false),
            ("*.site.com", Some("https://my.site.com"), true),
            ("*.site.com", None, false),
            ("https://*", Some("https://any.com"), true),
            ("https://*", Some("http://any.com"), false),
            ("aba*aba", Some("ababa"), false),
            ("aba*aba", Some("abaaba"), true),
            ("https://*.*.com", Some("https://a.b.com"), false),
            ("https://*.*.com", Some("https://a.*.com"), true),
            ("**", Some("https://any.com"), false),
        ];
        for &(rule, origin, allowed) in table {
            assert_eq!(OriginRule::new(rule).allows(origin), allowed, "{rule:?} against {origin:?}");
        }
    }
}
