//! An ocean between a home and a region: each link over it goes through a proxy that delays, counts and cuts.
//!
//! Never looks into what it carries. Always holds: bytes of a connection and a direction keep their order and none is lost while both of
//! its ends stand; a direction that is cut holds what comes, as a network does whose lost packets are sent again; bytes are counted when they
//! arrive. The threads of a connection end with it, and with the ocean.

use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    error::{BenchError, Doing as _},
    stats::{Latencies, Percentiles},
};

mod passage;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    /// From a pod of the region to the home.
    Home,
    /// From the home to the region.
    Region,
}

/// Bytes that arrived, above TCP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Crossed {
    /// At the home.
    pub(crate) home: u64,
    /// In the region.
    pub(crate) region: u64,
}

impl Crossed {
    /// What arrived since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { home: self.home.saturating_sub(before.home), region: self.region.saturating_sub(before.region) }
    }
}

/// An ocean. It ends, with all links over it, when this is dropped.
pub(crate) struct Ocean {
    waters: Arc<Waters>,
    shores: Vec<SocketAddr>,
}

impl Ocean {
    /// Bytes need so long to cross it.
    pub(crate) fn new(delay: Duration) -> Self {
        let waters = Waters {
            delay,
            weather: Mutex::default(),
            changed: Condvar::new(),
            crossed: Default::default(),
            late: Mutex::new(Latencies::new()),
            connections: Mutex::default(),
        };
        Self { waters: Arc::new(waters), shores: Vec::new() }
    }

    /// How long bytes need.
    pub(crate) fn delay(&self) -> Duration {
        self.waters.delay
    }

    /// An address in the region that leads to this one at home.
    pub(crate) fn lead_to(&mut self, home: SocketAddr) -> Result<SocketAddr, BenchError> {
        let doing = || "making a way over the ocean".to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").doing(doing)?;
        let shore = listener.local_addr().doing(doing)?;
        let waters = Arc::clone(&self.waters);
        thread::Builder::new().name("ocean".to_owned()).spawn(move || accept(&listener, home, &waters)).doing(doing)?;
        self.shores.push(shore);
        Ok(shore)
    }

    /// What has arrived by now.
    pub(crate) fn crossed(&self) -> Crossed {
        let [home, region] = &self.waters.crossed;
        Crossed { home: home.load(Ordering::Relaxed), region: region.load(Ordering::Relaxed) }
    }

    /// By how much bytes arrived later than the delay says, since this was asked last: what the machine adds.
    pub(crate) fn late(&self) -> Percentiles {
        let mut late = lock(&self.waters.late);
        let percentiles = late.percentiles();
        late.clear();
        percentiles
    }

    /// From now on bytes in this direction wait, of new connections too; or they go on.
    pub(crate) fn hold(&self, towards: Towards, held: bool) {
        lock(&self.waters.weather).held[towards as usize] = held;
        self.waters.changed.notify_all();
    }

    /// Ends all connections now, and new ones at once until it is told otherwise.
    pub(crate) fn sink(&self, sinks: bool) {
        lock(&self.waters.weather).sinks = sinks;
        if sinks {
            self.waters.end_connections();
        }
    }
}

impl Drop for Ocean {
    fn drop(&mut self) {
        lock(&self.waters.weather).over = true;
        self.waters.changed.notify_all();
        self.waters.end_connections();
        for shore in &self.shores {
            // Wakes the thread that accepts.
            drop(TcpStream::connect(shore));
        }
    }
}

/// What is the case now.
#[derive(Debug, Default)]
struct Weather {
    held: [bool; 2],
    sinks: bool,
    over: bool,
}

/// The two ends of a connection: in the region, and at home.
type Ends = [TcpStream; 2];

/// What all connections share.
struct Waters {
    delay: Duration,
    weather: Mutex<Weather>,
    changed: Condvar,
    /// By [`Towards`].
    crossed: [AtomicU64; 2],
    late: Mutex<Latencies>,
    connections: Mutex<Vec<Weak<Ends>>>,
}

impl Waters {
    /// Waits while a direction is held. Whether the ocean is still there.
    fn wait(&self, towards: Towards) -> bool {
        let weather = lock(&self.weather);
        let waits = |weather: &mut Weather| weather.held[towards as usize] && !weather.over;
        let weather = self.changed.wait_while(weather, waits).unwrap_or_else(PoisonError::into_inner);
        !weather.over
    }

