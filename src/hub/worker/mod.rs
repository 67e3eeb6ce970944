//! What one worker's event loop owns: its connections, its members' places, its scratch.
//!
//! One thread, no locks: everything here is reached through one `&mut`. Never waits; what must wait is a local task that
//! comes back with an answer. Always holds: a connection is removed by its own task's end and nowhere else.

pub mod call;
pub mod capacity;
pub mod clock;
pub mod connection_ids;
pub mod disconnect_log;
pub mod drain;
mod engineio_seam;
pub mod event_loop;
pub mod fleet;
pub mod inspect;
mod keepalive;
pub mod policy_reload;
pub mod queues;
pub mod quic;
pub mod readiness;
mod room_sweep;
pub mod shared;
pub mod timers;
mod unread;
pub mod wheel;

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::{Rc, Weak},
    sync::Arc,
    time::Instant,
};

use tokio::sync::Notify;

use crate::hub::fanout::stream_effect::StreamEffect;
use crate::{
    config::Config,
    hub::{
        Encoder, Services,
        connection::{State, connections::Connections, key::ConnectionKey, reply_bounds::ReplyBounds},
        fanout::{room_index::RoomIndex, rooms::Rooms},
        membership::event::MembershipEvent,
        worker::{drain::DrainRun, policy_reload::PolicyReload, timers::Timers},
    },
    model::{CommandId, Disconnect, ErrorCode, Limits, Reply},
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
    pub(crate) rooms: Rooms,
    /// Rooms with a fan-out in progress, in turn.
    pub(crate) active: VecDeque<RoomIndex>,
    /// Told when a room becomes active outside of the worker's turn: an answer from the log begins a fan-out as well.
    pub activity: Rc<Notify>,
    /// Rooms whose sequencer's queue was full.
    pub(crate) unasked: Vec<RoomIndex>,
    /// Rooms whose last member has left, and when.
    pub(crate) emptied: VecDeque<(Instant, RoomIndex)>,
    pub(crate) policy_reload: PolicyReload,
    /// Its clock, and what waits for a time.
    pub timers: Timers,
    /// The configuration that the cached values below are from.
    config: Arc<Config>,
    pub(crate) limits: SessionLimits,
    pub(crate) message_limits: MessageLimits,
    pub(crate) queue_limit: usize,
    /// Room for what streams want done, so that no input of a stream allocates.
    pub(crate) stream_effects: Vec<StreamEffect>,
    /// How many fan-outs began or ended.
    pub(crate) broadcasts: u64,
    pub(crate) drain: Option<DrainRun>,
    /// What its share of the gauges of connections is: all, those with a user.
    pub(crate) shown: (usize, usize),
}

impl Worker {
    /// A worker without connections.
    #[must_use]
    pub fn new(index: usize, services: Arc<Services>) -> Rc<RefCell<Self>> {
        let config = services.config.load_full();
        let fine_ms = services.dialects.endpoints().iter().filter_map(|endpoint| endpoint.timing.tick_ms()).min();
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
                connections: Connections::new(),
                rooms: Rooms::default(),
                active: VecDeque::new(),
                activity: Rc::default(),
                unasked: Vec::new(),
                emptied: VecDeque::new(),
                policy_reload: PolicyReload::default(),
                timers: Timers::new(fine_ms),
                limits: session_limits(&config),
                message_limits: message_limits(&config),
                queue_limit: config.limits.send_queue,
                config,
                stream_effects: Vec::new(),
                broadcasts: 0,
                drain: None,
                shown: (0, 0),
            })
        })
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
        self.queue_limit = config.limits.send_queue;
    }

    /// What the session limits are now.
    #[must_use]
    pub fn session_limits(&self) -> SessionLimits {
        self.limits
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
        let Self { encoder, buffers, services, queue_limit, .. } = self;
        let bounds = ReplyBounds::now(*queue_limit, &services.budget);
        let mut said = connection.reply(reply, id, room, bounds, encoder, buffers, &services.budget);
        let refused = matches!(said, Ok(false));
        if refused {
            services.metrics.pressures.memory.refused(1);
        }
        if refused && (id.is_some() || matches!(reply, Reply::History { .. } | Reply::Presence { .. })) {
            let message = "this pod holds as many bytes as it may: ask again later".to_owned();
            let error = Reply::Error { code: ErrorCode::Unavailable, message, room: None };
            said = connection.reply(&error, id, None, bounds, encoder, buffers, &services.budget);
        }
        let bounds = ReplyBounds::now(*queue_limit, &services.budget);
        match said {
            Err(_) => connection.wake(),
            // Nothing asked for it, so that nothing would ask again.
            Ok(false) => self.close(key, Disconnect::Overloaded),
            // A client that asks for more than it reads.
            Ok(true) if bounds.are_flooded(connection.queued_bytes()) => self.close(key, Disconnect::Slow),
            Ok(true) => {}
        }
    }

    /// Closes a connection: it leaves its rooms now, its socket goes when the client has heard of it.
    pub fn close(&mut self, key: ConnectionKey, disconnect: Disconnect) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.state != State::Open {
            return;
        }
        self.membership_event(key, MembershipEvent::Ended);
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
