//! The Redis Cluster that the pods share: real servers, three masters and three replicas, as the tests start them.

use std::{collections::HashMap, sync::Arc};

use roomcast::testing::{broker::redis::Partition, model::Room};
use testkit::redis::{Cluster, Node};

use crate::{
    error::BenchError,
    process::Process,
    redis_server::{blocking, need_redis},
};

/// The masters at the start.
pub(super) const MASTERS: usize = 3;

/// The servers; they end with this, and with this process.
pub(super) struct Servers {
    cluster: Arc<Cluster>,
    owners: HashMap<u16, u16>,
    processes: Vec<Process>,
}

impl Servers {
    /// Starts them; the default of Redis but for short time-outs, so without anything on disk.
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
            Self { cluster: Arc::new(cluster), owners, processes }
        })
        .await
    }

    /// An address for the pods.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.cluster.nodes().first().map_or(0, Node::port))
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

    /// kill -9 of the one on this port.
    pub(super) async fn kill(&self, port: u16) -> Result<(), BenchError> {
        let cluster = Arc::clone(&self.cluster);
        blocking(move || cluster.nodes().iter().filter(|node| node.port() == port).for_each(Node::kill)).await
    }

    /// How many events a room has had, as Redis says.
    pub(super) async fn offset(&self, room: &str) -> Result<u64, BenchError> {
        let (cluster, key) = (Arc::clone(&self.cluster), key(room, "room")?);
        let slot = partition(room)?.slot();
        let text = blocking(move || cluster.owner(slot).call(&["HGET", &key, "offset"]).text().to_owned()).await?;
        // Nothing: the room has never had one.
        Ok(text.parse().unwrap_or(0))
    }

    /// The events in a room's log, each as text that holds its data.
    pub(super) async fn log(&self, room: &str) -> Result<Vec<String>, BenchError> {
        let (cluster, key) = (Arc::clone(&self.cluster), key(room, "log")?);
        let slot = partition(room)?.slot();
        blocking(move || {
            let entries = cluster.owner(slot).call(&["XRANGE", &key, "-", "+"]);
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
