//! What an edge has asked for and was not answered yet.
//!
//! Bounded: in number, in the bytes of the questions and in the bytes that the answers may have. Questions without a place are not read, and
//! answers without one not begun, those of all links together included ([`AllAnswers`]), until they are in their link's queue and so on the
//! pod's account. While the pod's memory is short, one question is under way at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pod_memory::{OnAccount, PodMemory};

/// The most calls of one edge that are under way.
const CALLS_AT_ONCE: usize = 1_024;

/// The most KiB of their questions. One that is larger comes alone.
const ASKED_KIB: u32 = 16 * 1_024;

/// The most KiB that answers may have which are begun and not sent; each call says what it may come to
/// ([`EdgeCall::answer_bytes`](super::call::EdgeCall::answer_bytes)).
const ANSWERS_KIB: u32 = 32 * 1_024;

/// No pod has use for more KiB of them at once.
const MOST_KIB: u32 = 1_024 * 1_024;

/// The places for answers of all links that are begun and in no queue yet: as much as one link may have, or a quarter of what the pod's queues may
/// hold.
pub(super) struct AllAnswers {
    bytes: Arc<Semaphore>,
    kib: u32,
}

impl AllAnswers {
    /// `memory`: the bytes that the pod's queues may hold.
    pub(super) fn new(memory: usize) -> Self {
        let quarter = u32::try_from(memory / 4 / 1_024).unwrap_or(u32::MAX).min(MOST_KIB);
        let kib = quarter.max(ANSWERS_KIB);
        Self { bytes: Arc::new(Semaphore::new(kib as usize)), kib }
    }
}

/// The places of one link.
pub(super) struct LinkPlaces {
    calls: Arc<Semaphore>,
    asked: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    /// For an answer that is larger than any should be.
    large: Arc<Semaphore>,
    memory: Arc<dyn PodMemory>,
    all: Arc<AllAnswers>,
}

/// A call's place, until its answer was sent.
pub(super) struct CallPlace {
    _number: OwnedSemaphorePermit,
    _asked: OwnedSemaphorePermit,
    _held: OnAccount,
}

/// The place of an answer.
pub(super) struct AnswerPlace {
    large: Arc<Semaphore>,
    _bytes: Option<OwnedSemaphorePermit>,
    /// Among those of all links.
    of_all: Option<OwnedSemaphorePermit>,
    only: Option<OwnedSemaphorePermit>,
}

/// So many bytes in KiB, no more than there are.
fn kib(bytes: usize, all: u32) -> u32 {
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(all).min(all)
}

impl LinkPlaces {
    pub(super) fn new(memory: Arc<dyn PodMemory>, all: Arc<AllAnswers>) -> Self {
        let semaphore = |places: u32| Arc::new(Semaphore::new(places as usize));
        let calls = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        let (asked, answers) = (semaphore(ASKED_KIB), semaphore(ANSWERS_KIB));
        Self { calls, asked, answers, large: semaphore(1), memory, all }
    }

    /// Waits for the place of a question with so many bytes.
    pub(super) async fn for_call(&self, bytes: usize) -> Option<CallPlace> {
        let number = Arc::clone(&self.calls).acquire_owned().await.ok()?;
        let share = if self.memory.is_spent() { ASKED_KIB } else { kib(bytes, ASKED_KIB) };
        let asked = Arc::clone(&self.asked).acquire_many_owned(share).await.ok()?;
        Some(CallPlace { _number: number, _asked: asked, _held: OnAccount::put(&self.memory, bytes) })
    }

    /// Waits for the place of an answer with at most so many bytes; 0: it is no larger than its question.
    pub(super) async fn for_answer(&self, bytes: usize) -> AnswerPlace {
        let (permit, of_all) = match kib(bytes, ANSWERS_KIB) {
            0 => (None, None),
            share => {
                // The link's own first: one that does not read waits here and holds nothing of the others'.
                let own = Arc::clone(&self.answers).acquire_many_owned(share).await.ok();
                (own, Arc::clone(&self.all.bytes).acquire_many_owned(share.min(self.all.kib)).await.ok())
            }
        };
        AnswerPlace { large: Arc::clone(&self.large), _bytes: permit, of_all, only: None }
    }
}

