//! The status that a user chooses, by a command or through the backend.
//!
//! Always holds: the changes of one connection are carried out in their order: what it sends behind one waits.

use std::sync::Arc;

use crate::{
    hub::{
        commands::refusal::refusal, connection::key::ConnectionKey, core::Core, users::presence::StatusError,
        worker::services::Services,
    },
    model::{CommandId, ErrorCode, Reply, StatusChange},
};

/// Changes the status of a connection's user.
pub(crate) fn status(core: &mut Core, key: ConnectionKey, id: Option<CommandId>, change: StatusChange) {
    let (services, doorway) = (Arc::clone(core.services()), core.doorway.clone());
    let Some(connection) = core.clients.connections.get_mut(key) else { return };
    let (name, user) = (connection.session.id, connection.session.grant.user().cloned());
    connection.pause_input();
    tokio::task::spawn_local(async move {
        let reply = services.client_status(user.as_deref(), change).await;
        doorway.enter(|core| {
            core.clients.reply_to(key, name, &reply, id.as_ref());
            if core.clients.connections.is(key, name) {
                core.clients.resume_input(key);
            }
        });
    });
}

impl Services {
    /// Changes a user's status as its client wants.
    pub(crate) async fn client_status(&self, user: Option<&str>, change: StatusChange) -> Reply {
        let refuse = |code, message: String| Reply::Error { code, message, room: None };
        let (Some(presence), Some(user)) = (&self.user_presence, user) else {
            return refuse(ErrorCode::NotAvailable, "users have no status here: it is switched off".to_owned());
        };
        match presence.change_by_client(user, change).await {
            Ok(_) => Reply::Done { expires_at: None },
            Err(StatusError::Broker(error)) => refusal(&error),
            Err(error @ StatusError::TooOften) => refuse(ErrorCode::RateLimited, error.to_string()),
            Err(error @ StatusError::Name) => refuse(ErrorCode::NotAvailable, error.to_string()),
        }
    }
}
