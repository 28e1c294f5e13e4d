//! Where the master is, by the word of its Sentinels.
//!
//! Sentinels are asked before each connection. One of them is listened to meanwhile: when it says
//! that another server has become the master, the connections to the old one are given up at once,
//! also if it still answers.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::time::{Instant, sleep, timeout};

use super::common::Common;
use super::connect::{Connected, Credentials, Trouble, ask, connect, within};
use crate::hub::broker::backoff::{Backoff, random_fraction};
use crate::hub::broker::link::{Address, Link};
use crate::hub::broker::terms::PROBE;
use crate::resp::{self, Pushed, Value};

/// What Sentinels publish when a master has changed: its name, then the old and the new address.
const SWITCHED: &[u8] = b"+switch-master";
/// Bytes of what a Sentinel publishes.
const SAID_BYTES_MAX: usize = 64 * 1024;
/// Sentinels that are known at most: those of the configuration and those that they name.
const KNOWN_MAX: usize = 64;

/// See the module.
pub(super) struct Sentinels {
    name: String,
    /// The one that answered last comes first.
    known: RefCell<Vec<Address>>,
}

impl Sentinels {
    pub(super) fn new(name: &str, known: &[Address]) -> Self {
        Self { name: name.to_owned(), known: RefCell::new(known.to_vec()) }
    }

    /// How the master is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The master, as the first Sentinel says that knows it.
    pub(super) async fn master(&self, common: &Common) -> Result<Address, Trouble> {
        let known = self.known.borrow().clone();
        let (mut problems, mut unknown) = (Vec::new(), false);
        for address in known {
            match self.ask(common, &address).await {
                Ok(Some(master)) => {
                    self.answered(&address);
                    return Ok(master);
                }
                Ok(None) => unknown = true,
                Err(Trouble::Hopeless(why)) => {
                    return Err(Trouble::Hopeless(format!("the Sentinel at {address}: {why}")));
                }
                Err(Trouble::Passing(why)) => problems.push(format!("{address}: {why}")),
            }
        }
        if unknown {
            return Err(Trouble::Hopeless(format!(
                "no Sentinel knows a master called \"{}\": check `master_name`",
                self.name
            )));
        }
        Err(Trouble::Passing(format!("no Sentinel answers ({})", problems.join("; "))))
    }

    /// Asks one; `None`: it knows no such master.
    async fn ask(&self, common: &Common, address: &Address) -> Result<Option<Address>, Trouble> {
        let Connected { mut link, server, .. } = dial(common, address).await?;
        let name = self.name.as_bytes();
        let asked = async {
            let words = [&b"SENTINEL"[..], b"GET-MASTER-ADDR-BY-NAME", name];
            let master = ask(&mut link, &words, master).await?;
            if master.is_ok() {
                let words = [&b"SENTINEL"[..], b"SENTINELS", name];
                let others = ask(&mut link, &words, others).await?;
                self.learn(others);
            }
            Ok(master)
        };
        let master: Result<_, String> = within(&common.settings, asked).await?;
        master.map_err(|why| match why.contains("unknown command") {
            true => Trouble::Hopeless(format!(
                "this is no Sentinel ({}): name Sentinels in `addrs`, or leave off `master_name`",
                server.version
            )),
            false => Trouble::Passing(why),
        })
    }

    fn learn(&self, others: Vec<Address>) {
        let mut known = self.known.borrow_mut();
        for other in others {
            if known.len() < KNOWN_MAX && !known.contains(&other) {
                known.push(other);
            }
        }
    }

    fn answered(&self, address: &Address) {
        let mut known = self.known.borrow_mut();
        if let Some(place) = known.iter().position(|known| known == address) {
            known[..=place].rotate_right(1);
        }
    }
}

async fn dial(common: &Common, address: &Address) -> Result<Connected, Trouble> {
    let credentials = Credentials::of_sentinel(&common.settings);
    connect(&common.settings, common.tls.as_ref(), &credentials, address).await
}

/// From the answer to GET-MASTER-ADDR-BY-NAME: host and port; `None`: no such master is known. An
/// error is the Sentinel's.
pub(super) fn master(answer: &Value<'_>) -> Result<Option<Address>, String> {
    match answer {
        Value::Array(parts) => match parts[..] {
            [Value::Bulk(host), Value::Bulk(port)] => Ok(address(host, port)),
            _ => Err("an answer of another form".to_owned()),
        },
        Value::Error(why) => Err(String::from_utf8_lossy(why).into_owned()),
        _ => Ok(None),
    }
}

/// From the answer: of each Sentinel names and values by turns.
fn others(answer: &Value<'_>) -> Vec<Address> {
    let of = |sentinel: &Value<'_>| {
        let field = |name: &[u8]| {
            let mut pairs = sentinel.values().chunks_exact(2);
            pairs.find_map(|pair| match pair {
                [Value::Bulk(found), Value::Bulk(value)] if *found == name => Some(*value),
                _ => None,
            })
        };
        address(field(b"ip")?, field(b"port")?)
    };
    answer.values().iter().filter_map(of).collect()
}

