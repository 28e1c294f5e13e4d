//! Which web pages may connect: the rule that the `Origin` of an upgrade request must meet (RFC
//! 6454, RFC 6455 §10.2).
//!
//! A browser always names the page's origin, so this keeps other sites' pages out. A program that
//! is not a browser can name any: the rule is no access control.

/// `allowed_origin` as configured: rules, of which an origin must meet one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRule(Vec<Rule>);

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
    /// Empty or `*` allows every origin, also none. Otherwise origins are compared in lower case;
    /// one `*` stands for any characters, none included. A second `*` is an ordinary character,
    /// which no browser's origin contains.
    pub fn new(rule: &str) -> Self {
        Self(vec![Rule::new(rule)])
    }

    /// As [`new`](Self::new), each of `rules`. Without one, nobody is allowed.
    pub fn any_of(rules: &[String]) -> Self {
        Self(rules.iter().map(|rule| Rule::new(rule)).collect())
    }

    /// Why a rule can hardly be meant as it is written: no browser's origin (RFC 6454 §6.2: scheme,
    /// host, port) meets it.
    pub fn doubt(rule: &str) -> Option<&'static str> {
        if rule.is_empty() || rule == "*" {
            return None;
        }
        if rule.contains(char::is_whitespace) {
            return Some("it is one rule; write several as a list, [a, b]");
        }
        if rule.matches('*').count() > 1 {
            return Some("only one `*` stands for anything, the others for themselves");
        }
        let before = rule.split('*').next().unwrap_or_default();
        let (scheme, host) = match rule.split_once("://") {
            Some((scheme, host)) => (Some(scheme.to_ascii_lowercase()), host),
            None => (None, rule),
        };
        if host.contains(['/', '?', '#']) {
            return Some("an origin ends with its host or port: no `/` at its end, no path");
        }
        if host.contains('@') {
            return Some("an origin holds no user and no password");
        }
        if !host.is_ascii() {
            return Some(
                "browsers send such a host in punycode, as in https://xn--bcher-kva.example",
            );
        }
        match scheme.as_deref() {
            Some("ws" | "wss") => {
                return Some(
                    "an origin is the page's, so it begins with http:// or https://, not with ws:// or wss://",
                );
            }
            Some("") => return Some("an origin begins with its scheme, as in https://my.site"),
            Some("https") if host.ends_with(":443") => {
                return Some(
                    "browsers leave off the port that https has by itself: no `:443` at its end",
                );
            }
            Some("http") if host.ends_with(":80") => {
                return Some(
                    "browsers leave off the port that http has by itself: no `:80` at its end",
                );
            }
            _ => {}
        }
        // In brackets, colons are an IPv6 address's own.
        let port =
            host.rsplit(']').next().and_then(|rest| rest.split_once(':')).map(|(_, port)| port);
        if port.is_some_and(|port| !port.contains('*') && port.parse::<u16>().is_err()) {
            return Some("what stands behind the host's `:` is no port");
        }
        if scheme.is_some() && (host.is_empty() || host.starts_with(':')) {
            return Some("it names no host");
        }
        // The `*` may stand for the scheme, or for its end.
        let open = rule.contains('*') && before.chars().all(|c| c.is_ascii_alphanumeric());
        if scheme.is_none() && !open && !rule.eq_ignore_ascii_case("null") {
            return Some("an origin begins with its scheme, as in https://my.site");
        }
        None
    }

    /// Whether a request with this `Origin` header may be upgraded. A request without one meets
    /// only the rule that allows all.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        let origin = origin.map(str::to_lowercase);
        self.0.iter().any(|rule| rule.allows(origin.as_deref()))
    }
}

impl Rule {
    fn new(rule: &str) -> Self {
        let rule = rule.to_lowercase();
        match rule.split_once('*') {
            _ if rule.is_empty() || rule == "*" => Self::Any,
            None => Self::Exactly(rule),
            Some((prefix, suffix)) => Self::Around { prefix: prefix.into(), suffix: suffix.into() },
        }
    }

    /// Whether an origin in lower case meets this rule.
    fn allows(&self, origin: Option<&str>) -> bool {
        match (self, origin) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exactly(allowed), Some(origin)) => origin == allowed,
            // Prefix and suffix must not overlap: `a*a` does not allow `a`.
            (Self::Around { prefix, suffix }, Some(origin)) => origin
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.ends_with(suffix.as_str())),
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
            ("https://a.site https://b.site", "as a list, [a, b]"),
            ("https://my.site:443", "no `:443`"),
            ("HTTPS://*.my.site:443", "no `:443`"),
            ("http://my.site:80", "no `:80`"),
            ("http://[::1]:80", "no `:80`"),
            ("https://bücher.example", "punycode, as in https://xn--bcher-kva.example"),
            ("https://*.bücher.example", "punycode"),
            ("wss://my.site", "not with ws:// or wss://"),
            ("WS://*.my.site", "not with ws:// or wss://"),
            ("://my.site", "begins with its scheme"),
            ("https://", "names no host"),
            ("https://:8443", "names no host"),
            ("https://my.site:", "no port"),
            ("https://my.site:https", "no port"),
            ("https://my.site:70000", "no port"),
            ("https://me@my.site", "no user"),
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
            "https://my.site:80",
            "http://my.site:443",
            "http://[::1]:8080",
            "https://[2001:db8::1]",
            "http://localhost:*",
            "capacitor://localhost",
            "https://xn--bcher-kva.example",
            "https://*my.site",
            "*.my.site",
            "http*",
        ] {
            assert_eq!(OriginRule::doubt(rule), None, "{rule}");
        }
    }

    #[test]
    fn one_of_several_rules_must_be_met() {
        let rules = ["https://a.site", "https://*.b.site"].map(str::to_owned);
        let rule = OriginRule::any_of(&rules);
        for (origin, allowed) in [
            (Some("https://a.site"), true),
            (Some("https://x.b.site"), true),
            (Some("https://x.a.site"), false),
            (None, false),
        ] {
            assert_eq!(rule.allows(origin), allowed, "{origin:?}");
        }
        assert!(OriginRule::any_of(&["https://a.site", "*"].map(str::to_owned)).allows(None));
        assert!(!OriginRule::any_of(&[]).allows(Some("https://a.site")));
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
            assert_eq!(
                OriginRule::new(rule).allows(origin),
                allowed,
                "{rule:?} against {origin:?}"
            );
        }
    }
}
