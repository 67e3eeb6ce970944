//! What is written of a Socket.IO session, as it is stored.
//!
//! Never decides when it is written. Always holds: what an older build has stored is read, and what is the default is left out.

use serde::{Deserialize, Serialize};

use crate::model::{Offset, Position, Room, Spelling};

/// What is written of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordValue {
    /// The session's name, as its client knows it.
    pub sid: Box<str>,
    /// The namespace that it is in.
    pub namespace: Box<str>,
    /// Its user.
    pub user: Option<Box<str>>,
    /// The pod and the connection that have it.
    pub owner: Box<str>,
    /// Its rooms.
    pub rooms: Vec<RecordedRoom>,
    /// Whether it is entering a room: the client may have been told already that it is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub entering: bool,
    /// Rooms that it has left. The last event that the client got may have been one of theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Room>,
    /// The room whose event was sent last, where that is certain. Only of a session that has ended.
    pub last: Option<Room>,
}

/// One room of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRoom {
    /// The room.
    pub room: Room,
    /// How the client spells it.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub spelling: Spelling,
    /// Whether the pod put the client there.
    #[serde(rename = "given", default, skip_serializing_if = "std::ops::Not::not")]
    pub server_side: bool,
    /// From where it was in the room.
    pub joined: Option<(Box<str>, Offset)>,
    /// Up to where it was sent. Only of a session that has ended.
    pub sent: Option<(Box<str>, Offset)>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_plain(spelling: &Spelling) -> bool {
    *spelling == 0
}

impl RecordedRoom {
    /// A position as it is stored.
    #[must_use]
    pub(super) fn position(position: &Position) -> (Box<str>, Offset) {
        (position.epoch.as_str().into(), position.offset)
    }
}

impl RecordValue {
    /// The key under which a session's record is stored; `None`: no pod has given that name.
    #[must_use]
    pub fn key(pid: &str) -> Option<String> {
        let ours = pid.len() == 20 && pid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        ours.then(|| format!("socketio:{pid}"))
    }

    /// A record as it was stored.
    #[must_use]
    pub fn parse(stored: &[u8]) -> Option<Self> {
        serde_json::from_slice(stored).ok()
    }

    /// Whether a client may continue this session. `accepts_unknown`: a token that is looked up may be gone by now, and then the
    /// session's secret name suffices.
    #[must_use]
    pub fn may_continue(&self, namespace: &str, user: Option<&str>, accepts_unknown: bool) -> bool {
        *self.namespace == *namespace && (self.user.as_deref() == user || (user.is_none() && accepts_unknown))
    }
}
