//! A way to a server: what a Service, a balancer or a name is to a pod. It may lead elsewhere, and it may swallow bytes.
//!
//! Connections that stand stay where they are. Always holds: a byte that is swallowed is never answered, and no end is.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread,
};

/// The two ends of a connection, and whether it swallows what comes.
struct Passage {
    ends: [TcpStream; 2],
    swallows: AtomicBool,
}

struct Shared {
    to: AtomicU16,
    /// New connections swallow everything from the beginning.
    closed: AtomicBool,
    over: AtomicBool,
    passages: Mutex<Vec<Arc<Passage>>>,
}

/// An address that leads to a server on this machine.
pub struct Way {
    port: u16,
    shared: Arc<Shared>,
}

impl Way {
    /// Leads to the server on that port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            to: AtomicU16::new(port),
            closed: AtomicBool::new(false),
            over: AtomicBool::new(false),
            passages: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { port: own, shared }
    }

    /// As configurations name it.
    pub fn address(&self) -> (String, u16) {
        ("127.0.0.1".to_owned(), self.port)
    }

    /// New connections lead to the server on that port.
    pub fn lead_to(&self, port: u16) {
        self.shared.to.store(port, Ordering::SeqCst);
    }

    /// The connections that stand swallow all bytes from now on, for good.
    pub fn swallow(&self) {
        for passage in &*self.shared.passages.lock().unwrap_or_else(PoisonError::into_inner) {
            passage.swallows.store(true, Ordering::SeqCst);
        }
    }

    /// New connections swallow all bytes too, or not any more.
    pub fn close(&self, closed: bool) {
        self.shared.closed.store(closed, Ordering::SeqCst);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for passage in &*self.shared.passages.lock().unwrap_or_else(PoisonError::into_inner) {
            for end in &passage.ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }
}

fn accept(listener: &TcpListener, shared: &Shared) {
    for client in listener.incoming() {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        let Ok(server) = TcpStream::connect(("127.0.0.1", shared.to.load(Ordering::SeqCst))) else { continue };
        let swallows = AtomicBool::new(shared.closed.load(Ordering::SeqCst));
        let passage = Arc::new(Passage { ends: [client, server], swallows });
        shared.passages.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&passage));
        for from in 0..2 {
            let passage = Arc::clone(&passage);
            thread::spawn(move || carry(&passage, from));
        }
    }
}

fn carry(passage: &Passage, from: usize) {
    let (mut from, mut to) = (&passage.ends[from], &passage.ends[1 - from]);
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut bytes);
        let swallows = passage.swallows.load(Ordering::SeqCst);
        match read {
            Ok(1..) if swallows => {}
            Ok(count @ 1..) if to.write_all(&bytes[..count]).is_ok() => {}
            _ => {
                if !swallows {
                    let _ = to.shutdown(Shutdown::Both);
                    let _ = from.shutdown(Shutdown::Both);
                }
                return;
            }
        }
    }
}
