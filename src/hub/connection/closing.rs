//! How a connection begins to close: what it is told, and what becomes of what waits for it.
//!
//! Never takes it out of its rooms. Always holds: a connection begins to close once.

use std::sync::Arc;

use crate::{
    hub::connection::{Connection, budget::Budget, state::State, transport::ClientTransport},
    model::Disconnect,
    transport::scratch::Scratch,
};

impl Connection {
    /// Begins to close: what waits is forgotten, the close frame goes out next.
    pub fn close(&mut self, disconnect: Disconnect, scratch: &mut Scratch, budget: &Arc<Budget>) {
        if self.state != State::Open {
            return;
        }
        // A mailbox loses nothing of what waits, unless it was too slow: the client polls as fast as it can.
        let kept =
            matches!(self.transport, ClientTransport::Mailbox(_)) && self.is_engine() && disconnect != Disconnect::Slow;
        if let Some(send_queue) = &mut self.send_queue
            && !kept
        {
            send_queue.clear();
        }
        if kept && self.link().is_some_and(|link| link.ends_silently(disconnect)) {
            // No request waits to be told, and a later one is told that there is no such session.
            self.state = State::Gone;
            self.closed_with = Some(disconnect);
            self.give_up();
            self.wake();
            return;
        }
        self.close_after(disconnect, scratch, budget);
    }

    /// Begins to close: the close frame follows what waits.
    pub fn close_after(&mut self, disconnect: Disconnect, scratch: &mut Scratch, budget: &Arc<Budget>) {
        if self.state != State::Open {
            return;
        }
        self.state = State::Closing;
        self.closed_with = Some(disconnect);
        self.give_up();
        if let ClientTransport::WebTransport(streams) = &mut self.transport {
            streams.close(disconnect);
            self.wake();
            return;
        }
        let framing = self.format.framing;
        let goodbye = match self.link() {
            Some(link) => Some(link.goodbye(disconnect, framing)).filter(|goodbye| !goodbye.is_empty()),
            None => self.transport.goodbye(disconnect),
        };
        let said = match goodbye {
            Some(goodbye) => self.say(&goodbye, scratch, budget).is_ok() && self.send_queue.is_none(),
            None => true,
        };
        if said {
            self.transport.shut_down(scratch);
        }
        self.wake();
    }

    /// Forgets what waits for others: publishes behind the one before them, and calls without an answer.
    fn give_up(&mut self) {
        self.publish_queue = None;
        if let Some(cold) = &mut self.cold {
            cold.open_calls = None;
        }
    }
}
