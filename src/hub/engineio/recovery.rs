//! Socket.IO sessions that come back: what is kept of one while it lives, and how another connection becomes it, on whatever
//! pod.
//!
//! Kept from the connect on, so that a pod may die at any moment: the session's names, its rooms, and from where it was in
//! each. What a client got last it says itself: one room's position and its log time ([`StreamOffset`]). That room goes on
//! exactly behind it. Every other room goes on behind the same time less a margin, the longest batch window and
//! [`CLOCKS`](crate::hub::engineio::session_record::CLOCKS), because rooms are logged and sent apart from one another; what a client may get twice
//! that way is counted.
//! Rooms that share a log go on together exactly behind the event, whichever of them it was of, in the order of the log.
//! A join is written down before it is carried out, so that a pod that dies in between leaves a trace: such a session begins
//! anew. Only the first needs no such line: without an event of a room a client has nothing to come back by.
//! Where the pod could write down at the end what it had sent, and the client got the last of that, all rooms go on
//! exactly.
//!
//! Always holds: a session that is said to be the same gets everything that followed, or is not said to be the same.

use std::{sync::Arc, time::Duration};

use crate::hub::membership::pending_join::{JoinPurpose, Parts, PendingJoin};
use crate::{
    hub::{
        ConnectionKey, RoomIndex, Worker,
        connection::Connection,
        engineio::session_record::{Kept, KeptRoom, Plan, kept, owner_of, plan, value_name},
        fanout::subscription::Standing,
        membership::subscribe::{Entry, Placed},
        worker::clock::millis,
    },
    model::{CommandId, Disconnect, Position, Room, SubscribeTo},
    protocol::{
        DialectId,
        socketio::{self, StreamOffset},
    },
    session::{Recovering, Space},
};

impl Worker {
    /// How long a join waits until it is written down that it is under way.
    const JOIN_PATIENCE: Duration = Duration::from_secs(1);

    /// What a session is now, for its coming back.
    fn record(&self, key: ConnectionKey, dialect: DialectId, ended: bool) -> Option<(Box<str>, Kept)> {
        let connection = self.connections.get(key)?;
        let link = connection.aside.as_ref()?.link.as_ref()?;
        let space = link.spaces.iter().find(|space| space.dialect == dialect)?;
        let pid = space.pid.clone()?;
        let namespace = link.name_of(dialect)?;
        let all_sent = ended && connection.owed() == 0;
        let mut rooms = Vec::new();
        let mut spoke = Vec::new();
        for subscription in connection.subscriptions.iter().filter(|s| s.dialect == dialect) {
            let Some(local) = self.rooms.get(subscription.room) else { continue };
            let Some(stream) = self.rooms.get(self.stream_of(subscription.room)) else { continue };
            let joined = space.joined.iter().find(|(room, _)| *room == local.name).map(|(_, at)| kept(at));
            let sent = all_sent && matches!(subscription.standing, Standing::Member(_)) && stream.run.is_none();
            let sent = self.position_of(subscription.room).filter(|_| sent).map(kept);
            spoke.push((stream.fan_out_span, local.name.clone()));
            let (room, spelling, given) = (local.name.clone(), subscription.spelling, subscription.given);
            rooms.push(KeptRoom { room, spelling, given, joined, sent });
        }
        // Two fan-outs that overlapped may have reached this connection in either order: neither was the last for sure.
        spoke.sort_unstable();
        let last = match spoke.as_slice() {
            [.., ((_, before), _), ((began, _), room)] if began > before => Some(room.clone()),
            [(_, room)] => Some(room.clone()),
            _ => None,
        };
        let last = last.filter(|_| all_sent);
        let user = connection.session.grant.user().map(|user| user.as_ref().into());
        let owner = format!("{:016x}:{}", self.services.pod, connection.session.id).into();
        let (sid, left) = (space.sid.clone(), space.left.clone());
        let entering = !ended && (!space.joins.is_empty() || rooms.iter().any(|kept| kept.joined.is_none()));
        Some((pid, Kept { sid, namespace, user, owner, rooms, entering, left, last }))
    }