impl AnswerPlace {
    /// The answer is in the link's queue: other links wait for it no more, however long its edge takes.
    pub(super) fn is_said(&mut self) {
        drop(self.of_all.take());
    }

    /// Waits until no other answer of the link is larger than it should be.
    pub(super) async fn be_large(&mut self) {
        if self.only.is_none() {
            self.only = Arc::clone(&self.large).acquire_owned().await.ok();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::broker::relay::pod_memory::TestMemory;

    const MIB: usize = 1_024 * 1_024;

    fn all() -> Arc<AllAnswers> {
        Arc::new(AllAnswers::new(usize::MAX))
    }

    #[tokio::test]
    async fn questions_are_bounded_in_bytes_and_in_number() {
        let memory = TestMemory::plenty();
        let places = LinkPlaces::new(Arc::clone(&memory) as _, all());
        let first = places.for_call(10 * MIB).now_or_never().flatten().unwrap();
        assert!(places.for_call(7 * MIB).now_or_never().is_none(), "17 MiB");
        let second = places.for_call(6 * MIB).now_or_never().flatten().unwrap();
        assert_eq!(memory.held(), 16 * MIB);
        drop((first, second));
        assert_eq!(memory.held(), 0);
        // One that is larger than all places comes alone, or it would never come.
        let huge = places.for_call(30 * MIB).now_or_never().flatten().unwrap();
        assert!(places.for_call(1).now_or_never().is_none());
        drop(huge);
        let mut small = Vec::new();
        for _ in 0..CALLS_AT_ONCE {
            small.push(places.for_call(100).await.unwrap());
        }
        assert!(places.for_call(100).now_or_never().is_none());
        drop(small);
    }

    #[tokio::test]
    async fn one_question_at_a_time_where_memory_is_short() {
        let memory = TestMemory::plenty();
        let places = LinkPlaces::new(Arc::clone(&memory) as _, all());
        memory.limit_to(0);
        let one = places.for_call(1).now_or_never().flatten().unwrap();
        assert!(places.for_call(1).now_or_never().is_none());
        drop(one);
        assert!(places.for_call(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn answers_are_bounded_and_small_ones_do_not_wait_for_them() {
        let places = LinkPlaces::new(TestMemory::plenty(), all());
        let mut begun: Vec<_> = (0..8).map(|_| places.for_answer(4 * MIB).now_or_never().unwrap()).collect();
        assert!(places.for_answer(MIB).now_or_never().is_none());
        assert!(places.for_answer(0).now_or_never().is_some());
        let [first, second, ..] = &mut begun[..] else { panic!("eight") };
        first.be_large().await;
        assert!(second.be_large().now_or_never().is_none());
        drop(begun);
        assert!(places.for_answer(30 * MIB).now_or_never().is_some());
    }

    #[tokio::test]
    async fn answers_of_all_links_have_a_bound_until_they_are_said() {
        let all = Arc::new(AllAnswers::new(4 * 40 * MIB));
        let [one, other] = [(); 2].map(|()| LinkPlaces::new(TestMemory::plenty(), Arc::clone(&all)));
        let mut first = one.for_answer(32 * MIB).now_or_never().unwrap();
        let second = other.for_answer(8 * MIB).now_or_never().unwrap();
        assert!(other.for_answer(1).now_or_never().is_none() && other.for_answer(0).now_or_never().is_some());
        first.is_said();
        assert!(one.for_answer(1).now_or_never().is_none(), "its own link waits until it is written");
        assert!(other.for_answer(1).now_or_never().is_some());
        drop((first, second));
        // One link may have its own places at least.
        assert_eq!(AllAnswers::new(0).kib, ANSWERS_KIB);
    }
}
