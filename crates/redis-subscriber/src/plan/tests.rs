//! A plan whose nodes are played by hand.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::layout::describe;

/// `a` owns the slots below `border`, `b` the others.
fn layout(border: u16) -> Layout {
    let line = |name: &str, first: u16, last: u16| format!("{name} {name}:1@2 master - 0 0 1 connected {first}-{last}");
    let below = border.checked_sub(1).map(|last| line("a", 0, last));
    let lines: Vec<String> = below.into_iter().chain([line("b", border, SLOTS - 1)]).collect();
    Layout::merge(describe(&lines.join("\n"), "", false).iter())
}

/// `a` and `b`, half and half, both up, and a channel on `a`.
struct TwoNodes {
    plan: Plan,
    a: NodeId,
    b: NodeId,
    now: Instant,
}

const CHANNEL: &str = "c";

impl TwoNodes {
    fn new() -> Self {
        assert!(slot(CHANNEL.as_bytes()) == 7_365);
        let (mut plan, now) = (Plan::new("canary:".to_owned()), Instant::now());
        plan.subscribe(CHANNEL);
        let added = plan.apply(&layout(8_000), 0).added;
        let id = |name: &str| added.iter().find(|(_, address)| &*address.host == name).unwrap().0;
        let (a, b) = (id("a"), id("b"));
        plan.up(a, true, now);
        assert_eq!(plan.health(now).state, State::NeverConnected);
        plan.up(b, true, now);
        assert_eq!(plan.health(now).state, State::Up);
        let mut stage = Self { plan, a, b, now };
        assert_eq!(stage.orders(stage.a), [(CHANNEL, Order::Subscribe)]);
        assert_eq!(stage.orders(stage.b), []);
        stage.plan.confirmed(a, CHANNEL, now);
        assert_eq!(stage.missing(), 0);
        stage
    }

    /// Without the canaries'.
    fn orders(&mut self, node: NodeId) -> Vec<(&'static str, Order)> {
        let orders = self.plan.orders(node);
        orders.into_iter().filter(|(name, _)| &**name == CHANNEL).map(|(_, order)| (CHANNEL, order)).collect()
    }

    fn missing(&self) -> usize {
        self.plan.health(self.now).unconfirmed
    }

    fn pass(&mut self, milliseconds: u64) -> Changes {
        self.now += Duration::from_millis(milliseconds);
        self.plan.tick(self.now)
    }
}

#[test]
fn a_channel_is_heard_at_the_new_owner_before_it_is_dropped_at_the_old_one() {
    let mut stage = TwoNodes::new();
    stage.plan.apply(&layout(7_000), 0);
    assert_eq!(stage.orders(stage.a), [(CHANNEL, Order::Linger)]);
    assert_eq!(stage.orders(stage.b), [(CHANNEL, Order::Subscribe)]);
    assert_eq!(stage.missing(), 1);
    stage.pass(10_000);
    assert_eq!(stage.orders(stage.a), []);
    stage.plan.confirmed(stage.a, CHANNEL, stage.now);
    assert_eq!(stage.missing(), 1, "the old owner's word counts no more");
    stage.plan.confirmed(stage.b, CHANNEL, stage.now);
    assert_eq!(stage.missing(), 0);
    stage.pass(999);
    assert_eq!(stage.orders(stage.a), []);
    stage.pass(1);
    assert_eq!(stage.orders(stage.a), [(CHANNEL, Order::Unsubscribe)]);
}

#[test]
fn a_channel_that_comes_back_is_not_dropped() {
    let mut stage = TwoNodes::new();
    stage.plan.apply(&layout(7_000), 0);
    stage.plan.apply(&layout(8_000), 0);
    assert_eq!(stage.orders(stage.a), [(CHANNEL, Order::Subscribe)]);
    assert_eq!(stage.orders(stage.b), [(CHANNEL, Order::Linger)]);
    stage.plan.confirmed(stage.a, CHANNEL, stage.now);
    stage.pass(5_000);
    assert_eq!(stage.orders(stage.a), []);
    assert_eq!(stage.orders(stage.b), [(CHANNEL, Order::Unsubscribe)]);
}

