//! A cluster of servers, and the faults that clusters have.

use std::{collections::BTreeMap, ops::Range};

use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::{
    link::{Link, Reply},
    node::{Node, Options},
    wait_or, wait_until,
};

/// The milliseconds after which a silent node is suspected.
const NODE_TIMEOUT: u32 = 2_000;

/// Servers that share the slots: first those that started as masters, then their replicas.
pub struct Cluster {
    nodes: Vec<Node>,
    masters: usize,
}

/// The cluster of 3 + 3 that the tests of one binary take turns on, whole again whatever was done to it before.
pub async fn shared() -> MappedMutexGuard<'static, Cluster> {
    static SHARED: Mutex<Option<Cluster>> = Mutex::const_new(None);
    let mut shared = SHARED.lock().await;
    match &*shared {
        Some(cluster) => cluster.heal(),
        None => *shared = Some(Cluster::start(3, 1)),
    }
    MutexGuard::map(shared, |cluster| cluster.as_mut().unwrap())
}

impl Cluster {
    /// So many masters, each with so many replicas, all slots spread evenly.
    pub fn start(masters: usize, replicas: usize) -> Self {
        Self::start_with(masters, replicas, Options::default())
    }

    /// The same, every node with these options.
    pub fn start_with(masters: usize, replicas: usize, options: Options) -> Self {
        // An uncovered slot must not stop the others: a fault of one master is its own.
        let options = options
            .line("cluster-enabled yes")
            .line(format!("cluster-node-timeout {NODE_TIMEOUT}"))
            .line("cluster-require-full-coverage no")
            .line("cluster-allow-replica-migration no")
            .line("cluster-replica-validity-factor 0");
        let nodes: Vec<Node> = (0..masters * (1 + replicas)).map(|_| Node::launch(options.clone())).collect();
        let cluster = Self { nodes, masters };
        for (n, node) in cluster.nodes.iter().enumerate() {
            node.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
            if n < masters {
                let slots = |n: usize| 16_384 * n / masters;
                let (first, last) = (slots(n).to_string(), (slots(n + 1) - 1).to_string());
                node.call(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
            for other in &cluster.nodes[..n] {
                let (port, bus) = (other.port().to_string(), other.bus().to_string());
                node.call(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            }
        }
        let all = cluster.nodes.len();
        let known =
            |node: &Node| node.call(&["CLUSTER", "NODES"]).text().lines().filter(|l| !l.contains("handshake")).count();
        wait_until("nodes that know each other", || cluster.nodes.iter().all(|node| known(node) == all));
        for (n, node) in cluster.nodes.iter().enumerate().skip(masters) {
            let master = cluster.nodes[n % masters].call(&["CLUSTER", "MYID"]);
            node.call(&["CLUSTER", "REPLICATE", master.text()]);
        }
        cluster.wait_ok();
        cluster
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// As configurations name them.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// The running nodes that say they are masters and own slots.
    pub fn masters(&self) -> Vec<&Node> {
        let owns = |node: &Node| {
            node.call(&["CLUSTER", "NODES"]).text().lines().any(|l| myself(l) && l.split(' ').count() > 8)
        };
        self.running().filter(|node| node.info("replication", "role") == "master" && owns(node)).collect()
    }

    /// A running replica of `master`.
    pub fn replica_of(&self, master: &Node) -> &Node {
        let port = master.port().to_string();
        let mut running = self.running();
        running.find(|node| node.info("replication", "master_port") == port).expect("a replica that runs")
    }

    /// The slot of a key or channel, as a server counts it.
    pub fn slot(&self, key: &str) -> u16 {
        let node = self.running().next().expect("a node that runs");
        u16::try_from(node.call(&["CLUSTER", "KEYSLOT", key]).number()).unwrap()
    }

    /// The master of a slot, as the other masters see it.
    pub fn owner(&self, slot: u16) -> &Node {
        let owner = self.masters().into_iter().find(|node| slots_of(node).iter().any(|range| range.contains(&slot)));
        owner.unwrap_or_else(|| panic!("nobody owns slot {slot}"))
    }

    /// Publishes to a sharded channel at its owner; how many received it.
    pub fn spublish(&self, channel: &str, payload: &str) -> i64 {
        self.owner(self.slot(channel)).call(&["SPUBLISH", channel, payload]).number()
    }

    /// A graceful failover to `replica`; returns when every node agrees.
    pub fn fail_over(&self, replica: &Node) {
        // A master gives up an attempt after five seconds, and begins none with a replica that has not caught up.
        wait_until("a replica in step", || replica.info("replication", "master_link_status") == "up");
        let mut asked = None::<std::time::Instant>;
        wait_until("a failover in good order", || {
            if asked.is_none_or(|asked| asked.elapsed() > std::time::Duration::from_secs(6)) {
                // An attempt that is still under way refuses another; that is no fault.
                let _ = replica.try_call(&["CLUSTER", "FAILOVER"]);
                asked = Some(std::time::Instant::now());
            }
            replica.info("replication", "role") == "master"
        });
        self.wait_promoted(replica);
    }

    /// Waits until `replica` is a master, and every running node knows.
    pub fn wait_promoted(&self, replica: &Node) {
        self.wait_promoted_without(replica, &[]);
    }

    /// The same, while some nodes are paused and know nothing.
    pub fn wait_promoted_without(&self, replica: &Node, paused: &[&Node]) {
        let id = replica.call(&["CLUSTER", "MYID"]);
        let says = |node: &Node| {
            let nodes = node.call(&["CLUSTER", "NODES"]);
            nodes.text().lines().any(|line| line.starts_with(id.text()) && line.contains("master"))
        };
        let asked = |node: &&Node| paused.iter().all(|paused| paused.port() != node.port());
        wait_until("a promotion", || self.running().filter(asked).all(says));
    }

    /// Moves slots from one master to another, with the keys in them, one slot after the other, while they are in use.
    pub fn move_slots(&self, from: &Node, to: &Node, slots: Range<u16>) {
        let (mut source, mut target) = (from.link().unwrap(), to.link().unwrap());
        let id = |link: &mut Link| link.call(&["CLUSTER", "MYID"]).unwrap().ok().text().to_owned();
        let (from_id, to_id) = (id(&mut source), id(&mut target));
        // Otherwise a slot that comes back at once may be nobody's: its new owner takes too low an epoch, and believes what
        // the old one said before.
        wait_until("nodes that know each other's epoch", || {
            let (here, there) = (epochs(from), epochs(to));
            [&from_id, &to_id].iter().all(|id| here.get(*id) == there.get(*id))
        });
        let port = to.port().to_string();
        for slot in slots {
            let slot = &slot.to_string();
            target.call(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id]).unwrap().ok();
            source.call(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id]).unwrap().ok();
            loop {
                let keys = source.call(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]).unwrap().ok();
                if keys.list().is_empty() {
                    break;
                }
                let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "1000", "KEYS"];
                migrate.extend(keys.list().iter().map(Reply::text));
                source.call(&migrate).unwrap().ok();
            }
            // The new owner first, so that there is always one.
            target.call(&["CLUSTER", "SETSLOT", slot, "NODE", &to_id]).unwrap().ok();
            source.call(&["CLUSTER", "SETSLOT", slot, "NODE", &to_id]).unwrap().ok();
        }
    }

