//! What an edge has asked for and was not answered yet.
//!
//! Bounded: in number, in the bytes of the questions and in the bytes that the answers may have, those of all links together as well
//! ([`PodAnswers`](super::pod_answers)). Questions without a place are not read, and answers without one not begun. While the pod's memory is
//! short, one question and one answer of a link are under way at a time. Always holds: an answer waits for its link's places first and for the
//! pod's last, so that what has the pod's waits for no other link; a question to the fleet has no place of an answer while it waits for
//! other pods, and of these there are [`FLEET_QUESTIONS`].

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    pod_answers::{LinkEstimates, PodAnswers, PodShare, kib},
    pod_memory::{OnAccount, PodMemory},
};

/// The most calls of one edge that are under way.
const CALLS_AT_ONCE: usize = 1_024;

/// The most KiB of their questions. One that is larger comes alone.
const ASKED_KIB: u32 = 16 * 1_024;

/// The most KiB that answers may have which are begun and not sent, on a pod with plenty; each call says what it may come to
/// ([`EdgeCall::answer_bytes`](super::call::EdgeCall::answer_bytes)).
const ANSWERS_KIB: u32 = 32 * 1_024;

/// The most questions to the fleet that wait for the answers of other pods: each of these pods is asked, and so is each edge.
const FLEET_QUESTIONS: usize = 4;

/// The places of one link.
pub(super) struct LinkPlaces {
    calls: Arc<Semaphore>,
    asked: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    answers_kib: u32,
    /// For an answer that is larger than any should be.
    large: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    of_pod: Arc<PodAnswers>,
    estimates: LinkEstimates,
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
    of_link: Arc<LinkPlaces>,
    bytes: Option<OwnedSemaphorePermit>,
    only: Option<OwnedSemaphorePermit>,
    share: Option<PodShare>,
}

impl LinkPlaces {
    /// Those of a link of this pod.
    pub(super) fn new(of_pod: Arc<PodAnswers>, memory: Arc<dyn PodMemory>) -> Arc<Self> {
        let semaphore = |places: u32| Arc::new(Semaphore::new(places as usize));
        let answers_kib = ANSWERS_KIB.min(of_pod.link_kib());
        Arc::new(Self {
            calls: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
            asked: semaphore(ASKED_KIB),
            answers: semaphore(answers_kib),
            answers_kib,
            large: semaphore(1),
            questions: Arc::new(Semaphore::new(FLEET_QUESTIONS)),
            of_pod,
            estimates: LinkEstimates::default(),
            memory,
        })
    }

    /// Waits for the place of a question with so many bytes.
    pub(super) async fn for_call(&self, bytes: usize) -> Option<CallPlace> {
        let number = Arc::clone(&self.calls).acquire_owned().await.ok()?;
        let share = if self.memory.is_spent() { ASKED_KIB } else { kib(bytes, ASKED_KIB) };
        let asked = Arc::clone(&self.asked).acquire_many_owned(share).await.ok()?;
        Some(CallPlace { _number: number, _asked: asked, _held: OnAccount::put(&self.memory, bytes) })
    }

    /// Waits for the place of an answer with at most so many bytes; 0: it is no larger than its question.
    pub(super) async fn for_answer(self: &Arc<Self>, bytes: usize) -> AnswerPlace {
        let mut place = AnswerPlace { of_link: Arc::clone(self), bytes: None, only: None, share: None };
        place.be_of(bytes).await;
        place
    }
}

impl AnswerPlace {
    /// Waits for a place with so many bytes, where it has none yet.
    pub(super) async fn be_of(&mut self, bytes: usize) {
        if bytes == 0 || self.bytes.is_some() {
            return;
        }
        let link = &self.of_link;
        let most = if link.memory.is_spent() { link.answers_kib } else { kib(bytes, link.answers_kib) };
        self.bytes = Arc::clone(&link.answers).acquire_many_owned(most).await.ok();
        self.share = link.of_pod.share(bytes, &link.estimates).await;
    }

