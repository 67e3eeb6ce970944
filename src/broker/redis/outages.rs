//! What is wrong with each server now: a line in the log when it begins and one when it is over, and the reason as a metric.
//!
//! No I/O, no clock: others say what they see and when. Always holds: a kind of trouble is told once in an outage; a server
//! without trouble has no entry, so that a command that succeeds costs one load.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::refusal::Trouble;

/// Trouble that passes sooner is not told: a connection that is made anew, a failover within a moment.
const BRIEF: Duration = Duration::from_secs(1);

/// A refusal counts for so long after the last one, unless a command shows that it is over.
const REFUSED: Duration = Duration::from_secs(30);

/// Between two refusals commands may succeed: a full server takes a write whenever a key expires.
const IN_BETWEEN: Duration = Duration::from_secs(1);

/// Of something that is needed only now and then no success shows that it is allowed: then a refusal counts for so long.
const NOW_AND_THEN: Duration = Duration::from_secs(20);

/// A server's refusal of a script, for a reason of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RefusedScript {
    server: String,
    trouble: Trouble,
    /// Empty: of every write.
    script: &'static str,
}

#[derive(Debug)]
struct Refusal {
    error: String,
    last: Instant,
    /// A command succeeded since.
    over: bool,
    /// It was refused again after that, or the command that was refused is a part of one that succeeds.
    now_and_then: bool,
}

impl Refusal {
    /// Whether it counts still.
    fn stands(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.last);
        since
            < match (self.now_and_then, self.over) {
                (true, _) => NOW_AND_THEN,
                (false, true) => IN_BETWEEN,
                (false, false) => REFUSED,
            }
    }
}

/// Trouble of one server, as it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenTrouble {
    pub(super) server: String,
    pub(super) trouble: Trouble,
    /// In the words of Redis, or of the system.
    pub(super) error: String,
}

#[derive(Debug)]
struct Outage {
    began: Instant,
    /// When something was wrong last.
    last: Instant,
    /// Since when each kind is there.
    kinds: BTreeMap<Trouble, Instant>,
    told: BTreeSet<Trouble>,
    /// What was said of the last trouble.
    error: String,
}

/// What the log is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OutageNews {
    /// A kind of trouble began.
    Begun(SeenTrouble),
    /// A server is well again, after so long.
    Over { server: String, lasted: Duration },
}

/// What is wrong with the servers.
#[derive(Debug, Default)]
pub(super) struct Outages {
    refusals: Mutex<HashMap<RefusedScript, Refusal>>,
    /// Whether there are refusals.
    refused: AtomicBool,
    outages: Mutex<BTreeMap<String, Outage>>,
}

impl Outages {
    fn refusals(&self) -> MutexGuard<'_, HashMap<RefusedScript, Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server refused a script.
    pub(super) fn refused(&self, server: &str, script: &'static str, trouble: Trouble, error: &str, now: Instant) {
        self.note(server, script, trouble, error, now, false);
    }

    /// A server refused a part of a script that it carried out.
    pub(super) fn refused_in_part(
        &self,
        server: &str,
        script: &'static str,
        trouble: Trouble,
        error: &str,
        now: Instant,
    ) {
        self.note(server, script, trouble, error, now, !trouble.ends_with_any_write());
    }

    fn note(
        &self,
        server: &str,
        script: &'static str,
        trouble: Trouble,
        error: &str,
        now: Instant,
        now_and_then: bool,
    ) {
        let script = if trouble.ends_with_any_write() { "" } else { script };
        let key = RefusedScript { server: server.to_owned(), trouble, script };
        let mut refusals = self.refusals();
        let again = refusals.get(&key).is_some_and(|before| {
            before.now_and_then || (before.over && now.saturating_duration_since(before.last) < REFUSED)
        });
        let now_and_then = now_and_then || (again && !trouble.ends_with_any_write());
        refusals.insert(key, Refusal { error: error.to_owned(), last: now, over: false, now_and_then });
        self.refused.store(true, Ordering::Relaxed);
    }

