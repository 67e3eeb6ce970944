//! What is let in at all: a place for every socket of a worker's listeners from `accept` on, and a clock until it is a connection.
//!
//! Decides before the first byte is read. Always holds: sockets that only wait for their clients neither use up the pod's files nor keep
//! newcomers out: those that have waited longest are ended first.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::sleep};

use super::{
    visit::{Stage, Visit},
    visits::Visits,
};
use crate::{
    config::counted_by,
    hub::Services,
    session::UnusedSessions,
    transport::places::{SocketPlace, SocketPlaces},
};

/// How late the end of a socket's time may be noticed.
const TICK: Duration = Duration::from_millis(250);

/// So many sockets may wait for their clients, however few connections a pod may have.
const FEWEST_WAITING: usize = 256;

/// The entrance of one worker.
pub struct Lobby {
    services: Arc<Services>,
    visits: RefCell<Visits>,
    arrived: Notify,
}

/// A socket that was let in.
pub struct Guest {
    /// Its stages.
    pub visit: Visit,
    /// Its file.
    pub place: SocketPlace,
    /// Others were ended for it: they go when their tasks have a turn.
    pub others_end: bool,
}

impl Lobby {
    /// The entrance of a worker. Its clock needs a `LocalSet`.
    #[must_use]
    pub fn open(services: &Arc<Services>, unused: Arc<UnusedSessions>) -> Rc<Self> {
        let this = Rc::new(Self {
            services: Arc::clone(services),
            visits: RefCell::new(Visits::new(Arc::clone(&services.budget), unused)),
            arrived: Notify::new(),
        });
        tokio::task::spawn_local(Rc::clone(&this).keep_time());
        this
    }

    /// Lets a socket in whose client begins with `stage`; `None`: there is no place for it.
    pub fn admit(&self, stage: Stage, peer: SocketAddr) -> Option<Guest> {
        let Services { sockets, metrics, config, addresses, .. } = &*self.services;
        let (pressures, config) = (&metrics.pressures, config.load());
        // One address' excess takes nothing from the others.
        if !addresses.may_shake_hands(peer.ip(), &config.addresses) || !addresses.pod_may_shake_hands(&config.addresses)
        {
            pressures.addresses.refused_one(&counted_by(peer.ip()));
            return None;
        }
        let mut visits = self.visits.borrow_mut();
        let now_ms = visits.now_ms();
        let mut others_end = false;
        let limit = waiting_limit(config.max_connections, sockets.limit()) / metrics.workers.len();
        // One at least may wait at each worker, however many workers share few files.
        if visits.waiting() >= limit.max(1) {
            let ended = visits.make_room(now_ms);
            pressures.waiting.refused(ended.max(1));
            others_end = ended > 0;
            if !others_end {
                return None;
            }
        }
        let place = match SocketPlaces::take(sockets) {
            Some(place) => place,
            None => {
                let ended = if others_end { 1 } else { visits.make_room(now_ms) };
                pressures.files.refused(ended.max(1));
                if ended == 0 {
                    return None;
                }
                others_end = true;
                SocketPlaces::take_over(sockets)
            }
        };
        self.arrived.notify_one();
        Some(Guest { visit: visits.begin(stage, now_ms), place, others_end })
    }

    async fn keep_time(self: Rc<Self>) {
        let mut shown = 0;
        loop {
            if self.visits.borrow().is_empty() {
                self.arrived.notified().await;
            }
            sleep(TICK).await;
            let config = self.services.config.load_full();
            let mut visits = self.visits.borrow_mut();
            let now_ms = visits.now_ms();
            let overdue = visits.sweep(now_ms, &config.timeouts);
            let slow = &self.services.metrics.slow_sockets;
            slow.head.increment(overdue.head);
            slow.body.increment(overdue.body);
            slow.idle.increment(overdue.idle);
            slow.write.increment(overdue.write);
            if self.services.budget.is_tight() {
                self.services.metrics.pressures.memory.refused(visits.shed(now_ms));
            }
            let waiting = visits.waiting();
            self.services.metrics.pressures.waiting.add(waiting, std::mem::replace(&mut shown, waiting));
        }
    }
}

/// How many sockets of a pod may wait for their clients: as many as may be connections, so that all can come at once, but never more
/// than half of the files.
#[must_use]
pub fn waiting_limit(max_connections: usize, places: usize) -> usize {
    max_connections.max(FEWEST_WAITING).min(places / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_sockets_leave_half_of_the_files() {
        assert_eq!(waiting_limit(15_000, 65_000), 15_000);
        assert_eq!(waiting_limit(15_000, 20_000), 10_000);
        assert_eq!(waiting_limit(10, 20_000), 256);
        assert_eq!(waiting_limit(88, 344), 172);
    }
}
