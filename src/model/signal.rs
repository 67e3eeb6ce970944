//! Signals: what a member of a room lets the others know for a moment, such as that it is typing.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{FieldError, Member, Payload, Room, UnixMillis, whole_number};

/// A signal on its way from the pod of its sender to the pods of the room's members. No log has it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Signal {
    /// What kind of signal it is. A sender shows one of each topic in a room.
    pub topic: Box<str>,
    /// The connection that sent it, and its user.
    pub sender: Member,
    /// What it says beside its topic.
    pub data: Option<Payload>,
    /// What becomes of it.
    pub act: SignalAct,
}

/// What a signal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalAct {
    /// It is shown for so many milliseconds, and takes the place of the one before it.
    Show(u32),
    /// The sender takes it back.
    Stop,
    /// The connection that sent it has left the room: it is taken back, unless another connection of the user has sent a newer one.
    Leave,
}

impl Signal {
    /// The longest that one is shown, in milliseconds.
    pub const MAX_TTL_MS: u32 = 60_000;

    /// The most bytes of its data: with them it still fits a datagram.
    pub const MAX_DATA: usize = 1_024;

    /// Its data, as it is written.
    ///
    /// # Errors
    /// [`FieldError::TooMuchData`], and those of [`Payload::json`].
    pub fn data_of(raw: &RawValue) -> Result<Payload, FieldError> {
        let (bytes, most) = (raw.get().len(), Self::MAX_DATA);
        if bytes > most {
            return Err(FieldError::TooMuchData { of: "a signal", most, bytes });
        }
        Payload::json(raw.to_owned())
    }

    /// For how many milliseconds it is shown, as it is written. `None`: it is no integer from 0 to [`Self::MAX_TTL_MS`].
    #[must_use]
    pub fn ttl_of(text: &str) -> Option<u32> {
        whole_number(text).and_then(|ttl| u32::try_from(ttl).ok()).filter(|ttl| *ttl <= Self::MAX_TTL_MS)
    }
}

/// What a sender shows one of: a topic in a room. A user's connections are one sender.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignalKey {
    room: Room,
    topic: Box<str>,
    sender: Arc<str>,
    is_user: bool,
}

impl SignalKey {
    /// That of a signal in this room.
    #[must_use]
    pub fn of(room: &Room, signal: &Signal) -> Self {
        let Member { connection, user } = &signal.sender;
        let (room, topic) = (room.clone(), signal.topic.clone());
        Self { room, topic, sender: Arc::clone(user.as_ref().unwrap_or(connection)), is_user: user.is_some() }
    }

    /// The room.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }
}

/// A signal as the members of a room are told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalNotice {
    /// The room.
    pub room: Room,
    /// The topic.
    pub topic: Box<str>,
    /// The connection that sent it, and its user.
    pub sender: Member,
    /// What it says beside its topic.
    pub data: Option<Payload>,
    /// For how long it is shown, in milliseconds; 0: no longer.
    pub ttl_ms: u32,
    /// When the pod was told of it.
    pub time: UnixMillis,
}
