//! Values with an expiry in Redis, and strings that others keep there.
//!
//! Never keeps anything here. Always holds: a value's partition follows from its name alone; somebody else's key is read
//! wherever it is, and never written.

use std::time::Duration;

use bytes::Bytes;
use fred::{interfaces::Resp3Frame, types::Value};
use roomcast_redis_subscriber::slot;

use super::{
    ATTEMPT_AGE, Redis, Shared, millis,
    partition::Partition,
    reply::{Fields, Unexpected},
    script,
    shards::Place,
};
use crate::broker::{Answer, BrokerError, KeyValue, LookUp};

impl Shared {
    async fn value(&self, name: &str, args: Vec<Value>) -> Result<Option<Bytes>, BrokerError> {
        let frame = self.shards.call(Partition::of_name(name), &script::VALUE, [self.names.value(name)], args).await?;
        found(frame).map_err(|error| self.unexpected(&error))
    }

    async fn look_up(&self, key: &str) -> Result<Option<Bytes>, BrokerError> {
        let place = Place::Slot(slot(key.as_bytes()));
        let frame = self.shards.call(place, &script::LOOK_UP, [key.to_owned()], []).await?;
        found(frame).map_err(|error| self.unexpected(&error))
    }
}

fn found(frame: Resp3Frame) -> Result<Option<Bytes>, Unexpected> {
    let mut fields = Fields::of(frame)?;
    if fields.number()? == 0 { Ok(None) } else { fields.bytes().map(Some) }
}

impl KeyValue for Redis {
    fn set<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let args = vec![Value::from("set"), Value::Bytes(value), lasting(ttl)];
            self.shared.value(name, args).await.map(drop)
        })
    }

    fn get<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(self.shared.value(name, vec![Value::from("get")]))
    }

    fn take<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move {
            let attempt =
                getrandom::u64().map_err(|error| BrokerError::Unavailable(format!("no randomness: {error}")))?;
            let args = vec![Value::from("take"), Value::from(format!("{attempt:016x}")), millis(ATTEMPT_AGE)];
            self.shared.value(name, args).await
        })
    }

    fn claim<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, Option<Bytes>> {
        Box::pin(self.shared.value(name, vec![Value::from("claim"), Value::Bytes(value), lasting(ttl)]))
    }
}

impl LookUp for Redis {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(self.shared.look_up(key))
    }
}

/// Redis knows no time to live of 0.
fn lasting(ttl: Duration) -> Value {
    millis(ttl.max(Duration::from_millis(1)))
}
