//! What a described dialect says: JSON with places in its strings, compiled to a flat list of steps.
//!
//! `{"type": "events", "at": "{now}", "for": "all of {room}"}`: a string that is one place becomes the value itself,
//! whatever its type; a place among other text becomes text. `"{key?}"` leaves its member or element out where there is
//! nothing. `{"*": "{data}", …}` begins with the members of an object, and adds those that it lacks. Always holds: what
//! the steps write is JSON, without a line feed of the description's own.

mod compile;

use super::pointer::Pointer;

/// A message, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageTemplate {
    steps: Vec<Step>,
}

/// A step of writing a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Bytes as they are.
    Bytes(Box<[u8]>),
    /// The value of a place, `null` where there is nothing.
    Value(Place),
    /// A string: text, already escaped, and places.
    Text(Vec<Piece>),
    /// A member (with its name and colon) or an element, left out where there is nothing, after a comma where one is due.
    Optional(Box<[u8]>, Place),
    /// A comma, unless nothing stands before.
    Comma,
    /// The members of an object, and those that it lacks.
    Spread(Place, Vec<Lacking>),
}

/// A member that is written where an object has none of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The name.
    pub name: Box<str>,
    /// The member, name and colon included.
    pub steps: Vec<Step>,
}

/// A piece of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text, escaped for JSON.
    Text(Box<str>),
    /// The text of a place; nothing where there is nothing.
    Place(Place),
}

/// Names, of which the first that has something counts.
pub type Place = Vec<Name>;

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// RFC 3339, UTC.
    Rfc3339,
    /// Whole seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
}

/// What a place can stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The time at which the message is written.
    Now(Clock),
    /// The room's name.
    Room,
    /// What stands behind the first colon of the room's name, spelt as this client did.
    RoomId,
    /// What stands before it.
    RoomNamespace,
    /// The room's epoch.
    Epoch,
    /// The offset: an event's, or that which a batch or a reply ends at.
    Offset,
    /// The offset that a batch, a gap or a history continues from.
    After,
    /// An event's epoch and offset as one text.
    Position,
    /// An event's topic.
    Topic,
    /// An event's key.
    Key,
    /// An event's data, or a part of it.
    Data(Pointer),
    /// When the broker took an event in.
    Time(Clock),
    /// An event's id as its publisher gave it.
    EventId,
    /// The publishing user of an event, a member's, or the connection's own.
    User,
    /// All events of a batch, as elements of one array.
    Events,
    /// The id of the command that is answered.
    Id,
    /// The connection's name, or a member's.
    Connection,
    /// A value of the query of the connection's request.
    Query(Box<str>),
    /// A value of the claims of the connection's token.
    Claim(Pointer),
    /// Whether what followed the event that the client named comes next.
    Replayed,
    /// The interval after which a client should say something, in milliseconds.
    PingInterval,
    /// Whether what was missed follows.
    Recovered,
    /// The code of an error, or why a room was left.
    Code,
    /// The sentence of an error.
    Message,
    /// Who is in a room, or came, or went: elements with `connection` and `user`.
    Members,
    /// How many are in a room.
    Total,
    /// When a token must have been replaced, in milliseconds since 1970.
    ExpiresAt,
    /// How long to wait before coming back, in milliseconds.
    AfterMs,
}

impl MessageTemplate {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub(crate) fn parse(text: &str, may_name: &[&str]) -> Result<Self, String> {
        Ok(Self { steps: compile::steps(text, may_name)? })
    }

    /// Its steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether what it writes is an array.
    pub(crate) fn is_array(&self) -> bool {
        matches!(self.steps.first(), Some(Step::Bytes(bytes)) if bytes.starts_with(b"["))
    }

    /// Whether it names this somewhere.
    pub(crate) fn names(&self, name: &Name) -> bool {
        self.any(&|named| named == name)
    }

    /// Whether it names something of which that is true.
    pub(crate) fn any(&self, is: &dyn Fn(&Name) -> bool) -> bool {
        fn in_steps(steps: &[Step], is: &dyn Fn(&Name) -> bool) -> bool {
            steps.iter().any(|step| match step {
                Step::Bytes(_) | Step::Comma => false,
                Step::Value(place) | Step::Optional(_, place) => place.iter().any(is),
                Step::Text(pieces) => pieces.iter().any(|p| matches!(p, Piece::Place(place) if place.iter().any(is))),
                Step::Spread(place, lacking) => {
                    place.iter().any(is) || lacking.iter().any(|lacking| in_steps(&lacking.steps, is))
                }
            })
        }
        in_steps(&self.steps, is)
    }
}

#[cfg(test)]
mod tests;
