//! Which members of edges are to be told of, and what all of them take.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use super::*;
use crate::broker::relay::member_departure::GRACE;

fn member(connection: &str) -> Member {
    Member { connection: connection.into(), user: None }
}

impl EdgeMembers {
    fn joins(&self, edge: &str, link: u64, room: &Room, member: &Member) -> bool {
        self.join(edge, link, room, member, usize::MAX) == JoinOutcome::Known
    }

    fn shows(&self, edge: &str, link: u64, user: &Arc<str>) -> Vec<(Room, Member)> {
        self.show(edge, link, user, usize::MAX)
    }

    fn take_all(&self, edge: &str, departure: MemberDeparture<'_>) -> Vec<(Room, Member)> {
        let leaving = self.leaving(edge, departure);
        self.take(edge, departure, &leaving)
    }

    fn told_all(&self, edge: &str, link: u64) -> Vec<(Room, Member)> {
        self.take_all(edge, MemberDeparture::Unnamed { link })
    }

    fn without(&self, edge: &str, link: u64, users: &HashSet<Arc<str>>) -> Vec<(Room, Member)> {
        self.take_all(edge, MemberDeparture::Ended { link, has_ended: &|user| users.contains(user) })
    }

    fn end(&self, edge: &str, link: u64) -> Vec<(Room, Member)> {
        self.take_all(edge, MemberDeparture::Elsewhere { link })
    }

    fn sweep(&self, now: Instant) -> Vec<(String, Vec<(Room, Member)>)> {
        let taken = |edge: String| {
            let gone = self.take_all(&edge, MemberDeparture::Lost(now));
            (edge, gone)
        };
        self.lost_edges(now).into_iter().map(taken).collect()
    }

    fn bytes(&self) -> usize {
        let all = self.lock();
        assert_eq!(all.edges.values().map(|known| known.bytes).sum::<usize>(), all.bytes);
        all.bytes
    }
}

#[test]
fn the_members_of_all_edges_have_a_bound_in_bytes() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    edges.begin("e", 1);
    edges.begin("f", 2);
    let long = |n: u8| Member { connection: format!("c{n}").into(), user: Some("u".repeat(255).into()) };
    let most = 3 * cost(&long(1)) + 2 * room_cost(&room);
    let join = |edge: &str, link, n| edges.join(edge, link, &room, &long(n), most);
    assert_eq!([join("e", 1, 1), join("e", 1, 2), join("f", 2, 1)], [JoinOutcome::Known; 3]);
    assert_eq!((join("f", 2, 2), edges.bytes()), (JoinOutcome::Full, most));
    assert_eq!(join("e", 1, 1), JoinOutcome::Known, "it is known already");
    assert!(edges.leave("e", 1, &room, &long(2)));
    assert_eq!(join("f", 2, 2), JoinOutcome::Known);
    let short = Member { connection: "c1".into(), user: None };
    assert!(edges.joins("e", 1, &room, &short) && edges.bytes() == most - 255);
    assert!(edges.joins("f", 2, &room, &member("c3")));
    assert_eq!((join("e", 1, 1), edges.bytes()), (JoinOutcome::Full, most - 255 + ENTRY + 2), "with a longer name");
    assert!(edges.leave("f", 2, &room, &member("c3")));
    // Whatever goes, nothing of it is left.
    edges.begin("e", 3);
    assert_eq!(edges.told_all("e", 3).len(), 1);
    assert_eq!(edges.end("f", 2).len(), 2);
    assert_eq!(edges.bytes(), 0);
}

#[test]
fn a_short_cut_takes_no_member_back() {
    let (edges, room, now) = (EdgeMembers::default(), Room::parse("a").unwrap(), Instant::now());
    edges.begin("e", 1);
    assert!(edges.joins("e", 1, &room, &member("c1")) && edges.joins("e", 1, &room, &member("c2")));
    assert!(!edges.joins("e", 2, &room, &member("c3")), "that link does not tell of members");
    edges.lost("e", 1, now);
    assert!(edges.sweep(now + GRACE / 2).is_empty());
    edges.begin("e", 2);
    edges.lost("e", 1, now);
    assert!(edges.joins("e", 2, &room, &member("c2")));
    let gone: Vec<_> = edges.told_all("e", 2).into_iter().map(|(_, member)| member).collect();
    assert_eq!(gone, [member("c1")]);
    assert!(edges.sweep(now + 2 * GRACE).is_empty());
    edges.lost("e", 2, now);
    assert_eq!(edges.sweep(now + GRACE), [("e".to_owned(), vec![(room, member("c2"))])]);
    assert!(edges.sweep(now + 2 * GRACE).is_empty());
}

