//! One worker's thread: its event loop, its listeners, its two halves of the hub.

use std::{cell::RefCell, io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener as TokioListener,
    sync::{mpsc::Receiver, watch},
    task::{LocalSet, yield_now},
};

use crate::hub::{Inboxes, Sequencer, Services, TICK, ToWorker, Worker};

use super::{
    handshake::{Listener, shake_hands},
    webtransport::{self, IncomingQuic},
};

/// How long `accept` rests when the process is out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a worker's thread is given.
pub struct Thread {
    /// The worker's number.
    pub index: usize,
    /// Its own listeners.
    pub listeners: Vec<(TcpListener, Listener)>,
    /// WebTransport clients that it is to accept.
    pub quic_clients: Receiver<IncomingQuic>,
    /// What it shares with the others.
    pub services: Arc<Services>,
    /// Its queues.
    pub inboxes: Inboxes,
    /// Says when listeners close, and when all ends.
    pub phase: watch::Receiver<Phase>,
}

/// The pod's life, as its threads need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serving,
    /// They are not; those that are here go at their moment.
    Closed,
    /// Everything ends.
    Ended,
}

impl Thread {
    /// Runs until the pod ends.
    ///
    /// # Errors
    /// The event loop or a listener could not be set up.
    pub fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = LocalSet::new();
        let result = local.block_on(&runtime, self.serve());
        // Connections that are left end here, with their worker.
        drop(local);
        result
    }

    async fn serve(mut self) -> io::Result<()> {
        let worker = Worker::new(self.index, Arc::clone(&self.services));
        let sequencer = Sequencer::new(self.index, Arc::clone(&self.services));
        tokio::task::spawn_local(sequencer.run(self.inboxes.sequencer));
        tokio::task::spawn_local(tick(Rc::clone(&worker)));
        tokio::task::spawn_local(turn(Rc::clone(&worker), self.inboxes.worker));
        tokio::task::spawn_local(webtransport::accept(Rc::clone(&worker), self.quic_clients));
        for (listener, own) in self.listeners {
            let listener = TokioListener::from_std(listener)?;
            tokio::task::spawn_local(accept(Rc::clone(&worker), listener, own, self.phase.clone()));
        }
        // The sender goes with the pod.
        let _ = self.phase.wait_for(|phase| *phase == Phase::Ended).await;
        Ok(())
    }
}

/// Takes what the sequencers send, and gives each active room its slices. Between two slices everybody else has a turn.
async fn turn(worker: Rc<RefCell<Worker>>, mut inbox: Receiver<ToWorker>) {
    let mut messages = Vec::new();
    let mut busy = false;
    let activity = Rc::clone(&worker.borrow().activity);
    loop {
        if busy {
            while messages.len() < 64
                && let Ok(message) = inbox.try_recv()
            {
                messages.push(message);
            }
        } else {
            tokio::select! {
                count = inbox.recv_many(&mut messages, 64) => if count == 0 { return },
                () = activity.notified() => {}
            }
        }
        busy = take_turn(&mut worker.borrow_mut(), &mut messages);
        if busy {
            yield_now().await;
        }
    }
}

/// Takes messages and gives one room its slice. Returns whether more is to be done.
fn take_turn(worker: &mut Worker, messages: &mut Vec<ToWorker>) -> bool {
    for message in messages.drain(..) {
        match message {
            ToWorker::Room(room, update) => worker.update_room(&room, update),
            ToWorker::Drain(window) => worker.begin_drain(window),
            ToWorker::Ask(question) => question.put(worker),
        }
    }
    let fanning = worker.run_slice();
    worker.drain_slice() || fanning
}

async fn tick(worker: Rc<RefCell<Worker>>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        worker.borrow_mut().tick();
    }
}

async fn accept(
    worker: Rc<RefCell<Worker>>,
    listener: TokioListener,
    own: Listener,
    mut phase: watch::Receiver<Phase>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => return,
        };
        match accepted {
            Ok((stream, _)) => shake_hands(&worker, stream, &own),
            Err(error) => {
                worker.borrow().services.metrics.accept_errors.increment(1);
                let own = matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
                );
                if !own {
                    // Out of files or memory: open connections go on, new ones wait in the kernel's queue.
                    tracing::warn!(%error, "accept failed; trying again in 100 ms");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
