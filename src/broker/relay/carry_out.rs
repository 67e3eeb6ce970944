//! What a home does for an edge that asks.
//!
//! Always holds: a room is looked up among those that edges may have, and what is said by its length ([`rules`](super::rules)), before anything
//! is done, and so is the user in whose name it is ([`user_check`](super::user_check)); what an edge may not do is refused in a sentence and
//! leaves nothing open.

use std::time::Duration;

use super::{
    MAX_RECORD,
    call::{CallAnswer, EdgeCall, received, sent},
    edges::EdgeLink,
    home::Home,
    link_places::AnswerPlace,
    rules::{MOST_BYTES, MOST_COST, MOST_EVENTS, MOST_MEMBERS, check_publication},
};
use crate::{
    broker::{BrokerError, History, HistoryQuery, Presence as _},
    model::{DELETED, Event, Notice, Position, Publication, Room},
};

/// The longest that a question to the fleet waits for answers, whatever the edge says.
const MOST_PATIENCE: Duration = Duration::from_secs(10);

/// About what the answers of many pods come to.
const FLEET_ANSWERS: usize = 1024 * 1024;

fn refused(why: impl Into<String>) -> BrokerError {
    BrokerError::Unavailable(why.into())
}

impl Home {
    /// Whether edges may have a room.
    pub(super) fn check_room(&self, room: &Room) -> Result<(), BrokerError> {
        if self.access.allows_room(room) {
            return Ok(());
        }
        self.metrics.refused_room.increment(1);
        Err(refused(format!(
            "the home of this edge does not relay the room {room}: its `relay.rooms` has no pattern for it"
        )))
    }

    fn check_publish(&self) -> Result<(), BrokerError> {
        if self.access.allows_publish() {
            return Ok(());
        }
        self.metrics.refused_publish.increment(1);
        Err(refused("the home of this edge takes nothing from edges: its `relay.publish` is off"))
    }

    fn check_orders(&self) -> Result<(), BrokerError> {
        if self.access.allows_orders() {
            return Ok(());
        }
        self.metrics.refused_orders.increment(1);
        Err(refused("the home of this edge takes no orders from edges: its `relay.orders` is off"))
    }

    /// Whether an edge may publish this: what says that events are deleted is an order.
    fn check_event(&self, link: &EdgeLink, room: &Room, publication: &Publication) -> Result<(), BrokerError> {
        self.check_publish().and_then(|()| self.check_room(room))?;
        if *publication.topic == *DELETED {
            self.check_orders()?;
        }
        self.check_user(link, publication.user.as_deref())?;
        self.check_size(check_publication(publication, self.access.event_bytes()))
    }

