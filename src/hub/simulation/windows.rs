//! Windows of rooms over whole histories: clients that inflate as RFC 7692 says, each with a real window, and read every message.
//!
//! Two workers, three rooms with a chain, clients that come, go, are in several rooms, read slowly, lose frames, fall behind, come
//! back through what they missed and are told things of their own. Encoders, chains, send queues and [`ClientWindow`] are the
//! pod's. Always holds: what a client inflates is what the frame that it was offered says, byte for byte.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use serde_json::value::RawValue;

use super::{
    script::{Random, WORKERS},
    window_client::{Plain, ROOMS, Unreadable, Weather, WindowClient, frames},
};
use crate::{
    hub::{
        connection::{
            budget::Budget,
            offer::QueueBounds,
            send_queue::{SendQueue, Waiting},
        },
        fanout::{
            broadcast::{Broadcast, Content},
            chain::FrameReach,
            encoder::Encoder,
            frame::Frame,
            room_window::RoomWindow,
            shared_windows::SharedWindows,
        },
        planted::{Fault, with_planted},
    },
    metrics::WindowMetrics,
    model::{Batch, Epoch, Event, Payload, Policy, Reply, Room},
    protocol::{DialectId, Dialects, Framing, WireFormat},
};

const CLIENTS: usize = 30;
const SLOW_LIMIT: usize = 4_000;

struct WindowHistory {
    random: Random,
    weather: Weather,
    budget: Arc<Budget>,
    policy: Arc<Policy>,
    names: Vec<Room>,
    windows: Vec<Arc<RoomWindow>>,
    encoders: Vec<Encoder>,
    /// What each worker has not sent yet.
    backlogs: Vec<VecDeque<(usize, Arc<Broadcast>)>>,
    /// What was sent of each room lately: for those that come back.
    sent: Vec<VecDeque<Arc<Broadcast>>>,
    /// By the address of a frame's bytes, which are kept so that no other frame gets it.
    plain: HashMap<usize, (Frame, Plain)>,
    clients: Vec<WindowClient>,
    offsets: [u64; ROOMS],
    /// Compressed deliveries to clients that keep their window, chained and in all.
    deliveries: (u64, u64),
}

