//! Orders of the parent: how they arrive, and those that take more than one turn of the loop.

use std::{
    collections::HashMap,
    io::{self, BufRead as _},
    sync::{Arc, mpsc},
    thread,
};

use mio::Waker;
use rustls::ClientConfig;

use super::control::{Join, Target};

/// Orders that may wait: the parent gives the next one after the answer to the last.
const MOST_ORDERS: usize = 16;

/// A `Join` under way.
pub(super) struct Joining {
    pub(super) join: Join,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) begun: usize,
    pub(super) members: usize,
    pub(super) told: u64,
    pub(super) progress: u64,
}

/// A `Finish` under way.
pub(super) struct Finishing {
    pub(super) target: Target,
    pub(super) ends: HashMap<u32, u64>,
    pub(super) deadline: u64,
    pub(super) last: bool,
}

/// Reads the parent's lines on a thread of its own: a pipe blocks, and its other end belongs to the parent.
pub(super) fn listen_to_parent(waker: Waker) -> mpsc::Receiver<io::Result<String>> {
    let (sender, orders) = mpsc::sync_channel(MOST_ORDERS);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let failed = line.is_err();
            // The receiver is gone only when this process ends.
            if sender.send(line).is_err() || waker.wake().is_err() || failed {
                break;
            }
        }
        drop(sender);
        let _ = waker.wake();
    });
    orders
}
