//! What becomes of a room's deliveries on this pod: the pod's own hub, and the links of edges.
//!
//! Stands between the broker and the hub. Never waits: a link's queue takes a delivery or does not. Always holds: the broker is subscribed to
//! a room while the hub or a link follows it; a link gets a room's deliveries from a [`Delivery::Started`] on, in the order of the log and
//! without a hole, until its queue had no place: then from the next [`Delivery::Started`] on. What a link asks for is told to that link alone,
//! and costs the broker nothing where the room is followed already: an edge that asks without end holds up no other follower.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use metrics::Counter;
use smallvec::SmallVec;

use super::{
    delivered::encode,
    message::{FromHome, delivery_record, message_record},
    out_queue::OutQueue,
};
use crate::{
    broker::{Broker, Deliver, Delivery},
    model::{Position, Room},
};

/// How many locks the rooms are spread over.
const PARTS: usize = 64;

/// A link that follows a room.
struct LinkFollower {
    queue: Arc<OutQueue>,
    /// The number that the edge gave the room.
    number: u32,
    /// Whether the room's events may be compressed behind others.
    shares: bool,
    /// Whether it was told where the room stands, and nothing was refused since.
    stands: bool,
}

impl LinkFollower {
    /// Tells the link where the room stands. What its queue has no place for is told later: no queue grows by what others ask for.
    fn tell(&mut self, room: &Room, position: &Position, dropped: &Counter) {
        let started = FromHome::Started { number: self.number, position: position.clone() };
        self.stands = message_record(&started).is_some_and(|record| self.queue.offer(record));
        if !self.stands {
            dropped.increment(1);
            self.queue.fell_behind(room);
        }
    }
}

#[derive(Default)]
struct RoomFollowers {
    hub: bool,
    links: SmallVec<[LinkFollower; 2]>,
    /// Where the room stands by what was delivered. `None`: the broker was asked, and will say.
    position: Option<Position>,
}

impl RoomFollowers {
    fn is_empty(&self) -> bool {
        !self.hub && self.links.is_empty()
    }

    /// The broker says where the room stands. Whether a follower that has all that was delivered knows that.
    fn began(&mut self, at: &Position) -> bool {
        let is_known = |known: &Position| known.epoch == at.epoch && known.offset >= at.offset;
        let is_known = self.position.as_ref().is_some_and(is_known);
        if !is_known {
            self.position = Some(at.clone());
        }
        is_known
    }

    /// Notes how far a delivery brings the room.
    fn note(&mut self, delivery: &Delivery) {
        if let (Delivery::Event { epoch, event }, Some(known)) = (delivery, &mut self.position) {
            known.offset = event.offset;
            if known.epoch != *epoch {
                known.epoch = epoch.clone();
            }
        }
    }
}

#[derive(Default)]
struct FollowerPart {
    /// Held while the broker is told of a first or last follower, so that it is told in that order. Never held by a delivery.
    turn: Mutex<()>,
    rooms: Mutex<HashMap<Room, RoomFollowers>>,
}

impl FollowerPart {
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Room, RoomFollowers>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The followers of every room.
pub struct Followers {
    hub: Arc<dyn Deliver>,
    parts: Box<[FollowerPart]>,
    hasher: RandomState,
    /// Deliveries that a link's queue had no place for.
    dropped: Counter,
}

impl Followers {
    /// None yet. `hub`: the pod's own.
    #[must_use]
    pub fn new(hub: Arc<dyn Deliver>, dropped: Counter) -> Self {
        Self { hub, parts: (0..PARTS).map(|_| FollowerPart::default()).collect(), hasher: RandomState::new(), dropped }
    }

    fn part(&self, room: &Room) -> &FollowerPart {
        // The remainder is below the number of parts.
        &self.parts[(self.hasher.hash_one(room) % PARTS as u64) as usize]
    }

    /// The hub follows a room, for the first time or again.
    pub fn hub_subscribes(&self, room: &Room, broker: &dyn Broker) {
        let part = self.part(room);
        let _turn = part.turn();
        part.rooms().entry(room.clone()).or_default().hub = true;
        broker.subscribe(room);
    }

    /// The hub follows it no more.
    pub fn hub_unsubscribes(&self, room: &Room, broker: &dyn Broker) {
        self.end(room, broker, |followers| followers.hub = false);
    }

