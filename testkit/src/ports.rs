//! Ports of 127.0.0.1 that nothing listens on.

use std::{
    net::TcpListener,
    sync::{Mutex, PoisonError},
};

/// The first port, and how many there are: outside of the range that the kernel gives to outgoing connections.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// So many ports, all different. No later call of this process gives out the same ones until it has gone around.
pub fn free<const N: usize>() -> [u16; N] {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    if *next == 0 {
        // Processes of one machine begin at different places.
        *next = u16::try_from(std::process::id() * 61 % u32::from(COUNT)).unwrap();
    }
    [(); N].map(|()| {
        loop {
            *next = (*next + 1) % COUNT;
            let port = FIRST + *next;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}
