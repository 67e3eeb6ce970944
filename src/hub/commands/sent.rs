//! Commands that come without a connection, in a request of their own: taken to a session that lasts as long, done, answered.
//!
//! Always holds: the commands of a request are carried out one after the other, in their order, each with one reply; how much a client may
//! ask for does not begin anew with each request.

use std::net::IpAddr;

use crate::{
    hub::{
        access::{permit::Principal, senders::Sender},
        commands::{
            ack::{ReadUpTo, take_delivered},
            call::BackendCalls,
            delete::{EventAt, EventDeletion},
            past_events::PastEvents,
            refusal::refusal,
        },
        worker::{
            clock::{millis, unix_millis},
            services::Services,
        },
    },
    model::{CommandId, Disconnect, ErrorCode, Member, Reply, Room, Signal, SignalAct},
    protocol::{Dialect, DialectId, Message, Messages},
    session::{Action, CommandRates, ConnectionId, SentSignals, Session, SessionLimits, SignalVerdict},
};

/// Beyond so many bytes an answer takes up no more of logs and lists.
const MAX_ANSWER: usize = 1024 * 1024;

/// What became of a request's commands.
#[derive(Debug)]
pub struct CarriedOut {
    /// What the client is told: the elements of a JSON array, each with a comma behind it.
    pub replies: Vec<u8>,
    /// Why its one command was refused; `None`: it was not, or there were several.
    pub refused: Option<ErrorCode>,
}

impl Services {
    /// Carries out commands of a client that has no connection, in a dialect; `grown` hears of the bytes of each reply as it comes.
    ///
    /// # Errors
    /// [`Disconnect`]: it would be closed for this, if it had a connection.
    pub async fn carry_out(
        &self,
        principal: &Principal,
        address: Option<IpAddr>,
        dialect: DialectId,
        commands: &[&str],
        limits: &SessionLimits,
        mut grown: impl FnMut(usize),
    ) -> Result<CarriedOut, Disconnect> {
        let dialect = self.dialects.get(dialect);
        let actions = self.judge(principal, address, dialect, commands, limits)?;
        let (mut messages, mut replies, mut refused) = (Messages::default(), Vec::new(), None);
        let is_alone = actions.len() == 1;
        for (id, action) in actions {
            let reply = self.reply_to(principal, action, replies.len()).await;
            if let Reply::Error { code, .. } = &reply
                && is_alone
            {
                refused = Some(*code);
            }
            messages.begin(unix_millis());
            dialect.reply(&reply, id.as_ref(), &mut messages);
            for (_, message) in messages.iter() {
                replies.extend_from_slice(message);
                replies.push(b',');
                grown(message.len() + 1);
            }
        }
        Ok(CarriedOut { replies, refused })
    }

    /// What the commands ask for, as far as their client may ask now.
    fn judge(
        &self,
        principal: &Principal,
        address: Option<IpAddr>,
        dialect: &dyn Dialect,
        commands: &[&str],
        limits: &SessionLimits,
    ) -> Result<Vec<(Option<CommandId>, Action)>, Disconnect> {
        let now_ms = millis(self.began.elapsed());
        // It has no name: nothing of it is left when the request has its answer.
        let mut session = Session::new(ConnectionId(0), Some(principal.grant.clone()), limits, now_ms).of_request();
        let sender = Sender::of(principal.grant.user(), address);
        let newcomer = || CommandRates::new(limits, now_ms);
        self.senders.with(sender, now_ms, newcomer, |rates| {
            session.swap_rates(rates);
            let mut actions = Vec::with_capacity(commands.len());
            for command in commands {
                self.metrics.messages_in.increment(1);
                let policy = |room: &Room| self.policy(room);
                let (id, action) = session.receive(Message::Text(command), dialect, policy, limits, now_ms);
                actions.push((id, paced(self, &mut session, action, now_ms)));
            }
            session.swap_rates(rates);
            match actions.iter().find_map(|(_, action)| if let Action::Close(why) = action { Some(*why) } else { None })
            {
                Some(disconnect) => Err(disconnect),
                None => Ok(actions),
            }
        })
    }

