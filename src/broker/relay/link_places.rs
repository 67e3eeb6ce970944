//! What an edge has asked for and was not answered yet.
//!
//! Bounded: in number, in the bytes of the questions and in the bytes that the answers may have. Questions without a place are not read, and
//! answers without one not begun. While the pod's memory is short, one question is under way at a time.

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

/// The places of one link.
pub(super) struct LinkPlaces {
    calls: Arc<Semaphore>,
    asked: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    /// For an answer that is larger than any should be.
    large: Arc<Semaphore>,
    memory: Arc<dyn PodMemory>,
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
    only: Option<OwnedSemaphorePermit>,
}

/// So many bytes in KiB, no more than there are.
fn kib(bytes: usize, all: u32) -> u32 {
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(all).min(all)
}

impl LinkPlaces {
    pub(super) fn new(memory: Arc<dyn PodMemory>) -> Self {
        let semaphore = |places: u32| Arc::new(Semaphore::new(places as usize));
        let calls = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        Self { calls, asked: semaphore(ASKED_KIB), answers: semaphore(ANSWERS_KIB), large: semaphore(1), memory }
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
        let permit = match kib(bytes, ANSWERS_KIB) {
            0 => None,
            share => Arc::clone(&self.answers).acquire_many_owned(share).await.ok(),
        };
        AnswerPlace { large: Arc::clone(&self.large), _bytes: permit, only: None }
    }
}

impl AnswerPlace {
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

    #[tokio::test]
    async fn questions_are_bounded_in_bytes_and_in_number() {
        let memory = TestMemory::plenty();
        let places = LinkPlaces::new(Arc::clone(&memory) as _);
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
        let places = LinkPlaces::new(Arc::clone(&memory) as _);
        memory.limit_to(0);
        let one = places.for_call(1).now_or_never().flatten().unwrap();
        assert!(places.for_call(1).now_or_never().is_none());
        drop(one);
        assert!(places.for_call(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn answers_are_bounded_and_small_ones_do_not_wait_for_them() {
        let places = LinkPlaces::new(TestMemory::plenty());
        let mut begun: Vec<_> = (0..8).map(|_| places.for_answer(4 * MIB).now_or_never().unwrap()).collect();
        assert!(places.for_answer(MIB).now_or_never().is_none());
        assert!(places.for_answer(0).now_or_never().is_some());
        let [first, second, ..] = &mut begun[..] else { panic!("eight") };
        first.be_large().await;
        assert!(second.be_large().now_or_never().is_none());
        drop(begun);
        assert!(places.for_answer(30 * MIB).now_or_never().is_some());
    }
}
