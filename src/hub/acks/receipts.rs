//! Which authors are told of what others have read.
//!
//! Pure. Always holds: only the author of an event is told of it, and never of what it has read itself; of one reader in one room an
//! author is told once a round, of its last event.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{Ack, Offset, Position, Progress, Receipt, Room, Telling};

/// What a user has read in one go, or a device of it has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSpan {
    /// Which of the two.
    pub progress: Progress,
    /// The reader.
    pub user: Arc<str>,
    /// The room.
    pub room: Room,
    /// It had read so far before.
    pub after: Offset,
    /// It has read so far now.
    pub upto: Position,
    /// What was kept of it before, of whatever epochs: by this the broker knows what authors were told.
    pub before: Vec<Position>,
}

impl ReadSpan {
    /// Whether it holds no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.after >= self.upto.offset
    }

    /// That authors were told of it, as the broker takes it. What devices have got is not kept.
    #[must_use]
    pub fn into_told_ack(self) -> Option<Ack> {
        let telling = Telling::Told(self.before);
        let ack = Ack { user: self.user, room: self.room, position: self.upto, telling };
        (self.progress == Progress::Read).then_some(ack)
    }
}

/// An event that has an author, by its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authored {
    /// Its offset.
    pub offset: Offset,
    /// The author.
    pub author: Box<str>,
}

/// What authors are told, for each, if these are the events of the room, oldest first: of at most about `most` receipts.
#[must_use]
pub fn receipts(spans: &[ReadSpan], events: &[Authored], most: usize) -> BTreeMap<Box<str>, Vec<Receipt>> {
    let mut told: BTreeMap<Box<str>, Vec<Receipt>> = BTreeMap::new();
    let mut count = 0;
    for ReadSpan { progress, user, room, after, upto, .. } in spans {
        if count >= most {
            break;
        }
        let mut last: BTreeMap<&str, Offset> = BTreeMap::new();
        let read = events.iter().filter(|event| *after < event.offset && event.offset <= upto.offset);
        for Authored { offset, author } in read.filter(|event| *event.author != **user) {
            last.insert(author, *offset);
        }
        count += last.len();
        for (author, offset) in last {
            let position = Position::new(upto.epoch.clone(), offset);
            let (progress, room, user) = (*progress, room.clone(), Arc::clone(user));
            let receipt = Receipt { progress, room, user, position };
            told.entry(author.into()).or_default().push(receipt);
        }
    }
    told
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    fn span(user: &str, after: Offset, upto: Offset) -> ReadSpan {
        let upto = Position::new(Epoch::new("e"), upto);
        let (progress, room, before) = (Progress::Read, Room::parse("chat:1").unwrap(), Vec::new());
        ReadSpan { progress, user: user.into(), room, after, upto, before }
    }

    #[test]
    fn authors_hear_of_their_last_event_that_was_read() {
        // The fourth is the backend's.
        let events = [(1, "ann"), (2, "bob"), (3, "ann"), (5, "ann")];
        let events = events.map(|(offset, author)| Authored { offset, author: author.into() });
        let at_most = |most: usize, spans: &[ReadSpan]| {
            let of = |(author, receipts): (Box<str>, Vec<Receipt>)| {
                let each = receipts.iter().map(|receipt| format!("{}{}", receipt.user, receipt.position.offset));
                format!("{author}: {}", each.collect::<Vec<_>>().join(" "))
            };
            receipts(spans, &events, most).into_iter().map(of).collect::<Vec<_>>()
        };
        let said = |spans: &[ReadSpan]| at_most(usize::MAX, spans);
        assert_eq!(said(&[span("bob", 0, 4)]), ["ann: bob3"], "not of its own");
        assert_eq!(said(&[span("cem", 1, 5), span("bob", 3, 5)]), ["ann: cem5 bob5", "bob: cem2"]);
        assert!(
            said(&[span("cem", 3, 4), span("ann", 2, 5)]).is_empty(),
            "of the backend's and of one's own nothing is told"
        );
        assert!(said(&[span("cem", 5, 9)]).is_empty());
        let three = [span("cem", 2, 5), span("dan", 2, 5), span("eve", 2, 5)];
        assert_eq!(at_most(2, &three), ["ann: cem5 dan5"]);
    }
}