    /// Keeps what a session is now. Never waits; what changes meanwhile is kept after it.
    pub(crate) fn keep(&mut self, key: ConnectionKey, dialect: DialectId) {
        let now_ms = self.now_ms();
        let Some((pid, record)) = self.record(key, dialect, false) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let name = connection.session.id;
        let Some(link) = connection.link() else { return };
        let Some(duration) = link.endpoint.timing.recovery else { return };
        let Some(space) = link.space(dialect) else { return };
        if space.keeping.writing {
            space.keeping.stale = true;
            return;
        }
        let first = space.keeping.due_ms == 0;
        space.keeping.writing = true;
        space.keeping.stale = false;
        space.keeping.due_ms = now_ms + (millis(duration) / 2).max(1);
        let joins = std::mem::take(&mut space.joins);
        let (me, values) = (self.me.clone(), Arc::clone(&self.services.values));
        tokio::task::spawn_local(async move {
            let Some(value) = value_name(&pid) else { return };
            let write = async {
                // Whoever became this session meanwhile has it: a connection that is cut off does not know yet.
                let lost = !first && owner_of(values.get(&value).await).is_some_and(|owner| owner != record.owner);
                let written = match serde_json::to_vec(&record) {
                    Ok(json) if !lost => values.set(&value, json.into(), duration * 2).await.is_ok(),
                    _ => true,
                };
                (lost, written)
            };
            // Nobody is kept from a room for long because nothing can be written down.
            let patience = if joins.is_empty() { duration } else { Self::JOIN_PATIENCE };
            let (lost, written) = tokio::time::timeout(patience, write).await.unwrap_or((false, false));
            let Some(worker) = me.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            if !worker.is(key, name) {
                return;
            }
            if !written {
                worker.services.metrics.socketio.keep_failures.increment(1);
            }
            if let Some(space) = worker.space(key, dialect) {
                space.keeping.writing = false;
                let stale = std::mem::take(&mut space.keeping.stale);
                if lost {
                    space.pid = None;
                    worker.close(key, Disconnect::Normal);
                    return;
                }
                for (rooms, id) in &joins {
                    let rooms = rooms.iter().cloned().map(|room| (room, None));
                    worker.enter_rooms(key, rooms, id.as_ref());
                }
                if stale || !joins.is_empty() {
                    worker.keep(key, dialect);
                }
            }
            joins.iter().for_each(|_| worker.hear(key));
        });
    }

    /// Whether rooms are entered only after it was written down that they are; then that happens in a moment. Otherwise a
    /// client whose pod dies could come back by what it got of another room, without a room of which it was told that it is
    /// in it. Before its first room it has nothing to come back by.
    pub(crate) fn writes_down(&mut self, key: ConnectionKey, rooms: &[SubscribeTo], id: Option<&CommandId>) -> bool {
        let Some(dialect) = self.namespace_of(key, id).filter(|_| !rooms.is_empty()) else { return false };
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let Some(link) = connection.link().filter(|link| link.endpoint.timing.recovery.is_some()) else { return false };
        let Some(space) = link.space(dialect).filter(|space| space.pid.is_some()) else { return false };
        if space.joined.is_empty() && space.left.is_empty() {
            return false;
        }
        space.joins.push((rooms.to_vec(), id.cloned()));
        connection.stop_hearing();
        self.keep(key, dialect);
        true
    }

    /// Keeps what a connection's sessions are now.
    pub(crate) fn keep_all(&mut self, key: ConnectionKey) {
        let Some(link) = self.connections.get_mut(key).and_then(Connection::link) else { return };
        let begun = |space: &&Space| space.pid.is_some() && space.recovering.is_none();
        let dialects: Vec<DialectId> = link.spaces.iter().filter(begun).map(|space| space.dialect).collect();
        dialects.into_iter().for_each(|dialect| self.keep(key, dialect));
    }

    /// Keeps a session anew where that is due.
    pub(crate) fn keep_alive(&mut self, key: ConnectionKey, now_ms: u64) {
        let Some(link) = self.connections.get_mut(key).and_then(Connection::link) else { return };
        let due = |space: &&Space| space.pid.is_some() && space.recovering.is_none() && space.keeping.due_ms <= now_ms;
        let due: Vec<DialectId> = link.spaces.iter().filter(due).map(|space| space.dialect).collect();
        for dialect in due {
            self.keep(key, dialect);
        }
    }

