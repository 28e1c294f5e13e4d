//! The request that a client came with, kept for those who are asked about it: at the upgrade, and
//! again at each join.

use std::net::IpAddr;
use std::sync::Arc;

/// See the module. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRequest {
    /// A whole head that is valid HTTP: [`Head::parse`](crate::http::Head::parse) reads it. Bounded
    /// as heads are.
    pub head: Arc<[u8]>,
    /// The client's address, by a trusted proxy's word where there is one. `None`: not known.
    pub client: Option<IpAddr>,
}
