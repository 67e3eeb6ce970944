//! A publication as a row that is pending, and back.
//!
//! Pure but for drawing an id. Always holds: what comes back publishes as the same event under the same key.

use bytes::Bytes;

use super::{
    error::ArchiveError,
    seal::{SealError, Seals},
    stored_text::{restored, stored},
};
use crate::model::{Fingerprint, IdempotencyKey, Payload, Publication, PublisherSide, Room};

/// The name of a row.
pub(super) type RowId = [u8; 16];

/// A row of `roomcast_pending`, without what the database adds. Its texts are as they are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PendingRow {
    pub(super) id: RowId,
    pub(super) room: Room,
    pub(super) side: &'static str,
    pub(super) key: Box<str>,
    pub(super) hash: [u8; 6],
    pub(super) topic: Box<str>,
    pub(super) event_key: Option<Box<str>>,
    pub(super) event_id: Option<Box<str>>,
    pub(super) author: Option<Box<str>>,
    pub(super) is_binary: bool,
    pub(super) data: Vec<u8>,
    pub(super) seal: Option<Box<str>>,
}

/// The word of a side in the table.
pub(super) fn side_of(side: PublisherSide) -> &'static str {
    match side {
        PublisherSide::Backend => "b",
        PublisherSide::Clients => "c",
    }
}

/// The side of a word.
pub(super) fn side_named(word: &str) -> PublisherSide {
    if word == "c" { PublisherSide::Clients } else { PublisherSide::Backend }
}

/// A name that no row has.
///
/// # Errors
/// There is no randomness.
pub(super) fn new_id() -> Result<RowId, ArchiveError> {
    let mut id = RowId::default();
    getrandom::fill(&mut id).map_err(|error| ArchiveError::Unavailable(format!("no randomness: {error}")))?;
    Ok(id)
}

/// Gives a publication that has no key one that no other has, and one that has a key the fingerprint that it has now.
///
/// # Errors
/// There is no randomness.
pub(super) fn identify(publication: &mut Publication) -> Result<RowId, ArchiveError> {
    let id = new_id()?;
    if publication.idempotency_key.is_none() {
        let name: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        publication.idempotency_key = Some(format!("archive {name}").into());
    }
    publication.keep_fingerprint();
    Ok(id)
}

impl PendingRow {
    /// That of a publication which was [identified](identify).
    ///
    /// # Errors
    /// It cannot be sealed.
    pub(super) fn of(
        id: RowId,
        room: &Room,
        publication: &Publication,
        seals: Option<&Seals>,
    ) -> Result<Self, ArchiveError> {
        let (is_binary, payload) = match &publication.payload {
            Payload::Json(raw) => (false, raw.get().as_bytes()),
            Payload::Binary(bytes) => (true, &bytes[..]),
        };
        let (data, seal) = match seals {
            Some(seals) => {
                let (data, name) = seals
                    .seal(room, &id, payload)
                    .map_err(|error| ArchiveError::Unavailable(format!("the payload cannot be sealed: {error}")))?;
                (data, Some(name.into()))
            }
            None => (payload.to_vec(), None),
        };
        let key = publication.idempotency_key.as_ref();
        let text = |text: &Option<Box<str>>| text.as_deref().map(|text| stored(text).into());
        Ok(Self {
            id,
            room: room.clone(),
            side: side_of(key.map_or(PublisherSide::Backend, IdempotencyKey::side)),
            key: stored(key.map_or("", IdempotencyKey::text)).into(),
            hash: publication.fingerprint().to_bytes(),
            topic: publication.topic.clone(),
            event_key: text(&publication.key),
            event_id: text(&publication.id),
            author: text(&publication.user),
            is_binary,
            data,
            seal,
        })
    }

    /// Its bytes on the way to the database, about.
    pub(super) fn bytes(&self) -> usize {
        let texts =
            [&self.event_key, &self.event_id, &self.author].map(|text| text.as_ref().map_or(0, |text| text.len()));
        200 + self.room.as_str().len()
            + self.key.len()
            + self.topic.len()
            + texts.iter().sum::<usize>()
            + self.data.len()
    }

    /// The publication again, to be published under its key.
    ///
    /// # Errors
    /// [`SealError`]: its payload does not open, or is no JSON.
    pub(super) fn into_publication(self, seals: Option<&Seals>) -> Result<Publication, SealError> {
        let payload = payload_of(&self.room, &self.id, self.data, self.seal.as_deref(), self.is_binary, seals)?;
        let asked = Fingerprint::from_bytes(self.hash);
        let text = |text: Option<Box<str>>| text.map(|text| restored(&text));
        Ok(Publication {
            topic: self.topic,
            key: text(self.event_key),
            payload,
            user: text(self.author),
            id: text(self.event_id),
            idempotency_key: Some(IdempotencyKey::again(restored(&self.key), side_named(self.side), asked)),
        })
    }
}

/// The payload of a row.
///
/// # Errors
/// [`SealError`]: it does not open, or is not the JSON that it says it is.
pub(super) fn payload_of(
    room: &Room,
    id: &[u8],
    data: Vec<u8>,
    seal: Option<&str>,
    is_binary: bool,
    seals: Option<&Seals>,
) -> Result<Payload, SealError> {
    let data = match seal {
        None => data,
        Some(name) => seals.ok_or_else(|| SealError::NoKey(name.to_owned()))?.open(name, room, id, &data)?,
    };
    if is_binary {
        return Ok(Payload::Binary(Bytes::from(data)));
    }
    serde_json::from_slice(&data).map(Payload::Json).map_err(|_| SealError::Broken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_the_same_event_under_the_same_key() {
        let room = Room::parse("chat:1").unwrap();
        let seals = Seals::parse("k AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let json = serde_json::value::RawValue::from_string("[ 1]".to_owned()).unwrap();
        let bare = Publication {
            topic: "t".into(),
            key: Some("k\0".into()),
            payload: Payload::Json(json),
            user: Some("ann".into()),
            id: None,
            idempotency_key: None,
        };
        for (mut publication, seals) in [
            (bare.clone(), None),
            (bare.clone(), Some(&seals)),
            (
                Publication { idempotency_key: Some(IdempotencyKey::of_client("\0once".into())), ..bare.clone() },
                Some(&seals),
            ),
            (Publication { payload: Payload::Binary(Bytes::from_static(b"\0\xff")), ..bare }, Some(&seals)),
        ] {
            let id = identify(&mut publication).unwrap();
            let row = PendingRow::of(id, &room, &publication, seals).unwrap();
            assert!(![&row.key, row.event_key.as_ref().unwrap()].iter().any(|text| text.contains('\0')));
            let again = row.into_publication(seals).unwrap();
            assert_eq!(again, publication);
            assert_eq!(again.fingerprint(), publication.fingerprint());
        }
    }
}
