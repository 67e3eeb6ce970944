//! The receivers' process: thousands of connections in one loop of one thread.
//!
//! Owns its connections and what they count; takes orders from the parent on its input, gives notices on its output.
//! Never decides what is measured. Always holds: orders come one at a time, each is answered by one notice (besides
//! progress), and what cannot be carried out is answered by `Failed`.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, mpsc},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, Waker};
use rustls::ClientConfig;
use slab::Slab;

use crate::{
    child::{self, say},
    clock::{self, SECOND},
    content::Recipe,
    edge::Ready,
    error::{BenchError, Doing as _},
    process,
    verify::{Faults, Tracker},
};

mod connection;
pub(crate) mod control;
mod event_stream;
mod frames;
mod orders;
pub(crate) mod pairs;
pub(crate) mod sessions;
mod tally;
pub(crate) mod tls;
mod trips;
mod visiting;
mod websocket;

use connection::{Connection, Stage};
use control::{Agreed, Join, Notice, OPENING, Order, Target};
use orders::{Finishing, Joining, listen_to_parent};
use tally::Tally;
use visiting::{Stay, Visiting};
use websocket::{Link, Shared};

/// The parent's orders among the tokens.
const INPUT: Token = Token(usize::MAX);
/// The most sockets that one wait reports.
const EVENTS: usize = 1024;

/// The role's main: until the parent closes the input.
pub(crate) fn run() -> Result<(), BenchError> {
    child::end_with_parent()?;
    process::raise_file_limit()?;
    let result = Receiver::new()?.run();
    if let Err(error) = &result {
        say(&Notice::Failed(error.to_string()))?;
    }
    result
}

/// A connection and what is expected of it.
struct Entry {
    connection: Connection,
    target: Target,
    recipe: Recipe,
    stay: Stay,
}

struct Receiver {
    poll: Poll,
    /// The parent's lines; it ends with the parent's pipe.
    orders: mpsc::Receiver<io::Result<String>>,
    shared: Shared,
    entries: Slab<Entry>,
    pod: Tally,
    floor: Tally,
    joining: Option<Joining>,
    finishing: Option<Finishing>,
    visiting: Option<Visiting>,
}

impl Receiver {
    fn new() -> Result<Self, BenchError> {
        let poll = Poll::new().doing(|| "making a poll".to_owned())?;
        let waker = Waker::new(poll.registry(), INPUT).doing(|| "watching the input".to_owned())?;
        Ok(Self {
            poll,
            orders: listen_to_parent(waker),
            shared: Shared::new(),
            entries: Slab::new(),
            pod: Tally::new(Target::Pod),
            floor: Tally::new(Target::Floor),
            joining: None,
            finishing: None,
            visiting: None,
        })
    }

