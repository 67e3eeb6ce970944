//! What an entry into a worker leaves to be settled when it is over.
//!
//! An entry is whatever the event loop, a connection's task or an answer has the worker do at one time. The core knows neither
//! Engine.IO nor the worker that it is part of: what only they can do stands here. Always holds: items are settled in their
//! order, before the worker waits for anything or writes to another room's members; none is left behind.

use std::collections::VecDeque;

use crate::{
    hub::{connection::key::ConnectionKey, membership::event::MembershipEvent},
    model::Disconnect,
};

/// One thing to be settled.
#[derive(Debug)]
pub(crate) enum AgendaItem {
    /// A connection is to be closed. What its session remembers of its rooms is written before it leaves them.
    Close(ConnectionKey, Disconnect),
    /// An Engine.IO session is to be told of its membership.
    Membership(ConnectionKey, MembershipEvent),
    /// One of the decisions that a connection's input waits for was made.
    ResumeInput(ConnectionKey),
}

/// What is to be settled, in order. Bounded by what one entry can do.
#[derive(Debug, Default)]
pub(crate) struct Agenda(VecDeque<AgendaItem>);

impl Agenda {
    /// Puts something at the end.
    pub(crate) fn push(&mut self, item: AgendaItem) {
        self.0.push_back(item);
    }

    /// Takes the first.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<AgendaItem> {
        self.0.pop_front()
    }
}
