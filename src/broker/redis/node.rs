//! One master: its connections, the outcome of an attempt at a command, and the meaning of each error of Redis.
//!
//! Never tries anything twice: `shards` decides that. Always holds: an attempt that may have been carried out is
//! [`AttemptError::Lost`], whatever else is known of it.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fred::{
    error::ErrorKind,
    interfaces::{ClientLike, Resp3Frame},
    types::{ClusterHash, CustomCommand, Value, config::Options},
};
use roomcast_redis_subscriber::Address;
use tokio::{sync::Semaphore, time::timeout_at};

use super::{
    connection::{Connection, Dial},
    publish_queue::PublishQueue,
    refusal::{Trouble, refusal_word, without_arguments},
    script::{Script, ScriptText},
};

/// A command does not wait for a master that has been away for longer.
const AWAY: Duration = Duration::from_secs(1);

/// The most reads that a server works on for this pod: what publishes wait for at most.
const READS: usize = 4;

/// The most calls with publishes that a server works on for this pod.
const CALLS: usize = 2;

/// The same for durable ones: each holds up those behind it until a replica has it.
const DURABLE_CALLS: usize = 1;

/// The connection that a command takes, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// That of publishes and all that is small. Answered when the master has it.
    Commands,
    /// That of durable publishes. Answered when one of the master's replicas has it.
    Durable,
    /// That of long answers. Nothing else waits behind them.
    Reads,
}

/// Why an attempt did not succeed.
pub(super) enum AttemptError {
    /// Not carried out, and the next attempt may be.
    NotNow(String),
    /// Not carried out; the next attempt may be, perhaps by another server.
    Stale(String),
    /// The owner is another one; not carried out.
    Moved(Address),
    /// Not carried out, nor will it be.
    Refused(String),
    /// It may have been carried out.
    Lost(String),
}

/// A master.
pub(super) struct Node {
    pub(super) address: Address,
    dial: Arc<Dial>,
    commands: Connection,
    /// For commands that wait for a replica, which holds up what comes after them; made when the first does.
    durable: OnceLock<Connection>,
    /// Whether this pod's user may wait for replicas there.
    may_wait: AtomicBool,
    /// For reads of logs; made when the first comes.
    reads: OnceLock<Connection>,
    /// Places of reads that were sent and not answered.
    reading: Semaphore,
    /// When it was first seen to be away.
    away: Mutex<Option<Instant>>,
    /// What waits to be published, and what of it waits for a replica.
    publishes: [PublishQueue; 2],
    /// It knows no flags of scripts: it is older than Redis 7.
    knows_no_flags: AtomicBool,
}

