//! Two network namespaces with a cable between them that loses packets at random, both ways.
//!
//! Needs root, `unshare` (util-linux), `ip` (iproute2) and `iptables`. No namespace has a name: a process holds it, and that process
//! ends with this one. The kernel removes a namespace with its last process, cable and rules included. Always holds:
//! nothing outside of the two namespaces is changed, and loopback inside of them loses nothing.

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::process::{Child, Command};

use crate::{
    child::start_program,
    error::{BenchError, Doing as _},
};

/// The end of the cable, in each namespace.
const CABLE: &str = "cable";

/// Where the pod is, and where its clients are: addresses for documentation (RFC 5737).
const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// How long a namespace may take to be there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both namespaces.
pub(super) struct Network {
    near: Namespace,
    far: Namespace,
}

/// Packets that came over the cable, at both ends together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Packets {
    /// All.
    pub(super) came: u64,
    /// Those that were thrown away.
    pub(super) lost: u64,
}

/// One namespace.
struct Namespace {
    holder: Child,
    link: Arc<File>,
}

impl Network {
    /// Makes it; nothing is lost yet. The calling thread is in the pod's namespace then.
    pub(super) async fn lay(out: &Path) -> Result<Self, BenchError> {
        if !rustix::process::geteuid().is_root() {
            let message = "this scenario makes network namespaces and drops packets in them: run it as root";
            return Err(BenchError::Usage(message.to_owned()));
        }
        let (near, far) = (Namespace::make(&out.join("near.log")).await?, Namespace::make(&out.join("far.log")).await?);
        let there = far.holder.id().unwrap_or_default().to_string();
        enter(&near.link)?;
        run("ip", &["link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", &there]).await?;
        let network = Self { near, far };
        for (namespace, ip) in [(&network.far, FAR), (&network.near, NEAR)] {
            enter(&namespace.link)?;
            run("ip", &["address", "add", &format!("{ip}/30"), "dev", CABLE]).await?;
            // What the kernel hands over is then what would be on a wire: a packet of at most 1,500 bytes.
            run("ip", &["link", "set", "dev", CABLE, "gso_max_segs", "1", "up"]).await?;
            run("ip", &["link", "set", "dev", "lo", "up"]).await?;
        }
        network.lose(0.0).await?;
        Ok(network)
    }

    /// Where the pod is.
    pub(super) fn pod(&self) -> IpAddr {
        NEAR.into()
    }

    /// What moves a thread to where the clients are.
    pub(super) fn to_clients(&self) -> impl FnOnce() -> Result<(), BenchError> + Send + use<> {
        let link = Arc::clone(&self.far.link);
        move || enter(&link)
    }

    /// From now on so many percent of all packets are lost, in each direction. The counts begin at nothing.
    pub(super) async fn lose(&self, percent: f64) -> Result<(), BenchError> {
        let chance = (percent / 100.0).to_string();
        for namespace in [&self.far, &self.near] {
            enter(&namespace.link)?;
            iptables(&["-F", "INPUT"]).await?;
            if percent > 0.0 {
                let by_chance = ["-m", "statistic", "--mode", "random", "--probability", &chance, "-j", "DROP"];
                iptables(&[&["-A", "INPUT", "-i", CABLE], &by_chance[..]].concat()).await?;
            }
            iptables(&["-A", "INPUT", "-i", CABLE, "-j", "ACCEPT"]).await?;
        }
        Ok(())
    }

    /// What came and was lost since [`Network::lose`].
    pub(super) async fn packets(&self) -> Result<Packets, BenchError> {
        let mut packets = Packets::default();
        for namespace in [&self.far, &self.near] {
            enter(&namespace.link)?;
            packets.add(&iptables(&["-nvxL", "INPUT"]).await?);
        }
        Ok(packets)
    }
}

impl Packets {
    /// Adds what `iptables -nvxL` says of a chain: packets, bytes and what becomes of them begin each rule's line.
    fn add(&mut self, rules: &str) {
        for rule in rules.lines() {
            let mut words = rule.split_ascii_whitespace();
            let count: Option<u64> = words.next().and_then(|count| count.parse().ok());
            match (count, words.nth(1)) {
                (Some(count), Some("DROP")) => (self.came, self.lost) = (self.came + count, self.lost + count),
                (Some(count), Some("ACCEPT")) => self.came += count,
                _ => {}
            }
        }
    }
}

impl Namespace {
    async fn make(log: &Path) -> Result<Self, BenchError> {
        let arguments = ["--net", "sleep", "infinity"].map(str::to_owned);
        let mut holder = start_program(Path::new("unshare"), &arguments, log)?;
        let path = format!("/proc/{}/ns/net", holder.id().unwrap_or_default());
        let doing = || format!("looking at {path}");
        let ours = fs::read_link("/proc/self/ns/net").doing(doing)?;
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = holder.try_wait() {
                let said = fs::read_to_string(log).unwrap_or_default();
                let what = format!("ended ({status}): {said}");
                return Err(BenchError::Child { who: "unshare (package util-linux)".to_owned(), what });
            }
            if fs::read_link(&path).doing(doing)? != ours {
                let link = File::open(&path).doing(doing)?;
                return Ok(Self { holder, link: Arc::new(link) });
            }
            if start.elapsed() > PATIENCE {
                let hint = format!("see {}", log.display());
                let what = "making a network namespace".to_owned();
                return Err(BenchError::Timeout { what, seconds: PATIENCE.as_secs(), hint });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Moves this thread, and what it starts, into a namespace.
fn enter(link: &File) -> Result<(), BenchError> {
    move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
        .doing(|| "entering a network namespace".to_owned())
}

async fn iptables(arguments: &[&str]) -> Result<String, BenchError> {
    run("iptables", &[&["-w"], arguments].concat()).await
}

/// Runs a program in this thread's namespace; what it wrote.
async fn run(program: &str, arguments: &[&str]) -> Result<String, BenchError> {
    let doing = || format!("running {program} (is its package installed?)");
    let ran = Command::new(program).args(arguments).kill_on_drop(true).output().await.doing(doing)?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let (who, what) = (program.to_owned(), format!("with {arguments:?} ended ({}): {}", ran.status, said.trim()));
    Err(BenchError::Child { who, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_say_what_was_lost() {
        let text = "Chain INPUT (policy ACCEPT 7 packets, 420 bytes)\n    pkts      bytes target     prot opt in     out     source               destination         \n      12     3400 DROP       0    --  cable  *       0.0.0.0/0            0.0.0.0/0            statistic mode random probability 0.01000000\n     988   120000 ACCEPT     0    --  cable  *       0.0.0.0/0            0.0.0.0/0           \n";
        let mut packets = Packets::default();
        packets.add(text);
        packets.add(text);
        assert_eq!(packets, Packets { came: 2_000, lost: 24 });
    }
}
