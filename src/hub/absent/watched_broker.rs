//! A broker whose publishes are handed in at the desk.
//!
//! Changes nothing of what the broker does. Always holds: an event that was not published is not handed in.

use std::sync::Arc;

use super::desk::AbsentDesk;
use crate::{
    broker::{Answer, Broker, EachAnswer, History, HistoryQuery},
    model::{Notice, Position, Publication, Retained, Room, Signal},
};

/// A broker, and the desk that is told.
pub struct WatchedBroker {
    broker: Arc<dyn Broker>,
    desk: Arc<AbsentDesk>,
}

impl WatchedBroker {
    /// The same broker, watched.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, desk: Arc<AbsentDesk>) -> Self {
        Self { broker, desk }
    }
}

impl Broker for WatchedBroker {
    fn publish<'a>(&'a self, room: &'a Room, publication: Publication) -> Answer<'a, Position> {
        let Some(event) = self.desk.note(room, &publication) else { return self.broker.publish(room, publication) };
        Box::pin(async move {
            let position = self.broker.publish(room, publication).await?;
            self.desk.add(event, &position);
            Ok(position)
        })
    }

    fn publish_all<'a>(&'a self, publications: Vec<(Room, Publication)>) -> EachAnswer<'a> {
        let events: Vec<_> = publications.iter().map(|(room, publication)| self.desk.note(room, publication)).collect();
        if events.iter().all(Option::is_none) {
            return self.broker.publish_all(publications);
        }
        Box::pin(async move {
            let results = self.broker.publish_all(publications).await;
            for (event, result) in events.into_iter().zip(&results) {
                if let (Some(event), Ok(position)) = (event, result) {
                    self.desk.add(event, position);
                }
            }
            results
        })
    }

    fn publish_unlogged<'a>(&'a self, room: &'a Room, publication: Publication, except: Box<str>) -> Answer<'a, ()> {
        self.broker.publish_unlogged(room, publication, except)
    }

    fn signal<'a>(&'a self, room: &'a Room, signal: Signal) -> Answer<'a, ()> {
        self.broker.signal(room, signal)
    }

    fn notify<'a>(&'a self, room: &'a Room, notice: Notice) -> Answer<'a, ()> {
        self.broker.notify(room, notice)
    }

    fn subscribe(&self, room: &Room) {
        self.broker.subscribe(room);
    }

    fn unsubscribe(&self, room: &Room) {
        self.broker.unsubscribe(room);
    }

    fn history<'a>(&'a self, room: &'a Room, query: HistoryQuery) -> Answer<'a, History> {
        self.broker.history(room, query)
    }

    fn retained<'a>(&'a self, room: &'a Room) -> Answer<'a, Retained> {
        self.broker.retained(room)
    }
}