    /// A session ends, and may come back: writes down how far it was sent. Called before it leaves its rooms.
    pub(crate) fn part(&mut self, key: ConnectionKey) {
        let Some(link) = self.connections.get_mut(key).and_then(Connection::link) else { return };
        let Some(duration) = link.endpoint.timing.recovery else { return };
        let dialects: Vec<DialectId> =
            link.spaces.iter().filter(|space| space.recovering.is_none()).map(|space| space.dialect).collect();
        for dialect in dialects {
            let Some((pid, record)) = self.record(key, dialect, true) else { continue };
            if let Some(space) = self.space(key, dialect) {
                space.pid = None;
            }
            let (values, Some(value)) = (Arc::clone(&self.services.values), value_name(&pid)) else { continue };
            tokio::task::spawn_local(async move {
                let lost = owner_of(values.get(&value).await).is_some_and(|owner| owner != record.owner);
                if let Ok(json) = serde_json::to_vec(&record)
                    && !lost
                {
                    // It could still come back without: by times instead of positions.
                    let _ = values.set(&value, json.into(), duration).await;
                }
            });
        }
    }

    /// A session ends and does not come back.
    pub(crate) fn forget(&mut self, key: ConnectionKey, dialect: DialectId) {
        let Some(pid) = self.space(key, dialect).and_then(|space| space.pid.take()) else { return };
        let (values, Some(value)) = (Arc::clone(&self.services.values), value_name(&pid)) else { return };
        tokio::task::spawn_local(async move {
            let _ = values.take(&value).await;
        });
    }

    /// A client wants to be the session that it was.
    pub(crate) fn come_back(
        &mut self,
        key: ConnectionKey,
        dialect: DialectId,
        pid: Box<str>,
        offset: StreamOffset,
        auth: &str,
    ) {
        let Some(namespace) = self.namespace_name(key, dialect) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (me, name) = (self.me.clone(), connection.session.id);
        let user = connection.session.grant.user().cloned();
        let forgets = self.services.config.load().token_lookup.accept_unknown;
        let (services, auth) = (Arc::clone(&self.services), Box::<str>::from(auth));
        connection.stop_hearing();
        tokio::task::spawn_local(async move {
            let plan = async {
                let value = services.values.get(&value_name(&pid)?).await.ok()??;
                let kept: Kept = serde_json::from_slice(&value).ok()?;
                // A token that is looked up may be gone by now, and its client nobody: who knows the session's name is its own.
                let same = kept.user.as_deref() == user.as_deref() || (user.is_none() && forgets);
                if kept.namespace != namespace || !same {
                    return None;
                }
                let policy = |room: &Room| services.policy(room);
                let plan = plan(&*services.broker, policy, kept, &offset).await;
                Some(plan.unwrap_or_else(|error| {
                    tracing::debug!(%error, "a session could not be continued");
                    None
                }))
            };
            let plan = plan.await;
            let Some(worker) = me.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            if !worker.is(key, name) {
                return;
            }
            let outcomes = &services.metrics.socketio;
            match plan {
                Some(Some(plan)) => worker.resume(key, dialect, pid, plan, &auth),
                Some(None) => {
                    outcomes.gone.increment(1);
                    worker.begin_session(key, dialect, &auth);
                }
                None => {
                    outcomes.unknown.increment(1);
                    worker.begin_session(key, dialect, &auth);
                }
            }
            worker.hear(key);
        });
    }

    fn resume(&mut self, key: ConnectionKey, dialect: DialectId, pid: Box<str>, plan: Plan, auth: &str) {
        let Plan { kept, rooms, twice } = plan;
        self.services.metrics.socketio.twice.increment(twice);
        self.enter(key, dialect, kept.sid, Some(pid));
        let Some(space) = self.space(key, dialect) else { return };
        space.recovering = Some(Recovering { left: rooms.len() + 1, broken: false, auth: auth.into() });
        // What shares a log comes back together, in the order of the log.
        let (mut asking, mut begun) = (Vec::new(), Vec::<(RoomIndex, PendingJoin)>::new());
        for (KeptRoom { room, spelling, given, joined, .. }, since) in rooms {
            let entry =
                Entry { since, spelling, given, dialect: Some(dialect), purpose: JoinPurpose::Resume, leave: None };
            let (number, since) = match self.take_place(key, &room, entry) {
                Ok(Placed::There(number, entry)) => (number, entry.since),
                Ok(Placed::Asks(entry)) => {
                    asking.push((room, entry));
                    continue;
                }
                Ok(Placed::Gone) => continue,
                Err(_) => {
                    self.count_resumed(key, dialect, false);
                    continue;
                }
            };
            let stream = self.stream_of(number);
            let part = (number, joined.map_or(0, |(_, offset)| offset));
            match begun.iter_mut().find(|(other, arrival)| *other == stream && arrival.since == since) {
                Some((_, arrival)) if stream != number => arrival.parts.push(part),
                _ => {
                    let parts = if stream == number { Parts::new() } else { [part].into() };
                    begun.push((
                        stream,
                        PendingJoin { key, since, purpose: JoinPurpose::Resume, snapshot: None, parts },
                    ));
                }
            }
        }
        for (stream, arrival) in begun {
            self.join(stream, arrival);
        }
        self.ask_to_enter(key, asking);
        self.count_resumed(key, dialect, true);
    }

