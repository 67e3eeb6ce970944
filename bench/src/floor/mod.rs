//! The floor: what no server can beat with the same sockets, the same bytes and one `write` a receiver.
//!
//! A real TLS 1.3 handshake by rustls and a real WebSocket upgrade, then the secrets are taken out of rustls and every
//! record is sealed by hand into one scratch buffer and written at once. As many threads as the pod has workers, each
//! owning the sockets that it accepted. No rooms, no protocol, no encoding, no compression, no pings, no reading: the
//! parent hands it the frame's finished bytes. Never measures anything itself.

use std::{
    io::Read as _,
    net::SocketAddr,
    sync::{Arc, mpsc},
    time::Duration,
};

use crate::{
    child,
    error::{BenchError, Doing as _},
    process,
};

pub(crate) mod control;
pub(crate) mod host;
pub(crate) mod http;
mod record;
pub(crate) mod tls;
mod worker;

use control::{Counts, MOST_FRAME, Notice};
use worker::{Order, Worker};

/// The role's main: until the parent closes the input.
pub(crate) fn run(threads: usize) -> Result<(), BenchError> {
    child::end_with_parent()?;
    process::raise_file_limit()?;
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = tls::config()?;
    let mut workers = Vec::new();
    for index in 0..threads.max(1) {
        let (worker, handle) = Worker::new(address, Arc::clone(&config))?;
        address = worker.address()?;
        std::thread::Builder::new()
            .name(format!("floor-{index}"))
            .spawn(move || {
                if let Err(error) = worker.run() {
                    eprintln!("the floor's thread {index}: {error}");
                    std::process::exit(1);
                }
            })
            .doing(|| "starting a thread".to_owned())?;
        workers.push(handle);
    }
    child::say(&Notice::Listening(address))?;
    let mut input = std::io::stdin().lock();
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        let length = u32::from_le_bytes(length);
        if length > MOST_FRAME {
            return Err(BenchError::Protocol(format!("a frame of {length} bytes is too large for the floor")));
        }
        if length == 0 {
            child::say(&Notice::Counts(counts(&workers)?))?;
            continue;
        }
        let mut frame = vec![0; length as usize];
        input.read_exact(&mut frame).doing(|| "reading a frame from the parent".to_owned())?;
        let frame: Arc<[u8]> = frame.into();
        for worker in &workers {
            worker.order(Order::Send(Arc::clone(&frame)))?;
        }
    }
    Ok(())
}

fn counts(workers: &[worker::Handle]) -> Result<Counts, BenchError> {
    let (answer, answers) = mpsc::channel();
    for worker in workers {
        worker.order(Order::Count(answer.clone()))?;
    }
    let mut total = Counts::default();
    for _ in workers {
        let counts = answers
            .recv_timeout(Duration::from_secs(10))
            .map_err(|_| BenchError::Protocol("a thread of the floor does not answer".to_owned()))?;
        total.open += counts.open;
        total.short_writes += counts.short_writes;
        total.given_up += counts.given_up;
    }
    Ok(total)
}
