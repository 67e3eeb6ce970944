//! What one of so many pods bears: its clients, its rooms, and what these cost it, by the laws.

use super::{
    ask::Ask,
    laws::{Beyond, Laws, Said},
    points::at,
};

/// A figure that was added up from laws, and what of it they were not measured for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figure {
    /// The sum.
    pub(crate) value: f64,
    /// Each once.
    pub(crate) beyond: Vec<Beyond>,
    /// The largest relative residual of the laws in it.
    pub(crate) largest: f64,
}

impl Figure {
    /// With so many times what a law says.
    fn and(mut self, times: f64, said: Said) -> Self {
        if times > 0.0 {
            self.value += times * said.value;
            self.largest = self.largest.max(said.largest);
            said.beyond.into_iter().for_each(|beyond| beyond.add_to(&mut self.beyond));
        }
        self
    }
}

/// One of so many pods.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Load {
    /// Connections that it holds.
    pub(crate) held: f64,
    /// Rooms that it has members of.
    pub(crate) rooms: f64,
    /// Members of such a room that it has.
    pub(crate) members: f64,
    /// Deliveries a second.
    pub(crate) deliveries: f64,
    /// CPU of frames, in cores.
    pub(crate) frames: Figure,
    /// CPU of pings.
    pub(crate) quiet: Figure,
    /// CPU of what it publishes to Redis.
    pub(crate) publishing: Figure,
    /// Bytes a second to its clients.
    pub(crate) egress: Figure,
    /// The pod's own memory, in KiB.
    pub(crate) memory: Figure,
    /// The kernel's, in KiB.
    pub(crate) kernel: Figure,
    /// CPU to send one event to all its members of one room, in us.
    pub(crate) fan_out: f64,
}

/// How many of so many pods have a member of a room, if its members are spread by chance.
pub(crate) fn pods_of_a_room(ask: &Ask, pods: usize) -> f64 {
    let pods = pods as f64;
    match pods > 1.0 {
        true => pods * (1.0 - (ask.members() * (1.0 - 1.0 / pods).ln()).exp()),
        false => pods.min(ask.members()),
    }
}

impl Load {
    /// A pod that holds `held` connections, where there are `pods` such pods.
    pub(crate) fn of(ask: &Ask, laws: &Laws, pods: usize, held: f64) -> Self {
        let share = pods_of_a_room(ask, pods) / pods as f64;
        let rooms = ask.rooms as f64 * share;
        let members = (held * ask.rooms_each / rooms).max(1.0);
        let [sessions, sockets] = [held * ask.sessions(), held * (1.0 - ask.sessions())];
        let (mut frames, mut egress) = (Figure::default(), Figure::default());
        let mut all = 0.0;
        for (transport, count) in [("websocket", sockets), ("webtransport", sessions)] {
            for (plain, share) in [("", ask.deflated()), ("-plain", 1.0 - ask.deflated())] {
                let wire = laws.at(&format!("wire-{transport}{plain}"), &at([("bytes", ask.bytes * ask.frame)]));
                let wire = match ask.wire {
                    Some(bytes) if plain.is_empty() => {
                        Said { value: bytes * ask.frame, beyond: Vec::new(), largest: 0.0 }
                    }
                    _ => wire,
                };
                let place = [("kib", wire.value / 1024.0), ("thousands", count / 1_000.0), ("members", members)];
                let frame = laws.at(&format!("frame-{transport}"), &at(place));
                let a_second = count * share * ask.rate / ask.frame;
                all += count / held * share * frame.value;
                frames = frames.and(a_second / 1e6, frame);
                egress = egress.and(a_second, wire);
            }
        }
        let quiet = laws.at("quiet", &at([("sockets", sockets), ("sessions", sessions)]));
        let publish = laws.at("publish", &at([("events_a_call", ask.events_a_call)]));
        let published = if ask.without_redis { 0.0 } else { ask.publishes() / pods as f64 };
        let memory = laws.at(
            "memory",
            &at([
                ("sockets", sockets),
                ("sessions", sessions),
                ("rooms", rooms),
                ("memberships", held * ask.rooms_each),
                ("redis", f64::from(u8::from(!ask.without_redis))),
            ]),
        );
        Self {
            held,
            rooms,
            members,
            deliveries: held * ask.rate,
            frames,
            quiet: Figure::default().and(1e-6, quiet),
            publishing: Figure::default().and(published / 1e6, publish),
            egress,
            memory: Figure::default().and(1.0, memory),
            kernel: Figure::default().and(sockets, laws.at("kernel", &at([]))),
            fan_out: members * all,
        }
    }

    /// All of its CPU, in cores.
    pub(crate) fn cores(&self) -> f64 {
        self.frames.value + self.quiet.value + self.publishing.value
    }

    /// All of its memory, in KiB.
    pub(crate) fn kib(&self) -> f64 {
        self.memory.value + self.kernel.value
    }
}

/// CPU of one client that comes, in us.
pub(crate) fn join(ask: &Ask, laws: &Laws) -> Figure {
    let [websocket, webtransport] = ["join-websocket", "join-webtransport"].map(|curve| laws.at(curve, &at([])));
    Figure::default().and(1.0 - ask.sessions(), websocket).and(ask.sessions(), webtransport)
}

/// What Redis' masters have to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Burden {
    /// CPU for all events, in cores.
    pub(crate) cores: Figure,
    /// Bytes a second to pods, envelopes left out.
    pub(crate) egress: f64,
    /// Memory of rooms, in KiB.
    pub(crate) rooms: Figure,
    /// Data in the logs, in KiB, where policies keep what they keep by themselves.
    pub(crate) logs: f64,
}

/// A log keeps so many events by itself, and none for longer (`history_size`, `history_age`).
const KEPT: (f64, f64) = (1_000.0, 300.0);

impl Burden {
    /// Of a fleet of so many pods.
    pub(crate) fn of(ask: &Ask, laws: &Laws, pods: usize) -> Self {
        let spread = pods_of_a_room(ask, pods);
        let event = laws.at("redis", &at([("events_a_call", ask.events_a_call), ("pods", spread)]));
        let rooms = ask.rooms as f64;
        let kept = KEPT.0.min(ask.publishes() / rooms * KEPT.1);
        Self {
            cores: Figure::default().and(ask.publishes() / 1e6, event),
            egress: ask.publishes() * ask.bytes * spread,
            rooms: Figure::default().and(1.0, laws.at("redis-memory", &at([("rooms", rooms)]))),
            logs: rooms * kept * ask.bytes / 1024.0,
        }
    }

    /// How many masters of one core that takes.
    pub(crate) fn masters(&self, busy: f64) -> f64 {
        (self.cores.value / busy).ceil().max(1.0)
    }
}
