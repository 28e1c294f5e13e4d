//! Which server is meant: its kind, what it is called, and its options.

use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::bus::Bus;
use super::guard::Guard;
use crate::dialect::{Centrifugo, Dialect, Floor, Goridge, Letters};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Roadcast.
    Roadcast,
    /// The floor, with what is in flight batched into one write a socket.
    Floor,
    /// The floor, a write for every frame and socket.
    FloorPlain,
    /// The bare RPC loop, which has no subscribers.
    BareRpc,
    /// uWebSockets, native.
    Uws,
    /// RoadRunner with its `websockets` and `broadcast` plugins.
    RoadRunner,
    /// Centrifugo.
    Centrifugo,
}

impl Kind {
    const NAMES: [(&'static str, Self); 7] = [
        ("roadcast", Self::Roadcast),
        ("floor", Self::Floor),
        ("floor-plain", Self::FloorPlain),
        ("bare-rpc", Self::BareRpc),
        ("uws", Self::Uws),
        ("roadrunner", Self::RoadRunner),
        ("centrifugo", Self::Centrifugo),
    ];

    /// What it is called in a spec.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// What speaks this kind's language.
    pub fn dialect(self) -> Box<dyn Dialect> {
        match self {
            Self::Roadcast | Self::RoadRunner | Self::BareRpc => Box::<Goridge>::default(),
            Self::Floor | Self::FloorPlain => Box::<Floor>::default(),
            Self::Uws => Box::<Letters>::default(),
            Self::Centrifugo => Box::<Centrifugo>::default(),
        }
    }

    /// Whether it has subscribers.
    pub fn has_subscribers(self) -> bool {
        self != Self::BareRpc
    }
}

/// A server to compare: `[LABEL=]KIND[:KEY=VALUE]…`.
///
/// `binary=PATH` starts that program. `subscribers=NUMBER` is for this server alone, in place of
/// the workload's. `guard=rules|hs256|es256|workers|callback` has somebody asked about each
/// client, a worker for `delay=` µs. `broker=redis|nats` has publications travel through a server
/// of that kind, started beside it. Any other key of a `roadcast` is handed on as
/// `-o roadcast.KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What it is called in the results.
    pub label: String,
    /// What it is.
    pub kind: Kind,
    /// Keys and values, in their order.
    pub options: Vec<(String, String)>,
}

impl FromStr for Spec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let head = parts.next().unwrap_or_default();
        let (label, kind) = head.split_once('=').unwrap_or((text, head));
        let known = Kind::NAMES.iter().find(|(name, _)| *name == kind);
        let Some((_, kind)) = known else {
            let names: Vec<_> = Kind::NAMES.iter().map(|(name, _)| *name).collect();
            bail!("{kind:?} is no kind of server; there are {}", names.join(", "));
        };
        let options = parts
            .map(|option| {
                option.split_once('=').with_context(|| format!("{option:?} is not KEY=VALUE"))
            })
            .map(|option| option.map(|(key, value)| (key.to_owned(), value.to_owned())))
            .collect::<Result<_>>()?;
        Ok(Self { label: label.to_owned(), kind: *kind, options })
    }
}

/// Keys of a spec that are not handed on.
pub(super) const OWN: [&str; 5] = ["binary", "subscribers", "guard", "delay", "broker"];

impl Spec {
    fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Who is asked about its clients.
    pub fn guard(&self) -> Result<Option<Guard>> {
        self.option("guard").map(str::parse).transpose()
    }

    /// What its publications travel through.
    pub fn bus(&self) -> Result<Option<Bus>> {
        self.option("broker").map(str::parse).transpose()
    }

    /// How long a worker takes for an answer, µs.
    pub fn delay(&self) -> &str {
        self.option("delay").unwrap_or("0")
    }

    /// Its own number of subscribers.
    pub fn subscribers(&self) -> Option<usize> {
        self.option("subscribers").and_then(|number| number.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_names_label_kind_and_options() {
        let spec: Spec = "old=roadcast:binary=/x/roadcast:shards=2".parse().unwrap();
        assert_eq!((spec.label.as_str(), spec.kind), ("old", Kind::Roadcast));
        assert_eq!(spec.options[1], ("shards".into(), "2".into()));
        let spec: Spec = "roadcast:shards=2".parse().unwrap();
        assert_eq!(spec.label, "roadcast:shards=2");
        assert!("nginx".parse::<Spec>().is_err());
        assert!("roadcast:shards".parse::<Spec>().is_err());
    }
}
