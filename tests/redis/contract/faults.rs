//! The suite under test: brokers with a planted fault must fail it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use roomcast::testing::{
    broker::{
        AckBounds, Acks, Answer, Broker, Deliver, Delivery, EachOf, Erasure, History, HistoryQuery, KeptAck, KeyValue,
        PlaceClaim, Presence, Standing, UntoldAck, UserPlaces, UserRecords, Verdicts,
    },
    model::{Ack, Epoch, Notice, PlaceLimit, Policy, Position, Publication, Retained, Room, Signal},
};

use super::{
    acks,
    harness::{Store, bounded},
    history, idempotency, key_value,
    memory::MemoryStore,
    order, subscription, user_places,
};

const DROP: u8 = 0;
const DUPLICATE: u8 = 1;
const SWAP: u8 = 2;
const KEEPS_DELIVERING: u8 = 3;
const FORGETS_KEYS: u8 = 4;
const CALLS_A_PART_THE_WHOLE: u8 = 5;
const LATE_START: u8 = 6;
const TAKES_NOTHING_AWAY: u8 = 7;
const LETS_EVERYBODY_CLAIM: u8 = 8;
const FORGETS_THE_HIGHEST: u8 = 9;
const TAKES_NO_PLACE_BACK: u8 = 10;

/// The memory broker with one fault.
struct Faulty<const FAULT: u8> {
    inner: MemoryStore,
}

/// Deliveries with one fault.
struct Spoiled<const FAULT: u8> {
    inner: Arc<dyn Deliver>,
    held: Mutex<Vec<(Room, Delivery)>>,
}

impl<const FAULT: u8> Deliver for Spoiled<FAULT> {
    fn deliver(&self, room: &Room, delivery: Delivery) {
        let mut held = self.held.lock().unwrap();
        let seventh = matches!(&delivery, Delivery::Event { event, .. } if event.offset % 7 == 0);
        match (FAULT, &delivery) {
            (DROP, _) if seventh => return,
            (DUPLICATE, _) if seventh => self.inner.deliver(room, delivery.clone()),
            (SWAP, _) if seventh => return held.push((room.clone(), delivery)),
            (LATE_START, Delivery::Started(position)) => {
                let late = Position { offset: position.offset.saturating_sub(1), ..position.clone() };
                return self.inner.deliver(room, Delivery::Started(late));
            }
            _ => {}
        }
        self.inner.deliver(room, delivery);
        for (room, delivery) in held.drain(..) {
            self.inner.deliver(&room, delivery);
        }
    }
}

impl<const FAULT: u8> Store for Faulty<FAULT> {
    async fn start(policy: Policy, deliver: Arc<dyn Deliver>) -> Self {
        let deliver = Spoiled::<FAULT> { inner: deliver, held: Mutex::default() };
        Self { inner: MemoryStore::start(policy, Arc::new(deliver)).await }
    }

    fn broker(&self) -> &dyn Broker {
        self
    }

    fn presence(&self) -> &dyn Presence {
        self.inner.presence()
    }

    fn values(&self) -> &dyn KeyValue {
        self
    }

    fn acks(&self) -> &dyn Acks {
        self
    }

    fn erasure(&self) -> &dyn Erasure {
        self.inner.erasure()
    }

    fn records(&self) -> &dyn UserRecords {
        self.inner.records()
    }

    fn places(&self) -> &dyn UserPlaces {
        self
    }

    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send {
        self.inner.pass(time)
    }

    fn lose(&self, room: &Room) -> impl Future<Output = ()> + Send {
        self.inner.lose(room)
    }
}

impl<const FAULT: u8> Broker for Faulty<FAULT> {
    fn publish<'a>(&'a self, room: &'a Room, mut publication: Publication) -> Answer<'a, Position> {
        if FAULT == FORGETS_KEYS {
            publication.idempotency_key = None;
        }
        self.inner.broker().publish(room, publication)
    }

    fn publish_unlogged<'a>(&'a self, room: &'a Room, publication: Publication, except: Box<str>) -> Answer<'a, ()> {
        self.inner.broker().publish_unlogged(room, publication, except)
    }

    fn signal<'a>(&'a self, room: &'a Room, signal: Signal) -> Answer<'a, ()> {
        self.inner.broker().signal(room, signal)
    }

    fn notify<'a>(&'a self, room: &'a Room, notice: Notice) -> Answer<'a, ()> {
        self.inner.broker().notify(room, notice)
    }

    fn subscribe(&self, room: &Room) {
        self.inner.broker().subscribe(room);
    }

    fn unsubscribe(&self, room: &Room) {
        if FAULT != KEEPS_DELIVERING {
            self.inner.broker().unsubscribe(room);
        }
    }

