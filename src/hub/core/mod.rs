//! The core of a worker: its clients and its rooms, and what one does to the other.
//!
//! Owns the rooms, their streams and fan-outs, and the clients' connections. Never knows Engine.IO, nor the worker that it is part
//! of: it leaves on its [`Agenda`](agenda::Agenda) what those have to do, and its tasks come back through a [`Doorway`]. Its
//! methods stand beside their nouns, in `hub::membership`, `hub::fanout` and `hub::connection`. Always holds: a connection's
//! subscriptions and the rooms' members say the same.

pub mod agenda;
pub mod clients;
pub mod policy_change;
pub mod room_sweep;
pub mod settings;

use std::{rc::Rc, sync::Arc};

use crate::hub::{
    commands::signal_outbox::SignalOutbox,
    core::clients::Clients,
    fanout::{fan_outs::FanOuts, rooms::Rooms, signal_share::SignalShare, stream_effect::StreamEffect},
    recovery::turns::RecoveryTurns,
    worker::services::Services,
};

/// The core of one worker.
pub struct Core {
    /// The worker's number.
    pub(crate) index: usize,
    /// Its connections, and what it takes to speak with their clients.
    pub(crate) clients: Clients,
    /// Its rooms.
    pub(crate) rooms: Rooms,
    /// Which of them are being sent to.
    pub(crate) fan_outs: FanOuts,
    /// Room for what streams want done, so that no input of a stream allocates.
    pub(crate) stream_effects: Vec<StreamEffect>,
    /// The way back for tasks that wait for others.
    pub(crate) doorway: Doorway,
    /// How many of its clients may still be told of signals.
    pub(crate) signal_share: SignalShare,
    /// Signals of its clients that wait for the broker.
    pub(crate) signals: SignalOutbox,
    /// The turns of clients that come back.
    pub(crate) recovery_turns: Rc<RecoveryTurns>,
}

impl Core {
    /// A core without clients and rooms.
    #[must_use]
    pub fn new(index: usize, services: Arc<Services>, doorway: Doorway) -> Self {
        Self {
            index,
            clients: Clients::new(services),
            rooms: Rooms::default(),
            fan_outs: FanOuts::default(),
            stream_effects: Vec::new(),
            doorway,
            signal_share: SignalShare::new(),
            signals: SignalOutbox::default(),
            recovery_turns: Rc::default(),
        }
    }

    /// What all workers share.
    #[must_use]
    pub fn services(&self) -> &Arc<Services> {
        &self.clients.services
    }
}

/// What has a core: the worker that it is part of.
pub trait CoreHost {
    /// Has something done with the core, and settles what it leaves to be done. Not at all once the worker is gone.
    fn enter(&self, act: &mut dyn FnMut(&mut Core));
}

/// The way back to a worker's core for a task that waited.
#[derive(Clone)]
pub struct Doorway(Rc<dyn CoreHost>);

impl Doorway {
    /// The way to the core of this host.
    #[must_use]
    pub fn new(host: Rc<dyn CoreHost>) -> Self {
        Self(host)
    }

    /// Does something with the core as an entry of its own; `None`: the worker is gone.
    pub fn enter<T>(&self, act: impl FnOnce(&mut Core) -> T) -> Option<T> {
        let (mut act, mut done) = (Some(act), None);
        self.0.enter(&mut |core| done = act.take().map(|act| act(core)));
        done
    }
}
