//! A socket as hyper wants it: for requests that are no WebSocket, and until one is.
//!
//! Owns the socket and what was read ahead. Always holds: taken apart again, it gives back every byte that hyper has
//! not read.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::socket::{Buffers, Read as SocketRead, Socket, Written};

/// A socket under hyper. The slow path beside the worker's own.
pub struct HttpIo {
    socket: Socket,
    /// Read, not yet given to hyper.
    ahead: Vec<u8>,
    /// Sealed, not yet taken by the kernel.
    behind: Vec<u8>,
    traffic: Arc<Traffic>,
}

/// What passed through a socket under hyper: read by the clock over it, and waited for by its service. One thread uses it; hyper
/// wants its sockets to be `Send`.
#[derive(Debug, Default)]
pub struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
    behind: AtomicBool,
    caught_up: Mutex<Option<Waker>>,
}

impl Traffic {
    /// The bytes that came.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// The bytes that the kernel took.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Whether the kernel does not take what is written.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind.load(Relaxed)
    }

    /// Waits until the kernel has taken what was written.
    pub fn poll_caught_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_behind() {
            return Poll::Ready(());
        }
        *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Notes bytes that came.
    pub fn read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Relaxed);
    }

    /// Notes bytes that the kernel took, and those that it did not.
    pub fn wrote(&self, bytes: u64, left: usize) {
        self.written.fetch_add(bytes, Relaxed);
        self.behind.store(left > 0, Relaxed);
        if left == 0
            && let Some(waker) = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            waker.wake();
        }
    }
}

thread_local! {
    /// One set for all requests of a worker: nothing stays in it between two calls.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl HttpIo {
    /// A socket of which `ahead` was read already.
    #[must_use]
    pub fn new(socket: Socket, ahead: Vec<u8>) -> Self {
        Self { socket, ahead, behind: Vec::new(), traffic: Arc::default() }
    }

    /// What counts its bytes.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The socket, and what hyper has not read of it.
    #[must_use]
    pub fn into_parts(self) -> (Socket, Vec<u8>) {
        (self.socket, self.ahead)
    }

    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.behind.is_empty() {
            ready!(self.socket.poll_writable(cx))?;
            let sealed = std::mem::take(&mut self.behind);
            if let Written::Rest(rest) = self.socket.write_sealed(&sealed)? {
                self.behind = rest;
            }
            self.traffic.wrote((sealed.len() - self.behind.len()) as u64, self.behind.len());
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for HttpIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.ahead.is_empty() {
            let read = BUFFERS.with_borrow_mut(|buffers| {
                let read = this.socket.poll_read(cx, buffers);
                this.ahead.append(&mut buffers.plain);
                read
            });
            if ready!(read)? == SocketRead::Closed {
                break;
            }
            this.traffic.read(this.ahead.len() as u64);
        }
        let taken = this.ahead.len().min(buffer.remaining());
        buffer.put_slice(&this.ahead[..taken]);
        this.ahead.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl Write for HttpIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_behind(cx))?;
        if let Written::Rest(rest) = BUFFERS.with_borrow_mut(|b| this.socket.write(bytes, &mut b.sealed))? {
            this.behind = rest;
        }
        this.traffic.wrote(bytes.len().saturating_sub(this.behind.len()) as u64, this.behind.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_behind(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_behind(cx))?;
        BUFFERS.with_borrow_mut(|buffers| this.socket.shut_down(&mut buffers.sealed));
        Poll::Ready(Ok(()))
    }
}