    fn history<'a>(&'a self, room: &'a Room, query: HistoryQuery) -> Answer<'a, History> {
        Box::pin(async move {
            let history = self.inner.broker().history(room, query).await?;
            let complete = history.complete || FAULT == CALLS_A_PART_THE_WHOLE;
            Ok(History { complete, ..history })
        })
    }

    fn retained<'a>(&'a self, room: &'a Room) -> Answer<'a, Retained> {
        self.inner.broker().retained(room)
    }
}

impl<const FAULT: u8> KeyValue for Faulty<FAULT> {
    fn set<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        self.inner.values().set(name, value, ttl)
    }

    fn get<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        self.inner.values().get(name)
    }

    fn take<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        if FAULT == TAKES_NOTHING_AWAY { self.get(name) } else { self.inner.values().take(name) }
    }

    fn claim<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, Option<Bytes>> {
        if FAULT != LETS_EVERYBODY_CLAIM {
            return self.inner.values().claim(name, value, ttl);
        }
        Box::pin(async move { self.set(name, value, ttl).await.map(|()| None) })
    }
}

impl<const FAULT: u8> Acks for Faulty<FAULT> {
    fn standings<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing> {
        self.inner.acks().standings(rooms)
    }

    fn keep<'a>(&'a self, acks: &'a [Ack], bounds: AckBounds) -> EachOf<'a, KeptAck> {
        Box::pin(async move {
            let kept = self.inner.acks().keep(acks, bounds).await;
            let further = |kept: KeptAck| kept.further || FAULT == FORGETS_THE_HIGHEST;
            kept.into_iter().map(|kept| kept.map(|kept| KeptAck { further: further(kept.clone()), ..kept })).collect()
        })
    }

    fn take_untold(&self, older: Duration, most: usize) -> Answer<'_, Vec<UntoldAck>> {
        self.inner.acks().take_untold(older, most)
    }

    fn kept<'a>(&'a self, user: &'a str, bounds: AckBounds) -> Answer<'a, Vec<(Room, Vec<Position>)>> {
        self.inner.acks().kept(user, bounds)
    }
}

impl<const FAULT: u8> UserPlaces for Faulty<FAULT> {
    fn take_places<'a>(&'a self, claims: &'a [PlaceClaim], limit: PlaceLimit) -> Verdicts<'a> {
        self.inner.places().take_places(claims, limit)
    }

    fn give_back<'a>(&'a self, claims: &'a [PlaceClaim]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let claims = if FAULT == TAKES_NO_PLACE_BACK { &[] } else { claims };
        self.inner.places().give_back(claims)
    }
}

/// Runs a test of the suite that must fail.
async fn fails<F: Future<Output = ()> + Send + 'static>(test: F) {
    let outcome = tokio::spawn(bounded(test)).await;
    assert!(outcome.is_err_and(|error| error.is_panic()), "the suite did not notice the fault");
}

macro_rules! noticed {
    ($($name:ident: $fault:ident in $suite:ident :: $test:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $suite::$test::<MemoryStore>().await;
            fails($suite::$test::<Faulty<$fault>>()).await;
        }
    )+};
}

noticed! {
    a_place_that_is_not_given_back_is_noticed: TAKES_NO_PLACE_BACK in user_places::the_newest_is_refused_where_a_user_is_full;
    a_dropped_delivery_is_noticed: DROP in order::events_arrive_in_order_once_and_whole;
    a_duplicate_is_noticed: DUPLICATE in order::events_arrive_in_order_once_and_whole;
    a_swap_is_noticed: SWAP in order::concurrent_publishers_see_one_order;
    a_wrong_start_is_noticed: LATE_START in subscription::the_first_delivery_says_where_the_room_stands;
    a_delivery_after_the_end_is_noticed: KEEPS_DELIVERING in subscription::nothing_is_delivered_after_unsubscribing;
    a_forgotten_key_is_noticed: FORGETS_KEYS in idempotency::publishes_repeated_at_once_are_one_event;
    an_ack_that_always_counts_is_noticed: FORGETS_THE_HIGHEST in acks::the_highest_ack_of_a_user_is_kept;
    a_value_left_behind_is_noticed: TAKES_NOTHING_AWAY in key_value::a_value_is_taken_once;
    a_lease_of_everybody_is_noticed:
        LETS_EVERYBODY_CLAIM in key_value::of_many_who_claim_or_take_at_once_one_succeeds;
    a_part_taken_for_the_whole_is_noticed: CALLS_A_PART_THE_WHOLE in history::what_was_trimmed_is_not_complete;
}
