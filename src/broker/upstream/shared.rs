//! What an edge keeps at its home beside rooms: values, what users have read, and the questions of the fleet.
//!
//! All of it goes over the link that leads. Never keeps anything here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Upstream, done, unexpected};
use crate::{
    broker::{
        AckBounds, Acks, Answer, BrokerError, Control, EachOf, Erasure, FleetAnswers, FleetQuestion, KeptAck, KeyValue,
        Respond, Standing, UntoldAck,
        relay::{
            call::{CallAnswer, EdgeCall, received, sent},
            rules::MOST_PARTS,
        },
    },
    model::{Ack, Deletion, Epoch, Position, Room},
};

impl Upstream {
    /// Asks about each of these, as many in a call as one may have.
    fn in_parts<'a, T, A: Clone + Send + 'a>(
        &'a self,
        all: &'a [T],
        call: impl Fn(&[T]) -> EdgeCall,
        take: impl Fn(CallAnswer) -> Option<Vec<Result<A, BrokerError>>> + Copy + Send + 'a,
    ) -> EachOf<'a, A> {
        let said: Vec<_> = all
            .chunks(MOST_PARTS)
            .map(|part| {
                let (count, said) = (part.len(), self.state.call(None, call(part)));
                async move { each(said.await.map(take), count) }
            })
            .collect();
        Box::pin(async move { join_all(said).await.into_iter().flatten().collect() })
    }

    fn value(&self, call: EdgeCall) -> Answer<'_, Option<Bytes>> {
        let said = self.state.call(None, call);
        Box::pin(async move {
            match said.await? {
                CallAnswer::Value(value) => Ok(value.map(received)),
                other => unexpected(other),
            }
        })
    }
}

impl KeyValue for Upstream {
    fn set<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        let said = self.state.call(None, EdgeCall::Set(name.into(), sent(value), ttl));
        Box::pin(async move { said.await.and_then(done) })
    }

    fn get<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        self.value(EdgeCall::Get(name.into()))
    }

    fn take<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        self.value(EdgeCall::Take(name.into()))
    }

    fn claim<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, Option<Bytes>> {
        self.value(EdgeCall::Claim(name.into(), sent(value), ttl))
    }
}

/// An answer with one part for each of the question's, or the reason why none has any.
fn each<T: Clone>(
    said: Result<Option<Vec<Result<T, BrokerError>>>, BrokerError>,
    count: usize,
) -> Vec<Result<T, BrokerError>> {
    match said {
        Ok(Some(each)) if each.len() == count => each,
        Ok(_) => vec![Err(BrokerError::Unknown); count],
        Err(error) => vec![Err(error); count],
    }
}

impl Acks for Upstream {
    fn standings<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing> {
        let call = |part: &[(Room, Vec<Epoch>)]| EdgeCall::Standings(part.to_vec());
        self.in_parts(rooms, call, |said| match said {
            CallAnswer::Standings(each) => Some(each),
            _ => None,
        })
    }

    fn keep<'a>(&'a self, acks: &'a [Ack], bounds: AckBounds) -> EachOf<'a, KeptAck> {
        let call = |part: &[Ack]| EdgeCall::Keep(part.to_vec(), bounds);
        self.in_parts(acks, call, |said| match said {
            CallAnswer::Acked(each) => Some(each),
            _ => None,
        })
    }

    fn take_untold(&self, _: Duration, _: usize) -> Answer<'_, Vec<UntoldAck>> {
        // What an edge that died left is its home's to tell.
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn kept<'a>(&'a self, user: &'a str, bounds: AckBounds) -> Answer<'a, Vec<(Room, Vec<Position>)>> {
        let said = self.state.call(None, EdgeCall::Kept(user.into(), bounds));
        Box::pin(async move {
            match said.await? {
                CallAnswer::Kept(kept) => Ok(kept),
                other => unexpected(other),
            }
        })
    }
}

impl Erasure for Upstream {
    fn forget_room<'a>(&'a self, room: &'a Room) -> Answer<'a, bool> {
        let said = self.state.call(Some(room.clone()), EdgeCall::ForgetRoom(room.clone()));
        Box::pin(async move {
            self.state.rooms.drop_tail(room);
            match said.await? {
                CallAnswer::Forgotten(had) => {
                    self.state.rooms.drop_tail(room);
                    Ok(had)
                }
                other => unexpected(other),
            }
        })
    }

    fn delete_event<'a>(&'a self, room: &'a Room, deletion: &'a Deletion) -> Answer<'a, bool> {
        let said = self.state.call(Some(room.clone()), EdgeCall::DeleteEvent(room.clone(), Box::new(deletion.clone())));
        Box::pin(async move {
            let said = said.await;
            // Whatever became of it: what is here may be what is gone there.
            self.state.rooms.drop_tail(room);
            match said? {
                CallAnswer::Forgotten(had) => Ok(had),
                other => unexpected(other),
            }
        })
    }

    fn forget_user<'a>(&'a self, user: &'a str, own: &'a [Room]) -> Answer<'a, Vec<Room>> {
        let said = self.state.call(None, EdgeCall::ForgetUser(user.into(), own.to_vec()));
        Box::pin(async move {
            let said = said.await;
            own.iter().for_each(|room| self.state.rooms.drop_tail(room));
            match said? {
                CallAnswer::Authored(rooms) => Ok(rooms),
                other => unexpected(other),
            }
        })
    }

    fn note_author<'a>(&'a self, room: &'a Room, user: &'a str) -> Answer<'a, ()> {
        let said = self.state.call(Some(room.clone()), EdgeCall::NoteAuthor(room.clone(), user.into()));
        Box::pin(async move { said.await.and_then(done) })
    }

    fn forget_author<'a>(&'a self, room: &'a Room, user: &'a str, since: Duration) -> Answer<'a, ()> {
        let said = self.state.call(Some(room.clone()), EdgeCall::ForgetAuthor(room.clone(), user.into(), since));
        Box::pin(async move { said.await.and_then(done) })
    }
}

impl Control for Upstream {
    fn pod(&self) -> &str {
        &self.state.pod
    }

    fn address<'a>(&'a self, pod: &'a str) -> Answer<'a, Option<String>> {
        let peers = &self.state.peers;
        Box::pin(async move {
            let known = peers.of(pod);
            if known.is_some() || !peers.are_any() {
                return Ok(known);
            }
            match self.state.call(None, EdgeCall::Address(pod.to_owned())).await? {
                CallAnswer::Address(address) => Ok(address.and_then(|address| peers.learn(pod, address))),
                other => unexpected(other),
            }
        })
    }

    fn ask_others<'a>(&'a self, ask: &'a FleetQuestion, within: Duration) -> Answer<'a, FleetAnswers> {
        let said = self.state.call(None, EdgeCall::AskOthers(Box::new(ask.clone()), within));
        Box::pin(async move {
            match said.await? {
                CallAnswer::Fleet(answers) => Ok(answers),
                other => unexpected(other),
            }
        })
    }

    fn announce_drain(&self) {}

    fn has_left(&self, _: u64) -> bool {
        false
    }

    fn answer_with(&self, respond: Arc<dyn Respond>) {
        let _ = self.state.respond.set(respond);
    }
}
