//! What a planner asks for.

use clap::Args;

use super::rollout::{Rollout, Surge};
use crate::{error::BenchError, transport::Transport};

/// A service, its pods, and how they are replaced.
#[derive(Debug, Clone, Args)]
pub(crate) struct Ask {
    /// How many clients are connected at one time
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub(crate) connections: u64,
    /// What they connect over
    #[arg(long, value_enum, default_value_t = Transport::Websocket, value_name = "TRANSPORT")]
    transport: Transport,
    /// How many of them are WebTransport sessions, in percent, where there are both [default: 0 or 100, by --transport]
    #[arg(long, value_name = "PERCENT")]
    webtransport: Option<f64>,
    /// Events a second that one client receives
    #[arg(long, default_value_t = 1.0, value_name = "EVENTS")]
    pub(crate) rate: f64,
    /// The size of an event's data, in bytes
    #[arg(long, default_value_t = 1024.0, value_name = "BYTES")]
    pub(crate) bytes: f64,
    /// Events a frame: above 1 where a batch window gathers them
    #[arg(long, default_value_t = 1.0, value_name = "EVENTS")]
    pub(crate) frame: f64,
    /// How many of the clients have their frames compressed, in percent
    #[arg(long, default_value_t = 100.0, value_name = "PERCENT")]
    compressed: f64,
    /// What one of your events takes in a compressed frame, if you know it: browsers share windows, the receivers of the bench do not
    #[arg(long, value_name = "BYTES")]
    pub(crate) wire: Option<f64>,
    /// How many rooms there are
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub(crate) rooms: u64,
    /// How many of them a client is in
    #[arg(long, default_value_t = 1.0, value_name = "N")]
    pub(crate) rooms_each: f64,
    /// Events a second that backends publish [default: what the rooms' members receive]
    #[arg(long, value_name = "EVENTS")]
    publishes: Option<f64>,
    /// Events that one call of Redis takes: 1 when they come alone, 20 with 64 callers at once
    #[arg(long, default_value_t = 1.0, value_name = "EVENTS")]
    pub(crate) events_a_call: f64,
    /// The pods have no Redis: edges, which follow a home
    #[arg(long)]
    pub(crate) without_redis: bool,
    /// Cores of a pod, a worker on each
    #[arg(long, default_value_t = 2.0, value_name = "CORES")]
    pub(crate) cores: f64,
    /// The memory limit of a pod, in GiB; half of it is `memory_budget`
    #[arg(long, default_value_t = 4.0, value_name = "GIB")]
    pub(crate) memory: f64,
    /// The most connections of a pod (`max_connections`), in a rollout too [default: as many as were measured]
    #[arg(long, value_name = "N")]
    pub(crate) most: Option<f64>,
    /// How busy a pod's cores, and Redis', may be, in percent
    #[arg(long, default_value_t = 50.0, value_name = "PERCENT")]
    busy: f64,
    /// The least pods
    #[arg(long, default_value_t = 3, value_name = "PODS")]
    pub(crate) replicas: usize,
    /// How many of the pods may be missing at one time
    #[arg(long, default_value_t = 1, value_name = "PODS")]
    pub(crate) spare: usize,
    /// `maxSurge` of a rollout
    #[arg(long, default_value = "25%", value_name = "PODS", value_parser = Surge::parse)]
    surge: Surge,
    /// `minReadySeconds` of a rollout
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    min_ready: u32,
    /// `drain.window` of a rollout
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    window: u32,
    /// preStop and `drain.delay` of a rollout
    #[arg(long, default_value_t = 15, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=3_600))]
    wait: u32,
}

impl Ask {
    /// Refuses what no fleet has.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let above = [
            ("--connections", self.connections as f64, 1e9),
            ("--rate", self.rate, 1e6),
            ("--bytes", self.bytes, 1e7),
            ("--frame", self.frame, 1_000.0),
            ("--rooms", self.rooms as f64, 1e10),
            ("--rooms-each", self.rooms_each, 1e5),
            ("--events-a-call", self.events_a_call, 1e3),
            ("--cores", self.cores, 1_024.0),
            ("--memory", self.memory, 65_536.0),
            ("--most", self.most.unwrap_or(1.0), 1e7),
            ("--wire", self.wire.unwrap_or(1.0), 1e7),
            ("--busy", self.busy, 100.0),
            ("--min-ready", f64::from(self.min_ready) + 1.0, 1e4),
        ];
        let percent = [("--compressed", self.compressed), ("--webtransport", self.sessions() * 100.0)];
        let wrong = above.into_iter().find(|(_, value, most)| !(*value > 0.0 && value <= most));
        if let Some((name, _, most)) = wrong {
            return Err(BenchError::Usage(format!("{name} is above 0 and at most {most}")));
        }
        if let Some((name, _)) = percent.into_iter().find(|(_, value)| !(0.0..=100.0).contains(value)) {
            return Err(BenchError::Usage(format!("{name} is 0 to 100 percent")));
        }
        if self.rooms_each > self.rooms as f64 || self.publishes.is_some_and(|rate| !(0.0..=1e9).contains(&rate)) {
            let message = "--rooms-each is at most --rooms, and --publishes 0 to 1,000,000,000";
            return Err(BenchError::Usage(message.to_owned()));
        }
        if self.spare > 1_000 || self.replicas > 10_000 {
            return Err(BenchError::Usage("--spare is at most 1,000 and --replicas 10,000".to_owned()));
        }
        Ok(())
    }

    /// The share of WebTransport.
    pub(crate) fn sessions(&self) -> f64 {
        let share = |percent: f64| percent / 100.0;
        self.webtransport.map_or(f64::from(u8::from(self.transport == Transport::Webtransport)), share)
    }

    /// The share of clients whose frames are compressed.
    pub(crate) fn deflated(&self) -> f64 {
        self.compressed / 100.0
    }

    /// The share of cores that may be used.
    pub(crate) fn busy(&self) -> f64 {
        self.busy / 100.0
    }

    /// Members of one room, in the whole fleet.
    pub(crate) fn members(&self) -> f64 {
        self.connections as f64 * self.rooms_each / self.rooms as f64
    }

    /// Events a second of one room.
    pub(crate) fn room_rate(&self) -> f64 {
        self.rate / self.rooms_each
    }

    /// Events a second of all rooms.
    pub(crate) fn publishes(&self) -> f64 {
        self.publishes.unwrap_or(self.room_rate() * self.rooms as f64)
    }

    /// How pods are replaced.
    pub(crate) fn rollout(&self) -> Rollout {
        Rollout { surge: self.surge, min_ready: self.min_ready, wait: self.wait, window: self.window }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ask: Ask,
    }

    fn asked(arguments: &str) -> Ask {
        Line::try_parse_from(["size"].into_iter().chain(arguments.split_whitespace())).expect("arguments").ask
    }

    #[test]
    fn what_follows_of_what_is_asked() {
        let ask = asked("--connections 10000 --rooms 100 --rooms-each 5 --rate 10 --transport webtransport");
        assert_eq!((ask.members(), ask.room_rate(), ask.publishes(), ask.sessions()), (500.0, 2.0, 200.0, 1.0));
        assert!(ask.check().is_ok());
        assert_eq!(asked("--webtransport 30").sessions(), 0.3);
    }

    #[test]
    fn what_no_fleet_has_is_refused() {
        for wrong in ["--rate 0", "--busy 101", "--rooms 1 --rooms-each 2", "--webtransport 101", "--bytes NaN"] {
            assert!(matches!(asked(wrong).check(), Err(BenchError::Usage(_))), "{wrong}");
        }
    }
}
