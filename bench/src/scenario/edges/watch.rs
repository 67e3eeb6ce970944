//! Members everywhere while things break, and what each of them saw.
//!
//! Each is a client of the tests (`testkit::watcher`): it keeps its positions, and comes back with them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use testkit::{
    checker::Seen,
    watcher::{self, Diary},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::tree::Placed;
use crate::{dialect::room_name, error::BenchError};

/// Members on each pod.
const MEMBERS: usize = 2;
/// How long until all goes on again, and how long until all have the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Members everywhere, and what each saw.
pub(super) struct Watch {
    plans: Vec<Arc<watcher::Plan>>,
    diaries: Vec<Arc<Mutex<Diary>>>,
    tasks: Vec<JoinHandle<()>>,
    rooms: Vec<String>,
}

impl Watch {
    /// Of so many rooms, without members.
    pub(super) fn over(rooms: u32) -> Self {
        let rooms = (0..rooms).map(room_name).collect();
        Self { plans: Vec::new(), diaries: Vec::new(), tasks: Vec::new(), rooms }
    }

    /// The names of the rooms.
    pub(super) fn rooms(&self) -> &[String] {
        &self.rooms
    }

    /// How many members there are.
    pub(super) fn members(&self) -> usize {
        self.diaries.len()
    }

    /// Members that stay in one place: each comes to another of its pods when its own has gone.
    pub(super) fn place(&mut self, pods: &[Placed]) -> Result<(), BenchError> {
        let plan = Arc::new(watcher::Plan {
            pods: pods.iter().map(|placed| placed.pod.plain()).collect::<Result<_, _>>()?,
            over: AtomicBool::new(false),
            recovers: true,
            stalling: 0,
            stalls: AtomicUsize::new(0),
            reconnects: AtomicUsize::new(0),
            longest_away_ms: AtomicUsize::new(0),
        });
        for me in 0..pods.len() * MEMBERS {
            let diary = Arc::default();
            self.diaries.push(Arc::clone(&diary));
            self.tasks.push(tokio::spawn(watcher::watch(Arc::clone(&plan), me, self.rooms.clone(), diary)));
        }
        self.plans.push(plan);
        Ok(())
    }

    /// Waits until each diary satisfies `enough`.
    pub(super) async fn until(&self, what: &str, enough: impl Fn(&Diary) -> bool) -> Result<(), BenchError> {
        let deadline = Instant::now() + PATIENCE;
        let is_enough = |diary: &Arc<Mutex<Diary>>| enough(&diary.lock().unwrap_or_else(PoisonError::into_inner));
        while !self.diaries.iter().all(is_enough) {
            if Instant::now() > deadline {
                let behind = self.diaries.iter().filter(|diary| !is_enough(diary)).count();
                let hint = format!("{behind} of {} members are behind; the pods' logs say more", self.diaries.len());
                return Err(BenchError::Timeout { what: what.to_owned(), seconds: PATIENCE.as_secs(), hint });
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits until every member has an event of every room with at least this number. How long that took, in milliseconds.
    pub(super) async fn has_all_from(&self, number: u64, what: &str) -> Result<f64, BenchError> {
        let began = Instant::now();
        let is_there = |diary: &Diary| {
            self.rooms.iter().all(|room| newest(diary.rooms.get(room).map_or(&[], Vec::as_slice)) >= Some(number))
        };
        self.until(what, is_there).await?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }

    /// What each saw.
    pub(super) fn end(self) -> Vec<BTreeMap<String, Vec<Seen>>> {
        self.plans.iter().for_each(|plan| plan.over.store(true, Ordering::Relaxed));
        self.tasks.iter().for_each(JoinHandle::abort);
        let taken =
            |diary: &Arc<Mutex<Diary>>| std::mem::take(&mut diary.lock().unwrap_or_else(PoisonError::into_inner).rooms);
        self.diaries.iter().map(taken).collect()
    }
}

/// The number of the newest event among what was seen.
fn newest(seen: &[Seen]) -> Option<u64> {
    seen.iter().rev().find_map(|step| match step {
        Seen::Events { events, .. } => events.last().and_then(|(_, id)| id.parse().ok()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_event_is_the_last_that_was_seen() {
        let events = |ids: &[&str]| Seen::Events {
            epoch: "a".to_owned(),
            after: 0,
            offset: 0,
            events: ids.iter().map(|id| (0, (*id).to_owned())).collect(),
        };
        let gap = Seen::Gap { epoch: "a".to_owned(), offset: 9 };
        assert_eq!(newest(&[events(&["1"]), events(&["2", "17"]), gap.clone()]), Some(17));
        assert_eq!((newest(&[gap]), newest(&[])), (None, None));
    }
}
