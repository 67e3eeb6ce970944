//! What a client is told of a command that the broker or the backend answers.
//!
//! Never knows how the answer reaches the client. Always holds: each command has one reply.

use crate::{
    hub::{
        access::permit::Principal, commands::refusal::refusal, users::authors::UserEvents, worker::services::Services,
    },
    model::{Publication, Reply, Room},
    traces::Publisher,
};

/// The most members of one presence answer.
const PRESENCE_LIMIT: usize = 1_000;

impl Services {
    /// Publishes what a client asked to publish, if the backend allows it. `principal`: the publisher, where the backend may have to
    /// be asked.
    pub(crate) async fn client_publish(
        &self,
        principal: Option<&Principal>,
        room: Room,
        publication: Publication,
    ) -> Reply {
        let traces = self.traces.as_ref();
        let span = traces.and_then(|traces| traces.begin(Publisher::Client, &room, publication.payload.len()));
        let publication = match self.to_publish(principal, &room, publication).await {
            Ok(publication) => publication,
            Err((code, message)) => {
                if let Some(span) = span {
                    span.end(Err(code.as_str()));
                }
                return Reply::Error { code, message, room: Some(room) };
            }
        };
        let published = UserEvents(self).publish(&room, publication).await;
        if let Some(span) = span {
            span.answered(&published);
        }
        match published {
            Ok(position) => {
                self.metrics.events_in.client.increment(1);
                Reply::Published(position)
            }
            Err(error) => refusal(&error),
        }
    }

    /// The members of a room.
    pub(crate) async fn client_presence(&self, room: Room) -> Reply {
        match self.presence.list(&room, PRESENCE_LIMIT).await {
            Ok(list) => Reply::Presence { room, list },
            Err(error) => refusal(&error),
        }
    }
}
