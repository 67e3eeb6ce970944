//! A connection's own publishes.
//!
//! Always holds: they reach the broker one after the other, in the order in which the connection asked, each answered; what is
//! asked beyond the publish queue's length is refused.

use crate::{
    hub::{
        ConnectionKey, Worker,
        access::hook_gate::Principal,
        commands::{dispatch::refusal, publish_queue::PublishQueue},
    },
    model::{CommandId, ErrorCode, Publication, Reply, Room},
};

impl Worker {
    /// Publishes in the order in which the connection asked.
    pub(crate) fn publish(&mut self, key: ConnectionKey, id: Option<CommandId>, room: Room, publication: Publication) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let name = connection.session.id;
        let idle = connection.publish_queue.is_none();
        let publish_queue = connection.publish_queue.get_or_insert_default();
        if !publish_queue.push(id.clone(), room, publication) {
            let message = format!("{} publishes wait for those before them: wait for their answers", PublishQueue::MAX);
            self.reply(key, &Reply::Error { code: ErrorCode::LimitExceeded, message, room: None }, id.as_ref());
            return;
        }
        if !idle {
            return;
        }
        let (me, services) = (self.me.clone(), std::sync::Arc::clone(&self.services));
        tokio::task::spawn_local(async move {
            loop {
                let Some(worker) = me.upgrade() else { return };
                let (next, principal) = {
                    let mut this = worker.borrow_mut();
                    (this.connections.next_publish(key, name), this.publisher(key))
                };
                let Some((id, room, publication)) = next else { return };
                drop(worker);
                let reply = match services.to_publish(principal.as_ref(), &room, publication).await {
                    Ok(publication) => {
                        let published = services.broker.publish(&room, publication).await;
                        published.map_or_else(|error| refusal(&error), Reply::Published)
                    }
                    Err((code, message)) => Reply::Error { code, message, room: Some(room) },
                };
                let Some(worker) = me.upgrade() else { return };
                let mut worker = worker.borrow_mut();
                if matches!(reply, Reply::Published(_)) {
                    worker.services.metrics.events_in.client.increment(1);
                }
                worker.reply_to(key, name, &reply, id.as_ref());
            }
        });
    }

    /// The publisher, where the backend may have to be asked.
    fn publisher(&self, key: ConnectionKey) -> Option<Principal> {
        self.services.hooks.as_ref()?.publish.as_ref()?;
        Some(self.connections.get(key)?.principal(&self.services))
    }
}