    fn run(mut self) -> Result<(), BenchError> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let wait = if self.visiting.is_some() {
                Duration::from_millis(1)
            } else if self.joining.is_some() || self.finishing.is_some() {
                Duration::from_millis(10)
            } else {
                Duration::from_secs(1)
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => done.doing(|| "waiting for sockets".to_owned())?,
            }
            for event in &events {
                match event.token() {
                    INPUT => {
                        if !self.orders()? {
                            return Ok(());
                        }
                    }
                    Token(key) => self.connection(key, Ready::of(event))?,
                }
            }
            self.join()?;
            self.visit()?;
            self.finish()?;
        }
    }

    fn tally(&mut self, target: Target) -> &mut Tally {
        match target {
            Target::Pod => &mut self.pod,
            Target::Floor => &mut self.floor,
        }
    }

    /// Carries out what the parent wrote; `false` at its end.
    fn orders(&mut self) -> Result<bool, BenchError> {
        loop {
            let line = match self.orders.try_recv() {
                Ok(line) => line.doing(|| "reading the parent's orders".to_owned())?,
                Err(mpsc::TryRecvError::Empty) => return Ok(true),
                Err(mpsc::TryRecvError::Disconnected) => return Ok(false),
            };
            let order = serde_json::from_str(&line)
                .map_err(|e| BenchError::Protocol(format!("an order that cannot be read: {e}")))?;
            self.order(order)?;
        }
    }

    fn order(&mut self, order: Order) -> Result<(), BenchError> {
        let now = clock::now();
        match order {
            Order::Join(join) => {
                let tls = Arc::new(tls::fresh()?);
                self.joining = Some(Joining { join, tls, begun: 0, members: 0, told: now, progress: now });
            }
            Order::Begin(target) => {
                self.tally(target).begin();
                for (_, entry) in &mut self.entries {
                    if entry.target == target {
                        entry.connection.tracker.begin();
                    }
                }
                say(&Notice::Began)?;
            }
            Order::Finish { target, ends, timeout_ms, last } => {
                let deadline = now + timeout_ms * 1_000_000;
                self.finishing = Some(Finishing { target, ends: ends.into_iter().collect(), deadline, last });
            }
            Order::Visit(visits) => self.visiting = Some(Visiting::new(visits, now)?),
        }
        Ok(())
    }

    fn start(&mut self, join: &Join, tls: &Arc<ClientConfig>, index: usize, stay: Stay) -> Result<(), BenchError> {
        let mut link = Link::start(join, index, tls)?;
        let entry = self.entries.vacant_entry();
        self.poll
            .registry()
            .register(link.socket(), Token(entry.key()), Interest::WRITABLE)
            .doing(|| "watching a connection".to_owned())?;
        let connection = Connection {
            link,
            room: join.room(index),
            stage: Stage::Opening,
            tracker: Tracker::default(),
            pending: Vec::new(),
            started: clock::now(),
            subscribes: !matches!(stay, Stay::UntilOpen),
            dialect: join.dialect,
        };
        entry.insert(Entry { connection, target: join.target, recipe: join.recipe, stay });
        Ok(())
    }

    /// A connection's socket is ready.
    fn connection(&mut self, key: usize, ready: Ready) -> Result<(), BenchError> {
        let Some(entry) = self.entries.get_mut(key) else { return Ok(()) };
        let tally = match entry.target {
            Target::Pod => &mut self.pod,
            Target::Floor => &mut self.floor,
        };
        let before = entry.connection.stage;
        if let Err(error) = entry.connection.ready(ready, &mut self.shared, tally, &entry.recipe) {
            return self.ended(key, &error);
        }
        if let Some(interest) = entry.connection.link.new_interest() {
            self.poll
                .registry()
                .reregister(entry.connection.link.socket(), Token(key), interest)
                .doing(|| "watching a connection".to_owned())?;
        }
        let open = entry.connection.link.is_open();
        let member = before != Stage::Member && entry.connection.stage == Stage::Member;
        match (&entry.stay, &mut self.joining, &mut self.visiting) {
            (Stay::Forever, Some(joining), _) if member => {
                joining.members += 1;
                joining.progress = clock::now();
            }
            (Stay::UntilOpen, _, Some(visiting)) if open => {
                visiting.arrived(&entry.connection);
                self.leave(key);
            }
            (Stay::For(stay), _, Some(visiting)) if member => {
                visiting.arrived(&entry.connection);
                visiting.leaving.push_back((clock::now() + stay, key, entry.connection.started));
            }
            _ => {}
        }
        Ok(())
    }

    /// A connection ended unexpectedly.
    fn ended(&mut self, key: usize, error: &BenchError) -> Result<(), BenchError> {
        let Some(entry) = self.entries.try_remove(key) else { return Ok(()) };
        let (room, member) = (entry.connection.room, entry.connection.stage == Stage::Member);
        match (entry.stay, &mut self.visiting) {
            (Stay::Forever, _) if !member => {
                return Err(BenchError::Protocol(format!("a connection could not be opened: {error}")));
            }
            (Stay::UntilOpen | Stay::For(_), Some(visiting)) if !member => {
                visiting.open -= 1;
                visiting.report.failed += 1;
                visiting.report.example.get_or_insert_with(|| error.to_string());
            }
            (stay, visiting) => {
                if let (Stay::UntilOpen | Stay::For(_), Some(visiting)) = (stay, visiting) {
                    visiting.open -= 1;
                }
                let tally = self.tally(entry.target);
                tally.faults.closed += 1;
                tally.example(|| format!("a member of room {room} was closed: {error}"));
            }
        }
        Ok(())
    }

    /// A visitor leaves.
    fn leave(&mut self, key: usize) {
        if let Some(mut entry) = self.entries.try_remove(key) {
            entry.connection.link.leave(&mut self.shared);
            if let Some(visiting) = &mut self.visiting {
                visiting.open -= 1;
            }
        }
    }

    /// Goes on with a `Join`.
    fn join(&mut self) -> Result<(), BenchError> {
        let Some(mut joining) = self.joining.take() else { return Ok(()) };
        let now = clock::now();
        while joining.begun < joining.join.connections && joining.begun - joining.members < joining.join.in_flight {
            let index = joining.join.first + joining.begun;
            self.start(&joining.join, &joining.tls, index, Stay::Forever)?;
            joining.begun += 1;
            joining.progress = now;
        }
        if joining.members >= joining.join.connections {
            return say(&Notice::Ready(self.agreed(joining.join.target)));
        }
        if now.saturating_sub(joining.progress) > OPENING {
            return Err(BenchError::Timeout {
                what: format!("opening connection {} of {}", joining.members + 1, joining.join.connections),
                seconds: OPENING / SECOND,
                hint: "is the server overloaded, or does it refuse connections without saying so?".to_owned(),
            });
        }
        if now.saturating_sub(joining.told) > SECOND / 10 {
            joining.told = now;
            say(&Notice::Joined(joining.members))?;
        }
        self.joining = Some(joining);
        Ok(())
    }

    fn agreed(&self, target: Target) -> Agreed {
        let mut agreed = Agreed::default();
        let mut positions = HashMap::new();
        for (_, entry) in self.entries.iter().filter(|(_, entry)| entry.target == target) {
            agreed.suite = entry.connection.link.suite();
            agreed.deflate = entry.connection.link.deflate();
            positions.insert(entry.connection.room, entry.connection.tracker.position());
        }
        agreed.positions = positions.into_iter().collect();
        agreed
    }

    /// Goes on with a `Finish`.
    fn finish(&mut self) -> Result<(), BenchError> {
        let Some(finishing) = &self.finishing else { return Ok(()) };
        let (target, last) = (finishing.target, finishing.last);
        let residents = || self.entries.iter().map(|(_, entry)| entry).filter(|entry| entry.target == target);
        let end = |entry: &Entry| finishing.ends.get(&entry.connection.room).copied();
        let all = residents().all(|entry| end(entry).is_none_or(|end| entry.connection.tracker.position() >= end));
        if !all && clock::now() < finishing.deadline {
            return Ok(());
        }
        let mut faults = Faults::default();
        let mut connections = 0;
        for entry in residents() {
            connections += 1;
            if let Some(end) = end(entry) {
                entry.connection.tracker.finish(end, &mut faults);
            }
        }
        self.finishing = None;
        let tally = self.tally(target);
        // The trackers count duplicates as they come; the sums must not count them again.
        tally.faults.lost += faults.lost;
        if faults.lost > 0 {
            tally.example(|| format!("{} events had not come at the end", faults.lost));
        }
        let report = tally.report(connections, last);
        say(&Notice::Report(Box::new(report)))
    }

    /// Goes on with a `Visit`.
    fn visit(&mut self) -> Result<(), BenchError> {
        let Some(mut visiting) = self.visiting.take() else { return Ok(()) };
        let now = clock::now();
        let elapsed = now.saturating_sub(visiting.start) as f64 / SECOND as f64;
        let arriving = elapsed < visiting.visits.seconds;
        while arriving && visiting.may_begin(elapsed) {
            let (stay, (join, tls)) = (visiting.stay(), visiting.next());
            let index = visiting.begun as usize;
            self.start(join, &tls, index, stay)?;
            visiting.begun += 1;
            visiting.open += 1;
        }
        let due = visiting.due(now);
        let late = (OPENING + visiting.visits.stay_ms.unwrap_or(0) * 1_000_000) as f64 / SECOND as f64;
        let overdue = elapsed > visiting.visits.seconds + late;
        if !arriving && (visiting.open <= due.len() || overdue) {
            visiting.report.failed += visiting.open.saturating_sub(due.len()) as u64;
            self.depart(&due);
            return self.end_visits(visiting);
        }
        if now.saturating_sub(visiting.told) > SECOND / 10 {
            visiting.told = now;
            say(&Notice::Visited(visiting.report.opened))?;
        }
        self.visiting = Some(visiting);
        self.depart(&due);
        Ok(())
    }

    fn depart(&mut self, due: &[(usize, u64)]) {
        for &(key, started) in due {
            if self.entries.get(key).is_some_and(|entry| entry.connection.started == started) {
                self.leave(key);
            }
        }
    }

    fn end_visits(&mut self, visiting: Visiting) -> Result<(), BenchError> {
        let target = visiting.visits.join.target;
        let seen = self.tally(target).report(0, false);
        let mut report = visiting.report;
        report.latency = visiting.latency.buckets();
        report.deliveries = seen.deliveries;
        report.faults = seen.faults;
        report.example = report.example.or(seen.example);
        say(&Notice::Visits(Box::new(report)))
    }
}