    /// Does what an edge asks. `place`: where the answer has one.
    pub(super) async fn carry_out(
        &self,
        link: &EdgeLink,
        call: EdgeCall,
        place: &mut AnswerPlace,
    ) -> Result<CallAnswer, BrokerError> {
        let (store, access) = (&self.store, &self.access);
        self.check_size(call.check(access.event_bytes()))?;
        match call {
            EdgeCall::Publish(all) => Ok(CallAnswer::Published(self.publish_all(link, all).await)),
            EdgeCall::Unlogged(room, publication, except) => {
                self.check_event(link, &room, &publication)?;
                store.broker.publish_unlogged(&room, *publication, except).await.map(|()| CallAnswer::Done)
            }
            EdgeCall::Signal(room, signal) => {
                self.check_publish().and_then(|()| self.check_room(&room))?;
                self.check_user(link, signal.sender.user.as_deref())?;
                store.broker.signal(&room, *signal).await.map(|()| CallAnswer::Done)
            }
            EdgeCall::Notify(room, mut notice) => {
                self.check_publish().and_then(|()| self.check_room(&room))?;
                if let Notice::Receipts(receipts) = &mut *notice {
                    // One user without a good token keeps no other's receipts from their author.
                    let mut refused = Ok(());
                    receipts.retain(|receipt| {
                        let may =
                            self.check_room(&receipt.room).and_then(|()| self.check_user(link, Some(&receipt.user)));
                        may.map_err(|error| refused = Err(error)).is_ok()
                    });
                    if receipts.is_empty() {
                        refused?;
                    }
                }
                store.broker.notify(&room, *notice).await.map(|()| CallAnswer::Done)
            }
            EdgeCall::History(room, query) => {
                self.check_room(&room)?;
                self.history(&room, query, place).await.map(CallAnswer::History)
            }
            EdgeCall::Retained(room) => {
                self.check_room(&room)?;
                store.broker.retained(&room).await.map(CallAnswer::Retained)
            }
            EdgeCall::Members(room, limit) => {
                self.check_room(&room)?;
                store.presence.list(&room, limit.min(MOST_MEMBERS)).await.map(CallAnswer::Members)
            }
            EdgeCall::Standings(rooms) => {
                rooms.iter().try_for_each(|(room, _)| self.check_room(room))?;
                Ok(CallAnswer::Standings(store.acks.standings(&rooms).await))
            }
            // How much is kept is for this pod to say.
            EdgeCall::Keep(acks, _) => {
                self.check_publish()?;
                acks.iter().try_for_each(|ack| self.check_room(&ack.room))?;
                let checks: Vec<_> = acks.iter().map(|ack| self.check_user(link, Some(&ack.user))).collect();
                let said = store.acks.keep(&good(acks, &checks), access.ack_bounds()).await;
                Ok(CallAnswer::Acked(each(checks, said)))
            }
            EdgeCall::Kept(user, _) => {
                let mut kept = store.acks.kept(&user, access.ack_bounds()).await?;
                kept.retain(|(room, _)| access.allows_room(room));
                Ok(CallAnswer::Kept(kept))
            }
            EdgeCall::Set(name, value, ttl) => {
                self.check_publish()?;
                let ttl = ttl.min(access.longest_value());
                store.values.set(&name, received(value), ttl).await.map(|()| CallAnswer::Done)
            }
            EdgeCall::Get(name) => store.values.get(&name).await.map(|value| CallAnswer::Value(value.map(sent))),
            EdgeCall::Take(name) => {
                self.check_publish()?;
                store.values.take(&name).await.map(|value| CallAnswer::Value(value.map(sent)))
            }
            EdgeCall::Claim(name, value, ttl) => {
                self.check_publish()?;
                let there = store.values.claim(&name, received(value), ttl.min(access.longest_value())).await?;
                Ok(CallAnswer::Value(there.map(sent)))
            }
            EdgeCall::ForgetRoom(room) => {
                self.check_orders().and_then(|()| self.check_room(&room))?;
                store.erasure.forget_room(&room).await.map(CallAnswer::Forgotten)
            }
            EdgeCall::ForgetUser(user, own) => {
                self.check_orders()?;
                own.iter().try_for_each(|room| self.check_room(room))?;
                let authored = store.erasure.forget_user(&user, &own).await?;
                // The edge has these events go, so that it must be allowed to; it is not told the names of other rooms.
                if !authored.iter().all(|room| self.access.allows_room(room)) {
                    self.metrics.refused_room.increment(1);
                    return Err(refused(
                        "this user wrote in rooms that the home of this edge does not relay: erase the user at the home",
                    ));
                }
                // The logs' part is the edge's, and comes behind this: it may be told twice.
                store.erasure.forget_beyond(&user).await?;
                Ok(CallAnswer::Authored(authored))
            }
            EdgeCall::DeleteEvent(room, deletion) => {
                self.check_orders().and_then(|()| self.check_room(&room))?;
                store.erasure.delete_event(&room, &deletion).await.map(CallAnswer::Forgotten)
            }
            EdgeCall::NoteAuthor(room, user) => {
                self.check_publish().and_then(|()| self.check_room(&room))?;
                self.check_user(link, Some(&user))?;
                store.erasure.note_author(&room, &user).await.map(|()| CallAnswer::Done)
            }
            EdgeCall::ForgetAuthor(room, user, since) => {
                self.check_orders().and_then(|()| self.check_room(&room))?;
                store.erasure.forget_author(&room, &user, since).await.map(|()| CallAnswer::Done)
            }
            EdgeCall::AskOthers(question, within) => {
                self.check_orders()?;
                let turn = place.turn_to_ask().await;
                if !self.edges.has(link) {
                    return Err(BrokerError::Unknown);
                }
                let answers = store.control.ask_for_edge(&link.pod, &question, within.min(MOST_PATIENCE)).await?;
                drop(turn);
                place.be_of(FLEET_ANSWERS).await;
                Ok(CallAnswer::Fleet(answers))
            }
            EdgeCall::Address(pod) => Ok(CallAnswer::Address(store.control.address_for_edge(&pod))),
        }
    }

    /// Whether what is said is within its bounds.
    fn check_size(&self, checked: Result<(), String>) -> Result<(), BrokerError> {
        checked.map_err(|why| {
            self.metrics.refused_size.increment(1);
            refused(format!("the home of this edge does not take it: {why}"))
        })
    }

