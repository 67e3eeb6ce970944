//! A listener's sockets: taken from the kernel, and let in or closed at once.
//!
//! Owns when they are taken. Never reads a byte of one. Always holds: while clients are refused, their sockets gather for some milliseconds
//! and are taken together, so that a refused one costs the thread no wake-up and one that is let in hardly waits.

use std::{
    cell::RefCell,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener as TokioListener, TcpStream},
    sync::watch,
    task::yield_now,
    time::sleep,
};

use super::{
    entrance::{Lobby, Turns},
    handshake::{Listener, shake_hands},
    phase::Phase,
};
use crate::hub::Worker;

/// How long `accept` rests when the process is out of files or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How long it rests when a client was refused.
const GATHER: Duration = Duration::from_millis(5);

/// So many sockets are taken before the thread's other tasks have a turn.
const BATCH: usize = 128;

/// Where sockets come in at a worker.
pub struct Entrance {
    worker: Rc<RefCell<Worker>>,
    lobby: Rc<Lobby>,
    turns: Rc<Turns>,
    listener: TcpListener,
    own: Listener,
}

/// What became of a socket.
enum Entered {
    /// Its handshake has begun.
    Begun,
    /// The same; others end for it, and need a turn.
    OthersEnd,
    /// It is closed: it may not come, or there is no place for it. Cheaper than an answer, which a TLS client could not read.
    Refused,
}

/// What follows a batch.
enum Next {
    /// The kernel has no more.
    Wait,
    /// It may have more.
    GoOn,
    Rest(Duration),
}

impl Entrance {
    /// Makes a listener, which does not block, one of a worker's.
    #[must_use]
    pub fn new(
        worker: &Rc<RefCell<Worker>>,
        lobby: &Rc<Lobby>,
        turns: &Rc<Turns>,
        listener: TcpListener,
        own: Listener,
    ) -> Self {
        let (worker, lobby, turns) = (Rc::clone(worker), Rc::clone(lobby), Rc::clone(turns));
        Self { worker, lobby, turns, listener, own }
    }

    /// Takes sockets until the pod does not serve newcomers any more.
    pub async fn accept(self, mut phase: watch::Receiver<Phase>) {
        tokio::select! {
            () = self.take_all() => {}
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => {}
        }
    }

    async fn take_all(&self) {
        loop {
            // A second name of the listener is what the runtime watches: where there is no file for it, time goes on without.
            let mut next = match self.listener.try_clone().and_then(TokioListener::from_std) {
                Ok(watched) => self.take_as_they_come(&watched).await,
                Err(_) => Next::Rest(GATHER),
            };
            // Not watched: each that comes would wake the thread.
            loop {
                match next {
                    Next::Wait => break,
                    Next::GoOn => yield_now().await,
                    Next::Rest(time) => sleep(time).await,
                }
                next = self.take_batch(self.take_one());
            }
        }
    }

    /// Takes each that comes, until one is refused.
    async fn take_as_they_come(&self, watched: &TokioListener) -> Next {
        loop {
            let first = watched.accept().await.and_then(|(stream, peer)| self.let_in(peer, || Ok(stream)));
            match self.take_batch(first) {
                Next::Wait => {}
                Next::GoOn => yield_now().await,
                rest => return rest,
            }
        }
    }

    /// Takes those that have come, behind the first of them.
    fn take_batch(&self, first: io::Result<Entered>) -> Next {
        let (mut first, mut refused) = (Some(first), false);
        for _ in 0..BATCH {
            match first.take().unwrap_or_else(|| self.take_one()) {
                Ok(Entered::Begun) => {}
                // What is ended for it closes its socket before the next one is accepted.
                Ok(Entered::OthersEnd) => return Next::GoOn,
                Ok(Entered::Refused) => refused = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if refused { Next::Rest(GATHER) } else { Next::Wait };
                }
                Err(error) if self.is_short(&error) => return Next::Rest(SHORTAGE_PAUSE),
                Err(_) => {}
            }
        }
        if refused { Next::Rest(GATHER) } else { Next::GoOn }
    }

    /// Takes one that has come. The runtime hears of it only when it is let in.
    fn take_one(&self) -> io::Result<Entered> {
        let (socket, peer) = SockRef::from(&self.listener).accept()?;
        let peer = peer.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
        self.let_in(peer, || {
            socket.set_nonblocking(true)?;
            TcpStream::from_std(socket.into())
        })
    }

    fn let_in(&self, peer: SocketAddr, stream: impl FnOnce() -> io::Result<TcpStream>) -> io::Result<Entered> {
        let Some(guest) = self.lobby.admit(self.own.first_stage(), peer) else { return Ok(Entered::Refused) };
        let others_end = guest.others_end;
        shake_hands(&self.worker, &self.turns, guest, stream()?, peer, &self.own);
        Ok(if others_end { Entered::OthersEnd } else { Entered::Begun })
    }

    /// Whether the process is out of files or memory: open connections go on, new ones wait in the kernel's queue.
    fn is_short(&self, error: &io::Error) -> bool {
        self.worker.borrow().services.metrics.accept_failed("public", error)
    }
}
