//! What is shown of the signals of a sequencer's rooms: which are told, when each is over.
//!
//! Pure: the time is the caller's, in milliseconds since it began. Each pod keeps its own, so that a signal ends in time wherever
//! its members are, also if the pod of its sender has died. Always holds: of one topic of one sender in a room one signal is shown,
//! the newest; each that is told is told to be over once; what is shown, and what a room is told in a second, is bounded.

use std::collections::{BTreeMap, HashMap};

use crate::{
    model::{Policy, Room, Signal, SignalAct, SignalKey, SignalNotice, UnixMillis},
    session::{Bucket, Verdict},
};

/// Why members are not told of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntoldSignal {
    /// It comes too soon after the one before, or ends nothing.
    Thinned,
    /// The room is told of too many, or too many are shown.
    Limited,
}

/// One that was told.
#[derive(Debug)]
struct ShownSignal {
    sender: crate::model::Member,
    /// Before this no other is told.
    next_ms: u64,
    /// When it is over; `None`: it is.
    until_ms: Option<u64>,
    /// Its place in what is due.
    due: (u64, u64),
}

/// The signals that are shown.
#[derive(Debug, Default)]
pub struct SignalBoard {
    shown: HashMap<SignalKey, ShownSignal>,
    /// What ends when, or is to be forgotten.
    due: BTreeMap<(u64, u64), SignalKey>,
    serial: u64,
    rates: HashMap<Room, Bucket>,
}

impl SignalBoard {
    /// The most that one sequencer remembers: about 6 MiB.
    pub const MAX: usize = 16_384;

    /// A signal has come for a room with this policy.
    ///
    /// # Errors
    /// Why its members are not told.
    pub fn take(
        &mut self,
        room: &Room,
        signal: Signal,
        policy: &Policy,
        now_ms: u64,
        time: UnixMillis,
    ) -> Result<SignalNotice, UntoldSignal> {
        let key = SignalKey::of(room, &signal);
        let Signal { topic, sender, data, act } = signal;
        let ttl_ms = match act {
            SignalAct::Show(ttl_ms) => {
                self.show(room, &key, &sender, ttl_ms, policy, now_ms)?;
                ttl_ms
            }
            SignalAct::Stop | SignalAct::Leave => {
                let Some(shown) = self.shown.get_mut(&key) else { return Err(UntoldSignal::Thinned) };
                let is_newer = act == SignalAct::Leave && shown.sender.connection != sender.connection;
                if is_newer || shown.until_ms.take_if(|until| *until > now_ms).is_none() {
                    return Err(UntoldSignal::Thinned);
                }
                let (due, next_ms) = (shown.due, shown.next_ms);
                self.plan(due, &key, next_ms);
                0
            }
        };
        Ok(SignalNotice { room: room.clone(), topic, sender, data, ttl_ms, time })
    }

    fn show(
        &mut self,
        room: &Room,
        key: &SignalKey,
        sender: &crate::model::Member,
        ttl_ms: u32,
        policy: &Policy,
        now_ms: u64,
    ) -> Result<(), UntoldSignal> {
        if self.shown.get(key).is_some_and(|shown| now_ms < shown.next_ms) {
            return Err(UntoldSignal::Thinned);
        }
        let is_full = self.shown.len() >= Self::MAX && !self.shown.contains_key(key);
        if is_full || !self.is_within_rate(room, policy, now_ms) {
            return Err(UntoldSignal::Limited);
        }
        let every_ms = u64::try_from(policy.signal_every.as_millis()).unwrap_or(u64::MAX);
        // Its sender's pod keeps the time; the way from there takes now more and now less. This holds for senders with several devices.
        let next_ms = now_ms.saturating_add(every_ms - every_ms / 4);
        let until_ms = now_ms + u64::from(ttl_ms);
        self.serial += 1;
        let due = (until_ms, self.serial);
        let shown = ShownSignal { sender: sender.clone(), next_ms, until_ms: Some(until_ms), due };
        if let Some(before) = self.shown.insert(key.clone(), shown) {
            self.due.remove(&before.due);
        }
        self.due.insert(due, key.clone());
        Ok(())
    }

    fn is_within_rate(&mut self, room: &Room, policy: &Policy, now_ms: u64) -> bool {
        let (rate, burst) = (policy.signals_per_second, policy.signals_per_second.saturating_mul(2));
        if let Some(bucket) = self.rates.get_mut(room) {
            return bucket.take(rate, burst, now_ms) == Verdict::Fine;
        }
        let mut bucket = Bucket::new(burst, now_ms);
        let verdict = bucket.take(rate, burst, now_ms);
        self.rates.insert(room.clone(), bucket);
        verdict == Verdict::Fine
    }

    /// Has a signal come up again then, instead of when it was due.
    fn plan(&mut self, before: (u64, u64), key: &SignalKey, at_ms: u64) {
        self.due.remove(&before);
        self.serial += 1;
        let due = (at_ms, self.serial);
        if let Some(shown) = self.shown.get_mut(key) {
            shown.due = due;
            self.due.insert(due, key.clone());
        }
    }

    /// When [`SignalBoard::end_next`] is due; `None`: nothing is shown.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// The next signal that is over. Called until `None`.
    pub fn end_next(&mut self, now_ms: u64, time: UnixMillis) -> Option<SignalNotice> {
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now_ms
        {
            let key = first.remove();
            let Some(shown) = self.shown.get_mut(&key) else { continue };
            let is_over = shown.until_ms.take().is_some();
            let (sender, due, next_ms) = (shown.sender.clone(), shown.due, shown.next_ms);
            if next_ms > now_ms {
                self.plan(due, &key, next_ms);
            } else {
                self.shown.remove(&key);
            }
            if is_over {
                let (room, topic) = (key.room().clone(), key.topic().into());
                return Some(SignalNotice { room, topic, sender, data: None, ttl_ms: 0, time });
            }
        }
        None
    }

    /// A room has no members here any more.
    pub fn forget(&mut self, room: &Room) {
        self.rates.remove(room);
    }
}

#[cfg(test)]
mod tests;
