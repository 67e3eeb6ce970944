//! The users of a pod: which are here, whose record is to be looked at, and when.
//!
//! Pure: no I/O; the time is the caller's, in milliseconds since the pod began. Always holds: one record is worked on once at a
//! time; a user whose last device went is here for the time of the debounce; each user has one timer at most; announcements begin
//! within the rate.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::look::{LookOutcome, Settlement};
use crate::{
    model::UnixMillis,
    session::{Bucket, Verdict},
};

/// The times of a registry.
#[derive(Debug, Clone, Copy)]
pub(super) struct RegistrySettings {
    /// How long a user is here after its last device went.
    pub(super) offline_after_ms: u64,
    /// How many announcements a second begin.
    pub(super) announcements_per_second: u32,
    /// How often a user changes its status at once, over all its devices; for long, once a second.
    pub(super) change_burst: u32,
}

/// How the work on a user's record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LookStanding {
    /// There is nothing to do.
    Settled,
    /// It waits to be looked at.
    Ready,
    /// It is being looked at; `again`: and will have to be once more.
    Busy { again: bool },
    /// Something is to be told of it, as soon as the rate allows.
    Owing,
    /// The broker did not answer. It is tried again at that time.
    Failed(u64),
}

/// A user that is here, or of which something is to be done.
#[derive(Debug)]
struct LocalUser {
    devices: u32,
    /// Whether its record is to say that it is on this pod.
    here: bool,
    /// When its last device went; `None`: no device was here.
    seen: Option<UnixMillis>,
    /// When it is not here any more.
    leaves_at: Option<u64>,
    /// When its record is looked at again, though nothing happened.
    check_at: u64,
    standing: LookStanding,
    /// Whether it has its turn among those that owe.
    is_queued: bool,
    /// How long it was waited after the last failure.
    pause_ms: u64,
    /// Whether the broker may name it among those that this pod looks after.
    listed: bool,
    /// The pod that is gone, and on which it was until then.
    left: Option<(Arc<str>, UnixMillis)>,
    timer: Option<u64>,
}

/// The users of a pod.
#[derive(Debug)]
pub(super) struct UserRegistry {
    settings: RegistrySettings,
    users: HashMap<Arc<str>, LocalUser>,
    ready: VecDeque<Arc<str>>,
    owing: VecDeque<Arc<str>>,
    timers: BTreeSet<(u64, Arc<str>)>,
    pace: Bucket,
    changes: HashMap<Box<str>, Bucket>,
    here: usize,
}

impl UserRegistry {
    /// How often a record is looked at though nothing happened: what Redis lost is written anew, and does not run out.
    const CHECK_MS: u64 = 300_000;

    /// The time before the broker is asked again that did not answer, at first and at most: it doubles each time.
    const AGAIN_MS: u64 = 500;
    const MOST_AGAIN_MS: u64 = 30_000;

    /// Of so many users it is known how often they changed their status.
    const MAX_CHANGING: usize = 10_000;

    pub(super) fn new(settings: RegistrySettings, now: u64) -> Self {
        Self {
            pace: Bucket::new(Self::burst(&settings), now),
            settings,
            users: HashMap::new(),
            ready: VecDeque::new(),
            owing: VecDeque::new(),
            timers: BTreeSet::new(),
            changes: HashMap::new(),
            here: 0,
        }
    }

    /// A tenth of a second's announcements at once, so that no second sees many more.
    fn burst(settings: &RegistrySettings) -> u32 {
        (settings.announcements_per_second / 10).max(1)
    }

    /// How many users are here.
    pub(super) fn here(&self) -> usize {
        self.here
    }

    /// How many records are to be looked at, or something of them told.
    pub(super) fn backlog(&self) -> usize {
        self.ready.len() + self.owing.len()
    }

    /// A device of a user came. Returns whether the user was missing for less than the debounce.
    pub(super) fn connect(&mut self, user: &Arc<str>, now: u64) -> bool {
        let local = self.enter(user, now);
        local.devices += 1;
        let returns = local.leaves_at.take().is_some();
        if !local.here {
            local.here = true;
            self.here += 1;
            self.look(user);
        }
        self.set_timer(user);
        returns
    }

    /// A device of a user went.
    pub(super) fn disconnect(&mut self, user: &str, now: u64, seen: UnixMillis) {
        let Some(user) = self.users.get_key_value(user).map(|(user, _)| Arc::clone(user)) else { return };
        let Some(local) = self.users.get_mut(&user).filter(|local| local.devices > 0) else { return };
        local.devices -= 1;
        if local.devices == 0 {
            (local.seen, local.leaves_at) = (Some(seen), Some(now + self.settings.offline_after_ms));
            self.set_timer(&user);
        }
    }

