//! Where the server is.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::common::Common;
use super::connect::{Connected, Trouble, ask};
use super::sentinel::Sentinels;
use crate::hub::broker::link::Address;
use crate::resp::Value;

/// Nodes of a Cluster that are known at most.
const NODES_MAX: usize = 2_000;

/// See the module.
pub(super) enum Place {
    /// Always there.
    Single(Address),
    /// Where Sentinels say.
    Sentinels(Rc<Sentinels>),
    /// Any node of a Cluster.
    Nodes(Rc<Nodes>),
    /// One node of a Cluster.
    Node(Address),
}

/// The nodes of a Cluster that are known.
pub(super) struct Nodes {
    /// The one that is used comes first.
    known: RefCell<Vec<Address>>,
}

impl Nodes {
    pub(super) fn new(known: &[Address]) -> Self {
        Self { known: RefCell::new(known.to_vec()) }
    }

    /// All of them; the one that is used comes first.
    pub(super) fn all(&self) -> Vec<Address> {
        self.known.borrow().clone()
    }

    /// Some others, perhaps.
    pub(super) fn learn(&self, nodes: &[Address]) {
        let mut known = self.known.borrow_mut();
        for node in nodes {
            if known.len() < NODES_MAX && !known.contains(node) {
                known.push(node.clone());
            }
        }
    }

    /// One of them cannot be used: the others come first.
    pub(super) fn failed(&self, address: &Address) {
        let mut known = self.known.borrow_mut();
        if let Some(place) = known.iter().position(|known| known == address) {
            known[place..].rotate_left(1);
        }
    }
}

impl Place {
    /// Where it is now.
    pub(super) async fn find(&self, common: &Common) -> Result<Address, Trouble> {
        match self {
            Self::Single(address) | Self::Node(address) => Ok(address.clone()),
            Self::Sentinels(sentinels) => sentinels.master(common).await,
            Self::Nodes(nodes) => Ok(nodes.known.borrow()[0].clone()),
        }
    }

    /// It cannot be reached there.
    pub(super) fn failed(&self, address: &Address) {
        if let Self::Nodes(nodes) = self {
            nodes.failed(address);
        }
    }

    /// Whether a server that was reached is the right one.
    pub(super) async fn check(
        &self,
        connected: &mut Connected,
        common: &Common,
    ) -> Result<(), Trouble> {
        let Connected { link, server, .. } = connected;
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
            Self::Sentinels(_) => {
                // Redis 5 knows no HELLO.
                if server.role.is_empty() {
                    let role = |answer: &Value<'_>| {
                        answer.values().first().and_then(Value::text).map(str::to_owned)
                    };
                    server.role = ask(link, &[b"ROLE"], role).await?.unwrap_or_default();
                }
                // Sentinels say so shortly before, or behind, what happens.
                match server.role.as_str() {
                    "master" => Ok(()),
                    role => Err(Trouble::Passing(format!(
                        "what Sentinels call the master says that it is a {role}"
                    ))),
                }
            }
            Self::Nodes(_) | Self::Node(_) => Ok(()),
        }
    }

    /// Whether the server is a node of a Cluster, which has one database.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Nodes(_) | Self::Node(_))
    }

    /// Whether it is that node of a Cluster.
    pub(super) fn is_at(&self, address: &Address) -> bool {
        matches!(self, Self::Node(node) if node == address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(address) | Self::Node(address) => address.fmt(f),
            Self::Sentinels(sentinels) => write!(f, "the master {:?}", sentinels.name()),
            Self::Nodes(_) => f.write_str("a Cluster"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_fails_makes_room_for_the_others() {
        let address = |n: u16| Address::parse(&format!("n:{n}"), None).unwrap();
        let nodes = Nodes::new(&[address(1), address(2)]);
        nodes.learn(&[address(2), address(3)]);
        assert_eq!(nodes.all(), [address(1), address(2), address(3)]);
        nodes.failed(&address(1));
        nodes.failed(&address(1));
        assert_eq!(nodes.all(), [address(2), address(3), address(1)]);
    }
}
