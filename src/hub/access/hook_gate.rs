//! What waits for the backend on a worker: joining a room, and what a client publishes.
//!
//! A join that the backend decides holds up what its client sends behind it, as a token does; publishes wait in the
//! connection's publish queue. Always holds: the worker goes on meanwhile, and when the answer is there everything is checked again
//! that may have changed; a room whose policy has no hook costs nothing here.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::{
    hooks::{HookError, RoomQuestion, Verdict},
    hub::{
        access::{
            first_room,
            permit::{JoinPermit, Principal, RefusalError},
        },
        connection::{Connection, key::ConnectionKey},
        core::Core,
        membership::{
            event::MembershipEvent,
            pending_join::JoinPurpose,
            subscribe_request::{SubscribeOutcome, SubscribeRequest},
        },
        worker::services::Services,
    },
    model::{Disconnect, ErrorCode, Policy, Publication, Reply, Room},
};

/// How many questions of one connection are under way at once: the others of the pod want their turn, too.
pub const AT_ONCE: usize = 4;

impl Principal {
    /// Its connection's name, as the backend knows it.
    pub(in crate::hub) fn name(&self) -> Option<String> {
        self.connection.map(|connection| connection.to_string())
    }

    fn question<'a>(
        &'a self,
        connection: Option<&'a str>,
        room: &'a Room,
        publication: Option<&'a Publication>,
    ) -> RoomQuestion<'a> {
        let Self { grant, transport, dialect, .. } = self;
        RoomQuestion { connection, grant, transport, dialect, room, publication }
    }
}

/// A policy with a hook that is not configured is refused at the start. If one came this far, nothing would be let in.
fn no_hook() -> RefusalError {
    (ErrorCode::Unavailable, "no backend decides this: try again later".to_owned())
}

fn undecided(error: &HookError) -> RefusalError {
    (ErrorCode::Unavailable, error.message_to_client().to_owned())
}

impl Services {
    /// Asks the backend whether a connection may join a room.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn may_join(&self, principal: &Principal, room: &Room) -> Result<JoinPermit, RefusalError> {
        let hook = self.hooks.as_ref().and_then(|hooks| hooks.subscribe.as_ref()).ok_or_else(no_hook)?;
        let name = principal.name();
        let asked = hook.ask(principal.question(name.as_deref(), room, None));
        match &*asked.await.map_err(|error| undecided(&error))? {
            Verdict::Allow(answer) => {
                let snapshot = (!answer.events.is_empty()).then(|| answer.events.as_slice().into());
                Ok(JoinPermit { snapshot })
            }
            Verdict::Deny(denial) => Err((denial.code, denial.message.clone())),
        }
    }

    /// What becomes of an event that a client publishes: asks the backend, where the room's policy says so.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn to_publish(
        &self,
        principal: Option<&Principal>,
        room: &Room,
        mut publication: Publication,
    ) -> Result<Publication, RefusalError> {
        let Some(principal) = principal.filter(|_| self.policy(room).publish_hook) else { return Ok(publication) };
        let hook = self.hooks.as_ref().and_then(|hooks| hooks.publish.as_ref()).ok_or_else(no_hook)?;
        let name = principal.name();
        publication.keep_fingerprint();
        let asked = hook.ask(principal.question(name.as_deref(), room, Some(&publication)));
        match &*asked.await.map_err(|error| undecided(&error))? {
            Verdict::Allow(answer) => {
                if let Some(topic) = &answer.topic {
                    publication.topic.clone_from(topic);
                }
                if let Some(payload) = &answer.payload {
                    publication.payload = payload.clone();
                }
                if answer.key.is_some() {
                    publication.key.clone_from(&answer.key);
                }
                Ok(publication)
            }
            Verdict::Deny(denial) => Err((denial.code, denial.message.clone())),
        }
    }
}

impl Connection {
    /// What the backend is told of this connection.
    pub(crate) fn principal(&self, services: &Services) -> Principal {
        Principal {
            connection: Some(self.session.id),
            grant: self.session.grant.clone(),
            transport: self.transport.name(),
            dialect: Arc::clone(services.dialects.name(self.format.dialect)),
        }
    }
}

/// Asks the backend about rooms that a connection wants into; what it sends meanwhile waits.
pub(crate) fn ask_hook(core: &mut Core, key: ConnectionKey, rooms: Vec<(Room, SubscribeRequest)>) {
    let (services, doorway) = (Arc::clone(core.services()), core.doorway.clone());
    let Some(connection) = core.clients.connections.get_mut(key) else { return };
    if rooms.is_empty() {
        return;
    }
    let (name, principal) = (connection.session.id, connection.principal(&services));
    connection.pause_input();
    tokio::task::spawn_local(async move {
        let asked = rooms.into_iter().map(async |(room, request)| {
            let permit = services.may_join(&principal, &room).await;
            doorway.enter(|core| {
                if core.clients.connections.is(key, name) {
                    answered(core, key, room, request, permit);
                }
            });
        });
        stream::iter(asked).buffer_unordered(AT_ONCE).collect::<()>().await;
        doorway.enter(|core| {
            if core.clients.connections.is(key, name) {
                core.clients.resume_input(key);
            }
        });
    });
}

/// The backend has answered about a room.
fn answered(
    core: &mut Core,
    key: ConnectionKey,
    room: Room,
    request: SubscribeRequest,
    permit: Result<JoinPermit, RefusalError>,
) {
    let (purpose, dialect) = (request.purpose.clone(), request.dialect);
    let entered = permit.and_then(|permit| {
        core.subscribe_to(key, &room, SubscribeRequest { permit: Some(permit), ..request })
            .map(|_: SubscribeOutcome| ())
    });
    let Err((code, message)) = entered else { return };
    match purpose {
        JoinPurpose::Subscribe(id) => {
            core.clients.reply(key, &Reply::Error { code, message, room: Some(room) }, id.as_ref());
        }
        JoinPurpose::Begin(first) => first_room::refuse(core, key, room, *first, code, message),
        // Its record stays, so that the client tries again to continue the same session.
        JoinPurpose::Resume if code == ErrorCode::Unavailable => {
            core.clients.request_close(key, Disconnect::Overloaded)
        }
        JoinPurpose::Resume => core.clients.membership_event(key, MembershipEvent::Refused { resumes: dialect }),
        JoinPurpose::CatchUp => {}
    }
}

/// Whether a connection may read a room's history and presence. Where the backend decides about joins, only members may.
pub(crate) fn may_read_about(core: &Core, key: ConnectionKey, room: &Room) -> bool {
    let asks = |policy: &Policy| policy.subscribe_hook;
    match core.rooms.find(room) {
        None => !asks(&core.services().policy(room)),
        Some(number) => {
            let connection = core.clients.connections.get(key);
            let is_in = |connection: &Connection| connection.subscriptions.iter().any(|s| s.room == number);
            !asks(&core.rooms[number].policy) || connection.is_some_and(is_in)
        }
    }
}
