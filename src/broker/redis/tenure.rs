//! What a pod knows of the lease on plain messages, and of itself as its holder.
//!
//! No I/O. Never asks for the lease. Always holds: a pod holds it only while it hears the messages; a message without a name is this
//! pod's only if no other pod can have had the lease when it was published.

use std::time::{Duration, Instant};

use super::{
    plain_node::ListeningNode,
    plain_ring::{HeardMessage, PlainRing, StreamMark, StreamPlace},
};

/// A pod without the lease publishes nothing that it heard before that: what waits behind such a message waits with it, so that none
/// overtakes it.
const STALE: Duration = Duration::from_secs(20);

/// What another pod may have published is not published again after this: its name is about to be forgotten there.
pub(super) const NAME_IS_SURE: Duration = Duration::from_secs(45);

/// The time between two marks of a pod that joins: the second comes after the first of these, each further one after twice as long. One
/// that it does not hear itself is heard no better by being said more often.
const FIRST_MARKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The marks of a pod that joins.
#[derive(Debug)]
struct FirstMarks {
    due: Instant,
    pause: Duration,
}

/// A time in which the lease is seen to be free.
#[derive(Debug, Clone, Copy)]
struct FreeSpan {
    since: Instant,
    /// The ping that was sent when it had begun.
    ping: u64,
    /// How often the lease had been taken.
    count: u64,
}

/// Another pod that has the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OtherHolder {
    /// It names what it publishes.
    Naming,
    /// It is of an older build, which knows no names.
    Older,
}

/// What becomes of a message that waited to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// This pod publishes it.
    Publish,
    /// Another pod does, or has.
    Leave,
    /// It cannot be said yet. What follows in the same log waits as well.
    Wait,
    /// No pod does: another may have published it, so long ago that this can no longer be found out.
    GiveUp,
}

/// How a message came to wait to be published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    /// When it was heard.
    pub(super) heard: Instant,
    /// In which tenure it was queued.
    pub(super) tenure: u64,
    /// Whether it was heard before that tenure: another pod may have published it.
    pub(super) is_taken_over: bool,
}

/// What is known of the lease.
#[derive(Debug, Default)]
pub(super) struct Tenure {
    /// The patterns stand.
    pub(super) hears: bool,
    /// Which tenure of this pod it is, counted from 1.
    number: u64,
    /// The first tenure since which no other pod can have had the lease.
    unbroken_since: u64,
    /// How often the lease had been taken when this pod took it last.
    count: Option<u64>,
    /// The newest ping, and the newest that was answered.
    pinged: u64,
    echoed: u64,
    /// The ping behind whose answer no message can be another pod's.
    own_ping: u64,
    /// When the lease of this pod ends; `None`: it has none.
    until: Option<Instant>,
    /// No pod has the lease.
    free: Option<FreeSpan>,
    /// Another pod has it.
    other: Option<OtherHolder>,
    /// The patterns were lost since the lease was last asked for: what came meanwhile is not in the ring, so that another pod must take
    /// it in.
    pub(super) missed: bool,
    /// How many marks this pod published.
    marks: u64,
    /// Marks that it published and has not heard, while it owes its first one.
    first_marks: Option<FirstMarks>,
    pub(super) ring: PlainRing,
    pub(super) node: ListeningNode,
}

