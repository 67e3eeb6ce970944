//! What a client asks for: taken to its session, done, answered.
//!
//! Never waits: what the broker must be asked for is answered by a task of its own. Always holds: an answer reaches the connection that
//! asked, or none.

use std::{future::Future, ops::ControlFlow, sync::Arc};

use crate::{
    broker::{BrokerError, History, HistoryQuery},
    hub::{ConnectionKey, Worker},
    metrics::ClientMessage,
    model::{CommandId, Disconnect, ErrorCode, Reply, Room, Stats},
    protocol::Message,
    session::{Action, ConnectionId},
};

/// The most members of one presence answer.
const PRESENCE_LIMIT: usize = 1_000;

/// The most bytes of one history answer.
const HISTORY_BYTES: usize = 1024 * 1024;

impl Worker {
    /// Takes a message to the session, and does what that asks for.
    pub(crate) fn message(&mut self, key: ConnectionKey, message: Message<'_>) -> ControlFlow<()> {
        let now_ms = self.timers.now_ms();
        let Some(connection) = self.connections.get_mut(key) else { return ControlFlow::Break(()) };
        connection.totals.messages_in = connection.totals.messages_in.wrapping_add(1);
        self.services.metrics.messages_in.increment(1);
        let services = Arc::clone(&self.services);
        let dialect = services.dialects.get(connection.format.dialect);
        let policy = |room: &Room| services.policy(room);
        let (id, action) = connection.session.receive(message, dialect, policy, &self.limits, now_ms);
        if let Some(observer) = &services.metrics.observer {
            observer.message_received(match &action {
                Action::Reply(Reply::Pong) => ClientMessage::Ping,
                Action::Subscribe(_) => ClientMessage::Subscribe,
                Action::Unsubscribe(_) => ClientMessage::Unsubscribe,
                _ => ClientMessage::Other,
            });
        }
        if let Action::Close(disconnect) = action {
            return self.stop(key, disconnect);
        }
        self.act(key, id, action);
        ControlFlow::Continue(())
    }

    pub(crate) fn stop(&mut self, key: ConnectionKey, disconnect: Disconnect) -> ControlFlow<()> {
        self.close(key, disconnect);
        ControlFlow::Break(())
    }

    /// Does what a session asks for.
    pub(crate) fn act(&mut self, key: ConnectionKey, id: Option<CommandId>, action: Action) {
        match action {
            Action::Nothing | Action::Close(_) => {}
            Action::Reply(reply) => self.reply(key, &reply, id.as_ref()),
            Action::Authenticate(token) => self.authenticate(key, token, id),
            Action::Stats => self.tell_stats(key, id.as_ref()),
            Action::Subscribe(rooms) => self.subscribe(key, rooms, id.as_ref()),
            Action::Unsubscribe(room) => self.unsubscribe(key, room, id.as_ref()),
            Action::Publish(room, publication) => self.publish(key, id, room, publication),
            Action::Presence(room) | Action::History { room, .. } if !self.may_read_about(key, &room) => {
                let message = format!("the backend decides who may join {room}: join it first");
                self.reply(
                    key,
                    &Reply::Error { code: ErrorCode::NotSubscribed, message, room: Some(room) },
                    id.as_ref(),
                );
            }
            Action::Presence(room) => {
                let presence = Arc::clone(&self.services.presence);
                self.answer_later(key, id, async move {
                    let list = presence.list(&room, PRESENCE_LIMIT).await;
                    list.map(|list| Reply::Presence { room, list })
                });
            }
            Action::History { room, since, limit } => {
                let broker = Arc::clone(&self.services.broker);
                self.answer_later(key, id, async move {
                    let query = HistoryQuery { since, until: None, max_events: limit, max_bytes: HISTORY_BYTES };
                    let history = broker.history(&room, query).await?;
                    let History { epoch, after, offset, complete, mut events, .. } = history;
                    // A log that rooms share has events of other rooms, too.
                    events.retain(|event| event.is_of(&room));
                    Ok(Reply::History { room, epoch, after, offset, complete, events })
                });
            }
        }
    }

    fn tell_stats(&mut self, key: ConnectionKey, id: Option<&CommandId>) {
        let Some(connection) = self.connections.get(key) else { return };
        let totals = connection.totals;
        let stats = Stats {
            transport: connection.transport.name(),
            dialect: Arc::clone(self.services.dialects.name(connection.format.dialect)),
            tls: connection.transport.is_tls(),
            compression: connection.format.framing.compression(),
            connected_ms: self.timers.now_ms().saturating_sub(connection.since_ms),
            rooms: connection.subscriptions.len(),
            messages_in: totals.messages_in,
            bytes_in: totals.bytes_in,
            frames_out: totals.frames_out,
            bytes_out: totals.bytes_out,
            bytes_plain: totals.bytes_plain,
        };
        self.reply(key, &Reply::Stats(stats), id);
    }

    /// Answers when the broker has.
    fn answer_later(
        &self,
        key: ConnectionKey,
        id: Option<CommandId>,
        answer: impl Future<Output = Result<Reply, BrokerError>> + 'static,
    ) {
        let Some(connection) = self.connections.get(key) else { return };
        let (me, name) = (self.me.clone(), connection.session.id);
        tokio::task::spawn_local(async move {
            let reply = answer.await.unwrap_or_else(|error| refusal(&error));
            if let Some(worker) = me.upgrade() {
                worker.borrow_mut().reply_to(key, name, &reply, id.as_ref());
            }
        });
    }

    pub(crate) fn reply_to(&mut self, key: ConnectionKey, name: ConnectionId, reply: &Reply, id: Option<&CommandId>) {
        if self.connections.get(key).is_some_and(|c| c.session.id == name) {
            self.reply(key, reply, id);
        }
    }
}

/// What a client is told of a broker's failure.
pub(crate) fn refusal(error: &BrokerError) -> Reply {
    let code = match error {
        BrokerError::Unavailable(_) => ErrorCode::Unavailable,
        BrokerError::Unknown => ErrorCode::Unknown,
        BrokerError::TooLarge { .. } => ErrorCode::LimitExceeded,
        BrokerError::UnknownTopic => ErrorCode::BadRequest,
    };
    Reply::Error { code, message: error.to_string(), room: None }
}
