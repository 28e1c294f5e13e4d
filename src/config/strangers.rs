//! Keys and sections that have no effect: unknown ones, other plugins', and those that are not
//! used.

use super::error::{ConfigError, Notice, Origin};
use super::guards;
use super::key::Key;
use super::schema::{self};
use super::settings::Settings;
use super::yaml::{Data, Node};

/// The section that is Roadcast's own: a typo there must not silently change what runs.
const OWN_SECTION: &str = "roadcast";

impl Settings {
    pub(super) fn note_unused(&mut self, key: &'static Key, node: &Node) {
        // `config: {}` and `pool:` say nothing that could be missed.
        let empty = match &node.data {
            Data::Null => true,
            Data::Map(pairs) => pairs.is_empty(),
            Data::List(items) => items.is_empty(),
            Data::Scalar(_) => false,
        };
        if !empty {
            self.unused.insert(key.path);
        }
    }

    pub(super) fn unknown(&mut self, path: &[String], origin: &Origin) {
        let nearest = guards::moved(path).map(str::to_owned).or_else(|| self.nearest(path));
        let nearest = nearest.map(|key| format!("; did you mean {key}?")).unwrap_or_default();
        let problem = format!("no such key{nearest}");
        let own = path.first().is_some_and(|section| section.eq_ignore_ascii_case(OWN_SECTION));
        if own || *origin == Origin::Override || guards::misspelt(path) {
            self.problems.push(ConfigError::value(origin, path.join("."), problem));
        } else {
            self.notices.push(Notice::warning(format!("{origin}: {}: {problem}", path.join("."))));
        }
    }

    pub(super) fn elsewhere(&mut self, path: &[String], origin: &Origin) {
        let Some(section) = path.first() else { return };
        let lower = section.to_ascii_lowercase();
        let guard = guards::section(&lower);
        let near = guard.or_else(|| schema::nearest_section(&lower));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let problem = format!("no section that is read{hint}");
        let given = *origin == Origin::Override && !schema::is_other_plugin(&lower);
        if given || guard.is_some() {
            self.problems.push(ConfigError::value(origin, section, problem));
        } else if near.is_some() {
            self.notices.push(Notice::warning(format!("{origin}: {section}: {problem}")));
        } else {
            self.elsewhere.insert(section.clone());
        }
    }

    /// What is worth saying about keys and sections that have no effect.
    pub fn into_notices(mut self) -> Vec<Notice> {
        if self.unused.remove("http.ssl") {
            let text = "http.ssl: Roadcast does not serve TLS: clients that connect by wss:// lose their connection \
                        unless a proxy in front of it ends TLS";
            self.notices.insert(0, Notice::warning(text));
        }
        if !self.unused.is_empty() {
            let keys: Vec<_> = self.unused.into_iter().collect();
            let text = format!("RoadRunner's own, without effect here: {}", keys.join(", "));
            self.notices.push(Notice::info(text));
        }
        if !self.elsewhere.is_empty() {
            let sections: Vec<_> = self.elsewhere.into_iter().collect();
            self.notices.push(Notice::info(format!(
                "sections of other plugins, ignored: {}",
                sections.join(", ")
            )));
        }
        self.notices
    }
}
