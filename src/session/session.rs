//! What one connection may do and asks for.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Bucket, SentSignals, Verdict, limits::SessionLimits, rates::CommandRates};
use crate::{
    auth::Grant,
    model::{
        Access, AckMode, Command, CommandError, CommandId, Disconnect, Epoch, ErrorCode, Limits, Member, Offset,
        Payload, Policy, PresenceMode, Publication, Reply, Request, Room, Since, StatusChange, SubscribeTo, Token,
    },
    protocol::{Dialect, Message},
};

/// The name of a connection: unique in the fleet, and not to be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Text that names no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a connection's name is 16 hexadecimal digits")]
pub struct ConnectionIdError;

impl FromStr for ConnectionId {
    type Err = ConnectionIdError;

    fn from_str(text: &str) -> Result<Self, ConnectionIdError> {
        let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| digits).map(Self).ok_or(ConnectionIdError)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What the worker should do about a message.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Answer at once.
    Reply(Reply),
    /// Verify a token, and go by it from now on.
    Authenticate(Token),
    /// Tell what the connection moved.
    Stats,
    /// Join rooms, each answered by itself.
    Subscribe(Vec<SubscribeTo>),
    /// Leave a room.
    Unsubscribe(Room),
    /// Publish, in the order of the connection's publishes.
    Publish(Room, Publication),
    /// Let the other members of a room know something for a moment.
    Signal {
        /// The room.
        room: Room,
        /// The topic.
        topic: Box<str>,
        /// What it says beside its topic.
        data: Option<Payload>,
        /// For how many milliseconds it is shown; 0 takes it back.
        ttl_ms: u32,
    },
    /// Change the status of the connection's user.
    Status(StatusChange),
    /// Nothing: a signal was beyond the connection's rate.
    DropSignal,
    /// Keep that the user has read so far.
    Ack {
        /// The room.
        room: Room,
        /// The epoch of the offset; `None`: the log's own.
        epoch: Option<Epoch>,
        /// The offset.
        offset: Offset,
    },
    /// Count what the user has not read, in these rooms too.
    Unread(Vec<Room>),
    /// Read a room's members.
    Presence(Room),
    /// Read a room's log.
    History {
        /// The room.
        room: Room,
        /// From where.
        since: Option<Since>,
        /// At most this many events.
        limit: usize,
    },
    /// Close.
    Close(Disconnect),
}

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
    /// There once it has sent a signal.
    pub signals: Option<Box<SentSignals>>,
    rates: CommandRates,
    /// How many rooms it may still ask for at no cost: as many as it may be in, so that coming back to them is never punished.
    free_rooms: u32,
    control_frames: Bucket,
}

impl Session {
    /// The most events of one history answer.
    pub const HISTORY_LIMIT: usize = 1_000;

    /// How many acks a connection may send at once: as many as a recovery has events.
    const ACK_BURST: u32 = 1_024;

    /// Where a question names more rooms, so many of them are the work of one more command.
    const ROOMS_A_SHARE: usize = 16;

