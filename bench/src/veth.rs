//! A network with a real MTU on this machine: a veth pair between the servers and a namespace for
//! the generator.
//!
//! Loopback carries 64 KiB at a time and flatters everybody; here a segment is 1,448 bytes, as on
//! Ethernet.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The servers' address on the pair.
const SERVERS: Ipv4Addr = Ipv4Addr::new(10, 203, 77, 1);
/// The generator's.
const GENERATOR: Ipv4Addr = Ipv4Addr::new(10, 203, 77, 2);

/// The pair and its namespace; both go with it.
#[derive(Debug)]
pub struct Veth {
    name: String,
    outside: File,
    inside: File,
}

impl Veth {
    /// Makes the pair. Needs root and the `ip` program.
    pub fn new() -> Result<Self> {
        forget_stale();
        let id = std::process::id();
        // Names of links have at most 15 bytes.
        let (name, ours, theirs) = (format!("rcb{id}"), format!("rcb{id}a"), format!("rcb{id}b"));
        ip(&["netns", "add", &name])?;
        let outside = File::open("/proc/thread-self/ns/net")?;
        let inside = File::open(format!("/run/netns/{name}"));
        let veth = Self {
            inside: inside.context("the new network namespace")?,
            name: name.clone(),
            outside,
        };
        ip(&[
            "link", "add", &ours, "mtu", "1500", "type", "veth", "peer", &theirs, "mtu", "1500",
            "netns", &name,
        ])?;
        ip(&["addr", "add", &format!("{SERVERS}/30"), "dev", &ours])?;
        ip(&["link", "set", &ours, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{GENERATOR}/30"), "dev", &theirs])?;
        ip(&["-n", &name, "link", "set", &theirs, "up"])?;
        Ok(veth)
    }

    /// Where servers listen.
    pub fn address(&self) -> IpAddr {
        SERVERS.into()
    }

    /// Moves the calling thread to the generator's side; sockets that it makes from now on are
    /// there.
    pub fn enter(&self) -> Result<()> {
        use std::os::fd::AsFd;
        move_into_link_name_space(self.inside.as_fd(), Some(LinkNameSpaceType::Network))
            .context("entering the network namespace")
    }

    /// Moves it back.
    pub fn leave(&self) -> Result<()> {
        use std::os::fd::AsFd;
        move_into_link_name_space(self.outside.as_fd(), Some(LinkNameSpaceType::Network))
            .context("leaving the network namespace")
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let _ = self.leave();
        // The pair goes with the namespace that one of its ends is in.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// Deletes namespaces that killed processes have left.
fn forget_stale() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix("rcb").and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("running ip (of iproute2)")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
