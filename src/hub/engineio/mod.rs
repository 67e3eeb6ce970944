//! Engine.IO sessions and the Socket.IO namespaces on them.
//!
//! Stands above the core: it takes the packets of its sessions to the core, hears of their membership from the worker's agenda, and
//! keeps their records. What a session is stands with its connection. Always holds: the core names nothing of it.

pub mod namespaces;
pub mod polling;
pub mod probe;
mod record_store;
pub mod recovery;
pub mod resume_plan;
pub mod session;
pub mod session_pods;
mod sessions;
mod unused;
pub mod upgrade;

use std::{rc::Rc, sync::Arc};

use crate::hub::{core::Core, worker::services::Services};

/// The Engine.IO of one worker.
pub struct EngineIo {
    /// The worker's number, which its sessions' names carry.
    worker: usize,
    services: Arc<Services>,
    doorway: EngineIoDoorway,
}

impl EngineIo {
    /// Engine.IO for a worker.
    #[must_use]
    pub fn new(worker: usize, services: Arc<Services>, doorway: EngineIoDoorway) -> Self {
        Self { worker, services, doorway }
    }
}

/// What has an Engine.IO: the worker that it is part of.
pub trait EngineIoHost {
    /// Has something done with it and the core, and settles what that leaves to be done. Not at all once the worker is gone.
    fn enter(&self, act: &mut dyn FnMut(&EngineIo, &mut Core));
}

/// The way back to a worker's Engine.IO for a task that waited.
#[derive(Clone)]
pub struct EngineIoDoorway(Rc<dyn EngineIoHost>);

impl EngineIoDoorway {
    /// The way to the Engine.IO of this host.
    #[must_use]
    pub fn new(host: Rc<dyn EngineIoHost>) -> Self {
        Self(host)
    }

    /// Does something as an entry of its own, unless the worker is gone.
    fn enter(&self, act: impl FnOnce(&EngineIo, &mut Core)) {
        let mut act = Some(act);
        self.0.enter(&mut |engineio, core| {
            if let Some(act) = act.take() {
                act(engineio, core);
            }
        });
    }
}
