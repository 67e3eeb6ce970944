//! Connections and rooms as lists: of this pod, and of all pods together.
//!
//! Always holds: a page of the fleet ends before the first entry of which some pod has not told, so that pages one after the other leave
//! nothing out; it names the pods that it lacks.

use std::collections::BTreeMap;

use crate::{
    broker::{FleetAnswer, FleetQuestion},
    hub::worker::{
        Worker,
        call::CallError,
        clock::{millis, unix_millis},
        fleet::{ANSWER_WITHIN, FleetError},
        inspect::{ConnectionDetail, ConnectionFilter},
        services::Services,
    },
    model::{ConnectionQuery, ListedConnection, ListedRoom, MemberCount, PodList, Position, Room, RoomQuery},
    session::ConnectionId,
};

/// About how many bytes a pod's list takes in an answer to another pod. One entry is always told.
const MOST_BYTES: usize = 128 << 10;

/// What the pods of a fleet list together.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetList<T> {
    /// The entries of all pods that answered.
    pub list: PodList<T>,
    /// How many pods answered, this one included.
    pub pods: usize,
    /// The pods that did not answer in time.
    pub silent: Vec<String>,
}

/// What lists a pod's connections and rooms, and its fleet's.
pub struct FleetLists<'a>(pub &'a Services);

impl FleetLists<'_> {
    /// The connections of this pod.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn connections(&self, query: &ConnectionQuery) -> Result<PodList<ListedConnection>, CallError> {
        let now = unix_millis();
        if let Some(named) = &query.named {
            let name = named.clone();
            let found = self.0.queues.ask_all(move |worker| worker.inspect_named(&name)).await?;
            let entries: Vec<_> = found.into_iter().flatten().map(|detail| listed(&detail, now)).collect();
            return Ok(PodList { total: entries.len(), entries, more: false });
        }
        let filter = ConnectionFilter {
            user: query.user.as_deref().map(Into::into),
            room: query.room.clone(),
            after: query.after.map(ConnectionId),
            // One more than wanted tells whether there are more.
            limit: query.limit + 1,
        };
        let lists = self.0.queues.ask_all(move |worker| worker.list_connections(&filter)).await?;
        let total = lists.iter().map(|list| list.total).sum();
        let mut entries: Vec<_> = lists.into_iter().flat_map(|list| list.connections).collect();
        entries.sort_unstable_by_key(|connection| connection.id);
        let more = entries.len() > query.limit;
        entries.truncate(query.limit);
        Ok(PodList { entries: entries.iter().map(|detail| listed(detail, now)).collect(), total, more })
    }

    /// The rooms with members on this pod.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn rooms(&self, query: &RoomQuery) -> Result<PodList<MemberCount>, CallError> {
        let mut members = BTreeMap::new();
        let mut total = 0;
        if let Some(room) = &query.named {
            let asked = room.clone();
            let details = self.0.queues.ask_all(move |worker| worker.inspect_room(&asked)).await?;
            let count: usize = details.into_iter().flatten().map(|detail| detail.members).sum();
            if count > 0 {
                members.insert(room.clone(), count);
            }
        } else {
            let (query, limit) = (query.clone(), query.limit + 1);
            let ask = move |worker: &mut Worker| worker.list_rooms(&query.prefix, query.after.as_deref(), limit);
            // A room among the first of all workers is among the first of each that has it.
            for list in self.0.queues.ask_all(ask).await? {
                total += list.total;
                for count in list.rooms {
                    *members.entry(count.room).or_default() += count.members;
                }
            }
        }
        let more = members.len() > query.limit;
        let entries = members.into_iter().take(query.limit).map(|(room, members)| MemberCount { room, members });
        Ok(PodList { entries: entries.collect(), total, more })
    }

    /// The connections of the fleet. Each says on which pod it is.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn fleet_connections(&self, query: &ConnectionQuery) -> Result<FleetList<ListedConnection>, FleetError> {
        let of_pod = |pod: &str, list: PodList<ListedConnection>| {
            let told = |connection| ListedConnection { pod: Some(pod.to_owned()), ..connection };
            PodList { entries: list.entries.into_iter().map(told).collect(), ..list }
        };
        let mut lists = vec![of_pod(self.0.control.pod(), self.connections(query).await?)];
        let ask = FleetQuestion::Connections(Box::new(query.clone()));
        let (mut pods, mut silent) = (1, Vec::new());
        // A connection is on one pod only.
        if query.named.is_none() || lists.iter().all(|list| list.entries.is_empty()) {
            let answers = self.0.control.ask_others(&ask, ANSWER_WITHIN).await?;
            pods += answers.said.len();
            silent = answers.silent;
            lists.extend(answers.said.into_iter().filter_map(|(pod, said)| match said {
                FleetAnswer::Connections(list) => Some(of_pod(&pod, *list)),
                _ => None,
            }));
        }
        let list = merge(lists, query.limit, |connection| connection.id.clone(), |_, _| {});
        Ok(FleetList { list, pods, silent })
    }

    /// The rooms of the fleet, with the members on all pods.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn fleet_rooms(&self, query: &RoomQuery) -> Result<FleetList<MemberCount>, FleetError> {
        let mut lists = vec![self.rooms(query).await?];
        let ask = FleetQuestion::Rooms(Box::new(query.clone()));
        let answers = self.0.control.ask_others(&ask, ANSWER_WITHIN).await?;
        let pods = 1 + answers.said.len();
        lists.extend(answers.said.into_iter().filter_map(|(_, said)| match said {
            FleetAnswer::Rooms(list) => Some(*list),
            _ => None,
        }));
        let add = |known: &mut MemberCount, more: MemberCount| known.members += more.members;
        let list = merge(lists, query.limit, |count| count.room.clone(), add);
        Ok(FleetList { list, pods, silent: answers.silent })
    }

    /// The connections of this pod, for another one: as many as an answer takes.
    pub(super) async fn tell_connections(&self, query: &ConnectionQuery) -> Result<FleetAnswer, CallError> {
        let mut list = self.connections(query).await?;
        cut(&mut list, MOST_BYTES, ListedConnection::cost);
        Ok(FleetAnswer::Connections(Box::new(list)))
    }

    /// The rooms of this pod, for another one.
    pub(super) async fn tell_rooms(&self, query: &RoomQuery) -> Result<FleetAnswer, CallError> {
        Ok(FleetAnswer::Rooms(Box::new(self.rooms(query).await?)))
    }
}

