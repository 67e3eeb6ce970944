//! What an edge says over its link, and what its home does.
//!
//! Never reads or writes the link. Bounded: rooms by [`MOST_ROOMS`] and [`MOST_ROOM_BYTES`], those of all links by what the pod's queues may
//! hold; calls by [`LinkPlaces`], beyond which the link is not read, so that the edge waits. Always holds: what an edge asks for and does not
//! read is not added to; what it says holds up no other link ([`LinkTurn`]).

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    call::EdgeCall,
    edge_members::JoinOutcome,
    edges::EdgeLink,
    home::Home,
    link_end::{CutReason, LinkEnd},
    link_places::LinkPlaces,
    link_turn::LinkTurn,
    member_departure::MemberDeparture,
    message::{FromEdge, FromHome, Record, message, next_record},
    rules::check_member,
};
use crate::{
    broker::BrokerError,
    model::{Member, Room},
};

/// The most rooms of one edge.
const MOST_ROOMS: usize = 1_000_000;

/// The most bytes that they take.
const MOST_ROOM_BYTES: usize = 256 * 1024 * 1024;

/// What a followed room takes beside its name.
const ROOM_ENTRY: usize = 256;

/// The largest answer of an edge to a question of the fleet.
const MOST_ANSWER: usize = 1024 * 1024;

/// How often it is looked whether a queue has place again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often an edge has a sign of life while its tokens are verified, or its members looked through. It waits 5 s for one.
pub(super) const SIGN_EVERY: Duration = Duration::from_secs(1);

/// What one link has of its home.
pub(super) struct EdgeSession {
    home: Arc<Home>,
    link: Arc<EdgeLink>,
    /// By the numbers that the edge gave them.
    rooms: HashMap<u32, Room>,
    room_bytes: usize,
    places: Arc<LinkPlaces>,
    /// When the edge had its last sign of life.
    alive: Instant,
    turn: LinkTurn,
}

fn room_bytes(room: &Room) -> usize {
    ROOM_ENTRY + room.as_str().len()
}

impl EdgeSession {
    /// Nothing yet.
    pub(super) fn new(home: Arc<Home>, link: Arc<EdgeLink>) -> Self {
        let places = LinkPlaces::new(Arc::clone(&home.answers), Arc::clone(&home.memory));
        let (rooms, alive, turn) = (HashMap::new(), Instant::now(), LinkTurn::begin());
        Self { home, link, rooms, room_bytes: 0, places, alive, turn }
    }

    /// Does what a message of the edge says.
    pub(super) async fn take_all(&mut self, mut bytes: Bytes) -> Result<(), LinkEnd> {
        let words = |why: String| LinkEnd::cut(CutReason::Words, why);
        loop {
            let json = match next_record(&mut bytes).map_err(|error| words(error.to_string()))? {
                None => return Ok(()),
                Some(Record::Delivery(..) | Record::Packed(_)) => {
                    return Err(words("an edge delivers nothing".to_owned()));
                }
                Some(Record::Message(json)) => json,
            };
            let said = message(&json).map_err(|error| words(error.to_string()))?;
            while self.link.queue.is_flooded() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            self.take(said, json.len()).await?;
            self.turn.give_way().await;
        }
    }

    /// Does what a record of so many bytes says.
    async fn take(&mut self, said: FromEdge, bytes: usize) -> Result<(), LinkEnd> {
        let Self { home, link, .. } = self;
        match said {
            FromEdge::Hello { .. } => return Err(LinkEnd::cut(CutReason::Words, "a second hello came")),
            FromEdge::Follow { number, room } => self.follow(number, room)?,
            FromEdge::Unfollow { number } => {
                if let Some(room) = self.rooms.remove(&number) {
                    self.forget_bytes(room_bytes(&room));
                    self.link.account.follows(self.rooms.len());
                    self.home.followers.unfollow(&room, &self.link.queue, number, &*self.home.store.broker);
                }
            }
            FromEdge::Vouch(token) => {
                home.vouch(link, &token).await;
                // Thousands may come at once, and its signs of life stand behind them.
                if self.alive.elapsed() >= SIGN_EVERY {
                    self.alive = Instant::now();
                    self.link.queue.send(&FromHome::Alive);
                }
            }
            FromEdge::Call { id, call } => self.begin(id, call, bytes).await,
            FromEdge::Ping { at } => {
                link.queue.send(&FromHome::Pong { at, time: (link.now)() });
            }
            // Said once more it means nothing: each beginning has all members looked through.
            FromEdge::Lead(true) if link.leads.swap(true, Ordering::Relaxed) => {}
            FromEdge::Lead(true) => home.members.begin(&link.pod, link.number),
            FromEdge::Lead(false) => {
                link.leads.store(false, Ordering::Relaxed);
                home.take_back(&link.pod, Some(link), MemberDeparture::Elsewhere { link: link.number }).await;
            }
            FromEdge::Join(room, member) => self.join(&room, &member),
            FromEdge::Leave(room, member) => {
                if home.members.leave(&link.pod, link.number, &room, &member) {
                    home.store.presence.leave_for(&link.pod, &room, &member);
                }
            }
            FromEdge::AllJoined => {
                home.take_back(&link.pod, Some(link), MemberDeparture::Unnamed { link: link.number }).await;
            }
            FromEdge::Answer { id, said } => {
                let is_small = bytes <= MOST_ANSWER;
                if !is_small {
                    home.metrics.refused_size.increment(1);
                }
                home.take_answer(link, id, said.filter(|_| is_small));
            }
        }
        Ok(())
    }

