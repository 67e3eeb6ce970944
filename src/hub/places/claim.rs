//! A connection's place among those of its user: claimed when the user is known, lost when the broker says so.
//!
//! Always holds: a connection claims one place in its life; a poll claims none, because it is over with its answer.

use std::sync::Arc;

use crate::{
    broker::PlaceClaim,
    hub::{connection::key::ConnectionKey, core::clients::Clients, worker::Worker},
    model::Disconnect,
    session::ConnectionId,
};

impl Clients {
    /// Has a connection, whose user is known, counted among those of its user, where they are limited.
    pub(crate) fn claim_place(&mut self, key: ConnectionKey) {
        if self.settings.config.limits.user_connections.is_none() {
            return;
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.session.holds_place || !connection.transport.attends() {
            return;
        }
        let Some(user) = connection.session.grant.user().cloned() else { return };
        let services = &self.services;
        let claim = PlaceClaim { user, connection: connection.session.id.0 };
        connection.session.holds_place = services.places.claim(claim);
        if !connection.session.holds_place {
            services.metrics.user_places.uncounted.increment(1);
        }
    }
}

impl Worker {
    /// Closes those of these connections that are here and have no place.
    pub(crate) fn close_placeless(&mut self, names: &Arc<[u64]>) {
        let clients = &mut self.core.clients;
        for name in names.iter() {
            let found = clients.connections.find(ConnectionId(*name)).map(|(key, _)| key);
            if let Some(key) = found
                && let Some(connection) = clients.connections.get_mut(key)
            {
                connection.session.holds_place = false;
                clients.request_close(key, Disconnect::TooManyConnections);
            }
        }
    }
}
