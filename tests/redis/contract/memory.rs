//! The memory broker under the suite.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use roomcast::testing::{
    broker::{
        Acks, Broker, Deliver, Erasure, KeyValue, Presence, UserPlaces, UserRecords,
        memory::{MemoryBroker, MemoryErasure, MemoryLimits},
    },
    config::Policies,
    model::{Policy, Publication, Room},
};

use super::harness::{Forgetful, Store, binary, publication, room};

const BUDGET: usize = 8 * 1024 * 1024;

pub struct MemoryStore {
    memory: Arc<MemoryBroker>,
    erasure: MemoryErasure,
    now: Arc<AtomicU64>,
}

impl Store for MemoryStore {
    fn start(policy: Policy, deliver: Arc<dyn Deliver>) -> impl Future<Output = Self> + Send {
        Self::start_with_key_age(policy, deliver, MemoryLimits::default().idempotency_age)
    }

    fn broker(&self) -> &dyn Broker {
        &*self.memory
    }

    fn presence(&self) -> &dyn Presence {
        &*self.memory
    }

    fn values(&self) -> &dyn KeyValue {
        &*self.memory
    }

    fn acks(&self) -> &dyn Acks {
        &*self.memory
    }

    fn erasure(&self) -> &dyn Erasure {
        &self.erasure
    }

    fn records(&self) -> &dyn UserRecords {
        &*self.memory
    }

    fn places(&self) -> &dyn UserPlaces {
        &*self.memory.places
    }

    async fn pass(&self, time: Duration) {
        self.now.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Rooms that nobody is subscribed to are forgotten when memory is short.
    async fn lose(&self, _: &Room) {
        for n in 0..BUDGET / (64 * 1024) {
            let flood = Publication { payload: binary(64 * 1024), ..publication("flood") };
            self.memory.publish(&room(&format!("flood:{n}")), flood).await.unwrap();
        }
        assert!(self.memory.usage().evicted_rooms > 0);
    }
}

impl Forgetful for MemoryStore {
    fn start_with_key_age(
        policy: Policy,
        deliver: Arc<dyn Deliver>,
        idempotency_age: Duration,
    ) -> impl Future<Output = Self> + Send {
        let now = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Arc::clone(&now);
        let policies = Arc::new(ArcSwap::from_pointee(Policies::new(Vec::new(), policy)));
        let limits = MemoryLimits { max_bytes: BUDGET, idempotency_age, ..MemoryLimits::default() };
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let memory = Arc::new(MemoryBroker::new(limits, policies, deliver, clock).unwrap());
        std::future::ready(Self { erasure: MemoryErasure(Arc::clone(&memory)), memory, now })
    }
}
