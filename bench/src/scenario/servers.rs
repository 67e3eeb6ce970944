//! The Redis that the pods share: a cluster of real servers, three masters and three replicas, as the tests start them, or one server.

use std::{collections::HashMap, sync::Arc};

use roomcast::testing::{broker::redis::Partition, model::Room};
use testkit::redis::{Cluster, Node, Standalone};

use crate::{
    error::BenchError,
    process::Process,
    redis_server::{blocking, need_redis},
};

/// The masters at the start.
pub(super) const MASTERS: usize = 3;

/// The servers' processes.
enum Running {
    Cluster(Cluster),
    One(Standalone),
}

impl Running {
    fn nodes(&self) -> &[Node] {
        match self {
            Self::Cluster(cluster) => cluster.nodes(),
            Self::One(server) => std::slice::from_ref(server),
        }
    }

    fn owner(&self, slot: u16) -> &Node {
        match self {
            Self::Cluster(cluster) => cluster.owner(slot),
            Self::One(server) => server,
        }
    }
}

/// What servers did for publishes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    /// Scripts that were run.
    pub(super) scripts: u64,
    /// Entries that were appended to streams.
    pub(super) appended: u64,
}

/// The servers; they end with this, and with this process.
pub(super) struct Servers {
    running: Arc<Running>,
    owners: HashMap<u16, u16>,
    processes: Vec<Process>,
}

impl Servers {
    /// Starts a cluster; the default of Redis but for short time-outs, so without anything on disk.
    pub(super) async fn start() -> Result<Self, BenchError> {
        need_redis()?;
        blocking(|| {
            let cluster = Cluster::start(MASTERS, 1);
            let owners = cluster.masters().into_iter().flat_map(|master| {
                let slots = cluster.slots(master).into_iter().flatten();
                slots.map(|slot| (slot, master.port())).collect::<Vec<_>>()
            });
            let owners = owners.collect();
            let pids = cluster.nodes().iter().filter_map(|node| node.info("server", "process_id").parse().ok());
            let processes = pids.map(Process::new).collect();
            Self { running: Arc::new(Running::Cluster(cluster)), owners, processes }
        })
        .await
    }

    /// Starts one server.
    pub(super) async fn start_one() -> Result<Self, BenchError> {
        need_redis()?;
        blocking(|| {
            let server = Standalone::start();
            let owners = (0..16_384).map(|slot| (slot, server.port())).collect();
            let processes = server.info("server", "process_id").parse().ok().map(Process::new).into_iter().collect();
            Self { running: Arc::new(Running::One(server)), owners, processes }
        })
        .await
    }

    /// Whether there are several, of which one may be killed.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(*self.running, Running::Cluster(_))
    }

    /// An address for the pods.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.running.nodes().first().map_or(0, Node::port))
    }

    /// The port of a room's master, as things were at the start.
    pub(super) fn master_of(&self, room: &str) -> Result<u16, BenchError> {
        let port = self.owners.get(&partition(room)?.slot()).copied();
        port.ok_or_else(|| BenchError::Protocol(format!("no master has the slot of {room}")))
    }

    /// The processor time of all servers, in nanoseconds.
    pub(super) fn cpu(&self) -> Result<u64, BenchError> {
        self.processes.iter().map(Process::cpu).sum()
    }

    /// What all servers hold (`used_memory`), in bytes.
    pub(super) async fn memory(&self) -> Result<u64, BenchError> {
        let running = Arc::clone(&self.running);
        let used = |node: &Node| node.info("memory", "used_memory").parse::<u64>().unwrap_or(0);
        blocking(move || running.nodes().iter().map(used).sum()).await
    }

    /// What all servers have done since they were started.
    pub(super) async fn work(&self) -> Result<Work, BenchError> {
        let running = Arc::clone(&self.running);
        blocking(move || {
            let mut work = Work::default();
            for node in running.nodes() {
                if node.info("replication", "role") == "master" {
                    let stats = node.call(&["INFO", "commandstats"]);
                    let calls = |command: &str| {
                        let line = stats
                            .text()
                            .lines()
                            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
                        line.and_then(|line| line.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
                    };
                    work.scripts += calls("evalsha");
                    work.appended += calls("xadd");
                }
            }
            work
        })
        .await
    }

    /// kill -9 of the one on this port.
    pub(super) async fn kill(&self, port: u16) -> Result<(), BenchError> {
        let running = Arc::clone(&self.running);
        blocking(move || running.nodes().iter().filter(|node| node.port() == port).for_each(Node::kill)).await
    }

    /// How many events a room has had, as Redis says.
    pub(super) async fn offset(&self, room: &str) -> Result<u64, BenchError> {
        let (running, key) = (Arc::clone(&self.running), key(room, "room")?);
        let slot = partition(room)?.slot();
        let text = blocking(move || running.owner(slot).call(&["HGET", &key, "offset"]).text().to_owned()).await?;
        // Nothing: the room has never had one.
        Ok(text.parse().unwrap_or(0))
    }

    /// The events in a room's log, each as text that holds its data.
    pub(super) async fn log(&self, room: &str) -> Result<Vec<String>, BenchError> {
        let (running, key) = (Arc::clone(&self.running), key(room, "log")?);
        let slot = partition(room)?.slot();
        blocking(move || {
            let entries = running.owner(slot).call(&["XRANGE", &key, "-", "+"]);
            entries.list().iter().map(|entry| entry.list()[1].list()[1].text().to_owned()).collect()
        })
        .await
    }
}

/// The partition of a room.
pub(super) fn partition(room: &str) -> Result<Partition, BenchError> {
    let room = Room::parse(room).map_err(|e| BenchError::Protocol(format!("{room}: {e}")))?;
    Ok(Partition::of(&room))
}

fn key(room: &str, kind: &str) -> Result<String, BenchError> {
    Ok(format!("roomcast:{{{}}}:{kind}:{room}", partition(room)?.tag()))
}