#[test]
fn what_is_unsubscribed_on_its_way_is_dropped_on_both_sides() {
    let mut stage = TwoNodes::new();
    stage.plan.apply(&layout(7_000), 0);
    stage.plan.unsubscribe(CHANNEL);
    stage.plan.unsubscribe(CHANNEL);
    stage.pass(0);
    assert_eq!(stage.orders(stage.a), [(CHANNEL, Order::Unsubscribe)]);
    assert_eq!(stage.orders(stage.b), [(CHANNEL, Order::Unsubscribe)]);
    let health = stage.plan.health(stage.now);
    assert_eq!((health.confirmed, health.unconfirmed), (0, 0));
    stage.plan.confirmed(stage.b, CHANNEL, stage.now);
    stage.plan.lost(stage.b, CHANNEL);
    assert!(stage.plan.wanted.is_empty() && stage.plan.lingering.is_empty());
}

#[test]
fn a_hint_is_followed_at_once_and_not_undone_by_what_was_asked_before_it() {
    let mut stage = TwoNodes::new();
    let before = stage.plan.hint();
    stage.plan.moved(stage.a, 7_365, "nobody:1");
    stage.plan.moved(stage.a, 7_365, "b");
    stage.plan.moved(stage.a, 60_000, "b:1");
    stage.plan.moved(stage.b, 7_365, "a:1");
    assert_eq!(stage.orders(stage.b), []);
    stage.plan.moved(stage.a, 7_365, "b:1");
    assert_eq!(stage.orders(stage.b), [(CHANNEL, Order::Subscribe)]);
    stage.plan.apply(&layout(8_000), before);
    assert_eq!(stage.orders(stage.b), [], "what was asked before knows nothing of it");
    let after = stage.plan.hint();
    stage.plan.apply(&layout(8_000), after);
    assert_eq!(stage.orders(stage.b), [(CHANNEL, Order::Linger)]);
    assert!(stage.plan.hints.is_empty());
}

#[test]
fn a_node_goes_when_nothing_is_left_on_it() {
    let mut stage = TwoNodes::new();
    assert_eq!(stage.plan.apply(&layout(0), 0).removed, [], "what moved away lingers");
    stage.plan.down(stage.a, NodeError::Ended);
    let health = stage.plan.health(stage.now);
    assert!(health.state == State::Up && health.nodes.len() == 1, "{health:?}");
    stage.plan.confirmed(stage.b, CHANNEL, stage.now);
    assert_eq!(stage.pass(999).removed, []);
    assert_eq!(stage.pass(1).removed, [stage.a]);
    let added = stage.plan.apply(&layout(8_000), 0).added;
    assert_eq!(added.len(), 1);
    assert_ne!(added[0].0, stage.a);
}

#[test]
fn slots_without_a_claim_stay_where_they_were() {
    let mut stage = TwoNodes::new();
    let half = describe("b b:1@2 master - 0 0 1 connected 8000-16383", "", false);
    assert_eq!(stage.plan.apply(&Layout::merge(half.iter()), 0).removed, []);
    assert_eq!(stage.orders(stage.a), []);
    assert_eq!(stage.plan.health(stage.now).unowned_slots, 0);
}

#[test]
fn what_is_missing_is_ordered_again() {
    let mut stage = TwoNodes::new();
    stage.plan.reconcile();
    assert_eq!(stage.orders(stage.a), []);
    stage.plan.lost(stage.b, CHANNEL);
    assert_eq!(stage.missing(), 0, "it is not that node's");
    stage.plan.lost(stage.a, CHANNEL);
    stage.plan.lost(stage.a, CHANNEL);
    assert!(stage.missing() == 1 && stage.plan.is_troubled());
    stage.plan.reconcile();
    assert_eq!(stage.orders(stage.a), [(CHANNEL, Order::Subscribe)]);
}

