//! Where clients go while a Deployment is replaced, as expectations: the model of docs/OPERATIONS.md ("What a rollout costs"), step by step.
//!
//! A Deployment does not wait for the end of a pod that goes, only for new ones to be ready. A pod that goes keeps its clients for preStop
//! and the drain's delay, then sends them away evenly over the window, to all pods that count and do not go: old ones too, which go later.

/// How a fleet is replaced.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rollout {
    /// How many pods are made ahead.
    pub(crate) surge: Surge,
    /// How long a new pod must be ready before an old one goes, in seconds.
    pub(crate) min_ready: u32,
    /// From the order to end until clients are sent away, in seconds: preStop and `drain.delay`.
    pub(crate) wait: u32,
    /// Over how long clients are sent away, in seconds: `drain.window`.
    pub(crate) window: u32,
}

/// `maxSurge`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Surge {
    /// Pods.
    Pods(usize),
    /// Percent of the pods, rounded up.
    Percent(usize),
}

/// How long a pod takes from its start until it is ready, in seconds.
const START: u32 = 4;

/// What becomes of the clients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moves {
    /// How often a client moves.
    pub(crate) each: f64,
    /// What the fullest pod holds, over what each held before.
    pub(crate) fullest: f64,
    /// The most clients that move in one second, over those of one pod.
    pub(crate) all: f64,
    /// The most of them that come to one pod.
    pub(crate) one: f64,
    /// From the first new pod to the last end.
    pub(crate) seconds: u32,
}

impl Surge {
    /// From `2` or `25%`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a number of pods nor a percentage above 0: 2 or 25%");
        let (digits, percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        match digits.parse() {
            Ok(number @ 1..=10_000) => Ok(if percent { Self::Percent(number) } else { Self::Pods(number) }),
            _ => Err(wrong()),
        }
    }

    fn of(self, pods: usize) -> usize {
        match self {
            Self::Pods(number) => number,
            Self::Percent(percent) => (pods * percent).div_ceil(100),
        }
    }
}

/// A pod's share of clients, in units of what each pod held before, and when it counts.
struct Holder {
    held: f64,
    from: u32,
    gone: u32,
}

impl Rollout {
    /// Of so many pods.
    pub(crate) fn of(&self, pods: usize) -> Moves {
        let ahead = self.surge.of(pods).max(1);
        let counts = |n: usize| u32::try_from(n / ahead + 1).unwrap_or(u32::MAX / 1_000) * (START + self.min_ready);
        let window = self.window.max(1);
        let mut old: Vec<Holder> = (0..pods).map(|n| Holder { held: 1.0, from: 0, gone: counts(n) }).collect();
        let mut new: Vec<Holder> = (0..pods).map(|n| Holder { held: 0.0, from: counts(n), gone: u32::MAX }).collect();
        let seconds = counts(pods.saturating_sub(1)) + self.wait + window;
        let mut moves = Moves { each: 0.0, fullest: 1.0, all: 0.0, one: 0.0, seconds };
        for now in 0..seconds {
            let mut leaving = 0.0;
            for pod in &mut old {
                let left = (pod.gone + self.wait + window).saturating_sub(now);
                if (1..=window).contains(&left) {
                    let part = pod.held / f64::from(left);
                    leaving += part;
                    pod.held -= part;
                }
            }
            if leaving == 0.0 {
                continue;
            }
            let open = |pod: &Holder| pod.from <= now && pod.gone > now;
            let share = leaving / old.iter().chain(&new).filter(|pod| open(pod)).count().max(1) as f64;
            for pod in old.iter_mut().chain(&mut new).filter(|pod| open(pod)) {
                pod.held += share;
                moves.fullest = moves.fullest.max(pod.held);
            }
            moves.each += leaving / pods as f64;
            moves.all = moves.all.max(leaving);
            moves.one = moves.one.max(share);
        }
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::thousands;

    /// What the table of docs/OPERATIONS.md says, which a test of the chart compares with its own model.
    #[test]
    fn it_is_the_model_of_the_operators_table() {
        let text = include_str!("../../../docs/OPERATIONS.md");
        let (_, table) = text.split_once("| pods | `maxSurge` | `minReadySeconds` |").expect("the table");
        let mut rows = 0;
        for line in table.lines().skip(2).take_while(|line| line.starts_with("| ")) {
            let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
            let surge = Surge::parse(cells[1]).expect("a surge");
            let min_ready = cells[2].parse().expect("seconds");
            let rollout = Rollout { surge, min_ready, wait: 15, window: 60 };
            let said = rollout.of(cells[0].parse().expect("pods"));
            let rounded = |clients: f64| thousands(((clients * 50_000.0 / 10.0).round() * 10.0) as u64);
            let shown = [
                format!("{:.2}", said.each),
                format!("{:.2} times", said.fullest),
                rounded(said.all),
                rounded(said.one),
                format!("{} s", said.seconds),
            ];
            assert_eq!(shown.as_slice(), &cells[3..], "{line}");
            rows += 1;
        }
        assert!(rows >= 9, "{rows} rows");
    }

    #[test]
    fn a_surge_is_pods_or_a_percentage() {
        assert_eq!(Surge::parse("2"), Ok(Surge::Pods(2)));
        assert_eq!(Surge::parse("25%").map(|surge| surge.of(3)), Ok(1));
        assert_eq!(Surge::parse("25%").map(|surge| surge.of(5)), Ok(2));
        for wrong in ["0", "", "%", "-1", "25 %"] {
            assert!(Surge::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_client_is_lost_on_the_way() {
        for pods in [1, 3, 17] {
            let rollout = Rollout { surge: Surge::Pods(1), min_ready: 5, wait: 15, window: 60 };
            assert!(rollout.of(pods).each >= 0.999, "{pods}");
        }
    }
}
