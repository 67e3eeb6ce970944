//! Scripts about many things of any partitions: one call for each master, and one alone for each thing that has moved.
//!
//! Always holds: each thing has one answer, whatever becomes of the others. The scripts may be run twice.

use std::collections::HashMap;

use fred::{interfaces::Resp3Frame, types::Value};
use futures_util::future::join_all;
use roomcast_redis_subscriber::Address;

use super::{
    append::is_elsewhere, node::Lane, partition::Partition, reply::ReplyFields, script::Script, shards::Shards,
};
use crate::broker::BrokerError;

/// One thing that a script is asked about.
#[derive(Debug, Clone)]
pub(super) struct AskedThing {
    pub(super) partition: Partition,
    /// A key of it, which says where it is.
    pub(super) key: String,
    /// Its words.
    pub(super) words: Vec<Value>,
}

impl Shards {
    /// Asks a script, whose answer is one text for each thing, about at most `most` things a call. `head`: the words before theirs.
    pub(super) async fn ask_across(
        &self,
        lane: Lane,
        script: &Script,
        head: &[Value],
        things: &[AskedThing],
        most: usize,
    ) -> Vec<Result<String, BrokerError>> {
        let mut by_master: HashMap<Option<Address>, Vec<usize>> = HashMap::new();
        for (index, thing) in things.iter().enumerate() {
            by_master.entry(self.address(thing.partition)).or_default().push(index);
        }
        let chunks: Vec<&[usize]> = by_master.values().flat_map(|indexes| indexes.chunks(most)).collect();
        let mut calls = Vec::with_capacity(chunks.len());
        for indexes in &chunks {
            calls.push(self.ask_once(lane, script, head, things, indexes));
        }
        let mut answers: Vec<Option<Result<String, BrokerError>>> = vec![None; things.len()];
        for (indexes, said) in chunks.iter().zip(join_all(calls).await) {
            for (index, answer) in indexes.iter().zip(said) {
                if let Some(place) = answers.get_mut(*index) {
                    *place = Some(answer);
                }
            }
        }
        // Every thing was in one of the calls.
        answers.into_iter().map(|answer| answer.unwrap_or(Err(BrokerError::Unknown))).collect()
    }

    /// Asks one master about some of the things; those that are not there, alone.
    async fn ask_once(
        &self,
        lane: Lane,
        script: &Script,
        head: &[Value],
        things: &[AskedThing],
        indexes: &[usize],
    ) -> Vec<Result<String, BrokerError>> {
        let asked: Vec<&AskedThing> = indexes.iter().filter_map(|index| things.get(*index)).collect();
        let Some(first) = asked.first() else { return Vec::new() };
        let words: Vec<Value> = head.iter().chain(asked.iter().flat_map(|thing| &thing.words)).cloned().collect();
        let texts = match self.call_in(lane, first.partition, script, None, words).await {
            Ok(frame) => self.texts(frame, asked.len()),
            Err(error) => Err(error),
        };
        let texts = match texts {
            Ok(texts) => texts,
            Err(error) => return vec![Err(error); asked.len()],
        };
        let mut each = Vec::with_capacity(asked.len());
        for (text, thing) in texts.into_iter().zip(asked) {
            each.push(self.settle_answer(lane, script, head, thing, text));
        }
        join_all(each).await
    }

    /// What a call with others says of one thing, or one alone if the thing is elsewhere.
    async fn settle_answer(
        &self,
        lane: Lane,
        script: &Script,
        head: &[Value],
        thing: &AskedThing,
        text: String,
    ) -> Result<String, BrokerError> {
        match text.strip_prefix('-') {
            None => Ok(text),
            Some(error) if is_elsewhere(error) => self.ask_alone(lane, script, head, thing).await,
            Some(error) => Err(BrokerError::Unavailable(error.to_owned())),
        }
    }

    /// Asks about one thing in a call that names its key, so that Redis says where it is.
    async fn ask_alone(
        &self,
        lane: Lane,
        script: &Script,
        head: &[Value],
        thing: &AskedThing,
    ) -> Result<String, BrokerError> {
        let words: Vec<Value> = head.iter().chain(&thing.words).cloned().collect();
        let frame = self.call_in(lane, thing.partition, script, Some(thing.key.clone()), words).await?;
        let text = self.texts(frame, 1)?.pop().ok_or(BrokerError::Unknown)?;
        match text.strip_prefix('-') {
            None => Ok(text),
            Some(error) => Err(BrokerError::Unavailable(error.to_owned())),
        }
    }

    /// A call in a lane; one in that of reads takes a place among the pod's.
    async fn call_in(
        &self,
        lane: Lane,
        partition: Partition,
        script: &Script,
        key: Option<String>,
        words: Vec<Value>,
    ) -> Result<Resp3Frame, BrokerError> {
        if lane == Lane::Reads {
            return self.read(partition, script, key, words).await;
        }
        self.call_on(lane, partition, script, key, words).await
    }

    fn texts(&self, frame: Resp3Frame, count: usize) -> Result<Vec<String>, BrokerError> {
        let texts = ReplyFields::of(frame).and_then(|mut fields| fields.rest()).ok();
        texts.filter(|texts| texts.len() == count).ok_or_else(|| {
            self.metrics.unreadable.increment(1);
            BrokerError::Unavailable("Redis holds something else under this fleet's prefix".to_owned())
        })
    }
}
