//! Where each room of a Socket.IO session goes on when its client comes back.
//!
//! Never touches a connection. Always holds: a plan leaves nothing out that followed what the client had, or there is none.

use std::{sync::Arc, time::Duration};

use crate::{
    broker::{Broker, BrokerError, History, HistoryQuery},
    hub::worker::clock::millis,
    model::{Epoch, Offset, Policy, Room, Since, UnixMillis},
    protocol::socketio::StreamOffset,
    session::{RecordValue, RecordedRoom},
};

/// How far the clocks of two rooms' logs may be apart, and how long an event may be on its way between two pods.
pub const CLOCKS: Duration = Duration::from_secs(2);

/// The most events of a room that are looked at to find a time in its log.
const LOOK_BACK: usize = 1_000;

/// And their most bytes.
const LOOK_BACK_BYTES: usize = 1024 * 1024;

fn since((epoch, offset): &(Box<str>, Offset)) -> Since {
    Since { epoch: Epoch::new(epoch), offset: *offset }
}

/// Where each room of a session goes on.
#[derive(Debug)]
pub(crate) struct ResumePlan {
    /// The session's name.
    pub(crate) sid: Box<str>,
    /// Its rooms; without a position one goes on with what comes.
    pub(crate) rooms: Vec<(RecordedRoom, Option<Since>)>,
    /// Events that the client may have had already.
    pub(crate) twice: u64,
}

/// Where each room goes on; `None`: in one of them that cannot be said any more.
pub(crate) async fn resume_plan(
    broker: &dyn Broker,
    policy: impl Fn(&Room) -> Arc<Policy>,
    value: RecordValue,
    offset: &StreamOffset,
) -> Result<Option<ResumePlan>, BrokerError> {
    let RecordValue { sid, rooms, entering, left, last, .. } = value;
    // Otherwise it was in a room that is not recorded: its pod died too soon after.
    let known = rooms.iter().any(|recorded| recorded.room == offset.room) || left.contains(&offset.room);
    if entering || !known {
        return Ok(None);
    }
    let window = rooms.iter().map(|recorded| policy(&recorded.room).batch_window).max().unwrap_or_default();
    let cutoff = offset.time.saturating_sub(millis(window + CLOCKS));
    let here = (Box::<str>::from(offset.position.epoch.as_str()), offset.position.offset);
    // The client has the last thing that was sent, and so everything before it.
    let has_all = last.as_ref() == Some(&offset.room)
        && rooms.iter().any(|recorded| recorded.room == offset.room && recorded.sent.as_ref() == Some(&here));
    let here_log = policy(&offset.room).log_of(&offset.room).cloned();
    let mut plan = ResumePlan { sid, rooms: Vec::new(), twice: 0 };
    for recorded in rooms {
        let own = policy(&recorded.room);
        let log = own.log_of(&recorded.room).cloned();
        let policy = log.as_ref().map_or_else(|| Arc::clone(&own), &policy);
        let since = match &recorded {
            _ if policy.history_size == 0 => None,
            RecordedRoom { room, .. } if *room == offset.room => Some(since(&here)),
            _ if log.is_some() && log == here_log => Some(since(&here)),
            RecordedRoom { sent: Some(sent), .. } if has_all => Some(since(sent)),
            RecordedRoom { room, joined, .. } => {
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
        plan.rooms.push((recorded, since));
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
    Ok(position_at(history, policy, cutoff, joined, time))
}

/// As [`behind_time`], once the log was read.
fn position_at(
    history: History,
    policy: &Policy,
    cutoff: UnixMillis,
    joined: Option<&(Box<str>, Offset)>,
    time: UnixMillis,
) -> Option<(Since, u64)> {
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
        return None;
    }
    let again = history.events.iter().filter(|event| event.offset > offset && event.time <= time).count();
    Some((Since { epoch: history.epoch, offset }, again as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, Payload};

    /// A log of events at these times, numbered from `first` on.
    fn history(first: Offset, times: &[UnixMillis]) -> History {
        let payload = Payload::Binary(vec![0; 8].into());
        let event = |offset, time| {
            let payload = payload.clone();
            Event { offset, time, room: None, topic: "t".into(), key: None, payload, user: None, id: None }
        };
        let events: Vec<_> = times.iter().zip(first..).map(|(time, offset)| Arc::new(event(offset, *time))).collect();
        let (after, offset) = (first - 1, first - 1 + events.len() as u64);
        History { epoch: Epoch::new("e"), after, offset, end: offset, complete: true, events }
    }

    fn at(history: History, policy: &Policy, cutoff: u64, joined: Option<Offset>) -> Option<(Offset, u64)> {
        let joined = joined.map(|offset| ("e".into(), offset));
        position_at(history, policy, cutoff, joined.as_ref(), cutoff + 10).map(|(since, twice)| (since.offset, twice))
    }

    #[test]
    fn a_room_goes_on_behind_the_last_event_that_is_older_than_the_cutoff() {
        let policy = Policy::default();
        assert_eq!(at(history(1, &[10, 20, 30, 45]), &policy, 20, None), Some((2, 1)), "30 may be had already, 45 not");
        assert_eq!(at(history(1, &[]), &policy, 20, None), Some((0, 0)));
        assert_eq!(at(history(5, &[10, 20]), &policy, 50, None), Some((6, 0)), "nothing is younger");
    }

    #[test]
    fn what_was_before_the_client_came_is_not_sent() {
        let policy = Policy::default();
        assert_eq!(at(history(1, &[10, 20, 30]), &policy, 5, Some(2)), Some((2, 0)));
        assert_eq!(at(history(1, &[10, 20, 30]), &policy, 25, Some(1)), Some((2, 1)), "the later of the two counts");
    }

    #[test]
    fn a_full_log_that_begins_after_the_cutoff_may_have_lost_something() {
        let full = Policy { history_size: 3, ..Policy::default() };
        assert_eq!(at(history(7, &[30, 40, 50]), &full, 20, None), None);
        let roomy = Policy { history_size: 100, ..Policy::default() };
        assert_eq!(at(history(7, &[30, 40, 50]), &roomy, 20, None), Some((6, 1)));
    }
}
