//! Questions between the pods of a fleet.
//!
//! Never decides what a pod answers: that is the hub's, behind [`Respond`]. Always holds: a pod that should have answered and did not is named.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use super::Answer;
use crate::model::{
    ConnectionQuery, ListedConnection, MemberCount, Order, PodList, PodStats, PodTraffic, Room, RoomQuery, Target,
    TracedEvent,
};

/// A question of one pod to all others.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetQuestion {
    /// Do something to connections; the answer is to how many it was done.
    Order(Order),
    /// How much there is.
    Stats,
    /// How many are in a room, or in each, and how much was moved so far.
    Traffic(Option<Room>),
    /// Look at these users' records: whether they hide has changed.
    Users(Vec<Box<str>>),
    /// End this user's connections, and let go of what is held of it; the answer is to how many connections that was done.
    Erase(Box<str>),
    /// Which of these users have a connection.
    Present(Vec<Box<str>>),
    /// Which connections there are.
    Connections(Box<ConnectionQuery>),
    /// Which rooms have members.
    Rooms(Box<RoomQuery>),
    /// These events were traced when they were published. No pod answers.
    Traces(Vec<TracedEvent>),
}

/// A pod's answer to a [`FleetQuestion`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetAnswer {
    /// To how many connections it was done. `None`: the connection that the order names is not there.
    Done(Option<usize>),
    /// How much there is.
    Stats(Box<PodStats>),
    /// How many are in rooms, and how much was moved.
    Traffic(Box<PodTraffic>),
    /// Those of the users that have a connection.
    Present(Vec<Box<str>>),
    /// Connections.
    Connections(Box<PodList<ListedConnection>>),
    /// Rooms, with the members there.
    Rooms(Box<PodList<MemberCount>>),
}

impl FleetQuestion {
    /// Whether no other pod's answer could add anything to this one.
    #[must_use]
    pub fn is_settled_by(&self, said: &FleetAnswer) -> bool {
        match (self, said) {
            (Self::Order(Order { target: Target::Connection(_), .. }), FleetAnswer::Done(done)) => done.is_some(),
            (Self::Connections(query), FleetAnswer::Connections(list)) => {
                query.named.is_some() && !list.entries.is_empty()
            }
            _ => false,
        }
    }
}

impl FleetAnswer {
    /// The users that it says are there.
    #[must_use]
    pub fn users(&self) -> Vec<&str> {
        match self {
            Self::Present(users) => users.iter().map(|user| &**user).collect(),
            Self::Connections(list) => list.entries.iter().filter_map(|entry| entry.user.as_deref()).collect(),
            _ => Vec::new(),
        }
    }
}

/// The answers of the other pods.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FleetAnswers {
    /// By pod, each once.
    pub said: Vec<(String, FleetAnswer)>,
    /// The pods whose lease runs and that did not answer in time.
    pub silent: Vec<String>,
}

/// Answers for this pod. Answers are polled in the order in which the questions came, and an order goes to the workers at the
/// first poll, so that orders keep their order.
pub trait Respond: Send + Sync {
    /// Does what is asked. `None`: it could not, and the asking pod counts this one as silent.
    fn respond(&self, ask: FleetQuestion) -> Pin<Box<dyn Future<Output = Option<FleetAnswer>> + Send>>;
}

/// The other pods of a fleet. A pod without Redis is a fleet of one.
pub trait Control: Send + Sync {
    /// This pod's name: 16 hexadecimal digits, new at each start.
    fn pod(&self) -> &str;
    /// Whether a pod of the fleet has that name, this one included, as far as is known. Never waits.
    fn is_pod(&self, name: &str) -> bool {
        name == self.pod()
    }
    /// Where a pod's internal listener is, as `HOST:PORT`. `None`: there is no such pod any more, or it does not say
    /// (`advertise`).
    fn address<'a>(&'a self, pod: &'a str) -> Answer<'a, Option<String>>;
    /// Asks every other pod, and waits for their answers, at most `within` after they were asked.
    ///
    /// # Errors
    /// [`BrokerError`](super::BrokerError): they were not asked, or that is not known.
    fn ask_others<'a>(&'a self, ask: &'a FleetQuestion, within: Duration) -> Answer<'a, FleetAnswers>;
    /// Tells the other pods that this one goes: its clients that come to them need not wait for it.
    fn announce_drain(&self);
    /// Whether a pod has gone or announced its drain, by the lowest 48 bits of its name as a number. In doubt it has not. Never waits.
    fn has_left(&self, pod: u64) -> bool;
    /// Has `respond` answer the questions of other pods. The first call counts.
    fn answer_with(&self, respond: Arc<dyn Respond>);
}