    /// Waits until few enough other questions of the link to the fleet are under way: this one is for as long as what is returned.
    pub(super) async fn turn_to_ask(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.of_link.questions).acquire_owned().await.ok()
    }

    /// Waits until no other answer of the link is larger than it should be, and the pod has a place for one.
    pub(super) async fn be_large(&mut self) {
        if self.only.is_none() {
            // What holds a share waits for nothing: two that each waited for more would wait for each other.
            self.share = None;
            self.only = Arc::clone(&self.of_link.large).acquire_owned().await.ok();
            self.share = self.of_link.of_pod.large_share(&self.of_link.estimates).await;
        }
    }

    /// It waits to be sent, and is on the account as such: other links need not wait until the edge takes it.
    pub(super) fn was_queued(&mut self) {
        self.share = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::broker::relay::pod_memory::TestMemory;

    const MIB: usize = 1_024 * 1_024;

    fn places(memory: &Arc<TestMemory>) -> Arc<LinkPlaces> {
        let memory: Arc<dyn PodMemory> = Arc::clone(memory) as _;
        LinkPlaces::new(Arc::new(PodAnswers::new(&memory)), memory)
    }

    #[tokio::test]
    async fn questions_are_bounded_in_bytes_and_in_number() {
        let memory = TestMemory::plenty();
        let places = places(&memory);
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
        let places = places(&memory);
        memory.limit_to(0);
        let one = places.for_call(1).now_or_never().flatten().unwrap();
        assert!(places.for_call(1).now_or_never().is_none());
        drop(one);
        assert!(places.for_call(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn answers_are_bounded_and_small_ones_do_not_wait_for_them() {
        let places = places(&TestMemory::plenty());
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
    async fn what_is_begun_for_one_link_counts_for_all_of_them_until_it_waits_to_be_sent() {
        let memory = TestMemory::plenty();
        memory.limit_to(256 * MIB);
        let account: Arc<dyn PodMemory> = Arc::clone(&memory) as _;
        let pod = Arc::new(PodAnswers::new(&account));
        let link = || LinkPlaces::new(Arc::clone(&pod), Arc::clone(&account));
        let links: Vec<_> = (0..5).map(|_| link()).collect();
        let mut begun = Vec::new();
        for link in &links[..4] {
            for _ in 0..4 {
                begun.push(link.for_answer(4 * MIB).now_or_never().unwrap());
            }
            assert!(link.for_answer(1).now_or_never().is_none(), "a link has a quarter of them");
        }
        assert_eq!(memory.held(), 64 * MIB, "a quarter of what the pod may hold");
        assert!(links[4].for_answer(1).now_or_never().is_none());
        assert!(links[4].for_answer(0).now_or_never().is_some());
        // The edge need not have taken it: only its own link has less place then.
        begun[0].was_queued();
        assert_eq!(memory.held(), 60 * MIB);
        assert!(links[0].for_answer(4 * MIB).now_or_never().is_none());
        let last = links[4].for_answer(4 * MIB).now_or_never().unwrap();
        // Each that becomes large lets go of its share first: they come one after the other.
        let mut large = begun.split_off(11);
        drop((begun, last));
        let [first, second, ..] = &mut large[..] else { panic!("five") };
        first.be_large().now_or_never().unwrap();
        assert!(second.be_large().now_or_never().is_none(), "one of another link");
        assert!(links[0].for_answer(4 * MIB).now_or_never().is_some(), "others of the usual size go on");
        drop(large);
        assert_eq!(memory.held(), 0);
    }

    #[tokio::test]
    async fn a_question_to_the_fleet_has_no_place_while_it_waits_and_there_are_few() {
        let places = places(&TestMemory::plenty());
        let mut waiting = Vec::new();
        for _ in 0..FLEET_QUESTIONS {
            let place = places.for_answer(0).now_or_never().unwrap();
            let turn = place.turn_to_ask().now_or_never().flatten().unwrap();
            waiting.push((place, turn));
        }
        let next = places.for_answer(0).now_or_never().unwrap();
        assert!(next.turn_to_ask().now_or_never().is_none());
        let all = places.for_answer(32 * MIB).now_or_never().expect("they hold nothing");
        let (mut place, turn) = waiting.pop().unwrap();
        assert!(place.be_of(1).now_or_never().is_none(), "what other pods said has a place like any answer");
        drop((all, turn));
        assert!(place.be_of(1).now_or_never().is_some() && next.turn_to_ask().now_or_never().is_some());
    }
}
