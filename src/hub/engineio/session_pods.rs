//! Where the pods are that sessions' names name, as far as this pod asked lately.
//!
//! Never asks itself. Bounded: [`MOST`]; of a pod one question at a time is under way, and one a second at most, however many requests name
//! it: a name of a pod that is gone is as good as any, and each client that had a session there has it. Always holds: what is not known is
//! asked; a question without an answer makes no pod unknown that was known.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Mutex as WaitingMutex, time::Instant};

/// The most pods that are remembered.
const MOST: usize = 1_024;

/// How long an answer is good. A pod gives no name away before others can find it.
const FRESH: Duration = Duration::from_secs(1);

/// What was said of a pod, and when.
type Said = Option<(Option<String>, Instant)>;

/// The pods.
#[derive(Debug, Default)]
pub struct SessionPods(Mutex<HashMap<u64, Arc<WaitingMutex<Said>>>>);

impl SessionPods {
    /// Where a pod is; `None`: nowhere. `ask`: what is asked if that is not known; those that come meanwhile wait for its answer. If there
    /// is none, what was said last is as good as new.
    pub async fn find<E>(&self, pod: u64, ask: impl Future<Output = Result<Option<String>, E>>) -> Option<String> {
        let place = self.place(pod);
        let mut said = place.lock().await;
        match &*said {
            Some((address, at)) if at.elapsed() < FRESH => address.clone(),
            _ => {
                let answer = ask.await;
                let address = answer.unwrap_or_else(|_| said.as_ref().and_then(|(address, _)| address.clone()));
                *said = Some((address.clone(), Instant::now()));
                address
            }
        }
    }

    fn place(&self, pod: u64) -> Arc<WaitingMutex<Said>> {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pods.len() >= MOST && !pods.contains_key(&pod) {
            // Those that are asked about now are held by those that ask.
            pods.clear();
        }
        Arc::clone(pods.entry(pod).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_without_end_are_one_question_a_second() {
        let (pods, asked) = (SessionPods::default(), Cell::new(0));
        let find = |pod| {
            let asked = &asked;
            pods.find(pod, async move {
                asked.set(asked.get() + 1);
                sleep(Duration::from_millis(100)).await;
                Ok::<_, ()>((pod == 1).then(|| "10.0.0.1:9000".to_owned()))
            })
        };
        for _ in 0..3 {
            let said = join_all((0..2_000).map(|n| find(n % 2))).await;
            assert!(said.iter().enumerate().all(|(n, said)| said.is_some() == (n % 2 == 1)));
        }
        assert_eq!(asked.get(), 2, "of each pod once");
        sleep(FRESH).await;
        find(1).await;
        assert_eq!(asked.get(), 3);
        // A request that goes away takes no answer from the others.
        sleep(FRESH).await;
        tokio::select! {
            biased;
            _ = find(1) => panic!("it takes longer"),
            () = sleep(Duration::from_millis(10)) => {}
        }
        assert!(find(1).await.is_some());
        // Nor does a question that fails.
        for _ in 0..3 {
            sleep(FRESH).await;
            assert!(pods.find(1, async { Err(()) }).await.is_some() && pods.find(7, async { Err(()) }).await.is_none());
        }
        sleep(FRESH).await;
        assert!(pods.find(1, async { Ok::<_, ()>(None) }).await.is_none(), "it is gone");
        for pod in 0..3 * MOST as u64 {
            pods.place(pod);
        }
        assert!(pods.0.lock().is_ok_and(|pods| pods.len() <= MOST));
    }
}
