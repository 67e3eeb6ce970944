//! What one worker's event loop owns: its connections, its members' places, its scratch.
//!
//! One thread, no locks: everything here is reached through one `&mut`. Never waits; what must wait is a local task that
//! comes back with an answer. Always holds: a connection is removed by its own task's end and nowhere else.

pub mod call;
pub mod clock;
pub mod connection_ids;
pub mod disconnect_log;
pub mod fleet;
pub mod inspect;
pub mod policy_reload;
pub mod queues;
pub mod readiness;
pub mod shared;
pub mod timers;
pub mod wheel;

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::{Rc, Weak},
    sync::Arc,
    time::Instant,
};

use tokio::sync::Notify;

use crate::{
    config::Config,
    hub::{
        Broadcast, Content, Encoder, Services,
        connection::{
            State,
            connections::{ConnectionKey, Connections},
        },
        fanout::{
            broadcast::Range,
            fan_out::SMALL,
            room::LocalRoom,
            rooms::{RoomIndex, Rooms},
        },
        recovery::cache::Missed,
        worker::{
            connection_ids::{Directory, Names},
            disconnect_log::Journal,
            policy_reload::Review,
            wheel::Wheel,
        },
    },
    model::{CommandId, Disconnect, Limits, Position, Reply, Room, Since},
    session::SessionLimits,
    transport::{
        socket::Buffers,
        websocket::{Inflater, MessageLimits},
    },
};

/// A worker's own half of the hub.
pub struct Worker {
    pub(crate) me: Weak<RefCell<Self>>,
    /// Its number.
    pub index: usize,
    /// What it shares with the others.
    pub services: Arc<Services>,
    /// The buffers of all its sockets.
    pub buffers: Buffers,
    pub(crate) inflater: Option<Inflater>,
    pub(crate) encoder: Encoder,
    pub(crate) connections: Connections,
    pub(crate) directory: Directory,
    pub(crate) rooms: Rooms,
    /// Rooms with a fan-out in progress, in turn.
    pub(crate) active: VecDeque<RoomIndex>,
    /// Told when a room becomes active outside of the worker's turn: an answer from the log begins a fan-out as well.
    pub activity: Rc<Notify>,
    /// Rooms whose owner's queue was full.
    pub(crate) unasked: Vec<RoomIndex>,
    /// Rooms that somebody was the last to leave, and when.
    pub(crate) emptied: VecDeque<(Instant, RoomIndex)>,
    pub(crate) review: Review,
    pub(crate) journal: Journal,
    pub(crate) wheel: Wheel<crate::hub::worker::timers::Timed>,
    pub(crate) began: Instant,
    /// The configuration that the cached values below are from.
    config: Arc<Config>,
    pub(crate) limits: SessionLimits,
    pub(crate) message_limits: MessageLimits,
    pub(crate) owed_limit: usize,
    pub(crate) names_given: Names,
    /// How many fan-outs began or ended.
    pub(crate) broadcasts: u64,
    pub(crate) drain: Option<crate::hub::worker::timers::DrainRun>,
    /// What its share of the gauges of connections is: all, those with a user.
    pub(crate) shown: (usize, usize),
}