#[test]
fn members_go_whose_users_an_edge_may_not_act_for() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    let of = |user: Option<&str>, n: u8| Member { connection: format!("c{n}").into(), user: user.map(Into::into) };
    edges.begin("e", 1);
    for (n, user) in [(1, Some("ann")), (2, Some("bob")), (3, None)] {
        assert!(edges.joins("e", 1, &room, &of(user, n)));
    }
    let (ann, before) = (HashSet::from(["ann".into()]), edges.bytes());
    assert!(edges.without("e", 2, &ann).is_empty(), "over another link");
    assert_eq!(edges.without("e", 1, &ann), [(room.clone(), of(Some("ann"), 1))]);
    let more = HiddenMembers::cost_of(&room, &of(Some("ann"), 1)) - cost(&of(Some("ann"), 1));
    assert!(edges.without("e", 1, &ann).is_empty() && edges.bytes() == before + more);
    assert!(!edges.leave("e", 1, &room, &of(Some("ann"), 1)) && edges.leave("e", 1, &room, &of(None, 3)));
    assert_eq!(edges.end("e", 1).len(), 1);
    assert_eq!(edges.bytes(), 0);
}

#[test]
fn members_come_back_with_a_good_token_of_their_user() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    let of = |user: &str, n: u8| Member { connection: format!("c{n}").into(), user: Some(user.into()) };
    let ann: Arc<str> = "ann".into();
    let hides = |n: u8, most| edges.join_hidden("e", 1, &room, &of("ann", n), most);
    edges.begin("e", 1);
    assert!(edges.joins("e", 1, &room, &of("ann", 1)) && edges.joins("e", 1, &room, &of("bob", 2)));
    assert_eq!(edges.without("e", 1, &HashSet::from([Arc::clone(&ann)])), [(room.clone(), of("ann", 1))]);
    // Some that it tells of before it shows the next token, one of them twice, one that goes again.
    let before = edges.bytes();
    assert_eq!([hides(3, usize::MAX), hides(3, usize::MAX), hides(4, usize::MAX)], [JoinOutcome::Hidden; 3]);
    assert!(!edges.leave("e", 1, &room, &of("ann", 4)), "no list has it");
    assert_eq!(
        (edges.bytes() - before, hides(5, 0)),
        (HiddenMembers::cost_of(&room, &of("ann", 3)), JoinOutcome::Full)
    );
    assert_eq!(edges.join_hidden("e", 2, &room, &of("ann", 6), usize::MAX), JoinOutcome::Elsewhere);
    assert!(edges.shows("e", 2, &ann).is_empty() && edges.shows("e", 1, &"carol".into()).is_empty());
    let mut shown: Vec<_> = edges.shows("e", 1, &ann).into_iter().map(|(_, member)| member.connection).collect();
    shown.sort();
    assert_eq!(shown, ["c1".into(), "c3".into()] as [Arc<str>; 2]);
    assert!(edges.shows("e", 1, &ann).is_empty() && edges.leave("e", 1, &room, &of("ann", 3)));
    // One that is shown stays so until it is looked whose tokens have ended.
    assert_eq!(hides(1, usize::MAX), JoinOutcome::Hidden);
    assert!(edges.shows("e", 1, &ann).is_empty());
    // Those that a new round does not name are gone, hidden or not.
    assert_eq!(hides(7, usize::MAX), JoinOutcome::Hidden);
    edges.begin("e", 1);
    assert_eq!(edges.told_all("e", 1).len(), 2);
    assert_eq!((edges.bytes(), edges.shows("e", 1, &ann).len()), (0, 0));
}

#[test]
fn a_member_whose_token_comes_after_its_links_return_is_shown_again() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    let of = |n: u8| Member { connection: format!("c{n}").into(), user: Some("ann".into()) };
    let hides = |n: u8, most: usize| edges.join_hidden("e", 2, &room, &of(n), most);
    edges.begin("e", 1);
    assert!([1, 2, 3].into_iter().all(|n| edges.joins("e", 1, &room, &of(n))));
    edges.lost("e", 1, Instant::now());
    edges.begin("e", 2);
    let gone = |has_place| JoinOutcome::Gone { has_place };
    assert_eq!([hides(1, usize::MAX), hides(2, 0)], [gone(true), gone(false)]);
    assert_eq!(hides(1, usize::MAX), JoinOutcome::Hidden, "it goes once");
    let hidden = HiddenMembers::cost_of(&room, &of(1));
    assert_eq!(edges.bytes(), hidden + cost(&of(3)) + room_cost(&room));
    assert_eq!(edges.told_all("e", 2), [(room.clone(), of(3))], "the others were told as gone");
    assert_eq!(edges.shows("e", 2, &"ann".into()), [(room.clone(), of(1))]);
    assert!(edges.leave("e", 2, &room, &of(1)) && !edges.leave("e", 2, &room, &of(2)));
    let all = edges.lock();
    assert_eq!((all.bytes, all.edges["e"].count), (0, 0));
}

#[test]
fn a_member_that_went_while_the_link_was_cut_does_not_come_back_with_a_token() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    let of = |n: u8| Member { connection: format!("c{n}").into(), user: Some("ann".into()) };
    let ann: Arc<str> = "ann".into();
    edges.begin("e", 1);
    assert!(edges.joins("e", 1, &room, &of(1)) && edges.joins("e", 1, &room, &of(2)));
    edges.begin("e", 2);
    assert!(edges.joins("e", 2, &room, &of(2)));
    // The token ends before the edge has named all of its members.
    assert_eq!(edges.without("e", 2, &HashSet::from([Arc::clone(&ann)])).len(), 2);
    assert!(edges.told_all("e", 2).is_empty());
    assert_eq!(edges.shows("e", 2, &ann), [(room, of(2))]);
}

