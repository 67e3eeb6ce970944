//! How far users have read, in Redis: a hash for each user, in the partition of the user's name, and beside them what authors are to be told.
//!
//! Always holds: whatever the number of rooms and users in a question, each master gets one call for [`ROOMS_A_CALL`] rooms or
//! [`WRITES_A_CALL`] acks.

use std::time::Duration;

use fred::types::Value;

use super::{
    Redis,
    across::AskedThing,
    arguments::{count, millis, whole},
    entry,
    node::Lane,
    partition::{KeyKind, Partition},
    reply::{ReplyError, ReplyFields},
    script,
    state::RedisState,
};
use crate::{
    broker::{
        AckBounds, Acks, Answer, BrokerError, EachOf, KeptAck, MAX_EPOCHS, MAX_UNTOLD, Standing, UNTOLD_AGE, UntoldAck,
    },
    model::{Ack, Epoch, Position, Room, Telling},
};

/// The most rooms of one call: it must not hold up a server's other commands.
const ROOMS_A_CALL: usize = 256;

/// The most acks of one call.
const WRITES_A_CALL: usize = 256;

/// The most partitions of one call that asks what authors were not told.
const PARTS_A_CALL: usize = 32;

/// What the fleet keeps of what users have read.
struct FleetAcks<'a>(&'a RedisState);

impl FleetAcks<'_> {
    async fn standings(&self, lane: Lane, rooms: &[(Room, Vec<Epoch>)]) -> Vec<Result<Standing, BrokerError>> {
        let asked: Vec<AskedThing> = rooms
            .iter()
            .map(|(room, epochs)| {
                let key = self.0.names.of(room, KeyKind::Record);
                let words = [Value::from(key.as_str()), count(epochs.len())].into_iter();
                let words = words.chain(epochs.iter().map(|epoch| Value::from(epoch.as_str()))).collect();
                AskedThing { partition: Partition::of(room), key, words }
            })
            .collect();
        let head = [self.0.room_ttl()];
        let said = self.0.shards.ask_across(lane, &script::STANDINGS, &head, &asked, ROOMS_A_CALL).await;
        let each = said.into_iter().zip(rooms);
        each.map(|(said, (_, epochs))| standing(&said?, epochs.len()).map_err(|error| self.0.unexpected(&error)))
            .collect()
    }

    async fn keep(&self, acks: &[Ack], bounds: AckBounds) -> Vec<Result<KeptAck, BrokerError>> {
        let asked: Vec<AskedThing> = acks
            .iter()
            .map(|Ack { user, room, position, telling }| {
                let (partition, key) = self.0.names.acks(user);
                let (word, before) = word_of(telling);
                let words = vec![
                    Value::from(key.as_str()),
                    Value::from(room.as_str()),
                    Value::from(position.epoch.as_str()),
                    whole(position.offset),
                    Value::from(self.0.names.untold(partition)),
                    Value::from_static_str(word),
                    Value::from(before),
                ];
                AskedThing { partition, key, words }
            })
            .collect();
        let head = [count(bounds.rooms), millis(bounds.age), count(MAX_EPOCHS), count(MAX_UNTOLD), millis(UNTOLD_AGE)];
        let said = self.0.shards.ask_across(Lane::Commands, &script::KEEP_ACKS, &head, &asked, WRITES_A_CALL).await;
        said.into_iter().map(|said| kept(&said?).map_err(|error| self.0.unexpected(&error))).collect()
    }

    async fn take_untold(&self, older: Duration, most: usize) -> Result<Vec<UntoldAck>, BrokerError> {
        let asked: Vec<AskedThing> = Partition::all()
            .map(|partition| {
                let key = self.0.names.untold(partition);
                AskedThing { partition, words: vec![Value::from(key.as_str())], key }
            })
            .collect();
        let head = [millis(older), count(most), Value::from_static_str("")];
        let said = self.0.shards.ask_across(Lane::Commands, &script::UNTOLD_ACKS, &head, &asked, PARTS_A_CALL).await;
        let (mut taken, mut failed) = (Vec::new(), None);
        for (said, partition) in said.into_iter().zip(Partition::all()) {
            let place = self.0.names.acks_in(partition);
            match said.map(|said| untold(&said, &place)) {
                Ok(Ok(some)) => taken.extend(some),
                Ok(Err(error)) => failed = Some(self.0.unexpected(&error)),
                Err(error) => failed = Some(error),
            }
        }
        // What was taken is this pod's, whichever servers are away.
        failed.filter(|_| taken.is_empty()).map_or(Ok(taken), Err)
    }

    async fn kept(&self, user: &str, bounds: AckBounds) -> Result<Vec<(Room, Vec<Position>)>, BrokerError> {
        let (partition, key) = self.0.names.acks(user);
        let frame = self.0.shards.read(partition, &script::KEPT_ACKS, [key], [millis(bounds.age)]).await?;
        let read = || {
            let words = ReplyFields::of(frame)?.rest()?;
            let (rooms, rest) = words.as_chunks::<2>();
            if !rest.is_empty() {
                return Err(ReplyError);
            }
            rooms
                .iter()
                .map(|[room, said]| Ok((Room::parse(room).map_err(|_| ReplyError)?, positions(said)?)))
                .collect()
        };
        read().map_err(|error| self.0.unexpected(&error))
    }
}