impl Node {
    /// Begins to connect.
    pub(super) fn new(address: &Address, dial: &Arc<Dial>) -> Self {
        Self {
            address: address.clone(),
            dial: Arc::clone(dial),
            commands: Connection::open(address, dial),
            durable: OnceLock::new(),
            may_wait: AtomicBool::new(false),
            reads: OnceLock::new(),
            reading: Semaphore::new(READS),
            away: Mutex::new(None),
            publishes: [CALLS, DURABLE_CALLS].map(PublishQueue::new),
            knows_no_flags: AtomicBool::new(false),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        let connected = self.commands.is_connected();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if connected {
            *away = None;
        } else {
            away.get_or_insert_with(Instant::now);
        }
        connected
    }

    pub(super) async fn quit(&self) {
        for connection in self.connections() {
            connection.quit().await;
        }
    }

    fn connections(&self) -> impl Iterator<Item = &Connection> {
        [Some(&self.commands), self.durable.get(), self.reads.get()].into_iter().flatten()
    }

    /// Connects anew: the server was made a replica, and its name may lead to another one by now. Returns whether it did, which
    /// it does not at once after the last time.
    pub(super) fn renew(&self) -> bool {
        let others = [self.durable.get(), self.reads.get()].into_iter().flatten();
        for connection in others {
            connection.succeed();
        }
        self.commands.succeed()
    }

    /// Whether it has been away for so long that a command does not wait for it.
    pub(super) fn is_gone(&self) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|since| since.elapsed() > AWAY)
    }

    /// The publishes that wait in a lane.
    pub(super) fn publishes(&self, lane: Lane) -> &PublishQueue {
        let [commands, durable] = &self.publishes;
        if lane == Lane::Durable { durable } else { commands }
    }

    /// Tries to run a script, once. `command`: the words of the call (`script::command`).
    ///
    /// # Errors
    /// [`AttemptError`].
    pub(super) async fn attempt(
        &self,
        script: &Script,
        command: Vec<Value>,
        lane: Lane,
        deadline: Instant,
    ) -> Result<Resp3Frame, AttemptError> {
        if !self.is_connected() {
            return Err(AttemptError::Stale("the server cannot be reached".to_owned()));
        }
        let _place = match lane {
            Lane::Reads => match timeout_at(deadline.into(), self.reading.acquire()).await {
                Ok(place) => place.ok(),
                Err(_) => return Err(AttemptError::NotNow("other reads of logs took too long".to_owned())),
            },
            Lane::Commands | Lane::Durable => None,
        };
        if !self.knows_no_flags.load(Ordering::Relaxed) {
            let result = self.run(&script.text, command.clone(), lane, deadline).await;
            match (&result, &script.without_flags) {
                (Err(AttemptError::Refused(why)), Some(_)) if why.contains("compiling script") => {
                    self.knows_no_flags.store(true, Ordering::Relaxed);
                }
                _ => return result,
            }
        }
        self.run(script.without_flags.as_ref().unwrap_or(&script.text), command, lane, deadline).await
    }

    /// Runs a script by its name, or by its text where the server does not know it yet.
    async fn run(
        &self,
        script: &ScriptText,
        mut command: Vec<Value>,
        lane: Lane,
        deadline: Instant,
    ) -> Result<Resp3Frame, AttemptError> {
        let name = |command: &mut Vec<Value>, name: &str| {
            if let Some(first) = command.first_mut() {
                *first = Value::from(name);
            }
        };
        name(&mut command, &script.sha);
        match self.send("EVALSHA", command.clone(), lane, deadline).await {
            Err(AttemptError::Refused(why)) if why.starts_with("NOSCRIPT") => {
                name(&mut command, &script.text);
                self.send("EVAL", command, lane, deadline).await
            }
            other => other,
        }
    }

    async fn send(
        &self,
        name: &'static str,
        args: Vec<Value>,
        lane: Lane,
        deadline: Instant,
    ) -> Result<Resp3Frame, AttemptError> {
        let until = deadline.min(Instant::now() + self.dial.timeouts.attempt);
        let left = until.saturating_duration_since(Instant::now());
        let options = Options { max_attempts: Some(1), fail_fast: true, timeout: Some(left), ..Options::default() };
        let answer = async {
            let connection = match lane {
                Lane::Commands => &self.commands,
                Lane::Durable => return self.send_and_wait(name, args, &options, left).await,
                Lane::Reads => {
                    let reads = self.reads.get_or_init(|| Connection::open(&self.address, &self.dial));
                    if !reads.is_connected() {
                        return Err(AttemptError::NotNow("the connection for reads is being made".to_owned()));
                    }
                    reads
                }
            };
            connection.client().with_options(&options).custom_raw(command(name), args).await.map_err(lost)
        };
        // fred's own time limit ends with the answer; ours also covers its queue.
        let answer = timeout_at((until + Duration::from_millis(100)).into(), answer).await;
        if lane == Lane::Reads && matches!(answer, Err(_) | Ok(Err(AttemptError::Lost(_)))) {
            // The server would still work on it, and keep the answer for this connection.
            if let Some(reads) = self.reads.get() {
                reads.renew();
            }
        }
        let frame = answer.unwrap_or_else(|_| Err(AttemptError::Lost("no answer in time".to_owned())))?;
        let error = match &frame {
            Resp3Frame::SimpleError { data, .. } => String::from(&**data),
            Resp3Frame::BlobError { data, .. } => String::from_utf8_lossy(data).into_owned(),
            _ => return Ok(frame),
        };
        Err(judge(without_arguments(error), &self.address.host))
    }

    /// Runs a script and waits for a replica on one connection, which is asked for its number before and after: WAIT on
    /// another one would not know of the script's writes, and say yes.
    async fn send_and_wait(
        &self,
        name: &'static str,
        args: Vec<Value>,
        options: &Options,
        left: Duration,
    ) -> Result<Resp3Frame, AttemptError> {
        let connection = self.durable.get_or_init(|| Connection::open(&self.address, &self.dial));
        if !connection.is_connected() {
            return Err(AttemptError::NotNow("the connection for durable publishes is being made".to_owned()));
        }
        self.see_that_it_may_wait(connection, options).await?;
        let patience = i64::try_from((left * 4 / 5).as_millis()).unwrap_or(i64::MAX).max(1);
        let pipeline = connection.client().with_options(options).pipeline();
        let number = || pipeline.custom::<(), _>(command("CLIENT"), vec![Value::from("ID")]);
        number().await.map_err(lost)?;
        let () = pipeline.custom(command(name), args).await.map_err(lost)?;
        let () = pipeline.custom(command("WAIT"), vec![Value::from(1), Value::from(patience)]).await.map_err(lost)?;
        number().await.map_err(lost)?;
        let mut answers = pipeline.try_all::<Value>().await.into_iter();
        let mut next =
            || answers.next().unwrap_or_else(|| Err(fred::error::Error::new(ErrorKind::Protocol, "no answer")));
        let (before, done, replicas, after) = (next(), next(), next(), next());
        let done = match done {
            Ok(done) => done,
            // What Redis itself says is its own judgement; everything else leaves it open whether anything was done.
            Err(error) if before.is_ok() && replicas.is_ok() => {
                return Ok(Resp3Frame::SimpleError { data: error.details().into(), attributes: None });
            }
            Err(error) => return Err(lost(error)),
        };
        match (before, replicas, after) {
            (Ok(before), Ok(Value::Integer(replicas)), Ok(after)) if before == after && replicas >= 1 => {
                frame_of(done).ok_or_else(|| AttemptError::Lost("not what a publish answers".to_owned()))
            }
            (Ok(before), Ok(_), Ok(after)) if before == after => {
                Err(AttemptError::Lost("no replica confirmed in time".to_owned()))
            }
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) if Trouble::of(error.details()).is_some() => {
                self.may_wait.store(false, Ordering::Relaxed);
                Err(AttemptError::Lost(error.details().to_owned()))
            }
            _ => Err(AttemptError::Lost("the connection changed before a replica confirmed".to_owned())),
        }
    }

    /// Refuses what is to wait for a replica, before anything is written, where the user has no right to do so.
    async fn see_that_it_may_wait(&self, connection: &Connection, options: &Options) -> Result<(), AttemptError> {
        if self.may_wait.load(Ordering::Relaxed) {
            return Ok(());
        }
        let pipeline = connection.client().with_options(options).pipeline();
        let () = pipeline.custom(command("CLIENT"), vec![Value::from("ID")]).await.map_err(lost)?;
        let () = pipeline.custom(command("WAIT"), vec![Value::from(0), Value::from(1)]).await.map_err(lost)?;
        for answer in pipeline.try_all::<Value>().await {
            match answer {
                Ok(_) => {}
                Err(error) if Trouble::of(error.details()).is_some() => {
                    return Err(AttemptError::Refused(error.details().to_owned()));
                }
                Err(error) => return Err(AttemptError::NotNow(error.to_string())),
            }
        }
        self.may_wait.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::Random, false)
}