    /// A session that begins now. Without a grant it must present a token first.
    #[must_use]
    pub fn new(id: ConnectionId, grant: Option<Grant>, limits: &SessionLimits, now_ms: u64) -> Self {
        let rates = CommandRates::new(limits, now_ms);
        let control_frames = Bucket::new(limits.control_frames_per_second, now_ms);
        let awaits_token = grant.is_none();
        let free_rooms = u32::try_from(limits.told.max_rooms).unwrap_or(u32::MAX);
        let grant = grant.unwrap_or_default();
        Self { id, grant, awaits_token, holds_place: false, signals: None, rates, free_rooms, control_frames }
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

    /// Whether one more command is within the rate.
    pub fn command(&mut self, limits: &SessionLimits, now_ms: u64) -> Verdict {
        self.rates.commands.take(limits.told.commands_per_second, limits.told.command_burst, now_ms)
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
        let cost = decoded.as_ref().map_or(1, |request| self.cost(&request.command));
        let Limits { commands_per_second, command_burst, .. } = limits.told;
        let verdict = match cost {
            0 => Verdict::Fine,
            cost => self.rates.commands.take_for(cost, commands_per_second, command_burst, now_ms),
        };
        if verdict == Verdict::Flood {
            return (None, Action::Close(Disconnect::Flood));
        }
        let request = match decoded {
            Ok(request) => request,
            Err(error) => return (error.id, refuse(error.code, error.message, None)),
        };
        if verdict == Verdict::Limited {
            let message = format!("more than {commands_per_second} commands a second: slow down, or be closed");
            return (request.id, refuse(ErrorCode::RateLimited, message, None));
        }
        (request.id, self.act(request.command, policy, limits, now_ms))
    }

    /// What a command costs, by what it makes the pod do.
    fn cost(&mut self, command: &Command) -> u32 {
        match command {
            Command::Subscribe(rooms) => {
                let asked = u32::try_from(rooms.len().max(1)).unwrap_or(u32::MAX);
                let free = asked.min(self.free_rooms);
                self.free_rooms -= free;
                asked - free
            }
            Command::History { .. } => CommandRates::HISTORY_COST,
            Command::Unread { rooms } => {
                CommandRates::HISTORY_COST + u32::try_from(rooms.len() / Self::ROOMS_A_SHARE).unwrap_or(1_024)
            }
            // They have rates of their own.
            Command::Signal { .. } | Command::Ack { .. } if !self.awaits_token => 0,
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
                refuse(ErrorCode::Unauthorized, message.into(), None)
            }
            Command::Connect { token: None } => Action::Reply(Reply::Done { expires_at: expires_at() }),
            Command::Subscribe(rooms) => Action::Subscribe(rooms),
            Command::Unsubscribe { room } => Action::Unsubscribe(room),
            Command::Publish { room, topic, payload, key, event_id, idempotency_key } => {
                let policy = policy(&room);
                if !self.grant.may_publish(&room, policy.publish) {
                    let message = format!("this connection may not publish to {room}");
                    return refuse(ErrorCode::Forbidden, message, Some(room));
                }
                if !self.may_publish_now(&policy, now_ms) {
                    let message = format!("more than {} publishes a second to {room}", policy.publish_per_second);
                    return refuse(ErrorCode::RateLimited, message, Some(room));
                }
                let user = self.grant.user().map(|user| user.as_ref().into());
                Action::Publish(room, Publication { topic, key, payload, user, id: event_id, idempotency_key })
            }
            Command::Signal { room, topic, data, ttl_ms } => {
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
                    return refuse(ErrorCode::NotAvailable, format!("signals are switched off for {room}"), Some(room));
                }
                if !self.grant.may_publish(&room, policy.signal) {
                    let message = format!("this connection may not send signals to {room}");
                    return refuse(ErrorCode::Forbidden, message, Some(room));
                }
                let default = u32::try_from(policy.signal_ttl.as_millis()).unwrap_or(u32::MAX);
                Action::Signal { room, topic, data, ttl_ms: ttl_ms.unwrap_or(default) }
            }
            Command::Status(_) if self.grant.user().is_none() => {
                let message = "only a user has a status: connect with a token that names one";
                refuse(ErrorCode::Unauthorized, message.into(), None)
            }
            Command::Status(change) => Action::Status(change),
            Command::Presence { room } => {
                let policy = policy(&room);
                if policy.presence == PresenceMode::Off {
                    refuse(ErrorCode::NotAvailable, format!("presence is switched off for {room}"), Some(room))
                } else if self.grant.may_join(&room, policy.join) {
                    Action::Presence(room)
                } else {
                    refuse(ErrorCode::Forbidden, format!("this connection may not join {room}"), Some(room))
                }
            }
            Command::History { room, since, limit } => {
                let policy = policy(&room);
                if policy.history_size == 0 {
                    refuse(ErrorCode::NotAvailable, format!("{room} keeps no history"), Some(room))
                } else if self.grant.may_join(&room, policy.join) {
                    let limit = limit.unwrap_or(Self::HISTORY_LIMIT).min(Self::HISTORY_LIMIT);
                    Action::History { room, since, limit }
                } else {
                    refuse(ErrorCode::Forbidden, format!("this connection may not join {room}"), Some(room))
                }
            }
            Command::Answer(answer) => Action::Reply(Reply::Answer(answer)),
            Command::Ack { room, epoch, offset } => self.ack(room, epoch, offset, policy, limits, now_ms),
            Command::Unread { .. } if self.grant.user().is_none() => {
                refuse(ErrorCode::Unauthorized, NO_USER.into(), None)
            }
            Command::Unread { rooms } => self.unread(rooms, policy),
        }
    }

    fn ack(
        &mut self,
        room: Room,
        epoch: Option<Epoch>,
        offset: Offset,
        policy: impl Fn(&Room) -> Arc<Policy>,
        limits: &SessionLimits,
        now_ms: u64,
    ) -> Action {
        let rate = limits.acks_per_second;
        let bucket = self.rates.acks.get_or_insert_with(|| Box::new(Bucket::new(Self::ACK_BURST, now_ms)));
        match bucket.take(rate, Self::ACK_BURST, now_ms) {
            Verdict::Fine => {}
            Verdict::Limited => {
                let message = format!("more than {rate} acks a second: the highest offset of a room is enough");
                return refuse(ErrorCode::RateLimited, message, Some(room));
            }
            Verdict::Flood => return Action::Close(Disconnect::Flood),
        }
        let policy = policy(&room);
        if policy.acks == AckMode::Off {
            // Nothing is kept that a reply could be wrong about: positions are the client's.
            Action::Reply(Reply::Done { expires_at: None })
        } else if self.grant.user().is_none() {
            refuse(ErrorCode::Unauthorized, NO_USER.into(), Some(room))
        } else if self.grant.may_join(&room, policy.join) {
            Action::Ack { room, epoch, offset }
        } else {
            refuse(ErrorCode::Forbidden, format!("this connection may not join {room}"), Some(room))
        }
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
            return refuse(code, message, Some(room.clone()));
        }
        Action::Unread(rooms)
    }

    /// Whether one more publish is within the rate of the room's policy. One bucket a connection, for all its rooms. Who types faster
    /// than that is refused and never closed: a flood of publishes is one of commands.
    fn may_publish_now(&mut self, policy: &Policy, now_ms: u64) -> bool {
        let bucket = self.rates.publishes.get_or_insert_with(|| Box::new(Bucket::new(policy.publish_burst, now_ms)));
        bucket.take(policy.publish_per_second, policy.publish_burst, now_ms) == Verdict::Fine
    }
}

const NO_USER: &str = "it is kept for a user what was read: connect with a token that names one";

fn refuse(code: ErrorCode, message: String, room: Option<Room>) -> Action {
    Action::Reply(Reply::Error { code, message, room })
}
