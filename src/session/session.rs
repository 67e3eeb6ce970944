//! What one connection may do and asks for.
//!
//! Pure: a decoded command, the rooms' policies and the time in, an [`Action`] out. Never carries anything out. Always holds: what
//! a client's rates do not allow is not carried out; a connection that owes a token gets nothing done in any room.

use std::sync::Arc;

use super::{Action, Bucket, CommandRates, ConnectionId, SentSignals, SessionLimits, Verdict, free_share::FreeShare};
use crate::{
    auth::Grant,
    model::{
        Access, AckMode, ArchiveMode, Command, CommandError, CommandId, DeleteMode, Disconnect, Epoch, ErrorCode,
        Member, MethodCall, Offset, Payload, Policy, PresenceMode, Progress, Publication, Reply, Request, Room,
    },
    protocol::{Dialect, Message},
};

/// One connection's session.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub id: ConnectionId,
    /// What its token (or its absence) allows.
    pub grant: Grant,
    /// Whether it must present a token before anything else.
    pub awaits_token: bool,
    /// Whether it was counted among its user's connections.
    pub holds_place: bool,
    /// The rooms in which its dialect began, those of a Socket.IO session's namespaces too.
    begun_in: Box<[Room]>,
    /// There once it has sent a signal.
    pub signals: Option<Box<SentSignals>>,
    rates: CommandRates,
    free: FreeShare,
    control_frames: Bucket,
}

impl Session {
    /// The most events of one history answer.
    const HISTORY_LIMIT: usize = 1_000;

    /// Where a question names more rooms, so many of them are the work of one more command.
    const ROOMS_A_SHARE: usize = 16;

    /// The most rooms that it remembers to have begun in.
    const MOST_BEGUN_IN: usize = 128;

    /// A session that begins now. Without a grant it must present a token first.
    #[must_use]
    pub fn new(id: ConnectionId, grant: Option<Grant>, limits: &SessionLimits, now_ms: u64) -> Self {
        let rates = CommandRates::new(limits, now_ms);
        let control_frames = Bucket::new(limits.control_frames_per_second, now_ms);
        let awaits_token = grant.is_none();
        let free = FreeShare::new(limits.in_welcome.max_rooms);
        let grant = grant.unwrap_or_default();
        let begun_in = Box::default();
        Self { id, grant, awaits_token, holds_place: false, begun_in, signals: None, rates, free, control_frames }
    }

    /// Whether no command is needed to be in a room: it is the user's own, or one in which the dialect began.
    fn is_unasked(&self, room: &Room) -> bool {
        let personal = self.grant.claims().and_then(|claims| claims.personal_room.as_ref());
        personal == Some(room) || self.begun_in.contains(room)
    }

    /// Its dialect begins in these rooms. Of a session that begins again and again the newest count.
    pub fn begins_in(&mut self, rooms: Vec<Room>) {
        if rooms.iter().all(|room| self.begun_in.contains(room)) {
            return;
        }
        let mut all = std::mem::take(&mut self.begun_in).into_vec();
        for room in rooms {
            if !all.contains(&room) {
                all.push(room);
            }
        }
        all.drain(..all.len().saturating_sub(Self::MOST_BEGUN_IN));
        self.begun_in = all.into();
    }

    /// That of one request: what is free once a connection is free once a request otherwise.
    #[must_use]
    pub fn of_request(mut self) -> Self {
        self.free = FreeShare::none();
        self
    }

    /// Goes on with the rates of a client that was here before, and leaves its own in their place.
    pub fn swap_rates(&mut self, rates: &mut CommandRates) {
        std::mem::swap(&mut self.rates.signals, &mut self.signals);
        std::mem::swap(&mut self.rates, rates);
        std::mem::swap(&mut self.rates.signals, &mut self.signals);
    }

    /// How this connection appears in presence lists.
    #[must_use]
    pub fn member(&self) -> Member {
        Member { connection: self.id.to_string().into(), user: self.grant.user().cloned() }
    }

    /// Whether one more control frame is within the rate.
    pub fn control_frame(&mut self, limits: &SessionLimits, now_ms: u64) -> Verdict {
        // A second's worth is the burst as well: no client needs to ping faster.
        self.control_frames.take(limits.control_frames_per_second, limits.control_frames_per_second, now_ms)
    }

