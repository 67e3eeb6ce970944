//! What one worker's event loop owns: the core with its clients and rooms, Engine.IO, and what is due.
//!
//! One thread, no locks: everything here is reached through one `&mut`. Never waits; what must wait is a local task that
//! comes back with an answer. Always holds: a connection is removed by its own task's end and nowhere else.

pub mod call;
pub mod capacity;
pub mod clock;
pub mod connection_ids;
pub mod disconnect_log;
pub mod drain;
mod engineio_seam;
pub mod event_loop;
pub mod fleet;
pub mod fleet_lists;
pub mod inspect;
mod keepalive;
pub mod policy_reload;
pub mod process_memory;
pub mod queues;
pub mod quic;
pub mod readiness;
pub mod seat;
pub mod services;
mod shedding;
pub mod spokesman;
pub mod timers;
mod unread;
pub mod wheel;
pub mod worker_call;

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::Arc,
};

use crate::{
    config::Config,
    hub::{
        core::{Core, CoreHost, Doorway},
        engineio::{EngineIo, EngineIoDoorway, EngineIoHost},
        worker::{drain::DrainRun, policy_reload::PolicyReload, services::Services, timers::Timers},
    },
    session::SessionLimits,
    transport::{socket::Buffers, websocket::Inflater},
};

/// A worker's own half of the hub.
pub struct Worker {
    me: Weak<RefCell<Self>>,
    /// Its number.
    pub index: usize,
    /// What it shares with the others.
    pub services: Arc<Services>,
    /// Its clients and rooms.
    pub(crate) core: Core,
    /// The Engine.IO sessions among its connections.
    pub(crate) engineio: EngineIo,
    pub(crate) inflater: Option<Inflater>,
    pub(crate) policy_reload: PolicyReload,
    pub(crate) drain: Option<DrainRun>,
    /// Whether rooms may be due to be given up.
    pub(crate) sweeping: bool,
    /// What its share of the gauges of connections is: all, those with a user.
    pub(crate) reported: (usize, usize),
}

impl Worker {
    /// A worker without connections.
    #[must_use]
    pub fn new(index: usize, services: Arc<Services>) -> Rc<RefCell<Self>> {
        Rc::new_cyclic(|me| {
            let entrance = Rc::new(Entrance(me.clone()));
            let doorway = Doorway::new(Rc::<Entrance>::clone(&entrance));
            RefCell::new(Self {
                me: me.clone(),
                index,
                core: Core::new(index, Arc::clone(&services), doorway),
                engineio: EngineIo::new(index, Arc::clone(&services), EngineIoDoorway::new(entrance)),
                services,
                inflater: None,
                policy_reload: PolicyReload::default(),
                drain: None,
                sweeping: false,
                reported: (0, 0),
            })
        })
    }

    /// This worker, for a task that comes back to it.
    #[must_use]
    pub fn me(&self) -> Option<Rc<RefCell<Self>>> {
        self.me.upgrade()
    }

    /// The configuration as of the last tick.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.core.clients.settings.config
    }

    /// What the session limits are now.
    #[must_use]
    pub fn session_limits(&self) -> SessionLimits {
        self.core.clients.settings.limits
    }

    /// Its clock, and what waits for a time.
    pub fn timers(&mut self) -> &mut Timers {
        &mut self.core.clients.timers
    }

    /// The buffers of all its sockets.
    pub fn buffers(&mut self) -> &mut Buffers {
        &mut self.core.clients.buffers
    }
}

/// The way back into a worker for the tasks of its parts.
struct Entrance(Weak<RefCell<Worker>>);

impl Entrance {
    fn enter_worker(&self, act: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.0.upgrade() else { return };
        let mut worker = worker.borrow_mut();
        act(&mut worker);
        worker.settle();
    }
}

impl CoreHost for Entrance {
    fn enter(&self, act: &mut dyn FnMut(&mut Core)) {
        self.enter_worker(|worker| act(&mut worker.core));
    }
}

impl EngineIoHost for Entrance {
    fn enter(&self, act: &mut dyn FnMut(&EngineIo, &mut Core)) {
        self.enter_worker(|worker| act(&worker.engineio, &mut worker.core));
    }
}
