//! What a user has read further than before, and what follows from it for authors.
//!
//! Pure. Always holds: what was kept before, of whatever epochs, goes with it, so that the broker knows which of it is told.

use std::sync::Arc;

use super::receipts::ReadSpan;
use crate::{
    broker::Standing,
    model::{Offset, Position, Progress, Room, Unread},
};

/// What a user has read further than before.
pub(super) struct ReadChange {
    pub(super) user: Arc<str>,
    pub(super) personal: Option<Room>,
    /// Whether authors are told.
    pub(super) receipts: bool,
    pub(super) unread: Unread,
    /// What was kept before.
    pub(super) before: Vec<Position>,
}

impl ReadChange {
    pub(super) fn has_other_epochs(&self) -> bool {
        self.before.iter().any(|before| before.epoch != self.unread.read.epoch)
    }

    /// Whether nothing that was kept before is as far, where the log stands so.
    pub(super) fn is_news(&self, standing: &Standing) -> bool {
        let read = &self.unread.read;
        standing.end.epoch == read.epoch && standing.read(&self.before).unwrap_or(0) < read.offset
    }

    /// What authors are told of, where what was kept before is as far as this.
    pub(super) fn span(&self, after: Offset) -> Option<ReadSpan> {
        self.receipts.then(|| ReadSpan { after, ..self.settled() })
    }

    /// That there is nothing of which authors are to be told.
    pub(super) fn settled(&self) -> ReadSpan {
        let Unread { room, read, .. } = &self.unread;
        ReadSpan {
            progress: Progress::Read,
            user: Arc::clone(&self.user),
            room: room.clone(),
            after: read.offset,
            upto: read.clone(),
            before: self.before.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    #[test]
    fn what_was_read_in_another_epoch_is_no_news() {
        let position = |epoch: &str, offset| Position::new(Epoch::new(epoch), offset);
        let change = |before: &[(&str, u64)]| ReadChange {
            user: "ann".into(),
            personal: Some(Room::parse("user:ann").unwrap()),
            receipts: true,
            unread: Unread { room: Room::parse("chat:1").unwrap(), read: position("b.2", 10), end: 60 },
            before: before.iter().map(|(epoch, offset)| position(epoch, *offset)).collect(),
        };
        assert!(!change(&[]).has_other_epochs() && !change(&[("b.2", 3)]).has_other_epochs());
        let is_news = |before: &[(&str, u64)], end: &str, reaches: &[Option<u64>]| {
            let change = change(before);
            assert!(change.has_other_epochs());
            change.is_news(&Standing { end: position(end, 60), reaches: reaches.to_vec() })
        };
        assert!(!is_news(&[("b.1", 47)], "b.2", &[Some(50)]), "47 was read, and 10 is told");
        assert!(is_news(&[("b.1", 47)], "b.2", &[Some(9)]), "what followed 9 was lost");
        assert!(is_news(&[("b.1", 47), ("b.2", 8)], "b.2", &[None, Some(60)]));
        assert!(!is_news(&[("b.1", 47)], "b.3", &[None]), "it is another log by now");
    }
}
