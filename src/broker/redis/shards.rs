//! Commands to the masters: which of them owns a partition, and what is done when an attempt fails.
//!
//! Each master has a client of its own (`node`). One cluster client for all of them would keep every command waiting while it
//! looks for a master that died. Always holds: a command that may have been carried out is never answered with
//! [`BrokerError::Unavailable`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use fred::{interfaces::Resp3Frame, types::Value};
use futures_util::future::join_all;
use roomcast_redis_subscriber::{Address, Endpoints, Layout};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    time::sleep,
};

use super::{
    connection::{Dial, Timeouts},
    node::{AttemptError, Lane, Node},
    outages::{Outages, SeenTrouble},
    partition::{PARTITIONS, Partition},
    refusal::{Trouble, without_script},
    script::{self, Script},
};
use crate::{
    broker::BrokerError,
    metrics::{CommandResult, RedisCommands},
};

/// The time between two attempts, at first and at most.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// The most reads of logs that a pod has asked for at once, those that wait for a place at their master included: as many clients
/// may come back at once. What waits costs Redis nothing.
const READS: usize = 4_096;

/// A read whose connection breaks within this time is sent again. One that waited longer met a server that is too slow.
const SLOW_READ: Duration = Duration::from_millis(500);

/// Where the keys of a script are.
#[derive(Debug, Clone, Copy)]
pub(super) enum ScriptTarget {
    /// In a partition of the fleet.
    Partition(Partition),
    /// In the slot of an application's key.
    Slot(u16),
}

impl From<Partition> for ScriptTarget {
    fn from(partition: Partition) -> Self {
        Self::Partition(partition)
    }
}

/// The masters, and the partitions that each owns.
pub(super) struct Shards {
    pub(super) dial: Arc<Dial>,
    /// The last layout that came.
    layout: ArcSwapOption<Layout>,
    /// By partition; empty until the owner is known.
    owners: Box<[ArcSwapOption<Node>]>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    /// Notified when a server says that a partition is not its own.
    pub(super) stale: Notify,
    /// Servers that said that they are replicas, although the layout has them as the only master.
    demoted: Mutex<Vec<Address>>,
    /// Places of reads.
    reads: Semaphore,
    pub(super) outages: Outages,
    pub(super) metrics: Arc<RedisCommands>,
    /// Whether the servers have no sharded pub/sub.
    pub(super) plain: AtomicBool,
}

impl Shards {
    /// Clients are made on `runtime` as owners become known.
    pub(super) fn new(
        endpoints: Endpoints,
        database: u8,
        timeouts: Timeouts,
        runtime: Handle,
        metrics: Arc<RedisCommands>,
    ) -> Arc<Self> {
        Arc::new(Self {
            dial: Arc::new(Dial { endpoints, database, timeouts, runtime }),
            layout: ArcSwapOption::empty(),
            owners: (0..PARTITIONS).map(|_| ArcSwapOption::empty()).collect(),
            nodes: Mutex::default(),
            stale: Notify::new(),
            demoted: Mutex::default(),
            reads: Semaphore::new(READS),
            outages: Outages::default(),
            metrics,
            plain: AtomicBool::new(false),
        })
    }

