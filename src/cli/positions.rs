//! Where `roomcast subscribe` stands in each room, so that it can come back without a loss or say what it lost.
//!
//! Pure. Always holds: a room's position is that of the last message that was taken; from the command that continues a room until its
//! answer, nothing of that room is taken, because the answer supersedes it (a personal room is joined unasked).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// An epoch and an offset.
pub type Position = (String, u64);

/// The rooms that are followed.
pub struct Positions {
    /// `None`: nothing has come from the room yet.
    rooms: BTreeMap<String, Option<Position>>,
    /// The rooms whose answer is due.
    due: BTreeSet<String>,
}

impl Positions {
    /// Follows these rooms, from `since` if it is given.
    pub fn new(rooms: &[String], since: Option<&Position>) -> Self {
        Self { rooms: rooms.iter().map(|room| (room.clone(), since.cloned())).collect(), due: BTreeSet::new() }
    }

    /// The commands that a new connection begins with.
    pub fn subscribe(&mut self) -> Vec<Value> {
        // A room without a position begins where its first message says, be it an unasked one.
        self.due = self.rooms.iter().filter(|(_, since)| since.is_some()).map(|(room, _)| room.clone()).collect();
        let command = |(room, since): (&String, &Option<Position>)| {
            let mut command = json!({ "type": "subscribe", "id": room, "room": room });
            if let Some((epoch, offset)) = since {
                command["since"] = json!({ "epoch": epoch, "offset": offset });
            }
            command
        };
        self.rooms.iter().map(command).collect()
    }

    /// Takes a message, unless it is superseded by an answer that is due; what it says of events that will not come.
    pub fn take(&mut self, message: &Value) -> Taken {
        // Not every refusal names the room; the command's id does.
        if let Some(id) = message["id"].as_str().filter(|_| message["type"] == "error") {
            self.due.remove(id);
        }
        let Some(room) = message["room"].as_str() else { return Taken::Whole };
        if self.due.contains(room) {
            if message["id"] != room {
                return Taken::Superseded;
            }
            self.due.remove(room);
        }
        let before = self.rooms.get(room).and_then(Option::as_ref);
        let lost = lost(message, before);
        match message["type"].as_str() {
            Some("unsubscribed") => {
                self.rooms.remove(room);
            }
            Some("subscribed" | "gap" | "events") if message["retained"] != true => {
                if let (Some(epoch), Some(offset)) = (message["epoch"].as_str(), message["offset"].as_u64()) {
                    self.rooms.insert(room.to_owned(), Some((epoch.to_owned(), offset)));
                }
            }
            _ => {}
        }
        lost.map_or(Taken::Whole, Taken::Lossy)
    }
}

/// What became of a message.
#[derive(Debug, PartialEq)]
pub enum Taken {
    /// It continues what came before.
    Whole,
    /// It says or shows that events will not come: which, in a few words.
    Lossy(String),
    /// It is not for the user: the answer that is due says it again.
    Superseded,
}

