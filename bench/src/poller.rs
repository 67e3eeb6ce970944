//! Level-triggered epoll: a socket is told about as long as it is ready, so that one `read` a wake-up is enough.

use std::{os::fd::AsFd, time::Duration};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
    io,
};

/// What a socket waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest {
    /// Bytes to read.
    pub(crate) read: bool,
    /// Room to write.
    pub(crate) write: bool,
}

impl Interest {
    /// Reading alone.
    pub(crate) const READ: Self = Self { read: true, write: false };
    /// Writing alone.
    pub(crate) const WRITE: Self = Self { read: false, write: true };
    /// Both.
    pub(crate) const BOTH: Self = Self { read: true, write: true };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// A socket that is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// The number that it was added with.
    pub(crate) token: u64,
    /// Something can be read, or it was closed, or it failed; otherwise it can be written.
    pub(crate) read: bool,
}

/// The sockets that one [`Poller::wait`] found ready.
pub(crate) struct Found(Vec<Event>);

impl Found {
    /// Room for as many as one wait may find.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(1024))
    }

    /// Those of the last wait.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ready> {
        self.0.iter().map(|event| {
            let flags = event.flags;
            let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            Ready { token: event.data.u64(), read: broken || flags.contains(EventFlags::IN) }
        })
    }
}

/// One epoll instance.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

impl Poller {
    /// Makes one.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Watches a socket; [`Ready::token`] will name it.
    pub(crate) fn add(&self, socket: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        epoll::add(&self.0, socket, EventData::new_u64(token), interest.flags())
    }

    /// Changes what a socket waits for.
    pub(crate) fn modify(&self, socket: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        epoll::modify(&self.0, socket, EventData::new_u64(token), interest.flags())
    }

    /// Stops watching a socket.
    pub(crate) fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        epoll::delete(&self.0, socket)
    }

    /// Waits, at most for `timeout`.
    pub(crate) fn wait(&self, timeout: Option<Duration>, found: &mut Found) -> io::Result<()> {
        found.0.clear();
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        match epoll::wait(&self.0, spare_capacity(&mut found.0), timeout.as_ref()) {
            Ok(_) | Err(io::Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
