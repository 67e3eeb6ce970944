//! The answers that are begun for all edges of a pod, and do not wait to be sent yet.
//!
//! Bounded: by a quarter of what the pod's queues may hold, so that edges which ask for much do not have the pod refuse its clients, and of one
//! link by a quarter of that; while its memory is short, by one answer at a time. What an answer may come to is on the pod's account until the
//! answer waits to be sent, and is on it as such: as far as the estimates of its link take no more than an eighth of what may be held, and
//! those of all links a quarter. So what is only announced never spends the account. Never refuses: those that find no place wait, in the order
//! in which they came.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    MAX_RECORD,
    pod_memory::{OnAccount, PodMemory},
};

/// The most KiB of all of them, whatever the pod may hold.
const MOST_KIB: u32 = 1_024 * 1_024;

/// What the pod may hold, as many times as answers may.
const QUARTER: usize = 4;

/// What all answers may take, as many times as those of one link may.
const OF_LINK: u32 = 4;

/// What the pod may hold, as many times as the estimates of one link may take on its account.
const EIGHTH: usize = 8;

/// The places of all links.
pub(super) struct PodAnswers {
    places: Arc<Semaphore>,
    /// For an answer that is larger than any should be.
    large: Arc<Semaphore>,
    kib: u32,
    /// What estimates have on the account.
    estimated: Arc<AtomicUsize>,
    memory: Arc<dyn PodMemory>,
}

/// What the estimates of one link have on the account.
#[derive(Clone, Default)]
pub(super) struct LinkEstimates(Arc<AtomicUsize>);

/// The share of one answer.
pub(super) struct PodShare {
    _places: OwnedSemaphorePermit,
    _large: Option<OwnedSemaphorePermit>,
    _estimate: Estimate,
}

/// What of an estimate is on the account, until this is dropped.
struct Estimate {
    _held: OnAccount,
    bytes: usize,
    of: [Arc<AtomicUsize>; 2],
}

impl Drop for Estimate {
    fn drop(&mut self) {
        for count in &self.of {
            count.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// So many bytes in KiB, no more than there are.
pub(super) fn kib(bytes: usize, all: u32) -> u32 {
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(all).min(all)
}

impl PodAnswers {
    /// Those of a pod with this account.
    pub(super) fn new(memory: &Arc<dyn PodMemory>) -> Self {
        let kib = kib((memory.limit() / QUARTER).max(MAX_RECORD), MOST_KIB);
        let semaphore = |places: u32| Arc::new(Semaphore::new(places as usize));
        let (places, large) = (semaphore(kib), semaphore(1));
        Self { places, large, kib, estimated: Arc::default(), memory: Arc::clone(memory) }
    }

    /// The most KiB of one link. An answer that may come to more has all of them.
    pub(super) fn link_kib(&self) -> u32 {
        self.kib / OF_LINK
    }

    /// Waits for the share of an answer with at most so many bytes.
    pub(super) async fn share(&self, bytes: usize, link: &LinkEstimates) -> Option<PodShare> {
        let share = if self.memory.is_spent() { self.kib } else { kib(bytes, self.link_kib()) };
        let places = Arc::clone(&self.places).acquire_many_owned(share).await.ok()?;
        Some(PodShare { _places: places, _large: None, _estimate: self.estimate(bytes, link) })
    }

    /// Waits for the share of an answer that is larger than any should be: there is one at a time of all links.
    pub(super) async fn large_share(&self, link: &LinkEstimates) -> Option<PodShare> {
        let large = Arc::clone(&self.large).acquire_owned().await.ok()?;
        let share = self.share(MAX_RECORD, link).await?;
        Some(PodShare { _large: Some(large), ..share })
    }

    fn estimate(&self, bytes: usize, link: &LinkEstimates) -> Estimate {
        let limit = self.memory.limit();
        let left = |count: &AtomicUsize, part: usize| (limit / part).saturating_sub(count.load(Ordering::Relaxed));
        let bytes = bytes.min(left(&link.0, EIGHTH)).min(left(&self.estimated, QUARTER));
        let of = [Arc::clone(&link.0), Arc::clone(&self.estimated)];
        for count in &of {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
        Estimate { _held: OnAccount::put(&self.memory, bytes), bytes, of }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::broker::relay::pod_memory::TestMemory;

    const MIB: usize = 1_024 * 1_024;

    fn begin(answers: &PodAnswers, bytes: usize, link: &LinkEstimates) -> Option<PodShare> {
        answers.share(bytes, link).now_or_never().flatten()
    }

    #[tokio::test]
    async fn one_answer_at_a_time_of_all_links_where_memory_is_short() {
        let memory = TestMemory::plenty();
        let answers = PodAnswers::new(&(Arc::clone(&memory) as _));
        let link = LinkEstimates::default();
        let begun = begin(&answers, 1_000_000, &link).unwrap();
        assert_eq!(memory.held(), 1_000_000);
        memory.limit_to(1);
        assert!(begin(&answers, 1, &link).is_none(), "what was begun before ends first");
        drop(begun);
        memory.limit_to(0);
        let one = begin(&answers, 1, &link).unwrap();
        assert!(begin(&answers, 1, &link).is_none());
        drop(one);
        assert!(begin(&answers, 1, &link).is_some());
        assert_eq!(memory.held(), 0);
    }

    #[tokio::test]
    async fn the_smallest_pod_has_a_place_for_the_largest_answer() {
        let (memory, link) = (TestMemory::plenty(), LinkEstimates::default());
        memory.limit_to(1);
        let answers = PodAnswers::new(&(Arc::clone(&memory) as _));
        assert!(begin(&answers, MAX_RECORD, &link).is_some());
        assert!(begin(&answers, usize::MAX / 2, &link).is_some(), "one that is larger comes alone");
        assert!(answers.large_share(&link).now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn what_is_only_announced_spends_no_account() {
        let memory = TestMemory::plenty();
        memory.limit_to(64 * MIB);
        let answers = PodAnswers::new(&(Arc::clone(&memory) as _));
        let links: [LinkEstimates; 4] = Default::default();
        let mut begun = Vec::new();
        for (link, held) in links.iter().zip([8, 16, 16, 16]) {
            for _ in 0..2 {
                begun.push(begin(&answers, 5 * MIB, link).unwrap());
            }
            assert_eq!(memory.held(), held * MIB, "an eighth for a link, and a quarter for all of them");
        }
        assert!(!memory.is_spent());
        drop(begun);
        assert_eq!(memory.held(), 0);
        assert!(links.iter().all(|link| link.0.load(Ordering::Relaxed) == 0));
    }
}
