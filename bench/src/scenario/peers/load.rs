//! How a peer is called: by how many, for how many events a request.

use serde::Serialize;

use crate::{
    callers::Request,
    peer::{Peer, Publication},
};

/// Callers of batches.
const BATCHERS: usize = 4;

/// How it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Load {
    /// One event under way at a time.
    Lone,
    Callers,
    Crowd,
    /// The callers, each event with an idempotency key that is new.
    Once,
    Batch,
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Loads {
    pub(super) callers: u16,
    pub(super) crowd: u16,
    pub(super) batch: u16,
}

impl Load {
    pub(super) const ALL: [Self; 5] = [Self::Lone, Self::Callers, Self::Crowd, Self::Once, Self::Batch];

    pub(super) fn name(self, loads: &Loads) -> String {
        match self {
            Self::Lone => "one caller".to_owned(),
            Self::Callers => format!("{} callers", loads.callers),
            Self::Crowd => format!("{} callers", loads.crowd),
            Self::Once => format!("{} callers, a key each", loads.callers),
            Self::Batch => format!("{BATCHERS} callers, batches of {}", loads.batch),
        }
    }

    /// Events of one request.
    pub(super) fn events(self, loads: &Loads) -> u64 {
        if self == Self::Batch { loads.batch.into() } else { 1 }
    }

    /// What each caller asks for; `None`: this peer has no such thing.
    pub(super) fn requests(self, loads: &Loads, peer: &dyn Peer, events: &[Publication]) -> Option<Vec<Request>> {
        let each = |callers: u16, once: bool| {
            events.iter().take(callers.into()).map(|event| peer.publish(event, once)).collect::<Option<Vec<_>>>()
        };
        match self {
            Self::Lone => each(1, false),
            Self::Callers => each(loads.callers, false),
            Self::Crowd => each(loads.crowd, false),
            Self::Once => each(loads.callers, true),
            Self::Batch => {
                let events = &events[..events.len().min(loads.batch.into())];
                Some(vec![peer.publish_batch(events)?; BATCHERS])
            }
        }
    }

    /// The most rooms that are published to.
    pub(super) fn rooms(loads: &Loads) -> u16 {
        loads.callers.max(loads.crowd).max(loads.batch)
    }
}
