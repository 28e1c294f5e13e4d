//! What the servers of a broker are and let us do, for whoever checks a configuration.

use super::connect::{Connected, Credentials, Trouble, ask, connect, within};
use super::sentinel;
use super::settings::{RedisSettings, Sharded};
use crate::hub::broker::Probed;
use crate::hub::broker::link::{Address, Link, Tls};
use crate::resp::Value;

/// What a server is meant to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meant {
    Single,
    Master,
    Node,
}

/// See [`crate::hub::probe()`].
pub(in crate::hub) async fn probe_redis(settings: &RedisSettings, probed: &mut Probed) {
    let tls = match settings.tls.as_ref().map(Tls::new).transpose() {
        Ok(tls) => tls,
        Err(why) => return probed.problems.push(format!("`tls`: {why}")),
    };
    let meant = if settings.addrs.len() > 1 { Meant::Node } else { Meant::Single };
    if !settings.master_name.is_empty() {
        if let Some(master) = ask_sentinels(settings, tls.as_ref(), probed).await {
            try_server(settings, tls.as_ref(), &master, Meant::Master, probed).await;
        }
        return;
    }
    for address in &settings.addrs {
        try_server(settings, tls.as_ref(), address, meant, probed).await;
    }
}

/// Asks each Sentinel where the master is; the first answer.
async fn ask_sentinels(
    settings: &RedisSettings,
    tls: Option<&Tls>,
    probed: &mut Probed,
) -> Option<Address> {
    let (credentials, name) = (Credentials::of_sentinel(settings), &settings.master_name);
    let mut master = None;
    for address in &settings.addrs {
        let asked = async {
            let mut link = connect(settings, tls, &credentials, address).await?.link;
            let words = [&b"SENTINEL"[..], b"GET-MASTER-ADDR-BY-NAME", name.as_bytes()];
            ask(&mut link, &words, sentinel::master).await
        };
        match within(settings, asked).await {
            Ok(Ok(Some(found))) => {
                probed.found.push(format!("Sentinel {address}: master {name} is at {found}"));
                master.get_or_insert(found);
            }
            Ok(Ok(None)) => probed.problems.push(format!(
                "Sentinel {address} knows no master \"{name}\": check `master_name`"
            )),
            Ok(Err(why)) => probed.problems.push(format!(
                "{address} is no Sentinel ({why}): check `addrs`, or leave off `master_name`"
            )),
            Err(trouble) => probed.problems.push(format!("{address}: {}", trouble.why())),
        }
    }
    master
}

async fn try_server(
    settings: &RedisSettings,
    tls: Option<&Tls>,
    address: &Address,
    meant: Meant,
    probed: &mut Probed,
) {
    let db = if meant == Meant::Node { 0 } else { settings.db };
    let credentials = Credentials::of_server(settings, db);
    let mut connected = match connect(settings, tls, &credentials, address).await {
        Ok(connected) => connected,
        Err(trouble) => return probed.problems.push(format!("{address}: {}", trouble.why())),
    };
    let (mut told, mut problems) = (Vec::new(), Vec::new());
    let looking = look(settings, meant, &mut connected, &mut told, &mut problems);
    if let Err(trouble) = within(settings, looking).await {
        problems.push(trouble.why());
    }
    probed.found.push(format!("{address}: {}", told.join(", ")));
    probed.problems.extend(problems.into_iter().map(|problem| format!("{address}: {problem}")));
}

/// What a server says of itself, and what it lets us do.
async fn look(
    settings: &RedisSettings,
    meant: Meant,
    connected: &mut Connected,
    told: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Result<(), Trouble> {
    let Connected { link, server, .. } = connected;
    let unknown =
        if server.version.is_empty() { "a Redis that does not say its version" } else { "" };
    for word in [unknown, &server.version, &server.mode, &server.role] {
        if !word.is_empty() {
            told.push(word.to_owned());
        }
    }
    match (meant, server.mode.as_str(), server.role.as_str()) {
        (_, "sentinel", _) => {
            problems.push("it is a Sentinel: set `master_name`, or name the server itself".into());
        }
        (Meant::Node, "standalone", _) => problems.push(
            "it is no node of a Cluster, and `addrs` names more than one server: leave one".into(),
        ),
        (Meant::Single | Meant::Master, _, "replica") => problems.push(
            "it is a replica, and what is published to it does not reach the others: name the \
             master, or Sentinels with `master_name`"
                .into(),
        ),
        _ => {}
    }
    let channel = format!("{}__roadcast:check", settings.prefix);
    let channel = channel.as_bytes();
    // Known to a server of 7.0 and later, also where nothing is subscribed.
    let answer = refusal(link, &[b"SUNSUBSCRIBE", channel]).await?;
    let sharded = !answer.is_some_and(|why| why.starts_with("ERR unknown"));
    told.push(format!("sharded pub/sub: {}", if sharded { "yes" } else { "no" }));
    if meant == Meant::Node {
        if settings.sharded == Sharded::Yes && !sharded {
            problems.push("it has no sharded pub/sub, and `sharded` is true: set `auto`".into());
        }
        if let Some(state) = cluster_state(link).await? {
            told.push(format!("cluster {state}"));
            if state != "ok" {
                problems.push(format!("its Cluster is in state {state}: see CLUSTER INFO"));
            }
        }
    }
    let shards = meant == Meant::Node && sharded && settings.sharded != Sharded::No;
    let verbs = match shards {
        true => ["SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE"],
        false => ["PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE"],
    };
    // Publishing first: a connection that has subscribed may not.
    for (verb, words) in verbs.into_iter().zip([&[channel, b""][..], &[channel], &[channel]]) {
        let words: Vec<&[u8]> =
            std::iter::once(verb.as_bytes()).chain(words.iter().copied()).collect();
        match refusal(link, &words).await? {
            // Another node has the slot, which is as good.
            Some(why) if !why.starts_with("MOVED") => {
                let prefix = &settings.prefix;
                problems.push(format!(
                    "it refuses {verb} ({why}): the user needs +{} and &{prefix}*",
                    verb.to_lowercase()
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The error that is answered, if one is.
async fn refusal(link: &mut Link, words: &[&[u8]]) -> Result<Option<String>, Trouble> {
    let read = |answer: &Value<'_>| match answer {
        Value::Error(why) => Some(String::from_utf8_lossy(why).into_owned()),
        _ => None,
    };
    ask(link, words, read).await
}

/// As a node of a Cluster says it, if it may.
async fn cluster_state(link: &mut Link) -> Result<Option<String>, Trouble> {
    let read = |answer: &Value<'_>| {
        let mut lines = answer.text().unwrap_or_default().lines();
        lines.find_map(|line| line.strip_prefix("cluster_state:").map(str::to_owned))
    };
    ask(link, &[b"CLUSTER", b"INFO"], read).await
}