    /// A user goes at once, whatever devices are on their way out. One that comes meanwhile keeps it here.
    pub(super) fn dismiss(&mut self, user: &Arc<str>, now: u64) {
        let Some(local) = self.users.get_mut(user).filter(|local| local.here) else { return };
        local.leaves_at = Some(now);
        self.set_timer(user);
    }

    /// This pod changed a user's record, which may owe something now.
    pub(super) fn changed(&mut self, user: &str, now: u64) {
        self.recheck(user, now);
        if let Some(local) = self.users.get_mut(user) {
            local.listed = true;
        }
    }

    /// A user's record may be another one.
    fn recheck(&mut self, user: &str, now: u64) {
        let user = self.users.get_key_value(user).map_or_else(|| Arc::from(user), |(user, _)| Arc::clone(user));
        self.enter(&user, now);
        self.look(&user);
        self.set_timer(&user);
    }

    /// The same for a user that is known here. Of another there is nothing to do.
    pub(super) fn recheck_known(&mut self, user: &str, now: u64) {
        if self.users.contains_key(user) {
            self.recheck(user, now);
        }
    }

    /// The broker has this pod look after a user: one that is not known here is looked at. Whether that is so.
    pub(super) fn recheck_missing(&mut self, user: &str, now: u64) -> bool {
        let is_missing = !self.users.contains_key(user);
        if is_missing {
            self.changed(user, now);
        }
        is_missing
    }

    /// This pod's users may be missing from their records.
    pub(super) fn recheck_all(&mut self, now: u64) {
        let all: Vec<Arc<str>> = self.users.keys().cloned().collect();
        for user in all {
            self.recheck(&user, now);
        }
    }

    /// A user was on a pod that is gone since that time. Returns whether this pod looks after it.
    pub(super) fn adopt(&mut self, user: &str, pod: &Arc<str>, seen: UnixMillis, now: u64) -> bool {
        let known = self.users.get(user).and_then(|local| local.left.as_ref());
        if known.is_some() {
            return false;
        }
        self.recheck(user, now);
        if let Some(local) = self.users.get_mut(user) {
            local.left = Some((Arc::clone(pod), seen));
        }
        true
    }

    /// Whether a user may change its status once more now.
    pub(super) fn may_change(&mut self, user: &str, now: u64) -> bool {
        let burst = self.settings.change_burst;
        if !self.changes.contains_key(user) {
            if self.changes.len() >= Self::MAX_CHANGING {
                self.changes.retain(|_, bucket| !bucket.is_full(1, burst, now));
            }
            if self.changes.len() >= Self::MAX_CHANGING {
                return false;
            }
        }
        let bucket = self.changes.entry(user.into()).or_insert_with(|| Bucket::new(burst, now));
        bucket.take(1, burst, now) == Verdict::Fine
    }

    fn enter(&mut self, user: &Arc<str>, now: u64) -> &mut LocalUser {
        self.users.entry(Arc::clone(user)).or_insert_with(|| LocalUser {
            devices: 0,
            here: false,
            seen: None,
            is_queued: false,
            pause_ms: 0,
            leaves_at: None,
            check_at: now + Self::CHECK_MS,
            standing: LookStanding::Settled,
            listed: false,
            left: None,
            timer: None,
        })
    }

    /// Has a user's record looked at.
    fn look(&mut self, user: &Arc<str>) {
        let Some(local) = self.users.get_mut(user) else { return };
        match local.standing {
            // One that owes keeps its turn; what is here now is written at once.
            LookStanding::Settled | LookStanding::Failed(_) | LookStanding::Owing => {
                local.standing = LookStanding::Ready;
                self.ready.push_back(Arc::clone(user));
            }
            LookStanding::Busy { .. } => local.standing = LookStanding::Busy { again: true },
            // Its turn comes, and what is then counts.
            LookStanding::Ready => {}
        }
    }