    /// Whether it may connect to one more namespace: that joins rooms, looks for what was missed there, and verifies a token if it shows one.
    pub fn connects(&mut self, shows_token: bool, limits: &SessionLimits, now_ms: u64) -> Verdict {
        let token = CommandRates::token_cost(limits);
        let cost = if shows_token { token } else { CommandRates::HISTORY_COST.min(token) };
        let cost = self.free.cost_of_connect(cost);
        self.rates.command(cost, limits, now_ms)
    }

    /// Turns a message into what should be done. `policy` finds a room's policy.
    pub fn receive(
        &mut self,
        message: Message<'_>,
        dialect: &dyn Dialect,
        policy: impl Fn(&Room) -> Arc<Policy>,
        limits: &SessionLimits,
        now_ms: u64,
    ) -> (Option<CommandId>, Action) {
        self.receive_with(|| dialect.decode(message), policy, limits, now_ms)
    }

    /// Turns a message into what should be done: `decode` reads it, `policy` finds a room's policy.
    pub fn receive_with(
        &mut self,
        decode: impl FnOnce() -> Result<Request, CommandError>,
        policy: impl Fn(&Room) -> Arc<Policy>,
        limits: &SessionLimits,
        now_ms: u64,
    ) -> (Option<CommandId>, Action) {
        let decoded = decode();
        let cost = decoded.as_ref().map_or(1, |request| self.cost(&request.command, limits));
        let verdict = self.rates.command(cost, limits, now_ms);
        if verdict == Verdict::Flood {
            return (None, Action::Close(Disconnect::Flood));
        }
        let request = match decoded {
            Ok(request) => request,
            Err(error) => return (error.id, Action::refuse(error.code, error.message, None)),
        };
        if verdict == Verdict::Limited {
            let rate = limits.in_welcome.commands_per_second;
            let message = format!("more than {rate} commands a second: slow down, or be closed");
            return (request.id, Action::refuse(ErrorCode::RateLimited, message, None));
        }
        (request.id, self.act(request.command, policy, limits, now_ms))
    }

    /// What a command costs, by what it makes the pod do.
    fn cost(&mut self, command: &Command, limits: &SessionLimits) -> u32 {
        match command {
            Command::Subscribe(rooms) => {
                let asked = u32::try_from(rooms.len().max(1)).unwrap_or(u32::MAX);
                self.free.cost_of_rooms(asked)
            }
            // A deletion looks for its event first, in the log and beside it.
            Command::History { .. } | Command::Delete { .. } => CommandRates::HISTORY_COST,
            Command::Presence { .. } => self.free.cost_of_list(CommandRates::LIST_COST),
            Command::Connect { token: Some(_) } => self.free.cost_of_connect(CommandRates::token_cost(limits)),
            Command::Refresh { .. } => CommandRates::token_cost(limits),
            Command::Unread { rooms } => {
                CommandRates::HISTORY_COST + u32::try_from(rooms.len() / Self::ROOMS_A_SHARE).unwrap_or(1_024)
            }
            // They have rates of their own.
            Command::Signal { .. } | Command::Ack { .. } | Command::Call(_) if !self.awaits_token => 0,
            _ => 1,
        }
    }