    /// A link follows a room, under a number; `shares`: whether its events may be compressed behind others. Repeating it has the link told anew
    /// where the room stands.
    pub fn follow(&self, room: &Room, queue: &Arc<OutQueue>, (number, shares): (u32, bool), broker: &dyn Broker) {
        let part = self.part(room);
        let _turn = part.turn();
        let is_first = {
            let mut rooms = part.rooms();
            let is_first = !rooms.contains_key(room);
            let RoomFollowers { links, position, .. } = rooms.entry(room.clone()).or_default();
            let at = links.iter().position(|link| Arc::ptr_eq(&link.queue, queue)).unwrap_or_else(|| {
                links.push(LinkFollower { queue: Arc::clone(queue), number, shares, stands: false });
                links.len() - 1
            });
            if let Some(link) = links.get_mut(at) {
                (link.number, link.shares) = (number, shares);
                match position {
                    Some(position) => link.tell(room, position, &self.dropped),
                    // The broker has been asked: all are told what it says.
                    None => link.stands = false,
                }
            }
            is_first
        };
        if is_first {
            broker.subscribe(room);
        }
    }

    /// A link follows it no more under this number.
    pub fn unfollow(&self, room: &Room, queue: &Arc<OutQueue>, number: u32, broker: &dyn Broker) {
        let is_other = |link: &LinkFollower| !Arc::ptr_eq(&link.queue, queue) || link.number != number;
        let mut left = false;
        self.end(room, broker, |followers| {
            let before = followers.links.len();
            followers.links.retain(|link| is_other(link));
            left = followers.links.len() < before;
        });
        if left {
            queue.forget(room);
        }
    }

    fn end(&self, room: &Room, broker: &dyn Broker, change: impl FnOnce(&mut RoomFollowers)) {
        let part = self.part(room);
        let _turn = part.turn();
        let is_last = {
            let mut rooms = part.rooms();
            let Some(followers) = rooms.get_mut(room) else { return };
            change(followers);
            let is_empty = followers.is_empty();
            if is_empty {
                rooms.remove(room);
            }
            is_empty
        };
        if is_last {
            broker.unsubscribe(room);
        }
    }

    /// Tells a link that had no place for something of a room where the room stands.
    pub fn renew(&self, room: &Room, queue: &Arc<OutQueue>) {
        let mut rooms = self.part(room).rooms();
        let Some(RoomFollowers { links, position: Some(position), .. }) = rooms.get_mut(room) else { return };
        if let Some(link) = links.iter_mut().find(|link| Arc::ptr_eq(&link.queue, queue) && !link.stands) {
            link.tell(room, position, &self.dropped);
        }
    }

    /// A room's log was forgotten: all followers are told where it stands now.
    pub fn begin_anew(&self, room: &Room, broker: &dyn Broker) {
        let part = self.part(room);
        let _turn = part.turn();
        let is_followed = part.rooms().get_mut(room).map(|followers| followers.position = None).is_some();
        if is_followed {
            broker.subscribe(room);
        }
    }
}

impl Deliver for Followers {
    fn deliver(&self, room: &Room, delivery: Delivery) {
        let mut rooms = self.part(room).rooms();
        let Some(followers) = rooms.get_mut(room) else { return };
        if let Delivery::Started(at) = &delivery {
            let is_known = followers.began(at);
            let RoomFollowers { links, position, .. } = &mut *followers;
            let position = position.as_ref().unwrap_or(at);
            for link in links.iter_mut().filter(|link| !(is_known && link.stands)) {
                link.tell(room, position, &self.dropped);
            }
            if followers.hub {
                self.hub.deliver(room, delivery);
            }
            return;
        }
        followers.note(&delivery);
        // Encoded by the first link that gets it.
        let mut body: Option<Option<Bytes>> = None;
        for link in &mut followers.links {
            if !link.stands {
                continue;
            }
            let body = body.get_or_insert_with(|| encode(&delivery));
            let record = body.as_ref().and_then(|body| delivery_record(link.number, body));
            let is_event = matches!(delivery, Delivery::Event { .. });
            if !record.is_some_and(|record| link.queue.offer_to(record, is_event && link.shares)) {
                self.dropped.increment(1);
                // What is in no log comes at most once.
                if is_event {
                    link.stands = false;
                    link.queue.fell_behind(room);
                }
            }
        }
        if followers.hub {
            // Under the lock, so that nothing is delivered once the hub has unsubscribed.
            self.hub.deliver(room, delivery);
        }
    }
}

#[cfg(test)]
mod tests;
