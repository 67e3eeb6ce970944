//! Socket.IO sessions that are continued by another connection, on any pod: what membership tells a session's record, what the
//! record asks of the key-value store, and how a client comes back.
//!
//! A record exists from the connect on, so that a pod may die at any moment: the session's names, its rooms, and from where it
//! was in each. A client itself says what it got last: one room's position and its log time ([`StreamOffset`]). That room goes on
//! exactly behind it. Every other room goes on behind the same time less a margin, the longest batch window and
//! [`CLOCKS`](crate::hub::engineio::resume_plan::CLOCKS), because rooms are logged and sent apart from one another; what a client
//! may get twice that way is counted. Rooms that share a log go on together exactly behind the event, in the order of the log.
//! A join is recorded before it is carried out, so that a pod that dies in between leaves a trace: such a session begins anew.
//! Where the pod could record at the end what it had sent, and the client got the last of that, all rooms go on exactly.
//!
//! Always holds: a session that is said to be the same gets everything that followed, or is not said to be the same.

use std::sync::Arc;

use crate::{
    hub::{
        access::{hook_gate::ask_hook, identity::identify, opening_request::OpeningRequest},
        connection::{Connection, key::ConnectionKey},
        core::Core,
        engineio::{
            EngineIo,
            record_store::store,
            resume_plan::{ResumePlan, resume_plan},
        },
        fanout::{room_index::RoomIndex, subscription::Standing},
        membership::{
            event::MembershipEvent,
            pending_join::{JoinPurpose, Parts, PendingJoin},
            subscribe_request::{Placement, SubscribeRequest},
        },
    },
    model::{CommandId, Disconnect, Room, SubscribeTo},
    protocol::{
        DialectId,
        socketio::{self, StreamOffset},
    },
    session::{
        JoinRequest, RecordEffect, RecordValue, RecordedRoom, Resumed, RoomView, SessionRecord, SessionView,
        WriteOutcome,
    },
};

impl EngineIo {
    /// Membership has changed on a connection that is an Engine.IO session.
    pub(crate) fn membership(&self, core: &mut Core, key: ConnectionKey, event: MembershipEvent) {
        match event {
            MembershipEvent::Requested { rooms, id } => self.join_when_recorded(core, key, rooms, id),
            MembershipEvent::Joined { room, position } => {
                let Some(name) = core.rooms.get(room).map(|local| local.name.clone()) else { return };
                let Some(dialect) = core.clients.connections.dialect_in(key, room) else { return };
                if core.clients.connections.space(key, dialect).is_some_and(|space| space.record.joined(name, position))
                {
                    self.persist(core, key, dialect);
                }
            }
            MembershipEvent::Left { room } => {
                let Some(name) = core.rooms.get(room).map(|local| local.name.clone()) else { return };
                self.persist_where(core, key, |record| record.left(&name));
            }
            MembershipEvent::Refused { resumes: None } => {
                self.persist_where(core, key, |record| record.follows_changes())
            }
            MembershipEvent::Refused { resumes: Some(dialect) } => self.room_resumed(core, key, dialect, false),
            MembershipEvent::Recovered { room, complete } => {
                let Some(dialect) = core.clients.connections.dialect_in(key, room) else { return };
                // A room that keeps no history promises nothing to a client that was away.
                let stream = core.rooms.get(core.rooms.stream_of(room));
                let promises = stream.is_none_or(|stream| stream.policy.history_size > 0);
                self.room_resumed(core, key, dialect, complete || !promises);
            }
            MembershipEvent::Changed { dialect } => self.persist(core, key, dialect),
        }
    }

    /// Carries out a join, once it is recorded where that comes first. What the client sends meanwhile waits.
    fn join_when_recorded(&self, core: &mut Core, key: ConnectionKey, rooms: Vec<SubscribeTo>, id: Option<CommandId>) {
        let Some(connection) = core.clients.connections.get_mut(key) else { return };
        let dialect = connection.dialect_of(id.as_ref());
        let space = dialect.zip(connection.link()).and_then(|(dialect, link)| link.space(dialect));
        match space.filter(|space| !rooms.is_empty() && space.record.delays_joins()) {
            Some(space) => {
                let dialect = space.dialect;
                space.record.delay(JoinRequest { rooms, id });
                connection.pause_input();
                self.persist(core, key, dialect);
            }
            None => core.subscribe_to_all(key, rooms.into_iter().map(|room| (room, None)), id.as_ref()),
        }
    }