    /// Reads a log, as much as one answer holds. An event that is larger than that comes alone, or the edge would never get past it.
    async fn history(&self, room: &Room, query: HistoryQuery, place: &mut AnswerPlace) -> Result<History, BrokerError> {
        let (asked, broker, is_newest) = (query.max_bytes, &self.store.broker, query.since.is_none());
        let (max_events, max_bytes) = (query.max_events.min(MOST_EVENTS), query.max_bytes.min(MOST_BYTES));
        let query = HistoryQuery { max_events, max_bytes, ..query };
        let history = broker.history(room, query.clone()).await?;
        let is_stuck = history.events.is_empty() && !history.complete && history.offset < history.end;
        if query.since.is_some() && is_stuck && asked > MOST_BYTES && max_events > 0 {
            place.be_large().await;
            let alone = HistoryQuery { max_events: 1, max_bytes: asked.min(MAX_RECORD / 2), ..query };
            return broker.history(room, alone).await;
        }
        Ok(shortened(history, is_newest))
    }

    /// Publishes those that may be published, in their order.
    async fn publish_all(&self, link: &EdgeLink, all: Vec<(Room, Publication)>) -> Vec<Result<Position, BrokerError>> {
        let check = |(room, publication): &(Room, Publication)| self.check_event(link, room, publication);
        let checks: Vec<_> = all.iter().map(check).collect();
        let said = self.store.broker.publish_all(good(all, &checks)).await;
        each(checks, said)
    }
}

/// Those whose checks are good, in their order.
fn good<T>(all: Vec<T>, checks: &[Result<(), BrokerError>]) -> Vec<T> {
    all.into_iter().zip(checks).filter(|(_, check)| check.is_ok()).map(|(one, _)| one).collect()
}

/// What became of each: why it may not be, or the next thing that is said of those that may.
fn each<A>(checks: Vec<Result<(), BrokerError>>, said: Vec<Result<A, BrokerError>>) -> Vec<Result<A, BrokerError>> {
    let mut said = said.into_iter();
    let each = |check: Result<(), BrokerError>| check.and_then(|()| said.next().unwrap_or(Err(BrokerError::Unknown)));
    checks.into_iter().map(each).collect()
}

/// As much of a part of a log as one answer has place for: the oldest events, or the newest. The first one comes whatever it costs.
fn shortened(mut history: History, is_newest: bool) -> History {
    let mut cost = 0;
    let mut fits = |event: &Event| {
        let is_first = cost == 0;
        cost += event.cost();
        is_first || cost <= MOST_COST
    };
    let all = history.events.len();
    if is_newest {
        let kept = history.events.iter().rev().take_while(|event| fits(event)).count();
        if kept < all {
            // What is left out is before the first that is kept.
            history.events.drain(..all - kept);
            history.after = history.events.first().map_or(history.offset, |first| first.offset.saturating_sub(1));
            history.complete = false;
        }
    } else {
        let kept = history.events.iter().take_while(|event| fits(event)).count();
        if kept < all {
            history.events.truncate(kept);
            history.offset = history.events.last().map_or(history.after, |last| last.offset);
            history.complete = false;
        }
    }
    history
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Epoch, Payload};

    #[test]
    fn an_answer_holds_so_much_of_a_log_whatever_its_events_have_beside_data() {
        let text = |bytes: usize| Some("x".repeat(bytes).into_boxed_str());
        let event = |offset| {
            let payload = Payload::Binary(vec![0; 10].into());
            let (topic, key, user, id) = ("t".into(), text(255), text(255), text(255));
            let publication = Publication { topic, key, payload, user, id, idempotency_key: None };
            Arc::new(Event::from_publication(publication, offset, 1, None))
        };
        let all = || History {
            epoch: Epoch::new("e"),
            after: 10,
            offset: 10_010,
            end: 20_000,
            complete: true,
            events: (11..=10_010).map(event).collect(),
        };
        let cost = |history: &History| history.events.iter().map(|event| event.cost()).sum::<usize>();
        assert!(cost(&all()) > 2 * MOST_COST);
        let oldest = shortened(all(), false);
        assert!(cost(&oldest) <= MOST_COST && cost(&oldest) > MOST_COST / 2 && !oldest.complete);
        assert_eq!((oldest.after, oldest.offset), (10, 10 + oldest.events.len() as u64));
        let newest = shortened(all(), true);
        assert!(cost(&newest) <= MOST_COST && !newest.complete);
        assert_eq!((newest.after, newest.offset), (10_010 - newest.events.len() as u64, 10_010));
        let few = History { offset: 12, events: vec![event(11), event(12)], ..all() };
        assert_eq!(shortened(few.clone(), false), few);
        assert_eq!(shortened(few.clone(), true), few);
    }
}