    fn act(
        &mut self,
        command: Command,
        policy: impl Fn(&Room) -> Arc<Policy>,
        limits: &SessionLimits,
        now_ms: u64,
    ) -> Action {
        let expires_at = || self.grant.claims().and_then(|claims| claims.expires_at);
        match command {
            Command::Ping => Action::Reply(Reply::Pong),
            Command::Heard => Action::Nothing,
            Command::Stats => Action::Stats,
            Command::Connect { token: Some(token) } | Command::Refresh { token } => Action::Authenticate(token),
            _ if self.awaits_token => {
                let message = "a token is needed first: {\"type\":\"connect\",\"token\":…}";
                Action::refuse(ErrorCode::Unauthorized, message, None)
            }
            Command::Connect { token: None } => Action::Reply(Reply::Done { expires_at: expires_at() }),
            Command::Subscribe(rooms) => Action::Subscribe(rooms),
            Command::Unsubscribe { room, unasked: false } if self.is_unasked(&room) => {
                let message = format!("this connection is in {room} unasked, for as long as it is open");
                Action::refuse(ErrorCode::NotSubscribed, message, Some(room))
            }
            Command::Unsubscribe { room, .. } => Action::Unsubscribe(room),
            Command::Publish { room, topic, payload, key, event_id, idempotency_key } => {
                let user = self.grant.user().map(|user| user.as_ref().into());
                let publication = Publication { topic, key, payload, user, id: event_id, idempotency_key };
                self.publish(&policy(&room), room, publication, now_ms)
            }
            Command::Signal { room, topic, data, ttl_ms } => {
                self.signal((room, topic, data), ttl_ms, policy, limits, now_ms)
            }
            Command::Status(_) if self.grant.user().is_none() => {
                let message = "only a user has a status: connect with a token that names one";
                Action::refuse(ErrorCode::Unauthorized, message, None)
            }
            Command::Status(change) => Action::Status(change),
            Command::Call(call) => self.call(call, limits, now_ms),
            Command::Delete { room, epoch, offset } => self.delete(&policy(&room), (room, epoch, offset), now_ms),
            Command::Presence { room } => {
                let policy = policy(&room);
                if policy.presence == PresenceMode::Off {
                    Action::refuse(ErrorCode::NotAvailable, format!("presence is switched off for {room}"), Some(room))
                } else {
                    self.if_joinable(&policy, room, Action::Presence)
                }
            }
            Command::History { room, since, before, limit } => {
                let policy = policy(&room);
                let limit = limit.unwrap_or(Self::HISTORY_LIMIT).min(Self::HISTORY_LIMIT);
                if policy.history_size == 0 && policy.archive == ArchiveMode::Off {
                    Action::refuse(ErrorCode::NotAvailable, format!("{room} keeps no history"), Some(room))
                } else {
                    self.if_joinable(&policy, room, |room| Action::History { room, since, before, limit })
                }
            }
            Command::Answer(answer) => Action::Reply(Reply::Answer(answer)),
            Command::Ack { room, epoch, offset, progress } => {
                self.ack(progress, (room, epoch, offset), policy, limits, now_ms)
            }
            Command::Unread { .. } if self.grant.user().is_none() => {
                Action::refuse(ErrorCode::Unauthorized, NO_USER, None)
            }
            Command::Unread { rooms } => self.unread(rooms, policy),
        }
    }

    /// What `act` makes of a room, if the connection may join it.
    fn if_joinable(&self, policy: &Policy, room: Room, act: impl FnOnce(Room) -> Action) -> Action {
        if self.grant.may_join(&room, policy.join) {
            return act(room);
        }
        Action::refuse(ErrorCode::Forbidden, format!("this connection may not join {room}"), Some(room))
    }

    fn publish(&mut self, policy: &Policy, room: Room, publication: Publication, now_ms: u64) -> Action {
        if !self.grant.may_publish(&room, policy.publish) {
            let message = format!("this connection may not publish to {room}");
            return Action::refuse(ErrorCode::Forbidden, message, Some(room));
        }
        if !self.rates.publish(policy, now_ms) {
            return too_many_publishes(policy, room);
        }
        Action::Publish(room, publication)
    }

    fn signal(
        &mut self,
        (room, topic, data): (Room, Box<str>, Option<Payload>),
        ttl_ms: Option<u32>,
        policy: impl Fn(&Room) -> Arc<Policy>,
        limits: &SessionLimits,
        now_ms: u64,
    ) -> Action {
        let rate = limits.signals_per_second;
        let signals = self.signals.get_or_insert_with(|| Box::new(SentSignals::new(rate, now_ms)));
        // A stop costs as well. It passes where something is shown, which was allowed then.
        match (signals.may_send(rate, now_ms), ttl_ms) {
            (true, _) => {}
            (false, Some(0)) => return Action::Signal { room, topic, data, ttl_ms: 0 },
            (false, _) => return Action::DropSignal,
        }
        let policy = policy(&room);
        if policy.signal == Access::Nobody {
            let message = format!("signals are switched off for {room}");
            return Action::refuse(ErrorCode::NotAvailable, message, Some(room));
        }
        if !self.grant.may_publish(&room, policy.signal) {
            let message = format!("this connection may not send signals to {room}");
            return Action::refuse(ErrorCode::Forbidden, message, Some(room));
        }
        let default = u32::try_from(policy.signal_ttl.as_millis()).unwrap_or(u32::MAX);
        Action::Signal { room, topic, data, ttl_ms: ttl_ms.unwrap_or(default) }
    }

