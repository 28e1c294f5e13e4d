//! Hash slots: where each channel of a Cluster is at home.

use crate::hub::broker::link::Address;
use crate::resp::Value;

/// Hash slots of a Cluster.
pub(super) const SLOTS: usize = 16_384;
/// Masters that a Cluster may have here: each takes two connections.
const MASTERS_MAX: usize = 1_000;

/// The slot of a channel, `prefix` and `topic`: of what stands in its first braces, if anything
/// does.
pub(super) fn slot_of(prefix: &str, topic: &str) -> u16 {
    let bytes = || prefix.bytes().chain(topic.bytes());
    let length = prefix.len() + topic.len();
    let open = bytes().position(|byte| byte == b'{');
    let tag = open.and_then(|open| {
        let inner = bytes().skip(open + 1).position(|byte| byte == b'}')?;
        (inner > 0).then_some((open + 1, inner))
    });
    let (from, count) = tag.unwrap_or((0, length));
    crc16(bytes().skip(from).take(count)) % SLOTS as u16
}

/// CRC-16/XMODEM.
fn crc16(bytes: impl Iterator<Item = u8>) -> u16 {
    bytes.fold(0, |crc, byte| TABLE[usize::from((crc >> 8) as u8 ^ byte)] ^ (crc << 8))
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Which master serves which slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// The masters, each once.
    pub(super) masters: Vec<Address>,
    /// All nodes, masters among them.
    pub(super) nodes: Vec<Address>,
    /// By slot the place in `masters`.
    homes: Vec<Option<u16>>,
}

impl Slots {
    /// From the answer to CLUSTER SLOTS, by a node at `asked`. A node that does not know its own
    /// address is where it was asked.
    pub(super) fn read(answer: &Value<'_>, asked: &Address) -> Result<Self, String> {
        let ranges = match answer {
            Value::Array(ranges) => ranges,
            Value::Error(why) => return Err(String::from_utf8_lossy(why).into_owned()),
            _ => return Err(OTHER_FORM.to_owned()),
        };
        let mut slots = Self { masters: vec![], nodes: vec![], homes: vec![None; SLOTS] };
        for range in ranges {
            let parts = range.values();
            let [first, last, master, replicas @ ..] = parts else {
                return Err(OTHER_FORM.to_owned());
            };
            let (Some(first), Some(last)) = (slot(first), slot(last)) else {
                return Err(OTHER_FORM.to_owned());
            };
            let Some(master) = address(master, asked) else { continue };
            let place = match slots.masters.iter().position(|known| *known == master) {
                Some(place) => place,
                None if slots.masters.len() == MASTERS_MAX => {
                    return Err(format!("a Cluster of more than {MASTERS_MAX} masters"));
                }
                None => {
                    slots.masters.push(master.clone());
                    slots.masters.len() - 1
                }
            };
            for home in slots.homes.get_mut(first..=last).unwrap_or_default() {
                *home = Some(place as u16);
            }
            let replicas = replicas.iter().filter_map(|replica| address(replica, asked));
            for node in std::iter::once(master).chain(replicas) {
                if !slots.nodes.contains(&node) {
                    slots.nodes.push(node);
                }
            }
        }
        Ok(slots)
    }

    /// The master that serves a slot, if one does.
    pub(super) fn home(&self, slot: u16) -> Option<&Address> {
        self.masters.get(usize::from((*self.homes.get(usize::from(slot))?)?))
    }
}

const OTHER_FORM: &str = "an answer to CLUSTER SLOTS of another form";

fn slot(value: &Value<'_>) -> Option<usize> {
    usize::try_from(value.integer()?).ok().filter(|slot| *slot < SLOTS)
}

/// Of a node: its address, its port, and more.
fn address(node: &Value<'_>, asked: &Address) -> Option<Address> {
    let [host, port, ..] = node.values() else { return None };
    let port = u16::try_from(port.integer()?).ok().filter(|port| *port != 0)?;
    let host = match (host.text(), asked) {
        (Some(""), Address::Tcp { host, .. }) | (None, Address::Tcp { host, .. }) => host.clone(),
        (Some("?"), _) | (_, Address::Unix(_)) => return None,
        (Some(host), _) => host.to_owned(),
    };
    Some(Address::Tcp { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp;

    #[test]
    fn slots_are_those_that_redis_reckons() {
        // CLUSTER KEYSLOT of Redis 7.0.
        for (name, slot) in [
            ("foo", 12182),
            ("123456789", 0x31C3),
            ("", 0),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("bar", 5061),
        ] {
            for cut in 0..=name.len() {
                let (prefix, topic) = name.split_at(cut);
                assert_eq!(slot_of(prefix, topic), slot, "{name}");
            }
        }
    }

    #[test]
    fn homes_are_read_from_the_answer() {
        let node = |port: u16| format!("*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$2\r\nid\r\n");
        let answer = format!(
            "*2\r\n*4\r\n:0\r\n:8000\r\n{}{}*3\r\n:8001\r\n:16382\r\n*3\r\n$0\r\n\r\n:7002\r\n$2\r\nid\r\n",
            node(7000),
            node(7001)
        );
        let answer = resp::value(answer.as_bytes(), 100).unwrap().unwrap().0;
        let asked = Address::parse("10.0.0.7:7002", None).unwrap();
        let slots = Slots::read(&answer, &asked).unwrap();
        let home = |slot| slots.home(slot).map(ToString::to_string);
        assert_eq!(home(0).as_deref(), Some("127.0.0.1:7000"));
        assert_eq!(home(8000).as_deref(), Some("127.0.0.1:7000"));
        assert_eq!(home(8001).as_deref(), Some("10.0.0.7:7002"));
        assert_eq!(home(16383), None, "nobody serves it");
        assert_eq!((slots.masters.len(), slots.nodes.len()), (2, 3));
        let refused = resp::value(b"-ERR no\r\n", 100).unwrap().unwrap().0;
        assert_eq!(Slots::read(&refused, &asked), Err("ERR no".to_owned()));
        let strange = resp::value(b"*1\r\n*3\r\n:0\r\n:16384\r\n*0\r\n", 100).unwrap().unwrap().0;
        assert!(Slots::read(&strange, &asked).is_err());
    }
}
