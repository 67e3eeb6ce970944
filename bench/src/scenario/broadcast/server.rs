//! What the loop of a broadcast run sends to: a room of the pod, or the floor.

use crate::{
    clock,
    content::{Recipe, Stamp},
    dialect::room_name,
    error::BenchError,
    floor::host::Floor,
    pod::Pod,
    process::Process,
    publisher::Publisher,
    receiver::control::{Join, Target},
};

/// A server as the loop sees it: a room of the pod, or the floor.
pub(super) enum Server<'a> {
    Pod(Box<Room>),
    Floor(&'a mut Floor),
}

/// A room of the pod, whose receivers speak one dialect.
pub(super) struct Room {
    name: &'static str,
    number: u32,
    join: Join,
    publisher: Publisher,
    process: Option<Process>,
}

impl Room {
    pub(super) async fn of(pod: &Pod, name: &'static str, number: u32, join: Join) -> Result<Box<Self>, BenchError> {
        let publisher = pod.another_publisher().await?;
        Ok(Box::new(Self { name, number, join: Join { first_room: number, ..join }, publisher, process: pod.process }))
    }
}

impl Server<'_> {
    pub(super) fn target(&self) -> Target {
        match self {
            Self::Pod(_) => Target::Pod,
            Self::Floor(_) => Target::Floor,
        }
    }

    pub(super) fn process(&self) -> Option<Process> {
        match self {
            Self::Pod(room) => room.process,
            Self::Floor(floor) => Some(floor.process),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Pod(room) => room.name,
            Self::Floor(_) => "floor",
        }
    }

    pub(super) fn join(&self, recipe: Recipe, deflate: bool) -> Join {
        match self {
            Self::Pod(room) => room.join.clone(),
            Self::Floor(floor) => floor.join(recipe, deflate),
        }
    }

    /// Publishes an event that is stamped now.
    pub(super) async fn send(&mut self, recipe: &Recipe, n: u64) -> Result<u64, BenchError> {
        let stamp = Stamp { n, t: clock::now() };
        match self {
            Self::Pod(room) => {
                let data = recipe.data(room.number, stamp);
                room.publisher.publish(&room_name(room.number), &data).await
            }
            Self::Floor(floor) => floor.send(recipe, stamp).await,
        }
    }

    /// The number of the room that is sent to.
    pub(super) fn room(&self) -> u32 {
        match self {
            Self::Pod(room) => room.number,
            Self::Floor(_) => 0,
        }
    }
}