    /// A server carried out a script. `writes`: the script is refused wherever a write is.
    #[inline]
    pub(super) fn carried_out(&self, server: impl FnOnce() -> String, script: &'static str, writes: bool) {
        if self.refused.load(Ordering::Relaxed) {
            let server = server();
            for (key, refusal) in &mut *self.refusals() {
                if key.server == server && (key.script == script || (writes && key.script.is_empty())) {
                    refusal.over = true;
                }
            }
        }
    }

    /// Whether a server refuses something.
    pub(super) fn has_refusals(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// What is wrong with a server, in the words of Redis or of the system.
    pub(super) fn error_of(&self, server: &str) -> Option<String> {
        let outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        outages.get(server).map(|outage| outage.error.clone())
    }

    /// What is wrong with a server, and in whose words.
    pub(super) fn of(&self, server: &str) -> (Vec<Trouble>, Option<String>) {
        let outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(outage) = outages.get(server).filter(|outage| !outage.kinds.is_empty()) else {
            return (Vec::new(), None);
        };
        (outage.kinds.keys().copied().collect(), Some(outage.error.clone()))
    }

    /// Takes in what is seen of connections, beside what was refused. Returns what is wrong now, and what is to be told of it.
    pub(super) fn look(&self, connections: Vec<SeenTrouble>, now: Instant) -> (BTreeSet<Trouble>, Vec<OutageNews>) {
        let mut seen = connections;
        {
            let mut refusals = self.refusals();
            // One that is over is remembered for a while: another one shows that the successes in between showed nothing.
            refusals.retain(|_, refusal| now.saturating_duration_since(refusal.last) < REFUSED);
            let standing = || refusals.iter().filter(|(_, refusal)| refusal.stands(now));
            self.refused.store(standing().next().is_some(), Ordering::Relaxed);
            seen.extend(standing().map(|(key, refusal)| SeenTrouble {
                server: key.server.clone(),
                trouble: key.trouble,
                error: refusal.error.clone(),
            }));
        }
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = Vec::new();
        for seen in &seen {
            let outage = outages.entry(seen.server.clone()).or_insert_with(|| Outage {
                began: now,
                last: now,
                kinds: BTreeMap::new(),
                told: BTreeSet::new(),
                error: String::new(),
            });
            outage.last = now;
            outage.error.clone_from(&seen.error);
            let since = *outage.kinds.entry(seen.trouble).or_insert(now);
            if now.saturating_duration_since(since) >= BRIEF && outage.told.insert(seen.trouble) {
                news.push(OutageNews::Begun(seen.clone()));
            }
        }
        outages.retain(|server, outage| {
            outage.kinds.retain(|kind, _| seen.iter().any(|seen| seen.server == *server && seen.trouble == *kind));
            let over = now.saturating_duration_since(outage.last) >= BRIEF;
            if over && !outage.told.is_empty() {
                let lasted = outage.last.saturating_duration_since(outage.began);
                news.push(OutageNews::Over { server: server.clone(), lasted });
            }
            !over
        });
        (seen.into_iter().map(|seen| seen.trouble).collect(), news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Vec<SeenTrouble> {
        vec![SeenTrouble { server: "a:1".to_owned(), trouble: Trouble::Away, error: "refused".to_owned() }]
    }

    #[test]
    fn an_outage_is_told_once_and_its_end_once() {
        let (outages, began) = (Outages::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        assert_eq!(outages.look(away(), at(0)), (BTreeSet::from([Trouble::Away]), vec![]));
        let (_, news) = outages.look(away(), at(1_000));
        assert_eq!(news, [OutageNews::Begun(away().remove(0))]);
        assert_eq!(outages.look(away(), at(5_000)).1, []);
        assert_eq!((outages.error_of("a:1").as_deref(), outages.error_of("b:1")), (Some("refused"), None));
        assert_eq!(outages.of("a:1"), (vec![Trouble::Away], Some("refused".to_owned())));
        // A connection that stands for a moment is not the end.
        assert_eq!(outages.look(vec![], at(5_500)), (BTreeSet::new(), vec![]));
        assert_eq!(outages.of("a:1"), (vec![], None));
        assert_eq!(outages.look(away(), at(6_000)).1, []);
        let over = OutageNews::Over { server: "a:1".to_owned(), lasted: Duration::from_secs(6) };
        assert_eq!(outages.look(vec![], at(7_000)).1, [over]);
        assert_eq!(outages.look(vec![], at(8_000)).1, []);
    }

    #[test]
    fn what_passes_at_once_is_not_told_and_another_reason_is() {
        let (outages, began) = (Outages::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        outages.look(away(), at(0));
        assert_eq!(outages.look(vec![], at(1_000)).1, []);
        let login = |at| outages.look(vec![SeenTrouble { trouble: Trouble::Login, ..away().remove(0) }], at).1;
        login(at(2_000));
        assert!(matches!(&login(at(3_000))[..], [OutageNews::Begun(SeenTrouble { trouble: Trouble::Login, .. })]));
        outages.look(away(), at(4_000));
        let news = outages.look(away(), at(5_000)).1;
        assert!(matches!(&news[..], [OutageNews::Begun(SeenTrouble { trouble: Trouble::Away, .. })]), "{news:?}");
    }

    #[test]
    fn a_refusal_lasts_until_a_command_shows_that_it_is_over() {
        let (outages, began) = (Outages::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        let carried_out = |script, writes| outages.carried_out(|| "a:1".to_owned(), script, writes);
        outages.refused("a:1", "publish", Trouble::Full, "OOM", at(0));
        outages.refused("a:1", "publish", Trouble::Rights, "NOPERM", at(0));
        carried_out("history", false);
        let all = BTreeSet::from([Trouble::Full, Trouble::Rights]);
        assert_eq!(outages.look(vec![], at(10_000)).0, all);
        // A write of another script shows that there is memory, and nothing about rights.
        carried_out("lease", true);
        assert_eq!(outages.look(vec![], at(10_100)).0, BTreeSet::from([Trouble::Rights]));
        assert!(outages.has_refusals());
        carried_out("publish", true);
        assert_eq!(outages.look(vec![], at(10_200)).0, BTreeSet::new());
        assert!(!outages.has_refusals());
        // One that is not repeated and that nothing ends is forgotten.
        outages.refused("a:1", "publish", Trouble::Rights, "NOPERM", at(40_000));
        assert_eq!(outages.look(vec![], at(69_000)).0.len(), 1);
        assert_eq!(outages.look(vec![], at(70_000)).0.len(), 0);
    }

    #[test]
    fn a_right_that_is_needed_now_and_then_is_told_whatever_succeeds_in_between() {
        let (outages, began) = (Outages::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        let stands = |now| outages.look(vec![], now).0.contains(&Trouble::Rights);
        // Each first publish in a room is refused, and others are not.
        outages.refused("a:1", "publish", Trouble::Rights, "xlen", at(0));
        outages.carried_out(|| "a:1".to_owned(), "publish", true);
        assert!(stands(at(500)) && !stands(at(1_500)), "once may be a moment");
        outages.refused("a:1", "publish", Trouble::Rights, "xlen", at(6_000));
        outages.carried_out(|| "a:1".to_owned(), "publish", true);
        assert!(stands(at(6_100)) && stands(at(25_900)) && outages.has_refusals());
        assert!(!stands(at(26_100)) && !outages.has_refusals());
        assert!(matches!(&outages.look(vec![], at(30_000)).1[..], [OutageNews::Over { .. }]));
        // A log that is not trimmed is no refusal of the publish.
        outages.refused_in_part("a:1", "publish", Trouble::Rights, "xtrim", at(60_000));
        outages.carried_out(|| "a:1".to_owned(), "publish", true);
        let told = [outages.look(vec![], at(60_000)).1, outages.look(vec![], at(61_000)).1].concat();
        assert!(matches!(&told[..], [OutageNews::Begun(SeenTrouble { error, .. })] if error == "xtrim"), "{told:?}");
        assert!(stands(at(79_900)) && !stands(at(80_100)));
    }
}
