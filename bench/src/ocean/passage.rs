//! One connection over an ocean: what is read at one end waits, and is written at the other.
//!
//! Bounded: a direction that has [`UNDER_WAY`] pieces under way is not read. Two threads a direction, because a thread wakes up nearer to the time
//! that it was asked for than a timer of an event loop does.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Ends, Towards, Waters, end, lock};

/// The most pieces under way in one direction.
const UNDER_WAY: usize = 4_096;

/// The most bytes of a piece.
const PIECE: usize = 16 * 1024;

/// What was read at once. Without bytes: the end.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

/// Carries both directions, each until its end.
pub(super) fn begin(waters: &Arc<Waters>, ends: &Arc<Ends>) -> io::Result<()> {
    for socket in &**ends {
        socket.set_nodelay(true)?;
    }
    for towards in [Towards::Home, Towards::Region] {
        let (sender, pieces) = sync_channel(UNDER_WAY);
        let (delay, from) = (waters.delay, Arc::clone(ends));
        let read = move || read(&from, towards, delay, &sender);
        thread::Builder::new().name("ocean-read".to_owned()).spawn(read)?;
        let (waters, to) = (Arc::clone(waters), Arc::clone(ends));
        let write = move || {
            if !write(&to, towards, &waters, &pieces) {
                end(&to);
            }
        };
        thread::Builder::new().name("ocean-write".to_owned()).spawn(write)?;
    }
    Ok(())
}

fn read(ends: &Ends, towards: Towards, delay: Duration, pieces: &SyncSender<Piece>) {
    let mut from = &ends[towards as usize];
    let mut buffer = vec![0; PIECE];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let piece = Piece { due: Instant::now() + delay, bytes: buffer[..count].to_vec() };
        if pieces.send(piece).is_err() || count == 0 {
            return;
        }
    }
}

/// Whether it came to the end that the other side made.
fn write(ends: &Ends, towards: Towards, waters: &Waters, pieces: &Receiver<Piece>) -> bool {
    let mut to = &ends[1 - towards as usize];
    for Piece { due, bytes } in pieces {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let late = due.elapsed();
        if !waters.wait(towards) {
            return false;
        }
        if bytes.is_empty() {
            return to.shutdown(Shutdown::Write).is_ok();
        }
        // Counted before the other side can answer.
        waters.arrived(towards, bytes.len());
        if to.write_all(&bytes).is_err() {
            return false;
        }
        lock(&waters.late).record(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
    }
    false
}
