//! How many pods: the fewest that bear the service with some of them missing, and while all of them are replaced.

use super::{
    ask::Ask,
    laws::Laws,
    load::{Burden, Figure, Load, join},
    rollout::Moves,
};
use crate::error::BenchError;

/// The most pods that are tried.
const MOST_PODS: usize = 20_000;
/// How busy a pod may be while clients of others come to it.
const BUSIEST: f64 = 0.9;

/// Why there are not fewer pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The least that were asked for.
    Replicas,
    /// Connections of the fullest pod of a rollout, or with some pods missing.
    Connections,
    /// CPU, with some pods missing.
    Cpu,
    /// CPU, while clients of pods that go come.
    CpuOfARollout,
    /// Memory, of the fullest pod of a rollout or with some pods missing.
    Memory,
}

/// A fleet that bears it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// How many pods.
    pub(crate) pods: usize,
    /// Why not fewer.
    pub(crate) reason: Reason,
    /// One pod of all.
    pub(crate) all: Load,
    /// One pod where some are missing.
    pub(crate) missing: Load,
    /// The fullest pod of a rollout.
    pub(crate) fullest: Load,
    /// Where clients go meanwhile.
    pub(crate) moves: Moves,
    /// CPU of one client that comes, in us.
    pub(crate) join: Figure,
    /// Clients that come to one pod in the worst second.
    pub(crate) come: f64,
    /// Redis', if there is one.
    pub(crate) burden: Option<Burden>,
}

impl Reason {
    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Replicas => "the least that were asked for",
            Self::Connections => "connections of the fullest pod",
            Self::Cpu => "CPU, with the spare pods missing",
            Self::CpuOfARollout => "CPU while a rollout lasts",
            Self::Memory => "memory",
        }
    }
}

impl Plan {
    /// The fewest pods, to one in a hundred. Fails if no number of them would do.
    pub(crate) fn of(ask: &Ask, laws: &Laws) -> Result<Self, BenchError> {
        ask.check()?;
        let most = ask.most.unwrap_or_else(|| measured(ask, laws));
        let by_connections = (ask.connections as f64 / most).ceil() as usize + ask.spare;
        let least = ask.replicas.max(ask.spare + 1).max(by_connections);
        let mut reason = if by_connections >= least { Reason::Connections } else { Reason::Replicas };
        let mut pods = least;
        while pods <= MOST_PODS {
            match Self::with(ask, laws, pods, most) {
                Ok(plan) => return Ok(Self { reason, ..plan }),
                Err(fault) => reason = fault,
            }
            // Steps of a percent, so that thousands of pods are found at once.
            pods += (pods / 100).max(1);
        }
        Err(BenchError::Usage(format!(
            "{MOST_PODS} pods of {} cores and {} GiB are too few, by {}: give a pod more (--cores, --memory)",
            ask.cores,
            ask.memory,
            reason.words()
        )))
    }

    /// With so many pods, or what these cannot bear.
    fn with(ask: &Ask, laws: &Laws, pods: usize, most: f64) -> Result<Self, Reason> {
        let each = |pods: usize| ask.connections as f64 / pods as f64;
        let room = ask.memory / 2.0 * f64::from(1 << 20);
        let bears = |load: &Load| match (load.held > most, load.kib() > room) {
            (true, _) => Err(Reason::Connections),
            (_, true) => Err(Reason::Memory),
            _ => Ok(()),
        };
        let left = pods - ask.spare;
        let missing = Load::of(ask, laws, left, each(left));
        if missing.cores() > ask.cores * ask.busy() {
            return Err(Reason::Cpu);
        }
        bears(&missing)?;
        // The model takes longer than all laws together.
        let moves = ask.rollout().of(pods);
        let plan = Self {
            pods,
            reason: Reason::Replicas,
            all: Load::of(ask, laws, pods, each(pods)),
            missing,
            fullest: Load::of(ask, laws, pods, each(pods) * moves.fullest),
            moves,
            join: join(ask, laws),
            come: moves.one * each(pods),
            burden: (!ask.without_redis).then(|| Burden::of(ask, laws, pods)),
        };
        bears(&plan.fullest)?;
        match plan.cores_of_a_rollout() > ask.cores * BUSIEST {
            true => Err(Reason::CpuOfARollout),
            false => Ok(plan),
        }
    }

