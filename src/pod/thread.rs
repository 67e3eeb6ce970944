//! One worker's thread: its runtime, its listeners, its sequencer and its worker.

use std::{io, net::TcpListener, rc::Rc, sync::Arc};

use tokio::{
    sync::{mpsc::Receiver, watch},
    task::LocalSet,
};

use crate::{
    hub::{Inboxes, Sequencer, Services, Worker, start_worker},
    session::UnusedSessions,
};

use super::{
    accept::Entrance,
    entrance::{Lobby, Turns},
    handshake::Listener,
    phase::{Phase, end_of},
    webtransport::{self, IncomingQuic},
};

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
        let turns = Turns::open();
        for (listener, own) in self.listeners {
            let entrance = Entrance::new(&worker, &lobby, &turns, listener, own);
            tokio::task::spawn_local(entrance.accept(self.phase.clone()));
        }
        // The sender goes with the pod.
        end_of(&mut self.phase).await;
        Ok(())
    }
}
