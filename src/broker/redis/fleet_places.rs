//! The places of users in Redis: a hash for each user, in the partition of the user's name.
//!
//! A place is its pod's as long as the pod's lease runs, and as long as the pod speaks of it. Always holds: each master gets one call for
//! [`CLAIMS_A_CALL`] claims, and a second one for those that meet a full user; where Redis does not answer, this pod's own connections
//! decide, and Redis is told later.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use fred::types::Value;
use tokio::time::timeout;

use super::{
    across::AskedThing,
    arguments::{count, millis},
    node::Lane,
    own_places::{DuePlaces, PLACE_TTL},
    presence::FleetMembers,
    reply::ReplyError,
    script,
    state::RedisState,
};
use crate::{
    broker::{BrokerError, DisplacedConnection, PlaceClaim, PlaceVerdict, UserPlaces, Verdicts},
    model::{PlaceLimit, WhenFull},
};

/// The most claims of one call: it must not hold up a server's other commands.
const CLAIMS_A_CALL: usize = 256;

/// The most places that Redis is told of at once, beside what clients ask for.
const A_PORTION: usize = 4_096;

/// What is done about a place.
#[derive(Debug, Clone, Copy)]
enum PlaceAct {
    /// Take one that is free.
    TakeFree,
    /// Take one, whatever has to give way.
    Take,
    Keep,
    GiveBack,
}

impl PlaceAct {
    fn word(self) -> Value {
        Value::from_static_str(match self {
            Self::TakeFree => "?",
            Self::Take => "+",
            Self::Keep => "=",
            Self::GiveBack => "-",
        })
    }
}

/// One claim of a call.
#[derive(Clone)]
struct AskedPlace<'a> {
    claim: &'a PlaceClaim,
    act: PlaceAct,
    age: Duration,
    /// Pods that are gone.
    gone: Vec<&'a str>,
}

/// The answer to a claim.
#[derive(Debug, PartialEq, Eq)]
enum PlaceAnswer {
    /// It has a place; these, as they are stored, have lost theirs.
    Taken(Vec<String>),
    Refused,
    /// The user is full, by places of these pods.
    Full(Vec<String>),
}

impl PlaceAnswer {
    fn read(said: &str) -> Result<Self, ReplyError> {
        let mut words = said.split(' ');
        let first = words.next();
        let rest = words.map(str::to_owned).collect();
        match first {
            Some("1") => Ok(Self::Taken(rest)),
            Some("0") => Ok(Self::Refused),
            Some("?") => Ok(Self::Full(rest)),
            _ => Err(ReplyError),
        }
    }
}

/// What the fleet knows of users' places.
#[derive(Clone)]
pub(super) struct FleetPlaces(pub(super) Arc<RedisState>);

impl FleetPlaces {
    async fn ask(&self, limit: Option<PlaceLimit>, asked: &[AskedPlace<'_>]) -> Vec<Result<String, BrokerError>> {
        let state = &self.0;
        let oldest_goes = limit.is_some_and(|limit| limit.when_full == WhenFull::CloseOldest);
        let head = [
            millis(PLACE_TTL),
            count(limit.map_or(0, |limit| limit.connections)),
            Value::from_static_str(if oldest_goes { "oldest" } else { "newest" }),
        ];
        let thing = |place: &AskedPlace<'_>| {
            let (partition, key) = state.names.places(&place.claim.user);
            let name = format!("{}/{:016x}", state.pod.name, place.claim.connection);
            let words = [
                Value::from(key.as_str()),
                place.act.word(),
                Value::from(name),
                millis(place.age),
                count(place.gone.len()),
            ];
            let gone = place.gone.iter().map(|pod| Value::from(*pod));
            AskedThing { partition, key, words: words.into_iter().chain(gone).collect() }
        };
        let things: Vec<AskedThing> = asked.iter().map(thing).collect();
        state.shards.ask_across(Lane::Commands, &script::USER_PLACES, &head, &things, CLAIMS_A_CALL).await
    }

