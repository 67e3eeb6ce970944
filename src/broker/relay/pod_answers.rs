//! The answers that are begun for all edges of a pod, and do not wait to be sent yet.
//!
//! Bounded: by a quarter of what the pod's queues may hold, so that edges which ask for much do not have the pod refuse its clients; while its
//! memory is short, by one answer at a time. What an answer may come to is on the pod's account until the answer waits to be sent, and is on it
//! as such. Never refuses: those that find no place wait, in the order in which they came.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    MAX_RECORD,
    pod_memory::{OnAccount, PodMemory},
};

/// The most KiB of all of them, whatever the pod may hold.
const MOST_KIB: u32 = 1_024 * 1_024;

/// What the pod may hold, as many times as answers may.
const QUARTER: usize = 4;

/// The places of all links.
pub(super) struct PodAnswers {
    places: Arc<Semaphore>,
    kib: u32,
    memory: Arc<dyn PodMemory>,
}

/// The share of one answer.
pub(super) struct PodShare {
    _places: OwnedSemaphorePermit,
    _held: OnAccount,
}

/// So many bytes in KiB, no more than there are.
pub(super) fn kib(bytes: usize, all: u32) -> u32 {
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(all).min(all)
}

impl PodAnswers {
    /// Those of a pod with this account.
    pub(super) fn new(memory: &Arc<dyn PodMemory>) -> Self {
        // One that is as large as any can be has a place on the smallest pod.
        let kib = kib((memory.limit() / QUARTER).max(MAX_RECORD), MOST_KIB);
        Self { places: Arc::new(Semaphore::new(kib as usize)), kib, memory: Arc::clone(memory) }
    }

    /// Waits for the share of an answer with at most so many bytes.
    pub(super) async fn share(&self, bytes: usize) -> Option<PodShare> {
        let share = if self.memory.is_spent() { self.kib } else { kib(bytes, self.kib) };
        let places = Arc::clone(&self.places).acquire_many_owned(share).await.ok()?;
        Some(PodShare { _places: places, _held: OnAccount::put(&self.memory, bytes) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::broker::relay::pod_memory::TestMemory;

    #[tokio::test]
    async fn one_answer_at_a_time_of_all_links_where_memory_is_short() {
        let memory = TestMemory::plenty();
        let answers = PodAnswers::new(&(Arc::clone(&memory) as _));
        let begun = answers.share(1_000_000).now_or_never().flatten().unwrap();
        assert_eq!(memory.held(), 1_000_000);
        memory.limit_to(1);
        assert!(answers.share(1).now_or_never().is_none(), "what was begun before ends first");
        drop(begun);
        memory.limit_to(0);
        let one = answers.share(1).now_or_never().flatten().unwrap();
        assert!(answers.share(1).now_or_never().is_none());
        drop(one);
        assert!(answers.share(1).now_or_never().is_some());
        assert_eq!(memory.held(), 0);
    }

    #[tokio::test]
    async fn the_smallest_pod_has_a_place_for_the_largest_answer() {
        let memory = TestMemory::plenty();
        memory.limit_to(1);
        let answers = PodAnswers::new(&(Arc::clone(&memory) as _));
        assert!(answers.share(MAX_RECORD).now_or_never().is_some());
        assert!(answers.share(usize::MAX / 2).now_or_never().is_some(), "one that is larger comes alone");
    }
}
