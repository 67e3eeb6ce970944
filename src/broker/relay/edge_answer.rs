//! What a home believes of an edge's answer to a question of the fleet. Pure.
//!
//! Always holds: it is an answer to that question and no larger; it is told under the edge's own name; it speaks of rooms that edges may have;
//! it says that a user is there only where the edge has shown a good token of that user; its lists are in their order, so that no page of all
//! pods ends at it twice. How many connections an edge has, and what they do, is its own word.

use std::collections::HashSet;

use crate::{
    broker::{FleetAnswer, FleetQuestion},
    model::{ConnectionQuery, ListedConnection, MemberCount, PodList, PodTraffic, Room, RoomQuery, Target},
};

/// The most that is believed of any number.
const MOST: usize = 1_000_000_000;

/// What an edge said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct EdgeAnswer {
    /// The answer, as far as it is believed.
    pub(super) said: Option<FleetAnswer>,
    /// Whether nothing of it had to be left out, so that what it does not speak of is not there.
    pub(super) is_whole: bool,
}

/// What a home knows of an edge.
pub(super) struct EdgeStanding<'a> {
    /// Its name.
    pub(super) pod: &'a str,
    /// Whether edges may have a room.
    pub(super) may_have: &'a dyn Fn(&Room) -> bool,
    /// Whether it may speak of a user.
    pub(super) speaks_of: &'a dyn Fn(&str) -> bool,
}

impl EdgeStanding<'_> {
    /// What is believed of an answer to a question.
    pub(super) fn believed(&self, question: &FleetQuestion, said: FleetAnswer) -> EdgeAnswer {
        use {FleetAnswer as Said, FleetQuestion as Asked};
        let mut is_whole = true;
        let said = match (question, said) {
            (Asked::Order(order), Said::Done(done)) => {
                let most = if matches!(order.target, Target::Connection(_)) { 1 } else { MOST };
                Some(Said::Done(done.map(|done| done.min(most))))
            }
            (Asked::Users(_) | Asked::Erase(_), Said::Done(done)) => Some(Said::Done(done.map(|done| done.min(MOST)))),
            (Asked::Stats, Said::Stats(mut stats)) => {
                self.pod.clone_into(&mut stats.pod);
                Some(Said::Stats(stats))
            }
            (Asked::Traffic(room), Said::Traffic(traffic)) => {
                Some(Said::Traffic(Box::new(self.traffic(room.as_ref(), *traffic))))
            }
            (Asked::Present(asked), Said::Present(users)) => {
                let asked: HashSet<&str> = asked.iter().map(|user| &**user).collect();
                let mut named: Vec<_> = users.into_iter().filter(|user| asked.contains(&**user)).collect();
                let count = named.len();
                named.retain(|user| (self.speaks_of)(user));
                is_whole = named.len() == count;
                Some(Said::Present(named))
            }
            (Asked::Connections(query), Said::Connections(list)) => {
                self.connections(query, *list, &mut is_whole).map(|list| Said::Connections(Box::new(list)))
            }
            (Asked::Rooms(query), Said::Rooms(list)) => {
                self.rooms(query, *list).map(|list| Said::Rooms(Box::new(list)))
            }
            _ => None,
        };
        EdgeAnswer { is_whole: is_whole && said.is_some(), said }
    }

    fn traffic(&self, asked: Option<&Room>, mut traffic: PodTraffic) -> PodTraffic {
        traffic.rooms.retain(|(room, _)| asked.is_none_or(|asked| asked == room) && (self.may_have)(room));
        traffic.rooms.iter_mut().for_each(|(_, members)| *members = (*members).min(MOST));
        for number in [&mut traffic.deliveries, &mut traffic.messages_in] {
            // As much as JSON carries.
            *number = (*number).min(1 << 53);
        }
        traffic
    }

    fn connections(
        &self,
        query: &ConnectionQuery,
        list: PodList<ListedConnection>,
        is_whole: &mut bool,
    ) -> Option<PodList<ListedConnection>> {
        let mut list = in_order(list, query.limit.max(1), |one, other| one.id < other.id)?;
        let after = query.after.map(|after| format!("{after:016x}"));
        let fits = |entry: &ListedConnection| {
            let is_named = |named: &str| entry.id == named || entry.socket_ids.iter().any(|id| **id == *named);
            query.named.as_deref().is_none_or(is_named)
                && query.user.as_ref().is_none_or(|user| entry.user.as_ref() == Some(user))
                && after.as_ref().is_none_or(|after| entry.id > *after)
        };
        list.entries.retain(fits);
        for entry in &mut list.entries {
            entry.rooms.retain(|listed| (self.may_have)(&listed.room));
            entry.user = entry.user.take().filter(|user| (self.speaks_of)(user));
        }
        let count = list.entries.len();
        list.entries.retain(|entry| query.user.is_none() || entry.user.is_some());
        *is_whole = list.entries.len() == count;
        list.more &= !list.entries.is_empty();
        Some(list)
    }

    fn rooms(&self, query: &RoomQuery, list: PodList<MemberCount>) -> Option<PodList<MemberCount>> {
        let mut list = in_order(list, query.limit.max(1), |one, other| one.room < other.room)?;
        let fits = |count: &MemberCount| {
            let name = count.room.as_str();
            query.named.as_ref().is_none_or(|named| *named == count.room)
                && name.starts_with(&*query.prefix)
                && query.after.as_deref().is_none_or(|after| name > after)
                && (self.may_have)(&count.room)
        };
        list.entries.retain(fits);
        list.entries.iter_mut().for_each(|count| count.members = count.members.min(MOST));
        list.more &= !list.entries.is_empty();
        Some(list)
    }
}

