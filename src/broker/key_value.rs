//! Small values under names, each with its own end: what a pod leaves for the next pod that a client comes to.
//!
//! roomcast makes the names and values; neither is ever a client's own text. Always holds: a value is gone when its time is
//! up; of several concurrent takes or claims of one name exactly one succeeds. Repeating a call whose answer was lost is
//! harmless.

use std::time::Duration;

use bytes::Bytes;

use super::Answer;

/// Values with an expiry, shared by the fleet.
pub trait KeyValue: Send + Sync {
    /// Keeps `value` for `ttl`, in place of an earlier one.
    fn set<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()>;
    /// The value, if there is one.
    fn get<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>>;
    /// Removes the value and returns it. Of several concurrent calls one gets it.
    fn take<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>>;
    /// Keeps `value` for `ttl` unless another value is there: a lease, which its holder renews by claiming again. `None`: it is
    /// kept; otherwise the value that is there.
    fn claim<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, Option<Bytes>>;
}

/// Strings that an application keeps in the fleet's store, its session tokens for example. Reads a key by its whole name,
/// without the fleet's prefix; never writes.
pub trait LookUp: Send + Sync {
    /// The string under `key`; an empty one if the key holds no string.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`](super::BrokerError::Unavailable) also where the key may not be read.
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>>;
}