impl WindowHistory {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut random = Random::new(seed);
        let budget = Arc::new(Budget::new(usize::MAX));
        let windows = Arc::new(SharedWindows::new(6, 64 << 20, WindowMetrics::default()));
        let policy = Policy { compress_from: Some([0, 200, 256][random.below(3)]), ..Policy::default() };
        let encoder = |_| Encoder::new(Arc::new(Dialects::default()), 6, Arc::clone(&budget));
        Self {
            encoders: (0..WORKERS).map(encoder).collect(),
            windows: (0..ROOMS).map(|_| Arc::new(RoomWindow::new(Arc::clone(&windows)))).collect(),
            names: (0..ROOMS).map(|room| Room::parse(&format!("line:{room}")).expect("a name")).collect(),
            clients: (0..CLIENTS).map(|_| WindowClient::new(&mut random, weather)).collect(),
            budget: Arc::clone(&budget),
            policy: Arc::new(policy),
            backlogs: vec![VecDeque::new(); WORKERS],
            sent: vec![VecDeque::new(); ROOMS],
            plain: HashMap::new(),
            offsets: [0; ROOMS],
            deliveries: (0, 0),
            random,
            weather,
        }
    }

    /// An event like those of a fleet of vehicles; now and then a long one, a short one, or one that says nothing twice.
    fn event(&mut self, room: usize) -> Event {
        self.offsets[room] += 1;
        let random = &mut self.random;
        let noise: String =
            (0..random.below(40) * random.below(20)).map(|_| char::from(33 + random.below(90) as u8)).collect();
        let noise = noise.replace(['"', '\\'], "");
        let data = match random.below(12) {
            0 => format!("\"{noise}\""),
            1 => "1".to_owned(),
            2 => format!("[{}]", vec!["\"the same again\""; 1 + random.below(300)].join(",")),
            _ => format!(
                r#"{{"vehicle":"tram-{}","line":"{room}","lat":52.{:05},"lon":13.{:05},"speed":{},"status":"in_transit","next":"stop-{}"}}"#,
                random.below(30),
                random.below(100_000),
                random.below(100_000),
                random.below(80),
                random.below(200),
            ),
        };
        Event {
            offset: self.offsets[room],
            time: 1_790_000_000_000 + self.offsets[room] * 997,
            room: None,
            topic: "position".into(),
            key: None,
            payload: Payload::Json(RawValue::from_string(data).expect("JSON")),
            user: None,
            id: None,
        }
    }

    fn publish(&mut self, room: usize) {
        let after = self.offsets[room];
        let events = (0..=self.random.below(8) / 7).map(|_| Arc::new(self.event(room))).collect();
        let (name, epoch, offset) = (self.names[room].clone(), Epoch::new("e"), self.offsets[room]);
        let batch = Batch { room: name, epoch, after, offset, events };
        let broadcast = Broadcast::new(Content::Events(batch), Arc::clone(&self.policy), Instant::now());
        let broadcast = Arc::new(broadcast.in_window(Some(&self.windows[room])));
        self.backlogs.iter_mut().for_each(|backlog| backlog.push_back((room, Arc::clone(&broadcast))));
        self.sent[room].push_back(broadcast);
        if self.sent[room].len() > 8 {
            self.sent[room].pop_front();
        }
    }

    /// What a frame says, whatever it is compressed to.
    fn note(&mut self, worker: usize, broadcast: &Broadcast, frame: &Frame) {
        let at = frame.bytes().as_ptr() as usize;
        if !self.plain.contains_key(&at) {
            let format = WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing: Framing::websocket(None) };
            let plain = self.encoders[worker].independent(broadcast, format);
            let messages = frames(plain.bytes()).into_iter().map(|(_, message)| message.to_vec()).collect();
            self.plain.insert(at, (frame.clone(), Arc::new(messages)));
        }
    }

    /// Sends a worker's next broadcast to its members, as `FanOut::serve` does.
    fn serve(&mut self, worker: usize) -> Result<(), Unreadable> {
        let Some((room, broadcast)) = self.backlogs[worker].pop_front() else { return Ok(()) };
        let mut formats = Vec::new();
        for client in self.clients.iter().filter(|client| client.worker == worker && client.rooms[room]) {
            if !formats.contains(&client.format) {
                formats.push(client.format);
            }
        }
        for format in formats {
            let frame = self.encoders[worker].frame(&broadcast, format);
            self.note(worker, &broadcast, &frame);
            let mut reach = FrameReach::default();
            for at in 0..self.clients.len() {
                let client = &self.clients[at];
                if client.worker != worker || !client.rooms[room] || client.format != format {
                    continue;
                }
                reach.took += u64::from(client.window.takes(&frame, client.queue.is_some()));
                self.offer(at, &broadcast, &frame)?;
                reach.receivers += 1;
                reach.stayed += u64::from(self.clients[at].window.holds(&frame));
            }
            self.windows[room].served(format, worker, frame.window(), reach);
        }
        Ok(())
    }

    /// Offers a frame as fan-outs and joins do: the independent one where the client cannot read it.
    fn offer(&mut self, at: usize, broadcast: &Arc<Broadcast>, frame: &Frame) -> Result<(), Unreadable> {
        let client = &mut self.clients[at];
        let mut readable = frame.clone();
        if !client.window.takes(frame, client.queue.is_some()) {
            readable = self.encoders[client.worker].independent(broadcast, client.format);
            self.note(self.clients[at].worker, broadcast, &readable);
        }
        let client = &mut self.clients[at];
        if client.format.framing.keeps_window() && frame.leaves().is_some() {
            self.deliveries.1 += 1;
            self.deliveries.0 += u64::from(!readable.is_independent());
        }
        if let Some(queue) = &mut client.queue {
            client.window.queued(&readable);
            let bounds = QueueBounds { limit: SLOW_LIMIT, spent: false };
            let _ = queue.offer(&readable, bounds);
            if queue.queued_bytes() > SLOW_LIMIT {
                queue.drop_oldest(SLOW_LIMIT / 2);
            }
            return Ok(());
        }
        client.window.written(&readable);
        if client.stuck {
            // The kernel takes a part; the rest leaves first, whatever waits behind it.
            let mut queue = SendQueue::new(Arc::clone(&self.budget));
            queue.keep_sealed(readable.bytes()[1..].to_vec());
            client.queue = Some(queue);
        }
        let plain = self.plain.get(&(readable.bytes().as_ptr() as usize)).map(|(_, plain)| Arc::clone(plain));
        client.read(readable.bytes(), plain.as_ref())
    }

    /// A client reads again, for so many frames.
    fn drain(&mut self, at: usize, most: usize) -> Result<(), Unreadable> {
        let client = &mut self.clients[at];
        for _ in 0..most {
            let Some(queue) = &mut client.queue else { break };
            // It was read when it was begun.
            if queue.take_sealed().is_some() || queue.take_gap().is_some() {
                continue;
            }
            match queue.take() {
                Some(Waiting::Shared(frame)) => {
                    let plain = self.plain.get(&(frame.bytes().as_ptr() as usize)).map(|(_, plain)| Arc::clone(plain));
                    client.read(frame.bytes(), plain.as_ref())?;
                }
                Some(Waiting::Private(bytes)) => client.read(&bytes, None)?,
                None => client.queue = None,
            }
        }
        Ok(())
    }

    /// A client that comes back into a room gets what it missed: read from the log, or held as it was sent.
    fn come_back(&mut self, at: usize, room: usize) -> Result<(), Unreadable> {
        let recovered = self.random.below(2) == 0;
        for broadcast in self.sent[room].clone() {
            let Content::Events(batch) = &broadcast.content else { continue };
            if self.backlogs[self.clients[at].worker].iter().any(|(_, waiting)| Arc::ptr_eq(waiting, &broadcast)) {
                break;
            }
            let broadcast = if recovered {
                let content = Content::Events(batch.clone());
                Arc::new(Broadcast::new(content, Arc::clone(&self.policy), Instant::now()).recovered())
            } else {
                broadcast
            };
            let (worker, format) = (self.clients[at].worker, self.clients[at].format);
            let frame = self.encoders[worker].frame(&broadcast, format);
            self.note(worker, &broadcast, &frame);
            self.offer(at, &broadcast, &frame)?;
        }
        Ok(())
    }

    /// One thing that happens to a client.
    fn disturb(&mut self) -> Result<(), Unreadable> {
        let at = self.random.below(CLIENTS as u64);
        let room = self.random.below(ROOMS as u64);
        if self.random.below(self.weather.churn) == 0 {
            match self.random.below(4) {
                0 => self.clients[at] = WindowClient::new(&mut self.random, self.weather),
                1 => self.clients[at].rooms[room] = false,
                2 if self.weather.rooms > 1 => self.clients[at].rooms[room] = true,
                _ => self.come_back(at, room)?,
            }
        }
        if self.random.below(self.weather.slow) == 0 {
            let name = self.names[room].clone();
            let client = &mut self.clients[at];
            match self.random.below(3) {
                0 => client.stuck = !client.stuck,
                1 => drop(client.queue.as_mut().and_then(|queue| queue.drop_room(&name))),
                _ => drop(client.queue.as_mut().map(|queue| queue.drop_oldest(500))),
            }
        }
        // A reply, which is not compressed, however like an event it is.
        let mut bytes = Vec::new();
        let (worker, format) = (self.clients[at].worker, self.clients[at].format);
        let reply = Reply::Unsubscribed { room: self.names[room].clone(), code: None };
        self.encoders[worker].reply(format, &reply, None, &mut bytes);
        match &mut self.clients[at].queue {
            Some(queue) => queue.push(Waiting::Private(bytes.into())),
            None => self.clients[at].read(&bytes, None)?,
        }
        for at in 0..CLIENTS {
            if !self.clients[at].stuck {
                let most = 1 + self.random.below(4);
                self.drain(at, most)?;
            }
        }
        Ok(())
    }

    fn run(&mut self, steps: usize) -> Result<(), Unreadable> {
        for _ in 0..steps {
            let room = self.random.below(ROOMS as u64);
            self.publish(room);
            self.disturb()?;
            for worker in 0..WORKERS {
                // One worker may be some broadcasts behind the other.
                while self.backlogs[worker].len() > 6 || (self.random.below(3) > 0 && !self.backlogs[worker].is_empty())
                {
                    self.serve(worker)?;
                }
            }
        }
        (0..WORKERS).try_for_each(|worker| (0..8).try_for_each(|_| self.serve(worker)))?;
        for at in 0..CLIENTS {
            self.drain(at, usize::from(u16::MAX))?;
        }
        Ok(())
    }
}