fn listed(detail: &ConnectionDetail, now: u64) -> ListedConnection {
    let joined = |(room, position): &(Room, Option<Position>)| ListedRoom {
        room: room.clone(),
        position: position.as_ref().map(Into::into),
    };
    ListedConnection {
        id: detail.id.to_string(),
        pod: None,
        socket_ids: detail.socket_ids.clone(),
        user: detail.user.as_deref().map(Into::into),
        expires_at: detail.expires_at,
        // A proxy's header may leave the port out.
        address: detail.address.map(|address| match address.port() {
            0 => address.ip().to_string(),
            _ => address.to_string(),
        }),
        user_agent: detail.user_agent.as_deref().map(Into::into),
        transport: detail.transport.into(),
        dialect: (*detail.dialect).into(),
        tls: detail.tls,
        compressed: detail.compressed,
        connected_ms: millis(detail.age),
        last_seen: now.saturating_sub(millis(detail.silent)),
        rooms: detail.rooms.iter().map(joined).collect(),
        messages_in: detail.totals.messages_in,
        bytes_in: detail.totals.bytes_in,
        frames_out: detail.totals.frames_out,
        bytes_out: detail.totals.bytes_out,
        bytes_plain: detail.totals.bytes_plain,
        owed_bytes: detail.owed,
    }
}

/// Leaves out what does not fit, but never all.
fn cut<T>(list: &mut PodList<T>, most: usize, cost: impl Fn(&T) -> usize) {
    let mut bytes = 0;
    let fits = list.entries.iter().take_while(|entry| {
        bytes += cost(entry);
        bytes <= most
    });
    let fitting = fits.count().max(1);
    if fitting < list.entries.len() {
        list.entries.truncate(fitting);
        list.more = true;
    }
}

/// One list of several, each in the order of its keys. What has the same key in more than one is put together.
fn merge<T, K: Ord + Clone>(
    lists: Vec<PodList<T>>,
    limit: usize,
    key: impl Fn(&T) -> K,
    put_together: impl Fn(&mut T, T),
) -> PodList<T> {
    // Behind its last entry a pod may have any, so that no page goes further.
    let ends = lists.iter().filter(|list| list.more).filter_map(|list| list.entries.last());
    let end = ends.map(&key).min();
    let mut merged = PodList { entries: Vec::new(), total: 0, more: end.is_some() };
    let mut entries: BTreeMap<K, T> = BTreeMap::new();
    for list in lists {
        merged.total += list.total;
        for entry in list.entries {
            let name = key(&entry);
            if end.as_ref().is_some_and(|end| name > *end) {
                break;
            }
            match entries.get_mut(&name) {
                Some(known) => put_together(known, entry),
                None => drop(entries.insert(name, entry)),
            }
        }
    }
    merged.more |= entries.len() > limit;
    merged.entries = entries.into_values().take(limit).collect();
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What a pod answers that has these names.
    fn page(names: &BTreeSet<u16>, after: Option<u16>, limit: usize, most: usize) -> PodList<(u16, usize)> {
        let behind = names.iter().filter(|name| after.is_none_or(|after| **name > after));
        let more = behind.clone().count() > limit;
        let entries = behind.take(limit).map(|name| (*name, 1)).collect();
        let mut list = PodList { entries, total: names.len(), more };
        cut(&mut list, most, |_| 1);
        list
    }

    proptest! {
        #[test]
        fn pages_one_after_the_other_leave_nothing_out_and_repeat_nothing(
            pods in prop::collection::vec(prop::collection::btree_set(0u16..60, 0..40), 1..5),
            limit in 1usize..12,
            most in 0usize..12,
        ) {
            let mut seen = Vec::new();
            let mut after = None;
            loop {
                let lists = pods.iter().map(|names| page(names, after, limit, most)).collect();
                let merged = merge(lists, limit, |entry| entry.0, |known, more| known.1 += more.1);
                prop_assert_eq!(merged.total, pods.iter().map(BTreeSet::len).sum::<usize>());
                prop_assert!(merged.entries.len() <= limit);
                after = merged.entries.last().map(|entry| entry.0).or(after);
                seen.extend(merged.entries);
                if !merged.more {
                    break;
                }
                prop_assert!(seen.len() <= 60, "it goes on for ever");
            }
            let names: BTreeSet<u16> = pods.iter().flatten().copied().collect();
            let expected = names.into_iter().map(|name| (name, pods.iter().filter(|pod| pod.contains(&name)).count()));
            prop_assert_eq!(seen, expected.collect::<Vec<_>>());
        }
    }
}
