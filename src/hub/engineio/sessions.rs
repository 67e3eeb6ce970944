//! The Engine.IO sessions among a worker's connections.

use std::time::Duration;

use crate::{
    hub::{
        connection::{
            Connection, connections::Connections, key::ConnectionKey, state::State, transport::ClientTransport,
        },
        fanout::room_index::RoomIndex,
    },
    protocol::{DialectId, engineio::EngineError},
    session::{ConnectionId, Space},
};

impl Connections {
    /// The key of the session of that name.
    #[must_use]
    pub fn session_at(&self, name: ConnectionId) -> Option<ConnectionKey> {
        let (key, connection) = self.find(name)?;
        connection.is_engine().then_some(key)
    }

    /// The key of a session that is polled.
    pub(super) fn polling_session(&mut self, name: ConnectionId) -> Result<ConnectionKey, EngineError> {
        let key = self.session_at(name).ok_or(EngineError::UnknownSession)?;
        let connection = self.get(key).ok_or(EngineError::UnknownSession)?;
        match (&connection.transport, connection.state) {
            (_, State::Gone) => Err(EngineError::UnknownSession),
            (ClientTransport::WebSocket { .. } | ClientTransport::WebTransport(_), _) => Err(EngineError::BadRequest),
            (ClientTransport::Mailbox(_), _) => {
                if let Some(link) = self.get_mut(key).and_then(Connection::link) {
                    link.unused = None;
                }
                Ok(key)
            }
        }
    }

    /// How long a WebSocket may take to replace a session's polling; `None`: it may not, because another one does or did.
    pub(super) fn probe_patience(&mut self, name: ConnectionId) -> Option<Duration> {
        let key = self.polling_session(name).ok()?;
        let link = self.get_mut(key)?.link()?;
        (!link.upgrading).then_some(link.endpoint.timing.upgrade_timeout)
    }

    /// A WebSocket was probed, or the probe came to nothing.
    pub(super) fn set_upgrading(&mut self, name: ConnectionId, upgrading: bool) -> bool {
        let Ok(key) = self.polling_session(name) else { return false };
        let Some(connection) = self.get_mut(key) else { return false };
        if connection.state != State::Open {
            return false;
        }
        let Some(link) = connection.link() else { return false };
        if upgrading && link.upgrading {
            return false;
        }
        link.upgrading = upgrading;
        if let ClientTransport::Mailbox(mailbox) = &mut connection.transport {
            mailbox.wake();
        }
        true
    }

    /// The name of the namespace in which a dialect is spoken.
    pub(super) fn namespace_name(&self, key: ConnectionKey, dialect: DialectId) -> Option<Box<str>> {
        self.get(key)?.cold.as_ref()?.link.as_ref()?.name_of(dialect)
    }

    /// A namespace that a client is in.
    pub(super) fn space(&mut self, key: ConnectionKey, dialect: DialectId) -> Option<&mut Space> {
        self.get_mut(key)?.link()?.space(dialect)
    }

    /// The dialect in which a connection asked for a room.
    pub(super) fn dialect_in(&self, key: ConnectionKey, room: RoomIndex) -> Option<DialectId> {
        let subscriptions = &self.get(key)?.subscriptions;
        Some(subscriptions.iter().find(|subscription| subscription.room == room)?.dialect)
    }
}