    fn follow(&mut self, number: u32, room: Room) -> Result<(), LinkEnd> {
        let Self { home, link, rooms, .. } = self;
        if let Err(error) = home.check_room(&room) {
            link.queue.send(&FromHome::Refused { number, why: error.to_string() });
            return Ok(());
        }
        let bytes = room_bytes(&room);
        match rooms.get(&number) {
            Some(known) if *known == room => {}
            Some(_) => return Err(LinkEnd::cut(CutReason::Words, "it gave a number to a second room")),
            None if rooms.len() >= MOST_ROOMS || self.room_bytes + bytes > MOST_ROOM_BYTES => {
                let why = format!(
                    "it follows more than {MOST_ROOMS} rooms, or rooms with longer names than there is place for"
                );
                return Err(LinkEnd::cut(CutReason::Limit, why));
            }
            None => {
                let all = home.edges.room_bytes.load(Ordering::Relaxed);
                if all + bytes > home.memory.limit() {
                    home.metrics.refused_memory.increment(1);
                    let why = "the edges of this home follow as many rooms as it has memory for".to_owned();
                    link.queue.send(&FromHome::Refused { number, why });
                    return Ok(());
                }
                home.edges.room_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.room_bytes += bytes;
                rooms.insert(number, room.clone());
                link.account.follows(rooms.len());
            }
        }
        let shares = link.packs && home.access.shares_window(&room);
        home.followers.follow(&room, &link.queue, (number, shares), &*home.store.broker);
        Ok(())
    }

    fn forget_bytes(&mut self, bytes: usize) {
        self.room_bytes -= bytes;
        self.home.edges.room_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn join(&self, room: &Room, member: &Member) {
        let (home, link) = (&self.home, &self.link);
        if !home.access.allows_room(room) {
            return;
        }
        if check_member(member).is_err() {
            home.metrics.refused_size.increment(1);
            return;
        }
        let most = home.memory.limit();
        let outcome = match home.check_user(link, member.user.as_deref()) {
            Ok(()) => home.members.join(&link.pod, link.number, room, member, most),
            Err(_) => home.members.join_hidden(&link.pod, link.number, room, member, most),
        };
        match outcome {
            JoinOutcome::Known => home.store.presence.join_for(&link.pod, room, member),
            JoinOutcome::Hidden | JoinOutcome::Elsewhere => {}
            JoinOutcome::Gone { has_place } => {
                home.store.presence.leave_for(&link.pod, room, member);
                if !has_place {
                    home.metrics.refused_members.increment(1);
                }
            }
            JoinOutcome::Full => home.metrics.refused_members.increment(1),
        }
    }

    /// Begins with a call, once it has a place: until then the edge is not read.
    async fn begin(&self, id: u64, call: EdgeCall, bytes: usize) {
        let Some(place) = self.places.for_call(bytes).await else { return };
        let (home, link, places) = (Arc::clone(&self.home), Arc::clone(&self.link), Arc::clone(&self.places));
        // Tasks are polled first in the order in which they were made: so calls keep their order.
        tokio::spawn(async move {
            let mut answer = places.for_answer(call.answer_bytes(home.access.event_bytes())).await;
            // What has not begun when the link ends never does: its key may have been taken away.
            if !home.edges.has(&link) {
                return;
            }
            let said = home.carry_out(&link, call, &mut answer).await;
            home.metrics.calls.increment(1);
            if !link.queue.send(&FromHome::Answered { id, said }) {
                let why = "the answer is larger than a link carries".to_owned();
                link.queue.send(&FromHome::Answered { id, said: Err(BrokerError::Unavailable(why)) });
            }
            answer.was_queued();
            while !link.queue.has_room() && home.edges.has(&link) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            drop((place, answer));
        });
    }
}

impl Drop for EdgeSession {
    fn drop(&mut self) {
        self.forget_bytes(self.room_bytes);
        for (number, room) in &self.rooms {
            self.home.followers.unfollow(room, &self.link.queue, *number, &*self.home.store.broker);
        }
    }
}
