//! How far the embedded broker remembers idempotency keys: since its process began, less those that a busy room had to forget.

use std::sync::Arc;

use super::MemoryBroker;
use crate::{
    broker::KeyMemory,
    model::{Room, UnixMillis},
};

/// The keys of the memory broker.
pub struct MemoryKeys(pub Arc<MemoryBroker>);

impl KeyMemory for MemoryKeys {
    fn knows_keys_since(&self, room: &Room, since: UnixMillis) -> bool {
        let mut knows = since >= self.0.began;
        self.0.enter_known(room, |_, state| knows &= state.knows_keys_since(since));
        knows
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use arc_swap::ArcSwap;
    use bytes::Bytes;

    use super::*;
    use crate::{
        broker::{Broker, Deliver, Delivery, memory::MemoryLimits},
        config::Policies,
        model::{Payload, Publication},
    };

    struct Deaf;

    impl Deliver for Deaf {
        fn deliver(&self, _: &Room, _: Delivery) {}
    }

    #[tokio::test]
    async fn keys_are_known_since_the_start_and_since_the_last_that_was_forgotten() {
        static NOW: AtomicU64 = AtomicU64::new(1_000);
        let limits = MemoryLimits { idempotency_keys: 2, ..MemoryLimits::default() };
        let policies = Arc::new(ArcSwap::from_pointee(Policies::default()));
        let clock = Arc::new(|| NOW.load(Ordering::Relaxed));
        let broker = Arc::new(MemoryBroker::new(limits, policies, Arc::new(Deaf), clock).unwrap());
        let keys = MemoryKeys(Arc::clone(&broker));
        let room = Room::parse("chat:1").unwrap();
        assert!(keys.knows_keys_since(&room, 1_000) && !keys.knows_keys_since(&room, 999), "before it began");
        for n in 0..3_u64 {
            NOW.store(2_000 + n, Ordering::Relaxed);
            let payload = Payload::Binary(Bytes::new());
            let idempotency_key = Some(format!("k{n}").into());
            let publication =
                Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key };
            broker.publish(&room, publication).await.unwrap();
        }
        assert!(keys.knows_keys_since(&room, 2_001) && !keys.knows_keys_since(&room, 2_000), "k0 was one too many");
    }
}
