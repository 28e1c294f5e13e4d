//! Who a client is.

use crate::policy::Pattern;

/// What a token says of a client, or a worker or callback that let it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its user: a token's `sub`, or the header `Roadcast-User`. `None`: nobody in particular.
    pub user: Option<Box<str>>,
    /// What others may be told of it: any JSON, as text.
    pub info: Option<Box<str>>,
    /// Those text claims of its token that a rule names.
    pub claims: Vec<(Box<str>, Box<str>)>,
    /// What its token lets it join; `None`: it says nothing of that.
    pub topics: Option<Vec<Pattern>>,
}