#[test]
fn canaries_are_of_their_nodes_slots_and_show_a_deaf_node() {
    let mut stage = TwoNodes::new();
    for (node, below) in [(stage.a, true), (stage.b, false)] {
        let (canary, _) = stage.plan.canary(node).unwrap();
        assert_eq!(slot(canary.as_bytes()) < 8_000, below, "{canary}");
    }
    let (old, _) = stage.plan.canary(stage.a).unwrap();
    let only = slot(old.as_bytes()) + 1;
    // All but one slot of `a` go, that of its canary too.
    let views = format!(
        "a a:1@2 master - 0 0 1 connected {only}\nb b:1@2 master - 0 0 1 connected 0-{} {}-16383",
        only - 1,
        only + 1
    );
    stage.plan.orders(stage.a);
    stage.plan.apply(&Layout::merge(describe(&views, "", false).iter()), 0);
    let (new, _) = stage.plan.canary(stage.a).unwrap();
    assert_eq!(slot(new.as_bytes()), only);
    let orders = stage.plan.orders(stage.a);
    assert_eq!((orders.get(&new), orders.get(&old)), (Some(&Order::Subscribe), Some(&Order::Unsubscribe)));

    for _ in 0..2 {
        assert!(!stage.plan.is_deaf(stage.a));
        stage.plan.published(stage.a);
    }
    assert!(stage.plan.is_deaf(stage.a) && !stage.plan.is_deaf(stage.b));
    let late = stage.now + Duration::from_secs(6);
    stage.plan.echoed(stage.b, late);
    let health = stage.plan.health(late);
    assert!(health.state == State::Degraded && health.nodes.iter().filter(|node| node.is_well()).count() == 1);
    assert_eq!(health.canary_age(), Some(Duration::from_secs(6)));
    stage.plan.echoed(stage.a, late);
    assert!(!stage.plan.is_deaf(stage.a) && stage.plan.health(late).state == State::Up);
}

#[test]
fn a_start_without_one_master_comes_to_its_end() {
    let (mut plan, now) = (Plan::new("canary:".to_owned()), Instant::now());
    let added = plan.apply(&layout(8_000), 0).added;
    plan.up(added[0].0, true, now);
    plan.down(added[1].0, NodeError::Silent);
    plan.tick(now + Duration::from_millis(2_999));
    assert_eq!(plan.health(now).state, State::NeverConnected);
    plan.tick(now + Duration::from_secs(3));
    assert_eq!(plan.health(now).state, State::Degraded);
}

#[test]
fn a_connection_that_begins_anew_is_told_everything() {
    let mut stage = TwoNodes::new();
    let (canary, _) = stage.plan.canary(stage.a).unwrap();
    stage.plan.orders(stage.a);
    assert_eq!(stage.plan.restart(stage.a).unwrap().host.as_ref(), "a");
    assert_eq!(stage.missing(), 1);
    let orders = stage.plan.orders(stage.a);
    assert_eq!(orders, HashMap::from([(CHANNEL.into(), Order::Subscribe), (canary, Order::Subscribe)]));
    stage.plan.restart(stage.b);
    assert_eq!(stage.orders(stage.b), []);
    stage.plan.apply(&Layout::single(Address::new("other", 1)), 0);
    stage.plan.confirmed(stage.plan.owner(0).unwrap(), CHANNEL, stage.now);
    stage.pass(1_000);
    assert_eq!(stage.plan.restart(stage.a), None);
}

#[test]
fn a_node_that_stays_a_replica_is_connected_to_anew_less_and_less_often() {
    let mut stage = TwoNodes::new();
    let (address, began) = (Address::new("a", 1), stage.now);
    let renewals = |stage: &mut TwoNodes, seconds: std::ops::Range<u64>| -> Vec<u64> {
        let is_renewed = |second: &u64| {
            stage.plan.role(&address, false, began + Duration::from_secs(*second));
            stage.plan.takes_renewal(stage.a)
        };
        seconds.filter(is_renewed).collect()
    };
    assert_eq!(renewals(&mut stage, 0..130), [0, 2, 6, 14, 30, 60, 90, 120]);
    assert!(!stage.plan.takes_renewal(stage.b));
    stage.plan.role(&address, true, began + Duration::from_secs(130));
    assert_eq!(renewals(&mut stage, 130..140), [130, 132, 136], "it had been the master again");
}