    /// Takes over a layout. Clients of servers that own nothing any more are closed.
    pub(super) fn adopt(&self, layout: &Layout) {
        self.layout.store(Some(Arc::new(layout.clone())));
        for partition in Partition::all() {
            // An owner that is not known now may be again in a moment: the old one stays.
            if let Some(address) = layout.owner(partition.slot()) {
                self.set_owner(partition, address);
            }
        }
        let mut gone = Vec::new();
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|address, node| {
            let owns = layout.owners.contains(address)
                || self.owners.iter().any(|owner| owner.load().as_ref().is_some_and(|owner| Arc::ptr_eq(owner, node)));
            if !owns {
                gone.push(Arc::clone(node));
            }
            owns
        });
        drop(nodes);
        for node in gone {
            self.dial.runtime.spawn(async move { node.quit().await });
        }
    }

    fn set_owner(&self, partition: Partition, address: &Address) {
        let node = self.node(address);
        if let Some(owner) = self.owners.get(partition.index())
            && !owner.load().as_ref().is_some_and(|owner| Arc::ptr_eq(owner, &node))
        {
            owner.store(Some(node));
        }
    }

    fn node(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(nodes.entry(address.clone()).or_insert_with(|| Arc::new(Node::new(address, &self.dial))))
    }

    /// Whether there is a connection to any master, and to the owner of every partition.
    pub(super) fn connected(&self) -> (bool, bool) {
        let nodes: Vec<_> = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let (mut any, mut all) = (false, !nodes.is_empty());
        for node in nodes {
            let connected = node.is_connected();
            any |= connected;
            all &= connected;
        }
        (any, all && self.owners.iter().all(|owner| owner.load().is_some()))
    }

    /// The servers with a connection for commands.
    pub(super) fn commanded(&self) -> Vec<Address> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().filter(|(_, node)| node.is_connected()).map(|(address, _)| address.clone()).collect()
    }

    /// The servers without a connection for commands.
    pub(super) fn away(&self) -> Vec<SeenTrouble> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let away = nodes.iter().filter(|(_, node)| !node.is_connected());
        away.map(|(address, _)| SeenTrouble {
            server: address.to_string(),
            trouble: Trouble::Away,
            error: "there is no connection for commands".to_owned(),
        })
        .collect()
    }

    /// A server is a replica. Where it is the only one, its name may lead to the master by now.
    fn demote(&self, node: &Node) {
        if self.layout.load().as_ref().is_some_and(|layout| layout.owners.len() == 1) && node.renew() {
            self.demoted.lock().unwrap_or_else(PoisonError::into_inner).push(node.address.clone());
        }
    }

    /// The servers that were made replicas since the last time.
    pub(super) fn demoted(&self) -> Vec<Address> {
        std::mem::take(&mut *self.demoted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The address of a partition's owner, if it is known.
    pub(super) fn address(&self, partition: Partition) -> Option<Address> {
        Some(self.owner(partition.into())?.address.clone())
    }

    pub(super) fn owner(&self, target: ScriptTarget) -> Option<Arc<Node>> {
        match target {
            ScriptTarget::Partition(partition) => self.owners.get(partition.index())?.load_full(),
            ScriptTarget::Slot(slot) => self.layout.load().as_ref()?.owner(slot).map(|address| self.node(address)),
        }
    }

    /// Runs a script where its keys are, until it answers or the time is up. The script must be one that may be run
    /// twice.
    ///
    /// # Errors
    /// [`BrokerError::Unknown`]: it may have been carried out. [`BrokerError::Unavailable`]: it was not.
    pub(super) async fn call(
        &self,
        target: impl Into<ScriptTarget>,
        script: &Script,
        keys: impl IntoIterator<Item = String>,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Resp3Frame, BrokerError> {
        self.call_on(Lane::Commands, target, script, keys, args).await
    }

    /// As [`call`](Self::call), for an answer that may be long. It holds up no publish, and is not repeated after it was slow: a server
    /// that is too slow would have the more to do for it.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    pub(super) async fn read(
        &self,
        target: impl Into<ScriptTarget>,
        script: &Script,
        keys: impl IntoIterator<Item = String>,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Resp3Frame, BrokerError> {
        let busy = || BrokerError::Unavailable(format!("busy: this pod reads {READS} logs already; ask again later"));
        let _place = self.reads.try_acquire().map_err(|_| busy())?;
        self.call_on(Lane::Reads, target, script, keys, args).await
    }

    /// As [`call`](Self::call), in a lane of its own. In that of durable publishes, a replica that does not confirm in time
    /// leaves the outcome unknown.
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    pub(super) async fn call_on(
        &self,
        lane: Lane,
        target: impl Into<ScriptTarget>,
        script: &Script,
        keys: impl IntoIterator<Item = String>,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Resp3Frame, BrokerError> {
        let began = Instant::now();
        let command = script::command(script, keys.into_iter().collect(), args);
        let deadline = began + self.dial.timeouts.command;
        let result = self.insist(target.into(), script, &|_| Some(command.clone()), lane, deadline, &mut false).await;
        let outcome = match &result {
            Ok(_) => CommandResult::Ok,
            Err(BrokerError::Unknown) => CommandResult::Timeout,
            Err(_) => CommandResult::Error,
        };
        self.metrics.count(script.name, began.elapsed(), outcome);
        result
    }

    /// Tries a command until it is answered. `command`: what is sent, given whether it may have been carried out before; `None`: it
    /// must not be repeated then. `lost` says whether it may have been, before and after.
    pub(super) async fn insist(
        &self,
        target: ScriptTarget,
        script: &Script,
        command: &(dyn Fn(bool) -> Option<Vec<Value>> + Sync),
        lane: Lane,
        deadline: Instant,
        lost: &mut bool,
    ) -> Result<Resp3Frame, BrokerError> {
        let (mut pause, mut moved) = (PAUSE.0, 0);
        let mut told = None;
        // What Redis itself said is told rather than that a connection is being made.
        let mut refusal = None;
        loop {
            let Some(command) = command(*lost) else { return Err(BrokerError::Unknown) };
            let Some(node) = told.take().or_else(|| self.owner(target)) else {
                let why = "which server has this room is not known yet".to_owned();
                return Err(if *lost { BrokerError::Unknown } else { BrokerError::Unavailable(why) });
            };
            let asked = Instant::now();
            let why = match node.attempt(script, command, lane, deadline).await {
                Ok(frame) => {
                    self.outages.carried_out(|| node.address.to_string(), script.name, script.writes);
                    return Ok(frame);
                }
                Err(AttemptError::Moved(address)) => {
                    match target {
                        ScriptTarget::Partition(partition) => self.set_owner(partition, &address),
                        ScriptTarget::Slot(_) => told = Some(self.node(&address)),
                    }
                    self.stale.notify_one();
                    moved += 1;
                    if moved < 4 && Instant::now() < deadline {
                        continue;
                    }
                    "the room is on its way between servers".to_owned()
                }
                Err(AttemptError::Refused(why)) => {
                    let why = self.refused(&node, script, why);
                    return Err(if *lost { BrokerError::Unknown } else { BrokerError::Unavailable(why) });
                }
                Err(AttemptError::Stale(why)) => {
                    let why = self.refused(&node, script, why);
                    self.stale.notify_one();
                    why
                }
                Err(AttemptError::NotNow(why)) => self.refused(&node, script, why),
                Err(AttemptError::Lost(why)) if lane == Lane::Reads && asked.elapsed() >= SLOW_READ => {
                    return Err(BrokerError::Unavailable(why));
                }
                Err(AttemptError::Lost(why)) if lane == Lane::Reads => why,
                Err(AttemptError::Lost(why)) => {
                    *lost = true;
                    self.refused(&node, script, why)
                }
            };
            if Trouble::of(&why).is_some() {
                refusal = Some(why.clone());
            }
            if Instant::now() + pause >= deadline || node.is_gone() {
                let why = refusal.unwrap_or_else(|| match self.outages.error_of(&node.address.to_string()) {
                    Some(error) if !node.is_connected() => format!("{why}: {error}"),
                    _ => why,
                });
                tracing::debug!(script = script.name, why, "a command to Redis failed");
                return Err(if *lost { BrokerError::Unknown } else { BrokerError::Unavailable(why) });
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Notes what an error says of the server. Returns the error as it is told.
    pub(super) fn refused(&self, node: &Node, script: &Script, error: String) -> String {
        let Some(trouble) = Trouble::of(&error) else { return error };
        let error = without_script(&error).to_owned();
        self.outages.refused(&node.address.to_string(), script.name, trouble, &error, Instant::now());
        if trouble == Trouble::ReadOnly {
            self.demote(node);
        }
        error
    }

    /// Notes what was refused of a publish whose event is in the log.
    pub(super) fn refused_in_part(&self, partition: Partition, script: &Script, error: &str) {
        if let (Some(node), Some(trouble)) = (self.owner(partition.into()), Trouble::of(error)) {
            let error = without_script(error);
            self.outages.refused_in_part(&node.address.to_string(), script.name, trouble, error, Instant::now());
        }
    }

    /// Closes the clients.
    pub(super) async fn quit(&self) {
        for owner in &self.owners {
            owner.store(None);
        }
        let nodes = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        let quits = nodes.into_values().map(async |node| node.quit().await);
        // Together: a server that does not answer takes no time from the others.
        let _ = tokio::time::timeout(Duration::from_millis(200), join_all(quits)).await;
    }
}
