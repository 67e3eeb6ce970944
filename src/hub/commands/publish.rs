//! A connection's own publishes.
//!
//! Always holds: they reach the broker one after the other, in the order in which the connection asked, each answered; what is
//! asked beyond the publish queue's length is refused.

use std::sync::Arc;

use crate::{
    hub::{
        access::permit::Principal,
        commands::publish_queue::{PublishQueue, QueueRefusal},
        connection::key::ConnectionKey,
        core::Core,
    },
    model::{CommandId, ErrorCode, Publication, Reply, Room},
};

/// Publishes in the order in which the connection asked.
pub(crate) fn publish(
    core: &mut Core,
    key: ConnectionKey,
    id: Option<CommandId>,
    room: Room,
    publication: Publication,
) {
    let Some(connection) = core.clients.connections.get_mut(key) else { return };
    let name = connection.session.id;
    let idle = connection.publish_queue.is_none();
    let budget = &core.clients.services.budget;
    let publish_queue = connection.publish_queue.get_or_insert_with(|| Box::new(PublishQueue::new(Arc::clone(budget))));
    if let Err(refusal) = publish_queue.push(id.clone(), room, publication) {
        let (code, message) = match refusal {
            QueueRefusal::ShortOfMemory => (
                ErrorCode::Unavailable,
                "this pod is short of memory: wait for the answer to the publish before".to_owned(),
            ),
            QueueRefusal::Full => {
                let many = PublishQueue::MAX;
                let message = format!("{many} publishes wait for those before them: wait for their answers");
                (ErrorCode::LimitExceeded, message)
            }
        };
        let error = Reply::Error { code, message, room: None };
        return core.clients.reply(key, &error, id.as_ref());
    }
    if !idle {
        return;
    }
    let (doorway, services) = (core.doorway.clone(), Arc::clone(core.services()));
    tokio::task::spawn_local(async move {
        loop {
            let next =
                doorway.enter(|core| Some((core.clients.connections.next_publish(key, name)?, publisher(core, key))));
            let Some(((id, room, publication), principal)) = next.flatten() else { return };
            let reply = services.client_publish(principal.as_ref(), room, publication).await;
            doorway.enter(|core| core.clients.reply_to(key, name, &reply, id.as_ref()));
        }
    });
}

/// The publisher, where the backend may have to be asked.
fn publisher(core: &Core, key: ConnectionKey) -> Option<Principal> {
    core.services().hooks.as_ref()?.publish.as_ref()?;
    Some(core.clients.connections.get(key)?.principal(core.services()))
}
