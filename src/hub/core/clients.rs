//! A worker's connections, and what it takes to speak with their clients.
//!
//! Owns the connections, the encoder, the buffers of all sockets, the clock and the worker's settings. Never knows which connection is in a room.
//! Always holds: a connection is closed by [`AgendaItem::Close`] and no other way, so that it leaves its rooms.

use std::sync::Arc;

use crate::{
    hub::{
        connection::{
            Connection, connections::Connections, key::ConnectionKey, reply_bounds::ReplyBounds, state::State,
            user_agents::UserAgents,
        },
        core::{
            agenda::{Agenda, AgendaItem},
            settings::WorkerSettings,
        },
        fanout::{encoder::Encoder, room_index::RoomIndex},
        membership::event::MembershipEvent,
        worker::{services::Services, timers::Timers},
    },
    model::{CommandId, Disconnect, ErrorCode, Reply, Stats},
    protocol::Messages,
    session::ConnectionId,
    transport::socket::Buffers,
};

/// The connections of one worker, and what it takes to speak with their clients.
pub struct Clients {
    /// What all workers share.
    pub(crate) services: Arc<Services>,
    /// The connections.
    pub(crate) connections: Connections,
    /// Writes what is said.
    pub(crate) encoder: Encoder,
    /// The buffers of all sockets.
    pub(crate) buffers: Buffers,
    /// The clock, and what waits for a time.
    pub(crate) timers: Timers,
    /// What the operator decided.
    pub(crate) settings: WorkerSettings,
    /// What is left to the worker.
    pub(crate) agenda: Agenda,
    /// What clients call themselves.
    pub(crate) user_agents: UserAgents,
}

impl Clients {
    /// None yet.
    #[must_use]
    pub fn new(services: Arc<Services>) -> Self {
        let settings = WorkerSettings::of(services.config.load_full());
        let fine_ms = services.dialects.endpoints().iter().filter_map(|endpoint| endpoint.timing.tick_ms()).min();
        let (dialects, budget) = (Arc::clone(&services.dialects), Arc::clone(&services.budget));
        Self {
            encoder: Encoder::new(dialects, settings.config.compression.level, budget),
            services,
            connections: Connections::new(),
            buffers: Buffers::default(),
            timers: Timers::new(fine_ms),
            settings,
            agenda: Agenda::default(),
            user_agents: UserAgents::default(),
        }
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
        let (encoder, buffers, budget) = (&mut self.encoder, &mut self.buffers, &self.services.budget);
        let bounds = ReplyBounds::now(self.settings.queue_limit, budget);
        let mut said = connection.reply(reply, id, room, bounds, encoder, buffers, budget);
        let refused = matches!(said, Ok(false));
        if refused {
            self.services.metrics.pressures.memory.refused(1);
        }
        if refused && (id.is_some() || matches!(reply, Reply::History { .. } | Reply::Presence { .. })) {
            let message = "this pod holds as many bytes as it may: ask again later".to_owned();
            let error = Reply::Error { code: ErrorCode::Unavailable, message, room: None };
            said = connection.reply(&error, id, None, bounds, encoder, buffers, budget);
        }
        let bounds = ReplyBounds::now(self.settings.queue_limit, budget);
        match said {
            Err(_) => connection.wake(),
            // Nothing asked for it, so that nothing would ask again.
            Ok(false) => self.request_close(key, Disconnect::Overloaded),
            // A client that asks for more than it reads.
            Ok(true) if bounds.are_flooded(connection.queued_bytes()) => self.request_close(key, Disconnect::Slow),
            Ok(true) => {}
        }
    }

    /// Says something to the connection of that name, if it is still there.
    pub(crate) fn reply_to(&mut self, key: ConnectionKey, name: ConnectionId, reply: &Reply, id: Option<&CommandId>) {
        if self.connections.is(key, name) {
            self.reply(key, reply, id);
        }
    }

    /// Says what was written for one connection alone.
    pub(crate) fn say(&mut self, key: ConnectionKey, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.state == State::Open
            && connection.say(bytes, &mut self.buffers.sealed, &self.services.budget).is_err()
        {
            connection.wake();
        }
    }

    /// Says packets that no dialect writes.
    pub(crate) fn say_packets(&mut self, key: ConnectionKey, write: impl FnOnce(&mut Messages)) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.state != State::Open {
            return;
        }
        let mut bytes = Vec::new();
        self.encoder.packets(connection.format, write, &mut bytes);
        self.say(key, &bytes);
    }

    /// Tells a client the figures of its connection.
    pub(crate) fn tell_stats(&mut self, key: ConnectionKey, id: Option<&CommandId>) {
        let Some(connection) = self.connections.get(key) else { return };
        let totals = connection.totals;
        let stats = Stats {
            transport: connection.transport.name(),
            dialect: Arc::clone(self.services.dialects.name(connection.format.dialect)),
            tls: connection.transport.is_tls(),
            compression: connection.format.framing.compression(),
            connected_ms: self.timers.now_ms().saturating_sub(connection.since_ms),
            rooms: connection.subscriptions.len(),
            messages_in: totals.messages_in,
            bytes_in: totals.bytes_in,
            frames_out: totals.frames_out,
            bytes_out: totals.bytes_out,
            bytes_plain: totals.bytes_plain,
        };
        self.reply(key, &Reply::Stats(stats), id);
    }

    /// Has a connection closed when this entry is over: it leaves its rooms then.
    pub(crate) fn request_close(&mut self, key: ConnectionKey, disconnect: Disconnect) {
        if self.connections.get(key).is_some_and(|connection| connection.state == State::Open) {
            self.agenda.push(AgendaItem::Close(key, disconnect));
        }
    }

    /// Closes a connection once it has what waits for it. It is in no room yet.
    pub(crate) fn close_after(&mut self, key: ConnectionKey, disconnect: Disconnect) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.close_after(disconnect, &mut self.buffers.sealed, &self.services.budget);
        self.expect_end(key);
    }

    /// Has an Engine.IO session told of its membership when this entry is over. Other connections remember nothing.
    pub(crate) fn membership_event(&mut self, key: ConnectionKey, event: MembershipEvent) {
        if self.connections.get(key).is_some_and(Connection::is_engine) {
            self.agenda.push(AgendaItem::Membership(key, event));
        }
    }

    /// Has what a connection sent behind a decision taken up when this entry is over, if it was the last decision.
    pub(crate) fn resume_input(&mut self, key: ConnectionKey) {
        self.agenda.push(AgendaItem::ResumeInput(key));
    }
}