    /// Sets a user's timer to the first of its times.
    fn set_timer(&mut self, user: &Arc<str>) {
        let Some(local) = self.users.get_mut(user) else { return };
        let again = match local.standing {
            LookStanding::Failed(at) => Some(at),
            LookStanding::Settled => Some(local.check_at),
            _ => None,
        };
        let due = local.leaves_at.into_iter().chain(again).min();
        if due != local.timer {
            if let Some(before) = std::mem::replace(&mut local.timer, due) {
                self.timers.remove(&(before, Arc::clone(user)));
            }
            if let Some(due) = due {
                self.timers.insert((due, Arc::clone(user)));
            }
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: u64) {
        while let Some((due, user)) = self.timers.first().cloned()
            && due <= now
        {
            self.timers.pop_first();
            let Some(local) = self.users.get_mut(&user) else { continue };
            local.timer = None;
            if local.leaves_at.is_some_and(|at| at <= now) {
                local.leaves_at = None;
                self.here -= usize::from(std::mem::replace(&mut local.here, false));
                if local.devices == 0 && !local.listed && local.standing == LookStanding::Settled {
                    // It hides: its record never said that it is here.
                    self.users.remove(&user);
                    continue;
                }
            }
            if local.check_at <= now {
                local.check_at = now + Self::CHECK_MS;
            }
            self.look(&user);
            self.set_timer(&user);
        }
    }

    /// When something is due next.
    pub(super) fn next_due(&self, now: u64) -> Option<u64> {
        let timer = self.timers.first().map(|(due, _)| *due);
        // The rate gains one announcement in so long.
        let pace =
            (!self.owing.is_empty()).then(|| now + 1_000 / u64::from(self.settings.announcements_per_second).max(1));
        timer.into_iter().chain(pace.map(|at| at.max(now + 1))).min()
    }

    /// The next record to be looked at. The caller reports when that is [`done`](Self::done).
    pub(super) fn next(&mut self, now: u64) -> Option<Settlement> {
        // What is to be written goes first: that a user came back must be known before it is told that it went.
        if let Some(user) = self.ready.pop_front() {
            return self.begin(&user, false);
        }
        // Those that owe nothing any more cost none of the rate.
        while let Some(user) = self.owing.pop_front_if(|user| !owes(&self.users, user)) {
            if let Some(local) = self.users.get_mut(&user) {
                local.is_queued = false;
            }
        }
        if !self.owing.is_empty() && self.take_pace(now) {
            let user = self.owing.pop_front()?;
            return self.begin(&user, true);
        }
        None
    }

    fn take_pace(&mut self, now: u64) -> bool {
        let rate = self.settings.announcements_per_second;
        self.pace.take(rate, Self::burst(&self.settings), now) == Verdict::Fine
    }

    fn begin(&mut self, user: &Arc<str>, may_tell: bool) -> Option<Settlement> {
        let local = self.users.get_mut(user)?;
        local.standing = LookStanding::Busy { again: false };
        local.is_queued &= !may_tell;
        let settlement = Settlement {
            user: Arc::clone(user),
            here: local.here,
            seen: local.seen,
            listed: local.listed,
            left: local.left.clone(),
            may_tell,
        };
        self.set_timer(user);
        Some(settlement)
    }

    /// A look at a record is over.
    pub(super) fn done(&mut self, settlement: &Settlement, outcome: LookOutcome, now: u64) {
        let user = &settlement.user;
        let Some(local) = self.users.get_mut(user) else { return };
        let again = local.standing == LookStanding::Busy { again: true };
        if outcome != LookOutcome::Failed && local.left == settlement.left {
            local.left = None;
        }
        local.standing = match outcome {
            LookOutcome::Settled { .. } => {
                local.check_at = now + Self::CHECK_MS;
                LookStanding::Settled
            }
            LookOutcome::Owes => LookStanding::Owing,
            LookOutcome::Failed => {
                // What came meanwhile is no reason to wait.
                let pause = if again { 0 } else { local.pause_ms * 2 };
                local.pause_ms = pause.clamp(Self::AGAIN_MS, Self::MOST_AGAIN_MS);
                LookStanding::Failed(now + local.pause_ms)
            }
        };
        if outcome != LookOutcome::Failed {
            local.pause_ms = 0;
        }
        // What a broker did that did not answer is not known.
        local.listed = outcome != LookOutcome::Settled { listed: false };
        match outcome {
            LookOutcome::Owes => {
                if !std::mem::replace(&mut local.is_queued, true) {
                    self.owing.push_back(Arc::clone(user));
                }
                if again {
                    self.look(user);
                }
            }
            LookOutcome::Settled { .. } if again => self.look(user),
            LookOutcome::Settled { .. } if !local.here && local.devices == 0 && local.left.is_none() => {
                if let Some(timer) = local.timer {
                    self.timers.remove(&(timer, Arc::clone(user)));
                }
                self.users.remove(user);
                return;
            }
            LookOutcome::Settled { .. } | LookOutcome::Failed => {}
        }
        self.set_timer(user);
    }
}

/// Whether something is to be told of a user.
fn owes(users: &HashMap<Arc<str>, LocalUser>, user: &str) -> bool {
    users.get(user).is_some_and(|local| local.standing == LookStanding::Owing)
}

#[cfg(test)]
mod tests;