impl Worker {
    /// A worker without connections.
    #[must_use]
    pub fn new(index: usize, services: Arc<Services>) -> Rc<RefCell<Self>> {
        let config = services.config.load_full();
        let encoder =
            Encoder::new(Arc::clone(&services.dialects), config.compression.level, Arc::clone(&services.budget));
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                me: me.clone(),
                index,
                services,
                buffers: Buffers::default(),
                inflater: None,
                encoder,
                connections: Connections::default(),
                directory: Directory::default(),
                rooms: Rooms::default(),
                active: VecDeque::new(),
                activity: Rc::default(),
                unasked: Vec::new(),
                emptied: VecDeque::new(),
                review: Review::default(),
                journal: Journal::default(),
                wheel: Wheel::new(),
                began: Instant::now(),
                limits: session_limits(&config),
                message_limits: message_limits(&config),
                owed_limit: config.limits.send_queue,
                config,
                names_given: Names::new(),
                broadcasts: 0,
                drain: None,
                shown: (0, 0),
            })
        })
    }

    /// Milliseconds since the worker began: the coarse clock of sessions and timers.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The configuration as of the last tick.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Takes over a reloaded configuration.
    pub(crate) fn refresh_config(&mut self) {
        let config = self.services.config.load();
        if Arc::ptr_eq(&config, &self.config) {
            return;
        }
        self.config = Arc::clone(&config);
        self.limits = session_limits(&config);
        self.message_limits = message_limits(&config);
        self.owed_limit = config.limits.send_queue;
    }

    /// How many connections it has.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// What the session limits are now.
    #[must_use]
    pub fn session_limits(&self) -> SessionLimits {
        self.limits
    }

    /// A room's owner sent something for its members.
    pub fn broadcast(&mut self, room: &Room, broadcast: Arc<Broadcast>) {
        let Some(number) = self.rooms.find(room) else { return };
        let local = &mut self.rooms[number];
        if local.position.is_none() {
            // Sent before the owner knew that this worker had left and come back: the answer to the new join follows,
            // and stands behind it.
            return;
        }
        if local.run.is_none() && local.backlog.is_empty() && !local.healing {
            self.begin(number, broadcast);
        } else if local.backlog.len() < LocalRoom::MAX_BACKLOG {
            local.backlog.push_back(broadcast);
        } else if let Some(range) = broadcast.range() {
            local.tip = Some(Position::new(range.epoch, range.offset));
        } else if broadcast.is_live() {
            self.services.metrics.dropped.increment(local.members.len() as u64);
        }
    }

    /// A room's owner says where the room stands: what lies between was lost on the way.
    pub fn tip(&mut self, room: &Room, tip: Position) {
        let Some(number) = self.rooms.find(room) else { return };
        self.rooms[number].tip = Some(tip);
        self.next_in_backlog(number);
    }

    /// The room's log goes on under another epoch. Where broadcasts are under way, the first under the new name asks the log.
    pub fn renamed(&mut self, room: &Room, before: &Position, now: Position) {
        let Some(number) = self.rooms.find(room) else { return };
        let local = &mut self.rooms[number];
        if local.run.is_none() && local.backlog.is_empty() && !local.healing && local.position.as_ref() == Some(before)
        {
            local.position = Some(now);
        }
    }

    /// Starts a fan-out, or fills the hole before it first.
    fn begin(&mut self, number: RoomIndex, broadcast: Arc<Broadcast>) {
        if !self.begins(number, broadcast) {
            self.next_in_backlog(number);
        }
    }

    /// Whether something is under way in the room now: a broadcast that is not for anybody here is over at once.
    fn begins(&mut self, number: RoomIndex, broadcast: Arc<Broadcast>) -> bool {
        let local = &mut self.rooms[number];
        if let (Content::Events(batch), Some(position)) = (&broadcast.content, &local.position)
            && (batch.after != position.offset || batch.epoch != position.epoch)
        {
            if batch.epoch == position.epoch && batch.offset <= position.offset {
                return false;
            }
            let until = Position::new(batch.epoch.clone(), batch.after);
            local.backlog.push_front(broadcast);
            self.heal(number, until);
            return true;
        }
        let own = *broadcast.room() == local.name;
        let part = if own { Some(number) } else { self.rooms.find(broadcast.room()) };
        let local = &mut self.rooms[number];
        let begun = match part {
            Some(part) if part != number || local.parts == 0 || !matches!(broadcast.content, Content::Gap(_)) => {
                self.begin_for(number, part, broadcast);
                true
            }
            // A hole in a shared log is one in each of its rooms.
            Some(_) => {
                local.pass(&broadcast);
                let gaps = self.gaps_of_parts(number, &broadcast);
                gaps.into_iter().for_each(|gap| self.rooms[number].backlog.push_front(gap));
                false
            }
            None => {
                local.pass(&broadcast);
                false
            }
        };
        let local = &mut self.rooms[number];
        let reached = local.position.as_ref().map_or(0, |p| p.offset);
        let (ready, ahead) =
            local.ahead.drain(..).partition(|a| a.since.as_ref().is_none_or(|since| since.offset <= reached));
        local.ahead = ahead;
        let ready: Vec<crate::hub::fanout::room::Arrival> = ready;
        for arrival in ready {
            self.arrive(number, arrival);
        }
        begun
    }

    /// Starts the fan-out of a stream to the members of one of its rooms.
    fn begin_for(&mut self, number: RoomIndex, part: RoomIndex, broadcast: Arc<Broadcast>) {
        let members = &mut self.rooms[part].members;
        let (ends, small) = (members.pin(), members.len() <= SMALL);
        self.broadcasts += 1;
        let local = &mut self.rooms[number];
        local.spoke = (self.broadcasts, u64::MAX);
        let except = broadcast.except.as_deref().map(|user| self.directory.of(user)).unwrap_or_default();
        local.begin(broadcast, part, ends, except, Instant::now());
        if small {
            self.active.push_front(number);
        } else {
            self.active.push_back(number);
        }
        self.activity.notify_one();
    }

    /// A gap of a shared log as one of each of its rooms here.
    fn gaps_of_parts(&self, number: RoomIndex, gap: &Broadcast) -> Vec<Arc<Broadcast>> {
        let Some(range) = gap.range() else { return Vec::new() };
        let parts = self.rooms.iter().filter(|(_, local)| local.log == Some(number));
        let gap = |(_, local): (RoomIndex, &LocalRoom)| {
            let content = Content::Gap(Range { room: local.name.clone(), ..range.clone() });
            Arc::new(Broadcast::new(content, Arc::clone(&gap.policy), gap.arrived))
        };
        parts.map(gap).collect()
    }

    /// The room that has a room's stream: itself, or the one whose log it shares.
    pub(crate) fn stream_of(&self, number: RoomIndex) -> RoomIndex {
        self.rooms.get(number).and_then(|local| local.log).unwrap_or(number)
    }

    /// A room's fan-out is over.
    pub(crate) fn finish_run(&mut self, number: RoomIndex) {
        let Some(local) = self.rooms.get_mut(number) else { return };
        let Some(run) = local.run.take() else { return };
        self.broadcasts += 1;
        local.spoke.1 = self.broadcasts;
        let part = run.part;
        let mut moved = Vec::new();
        if let Some(local) = self.rooms.get_mut(part) {
            local.members.unpin(|key, place| moved.push((key, place)));
        }
        for (key, place) in moved {
            self.place(key, part, place);
        }
        let metrics = &self.services.metrics;
        metrics.frames.increment(run.receivers);
        metrics.sent.add(run.bytes_plain, run.bytes_framed);
        let deliveries = run.receivers * run.broadcast.events() as u64;
        metrics.deliveries.increment(deliveries);
        metrics.workers[self.index].deliveries.increment(deliveries);
        if let (Some(observer), Content::Events(batch) | Content::Unlogged(batch)) =
            (&metrics.observer, &run.broadcast.content)
        {
            observer.batch_delivered(batch, run.receivers);
        }
        metrics.fan_out.record(run.began.elapsed());
        if run.broadcast.is_live() {
            metrics.publish_to_write.record(run.broadcast.arrived.elapsed());
        }
        drop(run);
        self.note_if_empty(number);
        if part != number {
            self.note_if_empty(part);
        }
        self.next_in_backlog(number);
    }

    fn next_in_backlog(&mut self, number: RoomIndex) {
        while let Some(local) = self.rooms.get_mut(number)
            && !local.healing
            && local.run.is_none()
            && let Some(next) = local.backlog.pop_front()
        {
            if self.begins(number, next) {
                return;
            }
        }
        let Some(local) = self.rooms.get_mut(number) else { return };
        if local.healing || local.run.is_some() {
            return;
        }
        if let (Some(tip), Some(position)) = (local.tip.take(), &local.position)
            && position.offset < tip.offset
        {
            self.heal(number, tip);
        }
    }

    /// Fills a hole in a room's stream from history, for all members at once; or tells them that it is gone.
    fn heal(&mut self, number: RoomIndex, until: Position) {
        let local = &mut self.rooms[number];
        let Some(position) = local.position.clone() else { return };
        local.healing = true;
        self.services.metrics.holes.increment(1);
        let (services, room, policy) = (Arc::clone(&self.services), local.name.clone(), Arc::clone(&local.policy));
        let me = self.me.clone();
        tokio::task::spawn_local(async move {
            let since = Since { epoch: position.epoch, offset: position.offset };
            let missed = services.recoveries.missed(&*services.broker, &policy, &room, &since, &until).await;
            let Some(worker) = me.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            let Some(number) = worker.rooms.find(&room) else { return };
            let local = &mut worker.rooms[number];
            local.healing = false;
            match missed {
                Ok(Missed::All(broadcasts)) => {
                    // The log knows the position as one of its own.
                    local.position = Some(Position::new(until.epoch, since.offset));
                    for broadcast in broadcasts.into_iter().rev() {
                        local.backlog.push_front(broadcast);
                    }
                }
                Ok(Missed::Gone) | Err(_) => {
                    let Position { epoch, offset } = until;
                    let range = Range { room: room.clone(), epoch, after: since.offset, offset };
                    let gap = Broadcast::new(Content::Gap(range), policy, Instant::now());
                    local.backlog.push_front(Arc::new(gap));
                }
            }
            worker.next_in_backlog(number);
        });
    }

    /// Says something to one connection.
    pub fn reply(&mut self, key: ConnectionKey, reply: &Reply, id: Option<&CommandId>) {
        self.tell(key, reply, id, None);
    }

    /// Says something of a room to one connection, in order with what the room says.
    pub(crate) fn tell_in(&mut self, key: ConnectionKey, room: RoomIndex, reply: &Reply, id: Option<&CommandId>) {
        self.tell(key, reply, id, Some(room));
    }

    fn tell(&mut self, key: ConnectionKey, reply: &Reply, id: Option<&CommandId>, room: Option<RoomIndex>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.state != State::Open {
            return;
        }
        if let Some(observer) = &self.services.metrics.observer {
            observer.reply_sent(reply);
        }
        let said = connection.reply(reply, id, room, &mut self.encoder, &mut self.buffers, &self.services.budget);
        if said.is_err() {
            connection.wake();
        } else if connection.owed() > 2 * self.owed_limit {
            // Replies alone filled the queue: whoever asks for more than it reads goes.
            self.close(key, Disconnect::Slow);
        }
    }

    /// Closes a connection: it leaves its rooms now, its socket goes when the client has heard of it.
    pub fn close(&mut self, key: ConnectionKey, disconnect: Disconnect) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.state != State::Open {
            return;
        }
        self.part(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.close(disconnect, &mut self.buffers.sealed, &self.services.budget);
        let subscriptions = std::mem::take(&mut connection.subscriptions);
        for subscription in subscriptions {
            self.leave(key, subscription);
        }
        self.expect_end(key);
    }

    /// Closes a connection once it has what waits for it. It is in no room yet.
    pub(crate) fn close_after(&mut self, key: ConnectionKey, disconnect: Disconnect) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.close_after(disconnect, &mut self.buffers.sealed, &self.services.budget);
        self.expect_end(key);
    }

    /// Has a connection's own task look at it.
    pub(crate) fn wake(&self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get(key) {
            connection.wake();
        }
    }
}

fn session_limits(config: &Config) -> SessionLimits {
    SessionLimits {
        told: Limits {
            max_message_bytes: config.limits.max_message,
            max_rooms: config.limits.max_rooms,
            commands_per_second: config.limits.commands_per_second,
            command_burst: config.limits.command_burst,
        },
        control_frames_per_second: config.limits.control_frames_per_second,
        ping_interval_ms: u64::try_from(config.timeouts.ping.as_millis()).unwrap_or(u64::MAX),
    }
}

fn message_limits(config: &Config) -> MessageLimits {
    MessageLimits { max_message: config.limits.max_message, max_fragments: config.limits.max_fragments }
}
