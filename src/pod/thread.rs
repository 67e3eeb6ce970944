//! One worker's thread: its runtime, its listeners, its two halves of the hub.

use std::{cell::RefCell, io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener as TokioListener,
    sync::{mpsc::Receiver, watch},
    task::{LocalSet, yield_now},
};

use crate::{
    hub::{Inboxes, Sequencer, Services, Worker, start_worker},
    session::UnusedSessions,
};

use super::{
    handshake::{Listener, shake_hands},
    lobby::Lobby,
    phase::Phase,
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
    /// The pod's Engine.IO sessions that were never used.
    pub unused: Arc<UnusedSessions>,
    /// What it shares with the others.
    pub services: Arc<Services>,
    /// Its queues.
    pub inboxes: Inboxes,
    /// Says when listeners close, and when all ends.
    pub phase: watch::Receiver<Phase>,
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
        start_worker(&worker, self.inboxes.worker);
        tokio::task::spawn_local(webtransport::accept(Rc::clone(&worker), self.quic_clients));
        let lobby = Lobby::open(&self.services, self.unused);
        for (listener, own) in self.listeners {
            let listener = TokioListener::from_std(listener)?;
            let (worker, lobby) = (Rc::clone(&worker), Rc::clone(&lobby));
            tokio::task::spawn_local(accept(worker, lobby, listener, own, self.phase.clone()));
        }
        // The sender goes with the pod.
        let _ = self.phase.wait_for(|phase| *phase == Phase::Ended).await;
        Ok(())
    }
}

async fn accept(
    worker: Rc<RefCell<Worker>>,
    lobby: Rc<Lobby>,
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
            Ok((stream, peer)) => {
                // What is ended for it closes its socket before the next one is accepted.
                if shake_hands(&worker, &lobby, stream, peer, &own).is_break() {
                    yield_now().await;
                }
            }
            Err(error) => {
                let services = Arc::clone(&worker.borrow().services);
                services.metrics.accept_errors.increment(1);
                let own = matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
                );
                if !own {
                    // Out of files or memory: open connections go on, new ones wait in the kernel's queue.
                    tracing::debug!(%error, "accept failed; trying again in 100 ms");
                    services.metrics.pressures.accept.refused(1);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