    /// CPU of the fullest pod of a rollout, in cores.
    pub(crate) fn cores_of_a_rollout(&self) -> f64 {
        self.fullest.cores() + self.come * self.join.value / 1e6
    }

    /// The most memory of a pod, in KiB, of a rollout and of pods that are missing.
    pub(crate) fn most_kib(&self) -> f64 {
        self.fullest.kib().max(self.missing.kib())
    }

    /// The most connections of a pod.
    pub(crate) fn most_held(&self) -> f64 {
        self.fullest.held.max(self.missing.held)
    }
}

/// The most connections that one pod was measured with.
fn measured(ask: &Ask, laws: &Laws) -> f64 {
    let limit = |parameter, share: f64| match share > 0.0 {
        true => laws.most("memory", parameter) / share,
        false => f64::INFINITY,
    };
    limit("sockets", 1.0 - ask.sessions()).min(limit("sessions", ask.sessions()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::sizing::{load::pods_of_a_room, points::Points};

    #[derive(Parser)]
    struct Asked {
        #[command(flatten)]
        ask: Ask,
    }

    fn ask(arguments: &str) -> Ask {
        Asked::try_parse_from(["size"].into_iter().chain(arguments.split_whitespace())).expect("arguments").ask
    }

    fn laws() -> Laws {
        Laws::of(&Points::committed().expect("points")).expect("laws")
    }

    fn plan(arguments: &str) -> Plan {
        Plan::of(&ask(arguments), &laws()).expect("a plan")
    }

    #[test]
    fn the_least_pods_are_enough_for_few() {
        let plan = plan("--connections 100 --replicas 3 --spare 1");
        assert_eq!((plan.pods, plan.reason), (3, Reason::Replicas));
        assert!((plan.all.held - 100.0 / 3.0).abs() < 1e-9 && plan.missing.held == 50.0, "{plan:?}");
    }

    #[test]
    fn what_is_short_decides() {
        let many = "--connections 1000000 --rate 0.01 --cores 64 --memory 1024";
        assert_eq!(plan(&format!("{many} --most 10000")).reason, Reason::Connections);
        let full = plan(&format!("{many} --most 10000"));
        assert!((101..115).contains(&full.pods) && full.most_held() <= 10_000.0, "{full:?}");
        let busy = plan("--connections 100000 --rate 50 --cores 1 --memory 1024");
        assert_eq!(busy.reason, Reason::Cpu);
        assert!(busy.missing.cores() <= 0.5, "{busy:?}");
        let small = plan("--connections 100000 --rate 0.01 --transport webtransport --cores 64 --memory 0.5");
        assert_eq!(small.reason, Reason::Memory);
        assert!(small.most_kib() <= 262_144.0, "{small:?}");
    }

    #[test]
    fn more_of_anything_is_never_fewer_pods() {
        let base = "--connections 500000 --rate 2";
        let pods = plan(base).pods;
        for more in ["--bytes 8000", "--compressed 0", "--spare 4", "--rooms 50000", "--busy 30"] {
            assert!(plan(&format!("{base} {more}")).pods >= pods, "{more}");
        }
        for less in ["--frame 8", "--cores 8 --most 100000", "--wire 80"] {
            assert!(plan(&format!("{base} {less}")).pods <= pods, "{less}");
        }
    }

    #[test]
    fn what_no_pod_bears_is_refused() {
        let error = Plan::of(&ask("--connections 1000 --rooms 100 --memory 0.001"), &laws()).expect_err("too small");
        assert!(error.to_string().contains("memory"), "{error}");
    }

    #[test]
    fn members_meet_by_chance() {
        // A room of one member is on one pod; one of many is on all.
        assert!((pods_of_a_room(&ask("--connections 1000 --rooms 1000"), 10) - 1.0).abs() < 1e-9);
        assert!((pods_of_a_room(&ask("--connections 100000 --rooms 10"), 10) - 10.0).abs() < 1e-6);
        let of_two = pods_of_a_room(&ask("--connections 2000 --rooms 1000"), 10);
        assert!((of_two - 1.9).abs() < 1e-9, "{of_two}");
    }

    #[test]
    fn edges_have_no_redis() {
        let plan = plan("--connections 1000 --without-redis");
        assert!(plan.burden.is_none() && plan.all.publishing.value == 0.0);
    }
}