#[test]
fn a_connection_that_has_another_user_is_a_member_in_that_ones_name_only() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    let of = |user: &str| Member { connection: "c1".into(), user: Some(user.into()) };
    let hides = |user: &str| edges.join_hidden("e", 1, &room, &of(user), usize::MAX);
    edges.begin("e", 1);
    assert!(edges.joins("e", 1, &room, &of("ann")));
    assert_eq!(hides("bob"), JoinOutcome::Gone { has_place: true });
    assert!(edges.shows("e", 1, &"ann".into()).is_empty());
    assert_eq!(edges.shows("e", 1, &"bob".into()), [(room.clone(), of("bob"))]);
    // One that is hidden under a name that it has no more does not come back with that one's token.
    assert_eq!(hides("carol"), JoinOutcome::Gone { has_place: true });
    assert_eq!(hides("dan"), JoinOutcome::Hidden);
    assert!(edges.joins("e", 1, &room, &of("ann")) && edges.leave("e", 1, &room, &of("ann")));
    assert!(["bob", "carol", "dan"].into_iter().all(|user| edges.shows("e", 1, &user.into()).is_empty()));
    assert_eq!(edges.bytes(), 0);
}

#[test]
fn a_member_that_came_back_before_its_turn_to_go_stays() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    let of = |n: u8| Member { connection: format!("c{n}").into(), user: Some("ann".into()) };
    let unnamed = MemberDeparture::Unnamed { link: 2 };
    edges.begin("e", 1);
    assert!([1, 2, 3].into_iter().all(|n| edges.joins("e", 1, &room, &of(n))));
    edges.begin("e", 2);
    let leaving = edges.leaving("e", unnamed);
    assert_eq!(leaving.len(), 3);
    assert!(edges.joins("e", 2, &room, &of(1)) && edges.leave("e", 2, &room, &of(2)));
    assert_eq!(edges.take("e", unnamed, &leaving), [(room.clone(), of(3))]);
    // A user that has shown a good token again.
    let ended = MemberDeparture::Ended { link: 2, has_ended: &|_| true };
    let leaving = edges.leaving("e", ended);
    let not_any_more = MemberDeparture::Ended { link: 2, has_ended: &|_| false };
    assert!(leaving.len() == 1 && edges.take("e", not_any_more, &leaving).is_empty());
    // An edge whose link is back, or that tells over another one.
    let now = Instant::now();
    edges.lost("e", 2, now);
    let lost = MemberDeparture::Lost(now + GRACE);
    let leaving = edges.leaving("e", lost);
    edges.begin("e", 3);
    assert!(leaving.len() == 1 && edges.take("e", lost, &leaving).is_empty());
    let elsewhere = MemberDeparture::Elsewhere { link: 3 };
    let leaving = edges.leaving("e", elsewhere);
    edges.begin("e", 4);
    assert!(leaving.len() == 1 && edges.take("e", elsewhere, &leaving).is_empty());
    assert_eq!(edges.end("e", 4), [(room, of(1))]);
    assert!(edges.lock().edges.is_empty() && edges.bytes() == 0);
}

#[test]
fn a_users_members_are_shown_so_many_at_a_time() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    let of = |n: usize| Member { connection: format!("c{n}").into(), user: Some("ann".into()) };
    edges.begin("e", 1);
    (0..10).for_each(|n| _ = edges.join_hidden("e", 1, &room, &of(n), usize::MAX));
    let shown: Vec<_> = (0..4).map(|_| edges.show("e", 1, &"ann".into(), 4).len()).collect();
    assert_eq!(shown, [4, 4, 2, 0]);
    assert_eq!(edges.end("e", 1).len(), 10);
}

#[test]
fn members_are_looked_through_once_a_round() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    edges.begin("e", 1);
    assert!(edges.joins("e", 1, &room, &member("c1")));
    edges.begin("e", 2);
    assert_eq!(edges.told_all("e", 2), [(room.clone(), member("c1"))]);
    assert!(edges.joins("e", 2, &room, &member("c2")));
    // Of what would be gone if it were looked for.
    edges.lock().edges.get_mut("e").unwrap().round += 1;
    assert!(edges.told_all("e", 2).is_empty());
    edges.begin("e", 2);
    assert_eq!(edges.told_all("e", 2), [(room, member("c2"))]);
}

#[test]
fn an_edge_that_tells_elsewhere_has_no_members_here() {
    let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
    edges.begin("e", 1);
    assert!(edges.joins("e", 1, &room, &member("c1")));
    assert!(edges.leave("e", 1, &room, &member("c1")) && !edges.leave("e", 1, &room, &member("c1")));
    assert!(edges.joins("e", 1, &room, &member("c1")));
    assert!(edges.end("e", 9).is_empty());
    assert_eq!(edges.end("e", 1), [(room, member("c1"))]);
}
