//! Small values under names, each with its own end: what a pod leaves for whichever pod a client comes back to.
//!
//! Names and values are ours, never a client's own text. Always holds: a value is gone when its time is up, and of several
//! who take or claim the same name at once one succeeds. Repeating a call whose answer was lost is harmless.

use std::time::Duration;

use bytes::Bytes;

use super::Answer;

/// Values with an expiry, shared by the fleet.
pub trait KeyValue: Send + Sync {
    /// Keeps `value` for `ttl`, instead of what was there.
    fn set<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()>;
    /// What is there.
    fn get<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>>;
    /// What was there; it is gone then. Of several who take it, one gets it.
    fn take<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>>;
    /// Keeps `value` for `ttl` unless another one is there: a lease, which whoever holds it renews by claiming again. `None`:
    /// it is kept; otherwise what is there.
    fn claim<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, Option<Bytes>>;
}

/// Strings that somebody else keeps in the store that the fleet uses: session tokens of an application, for example. Reads
/// a key by its whole name, without the fleet's prefix; never writes.
pub trait LookUp: Send + Sync {
    /// The string under `key`.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`](super::BrokerError::Unavailable) also where the key holds no string, or may not be read.
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>>;
}