    fn delete(&mut self, policy: &Policy, (room, epoch, offset): (Room, Option<Epoch>, Offset), now_ms: u64) -> Action {
        if policy.delete == DeleteMode::Off {
            let message = format!("clients delete nothing in {room}: it is switched off");
            return Action::refuse(ErrorCode::NotAvailable, message, Some(room));
        }
        if self.grant.user().is_none() || !self.grant.may_join(&room, policy.join) {
            let message = format!("this connection may not delete in {room}");
            return Action::refuse(ErrorCode::Forbidden, message, Some(room));
        }
        if !self.rates.publish(policy, now_ms) {
            return too_many_publishes(policy, room);
        }
        Action::Delete { room, epoch, offset }
    }

    fn ack(
        &mut self,
        progress: Progress,
        (room, epoch, offset): (Room, Option<Epoch>, Offset),
        policy: impl Fn(&Room) -> Arc<Policy>,
        limits: &SessionLimits,
        now_ms: u64,
    ) -> Action {
        match self.rates.ack(limits, now_ms) {
            Verdict::Fine => {}
            Verdict::Limited => {
                let rate = limits.acks_per_second;
                let message = format!("more than {rate} acks a second: the highest offset of a room is enough");
                return Action::refuse(ErrorCode::RateLimited, message, Some(room));
            }
            Verdict::Flood => return Action::Close(Disconnect::Flood),
        }
        let policy = policy(&room);
        let tells_nothing = progress == Progress::Delivered && policy.acks != AckMode::Receipts;
        if policy.acks == AckMode::Off || tells_nothing {
            // Nothing is kept that a reply could be wrong about: positions are the client's.
            Action::Reply(Reply::Done { expires_at: None })
        } else if self.grant.user().is_none() {
            Action::refuse(ErrorCode::Unauthorized, NO_USER, Some(room))
        } else {
            self.if_joinable(&policy, room, |room| match progress {
                Progress::Delivered => Action::Delivered { room, epoch, offset },
                Progress::Read => Action::Ack { room, epoch, offset },
            })
        }
    }

    fn call(&mut self, call: MethodCall, limits: &SessionLimits, now_ms: u64) -> Action {
        let rate = limits.calls_per_second;
        match self.rates.call(limits, now_ms) {
            Verdict::Fine => {}
            Verdict::Limited => {
                return Action::refuse(ErrorCode::RateLimited, format!("more than {rate} calls a second"), None);
            }
            Verdict::Flood => return Action::Close(Disconnect::Flood),
        }
        if limits.calls == Access::Nobody {
            return Action::refuse(ErrorCode::NotAvailable, "no backend takes calls here: it is switched off", None);
        }
        if !self.grant.may_call(&call.method, limits.calls) {
            // What a client wrote is not said back: it may be anything.
            return Action::refuse(ErrorCode::Forbidden, "this connection may not call this method", None);
        }
        Action::Call(call)
    }

    fn unread(&self, rooms: Vec<Room>, policy: impl Fn(&Room) -> Arc<Policy>) -> Action {
        for room in &rooms {
            let policy = policy(room);
            let (code, message) = if policy.acks == AckMode::Off {
                (ErrorCode::NotAvailable, format!("it is not kept what users have read in {room}"))
            } else if !self.grant.may_join(room, policy.join) {
                (ErrorCode::Forbidden, format!("this connection may not join {room}"))
            } else {
                continue;
            };
            return Action::refuse(code, message, Some(room.clone()));
        }
        Action::Unread(rooms)
    }
}

fn too_many_publishes(policy: &Policy, room: Room) -> Action {
    let message = format!("more than {} publishes a second to {room}", policy.publish_per_second);
    Action::refuse(ErrorCode::RateLimited, message, Some(room))
}

const NO_USER: &str = "it is kept for a user what was read: connect with a token that names one";

#[cfg(test)]
mod tests;
