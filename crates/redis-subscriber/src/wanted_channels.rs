//! The channels that are wanted, each with its slot, and which of them stand.
//!
//! Knows no node. Always holds: every wanted channel is found by its slot, and the count of those that stand is right.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use crate::slot::slot;

/// A wanted channel.
#[derive(Debug)]
pub(super) struct WantedChannel {
    pub(super) slot: u16,
    /// When its owner confirmed it.
    pub(super) confirmed: Option<Instant>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct WantedChannels {
    channels: HashMap<Arc<str>, WantedChannel>,
    by_slot: HashMap<u16, HashSet<Arc<str>>>,
    confirmed: usize,
}

impl WantedChannels {
    /// A channel is wanted. Its name and slot, if it was not before.
    pub(super) fn insert(&mut self, channel: &str) -> Option<(Arc<str>, u16)> {
        if self.channels.contains_key(channel) {
            return None;
        }
        let (channel, slot): (Arc<str>, u16) = (channel.into(), slot(channel.as_bytes()));
        self.channels.insert(Arc::clone(&channel), WantedChannel { slot, confirmed: None });
        self.by_slot.entry(slot).or_default().insert(Arc::clone(&channel));
        Some((channel, slot))
    }

    /// A channel is wanted no more. Its name and slot, if it was.
    pub(super) fn remove(&mut self, channel: &str) -> Option<(Arc<str>, u16)> {
        let (channel, wanted) = self.channels.remove_entry(channel)?;
        self.confirmed -= usize::from(wanted.confirmed.is_some());
        if let Some(of_slot) = self.by_slot.get_mut(&wanted.slot) {
            of_slot.remove(&channel);
            if of_slot.is_empty() {
                self.by_slot.remove(&wanted.slot);
            }
        }
        Some((channel, wanted.slot))
    }

    /// One of them.
    pub(super) fn get(&self, channel: &str) -> Option<&WantedChannel> {
        self.channels.get(channel)
    }

    /// Those of a slot.
    pub(super) fn of_slot(&self, slot: u16) -> Vec<Arc<str>> {
        self.by_slot.get(&slot).into_iter().flatten().cloned().collect()
    }

    /// Those of the slots for which `is_of` holds.
    pub(super) fn of_slots(&self, is_of: impl Fn(u16) -> bool) -> Vec<Arc<str>> {
        let channels = self.channels.iter().filter(|(_, wanted)| is_of(wanted.slot));
        channels.map(|(channel, _)| Arc::clone(channel)).collect()
    }

    /// Those that do not stand, each with its slot.
    pub(super) fn missing(&self) -> Vec<(Arc<str>, u16)> {
        let missing = self.channels.iter().filter(|(_, wanted)| wanted.confirmed.is_none());
        missing.map(|(channel, wanted)| (Arc::clone(channel), wanted.slot)).collect()
    }

    /// The owner of a channel confirmed it.
    pub(super) fn confirm(&mut self, channel: &str, now: Instant) {
        if let Some(wanted) = self.channels.get_mut(channel) {
            self.confirmed += usize::from(wanted.confirmed.replace(now).is_none());
        }
    }

    /// A channel does not stand any more.
    pub(super) fn lose(&mut self, channel: &str) {
        if let Some(wanted) = self.channels.get_mut(channel) {
            self.confirmed -= usize::from(wanted.confirmed.take().is_some());
        }
    }

    /// How many stand.
    pub(super) fn confirmed(&self) -> usize {
        self.confirmed
    }

    /// How many do not.
    pub(super) fn unconfirmed(&self) -> usize {
        self.channels.len() - self.confirmed
    }

    /// Whether no slot has one.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.by_slot.is_empty()
    }
}