/// A value as it came: a text, or a list of texts.
fn frame_of(value: Value) -> Option<Resp3Frame> {
    Some(match value {
        Value::Array(values) => {
            Resp3Frame::Array { data: values.into_iter().map(frame_of).collect::<Option<_>>()?, attributes: None }
        }
        text => Resp3Frame::BlobString { data: text.into_bytes()?, attributes: None },
    })
}

/// A command that fred did not finish.
fn lost(error: fred::error::Error) -> AttemptError {
    if *error.kind() == ErrorKind::Backpressure {
        AttemptError::NotNow("too many commands wait".to_owned())
    } else {
        AttemptError::Lost(error.to_string())
    }
}

/// What an error of Redis means. Each of those that are tried again is given before anything is carried out.
pub(super) fn judge(error: String, host: &str) -> AttemptError {
    let mut words = error.split(' ');
    if words.next() == Some("MOVED") {
        // A server that does not know its own address names none, and means the one by which it was asked.
        return match words.nth(1).filter(|address| !address.starts_with('?')) {
            Some(address) => Address::parse(address, host).map_or(AttemptError::NotNow(error), AttemptError::Moved),
            None => AttemptError::NotNow(error),
        };
    }
    match refusal_word(&error) {
        "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" => AttemptError::Stale(error),
        // A slot on its way to another server; ASK leads nowhere, because half of a script's keys never exist.
        "ASK" | "TRYAGAIN" | "LOADING" | "BUSY" | "NOREPLICAS" => AttemptError::NotNow(error),
        _ => AttemptError::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_without_a_host_means_the_host_that_was_asked() {
        let moved = |error: &str| match judge(error.to_owned(), "here") {
            AttemptError::Moved(address) => Some(address.to_string()),
            _ => None,
        };
        assert_eq!(moved("MOVED 1 10.0.0.1:7"), Some("10.0.0.1:7".to_owned()));
        assert_eq!(moved("MOVED 1 :7"), Some("here:7".to_owned()));
        assert_eq!((moved("MOVED 1 ?:7"), moved("MOVED 1 :0"), moved("MOVED")), (None, None, None));
    }
}