    /// A room of a session that comes back has answered.
    pub(crate) fn resumed(&mut self, key: ConnectionKey, number: RoomIndex, recovered: bool) {
        let Some(connection) = self.connections.get(key) else { return };
        let Some(subscription) = connection.subscriptions.iter().find(|s| s.room == number) else { return };
        let dialect = subscription.dialect;
        // What keeps no history promises nothing to who was away.
        let stream = self.stream_of(number);
        let volatile = self.rooms.get(stream).is_some_and(|room| room.policy.history_size == 0);
        self.count_resumed(key, dialect, recovered || volatile);
    }

    pub(crate) fn count_resumed(&mut self, key: ConnectionKey, dialect: DialectId, recovered: bool) {
        let Some(space) = self.space(key, dialect) else { return };
        let Some(recovering) = &mut space.recovering else { return };
        recovering.left = recovering.left.saturating_sub(1);
        recovering.broken |= !recovered;
        if recovering.left > 0 {
            return;
        }
        let Some(Recovering { broken, auth, .. }) = space.recovering.take() else { return };
        if broken {
            self.services.metrics.socketio.gone.increment(1);
            self.leave_namespace(key, dialect);
            self.begin_session(key, dialect, &auth);
            return;
        }
        let (sid, pid) = (space.sid.clone(), space.pid.clone());
        let Some(name) = self.namespace_name(key, dialect) else { return };
        self.services.metrics.socketio.recovered.increment(1);
        self.say_packets(key, |out| socketio::connected(&name, &sid, pid.as_deref(), out));
        self.came_back(key, dialect, &auth);
        // Not sooner: a room that is the user's own, and was the session's, is one that it comes back to.
        self.identify(key);
        self.take_from_owner(key, dialect);
    }

    /// Keeps a session as this connection's, whoever had it before.
    fn take_from_owner(&mut self, key: ConnectionKey, dialect: DialectId) {
        if let Some(space) = self.space(key, dialect) {
            space.keeping.due_ms = 0;
        }
        self.keep(key, dialect);
    }

    /// A connection is in a room from here on.
    pub(crate) fn note_joined(&mut self, key: ConnectionKey, number: RoomIndex, position: &Position) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(subscription) = connection.subscriptions.iter().find(|s| s.room == number) else { return };
        let dialect = subscription.dialect;
        let Some(room) = self.rooms.get(number).map(|local| local.name.clone()) else { return };
        let Some(space) = connection.link().and_then(|link| link.space(dialect)) else { return };
        space.joined.retain(|(joined, _)| *joined != room);
        space.joined.push((room, position.clone()));
        if space.recovering.is_none() {
            self.keep(key, dialect);
        }
    }

    /// A connection is in a room no more.
    pub(crate) fn note_left(&mut self, key: ConnectionKey, number: RoomIndex) {
        let Some(name) = self.rooms.get(number).map(|local| local.name.clone()) else { return };
        let Some(link) = self.connections.get_mut(key).and_then(Connection::link) else { return };
        let mut changed = Vec::new();
        for space in &mut link.spaces {
            let before = space.joined.len();
            space.joined.retain(|(room, _)| *room != name);
            if space.joined.len() != before {
                space.leave(&name);
                changed.push(space.dialect);
            }
        }
        for dialect in changed {
            self.keep(key, dialect);
        }
    }

    fn space(&mut self, key: ConnectionKey, dialect: DialectId) -> Option<&mut Space> {
        self.connections.get_mut(key)?.link()?.space(dialect)
    }
}
