//! The newest events of rooms by their ids, read once for all clients that come back with the id of their last event.
//!
//! Owns a small, short-lived cache; never sends anything. Always holds: an event that was in the log when it was asked for,
//! among the newest that one recovery can bring, is found.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;

use crate::{
    broker::{Broker, BrokerError, HistoryQuery},
    hub::recovery::plan::{MAX_BYTES, MAX_EVENTS},
    model::{Epoch, Offset, Room, Since},
};

/// The end of a room's log.
#[derive(Debug, Clone)]
struct Tail {
    epoch: Epoch,
    /// Of events with the same id, the newest.
    offsets: HashMap<Box<str>, Offset>,
}

type TailCell = Arc<OnceCell<Result<Arc<Tail>, BrokerError>>>;

/// The ends of the logs that were asked for lately.
#[derive(Debug, Default)]
pub struct EventIndex {
    recent: Mutex<HashMap<Room, (Instant, TailCell)>>,
}

impl EventIndex {
    /// How long the end of a log is kept: an event that is in it then still is where it was.
    const KEEP: Duration = Duration::from_secs(2);
    /// The most rooms kept; beyond it the oldest go first.
    const MAX: usize = 256;

    /// The position of an event, by its publisher's id or by the position itself, as `epoch:offset`; `None`: it is neither.
    /// Whether the log still has what followed is not said.
    ///
    /// # Errors
    /// The broker's.
    pub async fn position_of(
        &self,
        broker: &dyn Broker,
        room: &Room,
        event: &str,
    ) -> Result<Option<Since>, BrokerError> {
        let asked = Instant::now();
        // What was read before this was asked for may lack an event that another pod has sent already.
        for oldest in [asked.checked_sub(Self::KEEP).unwrap_or(asked), asked] {
            let (began, cell) = self.cell(room, oldest);
            let tail = cell.get_or_init(|| read(broker, room)).await.clone()?;
            if let Some(offset) = tail.offsets.get(event) {
                return Ok(Some(Since { epoch: tail.epoch.clone(), offset: *offset }));
            }
            if began >= asked {
                break;
            }
        }
        Ok(position(event))
    }

    /// The end of a log whose reading began at `oldest` or later.
    fn cell(&self, room: &Room, oldest: Instant) -> (Instant, TailCell) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((began, cell)) = recent.get(room)
            && *began >= oldest
            && !cell.get().is_some_and(Result::is_err)
        {
            return (*began, Arc::clone(cell));
        }
        if recent.len() >= Self::MAX {
            let oldest = recent.iter().min_by_key(|(_, (began, _))| *began).map(|(room, _)| room.clone());
            oldest.and_then(|room| recent.remove(&room));
        }
        let fresh = (Instant::now(), TailCell::default());
        recent.insert(room.clone(), fresh.clone());
        fresh
    }

    /// Lets go of what was not asked for lately. Each worker calls it on its timer.
    pub fn forget_old(&self, now: Instant) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (began, _)| now.duration_since(*began) < Self::KEEP);
    }
}

async fn read(broker: &dyn Broker, room: &Room) -> Result<Arc<Tail>, BrokerError> {
    let query = HistoryQuery { since: None, until: None, max_events: MAX_EVENTS, max_bytes: MAX_BYTES };
    let history = broker.history(room, query).await?;
    let ids = history.events.iter().filter_map(|event| Some((event.id.clone()?, event.offset)));
    Ok(Arc::new(Tail { epoch: history.epoch, offsets: ids.collect() }))
}

fn position(text: &str) -> Option<Since> {
    let (epoch, offset) = text.rsplit_once(':')?;
    let plain = !epoch.is_empty() && !offset.is_empty() && offset.bytes().all(|b| b.is_ascii_digit());
    let offset = offset.parse().ok().filter(|offset| plain && *offset < 1 << 53)?;
    Some(Since { epoch: Epoch::new(epoch), offset })
}