/// How a script is told what authors are told, and what was kept before.
fn word_of(telling: &Telling) -> (&'static str, String) {
    match telling {
        Telling::Nothing => ("-", String::new()),
        Telling::Due => ("due", String::new()),
        Telling::Withheld => ("withheld", String::new()),
        Telling::Told(before) => {
            ("told", before.iter().map(|Position { epoch, offset }| format!(" {epoch} {offset}")).collect())
        }
    }
}

/// Reads what authors were not told in a partition. `place`: with what the keys of its users begin.
fn untold(said: &str, place: &str) -> Result<Vec<UntoldAck>, ReplyError> {
    if said.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<[String; 4]> = serde_json::from_str(said).map_err(|_| ReplyError)?;
    let one = |[key, room, read, before]: [String; 4]| {
        let user = key.strip_prefix(place).ok_or(ReplyError)?;
        let room = Room::parse(&room).map_err(|_| ReplyError)?;
        let read = positions(&read)?.pop().ok_or(ReplyError)?;
        let before = if before.is_empty() { Vec::new() } else { positions(&before)? };
        Ok(UntoldAck { user: user.into(), room, read, before })
    };
    all.into_iter().map(one).collect()
}

/// Reads `EPOCH SP OFFSET`, and a reach for each epoch.
fn standing(said: &str, epochs: usize) -> Result<Standing, ReplyError> {
    let mut words = said.split(' ');
    let (Some(epoch), Some(offset)) = (words.next(), words.next()) else { return Err(ReplyError) };
    let end = Position::new(Epoch::new(epoch), entry::number(offset).map_err(|_| ReplyError)?);
    let reach = |word: &str| match word {
        "-" => Ok(None),
        reach => entry::number(reach).map(Some).map_err(|_| ReplyError),
    };
    let reaches = words.map(reach).collect::<Result<Vec<_>, _>>()?;
    if reaches.len() == epochs { Ok(Standing { end, reaches }) } else { Err(ReplyError) }
}

/// Reads `1` or `0`, and what was kept before.
fn kept(said: &str) -> Result<KeptAck, ReplyError> {
    let (further, before) = said.split_once(' ').map_or((said, None), |(further, before)| (further, Some(before)));
    let further = match further {
        "1" => true,
        "0" => false,
        _ => return Err(ReplyError),
    };
    Ok(KeptAck { further, before: before.map_or_else(|| Ok(Vec::new()), positions)? })
}