    async fn reply_to(&self, principal: &Principal, action: Action, answered: usize) -> Reply {
        let refuse = |code, message: &str| Reply::Error { code, message: message.to_owned(), room: None };
        if let Action::Presence(_) | Action::History { .. } | Action::Unread(_) | Action::Call(_) = action
            && answered > MAX_ANSWER
        {
            let message = "this answer has no place for more: ask for it in a request of its own";
            return refuse(ErrorCode::LimitExceeded, message);
        }
        if let Some(room) = read_about(&action)
            && let Err((code, message)) = self.may_read(principal, room).await
        {
            return Reply::Error { code, message, room: Some(room.clone()) };
        }
        match action {
            Action::Reply(reply) => reply,
            Action::Publish(room, publication) => self.client_publish(Some(principal), room, publication).await,
            Action::Ack { room, epoch, offset } => self.client_ack(principal, ReadUpTo { room, epoch, offset }).await,
            Action::Delivered { room, epoch, offset } => {
                take_delivered(self, &principal.grant, ReadUpTo { room, epoch, offset })
            }
            // What the backend decides about would be a question for each.
            Action::Unread(rooms) => self.client_unread(&principal.grant, rooms, |_| false).await,
            Action::Presence(room) => self.client_presence(room).await,
            Action::History { room, since, before, limit } => PastEvents(self).read(room, since, before, limit).await,
            Action::Subscribe(_) | Action::Unsubscribe(_) => {
                refuse(ErrorCode::BadRequest, "a request is in no room: a poll names its rooms")
            }
            Action::Signal { room, topic, data, ttl_ms } => {
                let act = if ttl_ms == 0 { SignalAct::Stop } else { SignalAct::Show(ttl_ms) };
                let connection = ConnectionId(0).to_string().into();
                let sender = Member { connection, user: principal.grant.user().cloned() };
                send_signal(self, &room, Signal { topic, sender, data, act }).await
            }
            Action::Status(change) => self.client_status(principal.grant.user().map(|user| &**user), change).await,
            Action::Delete { room, epoch, offset } => {
                EventDeletion(self).for_client(principal, EventAt { room, epoch, offset }).await
            }
            Action::Call(call) => BackendCalls(self).make(principal, &call).await,
            Action::Authenticate(_) => {
                refuse(ErrorCode::BadRequest, "the token comes with the request: in Authorization or as ?token=")
            }
            Action::Stats => refuse(ErrorCode::BadRequest, "a request has no statistics"),
            Action::Nothing | Action::DropSignal | Action::Close(_) => Reply::Done { expires_at: None },
        }
    }

    /// Whether a client that is in no room may read about one: where the backend decides about members, it is asked.
    async fn may_read(&self, principal: &Principal, room: &Room) -> Result<(), (ErrorCode, String)> {
        if self.policy(room).subscribe_hook {
            self.may_join(principal, room).await?;
        }
        Ok(())
    }
}

/// The room that an action reads about, or is told to the members of: its client may have to be allowed in there.
fn read_about(action: &Action) -> Option<&Room> {
    match action {
        Action::Ack { room, .. }
        | Action::Delivered { room, .. }
        | Action::Presence(room)
        | Action::History { room, .. }
        | Action::Signal { room, .. } => Some(room),
        Action::Nothing
        | Action::Reply(_)
        | Action::Authenticate(_)
        | Action::Stats
        | Action::Subscribe(_)
        | Action::Unsubscribe(_)
        | Action::Publish(..)
        | Action::Status(_)
        | Action::Delete { .. }
        | Action::Call(_)
        | Action::DropSignal
        | Action::Unread(_)
        | Action::Close(_) => None,
    }
}

/// A signal comes no sooner than its user may send one, over whatever request.
fn paced(services: &Services, session: &mut Session, action: Action, now_ms: u64) -> Action {
    let Action::Signal { room, topic, data, ttl_ms } = action else { return action };
    let policy = services.policy(&room);
    let (code, message) = if session.grant.user().is_none() {
        let message = "without a connection only a user sends signals: send a token that names one";
        (ErrorCode::Unauthorized, message.to_owned())
    } else if !session.grant.may_join(&room, policy.join) {
        (ErrorCode::Forbidden, format!("this client may not join {room}: only those that may send signals"))
    } else {
        let Some(signals) = &mut session.signals else { return Action::Nothing };
        let verdict = match ttl_ms {
            // Its user may show it over a connection, or by a request to another pod.
            0 => signals.stop(&room, &topic, Some(millis(policy.signal_every)), now_ms),
            _ => signals.show(&room, &topic, millis(policy.signal_every), ttl_ms, now_ms),
        };
        match verdict {
            SignalVerdict::Send => return Action::Signal { room, topic, data, ttl_ms },
            SignalVerdict::Drop => {
                services.metrics.signals.thinned.increment(1);
                return Action::Nothing;
            }
            SignalVerdict::TooMany => {
                let many = SentSignals::MAX;
                let message = format!("{many} signals of this user are shown or were a moment ago: wait");
                (ErrorCode::LimitExceeded, message)
            }
        }
    };
    Action::Reply(Reply::Error { code, message, room: Some(room) })
}

async fn send_signal(services: &Services, room: &Room, signal: Signal) -> Reply {
    let signals = &services.metrics.signals;
    match services.broker.signal(room, signal).await {
        Ok(()) => {
            signals.sent.increment(1);
            Reply::Done { expires_at: None }
        }
        Err(error) => {
            signals.lost.increment(1);
            refusal(&error)
        }
    }
}
