//! What is found where a broker's servers are tried out, in words.

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// What the servers are, a line each.
    pub found: Vec<String>,
    /// What would keep the broker from working, and what to do.
    pub problems: Vec<String>,
}
