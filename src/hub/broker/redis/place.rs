//! Where the server is.

use std::fmt;

use super::connect::{Server, Trouble};
use super::node::Common;
use crate::hub::broker::link::Address;

/// See the module.
pub(super) enum Place {
    /// Always there.
    Single(Address),
}

impl Place {
    /// Where it is now.
    pub(super) async fn find(&self, _common: &Common) -> Result<Address, Trouble> {
        match self {
            Self::Single(address) => Ok(address.clone()),
        }
    }

    /// It cannot be reached there.
    pub(super) fn failed(&self, _address: &Address) {
        match self {
            Self::Single(_) => {}
        }
    }

    /// Whether a server that was reached is the right one.
    pub(super) fn check(&self, server: &Server, common: &Common) -> Result<(), Trouble> {
        match self {
            Self::Single(_) if server.mode == "sentinel" => Err(Trouble::Hopeless(
                "this is a Sentinel, not a server: say in `master_name` which master it watches"
                    .to_owned(),
            )),
            Self::Single(address) => {
                if server.role == "replica" {
                    let (broker, address) = (&common.name, address.to_string());
                    tracing::warn!(
                        broker,
                        address,
                        "a replica: who subscribes to the master, or to another replica, hears \
                         nothing that is published here; name the master"
                    );
                }
                Ok(())
            }
        }
    }

    /// Whether the server is a node of a Cluster, which has one database.
    pub(super) fn is_cluster(&self) -> bool {
        false
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(address) => address.fmt(f),
        }
    }
}
