//! Deleted events: what tells of them, and what stands in their place.
//!
//! Both are events of one topic, which no publisher can use. Always holds: what tells of an event names its offset, and comes behind it in the
//! log; what stands in its place names its own.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Event, IdempotencyKey, Offset, Payload, Position, Publication};

/// The topic of events that say that others are deleted.
pub const DELETED: &str = "$deleted";

/// Which clients may delete events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeleteMode {
    /// None; backends still can, over the API.
    #[default]
    Off,
    /// Those of the user that published the event.
    Author,
}

/// What becomes of what an erased user published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraseMode {
    /// It stays.
    #[default]
    Keep,
    /// What it said goes, and its user.
    Content,
    /// It is deleted.
    Event,
}

/// The most offsets of an event that tells of deleted ones.
pub const NAMED_AT_ONCE: usize = 100;

/// The data of such an event.
#[derive(Default, Serialize, Deserialize)]
struct Named<'a> {
    offsets: Vec<Offset>,
    /// Only what they said is gone.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    content: bool,
    #[serde(skip_serializing_if = "Vec::is_empty", default, borrow)]
    ids: Vec<std::borrow::Cow<'a, str>>,
}

/// An event that is to be deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deletion {
    /// Its position.
    pub at: Position,
    /// Its publisher's own id.
    pub id: Option<Box<str>>,
    /// What stands in its place, where that is to say something else than that it is deleted.
    pub leaves: Option<Publication>,
}

/// What has a topic and data, and nothing else.
fn publication(topic: Box<str>, data: Box<RawValue>) -> Publication {
    Publication { topic, key: None, payload: Payload::Json(data), user: None, id: None, idempotency_key: None }
}

/// What tells of events of a user that was erased. `content`: only what they said is gone.
#[must_use]
pub fn erased(offsets: &[Offset], content: bool) -> Publication {
    let named = Named { offsets: offsets.to_vec(), content, ids: Vec::new() };
    publication(DELETED.into(), serde_json::value::to_raw_value(&named).unwrap_or_default())
}

/// What tells of deleted events, without their ids, and the offsets that it names.
#[must_use]
pub fn without_ids(told: &Payload) -> (Box<RawValue>, Vec<Offset>) {
    let named: Named<'_> = match told {
        Payload::Json(data) => serde_json::from_str(data.get()).unwrap_or_default(),
        Payload::Binary(_) => Named::default(),
    };
    let offsets = named.offsets.clone();
    (serde_json::value::to_raw_value(&Named { ids: Vec::new(), ..named }).unwrap_or_default(), offsets)
}

impl Deletion {
    fn publication(&self, offsets: Vec<Offset>, ids: Vec<std::borrow::Cow<'_, str>>) -> Publication {
        let named = Named { offsets, content: false, ids };
        // Numbers and texts are JSON always.
        publication(DELETED.into(), serde_json::value::to_raw_value(&named).unwrap_or_default())
    }

    /// What stands in its place. The id stays, by which clients find where they were.
    #[must_use]
    pub fn in_place(&self) -> Publication {
        let left = self.leaves.clone().unwrap_or_else(|| self.publication(vec![self.at.offset], Vec::new()));
        Publication { id: self.id.clone(), ..left }
    }

    /// What tells of it: one event, however often it is deleted. `user`: that of the client that deletes it. `is_of_log`: whether its offset
    /// is one of the log in which that is told; an event of a log of before has its id alone there.
    #[must_use]
    pub fn notice(&self, user: Option<&str>, is_of_log: bool) -> Publication {
        let ids = self.id.as_deref().map(Into::into);
        let Position { epoch, offset } = &self.at;
        let once = IdempotencyKey::from(format!("$deleted {epoch} {offset}"));
        let (user, idempotency_key) = (user.map(Into::into), Some(once));
        let offsets = if is_of_log { vec![*offset] } else { Vec::new() };
        Publication { user, idempotency_key, ..self.publication(offsets, ids.into_iter().collect()) }
    }
}

impl Event {
    /// What is left of it where its user is erased, and the room's members are to know that there was something. What says that others are
    /// deleted goes on saying so by their offsets: there are clients that still come back to it. Their ids were the user's.
    #[must_use]
    pub fn shell(&self) -> Publication {
        let said = if self.is_deletion() { without_ids(&self.payload).0 } else { RawValue::NULL.to_owned() };
        publication(self.topic.clone(), said)
    }

    /// Whether it says that an event is deleted.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        &*self.topic == DELETED
    }

    /// Whether it stands in the place of an event that is deleted.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        let named = |data: &RawValue| {
            let named: Named<'_> = serde_json::from_str(data.get()).ok()?;
            Some(named.offsets == [self.offset])
        };
        self.is_deletion() && matches!(&self.payload, Payload::Json(data) if named(data).unwrap_or(false))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    #[test]
    fn what_stands_in_its_place_is_told_from_what_tells_of_it() {
        let deletion = Deletion { at: Position::new(Epoch::new("b.1"), 44), id: Some("m-\"1".into()), leaves: None };
        let (in_place, notice) = (deletion.in_place(), deletion.notice(Some("ann"), true));
        let data = |publication: &Publication| match &publication.payload {
            Payload::Json(data) => data.get().to_owned(),
            Payload::Binary(_) => String::new(),
        };
        assert_eq!(data(&in_place), r#"{"offsets":[44]}"#);
        assert_eq!(data(&notice), r#"{"offsets":[44],"ids":["m-\"1"]}"#);
        assert_eq!((in_place.id.as_deref(), notice.user.as_deref()), (Some("m-\"1"), Some("ann")));
        assert_eq!(notice.idempotency_key.as_ref().unwrap().name(None), "$deleted b.1 44");
        let event = |publication, offset| Event::from_publication(publication, offset, 0, None);
        assert!(event(in_place.clone(), 44).is_tombstone() && !event(notice, 58).is_tombstone());
        assert!(!event(Publication { topic: "t".into(), ..in_place }, 44).is_tombstone());
        assert_eq!(data(&deletion.notice(None, false)), r#"{"offsets":[],"ids":["m-\"1"]}"#);
        let told = event(deletion.notice(Some("ann"), true), 58);
        assert_eq!((data(&told.shell()), told.shell().user), (r#"{"offsets":[44]}"#.to_owned(), None));
        assert_eq!(without_ids(&told.payload).1, [44]);
        let of_before = deletion.notice(Some("ann"), false).payload;
        assert_eq!((without_ids(&of_before).0.get(), without_ids(&of_before).1), (r#"{"offsets":[]}"#, vec![]));
        let said = event(Publication { topic: "t".into(), ..deletion.notice(Some("ann"), true) }, 59);
        assert_eq!((data(&said.shell()).as_str(), &*said.shell().topic), ("null", "t"));
    }
}