    /// What Redis says to claims. `None`: it did not answer.
    async fn answers(&self, limit: PlaceLimit, asked: &[AskedPlace<'_>]) -> Vec<Option<PlaceAnswer>> {
        let said = self.ask(Some(limit), asked).await;
        let read = |said: Result<String, BrokerError>| {
            PlaceAnswer::read(&said.ok()?).inspect_err(|error| drop(self.0.unexpected(error))).ok()
        };
        said.into_iter().map(read).collect()
    }

    /// Has connections take places of their users.
    pub(super) async fn take(&self, claims: &[PlaceClaim], limit: PlaceLimit) -> Vec<PlaceVerdict> {
        // Before its first lease the other pods would take its places for a dead pod's.
        if !self.0.leases.held() {
            return claims.iter().map(|claim| self.0.places.judge(claim, limit, Instant::now())).collect();
        }
        let asked = |(claim, act)| AskedPlace { claim, act, age: Duration::ZERO, gone: Vec::new() };
        let asked: Vec<_> = claims.iter().map(|claim| (claim, PlaceAct::TakeFree)).map(asked).collect();
        let mut answers = self.answers(limit, &asked).await;
        let full = |answer: &Option<PlaceAnswer>| match answer {
            Some(PlaceAnswer::Full(pods)) => Some(pods.clone()),
            _ => None,
        };
        let full: Vec<(usize, Vec<String>)> =
            answers.iter().enumerate().filter_map(|(index, answer)| Some((index, full(answer)?))).collect();
        if !full.is_empty() {
            let pods: HashSet<String> = full.iter().flat_map(|(_, pods)| pods.iter().cloned()).collect();
            let (_, gone) = FleetMembers(Arc::clone(&self.0)).part(pods.into_iter().collect()).await;
            let mut again = Vec::new();
            for (index, pods) in &full {
                let gone: Vec<&str> = pods.iter().filter(|pod| gone.contains(pod)).map(String::as_str).collect();
                if gone.is_empty() && limit.when_full == WhenFull::RefuseNewest {
                    answers[*index] = Some(PlaceAnswer::Refused);
                } else {
                    again.push((*index, AskedPlace { act: PlaceAct::Take, gone, ..asked[*index].clone() }));
                }
            }
            let (indexes, again): (Vec<usize>, Vec<AskedPlace<'_>>) = again.into_iter().unzip();
            for (index, answer) in indexes.into_iter().zip(self.answers(limit, &again).await) {
                answers[index] = answer;
            }
        }
        let now = Instant::now();
        let each = claims.iter().zip(answers);
        each.map(|(claim, answer)| self.verdict(claim, answer, limit, now)).collect()
    }

    fn verdict(
        &self,
        claim: &PlaceClaim,
        answer: Option<PlaceAnswer>,
        limit: PlaceLimit,
        now: Instant,
    ) -> PlaceVerdict {
        match answer {
            None | Some(PlaceAnswer::Full(_)) => self.0.places.judge(claim, limit, now),
            Some(PlaceAnswer::Refused) => PlaceVerdict::default(),
            Some(PlaceAnswer::Taken(gone)) => {
                self.0.places.hold(claim, now);
                let displaced: Vec<_> = gone.iter().filter_map(|name| self.displaced(name)).collect();
                for it in displaced.iter().filter(|it| it.here) {
                    self.0.places.lose(&PlaceClaim { user: Arc::clone(&claim.user), connection: it.connection });
                }
                PlaceVerdict { taken: true, displaced, alone: false }
            }
        }
    }

    /// A connection that lost its place, by how it is stored.
    fn displaced(&self, stored: &str) -> Option<DisplacedConnection> {
        let (pod, name) = stored.split_once('/')?;
        let connection = u64::from_str_radix(name, 16).ok()?;
        Some(DisplacedConnection { connection, here: pod == self.0.pod.name })
    }

    /// Gives places back.
    pub(super) async fn give_back(&self, claims: &[PlaceClaim]) {
        claims.iter().for_each(|claim| self.0.places.lose(claim));
        self.tell_given_back(claims).await;
    }

    /// Tells Redis that places were given back; what it does not take is told again later.
    async fn tell_given_back(&self, claims: &[PlaceClaim]) {
        let asked: Vec<_> = claims
            .iter()
            .map(|claim| AskedPlace { claim, act: PlaceAct::GiveBack, age: Duration::ZERO, gone: Vec::new() })
            .collect();
        for (claim, said) in claims.iter().zip(self.ask(None, &asked).await) {
            if said.is_err() {
                self.0.places.owe(claim.clone(), Instant::now());
            }
        }
    }

    /// Tells Redis of this pod's places for ever: of each now and then, and of what it may not have.
    pub(super) async fn keep_places(self) {
        let _ = self.0.leases.held.subscribe().wait_for(|held| *held).await;
        loop {
            let wanted = self.0.places.sooner.notified();
            match self.0.places.next() {
                None => wanted.await,
                Some(due) if due > Instant::now() => {
                    let _ = timeout(due.saturating_duration_since(Instant::now()), wanted).await;
                }
                Some(_) => {
                    let DuePlaces { held, given_back } = self.0.places.take_due(A_PORTION, Instant::now());
                    self.tell_held(&held).await;
                    self.tell_given_back(&given_back).await;
                }
            }
        }
    }

    async fn tell_held(&self, held: &[(PlaceClaim, Duration)]) {
        let asked: Vec<_> = held
            .iter()
            .map(|(claim, age)| AskedPlace { claim, act: PlaceAct::Keep, age: *age, gone: Vec::new() })
            .collect();
        for ((claim, _), said) in held.iter().zip(self.ask(None, &asked).await) {
            self.0.places.told(claim, said.is_ok(), Instant::now());
        }
    }
}

impl UserPlaces for FleetPlaces {
    fn take_places<'a>(&'a self, claims: &'a [PlaceClaim], limit: PlaceLimit) -> Verdicts<'a> {
        Box::pin(self.take(claims, limit))
    }

    fn give_back<'a>(&'a self, claims: &'a [PlaceClaim]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(Self::give_back(self, claims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_or_refused() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(PlaceAnswer::read("1"), Ok(PlaceAnswer::Taken(Vec::new())));
        assert_eq!(PlaceAnswer::read("1 a/1 b/2"), Ok(PlaceAnswer::Taken(words(&["a/1", "b/2"]))));
        assert_eq!(PlaceAnswer::read("0"), Ok(PlaceAnswer::Refused));
        assert_eq!(PlaceAnswer::read("? a b"), Ok(PlaceAnswer::Full(words(&["a", "b"]))));
        for bad in ["", "2", "ok", "-"] {
            assert_eq!(PlaceAnswer::read(bad), Err(ReplyError), "{bad}");
        }
    }
}