/// Which events a message leaves out.
fn lost(message: &Value, before: Option<&Position>) -> Option<String> {
    let (epoch, number) = (message["epoch"].as_str(), |field: &str| message[field].as_u64());
    let range = |after: u64, offset: u64| Some(format!("#{} to #{offset} are lost", after + 1));
    match message["type"].as_str()? {
        "gap" => match (number("after"), number("offset")) {
            (Some(after), Some(offset)) if offset > after => range(after, offset),
            // A room that lost its log counts anew.
            (_, Some(offset)) => Some(format!("its log is lost; it goes on behind #{offset}")),
            (_, None) => Some("events are lost, an unknown number of them".to_owned()),
        },
        "subscribed" if message["recovered"] != true => {
            let ((own, at), offset) = (before?, number("offset")?);
            match epoch {
                Some(epoch) if epoch == own && offset == *at => None,
                Some(epoch) if epoch == own && offset > *at => range(*at, offset),
                _ => Some(format!("what came after #{at} is lost; it goes on behind #{offset}")),
            }
        }
        "events" if message["retained"] != true => {
            let ((_, at), after) = (before?, number("after")?);
            if after > *at { range(*at, after) } else { None }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following(room: &str, epoch: &str, offset: u64) -> Positions {
        Positions::new(&[room.to_owned()], Some(&(epoch.to_owned(), offset)))
    }

    fn lossy(text: &str) -> Taken {
        Taken::Lossy(text.to_owned())
    }

    #[test]
    fn what_will_not_come_is_said() {
        let subscribed = |epoch: &str, offset: u64, recovered: bool| json!({"type": "subscribed", "room": "r", "epoch": epoch, "offset": offset, "recovered": recovered});
        let gap = |after: u64, offset: u64| json!({"type": "gap", "room": "r", "epoch": "e", "after": after, "offset": offset});
        let events =
            |after: u64| json!({"type": "events", "room": "r", "epoch": "f", "after": after, "offset": after + 1});
        for (message, taken) in [
            (subscribed("e", 4, true), Taken::Whole),
            (subscribed("e", 4, false), Taken::Whole),
            (subscribed("e", 9, false), lossy("#5 to #9 are lost")),
            (subscribed("f", 9, false), lossy("what came after #4 is lost; it goes on behind #9")),
            (subscribed("e", 2, false), lossy("what came after #4 is lost; it goes on behind #2")),
            (gap(4, 9), lossy("#5 to #9 are lost")),
            (gap(4, 0), lossy("its log is lost; it goes on behind #0")),
            (json!({"type": "gap", "room": "r"}), lossy("events are lost, an unknown number of them")),
            (events(4), Taken::Whole),
            (events(6), lossy("#5 to #6 are lost")),
            (json!({"type": "events", "room": "r", "retained": true, "events": []}), Taken::Whole),
            (json!({"type": "events", "room": "r", "events": [{}]}), Taken::Whole),
            (json!({"type": "welcome"}), Taken::Whole),
        ] {
            assert_eq!(following("r", "e", 4).take(&message), taken, "{message}");
        }
        let mut fresh = Positions::new(&["r".to_owned()], None);
        assert_eq!(fresh.subscribe().len(), 1);
        assert_eq!(fresh.take(&subscribed("e", 9, false)), Taken::Whole, "nothing was had that could be lost");
        assert_eq!(fresh.take(&gap(9, 12)), lossy("#10 to #12 are lost"));
        assert_eq!(fresh.take(&events(12)), Taken::Whole, "a gap was said once");
    }

    #[test]
    fn a_room_that_is_joined_unasked_goes_on_where_it_was() {
        let mut positions = following("user:ann", "e", 4);
        let commands = positions.subscribe();
        assert_eq!(commands[0]["since"], json!({"epoch": "e", "offset": 4}));
        let unasked = json!({"type": "subscribed", "room": "user:ann", "epoch": "e", "offset": 6, "recovered": false});
        let live = json!({"type": "events", "room": "user:ann", "epoch": "e", "after": 6, "offset": 7, "events": [{"offset": 7}]});
        assert_eq!((positions.take(&unasked), positions.take(&live)), (Taken::Superseded, Taken::Superseded));
        let mut answer = unasked;
        (answer["id"], answer["offset"], answer["recovered"]) = (json!("user:ann"), json!(4), json!(true));
        assert_eq!(positions.take(&answer), Taken::Whole);
        let missed = json!({"type": "events", "room": "user:ann", "epoch": "e", "after": 4, "offset": 7, "events": []});
        assert_eq!(positions.take(&missed), Taken::Whole);
        assert_eq!(positions.subscribe()[0]["since"], json!({"epoch": "e", "offset": 7}));
        // A refusal is an answer, too.
        let refused = json!({"type": "error", "id": "user:ann", "code": "rate_limited"});
        assert_eq!(positions.take(&refused), Taken::Whole);
        let taken_out = json!({"type": "unsubscribed", "room": "user:ann", "code": "removed"});
        assert_eq!(positions.take(&taken_out), Taken::Whole);
        assert!(positions.subscribe().is_empty());
    }
}
