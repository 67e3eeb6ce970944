//! Packets for connections that an endpoint does not have: which are answered with a stateless reset (RFC 9000 section 10.3).
//!
//! With a key that pods share, any of them could say the reset token of any connection, and a token in the wrong hands ends a connection: an
//! attacker that sends a living pod's connection ID to its neighbour would be told (section 21.11). So a pod answers for another only
//! when that one has gone or announced its drain, and for another endpoint of its own never.
//!
//! quinn asks [`ConnectionIdGenerator::validate`] exactly where it would answer with a reset, after it has looked the ID up among its
//! connections; a packet of a connection never comes here. There are other ways to a reset (an Initial at an endpoint that takes no
//! connections), so that the reset key judges a second time: the token of a connection that may live is never computed. Always holds: resets are
//! bounded, and each is smaller than what it answers (quinn sees to that), so that two pods cannot keep each other busy.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::{constant_time, rand};
use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig,
    crypto::{CryptoError, HmacKey},
};
use quinn_proto::InvalidCid;

use crate::connection_ids::{
    CONNECTION_ID_LENGTH, ConnectionIdKeyError, ConnectionIdKeys, ConnectionNumbers, ConnectionOrigin,
};

/// The most resets of an endpoint in a second: a pod's clients that another pod is left with come all at once.
const RESETS_A_SECOND: u32 = 10_000;

/// The bytes of HMAC-SHA-256.
const SIGNATURE: usize = 32;

/// What becomes of a packet for a connection that the endpoint does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrayPacket {
    /// The connection is over, or its pod has gone: the client is told by a reset.
    Reset,
    /// Its pod lives, or may live: dropped.
    Living,
    /// Its ID was made with no key of this fleet: dropped.
    Unknown,
    /// There were too many resets in this second: dropped.
    Limited,
}

/// What an endpoint knows of the other pods.
pub trait Neighbours: Send + Sync {
    /// Whether a pod's connections may be reset in its name: it has gone, or announced its drain. In doubt it lives. Never waits.
    fn has_left(&self, pod: u64) -> bool;
    /// Counts a packet for a connection that the endpoint does not have.
    fn count(&self, stray: StrayPacket);
}

/// What holds for an endpoint of a pod. `origin` is its own: no other endpoint that has the keys may have the same.
///
/// # Errors
/// [`ConnectionIdKeyError`].
pub fn endpoint_config(
    keys: &Arc<ConnectionIdKeys>,
    origin: ConnectionOrigin,
    neighbours: &Arc<dyn Neighbours>,
) -> Result<EndpointConfig, ConnectionIdKeyError> {
    let judge = Judge { keys: Arc::clone(keys), origin, neighbours: Arc::clone(neighbours) };
    let numbers = Arc::new(ConnectionNumbers::new()?);
    // quinn cannot be told that there is no ID: that this key makes one is found out here.
    keys.seal(origin, numbers.next())?;
    let mut config = EndpointConfig::new(Arc::new(ResetKey(judge.clone())));
    config
        .cid_generator(move || {
            let (judge, numbers) = (judge.clone(), Arc::clone(&numbers));
            Box::new(OwnConnectionIds { judge, numbers, resets: Mutex::default() })
        })
        // One in 20 ms would leave a dead pod's clients without an answer. The bound is ours.
        .min_reset_interval(Duration::ZERO);
    Ok(config)
}

/// Whose connection an ID is.
#[derive(Clone)]
struct Judge {
    keys: Arc<ConnectionIdKeys>,
    origin: ConnectionOrigin,
    neighbours: Arc<dyn Neighbours>,
}

impl Judge {
    fn judge(&self, id: &[u8]) -> StrayPacket {
        match self.keys.open(id) {
            None => StrayPacket::Unknown,
            Some(origin) if origin == self.origin => StrayPacket::Reset,
            // Another address of this pod has that connection, or had it: this endpoint does not know.
            Some(origin) if origin.pod == self.origin.pod => StrayPacket::Living,
            Some(origin) if self.neighbours.has_left(origin.pod) => StrayPacket::Reset,
            Some(_) => StrayPacket::Living,
        }
    }
}

/// Makes the IDs of an endpoint.
struct OwnConnectionIds {
    judge: Judge,
    numbers: Arc<ConnectionNumbers>,
    resets: Mutex<Option<(Instant, u32)>>,
}

impl OwnConnectionIds {
    fn may_reset(&self, now: Instant) -> bool {
        let mut resets = self.resets.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, count) = match &mut *resets {
            Some(second) if now.duration_since(second.0) < Duration::from_secs(1) => second,
            over => over.insert((now, 0)),
        };
        *count += 1;
        *count <= RESETS_A_SECOND
    }
}