fn address(host: &[u8], port: &[u8]) -> Option<Address> {
    let (host, port) = (std::str::from_utf8(host).ok()?, std::str::from_utf8(port).ok()?);
    Some(Address::Tcp { host: host.to_owned(), port: port.parse().ok()? })
}

/// Listens to a Sentinel, and says where the master is whenever it has changed.
pub(super) async fn watch(common: Rc<Common>, sentinels: Rc<Sentinels>, is_at: impl Fn(&Address)) {
    let settings = &common.settings;
    let mut backoff = Backoff::new(settings.min_retry_backoff, settings.max_retry_backoff);
    loop {
        let known = sentinels.known.borrow().clone();
        for address in known {
            if let Ok(Connected { link, .. }) = dial(&common, &address).await {
                backoff.connected(Instant::now());
                let why = listen(&common, &sentinels, link, &is_at).await;
                let (broker, address) = (&common.name, address.to_string());
                tracing::debug!(broker, address, why, "a Sentinel is not listened to any more");
            }
        }
        sleep(backoff.pause(Instant::now(), random_fraction())).await;
    }
}

/// Says why it ended.
async fn listen(
    common: &Common,
    sentinels: &Sentinels,
    mut link: Link,
    is_at: &impl Fn(&Address),
) -> String {
    link.out().queue(|out| resp::command(out, [&b"SUBSCRIBE"[..], SWITCHED].into_iter()));
    let mut asked = Some(Instant::now());
    loop {
        let read = timeout(PROBE, link.read(2 * SAID_BYTES_MAX)).await;
        match read {
            Ok(Err(error)) => return error.to_string(),
            Ok(Ok(())) => asked = None,
            Err(_) => {
                if let Some(why) = common.is_dead(&link, asked, Instant::now()) {
                    return why;
                }
                asked.get_or_insert(Instant::now());
                link.out().queue(|out| resp::command(out, [&b"PING"[..]].into_iter()));
            }
        }
        loop {
            let (pushed, bytes) = match resp::pushed(link.bytes(), SAID_BYTES_MAX) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(problem) => return problem.to_string(),
            };
            match pushed {
                Pushed::Message { payload, .. } => {
                    if let Some(master) = switched(payload, &sentinels.name) {
                        is_at(&master);
                    }
                }
                // What it said before this subscription nobody heard.
                Pushed::Subscribed(_) => {
                    if let Ok(master) = sentinels.master(common).await {
                        is_at(&master);
                    }
                }
                Pushed::Error(why) => return String::from_utf8_lossy(why).into_owned(),
                _ => {}
            }
            link.consume(bytes);
        }
    }
}

/// Where the master of that name is from now on, if it is that one which has changed.
fn switched(said: &[u8], name: &str) -> Option<Address> {
    let words: Vec<_> = said.split(|byte| *byte == b' ').collect();
    match words[..] {
        [of, _, _, host, port] if of == name.as_bytes() => address(host, port),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_is_read_from_the_answer() {
        let read = |bytes: &[u8]| master(&resp::value(bytes, 100).unwrap().unwrap().0);
        let found = read(b"*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n");
        assert_eq!(found.unwrap().unwrap().to_string(), "127.0.0.1:6379");
        assert_eq!(read(b"*-1\r\n"), Ok(None));
        assert!(read(b"-ERR unknown command\r\n").is_err());
        assert!(read(b"*1\r\n:1\r\n").is_err());
    }

    #[test]
    fn other_sentinels_are_learnt_and_the_one_that_answers_is_asked_first() {
        let bytes = b"*1\r\n*6\r\n$4\r\nname\r\n$1\r\nx\r\n$2\r\nip\r\n$3\r\n::1\r\n$4\r\nport\r\n$1\r\n7\r\n";
        let others = others(&resp::value(bytes, 100).unwrap().unwrap().0);
        let known = Address::parse("a:1", None).unwrap();
        let sentinels = Sentinels::new("m", std::slice::from_ref(&known));
        sentinels.learn(others.clone());
        sentinels.learn(others.clone());
        assert_eq!(*sentinels.known.borrow(), [known.clone(), others[0].clone()]);
        sentinels.answered(&others[0]);
        assert_eq!(*sentinels.known.borrow(), [others[0].clone(), known]);
    }

    #[test]
    fn another_masters_change_is_not_ours() {
        let said = b"main 10.0.0.1 6379 10.0.0.2 6380";
        assert_eq!(switched(said, "main").unwrap().to_string(), "10.0.0.2:6380");
        assert_eq!(switched(said, "mainly"), None);
    }
}