    /// Has a session's record be written as the session is now.
    pub(crate) fn persist(&self, core: &mut Core, key: ConnectionKey, dialect: DialectId) {
        let now_ms = core.clients.timers.now_ms();
        let persist =
            |record: &mut SessionRecord, core: &Core| record.persist(now_ms, || self.session_view(core, key, dialect));
        let effect = with_record(core, key, dialect, persist);
        self.perform_record(core, key, dialect, effect);
    }

    /// Persists the records of a connection of which `changed` says that they are to be.
    fn persist_where(&self, core: &mut Core, key: ConnectionKey, mut changed: impl FnMut(&mut SessionRecord) -> bool) {
        let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) else { return };
        let changed = link.spaces.iter_mut().filter_map(|space| changed(&mut space.record).then_some(space.dialect));
        for dialect in changed.collect::<Vec<_>>() {
            self.persist(core, key, dialect);
        }
    }

    /// Persists the records that would expire.
    pub(crate) fn renew_records(&self, core: &mut Core, key: ConnectionKey, now_ms: u64) {
        self.persist_where(core, key, |record| record.is_due(now_ms));
    }

    /// A connection ends, before it leaves its rooms: its records say how far it was sent.
    pub(crate) fn end_records(&self, core: &mut Core, key: ConnectionKey) {
        let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) else { return };
        for dialect in link.spaces.iter().map(|space| space.dialect).collect::<Vec<_>>() {
            let end = |record: &mut SessionRecord, core: &Core| record.end(|| self.session_view(core, key, dialect));
            let effect = with_record(core, key, dialect, end);
            self.perform_record(core, key, dialect, effect);
        }
    }

    /// A session is over, and cannot be continued.
    pub(crate) fn forget(&self, core: &mut Core, key: ConnectionKey, dialect: DialectId) {
        let effect = core.clients.connections.space(key, dialect).and_then(|space| space.record.forget());
        self.perform_record(core, key, dialect, effect);
    }

    /// None of a connection's sessions can be continued.
    pub(crate) fn forget_records(&self, core: &mut Core, key: ConnectionKey) {
        let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) else { return };
        for dialect in link.spaces.iter().map(|space| space.dialect).collect::<Vec<_>>() {
            self.forget(core, key, dialect);
        }
    }

    /// Does what a record asks for.
    fn perform_record(
        &self,
        core: &mut Core,
        key: ConnectionKey,
        dialect: DialectId,
        effects: impl IntoIterator<Item = RecordEffect>,
    ) {
        let (values, writes) = (&self.services.values, &self.services.user_writes);
        for effect in effects {
            let values = Arc::clone(values);
            match effect {
                RecordEffect::Write(write) => {
                    let Some(connection) = core.clients.connections.get(key) else { return };
                    let (doorway, name) = (self.doorway.clone(), connection.session.id);
                    let under_way = writes.begin(write.value.user.as_deref());
                    tokio::task::spawn_local(async move {
                        let stored = tokio::time::timeout(write.patience, store(&*values, &write, &under_way)).await;
                        drop(under_way);
                        let outcome = stored.unwrap_or(WriteOutcome::Failed);
                        doorway.enter(|engineio, core| {
                            if core.clients.connections.is(key, name) {
                                engineio.record_written(core, key, dialect, &write.pid, outcome);
                            }
                        });
                    });
                }
                RecordEffect::WriteLast(write) => {
                    // Without it the session can still be continued: by times instead of positions.
                    let under_way = writes.begin(write.value.user.as_deref());
                    tokio::task::spawn_local(async move { store(&*values, &write, &under_way).await });
                }
                RecordEffect::Remove(value) => {
                    tokio::task::spawn_local(async move { values.take(&value).await });
                }
                RecordEffect::Enter(JoinRequest { rooms, id }) => {
                    core.subscribe_to_all(key, rooms.into_iter().map(|room| (room, None)), id.as_ref());
                }
                RecordEffect::Persist => {
                    core.clients.membership_event(key, MembershipEvent::Changed { dialect });
                }
                RecordEffect::Close => core.clients.request_close(key, Disconnect::Normal),
            }
        }
    }

    fn record_written(
        &self,
        core: &mut Core,
        key: ConnectionKey,
        dialect: DialectId,
        pid: &str,
        outcome: WriteOutcome,
    ) {
        if outcome == WriteOutcome::Failed {
            self.services.metrics.socketio.keep_failures.increment(1);
        }
        let Some(space) = core.clients.connections.space(key, dialect) else { return };
        let effects = space.record.written(pid, outcome);
        let joins = effects.iter().filter(|effect| matches!(effect, RecordEffect::Enter(_))).count();
        self.perform_record(core, key, dialect, effects);
        (0..joins).for_each(|_| core.clients.resume_input(key));
    }

    /// What a session is now.
    fn session_view(&self, core: &Core, key: ConnectionKey, dialect: DialectId) -> Option<SessionView> {
        let connection = core.clients.connections.get(key)?;
        let link = connection.cold.as_ref()?.link.as_ref()?;
        let sid = link.spaces.iter().find(|space| space.dialect == dialect)?.sid.clone();
        let rooms = connection.subscriptions.iter().filter(|s| s.dialect == dialect).filter_map(|subscription| {
            let local = core.rooms.get(subscription.room)?;
            let stream = core.rooms.get(core.rooms.stream_of(subscription.room))?;
            let is_sent = matches!(subscription.standing, Standing::Member(_)) && stream.fan_out.is_none();
            Some(RoomView {
                room: local.name.clone(),
                spelling: subscription.spelling,
                server_side: subscription.server_side,
                sent: core.rooms.position_of(subscription.room).cloned().filter(|_| is_sent),
                fan_out_span: stream.fan_out_span,
            })
        });
        Some(SessionView {
            sid,
            namespace: link.name_of(dialect)?,
            user: connection.session.grant.user().map(|user| user.as_ref().into()),
            owner: format!("{:016x}:{}", self.services.pod, connection.session.id).into(),
            rooms: rooms.collect(),
            queue_is_empty: connection.queued_bytes() == 0,
        })
    }

    /// A client wants to continue a session.
    pub(crate) fn come_back(
        &self,
        core: &mut Core,
        key: ConnectionKey,
        dialect: DialectId,
        pid: Box<str>,
        offset: StreamOffset,
        auth: &str,
    ) {
        let Some(namespace) = core.clients.connections.namespace_name(key, dialect) else { return };
        let Some(connection) = core.clients.connections.get_mut(key) else { return };
        let (doorway, name) = (self.doorway.clone(), connection.session.id);
        let user = connection.session.grant.user().cloned();
        let accepts_unknown = self.services.config.load().token_lookup.accept_unknown;
        let (services, auth) = (Arc::clone(&self.services), Box::<str>::from(auth));
        connection.pause_input();
        tokio::task::spawn_local(async move {
            let plan = async {
                let stored = services.values.get(&RecordValue::key(&pid)?).await.ok()??;
                let value = RecordValue::parse(&stored)
                    .filter(|value| value.may_continue(&namespace, user.as_deref(), accepts_unknown))?;
                let policy = |room: &Room| services.policy(room);
                let plan = resume_plan(&*services.broker, policy, value, &offset).await;
                Some(plan.unwrap_or_else(|error| {
                    tracing::debug!(%error, "a session could not be continued");
                    None
                }))
            };
            let plan = plan.await;
            let outcomes = &services.metrics.socketio;
            doorway.enter(|engineio, core| {
                if !core.clients.connections.is(key, name) {
                    return;
                }
                match plan {
                    Some(Some(plan)) => engineio.resume(core, key, dialect, pid, plan, auth),
                    Some(None) => {
                        outcomes.gone.increment(1);
                        engineio.begin_session(core, key, dialect, &auth);
                    }
                    None => {
                        outcomes.unknown.increment(1);
                        engineio.begin_session(core, key, dialect, &auth);
                    }
                }
                core.clients.resume_input(key);
            });
        });
    }

    fn resume(
        &self,
        core: &mut Core,
        key: ConnectionKey,
        dialect: DialectId,
        pid: Box<str>,
        plan: ResumePlan,
        auth: Box<str>,
    ) {
        let ResumePlan { sid, rooms, twice } = plan;
        self.services.metrics.socketio.twice.increment(twice);
        // One more than the rooms, so that none of them is the last before all are on their way.
        let answers = rooms.len() + 1;
        self.enter(core, key, dialect, sid, |max_away| SessionRecord::resuming(pid, max_away, answers, auth));
        // What shares a log comes back together, in the order of the log.
        let (mut asking, mut begun) = (Vec::new(), Vec::<(RoomIndex, PendingJoin)>::new());
        for (RecordedRoom { room, spelling, server_side, joined, .. }, since) in rooms {
            let entry = SubscribeRequest {
                since,
                spelling,
                server_side,
                dialect: Some(dialect),
                purpose: JoinPurpose::Resume,
                permit: None,
            };
            let (index, since) = match core.place_in(key, &room, entry) {
                Ok(Placement::There(index, entry)) => (index, entry.since),
                Ok(Placement::NeedsPermit(entry)) => {
                    asking.push((room, entry));
                    continue;
                }
                Ok(Placement::Gone) => continue,
                Err(_) => {
                    self.room_resumed(core, key, dialect, false);
                    continue;
                }
            };
            let stream = core.rooms.stream_of(index);
            let part = (index, joined.map_or(0, |(_, offset)| offset));
            match begun.iter_mut().find(|(other, join)| *other == stream && join.since == since) {
                Some((_, join)) if stream != index => join.parts.push(part),
                _ => {
                    let parts = if stream == index { Parts::new() } else { [part].into() };
                    begun.push((
                        stream,
                        PendingJoin { key, since, purpose: JoinPurpose::Resume, snapshot: None, parts },
                    ));
                }
            }
        }
        for (stream, join) in begun {
            core.join(stream, join);
        }
        ask_hook(core, key, asking);
        self.room_resumed(core, key, dialect, true);
    }

    /// A room of a session that is being continued has answered, or will not.
    fn room_resumed(&self, core: &mut Core, key: ConnectionKey, dialect: DialectId, complete: bool) {
        let Some(space) = core.clients.connections.space(key, dialect) else { return };
        let Some(Resumed { complete, auth }) = space.record.room_resumed(complete) else { return };
        if !complete {
            self.services.metrics.socketio.gone.increment(1);
            self.leave_namespace(core, key, dialect);
            self.begin_session(core, key, dialect, &auth);
            return;
        }
        let (sid, pid) = (space.sid.clone(), space.record.pid().map(Box::<str>::from));
        let Some(name) = core.clients.connections.namespace_name(key, dialect) else { return };
        self.services.metrics.socketio.recovered.increment(1);
        core.clients.say_packets(key, |out| socketio::connected(&name, &sid, pid.as_deref(), out));
        if let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) {
            let request = OpeningRequest { dialect, target: link.target.clone(), auth, id: None };
            let begun_in = core.clients.begins_in(key, &request);
            if let Some(connection) = core.clients.connections.get_mut(key).filter(|_| !begun_in.is_empty()) {
                connection.session.begins_in(begun_in);
            }
            core.clients.greet(key, &request, true);
            core.clients.begin_heartbeat(key, dialect);
        }
        // Not sooner: the user's own room may be one of the session's rooms, and then the client comes back to it.
        identify(core, key);
        self.persist(core, key, dialect);
    }
}

/// Has a record look at the core that has its connection.
fn with_record<T>(
    core: &mut Core,
    key: ConnectionKey,
    dialect: DialectId,
    act: impl FnOnce(&mut SessionRecord, &Core) -> Option<T>,
) -> Option<T> {
    let mut record = std::mem::take(&mut core.clients.connections.space(key, dialect)?.record);
    let done = act(&mut record, core);
    core.clients.connections.space(key, dialect)?.record = record;
    done
}
