//! What is kept of a Socket.IO session, and where each of its rooms goes on when it comes back.
//!
//! Never touches a connection. Always holds: a plan leaves nothing out that followed what the client had, or there is none.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    broker::{Broker, BrokerError, HistoryQuery},
    hub::worker::clock::millis,
    model::{Epoch, Offset, Policy, Position, Room, Since, Spelling, UnixMillis},
    protocol::socketio::StreamOffset,
};

/// How far the clocks of two rooms' logs may be apart, and how long an event may be on its way between two pods.
pub const CLOCKS: Duration = Duration::from_secs(2);

/// The most events of a room that are looked at to find a time in its log.
const LOOK_BACK: usize = 1_000;

/// And their most bytes.
const LOOK_BACK_BYTES: usize = 1024 * 1024;

/// What is kept of a session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) sid: Box<str>,
    pub(crate) namespace: Box<str>,
    pub(crate) user: Option<Box<str>>,
    /// Whose it is now: pod and connection.
    pub(crate) owner: Box<str>,
    pub(crate) rooms: Vec<KeptRoom>,
    /// Whether it is entering a room, so that the client may have been told already that it is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) entering: bool,
    /// Rooms that it has left, of one of which the last event may have been that the client got.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<Room>,
    /// The room whose event was the last that was sent, where that is certain; the session has ended then.
    pub(crate) last: Option<Room>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptRoom {
    pub(crate) room: Room,
    #[serde(default, skip_serializing_if = "is_plain")]
    pub(crate) spelling: Spelling,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) given: bool,
    /// From where it was in the room.
    pub(crate) joined: Option<(Box<str>, Offset)>,
    /// Up to where it was sent, once it has ended.
    pub(crate) sent: Option<(Box<str>, Offset)>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_plain(spelling: &Spelling) -> bool {
    *spelling == 0
}

pub(crate) fn kept(position: &Position) -> (Box<str>, Offset) {
    (position.epoch.as_str().into(), position.offset)
}

pub(crate) fn since((epoch, offset): &(Box<str>, Offset)) -> Since {
    Since { epoch: Epoch::new(epoch), offset: *offset }
}

/// The value under which a session is kept. A client's name is looked up only if it could be one of ours.
pub(crate) fn value_name(pid: &str) -> Option<String> {
    let ours = pid.len() == 20 && pid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    ours.then(|| format!("socketio:{pid}"))
}

/// Where each room of a session goes on.
pub(crate) struct Plan {
    pub(crate) kept: Kept,
    pub(crate) rooms: Vec<(KeptRoom, Option<Since>)>,
    /// Events that the client may have had already.
    pub(crate) twice: u64,
}

/// Who has a session, as far as can be known.
pub(crate) fn owner_of(value: Result<Option<Bytes>, BrokerError>) -> Option<Box<str>> {
    let kept: Kept = serde_json::from_slice(&value.ok()??).ok()?;
    Some(kept.owner)
}

/// Where each room goes on; `None`: in one of them that cannot be said any more.
pub(crate) async fn plan(
    broker: &dyn Broker,
    policy: impl Fn(&Room) -> Arc<Policy>,
    mut kept: Kept,
    offset: &StreamOffset,
) -> Result<Option<Plan>, BrokerError> {
    let rooms = std::mem::take(&mut kept.rooms);
    // It was in a room of which nothing is written down: its pod died too soon after.
    let known = rooms.iter().any(|kept| kept.room == offset.room) || kept.left.contains(&offset.room);
    if kept.entering || !known {
        return Ok(None);
    }
    let window = rooms.iter().map(|kept| policy(&kept.room).batch_window).max().unwrap_or_default();
    let cutoff = offset.time.saturating_sub(millis(window + CLOCKS));
    let here = (Box::<str>::from(offset.position.epoch.as_str()), offset.position.offset);
    // The client has the last thing that was sent, and so everything before it.
    let has_all = kept.last.as_ref() == Some(&offset.room)
        && rooms.iter().any(|kept| kept.room == offset.room && kept.sent.as_ref() == Some(&here));
    let here_log = policy(&offset.room).log_of(&offset.room).cloned();
    let mut plan = Plan { kept, rooms: Vec::new(), twice: 0 };
    for kept in rooms {
        let own = policy(&kept.room);
        let log = own.log_of(&kept.room).cloned();
        let policy = log.as_ref().map_or_else(|| Arc::clone(&own), &policy);
        let since = match &kept {
            _ if policy.history_size == 0 => None,
            KeptRoom { room, .. } if *room == offset.room => Some(since(&here)),
            _ if log.is_some() && log == here_log => Some(since(&here)),
            KeptRoom { sent: Some(sent), .. } if has_all => Some(since(sent)),
            KeptRoom { room, joined, .. } => {
                // Rooms that share a log begin alike, and leave out themselves what was before they were joined.
                let joined = joined.as_ref().filter(|_| log.is_none());
                match behind_time(broker, log.as_ref().unwrap_or(room), &policy, cutoff, joined, offset.time).await? {
                    Some((since, twice)) => {
                        plan.twice += twice;
                        Some(since)
                    }
                    None => return Ok(None),
                }
            }
        };
        plan.rooms.push((kept, since));
    }
    Ok(Some(plan))
}

/// The position behind which a room's events are younger than `cutoff`, and how many of them are older than `time`. `None`:
/// the log may have lost some of them.
async fn behind_time(
    broker: &dyn Broker,
    room: &Room,
    policy: &Policy,
    cutoff: UnixMillis,
    joined: Option<&(Box<str>, Offset)>,
    time: UnixMillis,
) -> Result<Option<(Since, u64)>, BrokerError> {
    let query = HistoryQuery { since: None, until: None, max_events: LOOK_BACK, max_bytes: LOOK_BACK_BYTES };
    let history = broker.history(room, query).await?;
    let older = history.events.iter().take_while(|event| event.time <= cutoff).count();
    let mut offset = match history.events.get(older) {
        Some(event) => event.offset.saturating_sub(1),
        None => history.offset,
    };
    // What was before the client came is not its.
    if let Some((epoch, joined)) = joined
        && **epoch == *history.epoch.as_str()
    {
        offset = offset.max((*joined).min(history.offset));
    }
    let reaches = offset > history.after || older > 0 || history.after == 0 || history.events.is_empty() || {
        // The log begins later than the cut-off. It has lost nothing younger if it is not full: what was dropped to make
        // place was older than all that is there, and that would fill it still.
        let bytes: usize = history.events.iter().map(|event| event.cost()).sum();
        history.events.len() < LOOK_BACK.min(policy.history_size)
            && bytes < (LOOK_BACK_BYTES.min(policy.history_bytes)) / 2
    };
    if !reaches {
        return Ok(None);
    }
    let again = history.events.iter().filter(|event| event.offset > offset && event.time <= time).count();
    Ok(Some((Since { epoch: history.epoch, offset }, again as u64)))
}
