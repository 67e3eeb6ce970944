//! Plain messages against what clients saw of them, looked at afterwards.
//!
//! Never takes part in a run. Plain messages have no names, and equal ones are legal: here each is a number, and some numbers are
//! published twice in a row. So a client's numbers must not fall, and it must have each as often as a witness that listened beside the
//! pods, and never more often than it was published. What no witness heard is counted apart: a server that dies takes it along.

use std::collections::BTreeMap;

/// One connection's view of a room, from its first message to its end.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    pub who: String,
    pub numbers: Vec<u64>,
}

/// All that is known of a room.
#[derive(Debug, Default)]
pub struct PlainRoom {
    /// In the order in which they were published.
    pub published: Vec<u64>,
    /// What a witness heard.
    pub witnessed: Vec<u64>,
    pub sights: Vec<Sight>,
}

/// The verdict. The first three must be empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PlainVerdict {
    /// A witness heard it, and a client that was there before and after did not get it.
    pub lost: Vec<String>,
    pub twice: Vec<String>,
    pub reordered: Vec<String>,
    /// Published messages that no witness heard.
    pub unheard: usize,
    /// Of these, how many no client got.
    pub gone: usize,
    pub deliveries: usize,
}

impl PlainVerdict {
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.twice.is_empty() && self.reordered.is_empty()
    }
}

fn counted(numbers: &[u64]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for number in numbers {
        *counts.entry(*number).or_default() += 1;
    }
    counts
}

/// Judges a room.
pub fn judge(name: &str, room: &PlainRoom, verdict: &mut PlainVerdict) {
    let (published, witnessed) = (counted(&room.published), counted(&room.witnessed));
    let mut seen = BTreeMap::<u64, usize>::new();
    for Sight { who, numbers } in &room.sights {
        verdict.deliveries += numbers.len();
        let fallen = numbers.windows(2).filter(|pair| pair[1] < pair[0]);
        verdict.reordered.extend(fallen.map(|pair| format!("{name}, {who}: {} behind {}", pair[1], pair[0])));
        let counts = counted(numbers);
        for (number, count) in &counts {
            let most = published.get(number).copied().unwrap_or_default();
            if *count > most {
                verdict.twice.push(format!("{name}, {who}: {number} came {count} times of {most}"));
            }
            let seen = seen.entry(*number).or_default();
            *seen = (*seen).max(*count);
        }
        // The first and the last may have been cut in two by the connection's own begin and end.
        let (Some(first), Some(last)) = (numbers.iter().min(), numbers.iter().max()) else { continue };
        for (number, count) in witnessed.range(first + 1..(*last).max(first + 1)) {
            let had = counts.get(number).copied().unwrap_or_default();
            if had < *count {
                verdict.lost.push(format!("{name}, {who}: {number} came {had} times of {count}"));
            }
        }
    }
    for (number, count) in &published {
        let unheard = count.saturating_sub(witnessed.get(number).copied().unwrap_or_default());
        let got = seen.get(number).copied().unwrap_or_default();
        verdict.unheard += unheard;
        verdict.gone += unheard.min(count.saturating_sub(got));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [u64; 8] = [0, 1, 1, 2, 3, 4, 4, 5];

    fn judged(published: &[u64], witnessed: &[u64], seen: &[u64]) -> PlainVerdict {
        let sight = Sight { who: "a".into(), numbers: seen.to_vec() };
        let room = PlainRoom { published: published.to_vec(), witnessed: witnessed.to_vec(), sights: vec![sight] };
        let mut verdict = PlainVerdict::default();
        judge("r", &room, &mut verdict);
        verdict
    }

    #[test]
    fn what_was_heard_once_and_in_order_is_clean() {
        for seen in [&ALL[..], &ALL[2..], &ALL[..6], &[]] {
            let verdict = judged(&ALL, &ALL, seen);
            assert!(verdict.is_clean() && verdict.unheard == 0, "{seen:?}: {verdict:?}");
        }
    }

    #[test]
    fn planted_losses_are_found() {
        assert_eq!(judged(&ALL, &ALL, &[0, 1, 1, 3, 4, 4, 5]).lost, ["r, a: 2 came 0 times of 1"]);
        assert_eq!(judged(&ALL, &ALL, &[0, 1, 2, 3, 4, 4, 5]).lost, ["r, a: 1 came 1 times of 2"]);
    }

    #[test]
    fn planted_repetitions_are_found() {
        assert_eq!(judged(&ALL, &ALL, &[0, 1, 1, 1, 2, 3, 4, 4, 5]).twice, ["r, a: 1 came 3 times of 2"]);
        // Published, and heard by no witness: more often than that is too often all the same.
        assert_eq!(judged(&ALL, &[], &[0, 1, 2, 2, 3]).twice, ["r, a: 2 came 2 times of 1"]);
    }

    #[test]
    fn planted_swaps_are_found() {
        assert_eq!(judged(&ALL, &ALL, &[0, 1, 1, 3, 2, 4, 4, 5]).reordered, ["r, a: 2 behind 3"]);
    }

    #[test]
    fn what_no_witness_heard_is_counted_apart() {
        let verdict = judged(&ALL, &[0, 1, 1, 4, 4, 5], &[0, 1, 1, 2, 4, 4, 5]);
        assert_eq!((verdict.is_clean(), verdict.unheard, verdict.gone), (true, 2, 1));
    }
}