/// Rough weather: everything happens often.
const ROUGH: Weather = Weather { churn: 3, slow: 3, rooms: 3 };

fn run(seed: u64, weather: Weather, steps: usize) -> Result<(u64, u64), Unreadable> {
    let mut history = WindowHistory::new(seed, weather);
    history.run(steps)?;
    Ok(history.deliveries)
}

#[test]
fn every_message_inflates_to_its_bytes() {
    let mut all = (0, 0);
    for seed in 0..20 {
        let (chained, delivered) = run(seed, ROUGH, 250).unwrap_or_else(|Unreadable(why)| panic!("seed {seed}: {why}"));
        all = (all.0 + chained, all.1 + delivered);
    }
    println!("{} of {} compressed deliveries were chained", all.0, all.1);
    assert!(all.0 > 2_000, "{all:?}: rough weather leaves something to look at");
}

#[test]
fn nearly_all_is_chained_in_a_steady_room() {
    for (what, weather) in [
        ("steady", Weather { churn: u64::MAX, slow: u64::MAX, rooms: 1 }),
        ("a member in a thousand comes or goes with each event", Weather { churn: 33, slow: u64::MAX, rooms: 1 }),
    ] {
        let mut history = WindowHistory::new(7, weather);
        // What comes before a room's window has begun does not count.
        history.run(300).unwrap_or_else(|Unreadable(why)| panic!("{why}"));
        history.deliveries = (0, 0);
        history.run(1_500).unwrap_or_else(|Unreadable(why)| panic!("{why}"));
        let (chained, delivered) = history.deliveries;
        println!("{what}: {chained} of {delivered}");
        assert!(chained * 100 > delivered * 90, "{what}: {chained} of {delivered}");
    }
}

#[test]
fn planted_faults_of_windows_are_found() {
    for fault in [Fault::UncomparedWindow, Fault::ChainedWaits, Fault::WindowKept, Fault::RepeatedMark] {
        let found = with_planted(Some(fault), || (0..60).find_map(|seed| run(seed, ROUGH, 250).err().map(|_| seed)));
        println!("{fault:?}: seed {found:?}");
        assert!(found.is_some(), "{fault:?} was not found");
    }
}