/// Reads `EPOCH SP OFFSET`, some times.
fn positions(said: &str) -> Result<Vec<Position>, ReplyError> {
    let words: Vec<&str> = said.split(' ').collect();
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ReplyError);
    }
    let position = |[epoch, offset]: &[&str; 2]| {
        Ok(Position::new(Epoch::new(epoch), entry::number(offset).map_err(|_| ReplyError)?))
    };
    pairs.iter().map(position).collect()
}

impl Acks for Redis {
    fn standings<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing> {
        Box::pin(async move { FleetAcks(&self.state).standings(Lane::Commands, rooms).await })
    }

    fn standings_for_reader<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing> {
        Box::pin(async move { FleetAcks(&self.state).standings(Lane::Reads, rooms).await })
    }

    fn keep<'a>(&'a self, acks: &'a [Ack], bounds: AckBounds) -> EachOf<'a, KeptAck> {
        Box::pin(async move { FleetAcks(&self.state).keep(acks, bounds).await })
    }

    fn take_untold(&self, older: Duration, most: usize) -> Answer<'_, Vec<UntoldAck>> {
        Box::pin(async move { FleetAcks(&self.state).take_untold(older, most).await })
    }

    fn kept<'a>(&'a self, user: &'a str, bounds: AckBounds) -> Answer<'a, Vec<(Room, Vec<Position>)>> {
        Box::pin(async move { FleetAcks(&self.state).kept(user, bounds).await })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_or_refused() {
        let said = standing("b.r 47 - 44", 2).unwrap();
        assert_eq!(said, Standing { end: Position::new(Epoch::new("b.r"), 47), reaches: vec![None, Some(44)] });
        let read = |epochs: &[(&str, u64)]| {
            said.read(&epochs.iter().map(|(epoch, at)| Position::new(Epoch::new(epoch), *at)).collect::<Vec<_>>())
        };
        assert_eq!(read(&[("x", 90), ("b.q", 41)]), Some(41));
        assert_eq!(read(&[("x", 90), ("b.q", 46)]), Some(44), "what was lost behind it was not read");
        assert_eq!((read(&[("x", 90)]), read(&[("x", 0)])), (None, Some(0)));
        for bad in ["", "b.r", "b.r x", "b.r 47 -", "b.r 47 - 44 3", "b.r 47 - -1"] {
            assert_eq!(standing(bad, 2), Err(ReplyError), "{bad}");
        }
        assert_eq!(positions("e 1 d 2").unwrap().len(), 2);
        assert_eq!(kept("1"), Ok(KeptAck { further: true, before: vec![] }));
        let before = vec![Position::new(Epoch::new("e"), 7), Position::new(Epoch::new("d"), 2)];
        assert_eq!(kept("0 e 7 d 2"), Ok(KeptAck { further: false, before }));
        for bad in ["", "2", "1 e", "1 "] {
            assert_eq!(kept(bad), Err(ReplyError), "{bad}");
        }
        let said = r#"[["p:{t}:acks:an n","dm:1","e 7","d 2"],["p:{t}:acks:bob","dm:2","e 1",""]]"#;
        let left = untold(said, "p:{t}:acks:").unwrap();
        assert_eq!((&*left[0].user, left[0].read.offset, left[0].before.len()), ("an n", 7, 1));
        assert_eq!((&*left[1].user, left[1].before.len(), untold("", "p").unwrap().len()), ("bob", 0, 0));
        for bad in
            ["{}", r#"[["q:bob","dm:1","e 7",""]]"#, r#"[["p:bob","dm 1","e 7",""]]"#, r#"[["p:bob","dm:1","",""]]"#]
        {
            assert_eq!(untold(bad, "p:"), Err(ReplyError), "{bad}");
        }
        assert_eq!(word_of(&Telling::Told(vec![Position::new(Epoch::new("e"), 7)])), ("told", " e 7".to_owned()));
        for bad in ["", "e", "e 1 d", "e x"] {
            assert_eq!(positions(bad), Err(ReplyError), "{bad}");
        }
    }
}
