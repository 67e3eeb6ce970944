//! Sessions that were opened by a poll and are used by no further request.
//!
//! Always holds: such a session ends in `timeouts.connect`. A client polls at once, or brings a WebSocket.

use std::{cell::RefCell, rc::Rc};

use crate::{
    hub::{connection::Connection, worker::Worker},
    model::Disconnect,
    session::{ConnectionId, Link, UnusedSession},
};

impl Worker {
    /// Ends a session that no request uses in time; until one does, it counts as unused.
    pub fn expect_use(this: &Rc<RefCell<Self>>, name: ConnectionId, unused: UnusedSession) {
        let mut worker = this.borrow_mut();
        let patience = worker.config().timeouts.connect;
        let Some(link) = unused_link(&mut worker, name) else { return };
        link.unused = Some(unused);
        let worker = Rc::downgrade(this);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(patience).await;
            let Some(worker) = worker.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            if unused_link(&mut worker, name).is_some_and(|link| link.unused.is_some())
                && let Some(key) = worker.core.clients.connections.session_at(name)
            {
                worker.close(key, Disconnect::PingTimeout);
            }
        });
    }
}

fn unused_link(worker: &mut Worker, name: ConnectionId) -> Option<&mut Link> {
    let key = worker.core.clients.connections.session_at(name)?;
    worker.core.clients.connections.get_mut(key).and_then(Connection::link)
}