impl ConnectionIdGenerator for OwnConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.judge.keys.seal(self.judge.origin, self.numbers.next()).unwrap_or_else(|_| {
            // The cipher of a block does not fail. If it did, the ID would be like any other, and no pod could reset it.
            let mut id = [0; CONNECTION_ID_LENGTH];
            let _ = rand::fill(&mut id);
            ConnectionId::new(&id)
        })
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let stray = match self.judge.judge(id) {
            StrayPacket::Reset if !self.may_reset(Instant::now()) => StrayPacket::Limited,
            stray => stray,
        };
        self.judge.neighbours.count(stray);
        if stray == StrayPacket::Reset { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Signs the reset tokens of an endpoint's own IDs, and those of pods that have left. Those of others are random.
struct ResetKey(Judge);

impl HmacKey for ResetKey {
    fn sign(&self, id: &[u8], signature: &mut [u8]) {
        let tag = if self.0.judge(id) == StrayPacket::Reset { self.0.keys.sign(id) } else { None };
        match tag {
            Some(tag) => signature.copy_from_slice(tag.as_ref()),
            None => {
                let _ = rand::fill(signature);
            }
        }
    }

    fn signature_len(&self) -> usize {
        SIGNATURE
    }

    fn verify(&self, id: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let tag = self.0.keys.sign(id).ok_or(CryptoError)?;
        constant_time::verify_slices_are_equal(tag.as_ref(), signature).map_err(|_| CryptoError)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[derive(Default)]
    struct Fleet {
        left: Mutex<HashSet<u64>>,
        counted: Mutex<Vec<StrayPacket>>,
    }

    impl Neighbours for Fleet {
        fn has_left(&self, pod: u64) -> bool {
            self.left.lock().unwrap().contains(&pod)
        }

        fn count(&self, stray: StrayPacket) {
            self.counted.lock().unwrap().push(stray);
        }
    }

    struct Endpoint {
        ids: OwnConnectionIds,
        key: ResetKey,
    }

    impl Endpoint {
        fn new(secret: u8, pod: u64, endpoint: u8, fleet: &Arc<Fleet>) -> Self {
            let keys = Arc::new(ConnectionIdKeys::new(&[[secret; 32]]).unwrap());
            let (neighbours, origin) = (Arc::clone(fleet) as _, ConnectionOrigin { pod, endpoint });
            let judge = Judge { keys, origin, neighbours };
            let numbers = Arc::new(ConnectionNumbers::new().unwrap());
            Self { key: ResetKey(judge.clone()), ids: OwnConnectionIds { judge, numbers, resets: Mutex::default() } }
        }

        fn token(&self, id: &ConnectionId) -> [u8; SIGNATURE] {
            let mut signature = [0; SIGNATURE];
            self.key.sign(id, &mut signature);
            signature
        }
    }

    #[test]
    fn a_living_pods_token_is_never_computed_by_another() {
        let fleet = Arc::new(Fleet::default());
        let (mut a, b) = (Endpoint::new(1, 1, 0, &fleet), Endpoint::new(1, 2, 0, &fleet));
        let id = a.ids.generate_cid();
        let token = a.token(&id);
        assert_eq!(a.token(&id), token);
        assert!(b.ids.validate(&id).is_err());
        assert_ne!(b.token(&id), token);
        assert_ne!(b.token(&id), b.token(&id), "random each time");
        fleet.left.lock().unwrap().insert(1);
        assert!(b.ids.validate(&id).is_ok());
        assert_eq!(b.token(&id), token, "the token that the client was given");
        assert!(b.key.verify(&id, &token).is_ok() && b.key.verify(&id, &[0; SIGNATURE]).is_err());
        assert_eq!(*fleet.counted.lock().unwrap(), [StrayPacket::Living, StrayPacket::Reset]);
    }

    #[test]
    fn an_endpoint_answers_for_itself_and_for_no_other_of_its_pod() {
        let fleet = Arc::new(Fleet::default());
        let (mut one, other) = (Endpoint::new(1, 1, 0, &fleet), Endpoint::new(1, 1, 1, &fleet));
        let id = one.ids.generate_cid();
        assert!(one.ids.validate(&id).is_ok(), "a connection of its own that is over");
        assert!(other.ids.validate(&id).is_err(), "the connection may be at the other address");
        assert_ne!(one.token(&id), other.token(&id));
        let stranger = Endpoint::new(2, 1, 0, &fleet);
        assert!(stranger.ids.validate(&id).is_err(), "an ID of another fleet");
        assert_ne!(one.token(&id), stranger.token(&id));
        assert_eq!(*fleet.counted.lock().unwrap(), [StrayPacket::Reset, StrayPacket::Living, StrayPacket::Unknown]);
    }

    #[test]
    fn resets_are_bounded_in_each_second() {
        let fleet = Arc::new(Fleet::default());
        let (one, now) = (Endpoint::new(1, 1, 0, &fleet), Instant::now());
        assert_eq!((0..20_000).filter(|_| one.ids.may_reset(now)).count(), RESETS_A_SECOND as usize);
        assert!(!one.ids.may_reset(now + Duration::from_millis(999)));
        assert!(one.ids.may_reset(now + Duration::from_secs(1)));
    }
}