impl Tenure {
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.hears && !self.missed && self.until.is_some_and(|until| now < until)
    }

    /// Which tenure it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The text of a new mark.
    pub(super) fn next_mark(&mut self, pod: &str, held: bool) -> String {
        self.marks += 1;
        let name = format!("{pod}.{}", self.marks);
        StreamMark { name: &name, settled: self.ring.settled(), held }.text()
    }

    /// Whether this pod publishes a message that has no name.
    pub(super) fn surely_holds(&self, now: Instant) -> bool {
        self.holds(now) && self.echoed >= self.own_ping
    }

    /// Whether a message without a name can be another pod's. If not, this pod keeps it, and publishes it when it gets the lease
    /// before any other does.
    pub(super) fn is_unclaimed(&self) -> bool {
        self.hears && !self.missed && self.free.is_some_and(|free| self.echoed >= free.ping)
    }

    /// Whether this pod publishes a mark although another has the lease: until one came, what it hears has no name, so that it could
    /// not go on when that pod dies.
    pub(super) fn owes_first_mark(&self) -> bool {
        self.hears && !self.missed && self.other == Some(OtherHolder::Naming) && !self.ring.has_mark()
    }

    /// Whether the mark of a pod that joins is due now. If so, it is taken as published.
    pub(super) fn first_mark_is_due(&mut self, now: Instant) -> bool {
        if !self.owes_first_mark() {
            self.first_marks = None;
            return false;
        }
        let (shortest, longest) = FIRST_MARKS;
        let pause = match &self.first_marks {
            Some(marks) if now < marks.due => return false,
            Some(marks) => (marks.pause * 2).min(longest),
            None => shortest,
        };
        self.first_marks = Some(FirstMarks { due: now + pause, pause });
        true
    }

    /// Whether no message is lost from now on if every other pod dies, as far as that is in this pod's power.
    pub(super) fn follows(&self, now: Instant) -> bool {
        let is_named = self.hears && !self.missed && self.ring.has_mark();
        is_named || self.surely_holds(now) || self.is_unclaimed() || self.other == Some(OtherHolder::Older)
    }

    /// What the next ping carries.
    pub(super) fn ping(&self) -> u64 {
        self.pinged
    }

    /// A ping was answered.
    pub(super) fn pong(&mut self, ping: u64) {
        self.echoed = self.echoed.max(ping);
    }

    /// Whether a free lease is to be taken: this pod has heard all that may not be in a log yet, or has left it to others for so long.
    pub(super) fn wants_lease(&self, now: Instant, grace: Duration) -> bool {
        let is_left_over = self.free.is_some_and(|free| now.duration_since(free.since) >= grace);
        self.ring.covers() || is_left_over || self.holds(now)
    }

    /// The lease was given to this pod until then. It had been taken so often before. Whether a tenure begins: then a ping is due,
    /// unless one that was answered proves as much.
    pub(super) fn given(&mut self, now: Instant, until: Instant, count: u64) -> bool {
        // A tenure that ran out while the answer was on its way has left messages unqueued.
        let begins = self.until.is_none_or(|until| until <= now);
        self.until = Some(until);
        self.other = None;
        let free = self.free.take();
        if begins {
            self.number += 1;
            // The lease is still this pod's, or it has run out and is this pod's again.
            if !self.count.is_some_and(|last| count == last || count == last + 1) {
                self.unbroken_since = self.number;
            }
            match free.filter(|free| free.count == count) {
                // No other pod has had it since.
                Some(free) => self.own_ping = free.ping,
                None => {
                    self.ring.forget_unnamed();
                    self.pinged += 1;
                    self.own_ping = self.pinged;
                }
            }
        }
        self.count = Some(count);
        begins
    }

    /// The lease is free at `now`. It had been taken so often before. Whether a ping is due.
    pub(super) fn seen_free(&mut self, now: Instant, count: u64) -> bool {
        self.until = None;
        self.other = None;
        if self.free.is_some_and(|free| free.count == count) {
            return false;
        }
        self.ring.forget_unnamed();
        self.pinged += 1;
        self.free = Some(FreeSpan { since: now, ping: self.pinged, count });
        true
    }

    /// Another pod has the lease. `is_older`: one of an older build, which knows no names. Whether this pod had it.
    pub(super) fn seen_taken(&mut self, is_older: bool) -> bool {
        self.free = None;
        if is_older {
            self.other = Some(OtherHolder::Older);
            self.ring.reset();
        } else {
            self.other = Some(OtherHolder::Naming);
            self.ring.forget_unnamed();
        }
        self.until.take().is_some()
    }

    /// This pod gives the lease up. Whether it had it.
    pub(super) fn give_up(&mut self) -> bool {
        self.free = None;
        self.ring.forget_unnamed();
        self.until.take().is_some()
    }

    /// The patterns do not stand any more. Returns what this pod heard under a name and has not queued: the pod that publishes it may
    /// be lost with the same server.
    pub(super) fn lost(&mut self) -> Vec<HeardMessage> {
        self.ring.forget_unnamed();
        let left = self.ring.take_over();
        self.hears = false;
        self.missed = true;
        self.free = None;
        self.other = None;
        self.ring.reset();
        left
    }

    /// What becomes of a message that waited.
    pub(super) fn fate(&self, place: &StreamPlace, claim: Claim, now: Instant) -> Fate {
        let (holds, age) = (self.holds(now), now.duration_since(claim.heard));
        if self.ring.is_settled(place.period) {
            // The pod that settled it may have come too late to hear it. The log knows the name, and whether it has it.
            let can_ask = place.name.is_some() && age < NAME_IS_SURE;
            return if can_ask { Fate::Publish } else { Fate::Leave };
        }
        // Otherwise another pod's tenure may lie between.
        let is_of_now = claim.tenure >= self.unbroken_since;
        if place.name.is_none() {
            return match (holds, is_of_now) {
                (true, true) => Fate::Publish,
                // The lease ran out, and may be this pod's again before it is another's.
                (false, true) if self.other.is_none() && age < NAME_IS_SURE => Fate::Wait,
                _ => Fate::Leave,
            };
        }
        if holds && is_of_now && !claim.is_taken_over {
            return Fate::Publish;
        }
        match (holds, age) {
            (true, age) if age < NAME_IS_SURE => Fate::Publish,
            (true, _) => Fate::GiveUp,
            (false, age) if age < STALE => Fate::Publish,
            (false, age) if age < NAME_IS_SURE => Fate::Wait,
            _ => Fate::Leave,
        }
    }
}

#[cfg(test)]
mod tests;