/// A list with at most so many entries; `None`: they are in no order.
fn in_order<T>(mut list: PodList<T>, limit: usize, is_before: impl Fn(&T, &T) -> bool) -> Option<PodList<T>> {
    if !list.entries.is_sorted_by(is_before) {
        return None;
    }
    list.more |= list.entries.len() > limit;
    list.entries.truncate(limit);
    list.total = list.total.min(MOST);
    Some(list)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Act, ListedRoom, Order, PodStats};

    /// An edge that has shown a token of ann, and may have rooms whose names begin with `a`.
    fn believed(question: &FleetQuestion, said: FleetAnswer) -> EdgeAnswer {
        let standing = EdgeStanding {
            pod: "the-edge",
            may_have: &|room| room.as_str().starts_with('a'),
            speaks_of: &|user| user == "ann",
        };
        standing.believed(question, said)
    }

    fn whole(said: FleetAnswer) -> EdgeAnswer {
        EdgeAnswer { said: Some(said), is_whole: true }
    }

    fn room(name: &str) -> Room {
        Room::parse(name).unwrap()
    }

    fn connection(id: &str, user: Option<&str>) -> ListedConnection {
        let rooms = ["a", "b"].map(|name| ListedRoom { room: room(name), position: None });
        let said = serde_json::json!({
            "id": id, "user": user, "rooms": rooms, "transport": "websocket", "dialect": "native", "tls": false, "compressed": false,
            "connected_ms": 1, "last_seen": 1, "messages_in": 0, "bytes_in": 0, "frames_out": 0, "bytes_out": 0, "bytes_plain": 0,
            "owed_bytes": 0,
        });
        serde_json::from_value(said).unwrap()
    }

    fn names(list: &EdgeAnswer) -> Vec<(&str, Option<&str>)> {
        let Some(FleetAnswer::Connections(list)) = &list.said else { panic!("{list:?}") };
        list.entries.iter().map(|entry| (&*entry.id, entry.user.as_deref())).collect()
    }

    #[test]
    fn a_user_is_there_only_where_its_token_was_shown_and_it_was_asked_about() {
        let question = FleetQuestion::Present(vec!["ann".into(), "bob".into()]);
        let present = |users: &[&str]| FleetAnswer::Present(users.iter().map(|user| (*user).into()).collect());
        assert_eq!(believed(&question, present(&["ann"])), whole(present(&["ann"])));
        assert_eq!(believed(&question, present(&["ann", "carol"])), whole(present(&["ann"])), "not asked about");
        let in_part = EdgeAnswer { said: Some(present(&["ann"])), is_whole: false };
        assert_eq!(believed(&question, present(&["ann", "bob"])), in_part);
        assert_eq!(believed(&question, FleetAnswer::Done(None)), EdgeAnswer::default(), "another answer");
    }

    #[test]
    fn it_speaks_under_its_own_name_and_of_rooms_that_it_may_have() {
        let stats = PodStats { pod: "another".to_owned(), ..PodStats::default() };
        let Some(FleetAnswer::Stats(stats)) = believed(&FleetQuestion::Stats, FleetAnswer::Stats(Box::new(stats))).said
        else {
            panic!("none")
        };
        assert_eq!(stats.pod, "the-edge");
        let traffic = |rooms: &[&str]| PodTraffic {
            rooms: rooms.iter().map(|name| (room(name), 1)).collect(),
            ..PodTraffic::default()
        };
        for (asked, expected) in [(None, vec!["a1", "a2"]), (Some(room("a2")), vec!["a2"])] {
            let said =
                believed(&FleetQuestion::Traffic(asked), FleetAnswer::Traffic(Box::new(traffic(&["a1", "a2", "b"]))));
            assert_eq!(said, whole(FleetAnswer::Traffic(Box::new(traffic(&expected)))));
        }
    }

    #[test]
    fn an_order_about_one_connection_was_carried_out_once() {
        let order = |target| FleetQuestion::Order(Order { target, act: Act::Erase });
        let one = order(Target::Connection("c1".into()));
        assert_eq!(believed(&one, FleetAnswer::Done(Some(7))), whole(FleetAnswer::Done(Some(1))));
        assert_eq!(believed(&one, FleetAnswer::Done(None)), whole(FleetAnswer::Done(None)));
        let all = order(Target::User("ann".into()));
        assert_eq!(believed(&all, FleetAnswer::Done(Some(usize::MAX))), whole(FleetAnswer::Done(Some(MOST))));
    }

    #[test]
    fn a_list_of_connections_keeps_to_its_question() {
        let list = |entries: Vec<ListedConnection>, more| {
            FleetAnswer::Connections(Box::new(PodList { total: usize::MAX, entries, more }))
        };
        let all = || vec![connection("01", Some("ann")), connection("02", Some("bob")), connection("03", None)];
        let query = |change: &dyn Fn(&mut ConnectionQuery)| {
            let mut query = ConnectionQuery { limit: 10, ..ConnectionQuery::default() };
            change(&mut query);
            FleetQuestion::Connections(Box::new(query))
        };
        let said = believed(&query(&|_| {}), list(all(), false));
        assert_eq!(names(&said), [("01", Some("ann")), ("02", None), ("03", None)]);
        let Some(FleetAnswer::Connections(told)) = &said.said else { panic!("none") };
        assert!(said.is_whole && told.total == MOST && told.entries[0].rooms.len() == 1);
        assert_eq!(
            names(&believed(&query(&|query| query.named = Some("03".into())), list(all(), false))),
            [("03", None)]
        );
        for (user, expected) in [("ann", vec![("01", Some("ann"))]), ("bob", vec![])] {
            let said = believed(&query(&|query| query.user = Some(user.into())), list(all(), false));
            assert_eq!((names(&said), said.is_whole), (expected, user == "ann"));
        }
        let said = believed(&query(&|query| query.limit = 1), list(all(), false));
        assert_eq!(names(&said), [("01", Some("ann"))]);
        assert!(matches!(said.said, Some(FleetAnswer::Connections(list)) if list.more));
        // Nothing that holds the pages of all pods up where they are.
        let late = query(&|query| query.after = Some(0xff));
        let said = believed(&late, list(vec![connection("00000000000000fe", None)], true));
        assert!(matches!(said.said, Some(FleetAnswer::Connections(list)) if !list.more && list.entries.is_empty()));
        let twice = vec![connection("01", None), connection("01", None)];
        assert_eq!(believed(&query(&|_| {}), list(twice, false)), EdgeAnswer::default());
    }

    #[test]
    fn a_list_of_rooms_keeps_to_its_question() {
        let rooms = |names: &[&str], more| {
            let entries: Vec<_> = names.iter().map(|name| MemberCount { room: room(name), members: 2 }).collect();
            FleetAnswer::Rooms(Box::new(PodList { total: 3, entries, more }))
        };
        let query = RoomQuery { prefix: "a".into(), after: Some("a1".into()), limit: 10, ..RoomQuery::default() };
        let question = FleetQuestion::Rooms(Box::new(query));
        assert_eq!(believed(&question, rooms(&["a1", "a2", "b"], true)), whole(rooms(&["a2"], true)));
        assert_eq!(believed(&question, rooms(&["b"], true)), whole(rooms(&[], false)));
        assert_eq!(believed(&question, rooms(&["a3", "a2"], false)), EdgeAnswer::default());
    }
}
