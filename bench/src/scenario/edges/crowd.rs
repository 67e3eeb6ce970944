//! The members of one place: of the home's pods, or of a region's edges.

use indicatif::ProgressBar;

use super::tree::Placed;
use crate::{
    audience::{Audience, Received},
    content::Recipe,
    error::BenchError,
    receiver::control::{Join, Target},
    scenario::window::{Ends, PATIENCE},
    transport::Transport,
};

/// So many members of so many rooms on each pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seats {
    /// The first room's number.
    pub(super) first_room: u32,
    /// How many rooms.
    pub(super) rooms: u32,
    /// Members of each room on each pod.
    pub(super) members: usize,
}

/// Members on some pods, in a process of their own.
pub(super) struct Crowd {
    audience: Audience,
    /// Of each room, on all pods.
    members: u64,
}

impl Crowd {
    /// Connects them. `source` keeps their addresses apart from those of other crowds.
    pub(super) async fn gather(
        pods: &[Placed],
        seats: Seats,
        recipe: Recipe,
        source: u8,
        bar: &ProgressBar,
    ) -> Result<Self, BenchError> {
        let mut audience = Audience::start(Transport::Websocket, 1, source)?;
        for placed in pods {
            let join = Join {
                connections: seats.members * seats.rooms as usize,
                first_room: seats.first_room,
                rooms: seats.rooms,
                ..placed.pod.join(recipe, true)
            };
            audience.join(&join, bar).await?;
        }
        Ok(Self { audience, members: (seats.members * pods.len()) as u64 })
    }

    /// Counts from now.
    pub(super) async fn begin(&mut self) -> Result<(), BenchError> {
        self.audience.begin(Target::Pod).await
    }

    /// Waits until all have everything; fails unless they got it once, in order and unchanged.
    pub(super) async fn finish(&mut self, ends: &Ends) -> Result<Received, BenchError> {
        let received = self.audience.finish(Target::Pod, ends.offsets(), PATIENCE, false).await?;
        received.check(ends.deliveries(|_| self.members))?;
        Ok(received)
    }
}
