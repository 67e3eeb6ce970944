//! What waits for the backend on a worker: joining a room, and what a client publishes.
//!
//! A join that the backend decides holds up what its client sends behind it, as a token does; publishes wait in the
//! connection's publish queue. Always holds: the worker goes on meanwhile, and when the answer is there everything is checked again
//! that may have changed; a room whose policy has no hook costs nothing here.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::{
    auth::Grant,
    hooks::{HookError, RoomQuestion, Verdict},
    hub::{
        ConnectionKey, Services, Worker,
        connection::Connection,
        membership::{
            event::MembershipEvent,
            pending_join::JoinPurpose,
            subscribe::{SubscribeOutcome, SubscribeRequest},
        },
    },
    model::{Disconnect, ErrorCode, Event, Publication, Reply, Room},
    session::ConnectionId,
};

/// How many questions of one connection are under way at once: the others of the pod want their turn, too.
pub const AT_ONCE: usize = 4;

/// The permit of the backend to join a room.
#[derive(Debug, Clone, Default)]
pub struct JoinPermit {
    /// What the room shows a new member where nothing is retained.
    pub snapshot: Option<Arc<[Event]>>,
}

/// The connection for which the backend is asked.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Its connection, where it has a name already.
    pub connection: Option<ConnectionId>,
    /// What it may do.
    pub grant: Grant,
    /// What carries it.
    pub transport: &'static str,
    /// What it speaks.
    pub dialect: Arc<str>,
}

impl Principal {
    /// Its connection's name, as the backend knows it.
    fn name(&self) -> Option<String> {
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

/// Why something is refused: what the client is told.
pub type Refused = (ErrorCode, String);

/// A policy with a hook that is not configured is refused at the start. If one came this far, nothing would be let in.
fn nobody() -> Refused {
    (ErrorCode::Unavailable, "nobody decides this: try again later".to_owned())
}

fn undecided(error: &HookError) -> Refused {
    (ErrorCode::Unavailable, error.told().to_owned())
}

impl Services {
    /// Asks the backend whether a connection may join a room.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn may_join(&self, principal: &Principal, room: &Room) -> Result<JoinPermit, Refused> {
        let hook = self.hooks.as_ref().and_then(|hooks| hooks.subscribe.as_ref()).ok_or_else(nobody)?;
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
    ) -> Result<Publication, Refused> {
        let Some(principal) = principal.filter(|_| self.policy(room).publish_hook) else { return Ok(publication) };
        let hook = self.hooks.as_ref().and_then(|hooks| hooks.publish.as_ref()).ok_or_else(nobody)?;
        let name = principal.name();
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

impl Worker {
    /// Asks the backend about rooms that a connection wants into; what it sends meanwhile waits.
    pub(crate) fn ask_hook(&mut self, key: ConnectionKey, rooms: Vec<(Room, SubscribeRequest)>) {
        let services = Arc::clone(&self.services);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if rooms.is_empty() {
            return;
        }
        let (me, name, principal) = (self.me.clone(), connection.session.id, connection.principal(&services));
        connection.pause_input();
        tokio::task::spawn_local(async move {
            let asked = rooms.into_iter().map(async |(room, entry)| {
                let permit = services.may_join(&principal, &room).await;
                let Some(worker) = me.upgrade() else { return };
                let mut worker = worker.borrow_mut();
                if worker.connections.is(key, name) {
                    worker.answered(key, room, entry, permit);
                }
            });
            stream::iter(asked).buffer_unordered(AT_ONCE).collect::<()>().await;
            let Some(worker) = me.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            if worker.connections.is(key, name) {
                worker.resume_input(key);
            }
        });
    }

    /// The backend has answered about a room.
    fn answered(
        &mut self,
        key: ConnectionKey,
        room: Room,
        entry: SubscribeRequest,
        permit: Result<JoinPermit, Refused>,
    ) {
        let (purpose, dialect) = (entry.purpose.clone(), entry.dialect);
        let entered = permit.and_then(|permit| {
            self.subscribe_to(key, &room, SubscribeRequest { permit: Some(permit), ..entry })
                .map(|_: SubscribeOutcome| ())
        });
        let Err((code, message)) = entered else { return };
        match (purpose, dialect) {
            (JoinPurpose::Subscribe(id), _) => {
                self.reply(key, &Reply::Error { code, message, room: Some(room) }, id.as_ref());
            }
            (JoinPurpose::Begin(first), _) => self.first_refused(key, room, *first, code, message),
            // Its record stays, so that the client tries again to continue the same session.
            (JoinPurpose::Resume, _) if code == ErrorCode::Unavailable => self.close(key, Disconnect::Overloaded),
            (JoinPurpose::Resume, resumes) => {
                self.membership_event(key, MembershipEvent::Refused { resumes });
            }
            (JoinPurpose::CatchUp, _) => {}
        }
    }

    /// Whether a connection may read a room's history and presence. Where the backend decides about joins, only members may.
    pub(crate) fn may_read_about(&self, key: ConnectionKey, room: &Room) -> bool {
        let asks = |policy: &crate::model::Policy| policy.subscribe_hook;
        match self.rooms.find(room) {
            None => !asks(&self.services.policy(room)),
            Some(number) => {
                !asks(&self.rooms[number].policy)
                    || self
                        .connections
                        .get(key)
                        .is_some_and(|connection| connection.subscriptions.iter().any(|s| s.room == number))
            }
        }
    }
}
