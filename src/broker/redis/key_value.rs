//! Values with an expiry in Redis, and strings that applications keep there.
//!
//! Keeps nothing in this process. Always holds: a value's partition follows from its name alone; an application's key is read
//! in its own slot, and never written.

use std::time::Duration;

use bytes::Bytes;
use fred::{interfaces::Resp3Frame, types::Value};
use roomcast_redis_subscriber::slot;

use super::{
    Redis,
    arguments::millis,
    partition::Partition,
    reply::{ReplyError, ReplyFields},
    script,
    shards::ScriptTarget,
    state::{ATTEMPT_AGE, RedisState},
};
use crate::broker::{Answer, BrokerError, KeyValue, LookUp};

impl RedisState {
    async fn value(&self, name: &str, args: Vec<Value>) -> Result<Option<Bytes>, BrokerError> {
        let frame = self.shards.call(Partition::of_name(name), &script::VALUE, [self.names.value(name)], args).await?;
        found(frame).map_err(|error| self.unexpected(&error))
    }

    async fn look_up(&self, key: &str) -> Result<Option<Bytes>, BrokerError> {
        let target = ScriptTarget::Slot(slot(key.as_bytes()));
        let frame = self.shards.call(target, &script::LOOK_UP, [key.to_owned()], []).await?;
        looked_up(frame).map_err(|error| self.unexpected(&error))
    }
}

/// A key of an application may hold another type than a string.
fn looked_up(frame: Resp3Frame) -> Result<Option<Bytes>, ReplyError> {
    let mut fields = ReplyFields::of(frame)?;
    match fields.number()? {
        0 => Ok(None),
        1 => fields.bytes().map(Some),
        _ => Ok(Some(Bytes::new())),
    }
}

fn found(frame: Resp3Frame) -> Result<Option<Bytes>, ReplyError> {
    let mut fields = ReplyFields::of(frame)?;
    if fields.number()? == 0 { Ok(None) } else { fields.bytes().map(Some) }
}

impl KeyValue for Redis {
    fn set<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let args = vec![Value::from("set"), Value::Bytes(value), lasting(ttl)];
            self.state.value(name, args).await.map(drop)
        })
    }

    fn get<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(self.state.value(name, vec![Value::from("get")]))
    }

    fn take<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move {
            let attempt =
                getrandom::u64().map_err(|error| BrokerError::Unavailable(format!("no randomness: {error}")))?;
            let args = vec![Value::from("take"), Value::from(format!("{attempt:016x}")), millis(ATTEMPT_AGE)];
            self.state.value(name, args).await
        })
    }

    fn claim<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, Option<Bytes>> {
        Box::pin(self.state.value(name, vec![Value::from("claim"), Value::Bytes(value), lasting(ttl)]))
    }
}

impl LookUp for Redis {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(self.state.look_up(key))
    }
}

/// Redis knows no time to live of 0.
fn lasting(ttl: Duration) -> Value {
    millis(ttl.max(Duration::from_millis(1)))
}