    /// The slots of a master, as it says itself.
    pub fn slots(&self, master: &Node) -> Vec<Range<u16>> {
        slots_of(master)
    }

    /// Brings back whatever is down or stopped, and waits until all is well.
    pub fn heal(&self) {
        for node in &self.nodes {
            if node.is_running() {
                node.resume();
            } else {
                node.restart();
            }
        }
        self.wait_ok();
    }

    /// Waits until every node is up, every slot has one owner that all agree on, and every replica is in step.
    pub fn wait_ok(&self) {
        let ok = |node: &Node| {
            node.info("replication", "master_link_status") != "down"
                && matches!(node.try_call(&["CLUSTER", "INFO"]), Ok(Reply::Text(info))
                    if info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384"))
                && matches!(node.try_call(&["CLUSTER", "NODES"]), Ok(Reply::Text(nodes))
                    if !nodes.contains("fail") && !nodes.contains("handshake"))
        };
        let replicas = |node: &&Node| node.info("replication", "role") == "slave";
        let is_well = || {
            self.nodes.iter().all(ok) && self.nodes.iter().filter(replicas).count() == self.nodes.len() - self.masters
        };
        wait_or("a cluster that is well", is_well, || {
            let views = self.nodes.iter().map(|node| format!("{:?}", node.try_call(&["CLUSTER", "NODES"])));
            views.collect::<Vec<_>>().join("\n")
        });
        wait_until("nodes that agree on who owns what", || {
            let mut views: Vec<_> = self.nodes.iter().map(owners).collect();
            views.dedup();
            views.len() == 1
        });
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_running())
    }
}

fn myself(line: &str) -> bool {
    line.split(' ').nth(2).is_some_and(|flags| flags.contains("myself"))
}

/// Who owns which slots, as a node sees it.
fn owners(node: &Node) -> Vec<(String, String)> {
    let Ok(Reply::Text(nodes)) = node.try_call(&["CLUSTER", "NODES"]) else { return Vec::new() };
    let mut owners: Vec<_> = nodes
        .lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            (words.len() > 8).then(|| (words[0].to_owned(), words[8..].join(" ")))
        })
        .collect();
    owners.sort();
    owners
}

/// Each node's configuration epoch, as one sees it.
fn epochs(node: &Node) -> BTreeMap<String, String> {
    let nodes = node.call(&["CLUSTER", "NODES"]);
    let words = nodes.text().lines().map(|line| line.split(' ').collect::<Vec<_>>());
    words.filter(|words| words.len() > 7).map(|words| (words[0].to_owned(), words[6].to_owned())).collect()
}

fn slots_of(node: &Node) -> Vec<Range<u16>> {
    let nodes = node.call(&["CLUSTER", "NODES"]);
    let line = nodes.text().lines().find(|line| myself(line)).unwrap_or_default().to_owned();
    line.split(' ')
        .skip(8)
        .filter(|word| !word.starts_with('['))
        .map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            first.parse().unwrap()..last.parse::<u16>().unwrap() + 1
        })
        .collect()
}
