//! Connections and rooms as a pod lists them, for the API and for the other pods.
//!
//! Shapes only. Always holds: a list is in the order of its names, and says whether the pod has more behind its last entry.

use super::{Epoch, Position, Room, UnixMillis};

/// Which connections are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConnectionQuery {
    /// The one of this name: its own, or the `socket.id` of its Socket.IO client.
    pub named: Option<Box<str>>,
    /// Those of this user.
    pub user: Option<Box<str>>,
    /// Those in this room.
    pub room: Option<Room>,
    /// Those whose names, as numbers, come after this one.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Which rooms are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RoomQuery {
    /// This one.
    pub named: Option<Room>,
    /// Those whose names begin with this.
    pub prefix: Box<str>,
    /// Those whose names come after this one.
    pub after: Option<Box<str>>,
    /// At most so many.
    pub limit: usize,
}

/// A list of one pod.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PodList<T> {
    /// By name.
    pub entries: Vec<T>,
    /// How many fit the question, whatever its limit and where it begins.
    pub total: usize,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// How many connections of a pod are in a room.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemberCount {
    /// The room.
    pub room: Room,
    /// The connections.
    pub members: usize,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ListedConnection {
    /// Its name.
    pub id: String,
    /// The pod that has it, where pods are listed together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// What its Socket.IO client knows itself as, one in each of its namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub socket_ids: Vec<Box<str>>,
    /// Its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Box<str>>,
    /// When its token expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMillis>,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What its client calls itself (`User-Agent`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Box<str>>,
    /// What carries it.
    pub transport: Box<str>,
    /// What it speaks.
    pub dialect: Box<str>,
    /// Whether TLS ends at its pod.
    pub tls: bool,
    /// Whether broadcasts are compressed for it.
    pub compressed: bool,
    /// How long it has been there.
    pub connected_ms: u64,
    /// When something came from it last.
    pub last_seen: UnixMillis,
    /// The rooms that it is in.
    pub rooms: Vec<ListedRoom>,
    /// Messages of the client.
    pub messages_in: u32,
    /// And their bytes.
    pub bytes_in: u64,
    /// Frames to the client.
    pub frames_out: u32,
    /// And their bytes.
    pub bytes_out: u64,
    /// What these would be without compression.
    pub bytes_plain: u64,
    /// Bytes that wait for it.
    pub owed_bytes: usize,
}

/// A room of a connection, and where its stream stands on the connection's pod.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ListedRoom {
    /// The room.
    pub room: Room,
    /// `None`: the broker has not answered yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<ListedPosition>,
}

/// A position, spelled as in the API.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ListedPosition {
    epoch: String,
    offset: u64,
}

impl From<&Position> for ListedPosition {
    fn from(Position { epoch, offset }: &Position) -> Self {
        Self { epoch: Epoch::as_str(epoch).to_owned(), offset: *offset }
    }
}

impl ListedConnection {
    /// About how many bytes it takes in an answer.
    #[must_use]
    pub fn cost(&self) -> usize {
        let rooms: usize = self.rooms.iter().map(|joined| 2 * joined.room.as_str().len() + 160).sum();
        let texts = [&self.user, &self.user_agent].into_iter().flatten().map(|text| 2 * text.len()).sum::<usize>();
        640 + rooms + texts
    }
}