    fn arrived(&self, towards: Towards, bytes: usize) {
        self.crossed[towards as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn end_connections(&self) {
        for ends in lock(&self.connections).drain(..).filter_map(|ends| ends.upgrade()) {
            end(&ends);
        }
    }
}

fn end(ends: &Ends) {
    for socket in ends {
        // It may have ended by itself.
        drop(socket.shutdown(Shutdown::Both));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, home: SocketAddr, waters: &Arc<Waters>) {
    for region in listener.incoming() {
        let (over, sinks) = {
            let weather = lock(&waters.weather);
            (weather.over, weather.sinks)
        };
        if over {
            return;
        }
        let Ok(region) = region else { continue };
        if sinks {
            continue;
        }
        // A home that is not there: the connection ends, as the region's next attempt will.
        let Ok(home) = TcpStream::connect(home) else { continue };
        let ends = Arc::new([region, home]);
        let mut connections = lock(&waters.connections);
        connections.retain(|ends| ends.strong_count() > 0);
        connections.push(Arc::downgrade(&ends));
        drop(connections);
        if passage::begin(waters, &ends).is_err() {
            end(&ends);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        time::Instant,
    };

    use super::*;

    const DELAY: Duration = Duration::from_millis(20);

    /// A home that answers each byte with two.
    fn home() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut byte = [0];
                    while let Ok(1) = stream.read(&mut byte) {
                        if stream.write_all(&[byte[0], byte[0]]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn connect(shore: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(shore).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream
    }

    fn asks(stream: &mut TcpStream, byte: u8) {
        stream.write_all(&[byte]).expect("written");
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, [byte; 2]);
    }

    #[test]
    fn both_ways_take_their_time_and_are_counted() {
        let mut ocean = Ocean::new(DELAY);
        let mut stream = connect(ocean.lead_to(home()).expect("a way"));
        for byte in 1..=3 {
            let began = Instant::now();
            asks(&mut stream, byte);
            assert!(began.elapsed() >= 2 * DELAY, "{:?}", began.elapsed());
        }
        let crossed = ocean.crossed();
        assert_eq!(crossed, Crossed { home: 3, region: 6 });
        assert_eq!(Crossed { home: 5, region: 7 }.since(crossed), Crossed { home: 2, region: 1 });
        // The last of it is noted behind its arrival.
        let (began, mut noted) = (Instant::now(), 0);
        while noted < 6 && began.elapsed() < Duration::from_secs(10) {
            noted += ocean.late().count;
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(noted, 6);
        assert_eq!(ocean.late().count, 0, "it begins anew");
    }

    #[test]
    fn a_direction_that_is_cut_holds_what_comes_and_then_lets_it_go() {
        for towards in [Towards::Home, Towards::Region] {
            let mut ocean = Ocean::new(Duration::from_millis(1));
            let mut stream = connect(ocean.lead_to(home()).expect("a way"));
            asks(&mut stream, 1);
            ocean.hold(towards, true);
            stream.write_all(&[2]).expect("written");
            stream.set_read_timeout(Some(Duration::from_millis(200))).expect("an option");
            assert!(stream.read_exact(&mut [0; 2]).is_err(), "{towards:?} is cut");
            let home = if towards == Towards::Home { 1 } else { 2 };
            assert_eq!(ocean.crossed(), Crossed { home, region: 2 });
            ocean.hold(towards, false);
            stream.set_read_timeout(None).expect("an option");
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!((answer, ocean.crossed()), ([2; 2], Crossed { home: 2, region: 4 }));
        }
    }

    #[test]
    fn what_sinks_ends_and_new_ones_too_until_the_sea_is_calm() {
        let mut ocean = Ocean::new(Duration::ZERO);
        let shore = ocean.lead_to(home()).expect("a way");
        let mut stream = connect(shore);
        asks(&mut stream, 1);
        ocean.sink(true);
        assert!(!matches!(stream.read(&mut [0; 2]), Ok(1..)), "it has ended");
        assert!(!matches!(connect(shore).read(&mut [0; 2]), Ok(1..)), "a new one ends too");
        ocean.sink(false);
        asks(&mut connect(shore), 2);
        drop(ocean);
        let gone = TcpStream::connect(shore).and_then(|mut stream| stream.read(&mut [0; 2]));
        assert!(!matches!(gone, Ok(1..)), "the ocean is gone");
    }

    #[test]
    fn an_end_crosses_behind_what_was_said() {
        let mut ocean = Ocean::new(DELAY);
        let mut stream = connect(ocean.lead_to(home()).expect("a way"));
        stream.write_all(&[1, 2]).expect("written");
        stream.shutdown(Shutdown::Write).expect("an end");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("answers, and the home's end");
        assert_eq!(all, [1, 1, 2, 2]);
    }
}
